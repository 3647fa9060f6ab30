//! A guest's clocks on a Linux that has KVM, while that Linux's own clocks change and the machine stands still.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::super::case::{Bench, Case};
use super::super::expect::Expect;
use super::monitor::{Item, item, judge};
use crate::linux::nested::{self, Nested, Release};
use crate::qemu::QEMU;
use crate::{monitor, process};

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
    vec![Case::steps("monitor/clock", run), Case::steps("monitor/clock-in-qemu", run_in_qemu)]
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
    item(&format!("follow-{name}"), &format!("{before}{FOLLOW}"), expect).seconds(60)
}

fn clock(name: &str, before: &str) -> Item {
    item(
        &format!("clock-{name}"),
        &format!("{before}skete run -c 2 clock -- $(date +%s)"),
        Expect::status(0).out(" 0 failed"),
    )
    .seconds(60)
}

/// How QEMU is begun, told what to do, and ended there. Its monitor is file 5, the program's input file 4.
const IN_QEMU: &str = "export LD_LIBRARY_PATH=/job/qemu
now() { date +%s; }
rm -f serial.in serial.out monitor; mkfifo serial.in serial.out monitor
cat serial.out > out & reader=$!
exec 4<>serial.in 5<>monitor 6<>serial.out
begin() {
    qemu/qemu-system-x86_64 -L qemu -nodefaults -no-user-config -no-reboot -display none -accel kvm -smp 2 -m 64 \
        -device isa-debug-exit,iobase=0xf4,iosize=0x04 -chardev pipe,id=serial,path=serial -serial chardev:serial \
        -monitor stdio -kernel loader -initrd clock -append 'log=info stdin=framed -- follow' $* < monitor > said 2>&1 &
    machine=$!
}
until_ready() { until grep -q 'counter: ' out; do sleep 0.2; done; sleep 1; }
end() { printf '\\004' >&4; wait $machine; echo status $?; sleep 0.3; kill $reader; cat out said; echo; }
";

/// Pauses the machine, the second time while the host's clock is set (`KVM_SET_CLOCK`, `KVM_KVMCLOCK_CTRL`).
const PAUSED: &str = "until_ready; now >&4; sleep 0.3
echo stop >&5; sleep 4; echo cont >&5; now >&4; sleep 0.3
echo stop >&5; date -s @$(($(now) + 3600)) > /dev/null; sleep 1; echo cont >&5; now >&4; sleep 1
date -s @$(($(now) - 3600)) > /dev/null; sleep 1.2; now >&4; sleep 0.5; end; echo answers $(grep -c agrees out)";

/// Saves the machine, and goes on with it in another process, seconds later.
const RESTORED: &str = "until_ready; now >&4; sleep 0.3
echo stop >&5; echo 'migrate \"exec:cat > state\"' >&5
until grep -q completed said; do echo info migrate >&5; sleep 0.5; done; echo quit >&5; wait $machine; sleep 4
begin $kind -incoming 'exec:cat<state'
until grep 'status: p' said | tail -n 1 | grep -qv inmigrate; do echo info status >&5; sleep 0.5; done; echo cont >&5; now >&4; sleep 1; now >&4; sleep 0.5; end; echo answers $(grep -c agrees out)";

/// The image under QEMU with KVM.
fn run_in_qemu(bench: &Bench, mark: &str) -> Result<()> {
    /// For a microvm; the others for a PC.
    const FIRMWARE: [&str; 5] =
        ["qboot.rom", "bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "multiboot_dma.bin"];
    let program = process::output(std::process::Command::new("which").arg(QEMU))?;
    let program = PathBuf::from(program.trim());
    let places = process::output(std::process::Command::new(&program).args(["-L", "help"]))?;
    let mut files = vec![
        ("loader".to_owned(), bench.sdk.loader.clone()),
        ("clock".to_owned(), bench.image("clock")?.to_path_buf()),
    ];
    for name in FIRMWARE {
        let mut found = places.lines().map(|place| PathBuf::from(place).join(name));
        let found = found.find(|path| path.is_file());
        let found = found.with_context(|| format!("QEMU has no {name} here"))?;
        files.push((format!("qemu/{name}"), found));
    }
    for (name, path) in nested::libraries(&program)? {
        files.push((format!("qemu/{name}"), path));
    }
    files.push((format!("qemu/{QEMU}"), program));
    let paths = files.iter().map(|(name, path)| (name.as_str(), path.clone())).collect::<Vec<_>>();
    let microvm = "-machine microvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,acpi=off";
    let item = |name: &str, kind: &str, steps: &str, answers: u32| {
        let command = format!("{IN_QEMU}kind='{kind}'; begin $kind; {steps}");
        // The device that ends QEMU turns 0 into 1.
        let expect = Expect::status(0)
            .out("status 1\n")
            .out("the clock is KVM's")
            .out("the machine has stood still: the wall clock is the host's again")
            .out("ok      the sleep has ended")
            .out(&format!("answers {answers}\n"))
            .out_not("failed");
        item(name, &command, expect).seconds(60)
    };
    let items = [
        item("paused", &format!("{microvm} -cpu max"), PAUSED, 4),
        item("paused-pc", "-machine pc -cpu max", PAUSED, 4),
        item("restored", "-machine pc -cpu max", RESTORED, 3),
    ];
    let release = Release::Stable;
    judge(&Nested::ensure(release)?, release, &paths, &items, mark)
}
