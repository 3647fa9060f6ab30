//! Reading and writing at an offset, and in several parts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::thread;

use crate::{Room, refused};

pub fn at_offsets() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    file.write_all(b"0123456789")?;
    assert_eq!(file.write_at(b"ab", 2)?, 2);
    file.write_all_at(b"end", 12)?;
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, 1)?, 4);
    assert_eq!(&buffer, b"1ab4");
    assert_eq!(file.read_at(&mut buffer, 13)?, 2);
    assert_eq!(file.read_at(&mut buffer, 100)?, 0);
    file.read_exact_at(&mut buffer, 8)?;
    assert_eq!(&buffer, b"89\0\0");
    refused(file.read_exact_at(&mut buffer, 12), ErrorKind::UnexpectedEof);
    refused(file.read_at(&mut buffer, u64::MAX), ErrorKind::InvalidInput);
    refused(file.write_at(b"x", u64::MAX), ErrorKind::InvalidInput);
    assert_eq!(file.stream_position()?, 10);
    assert!(File::open(&path)?.write_at(b"x", 0).is_err());
    assert!(OpenOptions::new().write(true).open(&path)?.read_at(&mut buffer, 0).is_err());
    // As on Linux, what is only appended to is appended to, wherever it should go.
    let append = OpenOptions::new().append(true).open(&path)?;
    append.write_at(b"!", 0)?;
    assert_eq!(fs::read(&path)?, b"01ab456789\0\0end!");
    Ok(())
}

pub fn threads() -> io::Result<()> {
    let room = Room::new()?;
    let file = File::options().read(true).write(true).create_new(true).open(room.at("file"))?;
    thread::scope(|scope| {
        for number in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for block in 0..50 {
                    let offset = (block * 4 + u64::from(number)) * 1000;
                    file.write_all_at(&[number + 1; 1000], offset).unwrap();
                    let mut back = [0; 1000];
                    file.read_exact_at(&mut back, offset).unwrap();
                    assert_eq!(back, [number + 1; 1000]);
                }
            });
        }
    });
    assert_eq!(file.metadata()?.len(), 200_000);
    Ok(())
}

pub fn parts() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let parts = [&b"one "[..], b"", b"two ", b"three"].map(IoSlice::new);
    assert_eq!(file.write_vectored(&parts)?, 13);
    file.rewind()?;
    let (mut first, mut second, mut third) = ([0; 3], [0; 0], [0; 20]);
    let mut parts = [&mut first[..], &mut second, &mut third].map(IoSliceMut::new);
    assert_eq!(file.read_vectored(&mut parts)?, 13);
    assert_eq!((&first, &third[..10]), (b"one", &b" two three"[..]));
    assert_eq!(file.stream_position()?, 13);
    // More parts than one call takes: what is written is told.
    let many = vec![IoSlice::new(b"x"); 3000];
    let written = file.write_vectored(&many)?;
    assert!((1..=3000).contains(&written));
    assert_eq!(file.metadata()?.len(), 13 + written as u64);
    Ok(())
}

/// A vectored write to the end is one write: nobody comes between its parts.
pub fn appended_parts() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    File::create(&path)?;
    thread::scope(|scope| {
        for letter in [b"a", b"b", b"c"] {
            let path = &path;
            scope.spawn(move || {
                let mut file = OpenOptions::new().append(true).open(path).unwrap();
                for _ in 0..300 {
                    let parts = [&letter[..], letter, letter, b"\n"].map(IoSlice::new);
                    assert_eq!(file.write_vectored(&parts).unwrap(), 4);
                }
            });
        }
    });
    let text = fs::read_to_string(&path)?;
    assert_eq!(text.len(), 3600);
    assert!(text.lines().all(|line| matches!(line, "aaa" | "bbb" | "ccc")));
    Ok(())
}

/// Two who write to one file, each at its own position: both find what they wrote.
pub fn two_writers() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut one = File::create(&path)?;
    let mut two = OpenOptions::new().write(true).open(&path)?;
    two.seek(SeekFrom::Start(50_000))?;
    for number in 0..1000_u32 {
        one.write_all(format!("one {number:5}\n").as_bytes())?;
        two.write_all(format!("two {number:5}\n").as_bytes())?;
    }
    let text = fs::read(&path)?;
    assert_eq!(text.len(), 60_000);
    for number in 0..1000 {
        let line = |start: usize| &text[start + number * 10..start + number * 10 + 10];
        assert_eq!(line(0), format!("one {number:5}\n").as_bytes());
        assert_eq!(line(50_000), format!("two {number:5}\n").as_bytes());
    }
    assert!(text[10_000..50_000].iter().all(|&byte| byte == 0));
    Ok(())
}

/// A file much longer than memory, of zeros that take none.
pub fn sparse() -> io::Result<()> {
    const LENGTH: u64 = 1 << 40;
    let room = Room::new()?;
    let file = File::options().read(true).write(true).create_new(true).open(room.at("file"))?;
    file.write_all_at(b"start", 0)?;
    file.set_len(LENGTH)?;
    assert_eq!(file.metadata()?.len(), LENGTH);
    assert!(file.metadata()?.blocks() < 100);
    let mut buffer = [1; 10];
    assert_eq!(file.read_at(&mut buffer, LENGTH - 4)?, 4);
    assert_eq!(buffer, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    file.set_len(5)?;
    assert_eq!(fs::read(room.at("file"))?, b"start");
    refused(file.set_len(u64::MAX), ErrorKind::InvalidInput);
    Ok(())
}

pub fn modes() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    assert_eq!(fs::metadata(&path)?.mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(&path)?.mode() & !0o7777, 0o100_000);
    file.set_permissions(fs::Permissions::from_mode(0o640))?;
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o7777, 0o640);
    fs::write(room.at("plain"), "")?;
    assert_eq!(fs::metadata(room.at("plain"))?.mode() & 0o7777, 0o644);
    fs::create_dir(room.at("directory"))?;
    assert_eq!(fs::metadata(room.at("directory"))?.mode() & 0o7777, 0o755);
    Ok(())
}
