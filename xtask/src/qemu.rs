//! A virtual machine in QEMU: its settings, its command line, its run.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use skete_loader::options::Quoted;

use crate::devices::DeviceArgs;
use crate::net::card::Card;
use crate::process;
use crate::root::Root;
use crate::sdk::Sdk;
use crate::stream::{self, Input, Start};

/// The program that runs virtual machines.
pub const QEMU: &str = "qemu-system-x86_64";

/// I/O port of the guest's standard error.
const STDERR_PORT: u16 = 0xe9;
/// I/O port of the guest's exit status.
const STATUS_PORT: u16 = 0xea;

/// A kind of machine that QEMU imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// The classic PC (i440FX)
    Pc,
    /// A PC with PCI Express (Q35)
    Q35,
    /// A minimal machine without PCI: the fastest to start
    #[default]
    Microvm,
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where a probe shows that it works, else TCG
    Auto,
    /// QEMU's own translator: works everywhere
    #[default]
    Tcg,
    /// The processor itself, through /dev/kvm
    Kvm,
}

/// An amount of memory in bytes; reads like `64M` or `2G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let error =
            || format!("`{text}` is not an amount of memory; write it like 512K, 64M or 2G");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "k" | "kb" | "kib" => 10,
            "" | "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "b" => 0,
            _ => return Err(error()),
        };
        let number: u64 = digits.parse().map_err(|_| error())?;
        match number.checked_mul(1 << shift) {
            Some(bytes) if bytes > 0 => Ok(Bytes(bytes)),
            _ => Err(error()),
        }
    }
}

/// One virtual machine, ready to be run any number of times.
#[derive(Clone, Debug)]
pub struct Vm {
    /// The image to boot, an ELF file.
    pub image: PathBuf,
    /// The loader that boots it.
    pub loader: PathBuf,
    /// The kind of machine.
    pub machine: Machine,
    /// What executes the instructions.
    pub accel: Accel,
    /// How many processors the machine has.
    pub smp: u32,
    /// How much memory the machine has.
    pub memory: Bytes,
    /// Ends the machine after this time.
    pub timeout: Option<Duration>,
    /// The kernel's log level.
    pub log: Option<String>,
    /// The program's arguments, without its name.
    pub args: Vec<String>,
    /// The program's environment.
    pub env: Vec<(String, String)>,
    /// The initial file tree.
    pub root: Option<Root>,
    /// Words that stand before `--` on the command line, for a kernel that is not ours: it knows
    /// none of the boot protocol's.
    pub options: Option<Vec<String>>,
    /// Its disks, its source of random numbers, its channels.
    pub devices: DeviceArgs,
    /// Its network cards.
    pub cards: Vec<Card>,
    /// What the kernel is told of the network, words of the boot protocol.
    pub network: Vec<String>,
    /// The digits of the standard streams that are terminals.
    pub terminals: String,
    /// Stops before the first instruction and waits for a debugger on this TCP port of localhost.
    pub gdb: Option<u16>,
    /// More arguments for QEMU.
    pub qemu_args: Vec<OsString>,
}

/// How a captured run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All 32 bits of the status that the guest wrote; `None` when it ended without one.
    pub status: Option<i32>,
    /// The program's standard output.
    pub stdout: Vec<u8>,
    /// The program's standard error, the kernel's messages, and QEMU's own.
    pub stderr: Vec<u8>,
    /// From QEMU's start to its end.
    pub wall: Duration,
    /// Whether the time limit ended the machine.
    pub timed_out: bool,
}

impl Vm {
    /// A machine for `image` with the default settings: microvm, TCG, 64 MiB, one processor.
    pub fn new(sdk: &Sdk, image: impl Into<PathBuf>) -> Vm {
        Vm {
            image: image.into(),
            loader: sdk.loader.clone(),
            machine: Machine::default(),
            accel: Accel::default(),
            smp: 1,
            memory: Bytes(64 << 20),
            timeout: None,
            log: None,
            args: Vec::new(),
            env: Vec::new(),
            root: None,
            options: None,
            devices: DeviceArgs::default(),
            cards: Vec::new(),
            network: Vec::new(),
            terminals: String::new(),
            gdb: None,
            qemu_args: Vec::new(),
        }
    }

    /// Runs the machine on this process's own standard streams and gives the exit status that this
    /// process should have: the guest's, 124 after the time limit, 1 when the guest ended without
    /// a status.
    pub fn run(&self) -> Result<i32> {
        let file = Input::inherit_file();
        let input = if file.is_some() { None } else { Input::inherit() };
        let mut vm = self.clone();
        vm.terminals = stream::terminals();
        let run = stream::run(
            vm.prepare(input.is_some(), file)?,
            input,
            self.timeout,
            &mut stream::Inherit::new()?,
        )?;
        if run.timed_out {
            let limit = self.timeout.unwrap_or_default().as_secs_f64();
            eprintln!(
                "skete: the virtual machine was ended: it ran longer than {limit} s (--timeout)"
            );
            return Ok(124);
        }
        if run.reader_gone {
            return Ok(141);
        }
        Ok(match run.status {
            Some(status) if status != 0 && status & 0xff == 0 => {
                eprintln!(
                    "skete: the program's exit status is {status}, whose low byte is 0; ending with 1"
                );
                1
            }
            Some(status) => status & 0xff,
            None => {
                eprintln!("skete: {}", run.why_no_status());
                1
            }
        })
    }

    /// Runs the machine with `stdin` as its standard input (none: end of file at once) and
    /// collects what it writes.
    pub fn capture(&self, stdin: Option<&[u8]>) -> Result<Outcome> {
        let input = stdin.map(|bytes| Input::bytes(bytes.to_vec()));
        let mut output = stream::Collect::default();
        let run =
            stream::run(self.prepare(input.is_some(), None)?, input, self.timeout, &mut output)?;
        if run.status.is_none() && !run.timed_out {
            output.stderr.extend_from_slice(format!("skete: {}\n", run.why_no_status()).as_bytes());
        }
        Ok(Outcome {
            status: run.status,
            stdout: output.stdout,
            stderr: output.stderr,
            wall: run.wall,
            timed_out: run.timed_out,
        })
    }

    /// Runs the machine without standard input and hands on what it writes as it comes.
    pub fn watch(&self, output: &mut dyn stream::Output) -> Result<stream::Run> {
        stream::run(self.prepare(false, None)?, None, self.timeout, output)
    }

    /// The command that starts this machine, with COM1 on its standard input and output, the
    /// guest's standard error on the file descriptor `stderr` and its exit status on `status`.
    /// `stdin` says how the kernel reads COM1 (`docs/boot-protocol.md`). The files given back have
    /// to stay open until the command was spawned.
    pub fn command(
        &self,
        stdin: &str,
        stderr: RawFd,
        status: RawFd,
    ) -> Result<(Command, Vec<File>)> {
        let mut open = Vec::new();
        let mut qemu = Command::new(QEMU);
        match self.machine {
            Machine::Microvm => qemu.args([
                "-machine",
                "microvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,acpi=off",
                "-global",
                "virtio-mmio.force-legacy=off",
            ]),
            Machine::Pc => qemu.args(["-machine", "pc,usb=off,vmport=off"]),
            Machine::Q35 => qemu.args(["-machine", "q35,usb=off,vmport=off"]),
        };
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        match self.accel()? {
            // A machine that may move to another host is not told that the counter runs at one speed.
            Accel::Kvm => qemu.args(["-accel", "kvm", "-cpu", "max,migratable=off"]),
            // One thread a processor, or one for all where `-icount` is asked for.
            _ => qemu.args(["-accel", "tcg", "-cpu", "max"]),
        };
        qemu.args(["-smp", &self.smp.to_string()]);
        // Memory is taken from the host as it is touched, so that a machine may have more than that.
        // QEMU rounds `-m` to a multiple of 8 KiB, and the backend has to be as large.
        let memory = self.memory.0;
        let memory = memory.checked_next_multiple_of(8 << 10).unwrap_or(memory);
        qemu.args(["-m", &format!("{memory}B")]);
        qemu.args(["-machine", "memory-backend=memory"]);
        qemu.args(["-object", &format!("memory-backend-ram,id=memory,size={memory}B,reserve=off")]);
        qemu.args(["-chardev", "stdio,id=com1,signal=off", "-serial", "chardev:com1"]);
        for (id, port, fd) in [("stderr", STDERR_PORT, stderr), ("status", STATUS_PORT, status)] {
            qemu.args(["-chardev", &format!("file,id={id},path=/dev/fd/{fd}")]);
            qemu.args(["-device", &format!("isa-debugcon,iobase={port:#x},chardev={id}")]);
        }
        qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        if let Some(port) = self.gdb {
            qemu.args(["-gdb", &format!("tcp:127.0.0.1:{port}"), "-S"]);
        }
        for (index, card) in self.cards.iter().enumerate() {
            qemu.args(card.arguments(index, self.machine, &mut open)?);
        }
        qemu.args(self.devices.arguments(self.machine));
        qemu.args(&self.qemu_args);
        qemu.arg("-kernel").arg(plain_name(&self.loader, &mut open)?);
        let mut modules = plain_name(&self.image, &mut open)?.into_os_string();
        if let Some(root) = &self.root {
            modules.push(",");
            modules.push(inherited(root.open()?, &mut open)?);
        }
        qemu.arg("-initrd").arg(modules);
        qemu.arg("-append").arg(self.command_line(stdin)?);
        Ok((qemu, open))
    }

    /// The command line that the loader hands to the kernel (see `docs/boot-protocol.md`).
    fn command_line(&self, stdin: &str) -> Result<String> {
        let mut words = match &self.options {
            Some(options) => options.clone(),
            None => self.protocol(stdin),
        };
        if !self.args.is_empty() {
            words.push("--".to_owned());
            words.extend(self.args.iter().map(|word| Quoted(word).to_string()));
        }
        if words.iter().any(|word| word.contains('\0')) {
            bail!(
                "an argument or a variable for the program contains a NUL character; leave it out"
            );
        }
        Ok(words.join(" "))
    }

    /// The words of the boot protocol.
    fn protocol(&self, stdin: &str) -> Vec<String> {
        let mut words = vec![
            format!("stdin={stdin}"),
            format!("stderr={STDERR_PORT:#x}"),
            format!("status={STATUS_PORT:#x}"),
        ];
        if !self.terminals.is_empty() {
            words.push(format!("terminals={}", self.terminals));
        }
        if let Some(name) = self.image.file_stem() {
            words.push(format!("name={}", Quoted(&name.to_string_lossy())));
        }
        if let Some(level) = &self.log {
            words.push(format!("log={}", Quoted(level)));
        }
        words.extend_from_slice(&self.network);
        for (key, value) in &self.env {
            words.push(format!("env={}", Quoted(&format!("{key}={value}"))));
        }
        words
    }

    fn accel(&self) -> Result<Accel> {
        match self.accel {
            Accel::Auto if skete_kvm_probe::probe().is_ok() => Ok(Accel::Kvm),
            Accel::Auto => Ok(Accel::Tcg),
            chosen => Ok(chosen),
        }
    }

    /// Makes everything ready for a machine whose standard input is sent over COM1 (`input`), or is
    /// `file`, or is empty.
    fn prepare(&self, input: bool, file: Option<File>) -> Result<Start> {
        for (what, path) in [("image", &self.image), ("loader", &self.loader)] {
            if !path.is_file() {
                bail!("there is no {what} at {}", path.display());
            }
        }
        if process::which(QEMU).is_none() {
            bail!("QEMU ({QEMU}) is not installed; `cargo xtask setup` installs it");
        }
        let stdin = match &file {
            Some(_) => "file",
            None if input => "framed",
            None => "none",
        };
        Start::new(|stderr, status| {
            let (mut qemu, mut open) = self.command(stdin, stderr, status)?;
            if let Some(file) = file {
                rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                qemu.args(["-fw_cfg", &format!("name=opt/skete/stdin,file={path}")]);
                open.push(file);
            }
            Ok((qemu, open))
        })
        .map(|start| start.publishing(self.cards.iter().flat_map(Card::listens).collect()))
    }
}

/// A name for `path` without spaces and commas, at which QEMU would cut it. The file stays open.
fn plain_name(path: &Path, open: &mut Vec<File>) -> Result<PathBuf> {
    if !path.as_os_str().as_encoded_bytes().iter().any(|byte| b" ,\t\n\"\\".contains(byte)) {
        return Ok(path.to_path_buf());
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    inherited(file, open)
}

/// A name by which QEMU finds an open file. The file stays open.
fn inherited(file: File, open: &mut Vec<File>) -> Result<PathBuf> {
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    open.push(file);
    Ok(PathBuf::from(name))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_its_unit() {
        let read = |text: &str| text.parse::<Bytes>().map(|bytes| bytes.0).ok();
        assert_eq!(read("64M"), Some(64 << 20));
        assert_eq!(read("64"), Some(64 << 20));
        assert_eq!(read("2GiB"), Some(2 << 30));
        assert_eq!(read("4096k"), Some(4 << 20));
        for wrong in ["", "M", "0", "-1M", "1.5G", "10T", "99999999999G"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    pub fn vm() -> Vm {
        Vm {
            image: "dir/app.elf".into(),
            loader: "loader".into(),
            machine: Machine::Pc,
            accel: Accel::Tcg,
            smp: 1,
            memory: Bytes(64 << 20),
            timeout: None,
            log: Some("debug".into()),
            args: vec!["two words".into(), "x".into()],
            env: vec![("A".into(), "1 2".into())],
            root: None,
            options: None,
            devices: DeviceArgs::default(),
            cards: Vec::new(),
            network: vec!["ip=10.0.0.2/24".into()],
            terminals: String::new(),
            gdb: None,
            qemu_args: Vec::new(),
        }
    }

    #[test]
    fn the_command_line_follows_the_boot_protocol() -> Result<()> {
        assert_eq!(
            vm().command_line("framed")?,
            "stdin=framed stderr=0xe9 status=0xea name=app log=debug ip=10.0.0.2/24 env=\"A=1 2\" -- \"two words\" x"
        );
        Ok(())
    }

    #[test]
    fn another_kernel_gets_its_own_options() -> Result<()> {
        let vm =
            Vm { options: Some(vec!["console=ttyS0".to_owned(), "panic=-1".to_owned()]), ..vm() };
        let line = vm.command_line("none")?;
        assert_eq!(line, "console=ttyS0 panic=-1 -- \"two words\" x");
        Ok(())
    }

    #[test]
    fn a_nul_character_is_refused() {
        let mut vm = vm();
        vm.args = vec!["a\0b".into()];
        assert!(vm.command_line("none").is_err());
    }
}
