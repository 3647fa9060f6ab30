//! What is in a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::{Room, refused};

#[expect(clippy::nonsensical_open_options, reason = "they have to be refused")]
pub fn open() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    refused(File::open(&path), ErrorKind::NotFound);
    refused(OpenOptions::new().write(true).open(&path), ErrorKind::NotFound);
    refused(OpenOptions::new().append(true).open(&path), ErrorKind::NotFound);
    OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(b"first")?;
    refused(File::create_new(&path), ErrorKind::AlreadyExists);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
    assert_eq!(file.metadata()?.len(), 5);
    File::create(&path)?;
    assert_eq!(fs::read(&path)?, b"");
    refused(OpenOptions::new().open(&path), ErrorKind::InvalidInput);
    refused(OpenOptions::new().read(true).truncate(true).open(&path), ErrorKind::InvalidInput);
    refused(OpenOptions::new().append(true).truncate(true).open(&path), ErrorKind::InvalidInput);
    refused(File::create(room.at("none/file")), ErrorKind::NotFound);
    refused(File::create(&room.0), ErrorKind::IsADirectory);
    refused(File::open(""), ErrorKind::NotFound);
    Ok(())
}

pub fn append() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut one = OpenOptions::new().append(true).create(true).open(&path)?;
    let mut two = OpenOptions::new().append(true).read(true).open(&path)?;
    one.write_all(b"1")?;
    two.write_all(b"2")?;
    one.write_all(b"3")?;
    two.seek(SeekFrom::Start(0))?;
    two.write_all(b"4")?;
    assert_eq!(fs::read(&path)?, b"1234");
    Ok(())
}

pub fn seek() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    fs::write(&path, "0123456789")?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    assert_eq!(file.seek(SeekFrom::End(-3))?, 7);
    assert_eq!(file.seek(SeekFrom::Current(1))?, 8);
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    assert_eq!(rest, b"89");
    refused(file.seek(SeekFrom::End(-11)), ErrorKind::InvalidInput);
    refused(file.seek(SeekFrom::Current(-11)), ErrorKind::InvalidInput);
    refused(file.seek(SeekFrom::Current(i64::MAX)), ErrorKind::InvalidInput);
    assert_eq!(file.stream_position()?, 10);
    file.rewind()?;
    file.write_all(b"ab")?;
    assert_eq!(fs::read(&path)?, b"ab23456789");
    Ok(())
}

pub fn hole() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    assert_eq!(file.seek(SeekFrom::Start(100_000))?, 100_000);
    assert_eq!(file.metadata()?.len(), 0);
    assert_eq!(file.read(&mut [0; 10])?, 0);
    file.write_all(b"end")?;
    let bytes = fs::read(&path)?;
    assert_eq!(bytes.len(), 100_003);
    assert!(bytes[..100_000].iter().all(|&byte| byte == 0));
    assert_eq!(&bytes[100_000..], b"end");
    Ok(())
}

pub fn length() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    file.write_all(&[1; 10_000])?;
    file.set_len(10)?;
    assert_eq!(fs::read(&path)?, [1; 10]);
    file.set_len(5_000)?;
    let bytes = fs::read(&path)?;
    // What was cut off must not come back.
    assert_eq!((&bytes[..10], bytes[10..].iter().any(|&byte| byte != 0)), (&[1; 10][..], false));
    file.set_len(0)?;
    assert_eq!(file.metadata()?.len(), 0);
    // The position stays where it was.
    assert_eq!(file.stream_position()?, 10_000);
    assert!(File::open(&path)?.set_len(1).is_err());
    file.sync_all()?;
    file.sync_data()
}

pub fn edges() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let pattern = (0..70_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>();
    for size in [1, 511, 4_095, 4_096, 4_097, 65_536, 70_000] {
        fs::write(&path, &pattern[..size])?;
        let mut file = File::open(&path)?;
        let mut back = vec![0; size];
        file.read_exact(&mut back)?;
        assert!(back == pattern[..size], "{size} bytes");
        assert_eq!(file.read(&mut [0])?, 0);
        refused(file.read_exact(&mut [0]), ErrorKind::UnexpectedEof);
    }
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    assert_eq!(file.read(&mut [])?, 0);
    assert_eq!(file.write(&[])?, 0);
    for offset in [4_090, 8_192, 65_535] {
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(b"0123456789")?;
        file.seek(SeekFrom::Start(offset - 1))?;
        let mut around = [0; 12];
        file.read_exact(&mut around)?;
        assert_eq!(&around[1..11], b"0123456789");
        assert_eq!(around[0], pattern[offset as usize - 1]);
        assert_eq!(around[11], pattern[offset as usize + 10]);
    }
    Ok(())
}

pub fn unlinked() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    fs::write(&path, "before")?;
    let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
    fs::remove_file(&path)?;
    refused(File::open(&path), ErrorKind::NotFound);
    file.write_all(b" and after")?;
    fs::write(&path, "another")?;
    file.rewind()?;
    assert_eq!(io::read_to_string(&file)?, "before and after");
    assert_eq!(fs::read(&path)?, b"another");
    Ok(())
}

pub fn two_handles() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut writer = File::create(&path)?;
    let mut reader = File::open(&path)?;
    writer.write_all(b"one")?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    writer.write_all(b"two")?;
    reader.read_to_string(&mut text)?;
    assert_eq!(text, "onetwo");
    File::create(&path)?;
    assert_eq!(reader.read(&mut [0])?, 0);
    Ok(())
}

pub fn clone() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    fs::write(&path, "abcdef")?;
    let mut one = File::open(&path)?;
    let mut two = one.try_clone()?;
    let mut buffer = [0; 2];
    one.read_exact(&mut buffer)?;
    two.read_exact(&mut buffer)?;
    assert_eq!(&buffer, b"cd");
    drop(one);
    two.read_exact(&mut buffer)?;
    assert_eq!(&buffer, b"ef");
    Ok(())
}

pub fn access() -> io::Result<()> {
    const EBADF: Option<i32> = Some(9);
    let room = Room::new()?;
    let path = room.at("file");
    fs::write(&path, "text")?;
    let number = |result: io::Result<usize>| result.err().and_then(|error| error.raw_os_error());
    assert_eq!(number(File::open(&path)?.write(b"x")), EBADF);
    let mut writer = OpenOptions::new().write(true).open(&path)?;
    assert_eq!(number(writer.read(&mut [0; 4])), EBADF);
    let mut directory = File::open(&room.0)?;
    refused(directory.read(&mut [0; 4]), ErrorKind::IsADirectory);
    directory.sync_all()?;
    assert_eq!(fs::read(&path)?, b"text");
    Ok(())
}

pub fn metadata() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    fs::write(&path, "12345")?;
    let metadata = fs::metadata(&path)?;
    assert!(metadata.is_file() && !metadata.is_dir() && !metadata.is_symlink());
    assert_eq!(metadata.len(), 5);
    let age = metadata.modified()?.elapsed().map_err(io::Error::other)?;
    assert!(age < Duration::from_secs(60), "{age:?}");
    assert!(metadata.accessed().is_ok());
    let before = metadata.modified()?;
    thread::sleep(Duration::from_millis(30));
    OpenOptions::new().append(true).open(&path)?.write_all(b"6")?;
    assert!(fs::metadata(&path)?.modified()? > before);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    OpenOptions::new().write(true).open(&path)?.set_modified(then)?;
    assert_eq!(fs::metadata(&path)?.modified()?, then);
    assert!(fs::metadata(&room.0)?.is_dir());
    refused(fs::metadata(room.at("none")), ErrorKind::NotFound);
    // Made before it was changed, and not made again.
    let made = metadata.created()?;
    assert!(made <= before && fs::metadata(&path)?.created()? == made);
    let mut permissions = fs::metadata(&path)?.permissions();
    assert!(!permissions.readonly());
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions)?;
    assert!(fs::metadata(&path)?.permissions().readonly());
    Ok(())
}

pub fn large() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let mut file = File::create(&path)?;
    for i in 0..16_u8 {
        file.write_all(&vec![i; 1 << 20])?;
    }
    let mut file = File::open(&path)?;
    let mut block = vec![0; 1 << 20];
    for i in 0..16_u8 {
        file.read_exact(&mut block)?;
        assert!(block.iter().all(|&byte| byte == i), "block {i}");
    }
    assert_eq!(file.read(&mut block)?, 0);
    Ok(())
}

pub fn threads() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    File::create(&path)?;
    thread::scope(|scope| {
        let writers = ["aaaaaaa\n", "bbbbbbb\n", "ccccccc\n"].map(|line| {
            let path = &path;
            scope.spawn(move || -> io::Result<()> {
                let mut file = OpenOptions::new().append(true).open(path)?;
                (0..500).try_for_each(|_| file.write_all(line.as_bytes()))
            })
        });
        writers.into_iter().try_for_each(|writer| writer.join().expect("a writer panicked"))
    })?;
    let text = fs::read_to_string(&path)?;
    assert_eq!(text.len(), 12_000);
    for line in text.lines() {
        assert!(matches!(line, "aaaaaaa" | "bbbbbbb" | "ccccccc"), "{line:?}");
    }
    Ok(())
}
