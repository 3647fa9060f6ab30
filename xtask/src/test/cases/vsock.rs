//! Streams between a guest and its host, on a Linux that has KVM: the example `vsock` at both ends.

use std::path::PathBuf;

use anyhow::Result;

use super::super::case::{Bench, Case};
use super::super::expect::Expect;
use super::monitor::{Item, item, judge};
use crate::linux::Program;
use crate::linux::nested::{Nested, Release};
use crate::monitor;

/// Waits until the server has said that it serves, in the file `out`.
const SERVING: &str = "serving() { n=0; while [ $(grep -c serving out) = 0 ] && [ $n -lt 100 ]; \
    do sleep 0.1; n=$((n+1)); done; }\n";

pub fn all() -> Vec<Case> {
    vec![
        Case::steps("monitor/vsock", |bench, mark| run(bench, mark, Release::Stable)),
        Case::steps("monitor/backports-vsock", |bench, mark| run(bench, mark, Release::Backports)),
    ]
}

fn run(bench: &Bench, mark: &str, release: Release) -> Result<()> {
    let nested = Nested::ensure(release)?;
    let host = Program::build(&bench.sdk, "vsock")?.stripped;
    let paths: Vec<(&str, PathBuf)> = vec![
        ("skete", monitor::build()?),
        ("vsock", bench.image("vsock")?.to_path_buf()),
        ("hello", bench.image("hello")?.to_path_buf()),
        ("on-host", host),
    ];
    judge(&nested, release, &paths, &items(), mark)
}

/// What has to come of a command with a server in the guest, whose output comes at the end.
fn served(name: &str, options: &str, work: &str, expect: Expect) -> Item {
    let command = format!(
        "{SERVING}> out; skete run --vsock 5 {options} > out 2>&1 & guest=$!; serving\n\
         {work}\nwait $guest; echo guest $?; cat out"
    );
    item(name, &command, expect)
}

fn items() -> Vec<Item> {
    let ok = || Expect::status(0);
    vec![
        item(
            "client",
            "on-host 4000 2 & sleep 0.2; skete run --vsock 5 vsock -- 2:4000 4000000 && \
             skete run --vsock 4294967294 --cpus 2 vsock -- 2:4000 3000001; echo $?; wait",
            ok().out("4000000 bytes for 5:")
                .out("3000001 bytes for 4294967294:")
                .out("vsock: 3000001 bytes to 2:4000 and back")
                .out("\n0\n")
                .stderr(""),
        ),
        served(
            "server",
            "vsock -- 1024 2",
            "on-host 5:1024 4000000; on-host 5:1024 0",
            ok().out("vsock: 4000000 bytes to 5:1024 and back")
                .out("vsock: 0 bytes to 5:1024 and back")
                .out("guest 0")
                .out("4000000 bytes for 2:")
                .stderr(""),
        ),
        // Several at once, on two processors.
        served(
            "many",
            "--cpus 2 vsock -- 1024 8",
            "for i in 1 2 3 4 5 6 7 8; do on-host 5:1024 500000 > client.$i 2>&1 & clients=\"$clients $!\"; done\n\
             wait $clients; cat client.* | cut -d' ' -f1-7 | sort | uniq -c",
            ok().out("8 vsock: 500000 bytes to 5:1024 and back")
                .out("guest 0")
                .stderr(""),
        ),
        item(
            "refused-by-host",
            "skete run --vsock 5 vsock -- 2:4001",
            Expect::status(1)
                .err_line("vsock: cannot talk to 2:4001: Connection refused (os error 111)"),
        ),
        item(
            "no-answer",
            "skete run --vsock 5 vsock -- 9:4001",
            Expect::status(1).err_line("cannot talk to 9:4001: Connection timed out"),
        ),
        item(
            "itself",
            "skete run --vsock 5 vsock -- 5:4001",
            Expect::status(1).err_line("cannot talk to 5:4001: Network is unreachable"),
        ),
        // One that nobody listens for; one whose client is killed in the middle of it; one more.
        served(
            "broken-off",
            "vsock -- 1024 2",
            "on-host 5:1025; timeout -s KILL 0.5 on-host 5:1024 1000000000 2> /dev/null; on-host 5:1024 100000",
            ok().err_line("vsock: cannot talk to 5:1025: Connection reset by peer (os error 104)")
                .out("vsock: 100000 bytes to 5:1024 and back")
                .out("guest 0"),
        ),
        // A monitor that is killed, and the next one with the same CID. Linux 6.12 tells of an end, 6.1 of a reset.
        served(
            "killed",
            "vsock",
            "(on-host 5:1024 1000000000; echo client $?) & client=$!; sleep 0.5; kill -KILL $guest; wait $client",
            ok().out("client 1")
                .out("guest 137")
                .err("vsock: cannot talk to 5:1024: "),
        ),
        item(
            "no-device",
            "skete run vsock",
            Expect::status(1)
                .err("skete: no vsock device: there are no streams to the host; run it with --vsock CID")
                .err("vsock: cannot serve on port 1024: No such device (os error 19)"),
        ),
        served(
            "taken",
            "vsock -- 1024 1",
            "skete run --vsock 5 hello; echo second $?; on-host 5:1024 1",
            ok().out("second 1")
                .err_line("skete: another machine has the CID 5; choose one that is free for --vsock"),
        ),
        item(
            "bad-cid",
            "skete run --vsock 2 hello",
            Expect::status(1).err_line("--vsock takes the guest's CID"),
        ),
        item(
            "no-rights",
            "chmod 600 /dev/vhost-vsock; chmod 666 /dev/kvm; su user -c 'skete run --vsock 5 hello'",
            Expect::status(1).err_line("cannot open /dev/vhost-vsock: Permission denied"),
        ),
        // The last: the module is gone afterwards.
        item(
            "no-module",
            "rmmod vhost_vsock && skete run --vsock 5 hello",
            Expect::status(1).err_line(
                "skete: this host has no /dev/vhost-vsock; load its module: modprobe vhost_vsock",
            ),
        ),
    ]
}
