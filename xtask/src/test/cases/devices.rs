//! Raw devices: disks, channels, random numbers. The program checks them from inside, and the host looks at what it
//! has left.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::{Expect, Got};
use crate::devices::{DeviceArgs, Disk};
use crate::qemu::Machine;

/// Bytes of a disk: no multiple of what a request holds.
const SIZE: usize = (2 << 20) + 512;

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 10] = [
        ("disk/microvm", |bench, mark| disk(bench, mark, Guest::new("devices"), "")),
        ("disk/microvm-packed", |bench, mark| {
            disk(bench, mark, Guest::new("devices").smp(2), ",packed=on")
        }),
        ("disk/q35", |bench, mark| {
            let guest = Guest::new("devices").on(Machine::Q35).memory(8 << 20);
            disk(bench, mark, guest, "")
        }),
        ("disk/q35-two-processors", |bench, mark| {
            let guest = Guest::new("devices").on(Machine::Q35).smp(2);
            disk(bench, mark, guest, ",packed=on,event_idx=off")
        }),
        ("disk/large-sectors", |bench, mark| {
            let guest = Guest::new("devices").on(Machine::Pc);
            let device = ",logical_block_size=4096,physical_block_size=4096";
            disk(bench, mark, guest, device)
        }),
        ("disk/bad", bad),
        ("none", none),
        ("no-drivers", no_drivers),
        ("streams/microvm", |bench, mark| streams(bench, mark, Guest::new("devices"))),
        ("streams/q35", |bench, mark| {
            streams(bench, mark, Guest::new("devices").on(Machine::Q35).smp(2))
        }),
    ];
    cases.map(|(name, steps)| Case::steps(format!("guest/device/{name}"), steps)).into()
}

/// Boots the guest with these devices.
fn boot(bench: &Bench, mark: &str, guest: &Guest, devices: DeviceArgs) -> Result<Got> {
    devices.check()?;
    let mut guest = guest.clone();
    let words = devices.arguments(guest.machine).into_iter();
    let words = words.map(|word| word.to_string_lossy().into_owned());
    guest.qemu.extend(words);
    guest.run(bench, mark)
}

/// A file with bytes that tell their place.
fn file(directory: &Path, name: &str, size: usize) -> Result<PathBuf> {
    let path = directory.join(name);
    let bytes: Vec<u8> = (0..size).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
    fs::write(&path, bytes)?;
    Ok(path)
}

/// What cksum(1) says of a file.
fn cksum(path: &Path) -> Result<String> {
    let mut sum = 0_u32;
    let bytes = fs::read(path)?;
    let lengths = bytes.len().to_le_bytes();
    let length = lengths.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in bytes.iter().chain(&lengths[..length]) {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            sum = sum << 1 ^ (0x04c1_1db7 * (sum >> 31));
        }
    }
    Ok(format!("{} {}", !sum, bytes.len()))
}

/// A disk that is written to beside one that cannot be.
fn disk(bench: &Bench, mark: &str, mut guest: Guest, properties: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let size = if properties.contains("4096") { SIZE & !4095 } else { SIZE };
    let changed = file(directory.path(), "changed", size)?;
    let constant = file(directory.path(), "constant,1", 1024)?;
    let before = cksum(&changed)?;
    let kept = cksum(&constant)?;
    let disk = |path: &Path, read_only| Disk { path: path.to_owned(), read_only };
    let devices = DeviceArgs {
        disks: vec![disk(&changed, false), disk(&constant, true)],
        ..DeviceArgs::default()
    };
    guest.args =
        ["disk=/dev/vda", "constant=/dev/vdb", "missing=/dev/vdc"].map(str::to_owned).into();
    devices.check()?;
    for word in devices.arguments(guest.machine) {
        let word = word.to_string_lossy().into_owned();
        let first = word.starts_with("virtio-blk") && word.ends_with("=disk0");
        guest.qemu.push(if first { word + properties } else { word });
    }
    let got = guest.run(bench, mark)?;
    let after = cksum(&changed)?;
    ensure!(after != before, "the disk's file has not changed");
    let told = format!(
        "before {before}\nafter {after}\nok disk=/dev/vda\nconstant {kept}\nok constant=/dev/vdb\n\
         ok missing=/dev/vdc\n"
    );
    Expect::status(0).stdout(told).stderr("").judge(&got)?;
    ensure!(cksum(&constant)? == kept, "the constant disk has changed");
    Ok(())
}

/// A disk that cannot be read: an error for the program, a line for who looks.
fn bad(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = file(directory.path(), "bad", SIZE)?;
    let mut guest = Guest::new("devices").args(&["constant=/dev/vda"]);
    guest.log = Some("error".to_owned());
    let blockdev = format!(
        "driver=blkdebug,node-name=disk0,image.driver=file,image.filename={},inject-error.0.event=none,inject-error.0.iotype=read,\
         inject-error.0.sector=1000",
        path.display()
    );
    let words = ["-blockdev", &blockdev, "-device", "virtio-blk-device,drive=disk0,rerror=report"];
    guest.qemu = words.map(str::to_owned).into();
    let got = guest.run(bench, mark)?;
    Expect::status(1)
        .stdout("")
        .err("the disk has failed to read at byte ")
        .err("devices: constant=/dev/vda: ")
        .err("(os error 5)")
        .judge(&got)
}

/// A machine without devices says how it gets one, once for each kind.
fn none(bench: &Bench, mark: &str) -> Result<()> {
    let names = ["vda", "vdb", "hwrng", "hvc0"].map(|name| format!("missing=/dev/{name}"));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut guest = Guest::new("devices").args(&names);
    guest.log = Some("warn".to_owned());
    let got = guest.run(bench, mark)?;
    Expect::status(0)
        .err("there is no /dev/vda: the machine has no such device; give it one with --disk FILE")
        .err("there is no /dev/hwrng: the machine has no such device; give it one with --rng")
        .err("there is no /dev/hvc0: the machine has no such device; give it one with --channel PATH")
        .err_not("/dev/vdb")
        .judge(&got)
}

/// A machine with a disk, and an image that was not linked with the drivers.
fn no_drivers(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let devices = DeviceArgs {
        disks: vec![Disk { path: file(directory.path(), "disk", 1024)?, read_only: false }],
        ..DeviceArgs::default()
    };
    let got = boot(bench, mark, &Guest::new("no-devices"), devices)?;
    Expect::status(0)
        .out("ok")
        .err("no way to /dev/vda: the image holds no drivers for devices; link it with --defsym=skete_devices=sys_devices")
        .judge(&got)
}

/// Random numbers, and a channel whose other end sends lines of all lengths, which come back.
fn streams(bench: &Bench, mark: &str, guest: Guest) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("channel");
    let devices = DeviceArgs { rng: true, channels: vec![path.clone()], ..DeviceArgs::default() };
    let guest = guest.args(&["random=/dev/hwrng", "echo=/dev/hvc0", "missing=/dev/hvc1"]);
    thread::scope(|scope| {
        let client = scope.spawn(|| speak(&path));
        let got = boot(bench, mark, &guest, devices)?;
        let told = "ok random=/dev/hwrng\nok echo=/dev/hvc0\nok missing=/dev/hvc1\n";
        // What the guest says tells more than what its client saw.
        Expect::status(0).stdout(told).stderr("").judge(&got)?;
        client.join().expect("the client's thread does not panic")
    })
}

/// Sends lines and reads them again.
fn speak(path: &Path) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let start = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(path) {
            Ok(stream) => break stream,
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(error).context("the channel's socket does not come");
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let long = (1..40).map(|step| step * step * step);
    for length in (0..100).chain(long) {
        let mut line: Vec<u8> = (0..length).map(|at: usize| (at % 97) as u8 + b' ').collect();
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut back = Vec::new();
        lines.read_until(b'\n', &mut back)?;
        ensure!(back == line, "a line of {length} bytes comes back as one of {}", back.len());
    }
    stream.write_all(b"end\n")?;
    let mut back = Vec::new();
    lines.read_until(b'\n', &mut back)?;
    ensure!(back == b"end\n", "the last line does not come back");
    Ok(())
}
