//! Directories and what moves between them.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};

use crate::{Room, refused};

pub fn make() -> io::Result<()> {
    let room = Room::new()?;
    fs::create_dir(room.at("a"))?;
    refused(fs::create_dir(room.at("a")), ErrorKind::AlreadyExists);
    refused(fs::create_dir(room.at("x/y")), ErrorKind::NotFound);
    fs::create_dir_all(room.at("x/y/z"))?;
    fs::create_dir_all(room.at("x/y/z"))?;
    assert!(room.at("x/y/z").is_dir());
    fs::write(room.at("file"), "")?;
    refused(fs::create_dir(room.at("file")), ErrorKind::AlreadyExists);
    refused(fs::create_dir(room.at("file/a")), ErrorKind::NotADirectory);
    refused(fs::create_dir("/"), ErrorKind::AlreadyExists);
    Ok(())
}

pub fn remove() -> io::Result<()> {
    let room = Room::new()?;
    fs::create_dir_all(room.at("a/b"))?;
    refused(fs::remove_dir(room.at("a")), ErrorKind::DirectoryNotEmpty);
    fs::remove_dir(room.at("a/b"))?;
    fs::remove_dir(room.at("a"))?;
    refused(fs::remove_dir(room.at("a")), ErrorKind::NotFound);
    fs::write(room.at("file"), "")?;
    refused(fs::remove_dir(room.at("file")), ErrorKind::NotADirectory);
    refused(fs::remove_file(room.at("none")), ErrorKind::NotFound);
    fs::create_dir(room.at("directory"))?;
    refused(fs::remove_file(room.at("directory")), ErrorKind::IsADirectory);
    Ok(())
}

pub fn list() -> io::Result<()> {
    let room = Room::new()?;
    refused(fs::read_dir(room.at("none")), ErrorKind::NotFound);
    fs::create_dir(room.at("empty"))?;
    assert!(fs::read_dir(room.at("empty"))?.next().is_none());
    fs::write(room.at("file"), "12")?;
    refused(fs::read_dir(room.at("file")), ErrorKind::NotADirectory);
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(&room.0)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(entry.path(), room.at(&name));
        assert_eq!(entry.file_type()?.is_dir(), name == "empty");
        assert_eq!(entry.metadata()?.is_file(), name == "file");
        assert!(seen.insert(name));
    }
    assert_eq!(seen, ["empty", "file"].map(String::from).into());
    Ok(())
}

pub fn many() -> io::Result<()> {
    let room = Room::new()?;
    for i in 0..1_000 {
        fs::write(room.at(&format!("file-{i}")), i.to_string())?;
    }
    for i in (0..1_000).step_by(3) {
        fs::remove_file(room.at(&format!("file-{i}")))?;
    }
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(&room.0)? {
        let number = fs::read_to_string(entry?.path())?.parse::<u32>().unwrap();
        assert!(number % 3 != 0 && seen.insert(number), "{number}");
    }
    assert_eq!(seen.len(), 666);
    Ok(())
}

pub fn rename_files() -> io::Result<()> {
    let room = Room::new()?;
    let (one, two) = (room.at("one"), room.at("two"));
    fs::write(&one, "1")?;
    fs::write(&two, "2")?;
    let mut open = File::open(&two)?;
    fs::rename(&one, &two)?;
    refused(fs::read(&one), ErrorKind::NotFound);
    assert_eq!(fs::read(&two)?, b"1");
    // The file that was in the way is still there for the one who has it open.
    let mut text = String::new();
    open.read_to_string(&mut text)?;
    assert_eq!(text, "2");
    fs::rename(&two, &two)?;
    assert_eq!(fs::read(&two)?, b"1");
    fs::create_dir(room.at("directory"))?;
    fs::rename(&two, room.at("directory/three"))?;
    assert_eq!(fs::read(room.at("directory/three"))?, b"1");
    refused(fs::rename(room.at("none"), &one), ErrorKind::NotFound);
    refused(fs::rename(room.at("directory/three"), room.at("none/four")), ErrorKind::NotFound);
    fs::create_dir(room.at("empty"))?;
    refused(fs::rename(room.at("directory/three"), room.at("empty")), ErrorKind::IsADirectory);
    Ok(())
}

pub fn rename_directories() -> io::Result<()> {
    let room = Room::new()?;
    fs::create_dir_all(room.at("a/b"))?;
    fs::write(room.at("a/b/file"), "x")?;
    fs::create_dir(room.at("empty"))?;
    fs::rename(room.at("a"), room.at("empty"))?;
    assert_eq!(fs::read(room.at("empty/b/file"))?, b"x");
    fs::create_dir_all(room.at("full/x"))?;
    refused(fs::rename(room.at("empty"), room.at("full")), ErrorKind::DirectoryNotEmpty);
    refused(fs::rename(room.at("full"), room.at("full/x/y")), ErrorKind::InvalidInput);
    fs::write(room.at("file"), "")?;
    refused(fs::rename(room.at("full"), room.at("file")), ErrorKind::NotADirectory);
    Ok(())
}

pub fn remove_tree() -> io::Result<()> {
    let room = Room::new()?;
    let mut deep = room.at("tree");
    for i in 0..30 {
        deep.push(format!("level-{i}"));
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("file"), "x")?;
    }
    fs::remove_dir_all(room.at("tree"))?;
    assert!(!room.at("tree").exists());
    refused(fs::remove_dir_all(room.at("tree")), ErrorKind::NotFound);
    Ok(())
}

pub fn remove_current() -> io::Result<()> {
    let room = Room::new()?;
    let before = env::current_dir()?;
    fs::create_dir(room.at("a"))?;
    env::set_current_dir(room.at("a"))?;
    assert_eq!(env::current_dir()?, room.at("a").canonicalize()?);
    fs::remove_dir(room.at("a"))?;
    refused(env::current_dir(), ErrorKind::NotFound);
    refused(fs::write("file", ""), ErrorKind::NotFound);
    env::set_current_dir(before)
}
