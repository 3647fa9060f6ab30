//! The archive that Linux boots from: one program, the console it writes to, and modules.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Cursor, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cpio::NewcReader;
use cpio::newc::{Builder, ModeFileType};
use cpio::write_cpio;

/// The program that the kernel starts (Linux, `Documentation/admin-guide/initrd.rst`).
const INIT: &str = "init";

/// Makes an archive in the format `newc` with `program` as the first process. Modules get the names
/// `/modules/0`, `/modules/1`, … in their order.
pub fn write(program: &[u8], modules: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut archive = Archive::with_console();
    archive.file(INIT, 0o755, program);
    if !modules.is_empty() {
        archive.directory("modules");
    }
    for (number, module) in modules.iter().enumerate() {
        archive.file(&format!("modules/{number}"), 0o644, &module[..]);
    }
    archive.finish()
}

/// An archive in the format `newc`, of which Linux takes several, one behind the other.
#[derive(Default)]
pub struct Archive<'a> {
    entries: Vec<(Builder, Cursor<Cow<'a, [u8]>>)>,
}

impl<'a> Archive<'a> {
    /// An archive with the device that is the first process's standard streams.
    pub fn with_console() -> Archive<'a> {
        let mut archive = Archive::default();
        archive.directory("dev");
        // The numbers are those of Linux's `devices.txt`.
        let console = Builder::new("dev/console")
            .mode(0o600)
            .set_mode_file_type(ModeFileType::Char)
            .rdev_major(5)
            .rdev_minor(1);
        archive.entries.push((console, Cursor::default()));
        archive
    }

    /// Adds a directory; those above it have to be there.
    pub fn directory(&mut self, path: &str) {
        let entry = Builder::new(path).mode(0o755).set_mode_file_type(ModeFileType::Directory);
        self.entries.push((entry, Cursor::default()));
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Cow<'a, [u8]>>) {
        let entry = Builder::new(path).mode(mode).set_mode_file_type(ModeFileType::Regular);
        self.entries.push((entry, Cursor::new(content.into())));
    }

    /// The archive's bytes.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        write_cpio(self.entries.into_iter(), Vec::new())
    }
}

/// Makes the files and directories of an archive, but for what is the kernel's alone: modules and devices.
pub fn unpack(archive: &[u8], root: &Path) -> io::Result<()> {
    let mut rest = archive;
    loop {
        let mut reader = NewcReader::new(rest)?;
        if reader.entry().is_trailer() {
            return Ok(());
        }
        let (path, mode) = (root.join(reader.entry().name()), reader.entry().mode());
        let kernels = ["modules", "dev"].iter().any(|own| path.starts_with(root.join(own)));
        match mode & 0o170_000 {
            _ if kernels => {}
            0o040_000 => fs::create_dir_all(path)?,
            _ => {
                let mut content = Vec::new();
                reader.read_to_end(&mut content)?;
                fs::create_dir_all(path.parent().unwrap_or(root))?;
                fs::write(&path, content)?;
                fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
            }
        }
        rest = reader.finish()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_console_and_program() -> io::Result<()> {
        let archive = write(b"program", &[b"module".to_vec()])?;
        let mut rest = &archive[..];
        let mut found = Vec::new();
        loop {
            let mut reader = NewcReader::new(rest)?;
            if reader.entry().is_trailer() {
                break;
            }
            let entry = reader.entry().clone();
            let mut content = String::new();
            reader.read_to_string(&mut content)?;
            let device = (entry.rdev_major(), entry.rdev_minor());
            found.push((entry.name().to_owned(), entry.mode(), device, content));
            rest = reader.finish()?;
        }
        let entry = |name: &str, mode, device, content: &str| {
            (name.to_owned(), mode, device, content.to_owned())
        };
        assert_eq!(
            found,
            [
                entry("dev", 0o40755, (0, 0), ""),
                entry("dev/console", 0o20600, (5, 1), ""),
                entry("init", 0o100755, (0, 0), "program"),
                entry("modules", 0o40755, (0, 0), ""),
                entry("modules/0", 0o100644, (0, 0), "module"),
            ]
        );
        Ok(())
    }
}
