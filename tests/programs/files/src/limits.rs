//! More than usual: long paths, odd names, directories and disks that are full.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Room, refused};

pub fn long_paths() -> io::Result<()> {
    let room = Room::new()?;
    let mut path = room.0.clone();
    while path.as_os_str().len() < 5_000 {
        path.push("n".repeat(200));
    }
    refused(fs::metadata(&path), ErrorKind::InvalidFilename);
    refused(File::create(&path), ErrorKind::InvalidFilename);
    refused(fs::create_dir_all(&path), ErrorKind::InvalidFilename);
    refused(fs::rename(&room.0, &path), ErrorKind::InvalidFilename);
    assert!(fs::read_dir(&room.0)?.next().is_none());
    // 5,000 bytes of slashes and dots are too many too.
    let dots = PathBuf::from(format!("{}/", room.0.display()) + &"./".repeat(2_500));
    refused(fs::metadata(dots), ErrorKind::InvalidFilename);
    let dots = PathBuf::from(format!("{}/", room.0.display()) + &"./".repeat(1_500));
    assert!(fs::metadata(dots)?.is_dir());
    Ok(())
}

pub fn not_text() -> io::Result<()> {
    let room = Room::new()?;
    let names = [&b"\xff\xfe"[..], b"\x80", b"a\xc3", b"\xed\xa0\x80"].map(OsStr::from_bytes);
    for name in names {
        assert!(name.to_str().is_none());
        fs::write(room.0.join(name), name.as_bytes())?;
    }
    let mut seen = 0;
    for entry in fs::read_dir(&room.0)? {
        let name = entry?.file_name();
        assert!(names.contains(&name.as_os_str()));
        assert_eq!(fs::read(room.0.join(&name))?, name.as_bytes());
        seen += 1;
    }
    assert_eq!(seen, names.len());
    fs::rename(room.0.join(names[0]), room.0.join(OsStr::from_bytes(b"\xff")))?;
    let real = fs::canonicalize(room.0.join(OsStr::from_bytes(b"\xff")))?;
    assert_eq!(real.file_name().map(OsStr::as_bytes), Some(&b"\xff"[..]));
    Ok(())
}

pub fn above_the_root() -> io::Result<()> {
    let room = Room::new()?;
    fs::write(room.at("file"), "x")?;
    let real = fs::canonicalize(room.at("file"))?;
    let mut path = PathBuf::from("/");
    path.extend(["..", "..", ".."]);
    assert_eq!(fs::canonicalize(&path)?, Path::new("/"));
    path.extend(real.components().skip(1));
    assert_eq!(fs::read(&path)?, b"x");
    assert_eq!(fs::canonicalize(&path)?, real);
    refused(fs::remove_file("/.."), ErrorKind::IsADirectory);
    refused(fs::create_dir("/.."), ErrorKind::AlreadyExists);
    Ok(())
}

/// A directory of 100,000 files: what one of them costs is what it costs in a directory of 10,000.
pub fn many() -> io::Result<()> {
    let per_file = |count: usize| -> io::Result<Duration> {
        let room = Room::new()?;
        let start = Instant::now();
        for number in 0..count {
            File::create(room.at(&format!("file-{number}")))?;
        }
        let mut seen = vec![false; count];
        for entry in fs::read_dir(&room.0)? {
            let name = entry?.file_name().into_string().expect("text");
            let number = name.strip_prefix("file-").map(str::parse::<usize>);
            let place = match number {
                Some(Ok(number)) => &mut seen[number],
                _ => panic!("{name} was not made"),
            };
            assert!(!std::mem::replace(place, true), "{name} comes twice");
        }
        assert!(seen.into_iter().all(|seen| seen));
        for number in 0..count {
            fs::remove_file(room.at(&format!("file-{number}")))?;
        }
        assert!(fs::read_dir(&room.0)?.next().is_none());
        Ok(start.elapsed() / count as u32)
    };
    let (few, many) = (per_file(10_000)?, per_file(100_000)?);
    assert!(many < 5 * few, "{many:?} for each of 100,000 files, {few:?} for each of 10,000");
    Ok(())
}

/// Memory is all taken. (On Linux a file system is too large to be filled for a check.)
#[cfg(target_os = "hermit")]
pub fn full() -> io::Result<()> {
    use std::io::{Read, Write};
    const BLOCK: usize = 64 << 10;

    let room = Room::new()?;
    fs::create_dir(room.at("directory"))?;
    fs::write(room.at("small"), "small")?;
    let mut file = File::create(room.at("large"))?;
    let mut blocks = 0_usize;
    let error = loop {
        match file.write_all(&[blocks as u8; BLOCK]) {
            Ok(()) => blocks += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(blocks > 100, "{blocks} blocks");
    assert_eq!(file.metadata()?.len(), (blocks * BLOCK) as u64);

    // There is no room for more of anything, sooner or later.
    let mut made = 0;
    let error = loop {
        let name = room.at("directory").join(format!("{made:0>200}"));
        match fs::write(name, [1; 1000]) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
        assert!(made < 100_000);
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let mut directories = 0;
    let error = loop {
        match fs::create_dir(room.at(&format!("d{directories}"))) {
            Ok(()) => directories += 1,
            Err(error) => break error,
        }
        assert!(directories < 100_000);
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    refused(fs::write(room.at("new"), [0; BLOCK]), ErrorKind::StorageFull);

    // The program goes on: it has memory, reads and removes.
    let mut block = vec![0; BLOCK];
    let mut reader = File::open(room.at("large"))?;
    for number in 0..blocks {
        reader.read_exact(&mut block)?;
        assert!(block.iter().all(|&byte| byte == number as u8), "block {number}");
    }
    assert_eq!(reader.read(&mut block)?, 0);
    assert_eq!(fs::read(room.at("small"))?, b"small");
    let listed = fs::read_dir(room.at("directory"))?.count();
    assert!(listed == made || listed == made + 1, "{listed} of {made}");
    fs::rename(room.at("small"), room.at("large"))?;
    drop((file, reader));

    // What was given back can be used again.
    let mut file = File::create(room.at("again"))?;
    // But for what the small files and directories take.
    for number in 0..blocks - 16 {
        file.write_all(&[number as u8; BLOCK])?;
    }
    assert_eq!(fs::read(room.at("large"))?, b"small");
    Ok(())
}

/// A file that may not be written is not, whoever asks. (On Linux, root may.)
#[cfg(target_os = "hermit")]
pub fn read_only() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    fs::write(&path, "kept")?;
    let mut permissions = fs::metadata(&path)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions.clone())?;
    refused(fs::write(&path, "lost"), ErrorKind::PermissionDenied);
    refused(File::options().append(true).open(&path), ErrorKind::PermissionDenied);
    assert_eq!(fs::read(&path)?, b"kept");
    fs::copy(&path, room.at("copy"))?;
    assert!(fs::metadata(room.at("copy"))?.permissions().readonly());
    // Its name belongs to the directory.
    fs::rename(&path, room.at("moved"))?;
    permissions.set_readonly(false);
    fs::set_permissions(room.at("moved"), permissions)?;
    fs::write(room.at("moved"), "new")
}
