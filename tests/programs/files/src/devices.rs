//! The files below `/dev`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};

use crate::refused;

pub fn devices() -> io::Result<()> {
    assert_eq!(fs::read("/dev/null")?, b"");
    fs::write("/dev/null", [7; 10_000])?;
    assert!(!fs::metadata("/dev/null")?.is_file());
    assert!(!fs::metadata("/dev/null")?.is_dir());

    let mut buffer = [7; 10_000];
    File::open("/dev/zero")?.read_exact(&mut buffer)?;
    assert_eq!(buffer, [0; 10_000]);

    let mut full = OpenOptions::new().write(true).open("/dev/full")?;
    refused(full.write(b"x"), ErrorKind::StorageFull);

    let mut other = [0; 10_000];
    File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    File::open("/dev/random")?.read_exact(&mut other)?;
    assert!(buffer != [0; 10_000] && buffer != other);

    refused(File::open("/dev/null/x"), ErrorKind::NotADirectory);
    Ok(())
}
