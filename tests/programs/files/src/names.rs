//! Names and paths.

use std::fs::{self, File};
use std::io::{self, ErrorKind};

use crate::{Room, refused};

pub fn long() -> io::Result<()> {
    let room = Room::new()?;
    let longest = room.at(&"n".repeat(255));
    fs::write(&longest, "x")?;
    assert_eq!(fs::read(&longest)?, b"x");
    assert_eq!(fs::read_dir(&room.0)?.count(), 1);
    let too_long = room.at(&"n".repeat(256));
    refused(File::create(&too_long), ErrorKind::InvalidFilename);
    refused(File::open(&too_long), ErrorKind::InvalidFilename);
    refused(fs::create_dir(&too_long), ErrorKind::InvalidFilename);
    Ok(())
}

pub fn odd() -> io::Result<()> {
    let room = Room::new()?;
    let names =
        ["größe 世界 😀", " leading and trailing ", "-rf", "a\nb", "\u{1}", "...", "*?\"'\\|"];
    for name in names {
        fs::write(room.at(name), name)?;
    }
    let mut seen = 0;
    for entry in fs::read_dir(&room.0)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(fs::read_to_string(entry.path())?, name);
        assert!(names.contains(&name.as_str()), "{name:?}");
        seen += 1;
    }
    assert_eq!(seen, names.len());
    refused(File::create(room.at("a\0b")), ErrorKind::InvalidInput);
    Ok(())
}

pub fn paths() -> io::Result<()> {
    let room = Room::new()?;
    fs::create_dir_all(room.at("a/b"))?;
    fs::write(room.at("a/file"), "x")?;
    for path in ["a/./file", "a//file", "a/b/../file", "a/b/../../a/file", "./a/file"] {
        assert_eq!(fs::read(room.at(path))?, b"x", "{path}");
    }
    assert!(fs::metadata(room.at("a/b/"))?.is_dir());
    assert!(fs::metadata("/../../")?.is_dir());
    refused(fs::metadata(room.at("a/none/../file")), ErrorKind::NotFound);
    refused(fs::metadata(room.at("a/file/")), ErrorKind::NotADirectory);
    refused(File::create(room.at("a/new/")), ErrorKind::IsADirectory);
    let real = fs::canonicalize(room.at("a/b/../file"))?;
    assert_eq!(real, fs::canonicalize(&room.0)?.join("a/file"));
    refused(fs::canonicalize(room.at("a/none")), ErrorKind::NotFound);
    Ok(())
}

pub fn not_a_directory() -> io::Result<()> {
    let room = Room::new()?;
    fs::write(room.at("file"), "x")?;
    refused(File::open(room.at("file/below")), ErrorKind::NotADirectory);
    refused(File::create(room.at("file/below")), ErrorKind::NotADirectory);
    refused(fs::remove_file(room.at("file/below")), ErrorKind::NotADirectory);
    refused(fs::metadata(room.at("file/.")), ErrorKind::NotADirectory);
    fs::create_dir(room.at("directory"))?;
    refused(fs::read(room.at("directory")), ErrorKind::IsADirectory);
    Ok(())
}

pub fn copy() -> io::Result<()> {
    let room = Room::new()?;
    let content = (0..50_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    fs::write(room.at("from"), &content)?;
    fs::write(room.at("to"), "in the way")?;
    assert_eq!(fs::copy(room.at("from"), room.at("to"))?, content.len() as u64);
    assert!(fs::read(room.at("to"))? == content);
    refused(fs::copy(room.at("none"), room.at("to")), ErrorKind::NotFound);
    Ok(())
}
