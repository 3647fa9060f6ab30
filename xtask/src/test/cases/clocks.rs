//! A guest's clocks on a Linux that has KVM, while that Linux's own clocks change and the machine stands still.

use std::path::PathBuf;

use anyhow::Result;

use super::super::case::{Bench, Case};
use super::super::expect::Expect;
use super::monitor::{Item, item, judge};
use crate::linux::nested::{Nested, Release};
use crate::monitor;

/// The file that tells, and chooses, the host's clock.
const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The image `clock` follows the host's wall clock: that is set an hour ahead and two hours back; the monitor's process
/// is stopped; the program sets its own clock, which then keeps its distance. The program's sleep is to end in
/// spite of all that.
const FOLLOW: &str =
    "rm -f lines; mkfifo lines; skete run --log info -c 2 clock -- follow < lines > out 2> log & guest=$!
exec 3> lines
now() { date +%s; }
turn() { date -s @$(($(now) + $1)) > /dev/null; sleep 1.2; }
now >&3; sleep 1
turn 3600; now >&3; sleep 0.5
turn -7200; now >&3; sleep 0.5
kill -STOP $guest; sleep 4; kill -CONT $guest; now >&3; sleep 0.5
kill -STOP $guest; date -s @$(($(now) + 3600)) > /dev/null; kill -CONT $guest; now >&3; sleep 0.5
echo set $(($(now) + 1000)) >&3; sleep 0.5; echo $(($(now) + 1000)) >&3; sleep 0.5
turn 600; echo $(($(now) + 1000)) >&3; turn -600
exec 3>&-; wait $guest; echo status $?; cat out log";

/// What comes of it.
const FOLLOWED: &str = "status 0
ok      the wall clock agrees
ok      the wall clock agrees
ok      the wall clock agrees
ok      the wall clock agrees
ok      the wall clock agrees
ok      the wall clock was set
ok      the wall clock agrees
ok      the wall clock agrees
ok      the sleep has ended
";

pub fn all() -> Vec<Case> {
    vec![Case::steps("monitor/clock", run)]
}

fn run(bench: &Bench, mark: &str) -> Result<()> {
    let release = Release::Stable;
    let nested = Nested::ensure(release)?;
    let mut paths: Vec<(&str, PathBuf)> = vec![("skete", monitor::build()?)];
    for name in ["clock", "stress", "threads"] {
        paths.push((name, bench.image(name)?.to_path_buf()));
    }
    judge(&nested, release, &paths, &items(), mark)
}

/// First on the counter; then on KVM's clock; then on that while the host distrusts its counter, so that times of
/// different processors may disagree.
fn items() -> Vec<Item> {
    let mut items = vec![follow("counter", "", "info: time-stamp counter: ")];
    let paravirtual = "info: the time-stamp counter may change its speed: the clock is KVM's";
    // The monitor believes the file.
    let told =
        format!("echo acpi_pm > told; mount --bind told {SOURCE}; trap 'umount {SOURCE}' EXIT\n");
    items.push(follow("kvm", &told, paravirtual));
    items.push(clock("kvm", &told));
    items.push(item(
        "lost-while-it-runs",
        &format!(
            "{told}rm -f lines; mkfifo lines; skete run -c 2 clock -- follow < lines & guest=$!; exec 3> lines\n\
             date +%s >&3; sleep 1; umount {SOURCE}; echo acpi_pm > {SOURCE}; sleep 2\n\
             date +%s >&3; exec 3>&-; trap - EXIT; wait $guest"
        ),
        Expect::status(0)
            .out("ok      the sleep has ended")
            .out_not("failed"),
    ));
    let lost = format!("echo acpi_pm > {SOURCE}; cat {SOURCE} >&2\n");
    items.push(follow("lost", &lost, paravirtual));
    items.push(clock("lost", &lost));
    for case in ["clock", "timers"] {
        items.push(
            item(
                &format!("stress-{case}"),
                &format!("{lost}skete run -c 2 stress -- {case} 1 5"),
                Expect::status(0).err("acpi_pm"),
            )
            .seconds(60),
        );
    }
    items.push(
        item(
            "threads",
            &format!("{lost}skete run -m 256M -c 2 threads"),
            Expect::status(0).out(" 0 failed"),
        )
        .seconds(120),
    );
    items
}

fn follow(name: &str, before: &str, log: &str) -> Item {
    let expect = Expect::status(0)
        .out(FOLLOWED)
        .out_not("failed")
        .out(log)
        .out("info: the machine has stood still: the wall clock is the host's again");
    let expect = match before {
        "" => expect.out_not("may change"),
        _ => expect,
    };
    item(
        &format!("follow-{name}"),
        &format!("{before}{FOLLOW}"),
        expect,
    )
    .seconds(60)
}

fn clock(name: &str, before: &str) -> Item {
    item(
        &format!("clock-{name}"),
        &format!("{before}skete run -c 2 clock -- $(date +%s)"),
        Expect::status(0).out(" 0 failed"),
    )
    .seconds(60)
}
