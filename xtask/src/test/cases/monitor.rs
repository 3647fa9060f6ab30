//! The monitor, on a Linux that has KVM: one boot of each kernel does all checks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::super::case::{Bench, Case};
use super::super::expect::{Expect, Got};
use crate::linux::direct;
use crate::linux::nested::{Check, Nested, Release};
use crate::{monitor, peer, process};

/// Programs of the repository that the checks run.
const PROGRAMS: [&str; 15] = [
    "hello",
    "sieve",
    "hypercalls",
    "stdio",
    "fault",
    "threads",
    "clock",
    "memory",
    "mounts",
    "httpd",
    "fetch",
    "echo",
    "files",
    "backtrace",
    "devices",
];

/// A hundred guests at once, each of which waits for its input; prints how many there are, and how they ended.
pub const HUNDRED: &str = "mkfifo f; exec 3<>f
for i in $(seq 100); do (skete run -m 16M /job/stdio -- lines < f; echo $? > s.$i) 3>&- & done
n=0; while [ $(pidof skete | wc -w) -lt 100 ] && [ $n -lt 200 ]; do sleep 0.2; n=$((n+1)); done
sleep 1; pidof skete | wc -w; exec 3>&-; wait; cat s.* | sort | uniq -c";

/// A command and what must come of it.
pub(super) struct Item {
    check: Check,
    pub(super) expect: Expect,
    /// It changes the machine that it runs on.
    own_machine: bool,
}

pub fn all() -> Vec<Case> {
    vec![
        Case::steps("monitor/stable", |bench, mark| run(bench, mark, Release::Stable)),
        Case::steps("monitor/backports", |bench, mark| run(bench, mark, Release::Backports)),
        Case::steps("monitor/direct", |_, mark| apart(mark)),
    ]
}

pub(super) fn item(name: &str, command: &str, expect: Expect) -> Item {
    let check = Check::new(name, monitor::with_path(command));
    Item { check, expect, own_machine: false }
}

impl Item {
    fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Item {
        self.check.stdin = bytes.into();
        self
    }

    fn own_machine(mut self) -> Item {
        self.own_machine = true;
        self
    }

    pub(super) fn seconds(mut self, seconds: u64) -> Item {
        self.check.timeout = Duration::from_secs(seconds);
        self
    }
}

fn run(bench: &Bench, mark: &str, release: Release) -> Result<()> {
    let mut nested = Nested::ensure(release)?;
    let mut paths = vec![("skete", monitor::build()?), ("connect", monitor::build_connect()?)];
    // Of this run's own: the other kernel's may be under way.
    let place = tempfile::tempdir()?;
    let [script, runner] = ["direct.sh", "skete-run"].map(|name| place.path().join(name));
    fs::write(&script, direct::SCRIPT)?;
    paths.push(("direct.sh", script));
    process::run(Command::new("strip").arg("-o").arg(&runner).arg(bench.xtask()))?;
    paths.push(("skete-run", runner));
    for name in PROGRAMS {
        paths.push((name, bench.image(name)?.to_path_buf()));
    }
    let mut items = items();
    items.extend(devices());
    // Only when it is asked for: they take minutes to build.
    if release == Release::Backports {
        paths.push(("uhyve", peer::uhyve()?));
        paths.push(("hermit", peer::hermit()?));
        items.extend(peers());
    }
    // A host that has KVM itself needs no other kernel, if its own will do.
    if release == Release::Stable && skete_kvm_probe::probe().is_ok() && direct::is_possible() {
        nested = nested.directly();
        items.retain(|item| !item.own_machine);
    }
    judge(&nested, release, &paths, &items, mark)
}

/// What runs the checks on a host with KVM, on any host.
fn apart(mark: &str) -> Result<()> {
    if !direct::is_possible() {
        eprintln!("skete: this user may have no namespaces: checks are never done directly here");
        return Ok(());
    }
    let items = [
        item(
            "streams",
            "cat; echo wrong >&2; pwd; ls -a /tmp/0; ls /job; exit 3",
            Expect::status(3).stdout("in\n/job\n.\n..\nrun\n").stderr("wrong\n"),
        )
        .stdin("in\n"),
        item(
            "apart",
            "ps | grep -c sh; ls /sys/class/net; id -u; echo x > /new && rm /new",
            Expect::status(0).out("lo\n0\n").stderr(""),
        ),
        item("passt", "passt --version | head -n 1", Expect::status(0).out("passt ")),
    ];
    let nested = Nested::ensure(Release::Stable)?.directly();
    judge(&nested, Release::Stable, &[], &items, mark)?;
    let late = [item("late", "sleep 60", Expect::status(137)).seconds(1)];
    match judge(&nested, Release::Stable, &[], &late, mark) {
        Err(error) if format!("{error:#}").contains("time was over") => Ok(()),
        other => bail!("a check that took too long was not told: {other:?}"),
    }
}

/// Does everything in one boot, and says what went wrong.
pub(super) fn judge(
    nested: &Nested,
    release: Release,
    paths: &[(&str, PathBuf)],
    items: &[Item],
    mark: &str,
) -> Result<()> {
    let files = paths
        .iter()
        .map(|(name, path)| Ok((*name, fs::read(path)?)))
        .collect::<Result<Vec<_>>>()?;
    let files = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect::<Vec<_>>();
    let checks = items.iter().map(|item| item.check.clone()).collect::<Vec<_>>();
    let mut wrong = Vec::new();
    for (item, done) in items.iter().zip(nested.run(&files, &checks, mark)?) {
        let got = Got {
            command: format!(
                "cargo xtask kvm --kernel {} {:?}",
                release.name(),
                item.check.command
            ),
            timed_out: done.status == Some(137) && done.time >= item.check.timeout,
            status: done.status,
            stdout: done.stdout,
            stderr: done.stderr,
        };
        if let Err(error) = item.expect.judge(&got) {
            wrong.push(format!("{}: {error:#}", item.check.name));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} checks on {}:\n{}",
        wrong.len(),
        items.len(),
        nested.version()?,
        wrong.join("\n")
    )
}

/// Upstream's monitor with our image, and ours with an image of Hermit's kernel, which speaks version 1 of the interface,
/// and says much.
fn peers() -> Vec<Item> {
    let greeting = || Expect::status(0).out("Hello, world!\n");
    vec![
        item("uhyve", "uhyve -m 64MiB hello", greeting()),
        item("hermit", "skete run hermit", greeting().stderr("")),
        item(
            "hermit-files",
            "mkdir d; skete run --mount d:/root --trace hermit",
            greeting().err("FileWrite (version 1)"),
        ),
        item(
            "hermit-inspect",
            "skete inspect hermit",
            Expect::status(0).out("Hermit").out(peer::HERMIT).stderr(""),
        ),
        item("hermit-uhyve", "uhyve -m 64MiB hermit", greeting()),
    ]
}

/// Disks, random numbers, channels.
fn devices() -> Vec<Item> {
    let refused = |name, command, what| {
        let expect = Expect::status(1).stdout("").err_line(what);
        item(name, command, expect)
    };
    vec![
        item(
            "disk",
            // What one guest has written, the host has, and the next one finds.
            "seq 200000 | head -c 1048576 > vda; cp vda vdb\n\
             skete run -c 2 --disk vda --disk vdb:ro devices -- disk=/dev/vda constant=/dev/vdb missing=/dev/vdc > first; echo $?\n\
             skete run --disk vda:ro devices -- constant=/dev/vda > second; echo $?; grep -h -e before -e constant first\n\
             [ \"$(head -n 1 second)\" = \"$(sed -n s/after/constant/p first)\" ] && echo kept\n\
             cmp -s vda vdb || echo changed; seq 200000 | head -c 1048576 | cmp - vdb && echo constant",
            Expect::status(0)
                .stdout("0\n0\nbefore 3366407670 1048576\nconstant 3366407670 1048576\nok constant=/dev/vdb\nkept\nchanged\nconstant\n")
                .stderr(""),
        )
        .seconds(60),
        item(
            "disk-in-use",
            "truncate -s 1M used; mkfifo held; exec 3<>held; skete run --disk used stdio -- cat < held 3>&- > /dev/null 2>&1 & sleep 1\n\
             skete run --disk used:ro hello; echo $?; exec 3>&-; wait; skete run --disk used:ro hello",
            Expect::status(0)
                .stdout("1\nHello, world!\n")
                .err_line("the disk used: is in use by another guest"),
        ),
        refused("disk-missing", "skete run --disk none.img hello", "is not there: make it"),
        refused("disk-directory", "skete run --disk /tmp hello", "is a directory"),
        refused(
            "disk-odd",
            "truncate -s 1000 odd; skete run --disk odd hello",
            "has 1000 bytes, which is no multiple of 512",
        ),
        item(
            "rng",
            "skete run --rng devices -- random=/dev/hwrng",
            Expect::status(0).out("ok random").stderr(""),
        ),
        item(
            "channel",
            "skete run --channel chan devices -- echo=/dev/hvc0 > echoed & while [ ! -S chan ]; do sleep 0.1; done\n\
             skete run --channel chan hello; echo one | connect chan 1; (seq 500; echo end) > lines\n\
             connect chan 501 < lines > back; cmp lines back && echo same; wait; cat echoed; ls chan 2> /dev/null",
            Expect::status(1)
                .stdout("one\nsame\nok echo=/dev/hvc0\n")
                .err_line("no channel can be made at chan: it exists"),
        )
        .seconds(60),
        item(
            "channel-removed",
            "skete run --channel chan stdio -- cat < /dev/zero > /dev/null & while [ ! -S chan ]; do sleep 0.1; done\n\
             kill -TERM $!; wait $!; echo $?; ls chan 2> /dev/null",
            Expect::status(1).stdout("143\n").stderr(""),
        ),
    ]
}

fn items() -> Vec<Item> {
    let mut items = vec![
        item("check", "skete check", Expect::status(0).out("can run images").stderr("")),
        item("hello", "skete run hello", Expect::status(0).stdout("Hello, world!\n").stderr("")),
        item(
            "inspect",
            "skete inspect hello",
            Expect::status(0).out("Skete's").out("segment: r-x").stderr(""),
        ),
        item(
            "no-image",
            "skete run nothing",
            Expect::status(1).stdout("").err_line("cannot open the image nothing"),
        ),
        item("not-elf", "skete run run", Expect::status(1).stdout("").err_line("run is no image")),
        item("directory", "skete run /tmp", Expect::status(1).err_line("is not a file")),
        item(
            "no-kvm",
            "mv /dev/kvm /dev/kvm.gone; skete run hello; status=$?; mv /dev/kvm.gone /dev/kvm; exit $status",
            Expect::status(1).stdout("").err_line("QEMU needs no KVM"),
        )
        .own_machine(),
        item(
            "stats",
            "skete run --stats hello",
            Expect::status(0)
                .out("Hello")
                .err("exits: 2, hypercalls 2\n")
                .err("ms, main after ")
                .err_not("(not seen)"),
        ),
        item(
            "trace",
            "skete run --trace hello",
            Expect::status(0).out("Hello").err("cpu 0: FileWrite(").err("Exit(0)"),
        ),
        item(
            "console",
            "skete run --console out hello; cat out",
            Expect::status(0).stdout("Hello, world!\n"),
        ),
        item(
            "arguments",
            "skete run stdio -- arguments 'two words' '\"quoted\\' -- ''",
            Expect::status(0)
                .stdout(
                    "\"stdio\"\n\"arguments\"\n\"two words\"\n\"\\\"quoted\\\\\"\n\"--\"\n\"\"\n",
                )
                .stderr(""),
        ),
        item(
            "environment",
            "skete run --env 'A=1 2' -e B= stdio -- environment",
            Expect::status(0).stdout("\"A\" = \"1 2\"\n\"B\" = \"\"\n").stderr(""),
        ),
        item(
            "both-streams",
            "skete run stdio -- cat",
            Expect::status(0)
                .stdout((0..=255).collect::<Vec<u8>>().repeat(40))
                .stderr("10240 bytes\n"),
        )
        .stdin((0..=255).collect::<Vec<u8>>().repeat(40)),
        item(
            "empty-input",
            "skete run stdio -- cat",
            Expect::status(0).stdout("").stderr("0 bytes\n"),
        ),
        item(
            "slow-input",
            "(echo one; sleep 1; echo two) | skete run stdio -- lines",
            Expect::status(0).stdout("0: one\n1: two\n").stderr(""),
        ),
        item(
            "reader-gone",
            "(skete run stdio -- numbers 1000000; echo $? > status) | head -n 1; cat status",
            Expect::status(0).stdout("0\n141\n"),
        ),
        item(
            "reader-of-trace-gone",
            "(skete run --trace stdio -- numbers 1000000 2>&1 >/dev/null; echo $? > status) | head -n 1; cat status",
            Expect::status(0).out("skete: cpu 0: ").out("\n0\n").stderr(""),
        ),
        item("least-memory", "skete run -m 3M hello", Expect::status(0).out("Hello")),
        item(
            "memory-too-small",
            "skete run -m 2M hello",
            Expect::status(1).err_line("give it more (--memory)"),
        ),
        item(
            // As many pages of 2 MiB as KVM has mapped.
            "huge-pages",
            "mount -t debugfs none /sys/kernel/debug; mkfifo huge; exec 3<>huge\n\
             skete run --huge-pages stdio -- lines < huge 3>&- & sleep 2; grep -q '^[1-9]' /sys/kernel/debug/kvm/pages_2m && echo huge\n\
             echo line >&3; exec 3>&-; wait $!; umount /sys/kernel/debug",
            Expect::status(0).stdout("huge\n0: line\n").stderr(""),
        )
        .own_machine(),
        item("gigabytes", "skete run -m 4G memory", Expect::status(0).err_not("skete:"))
            .seconds(60),
        item("threads", "skete run -m 256M -c 2 threads", Expect::status(0).out(" 0 failed"))
            .seconds(120),
        item("four-processors", "skete run -c 4 hello", Expect::status(0).out("Hello")),
        item(
            "most-processors",
            "skete run -m 256M -c 64 sieve -- 100000",
            Expect::status(0).out("9592 primes").out("64 threads").stderr(""),
        )
        .seconds(60),
        item("clock", "skete run clock -- $(date +%s)", Expect::status(0).out(" 0 failed"))
            .seconds(60),
        item("files", "skete run files", Expect::status(0).out(" 0 failed")).seconds(60),
        item(
            "fault",
            "skete run fault -- null-read",
            Expect::status(139).err("null pointer").err("stack backtrace:"),
        ),
        item(
            "terminated",
            // With the eighth thread, the C library would open a file for the next one.
            "for cpus in 1 8; do skete run -c $cpus stdio -- cat < /dev/zero > /dev/null & sleep 2; kill -TERM $!; wait $!; echo $?; done",
            Expect::status(0).stdout("143\n143\n").stderr(""),
        ),
    ];
    items.push(
        item(
            "ordinary-user",
            "chmod 666 /dev/kvm; cp hello /tmp/hello; su user -c '/job/skete run /tmp/hello'",
            Expect::status(0).stdout("Hello, world!\n").stderr(""),
        )
        .own_machine(),
    );
    items.push(
        item(
            "not-permitted",
            "chmod 600 /dev/kvm; cp hello /tmp/hello; su user -c '/job/skete run /tmp/hello'",
            Expect::status(1).stdout("").err_line("add it to the group kvm"),
        )
        .own_machine(),
    );
    items.push(
        item(
            "direct",
            "mkdir -p r/job; cp -a /bin /lib /lib64 r; cp skete hello r/job\n\
             echo '/job/skete run /job/hello; ls /sys/class/net' > r/job/run\n\
             unshare -U -r -m -n -p -f sh direct.sh $PWD/r",
            Expect::status(0).stdout("Hello, world!\nlo\n").stderr(""),
        )
        .own_machine(),
    );
    // `cargo run` in a crate that is set up for it; cargo would find the monitor built.
    items.push(item(
        "runner",
        "mkdir -p tree/target/skete/build/monitor/x86_64-unknown-linux-gnu/release bin; echo '#!/bin/sh' > bin/cargo\n\
         cp skete tree/target/skete/build/monitor/x86_64-unknown-linux-gnu/release; chmod +x bin/cargo\n\
         export PATH=$PWD/bin:$PATH CARGO_MANIFEST_DIR=$PWD/tree/xtask SKETE_MONITOR=skete SKETE_MEMORY=32M\n\
         echo line | SKETE_SMP=2 skete-run stdio lines; skete-run stdio arguments 'two words' --accel; skete-run fault null-read; echo $?",
        Expect::status(0)
            .stdout("0: line\n\"stdio\"\n\"arguments\"\n\"two words\"\n\"--accel\"\n139\n")
            .err("null pointer"),
    ));
    items.push(
        item(
            "gdb",
            "skete run -c 2 --gdb 1234 threads & sleep 1\n\
             gdb -nx -batch -ex 'target remote 127.0.0.1:1234' -ex 'info threads' -ex 'break boot::start::start' -ex c \
             -ex 'stepi' -ex 'info registers rip' -ex 'hbreak runtime_entry' -ex c -ex bt -ex delete \
             -ex 'set var *(long*)($rsp-8) = 0x12345678' -ex 'x/gx $rsp-8' -ex 'p $xmm3 = $xmm3' \
             -ex 'set $rax = 0x4321' -ex 'p/x $rax' -ex 'watch -l *(long*)($rsp-8)' -ex c -ex delete \
             -ex 'awatch -l *(long*)($rsp-8)' -ex c -ex kill threads 2>&1; wait; echo status $?",
            Expect::status(0)
                .out("2    Thread 1.2")
                .out("Breakpoint 1, ")
                .out("boot::start::start+")
                .out("Hardware assisted breakpoint 2 at ")
                .out("Breakpoint 2, ")
                .out("runtime_entry")
                .out("0x0000000012345678")
                .out(" = 0x4321")
                .out("Hardware watchpoint 3: -location *(long*)($rsp-8)\n\nOld value = 305419896\n")
                .out("hit Hardware access (read/write) watchpoint 4: -location *(long*)($rsp-8)")
                .out("status 0"),
        )
        .seconds(60),
    );
    items.push(
        item(
            "gdb-interrupt",
            "mkfifo in; exec 4<>in; skete run --gdb 1234 stdio -- cat < in & skete=$!; sleep 1\n\
             gdb -nx -batch -ex 'target remote 127.0.0.1:1234' -ex c -ex 'info threads' -ex detach stdio > said 2>&1 & gdb=$!\n\
             sleep 3; kill -INT $gdb; wait $gdb; cat said; echo through >&4; sleep 1; kill -TERM $skete; wait $skete; echo $?",
            Expect::status(0).out("SIGINT").out("Thread 1.1").out("detached").out("through\n143\n"),
        )
        .seconds(60),
    );
    items.push(item(
        "mounts",
        "mkdir -p d c; printf 'from the host\\n' > d/file; ln -s file d/link; ln -s /etc/passwd d/out; ln -s /etc d/out-directory\n\
         printf constant > c/file; skete run --mount d:/data --mount c:/data/constant:ro --mount d/file:/one:ro mounts; ls d",
        Expect::status(0)
            .out(" 0 failed")
            .out("file\nlink\nnew\nout\n")
            .stderr(""),
    ));
    items.push(
        item(
            "net",
            // No frame takes a processor out of the guest: all that does is how the card is set up.
            "skete run --stats --net tap=tap0 --kernel ip=10.9.0.2/24 -m 128M httpd 2> log > /dev/null & p=$!\n\
             while ! ip addr add 10.9.0.1/24 dev tap0 2>/dev/null; do sleep 0.1; done; ip link set tap0 up\n\
             while ! wget -q -O - http://10.9.0.2:8080/bytes/100 > /dev/null 2>&1; do sleep 0.2; done\n\
             wget -q -O - http://10.9.0.2:8080/bytes/3000000 | wc -c\n\
             head -c 300000 /dev/urandom | base64 > b; sha256sum < b | cut -d' ' -f1 > sum\n\
             wget -q -O - --post-file b http://10.9.0.2:8080/sha256 | cmp - sum && echo same; kill $p; wait $p; echo $?\n\
             [ $(sed -n 's/.*, devices //p' log) -lt 100 ] && echo few",
            Expect::status(0).stdout("3000000\nsame\n143\nfew\n"),
        )
        .seconds(60),
    );
    items.push(
        item(
            "net-queues",
            "skete run -c 2 --net tap=tap1 --kernel ip=10.9.1.2/24 --log info -m 128M httpd 2> log > /dev/null & p=$!\n\
             while ! ip addr add 10.9.1.1/24 dev tap1 2>/dev/null; do sleep 0.1; done; ip link set tap1 up\n\
             while ! wget -q -O - http://10.9.1.2:8080/bytes/100 > /dev/null 2>&1; do sleep 0.2; done\n\
             for i in 1 2 3 4; do wget -q -O - http://10.9.1.2:8080/bytes/1000000 | wc -c & done; wait %2 %3 %4 %5\n\
             grep -c 'queues 4' log; kill $p; wait $p; echo $?",
            Expect::status(0).stdout("1000000\n1000000\n1000000\n1000000\n1\n143\n"),
        )
        .seconds(60),
    );
    items.push(
        item(
            // The guest hears of it by the line of all devices.
            "net-gone",
            "skete run --rng --net tap=tap3 --kernel ip=10.9.4.2/24 -m 128M httpd > /dev/null & p=$!\n\
             while ! ip addr add 10.9.4.1/24 dev tap3 2>/dev/null; do sleep 0.1; done; ip link set tap3 up\n\
             while ! wget -q -O - http://10.9.4.2:8080/bytes/100 > /dev/null 2>&1; do sleep 0.2; done\n\
             ip link del tap3; sleep 1; kill $p; wait $p; echo $?",
            Expect::status(0)
                .stdout("143\n")
                .err("skete: a virtio device has failed: ")
                .err(" is out of use: it has an error that it cannot recover from\n"),
        )
        .seconds(60),
    );
    // A machine on an interface makes a network that passt finds; the ordinary user's machines are behind passt.
    items.push(
        item(
            "net-user",
            "chmod 666 /dev/kvm; cp httpd fetch /tmp\n\
             skete run --net tap=tap2 --kernel ip=10.9.2.2/24 -m 128M httpd > /dev/null & p=$!\n\
             while ! ip addr add 10.9.2.1/24 dev tap2 2>/dev/null; do sleep 0.1; done; ip link set tap2 up\n\
             ip route add default via 10.9.2.9\n\
             su user -c 'exec /job/skete run -m 128M --publish 8081:8080 /tmp/httpd' > /dev/null & q=$!\n\
             while ! wget -q -O - http://127.0.0.1:8081/bytes/100 > /dev/null 2>&1; do sleep 0.2; done\n\
             wget -q -O - http://127.0.0.1:8081/bytes/3000000 | wc -c\n\
             head -c 300000 /dev/urandom | base64 > b; sha256sum < b | cut -d' ' -f1 > sum\n\
             wget -q -O - --post-file b http://127.0.0.1:8081/sha256 | cmp - sum && echo same\n\
             su user -c '/job/skete run -m 128M --net user /tmp/fetch -- http://10.9.2.2:8080/bytes/300000' | wc -c\n\
             kill $p $q; wait $q; echo $?; sleep 1; pidof passt; echo passt $?",
            Expect::status(0).stdout("3000000\nsame\n300000\n143\npasst 1\n"),
        )
        .own_machine()
        .seconds(90),
    );
    items.push(
        item(
            // From this host, by loopback and by another address, and from another one; the longest that passt takes.
            "net-user-datagrams",
            "ip link add near type veth; ip addr add 10.9.3.1/24 dev near; ip link set near up\n\
             unshare -n sleep 60 & u=$!; sleep 0.2; ip link set veth0 netns $u\n\
             nsenter -t $u -n ip addr add 10.9.3.2/24 dev veth0; nsenter -t $u -n ip link set veth0 up\n\
             ip route add default via 10.9.3.9\n\
             skete run -m 128M --publish 0.0.0.0:8082:8080/udp echo > /dev/null & p=$!\n\
             connect 127.0.0.1:8082 10 1400 1400 65492; connect 10.9.3.1:8082 20 1400\n\
             nsenter -t $u -n connect 10.9.3.1:8082 30 1400; kill $p; wait $p; echo $?; ip link del near; kill $u",
            Expect::status(0)
                .stdout(
                    [10, 1400, 1400, 65492, 20, 1400, 30, 1400]
                        .map(|size| format!("{size} bytes came back\n"))
                        .concat()
                        + "143\n",
                )
                .stderr(""),
        )
        .seconds(60),
    );
    items.push(item(
        "net-user-datagrams-twice",
        "skete run --publish 8082:8080/udp --publish 8083:8080/udp hello",
        Expect::status(1).stdout("").err_line("port 8080/udp of the guest is published twice"),
    ));
    items.push(item(
        "net-user-without-passt",
        "mv /bin/passt /bin/passt.gone; skete run --net user hello; status=$?; mv /bin/passt.gone /bin/passt; exit $status",
        Expect::status(1)
            .stdout("")
            .err_line("install the package passt"),
    ));
    items.push(item(
        "net-user-without-network",
        "skete run --net user hello",
        Expect::status(1).stdout("").err_line("passt does not start: "),
    ));
    items.push(
        item("hundred", HUNDRED, Expect::status(0).stdout("100\n    100 0\n").stderr(""))
            .seconds(90),
    );
    items.push(item(
        "triple-fault",
        "skete run hypercalls -- triple-fault",
        Expect::status(1)
            .stdout("")
            .err("a triple fault")
            // AMD's processors are reset by it, Intel's show where they stood.
            .err(" processor 0"),
    ));
    items.push(item(
        "second-signal",
        "mkfifo p; skete run --stats stdio -- cat < /dev/zero 2> p > /dev/null & pid=$!; sleep 1\n\
         exec 3< p; kill -INT $pid; sleep 1; kill -INT $pid; wait $pid; echo $?",
        Expect::status(0).stdout("130\n"),
    ));
    items.push(
        item(
            "core",
            "skete run --core core fault -- null-read 2>/dev/null; echo status $?\n\
             gdb -nx -batch -ex bt -ex 'info threads' -ex 'x/i $rip' /job/fault core 2>&1",
            Expect::status(0).out("status 139").out("trap::page_fault").out("LWP 1").out("=> 0x"),
        )
        .seconds(60),
    );
    for attack in ["buffers", "texts", "unknown", "race", "results"] {
        let name = format!("attack-{attack}");
        let command = format!("skete run -c 2 --mount /tmp:/tmp hypercalls -- {attack}");
        items.push(item(&name, &command, Expect::status(0).stdout("survived\n")));
    }
    items.push(item(
        "no-memory",
        "skete run hypercalls -- no-memory",
        Expect::status(1)
            .stdout("")
            .err("registers of processor 0:\n   rax ")
            .err("   0: 0x")
            .err(" hypercalls::no_memory+0x")
            .err(" skete_std_shim::start::run_main+0x")
            .err("the guest cannot go on: KVM cannot go on with processor 0"),
    ));
    for attack in ["parameters", "parameters-in-the-gap", "parameters-wrapped"] {
        let name = format!("attack-{attack}");
        let command = format!("skete run hypercalls -- {attack}");
        let expect = Expect::status(1)
            .stdout("")
            .err(" hypercalls::main+")
            .err("the guest was ended: the parameters of its call FileOpen are not in its memory");
        items.push(item(&name, &command, expect));
    }
    for status in [0, 1, 42, 200, 255] {
        let name = format!("exit-{status}");
        let command = format!("skete run fault -- exit {status}");
        items.push(item(&name, &command, Expect::status(status).stdout("").stderr("")));
    }
    items
}
