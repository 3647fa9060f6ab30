//! The archive that Linux boots from: one program, and the console it writes to.

use std::io::{self, Cursor};

use cpio::newc::{Builder, ModeFileType};
use cpio::write_cpio;

/// The program that the kernel starts (Linux, `Documentation/admin-guide/initrd.rst`).
const INIT: &str = "init";

/// Makes an archive in the format `newc` with `program` as the first process.
pub fn write(program: &[u8]) -> io::Result<Vec<u8>> {
    let entries = [
        (
            Builder::new("dev")
                .mode(0o755)
                .set_mode_file_type(ModeFileType::Directory),
            &[][..],
        ),
        // Its standard streams; the numbers are those of Linux's `devices.txt`.
        (
            Builder::new("dev/console")
                .mode(0o600)
                .set_mode_file_type(ModeFileType::Char)
                .rdev_major(5)
                .rdev_minor(1),
            &[][..],
        ),
        (
            Builder::new(INIT)
                .mode(0o755)
                .set_mode_file_type(ModeFileType::Regular),
            program,
        ),
    ];
    let entries = entries.map(|(entry, content)| (entry, Cursor::new(content)));
    write_cpio(entries.into_iter(), Vec::new())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use cpio::NewcReader;

    use super::*;

    #[test]
    fn the_archive_holds_console_and_program() -> io::Result<()> {
        let archive = write(b"program")?;
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
            ]
        );
        Ok(())
    }
}
