//! Devices that a program finds below `/dev` in a virtual machine: disks, random numbers, channels.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::qemu::Machine;

/// The devices' options.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Devices")]
pub struct DeviceArgs {
    /// A disk, whose bytes are those of a file or a block device of this host: /dev/vda, the next one /dev/vdb, …
    /// With `:ro` it cannot be written to
    #[arg(long = "disk", value_name = "FILE[:ro]", env = "SKETE_DISK", value_delimiter = ',')]
    pub disks: Vec<Disk>,

    /// A source of random numbers, this host's: /dev/hwrng
    #[arg(long, env = "SKETE_RNG")]
    pub rng: bool,

    /// A Unix socket on this host, whose other end is /dev/hvc0 in the machine, the next one's /dev/hvc1, …
    #[arg(long = "channel", value_name = "PATH", env = "SKETE_CHANNEL", value_delimiter = ',')]
    pub channels: Vec<PathBuf>,

    /// Streams to programs of this host by sockets of the family AF_VSOCK: the machine's number, from 3 on
    #[arg(long, value_name = "CID", env = "SKETE_VSOCK", value_parser = clap::value_parser!(u32).range(3..4_294_967_295))]
    pub vsock: Option<u32>,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where its bytes are.
    pub path: PathBuf,
    /// It can only be read.
    pub read_only: bool,
}

impl FromStr for Disk {
    type Err = String;

    fn from_str(text: &str) -> Result<Disk, String> {
        let (path, read_only) = match text.strip_suffix(":ro") {
            Some(path) => (path, true),
            None => (text, false),
        };
        if path.is_empty() {
            return Err("the file's name is missing".to_owned());
        }
        Ok(Disk { path: path.into(), read_only })
    }
}

impl std::fmt::Display for Disk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = if self.read_only { ":ro" } else { "" };
        write!(out, "{}{end}", self.path.display())
    }
}

impl Disk {
    fn check(&self) -> Result<()> {
        let path = self.path.display();
        let open = OpenOptions::new().read(true).write(!self.read_only).open(&self.path);
        let mut file = open.map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => {
                    "; an empty disk of 1 GiB is made by `truncate --size=1G FILE`"
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                    if !self.read_only =>
                {
                    "; with `:ro` behind its name it is only read"
                }
                _ => "",
            };
            anyhow::anyhow!("--disk: {path} cannot be opened: {error}{advice}")
        })?;
        let kind = file.metadata()?.file_type();
        ensure!(
            kind.is_file() || kind.is_block_device(),
            "--disk: {path} is neither a file nor a block device"
        );
        let length = file.seek(SeekFrom::End(0))?;
        ensure!(
            length > 0 && length.is_multiple_of(512),
            "--disk: {path} has {length} bytes, and a disk has sectors of 512; make it longer with \
             `truncate --size=%512 FILE`"
        );
        Ok(())
    }

    /// QEMU's driver for what the path is.
    fn driver(&self) -> &'static str {
        let kind = fs::metadata(&self.path).map(|metadata| metadata.file_type());
        match kind.is_ok_and(|kind| kind.is_block_device()) {
            true => "host_device",
            false => "file",
        }
    }
}

/// Bytes that the path of a Unix socket may have (unix(7)).
const LONGEST: usize = 107;

fn check_channel(path: &Path) -> Result<()> {
    let text = path.display();
    ensure!(
        path.as_os_str().len() <= LONGEST,
        "--channel: {text} is too long for a socket: {LONGEST} bytes at most"
    );
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    ensure!(directory.is_dir(), "--channel: there is no directory {}", directory.display());
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        there => {
            let there = there.with_context(|| format!("--channel: {text}"))?;
            ensure!(
                there.file_type().is_socket(),
                "--channel: {text} is there already, and is no socket"
            );
            Ok(())
        }
    }
}

impl DeviceArgs {
    /// Fails when something cannot be used, before anything is built.
    pub fn check(&self) -> Result<()> {
        self.disks.iter().try_for_each(Disk::check)?;
        self.channels.iter().try_for_each(|path| check_channel(path))?;
        ensure!(
            self.vsock.is_none() || Path::new("/dev/vhost-vsock").exists(),
            "--vsock: this host has no /dev/vhost-vsock; load its module: modprobe vhost_vsock"
        );
        Ok(())
    }

    /// QEMU's arguments.
    pub fn arguments(&self, machine: Machine) -> Vec<OsString> {
        let on = match machine {
            Machine::Microvm => "device",
            Machine::Pc | Machine::Q35 => "pci",
        };
        let mut words = Vec::new();
        let mut add = |option: &str, value: String| {
            words.extend([option.to_owned(), value].map(OsString::from));
        };
        for (index, disk) in self.disks.iter().enumerate() {
            let access = if disk.read_only { "on" } else { "off" };
            add(
                "-blockdev",
                format!(
                    "driver=raw,node-name=disk{index},read-only={access},file.driver={},file.filename={}",
                    disk.driver(),
                    comma(&disk.path)
                ),
            );
            add("-device", format!("virtio-blk-{on},drive=disk{index}"));
        }
        if self.rng {
            add("-object", "rng-builtin,id=rng0".to_owned());
            add("-device", format!("virtio-rng-{on},rng=rng0"));
        }
        for (index, path) in self.channels.iter().enumerate() {
            let path = comma(path);
            add("-chardev", format!("socket,id=channel{index},path={path},server=on,wait=off"));
            // A device for each: with a single port there is nothing to agree on.
            add("-device", format!("virtio-serial-{on},id=serial{index},max_ports=1"));
            add("-device", format!("virtconsole,bus=serial{index}.0,chardev=channel{index}"));
        }
        if let Some(cid) = self.vsock {
            add("-device", format!("vhost-vsock-{on},guest-cid={cid}"));
        }
        words
    }
}

/// A path in an option of QEMU, where a comma is written twice.
fn comma(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: &DeviceArgs, machine: Machine) -> String {
        let words = args.arguments(machine);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn devices_fit_their_machine() -> Result<()> {
        let disks = ["a,b:c:ro", "d"].map(str::parse);
        let args = DeviceArgs {
            disks: disks.into_iter().collect::<Result<_, String>>().map_err(anyhow::Error::msg)?,
            rng: true,
            channels: vec!["s".into()],
            vsock: Some(5),
        };
        assert_eq!(
            words(&args, Machine::Microvm),
            "-blockdev driver=raw,node-name=disk0,read-only=on,file.driver=file,file.filename=a,,b:c \
             -device virtio-blk-device,drive=disk0 \
             -blockdev driver=raw,node-name=disk1,read-only=off,file.driver=file,file.filename=d \
             -device virtio-blk-device,drive=disk1 \
             -object rng-builtin,id=rng0 -device virtio-rng-device,rng=rng0 \
             -chardev socket,id=channel0,path=s,server=on,wait=off \
             -device virtio-serial-device,id=serial0,max_ports=1 \
             -device virtconsole,bus=serial0.0,chardev=channel0 \
             -device vhost-vsock-device,guest-cid=5"
        );
        assert!(words(&args, Machine::Q35).contains("virtio-blk-pci,drive=disk1"));
        assert_eq!(args.disks[0].to_string(), "a,b:c:ro");
        assert!(":ro".parse::<Disk>().is_err());
        Ok(())
    }

    #[test]
    fn what_cannot_be_is_told_before_anything_is_built() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("disk");
        let why = |word: &str| -> String {
            let disk = format!("{}{word}", file.display()).parse::<Disk>();
            let result = disk.map_err(anyhow::Error::msg).and_then(|disk| disk.check());
            result.err().map_or(String::new(), |error| error.to_string())
        };
        assert!(why("").contains("truncate --size=1G"));
        fs::write(&file, [0; 700])?;
        assert!(why(":ro").contains("has 700 bytes"));
        fs::write(&file, [0; 1024])?;
        assert_eq!(why(""), "");
        let why = |path: PathBuf| check_channel(&path).err().map(|error| error.to_string());
        assert!(why(file.clone()).is_some_and(|why| why.contains("is no socket")));
        assert!(why(file.join("x")).is_some_and(|why| why.contains("no directory")));
        assert_eq!(why(directory.path().join("new")), None);
        Ok(())
    }
}
