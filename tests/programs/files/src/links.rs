//! Hard links and symbolic links.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::{Room, refused};

/// Linux's numbers: std has no stable kind for the first, and no name for the second.
const ELOOP: i32 = 40;
const O_NOFOLLOW: i32 = 0o400_000;

#[track_caller]
fn refused_as_loop<T>(result: io::Result<T>) {
    assert_eq!(result.err().and_then(|error| error.raw_os_error()), Some(ELOOP));
}

pub fn hard() -> io::Result<()> {
    let room = Room::new()?;
    let (one, two) = (room.at("one"), room.at("two"));
    fs::write(&one, "text")?;
    assert_eq!(fs::metadata(&one)?.nlink(), 1);
    fs::hard_link(&one, &two)?;
    assert_eq!(fs::metadata(&one)?.nlink(), 2);
    assert_eq!(fs::metadata(&one)?.ino(), fs::metadata(&two)?.ino());
    OpenOptions::new().append(true).open(&two)?.write_all(b" and more")?;
    assert_eq!(fs::read(&one)?, b"text and more");
    // Two names of one file: nothing is to be done.
    fs::rename(&one, &two)?;
    assert!(one.exists() && two.exists());
    fs::remove_file(&one)?;
    assert_eq!(fs::metadata(&two)?.nlink(), 1);
    assert_eq!(fs::read(&two)?, b"text and more");

    fs::write(&one, "")?;
    refused(fs::hard_link(&one, &two), ErrorKind::AlreadyExists);
    refused(fs::hard_link(room.at("none"), room.at("three")), ErrorKind::NotFound);
    refused(fs::hard_link(&one, room.at("none/three")), ErrorKind::NotFound);
    fs::create_dir(room.at("directory"))?;
    refused(fs::hard_link(room.at("directory"), room.at("three")), ErrorKind::PermissionDenied);
    assert_eq!(fs::metadata(&room.0)?.nlink(), 3);
    // A link to a link is a second name of the link, not of what it leads to.
    symlink("two", room.at("link"))?;
    fs::hard_link(room.at("link"), room.at("again"))?;
    assert_eq!(fs::read_link(room.at("again"))?, Path::new("two"));
    assert_eq!(fs::symlink_metadata(room.at("again"))?.nlink(), 2);
    Ok(())
}

pub fn symbolic() -> io::Result<()> {
    let room = Room::new()?;
    let (file, link) = (room.at("file"), room.at("link"));
    fs::write(&file, "text")?;
    symlink("file", &link)?;
    assert_eq!(fs::read_link(&link)?, Path::new("file"));
    assert_eq!(fs::read(&link)?, b"text");
    assert!(fs::metadata(&link)?.is_file());
    let own = fs::symlink_metadata(&link)?;
    assert!(own.is_symlink() && !own.is_file() && own.len() == 4);
    assert!(!fs::symlink_metadata(&file)?.is_symlink());
    for entry in fs::read_dir(&room.0)? {
        let entry = entry?;
        assert_eq!(entry.file_type()?.is_symlink(), entry.file_name() == "link");
        assert_eq!(entry.metadata()?.is_symlink(), entry.file_name() == "link");
    }
    refused(symlink("file", &link), ErrorKind::AlreadyExists);
    refused(symlink("", room.at("empty")), ErrorKind::NotFound);
    refused(fs::read_link(&file), ErrorKind::InvalidInput);
    refused(fs::read_link(room.at("none")), ErrorKind::NotFound);

    OpenOptions::new().append(true).open(&link)?.write_all(b"!")?;
    assert_eq!(fs::read(&file)?, b"text!");
    refused_as_loop(OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&link));
    assert_eq!(fs::copy(&link, room.at("copy"))?, 5);
    assert!(fs::symlink_metadata(room.at("copy"))?.is_file());

    // The name alone moves and goes.
    fs::rename(&link, room.at("moved"))?;
    assert_eq!(fs::read_link(room.at("moved"))?, Path::new("file"));
    fs::remove_file(room.at("moved"))?;
    assert_eq!(fs::read(&file)?, b"text!");
    Ok(())
}

pub fn dangling() -> io::Result<()> {
    let room = Room::new()?;
    let link = room.at("link");
    symlink("target", &link)?;
    refused(fs::metadata(&link), ErrorKind::NotFound);
    refused(File::open(&link), ErrorKind::NotFound);
    refused(fs::canonicalize(&link), ErrorKind::NotFound);
    assert!(!link.exists() && fs::symlink_metadata(&link)?.is_symlink());
    refused(File::create_new(&link), ErrorKind::AlreadyExists);
    refused(fs::create_dir(&link), ErrorKind::AlreadyExists);
    // What is made through a link is made where the link leads.
    fs::write(&link, "made")?;
    assert_eq!(fs::read(room.at("target"))?, b"made");
    assert!(fs::symlink_metadata(&link)?.is_symlink());
    fs::remove_file(room.at("target"))?;
    refused(fs::metadata(&link), ErrorKind::NotFound);
    Ok(())
}

pub fn directories() -> io::Result<()> {
    let room = Room::new()?;
    fs::create_dir_all(room.at("a/b"))?;
    fs::write(room.at("a/file"), "x")?;
    fs::write(room.at("a/b/file"), "y")?;
    symlink("a/b", room.at("link"))?;
    symlink(room.at("a"), room.at("absolute"))?;
    assert_eq!(fs::read(room.at("link/file"))?, b"y");
    // `..` is that of the directory that the link leads to.
    assert_eq!(fs::read(room.at("link/../file"))?, b"x");
    assert_eq!(fs::read(room.at("absolute/b/file"))?, b"y");
    let real = fs::canonicalize(&room.0)?;
    assert_eq!(fs::canonicalize(room.at("link/file"))?, real.join("a/b/file"));
    assert_eq!(fs::canonicalize(room.at("absolute/../link"))?, real.join("a/b"));
    assert!(fs::symlink_metadata(room.at("link/"))?.is_dir());
    fs::create_dir(room.at("link/new"))?;
    assert!(room.at("a/b/new").is_dir());
    assert_eq!(fs::read_dir(room.at("link"))?.count(), 2);
    refused(fs::remove_dir(room.at("link")), ErrorKind::NotADirectory);
    refused(fs::rename(room.at("a"), room.at("link")), ErrorKind::NotADirectory);
    fs::write(room.at("file"), "")?;
    symlink("file", room.at("to-file"))?;
    refused(File::open(room.at("to-file/")), ErrorKind::NotADirectory);
    refused(File::open(room.at("to-file/x")), ErrorKind::NotADirectory);
    Ok(())
}

pub fn remove_tree() -> io::Result<()> {
    let room = Room::new()?;
    fs::create_dir_all(room.at("kept"))?;
    fs::write(room.at("kept/file"), "x")?;
    fs::create_dir(room.at("tree"))?;
    symlink("../kept", room.at("tree/link"))?;
    symlink("..", room.at("tree/up"))?;
    fs::remove_dir_all(room.at("tree"))?;
    assert!(!room.at("tree").exists() && room.at("kept/file").exists());
    symlink("kept", room.at("link"))?;
    // std removes the link itself, as it does on Unix.
    fs::remove_dir_all(room.at("link"))?;
    assert!(fs::symlink_metadata(room.at("link")).is_err() && room.at("kept/file").exists());
    Ok(())
}

pub fn circles() -> io::Result<()> {
    let room = Room::new()?;
    symlink("b", room.at("a"))?;
    symlink("a", room.at("b"))?;
    symlink("self/x", room.at("self"))?;
    for name in ["a", "a/x", "self"] {
        refused_as_loop(fs::metadata(room.at(name)));
        refused_as_loop(File::open(room.at(name)));
        refused_as_loop(File::create(room.at(name)));
        refused_as_loop(fs::canonicalize(room.at(name)));
    }
    assert_eq!(fs::read_link(room.at("a"))?, Path::new("b"));
    // 40 links on one way are the most.
    fs::write(room.at("0"), "end")?;
    for number in 1..=41 {
        symlink((number - 1).to_string(), room.at(&number.to_string()))?;
    }
    assert_eq!(fs::read(room.at("40"))?, b"end");
    refused_as_loop(fs::read(room.at("41")));
    Ok(())
}

pub fn times() -> io::Result<()> {
    use std::time::{Duration, SystemTime};
    let room = Room::new()?;
    fs::write(room.at("file"), "")?;
    symlink("file", room.at("link"))?;
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(room.at("link"))?.set_times(fs::FileTimes::new().set_modified(then))?;
    assert_eq!(fs::metadata(room.at("link"))?.modified()?, then);
    assert_eq!(fs::metadata(room.at("file"))?.mtime(), 1_000_000_000);
    assert!(fs::symlink_metadata(room.at("link"))?.modified()? > then);
    Ok(())
}

/// A path whose links go a long way round.
pub fn long_way() -> io::Result<()> {
    let room = Room::new()?;
    fs::create_dir(room.at("d"))?;
    let mut target = PathBuf::new();
    (0..600).for_each(|_| target.extend(["d", ".."]));
    fs::write(room.at("file"), "x")?;
    symlink(target.join("file"), room.at("link"))?;
    assert_eq!(fs::read(room.at("link"))?, b"x");
    assert_eq!(fs::read_link(room.at("link"))?, target.join("file"));
    Ok(())
}
