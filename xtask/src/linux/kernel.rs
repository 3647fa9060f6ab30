//! The distribution's kernel for virtual machines, and its modules for a network, taken out of their package.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::progress::Step;
use crate::{packages, paths, sdk};

/// The packages that depend on the newest kernel's: Debian's and Ubuntu's.
const PACKAGES: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-virtual"];
/// How the names of the kernels' own packages start.
const PREFIX: &str = "linux-image-";
/// How a kernel's file in the package is called.
const FILE: &str = "vmlinuz-";

/// What a network card of virtio on PCI needs, in the order in which it is loaded.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// The distribution's kernel, downloaded unless it was before.
pub fn ensure() -> Result<PathBuf> {
    /// The second one finds what the first one has fetched.
    static FETCHING: Mutex<()> = Mutex::new(());
    let _guard = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = paths::generated().join("linux");
    if let Some(kernel) = newest(&directory) {
        return Ok(kernel);
    }
    let step = Step::new("fetching Linux for virtual machines");
    let kernel = fetch(&directory).context(
        "there is no Linux to compare with; give a kernel with --linux-kernel FILE, or try again with a \
         connection to the package server",
    )?;
    step.done();
    Ok(kernel)
}

/// The kernel that lies in a directory, the last by name.
fn newest(directory: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(directory).ok()?.flatten();
    let kernels = files
        .map(|entry| entry.path())
        .filter(|path| is_kernel(path) && modules(path).len() == MODULES.len());
    kernels.max()
}

fn is_kernel(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(FILE))
}

/// The files of a kernel's modules, in the order in which they are loaded. None are there for a kernel
/// that was not taken out of its package here: it has them built in.
pub fn modules(kernel: &Path) -> Vec<PathBuf> {
    let directory = module_directory(kernel);
    let files = MODULES.map(|name| directory.join(name));
    files.into_iter().filter(|file| file.is_file()).collect()
}

/// Where a kernel's modules are put.
fn module_directory(kernel: &Path) -> PathBuf {
    let name = kernel.file_name().unwrap_or_default().to_string_lossy();
    kernel.with_file_name(name.replace(FILE, "modules-"))
}

fn is_module(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_suffix(".ko"));
    name.is_some_and(|name| MODULES.contains(&name))
}

fn fetch(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let temporary = tempfile::tempdir_in(directory).context("cannot make a temporary directory")?;
    let package = packages::download(&PACKAGES, PREFIX, temporary.path())?;
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let archive = unpack.stdout.take().context("dpkg-deb writes nowhere")?;
    let extracted = extract(archive, directory);
    // Of the rest of the archive nothing is wanted.
    let _ = unpack.kill();
    unpack.wait().context("cannot wait for dpkg-deb")?;
    extracted.with_context(|| format!("cannot unpack {}", package.display()))
}

/// Takes the kernel and its modules, which lie behind it, out of a package's archive.
fn extract(archive: impl Read, directory: &Path) -> Result<PathBuf> {
    let mut kernel: Option<PathBuf> = None;
    let mut found = 0;
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let target = match &kernel {
            None if is_kernel(&path) => directory.join(path.file_name().unwrap_or_default()),
            Some(kernel) if is_module(&path) => {
                found += 1;
                module_directory(kernel).join(path.file_stem().unwrap_or_default())
            }
            _ => continue,
        };
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        sdk::replace(&target, &content)?;
        let kernel = kernel.get_or_insert(target);
        if found == MODULES.len() {
            return Ok(kernel.clone());
        }
    }
    match kernel {
        Some(_) => bail!("the package has {found} of the modules {}", MODULES.join(", ")),
        None => bail!("there is no file {FILE}* in the package"),
    }
}

/// The version of the kernel in a file.
pub fn version(kernel: &Path) -> Result<String> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    header_version(&bytes)
        .with_context(|| format!("{} is not a Linux kernel (bzImage)", kernel.display()))
}

/// Finds the version by a bzImage's header (Linux, `Documentation/x86/boot.rst`, `kernel_version`);
/// of who has compiled it where, in parentheses, nothing is kept.
fn header_version(image: &[u8]) -> Option<String> {
    const SIGNATURE: usize = 0x202;
    const POINTER: usize = 0x20e;
    const BASE: usize = 0x200;
    if image.get(SIGNATURE..)?.first_chunk() != Some(b"HdrS") {
        return None;
    }
    let pointer = u16::from_le_bytes(*image.get(POINTER..)?.first_chunk()?);
    let text = image.get(BASE + usize::from(pointer)..)?;
    let text = text.split(|&byte| byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    let (release, rest) = text.split_once(' ')?;
    let version = rest.find('#').map_or("", |at| &rest[at..]);
    Some(format!("{release} {version}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x300];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image.extend(version);
        image.push(0);
        image
    }

    #[test]
    fn a_kernel_tells_its_version() {
        let image = image(b"6.1.0-9-cloud-amd64 (a@b) #1 SMP Debian 6.1.27-1 (2023-05-08)");
        assert_eq!(
            header_version(&image).as_deref(),
            Some("6.1.0-9-cloud-amd64 #1 SMP Debian 6.1.27-1 (2023-05-08)")
        );
    }

    #[test]
    fn other_files_are_no_kernels() {
        assert_eq!(header_version(b"\x7fELF"), None);
        assert_eq!(header_version(&[0; 0x400]), None);
        let mut beyond = image(b"1 #2");
        beyond[0x20e..0x210].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(header_version(&beyond), None);
    }

    #[test]
    fn the_kernel_is_taken_out_of_the_archive() -> Result<()> {
        let mut archive = tar::Builder::new(Vec::new());
        let files = [("./boot/config-6.1", "a"), ("./boot/vmlinuz-6.1", "kernel")];
        let files = files.map(|(name, content)| (name.to_owned(), content));
        let others = MODULES.iter().rev();
        let others = others.map(|name| (format!("./lib/modules/6.1/{name}.ko"), *name));
        for (name, content) in files.into_iter().chain(others) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, name, content.as_bytes())?;
        }
        let archive = archive.into_inner()?;
        let directory = tempfile::tempdir()?;
        assert_eq!(newest(directory.path()), None);
        let kernel = extract(&archive[..], directory.path())?;
        assert_eq!(fs::read(&kernel)?, b"kernel");
        assert_eq!(newest(directory.path()).as_ref(), Some(&kernel));
        let loaded = modules(&kernel).into_iter().map(fs::read_to_string);
        assert_eq!(loaded.collect::<std::io::Result<Vec<_>>>()?, MODULES);
        assert!(extract(&archive[..512], directory.path()).is_err());
        Ok(())
    }
}
