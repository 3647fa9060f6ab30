//! A Linux that has KVM: QEMU's translator imitates a processor with AMD's virtualization, and the
//! distribution's kernel runs the monitor on it.
//!
//! One boot does many checks, one after the other: a boot takes seconds, a check less. Each runs in a
//! shell in a directory of its own, and its streams and status come back over the second serial port.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::direct;
use super::initramfs::Archive;
use crate::packages::Downloads;
use crate::progress::Step;
use crate::qemu::QEMU;
use crate::{paths, process, sdk};

/// Which kernel of the distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// The release's own.
    Stable,
    /// The newest that the release's backports have.
    Backports,
}

impl Release {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Release::Stable => "stable",
            Release::Backports => "backports",
        }
    }
}

/// What the kernel is told (`Documentation/admin-guide/kernel-parameters.rst`). A processor that hangs for a minute
/// ends the machine.
const OPTIONS: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check \
    edd=off softlockup_panic=1 watchdog_thresh=30";

/// The number of what is in the base archive: one more when that changes.
const BASE: u32 = 3;

/// The kernel's modules, in the order in which they need each other.
const MODULES: [&str; 11] = [
    "irqbypass",
    "ccp",
    "kvm",
    "kvm-amd",
    "tun",
    "veth",
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vhost_iotlb",
    "vhost",
    "vhost_vsock",
];

/// The first process: sets the system up, runs the job, sends what came of it, ends the machine. The job's root is
/// a mount above the initial file system, which a program could not leave (`pivot_root(2)`). It has two of the three
/// processors: QEMU's translator breaks virtual machines on the first one (decision 0131).
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /sys /dev /tmp /out /etc
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ TERM=dumb
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
echo root:x:0:0::/:/bin/sh > /etc/passwd; echo user:x:1000:1000::/:/bin/sh >> /etc/passwd
echo nobody:x:65534:65534::/:/bin/sh >> /etc/passwd
mkdir -p /dev/net /dev/shm; mount -t tmpfs tmp /tmp; mount -t tmpfs shm /dev/shm
for module in $(cat /modules/order); do insmod /modules/$module.ko || echo "module $module does not load"; done
[ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up
stty -F /dev/ttyS1 raw
mkdir /root; mount --rbind / /root; cd /root; mount --move . /
exec taskset 6 chroot . /bin/sh -c 'cd /; sh /job/run; tar -C /out -cf /out.tar .; for copy in 1 2; do cat /out.tar; echo -- end of a copy --; done > /dev/ttyS1; poweroff -f'
"#;
/// What is behind each copy of the archive that comes back: now and then, bytes get lost on the imitated serial line.
const END: &[u8] = b"-- end of a copy --\n";

/// One thing that is done in the machine.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name, a path component.
    pub name: String,
    /// The shell's command line.
    pub command: String,
    /// What the command reads.
    pub stdin: Vec<u8>,
    /// When to end it.
    pub timeout: Duration,
}

impl Check {
    /// A command with half a minute.
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Check {
        Check {
            name: name.into(),
            command: command.into(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// What came of a check.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Its exit status; 137 when its time was over.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How long it took, by the machine's own clock.
    pub time: Duration,
}

/// A Linux with KVM, ready to be booted any number of times.
pub struct Nested {
    kernel: PathBuf,
    base: PathBuf,
    /// More options for the kernel, and more arguments for QEMU.
    more: (String, Vec<OsString>),
    /// Checks are done on this host's KVM instead.
    direct: bool,
}

impl Nested {
    /// Takes the distribution's kernel and tools; downloads them the first time.
    pub fn ensure(release: Release) -> Result<Nested> {
        /// Packages are downloaded by one at a time.
        static FETCHING: Mutex<()> = Mutex::new(());
        let _guard = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = paths::generated().join("linux").join(release.name());
        let nested = Nested {
            kernel: directory.join("vmlinuz"),
            base: directory.join(format!("base-{BASE}.cpio")),
            more: Default::default(),
            direct: false,
        };
        if !nested.kernel.is_file() || !nested.base.is_file() {
            let step = Step::new("fetching a Linux that has KVM");
            nested.fetch(release, &directory).context(
                "there is no Linux to test the monitor on; try again with a connection to the package server",
            )?;
            step.done();
        }
        Ok(nested)
    }

    fn fetch(&self, release: Release, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let downloads = Downloads::open()?;
        let place = |name: &str| -> Result<tempfile::TempDir> {
            let builder = tempfile::Builder::new().prefix(name).tempdir_in(directory);
            builder.context("cannot make a temporary directory")
        };
        let (tools, linux) = (place("busybox")?, place("kernel")?);
        let busybox = downloads.package("busybox-static", tools.path())?;
        let names = ["linux-image-cloud-amd64", "linux-image-virtual"];
        let backports = release == Release::Backports;
        let package = downloads.dependency(&names, "linux-image-", backports, linux.path())?;

        let mut archive = Archive::with_console();
        ["bin", "lib", "lib64"].iter().for_each(|path| archive.directory(path));
        archive.directory("modules");
        let busybox = extract(&busybox, |path| path.ends_with("bin/busybox"))?;
        let (_, busybox) = busybox.into_iter().next().context("no busybox inside")?;
        archive.file("bin/busybox", 0o755, busybox);
        let mut programs = BTreeMap::new();
        for (package, program) in [("gdb-minimal", "gdb"), ("passt", "passt")] {
            let directory = place(program)?;
            let package = downloads.package(package, directory.path())?;
            programs.extend(with_libraries(&package, program, directory.path())?);
        }
        for (path, content) in programs {
            archive.file(&path, 0o755, content);
        }
        let files = extract(&package, |path| {
            is_kernel(path) || module_name(path).is_some_and(|name| MODULES.contains(&name))
        })?;
        let mut modules = BTreeMap::new();
        for (path, content) in files {
            match module_name(&path) {
                Some(name) => _ = modules.insert(name.to_owned(), decompress(&path, content)?),
                None => sdk::replace(&self.kernel, &content)?,
            }
        }
        // Not every kernel has each of them as a module.
        let order = MODULES.into_iter().filter(|name| modules.contains_key(*name));
        let order = order.collect::<Vec<_>>().join("\n");
        archive.file("modules/order", 0o644, order.into_bytes());
        for (name, content) in modules {
            archive.file(&format!("modules/{name}.ko"), 0o644, content);
        }
        let archive = archive.finish().context("cannot pack the tools")?;
        sdk::replace(&self.base, &archive)
    }

    /// The same on this host's own KVM, without a boot.
    pub fn directly(mut self) -> Nested {
        self.direct = true;
        self
    }

    /// The same with more options for the kernel, and more arguments for QEMU.
    pub fn with(mut self, options: &str, arguments: Vec<OsString>) -> Nested {
        self.more = (format!(" {options}"), arguments);
        self
    }

    /// The kernel's version.
    pub fn version(&self) -> Result<String> {
        match self.direct {
            true => Ok("this host's KVM".to_owned()),
            false => super::kernel::version(&self.kernel),
        }
    }

    /// Boots, runs the checks one after the other, and gives what came of each, in the same order.
    /// `files` are put into the directory `/job`; `mark` is the machine's name.
    pub fn run(&self, files: &[(&str, &[u8])], checks: &[Check], mark: &str) -> Result<Vec<Done>> {
        if self.direct {
            return direct::run(&self.base, files, checks);
        }
        let job = job(files, checks).context("cannot pack the checks")?;
        let place = tempfile::tempdir().context("cannot make a temporary directory")?;
        let [initrd, console, results, complaints] =
            ["initrd", "console", "results", "complaints"].map(|name| place.path().join(name));
        let mut both = fs::read(&self.base)?;
        both.extend_from_slice(&job);
        fs::write(&initrd, both).context("cannot write the job")?;
        let mut qemu = Command::new(QEMU)
            .args(["-name", mark, "-accel", "tcg,thread=multi"])
            .args(["-cpu", "EPYC,+svm,+invtsc", "-machine", "q35", "-m", "2048", "-smp", "3"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-serial", &format!("file:{}", results.display())])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&initrd)
            .arg("-append")
            .arg(format!("{OPTIONS}{}", self.more.0))
            .args(&self.more.1)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&complaints).context("cannot make a file")?)
            .spawn()
            .with_context(|| format!("cannot start {QEMU}; `cargo xtask setup` installs it"))?;
        let status = process::wait(&mut qemu, limit(checks))?;
        let mut said = fs::read(&complaints).unwrap_or_default();
        said.extend(fs::read(&console).unwrap_or_default());
        let said = String::from_utf8_lossy(&said);
        let read = fs::read(&results).unwrap_or_default();
        let status =
            status.with_context(|| format!("the Linux with KVM did not end; it said:\n{said}"))?;
        if !status.success() || read.is_empty() {
            bail!("the Linux with KVM ended too early ({status}); it said:\n{said}");
        }
        let found = unpack_either(&read).with_context(|| format!("the machine said:\n{said}"))?;
        Ok(outcomes(found, checks.len()))
    }
}

/// How long checks may take together: each ends its own command when that takes too long.
pub fn limit(checks: &[Check]) -> Duration {
    const REST: Duration = Duration::from_secs(60);
    checks.iter().map(|check| check.timeout).sum::<Duration>() + REST
}

/// The job's archive: files, the checks' input, and the script that does them.
pub fn job(files: &[(&str, &[u8])], checks: &[Check]) -> std::io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file("init", 0o755, INIT.as_bytes());
    archive.directory("job");
    let mut made = vec![String::new()];
    for (name, content) in files {
        for (at, _) in name.match_indices('/') {
            let parent = &name[..at];
            if !made.iter().any(|made| made == parent) {
                made.push(parent.to_owned());
                archive.directory(&format!("job/{parent}"));
            }
        }
        archive.file(&format!("job/{name}"), 0o755, *content);
    }
    let mut script = String::from("now() { cut -d' ' -f1 /proc/uptime; }\n");
    for (number, check) in checks.iter().enumerate() {
        archive.file(&format!("job/.{number}.sh"), 0o755, check.command.as_bytes());
        archive.file(&format!("job/.{number}.in"), 0o644, check.stdin.as_slice());
        let seconds = check.timeout.as_secs().max(1);
        script.push_str(&format!(
            "mkdir -p /tmp/{number}; cd /tmp/{number}; now > /out/{number}.start\n\
             timeout -s KILL {seconds} sh /job/.{number}.sh < /job/.{number}.in > /out/{number}.stdout 2> /out/{number}.stderr\n\
             echo $? > /out/{number}.status; now > /out/{number}.end; cd /; rm -rf /tmp/{number}\n"
        ));
    }
    archive.file("job/run", 0o755, script.into_bytes());
    archive.finish()
}

/// The files of the archive that came back, from whichever copy has them all.
fn unpack_either(copies: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let end = copies.windows(END.len()).position(|bytes| bytes == END);
    let (first, second) = copies.split_at(end.unwrap_or(copies.len()));
    let second = second.strip_prefix(END).unwrap_or_default();
    unpack(first).or_else(|error| unpack(second).map_err(|_| error))
}

/// The files of an archive.
fn unpack(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry.context("what came back is no archive")?;
        let path = entry.path()?.into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.push((name, content));
    }
    ensure!(!files.is_empty(), "nothing came back");
    Ok(files)
}

/// What the job's files tell of so many checks, in their order.
pub fn outcomes(files: Vec<(String, Vec<u8>)>, count: usize) -> Vec<Done> {
    let mut found: BTreeMap<usize, Done> = BTreeMap::new();
    let mut times: BTreeMap<(usize, bool), f64> = BTreeMap::new();
    for (name, content) in files {
        let Some((number, what)) = name.split_once('.') else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let text = String::from_utf8_lossy(&content).trim().to_owned();
        let done = found.entry(number).or_default();
        match what {
            "stdout" => done.stdout = content,
            "stderr" => done.stderr = content,
            "status" => done.status = text.parse().ok(),
            "start" | "end" => {
                times.insert((number, what == "end"), text.parse().unwrap_or_default());
            }
            _ => {}
        }
    }
    for (number, done) in &mut found {
        if let (Some(start), Some(end)) =
            (times.get(&(*number, false)), times.get(&(*number, true)))
        {
            done.time = Duration::try_from_secs_f64(end - start).unwrap_or_default();
        }
    }
    (0..count).map(|number| found.remove(&number).unwrap_or_default()).collect()
}

fn is_kernel(path: &str) -> bool {
    path.contains("/boot/vmlinuz-")
}

/// The name of a kernel's module.
fn module_name(path: &str) -> Option<&str> {
    let (_, file) = path.rsplit_once('/')?;
    let (name, ending) = file.split_once('.')?;
    ending.starts_with("ko").then_some(name)
}

/// A program of a package, with the libraries that this host has for it, by their paths in the machine.
fn with_libraries(package: &Path, name: &str, directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let found = extract(package, |path| path.ends_with(&format!("bin/{name}")))?;
    let found = found.into_iter().next();
    let (_, program) = found.with_context(|| format!("no {name} inside"))?;
    let path = directory.join(name);
    sdk::replace(&path, &program)?;
    let mut files = vec![(format!("bin/{name}"), program)];
    for (name, path) in libraries(&path)? {
        let place = if name.starts_with("ld-linux") { "lib64" } else { "lib" };
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push((format!("{place}/{name}"), content));
    }
    Ok(files)
}

/// The libraries that a program of this host needs, its interpreter among them, by name.
pub fn libraries(program: &Path) -> Result<Vec<(String, PathBuf)>> {
    // `name => path (address)`; the interpreter has only its path.
    let lines = process::output(Command::new("ldd").arg(program))?;
    let mut found = Vec::new();
    for line in lines.lines() {
        let line = line.trim();
        if line.contains("not found") {
            bail!(
                "{} needs a library that this host lacks: {line}; install the package that has it",
                program.display()
            );
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        let name = path.starts_with('/').then(|| path.rsplit('/').next());
        if let Some(name) = name.flatten() {
            found.push((name.to_owned(), PathBuf::from(path)));
        }
    }
    Ok(found)
}

/// A module's content; newer kernels' are compressed.
fn decompress(path: &str, content: Vec<u8>) -> Result<Vec<u8>> {
    if path.ends_with(".ko") {
        return Ok(content);
    }
    let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    std::io::Write::write_all(&mut file, &content)?;
    let mut xz = Command::new("xz");
    let xz = xz.args(["--decompress", "--stdout"]).stdin(file.reopen()?);
    let output = xz.output().context("cannot start xz (package xz-utils)")?;
    if !output.status.success() {
        bail!("xz cannot decompress {path}");
    }
    Ok(output.stdout)
}

/// Takes files out of a package.
fn extract(package: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Vec<u8>)>> {
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let archive = unpack.stdout.take().context("dpkg-deb writes nowhere")?;
    let mut found = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        if entry.header().entry_type().is_file() && wanted(&path) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            found.push((path, content));
        }
    }
    let status = unpack.wait().context("cannot wait for dpkg-deb")?;
    if !status.success() {
        bail!("dpkg-deb cannot read {}", package.display());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_their_files() {
        assert_eq!(module_name("./lib/a/kvm-amd.ko"), Some("kvm-amd"));
        assert_eq!(module_name("./lib/a/kvm.ko.xz"), Some("kvm"));
        assert_eq!(module_name("./lib/a/modules.dep"), None);
    }

    #[test]
    fn what_comes_back_is_read() -> Result<()> {
        let mut archive = tar::Builder::new(Vec::new());
        let files = [
            ("0.status", "3\n"),
            ("0.stdout", "hello\n"),
            ("0.start", "1.50\n"),
            ("0.end", "2.00\n"),
        ];
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, name, content.as_bytes())?;
        }
        let whole = archive.into_inner()?;
        let damaged = [&whole[..700], &whole[701..]].concat();
        assert!(unpack(&damaged).is_err() && unpack(&[]).is_err());
        assert!(unpack_either(&[&damaged, END, &damaged, END].concat()).is_err());
        assert!(unpack_either(&[&whole, END, &damaged[..600]].concat()).is_ok());
        let found = outcomes(unpack_either(&[&damaged, END, &whole, END].concat())?, 2);
        let [done, missing] = &found[..] else { bail!("{found:?}") };
        assert_eq!((missing.status, &missing.stdout[..]), (None, &b""[..]));
        assert_eq!((done.status, &done.stdout[..]), (Some(3), &b"hello\n"[..]));
        assert_eq!(done.time, Duration::from_millis(500));
        Ok(())
    }
}
