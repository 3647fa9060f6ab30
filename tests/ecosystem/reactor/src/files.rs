//! rustix: files, names, directories. tempfile: files that go by themselves.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{
    self, Access, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, SeekFrom, Timespec,
    Timestamps,
};
use rustix::io::{Errno, pread, pwrite, read, write};

pub fn open() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("file");
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = fs::openat(CWD, &path, flags, mode)?;
    assert_eq!(write(&file, b"0123456789")?, 10);
    let stat = fs::fstat(&file)?;
    assert_eq!((stat.st_size, stat.st_mode & 0o777), (10, 0o600));
    assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile);
    fs::ftruncate(&file, 4)?;
    fs::fsync(&file)?;
    fs::fdatasync(&file)?;
    assert_eq!(fs::stat(&path)?.st_size, 4);
    assert_eq!(fs::open(&path, flags, mode).err(), Some(Errno::EXIST));
    assert_eq!(fs::open("/no/such/file", OFlags::RDONLY, mode).err(), Some(Errno::NOENT));
    fs::fchmod(&file, Mode::RUSR)?;
    assert_eq!(fs::stat(&path)?.st_mode & 0o777, 0o400);
    fs::access(&path, Access::EXISTS)?;
    assert_eq!(fs::access(&path, Access::EXEC_OK), Err(Errno::ACCESS));
    Ok(())
}

pub fn positions() -> io::Result<()> {
    let file = tempfile::tempfile()?;
    assert_eq!(pwrite(&file, b"abc", 5)?, 3);
    assert_eq!(fs::tell(&file)?, 0);
    assert_eq!(fs::seek(&file, SeekFrom::End(-2))?, 6);
    let mut two = [0; 2];
    assert_eq!(read(&file, &mut two)?, 2);
    assert_eq!(&two, b"bc");
    assert_eq!(pread(&file, &mut two, 4)?, 2);
    assert_eq!(&two, b"\0a");
    assert_eq!(fs::seek(&file, SeekFrom::Current(-100)), Err(Errno::INVAL));
    Ok(())
}

pub fn names() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("a"), "text")?;
    fs::rename(path("a"), path("b"))?;
    fs::link(path("b"), path("c"))?;
    fs::symlinkat("c", CWD, path("d"))?;
    assert_eq!(fs::readlinkat(CWD, path("d"), Vec::new())?.to_bytes(), b"c");
    assert_eq!(std::fs::read_to_string(path("d"))?, "text");
    assert_eq!(fs::stat(path("b"))?.st_nlink, 2);
    let link = fs::statat(CWD, path("d"), AtFlags::SYMLINK_NOFOLLOW)?;
    assert_eq!(FileType::from_raw_mode(link.st_mode), FileType::Symlink);
    fs::unlink(path("b"))?;
    fs::unlinkat(CWD, path("c"), AtFlags::empty())?;
    assert_eq!(fs::stat(path("d")).err(), Some(Errno::NOENT));
    assert_eq!(fs::unlink(path("b")), Err(Errno::NOENT));
    Ok(())
}

fn listed(entries: Dir) -> io::Result<BTreeSet<(String, bool)>> {
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            assert!(names.insert((name, entry.file_type() == FileType::Directory)));
        }
    }
    Ok(names)
}

pub fn directories() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut wanted = BTreeSet::new();
    for number in 0..300 {
        let name = format!("{number:03}-{}", "x".repeat(number % 90));
        let path = directory.path().join(&name);
        match number % 2 {
            0 => fs::mkdir(&path, Mode::RWXU)?,
            _ => std::fs::write(&path, "")?,
        }
        wanted.insert((name, number % 2 == 0));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || fs::open(directory.path(), flags, Mode::empty());
    let handle = open()?;
    // Borrowed, twice: the first one leaves no trace on the second.
    assert_eq!(listed(Dir::read_from(&handle)?)?, wanted);
    assert_eq!(listed(Dir::read_from(&handle)?)?, wanted);
    let mut entries = Dir::new(open()?)?;
    assert!(entries.by_ref().take(7).all(|entry| entry.is_ok()));
    entries.rewind();
    assert_eq!(listed(entries)?, wanted);
    let first = directory.path().join("000-");
    fs::rmdir(&first)?;
    assert_eq!(fs::rmdir(&first), Err(Errno::NOENT));
    assert_eq!(fs::rmdir(directory.path()), Err(Errno::NOTEMPTY));
    let file = tempfile::tempfile()?;
    assert_eq!(Dir::read_from(&file).err(), Some(Errno::NOTDIR));
    Ok(())
}

/// In an image only the current directory can be walked from: every other one is an error that says so.
pub fn below() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("file"), "text")?;
    let handle = fs::open(directory.path(), OFlags::DIRECTORY, Mode::empty())?;
    let found = fs::statat(&handle, "file", AtFlags::empty()).map(|stat| stat.st_size);
    match cfg!(target_os = "hermit") {
        true => assert_eq!(found, Err(Errno::NOSYS)),
        false => assert_eq!(found, Ok(4)),
    }
    // An absolute path needs no directory.
    fs::statat(&handle, directory.path().join("file"), AtFlags::empty())?;
    Ok(())
}

pub fn times_and_locks() -> io::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let time = |tv_sec| Timespec { tv_sec, tv_nsec: 5 };
    let times = Timestamps { last_access: time(1000), last_modification: time(2000) };
    fs::futimens(file.as_file(), &times)?;
    let seconds = |path: &Path| {
        let modified = std::fs::metadata(path)?.modified()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH);
        since.map(|since| since.as_secs()).map_err(io::Error::other)
    };
    assert_eq!(seconds(file.path())?, 2000);
    let now = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    fs::utimensat(CWD, file.path(), &times, AtFlags::empty())?;
    assert!(seconds(file.path())? > 1_000_000);
    let other = file.reopen()?;
    fs::flock(file.as_file(), FlockOperation::LockExclusive)?;
    let second = fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(second, Err(Errno::WOULDBLOCK));
    fs::flock(file.as_file(), FlockOperation::Unlock)?;
    fs::flock(&other, FlockOperation::NonBlockingLockShared)?;
    Ok(())
}

pub fn temporary() -> io::Result<()> {
    let mut nameless = tempfile::tempfile()?;
    nameless.write_all(b"nameless")?;
    nameless.rewind()?;
    let mut text = String::new();
    nameless.read_to_string(&mut text)?;
    assert_eq!(text, "nameless");
    let named = tempfile::NamedTempFile::new()?;
    let path = named.path().to_owned();
    assert!(path.exists());
    drop(named);
    assert!(!path.exists());
    Ok(())
}
