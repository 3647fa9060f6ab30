//! The host's files that the guest sees: those below its mounts, and nothing else.
//!
//! A path of the guest's is resolved by Linux itself beneath the mount's directory (`openat2(2)` with
//! `RESOLVE_BENEATH`): neither `..` nor a symbolic link leads out of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::options;

/// The first descriptor of a file; those before it are the standard streams.
const FIRST: i32 = 3;
/// The most files that a guest has open.
const MOST: usize = 1024;
/// What a guest may ask for when it opens a file.
const FLAGS: OFlags = OFlags::RDWR
    .union(OFlags::WRONLY)
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::TRUNC)
    .union(OFlags::APPEND)
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::SYNC);

/// A part of the host's files.
struct Mount {
    guest: String,
    /// The directory; of a single file, the directory that it is in.
    directory: OwnedFd,
    /// The file's name there.
    file: Option<String>,
    read_only: bool,
}

/// What the guest sees of the host's files, and what it has opened.
#[derive(Default)]
pub struct Files {
    mounts: Vec<Mount>,
    open: Mutex<Vec<Option<Arc<Open>>>>,
}

/// A file that is open.
pub struct Open {
    file: OwnedFd,
    /// Nothing about it may be changed.
    pub read_only: bool,
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Where in the table an open file is.
fn place_of(descriptor: i32) -> Result<usize, Errno> {
    let place = descriptor.checked_sub(FIRST).and_then(|place| usize::try_from(place).ok());
    place.ok_or(Errno::BADF)
}

/// A path below a mount.
struct Place<'a> {
    mount: &'a Mount,
    path: String,
}

impl Files {
    /// Opens the mounts' directories.
    ///
    /// # Errors
    ///
    /// When one is not there.
    pub fn new(mounts: &[options::Mount]) -> Result<Files> {
        let mut files = Files::default();
        for mount in mounts {
            let what = || format!("cannot mount {}", mount.host.display());
            let host = mount.host.canonicalize().with_context(what)?;
            let (directory, file) = if host.is_dir() {
                (host.as_path(), None)
            } else {
                let name = host.file_name().and_then(|name| name.to_str()).with_context(what)?;
                (host.parent().with_context(what)?, Some(name.to_owned()))
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = fs::openat(CWD, directory, flags, Mode::empty()).with_context(what)?;
            files.mounts.push(Mount {
                guest: mount.guest.clone(),
                directory,
                file,
                read_only: mount.read_only,
            });
        }
        // The longest path first: a mount below another one hides a part of it.
        files.mounts.sort_by_key(|mount| std::cmp::Reverse(mount.guest.len()));
        Ok(files)
    }

    /// The mounts' directories, and whether they may be written to.
    pub fn directories(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let mounts = self.mounts.iter();
        mounts.map(|mount| (mount.directory.as_fd(), !mount.read_only))
    }

    /// The mount that a path lies in.
    fn place(&self, path: &str) -> Result<Place<'_>, Errno> {
        let found = self.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.guest.as_str())?;
            (rest.is_empty() || rest.starts_with('/'))
                .then_some((mount, rest.trim_start_matches('/')))
        });
        let (mount, rest) = found.ok_or(Errno::NOENT)?;
        let path = match (&mount.file, rest) {
            (Some(file), "") => file.clone(),
            (Some(_), _) => return Err(Errno::NOTDIR),
            (None, "") => ".".to_owned(),
            (None, rest) => rest.to_owned(),
        };
        Ok(Place { mount, path })
    }

    /// An open file.
    pub(crate) fn get(&self, descriptor: i32) -> Result<Arc<Open>, Errno> {
        self.open.lock().get(place_of(descriptor)?).and_then(Option::clone).ok_or(Errno::BADF)
    }

    /// Opens a file; gives its descriptor. `EROFS` below a mount that is read-only.
    pub(crate) fn open(&self, path: &str, flags: i32, mode: i32) -> Result<i32, Errno> {
        let place = self.place(path)?;
        let flags = OFlags::from_bits_retain(flags as u32) & FLAGS;
        let writes =
            OFlags::RDWR | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND;
        if place.mount.read_only && flags.intersects(writes) {
            return Err(Errno::ROFS);
        }
        let mode = if flags.contains(OFlags::CREATE) {
            Mode::from_bits_truncate(mode as u32 & 0o777)
        } else {
            Mode::empty()
        };
        let file = place.open(flags, mode)?;
        // A pipe or a device would be a way out, or would block the guest's processor.
        let kind = fs::FileType::from_raw_mode(fs::fstat(&file)?.st_mode);
        if !matches!(kind, fs::FileType::RegularFile | fs::FileType::Directory) {
            return Err(Errno::ACCESS);
        }
        let mut table = self.open.lock();
        let number = table.iter().position(Option::is_none).unwrap_or(table.len());
        if number >= MOST {
            return Err(Errno::MFILE);
        }
        if number == table.len() {
            table.push(None);
        }
        let read_only = place.mount.read_only;
        table[number] = Some(Arc::new(Open { file, read_only }));
        Ok(number as i32 + FIRST)
    }

    /// Closes a file.
    pub(crate) fn close(&self, descriptor: i32) -> Result<(), Errno> {
        let file = self.open.lock().get_mut(place_of(descriptor)?).and_then(Option::take);
        file.map(drop).ok_or(Errno::BADF)
    }

    /// Removes a file's name, or an empty directory.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Errno> {
        self.change(path, |directory, name| {
            match fs::unlinkat(directory, name, fs::AtFlags::empty()) {
                Err(Errno::ISDIR) => fs::unlinkat(directory, name, fs::AtFlags::REMOVEDIR),
                done => done,
            }
        })
    }

    /// Gives a file or directory another name, below the same mount.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        self.change_both(from, to, |(from, old), (to, new)| {
            fs::renameat_with(from, old, to, new, fs::RenameFlags::empty())
        })
    }

    /// Gives a file another name beside the one it has, below the same mount.
    pub(crate) fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        self.change_both(from, to, |(from, old), (to, new)| {
            fs::linkat(from, old, to, new, fs::AtFlags::empty())
        })
    }

    /// Makes a symbolic link, whatever it stands for: one that leads out of the mount is never followed.
    pub(crate) fn make_link(&self, target: &str, path: &str) -> Result<(), Errno> {
        self.change(path, |directory, name| fs::symlinkat(target, directory, name))
    }

    /// What a symbolic link stands for.
    pub(crate) fn read_link(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let link = self.place(path)?.open(OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        match fs::readlinkat(link, "", Vec::new()) {
            Err(Errno::NOENT) => Err(Errno::INVAL),
            target => target.map(std::ffi::CString::into_bytes),
        }
    }

    /// A file or directory, for as long as it is looked at.
    pub(crate) fn find(&self, path: &str) -> Result<Open, Errno> {
        let place = self.place(path)?;
        Ok(Open {
            file: place.open(OFlags::RDONLY, Mode::empty())?,
            read_only: place.mount.read_only,
        })
    }

    fn change_both(
        &self,
        from: &str,
        to: &str,
        work: impl FnOnce((BorrowedFd<'_>, &str), (BorrowedFd<'_>, &str)) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !std::ptr::eq(self.place(from)?.mount, self.place(to)?.mount) {
            return Err(Errno::XDEV);
        }
        self.change(from, |directory, name| {
            self.change(to, |other, new| work((directory, name), (other, new)))
        })
    }

    /// Makes a directory.
    pub(crate) fn make_directory(&self, path: &str) -> Result<(), Errno> {
        self.change(path, |directory, name| {
            fs::mkdirat(directory, name, Mode::from_bits_truncate(0o777))
        })
    }

    /// Does something to a name in the directory that it is in, which is opened beneath the mount.
    fn change(
        &self,
        path: &str,
        work: impl FnOnce(BorrowedFd<'_>, &str) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let place = self.place(path)?;
        if place.mount.read_only {
            return Err(Errno::ROFS);
        }
        let path = place.path.trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        if matches!(name, "" | "." | "..") || place.mount.file.is_some() {
            return Err(Errno::BUSY);
        }
        let parent = Place { mount: place.mount, path: parent.to_owned() };
        work(parent.open(OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?.as_fd(), name)
    }

    /// What there is to know about a path; of a symbolic link itself unless `follow`.
    pub(crate) fn stat(&self, path: &str, follow: bool) -> Result<fs::Stat, Errno> {
        let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        fs::fstat(self.place(path)?.open(flags, Mode::empty())?)
    }
}

impl Place<'_> {
    fn open(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // Not to wait for the other end of a pipe.
        let own = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let flags =
            if flags.contains(OFlags::PATH) { flags | OFlags::CLOEXEC } else { flags | own };
        match openat2(&self.mount.directory, self.path.as_str(), flags, mode, beneath) {
            // A way out of the mount.
            Err(Errno::XDEV) => Err(Errno::ACCESS),
            opened => opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(read_only: bool) -> (tempfile::TempDir, Files) {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("in")).unwrap();
        std::fs::write(place.path().join("in/file"), "inside").unwrap();
        std::fs::write(place.path().join("secret"), "outside").unwrap();
        for (target, name) in [("../secret", "up"), ("/etc/passwd", "away"), ("file", "near")] {
            std::os::unix::fs::symlink(target, place.path().join("in").join(name)).unwrap();
        }
        let mount = |host: &str, guest: &str| options::Mount {
            host: place.path().join(host),
            guest: guest.into(),
            read_only,
        };
        let files = Files::new(&[mount("in", "/data"), mount("secret", "/one")]).unwrap();
        (place, files)
    }

    #[test]
    fn nothing_leads_out_of_a_mount() {
        let (_place, files) = files(false);
        for path in [
            "/data/../secret",
            "/data/up",
            "/data/away",
            "/data/in/../../secret",
            "/data/../../etc/passwd",
        ] {
            assert!(matches!(files.open(path, 0, 0), Err(Errno::ACCESS | Errno::NOENT)), "{path}");
            assert!(files.stat(path, true).is_err(), "{path}");
        }
        for path in ["/etc/passwd", "data/file", "", "/", "/datax", "/one/x"] {
            assert!(files.open(path, 0, 0).is_err(), "{path}");
        }
        for path in ["/data/file", "/data/near", "/data//file", "/one", "/data", "/data/"] {
            assert!(files.open(path, 0, 0).is_ok(), "{path}");
        }
        assert_eq!(files.remove("/data/../secret"), Err(Errno::ACCESS));
        assert_eq!(files.make_directory("/data/../new"), Err(Errno::ACCESS));
        assert_eq!(files.remove("/data"), Err(Errno::BUSY));
        assert_eq!(files.remove("/one"), Err(Errno::BUSY));
    }

    #[test]
    fn a_read_only_mount_stays_as_it_is() {
        let (place, files) = files(true);
        let create = libc::O_CREAT | libc::O_WRONLY;
        for flags in [libc::O_WRONLY, libc::O_RDWR, create, libc::O_TRUNC, libc::O_APPEND] {
            assert_eq!(files.open("/data/file", flags, 0o600), Err(Errno::ROFS));
        }
        assert_eq!(files.remove("/data/file"), Err(Errno::ROFS));
        assert_eq!(files.make_directory("/data/new"), Err(Errno::ROFS));
        assert_eq!(std::fs::read(place.path().join("in/file")).unwrap(), b"inside");
    }

    #[test]
    fn names_are_changed_below_one_mount() {
        let (place, files) = files(false);
        let inside = place.path().join("in");
        assert_eq!(files.rename("/data/file", "/data/other"), Ok(()));
        assert_eq!(std::fs::read(inside.join("other")).unwrap(), b"inside");
        assert_eq!(files.link("/data/other", "/data/file"), Ok(()));
        assert_eq!(files.make_link("/etc/passwd", "/data/link"), Ok(()));
        assert_eq!(files.read_link("/data/link").unwrap(), b"/etc/passwd");
        assert_eq!(files.read_link("/data/file"), Err(Errno::INVAL));
        assert!(matches!(files.find("/data/link"), Err(Errno::ACCESS)));
        for (from, to) in [("/data/file", "/one"), ("/one", "/data/new"), ("/data/up", "/one")] {
            assert_eq!(files.rename(from, to), Err(Errno::XDEV), "{from} {to}");
        }
        for (from, to) in [
            ("/data/../secret", "/data/new"),
            ("/data/file", "/data/../new"),
            ("/data/file", "/new"),
            ("/one", "/one"),
            ("/data", "/data/in"),
        ] {
            assert!(files.rename(from, to).is_err(), "{from} {to}");
            assert!(files.link(from, to).is_err(), "{from} {to}");
        }
        let (_place, files) = self::files(true);
        assert_eq!(files.rename("/data/file", "/data/other"), Err(Errno::ROFS));
        assert_eq!(files.link("/data/file", "/data/other"), Err(Errno::ROFS));
        assert_eq!(files.make_link("file", "/data/other"), Err(Errno::ROFS));
        assert!(files.find("/data/file").unwrap().read_only);
    }

    #[test]
    fn descriptors_are_found_and_reused() {
        let (_place, files) = files(false);
        let first = files.open("/data/new", libc::O_CREAT | libc::O_RDWR, 0o600).unwrap();
        assert_eq!((first, files.open("/one", 0, 0)), (3, Ok(4)));
        assert_eq!(files.close(3), Ok(()));
        assert_eq!(
            (files.close(3), files.close(0), files.close(-5), files.close(i32::MAX)),
            (Err(Errno::BADF), Err(Errno::BADF), Err(Errno::BADF), Err(Errno::BADF))
        );
        assert_eq!(files.open("/one", 0, 0), Ok(3));
        assert!(files.get(i32::MIN).is_err());
        assert_eq!(files.remove("/data/new"), Ok(()));
    }

    #[test]
    fn pipes_are_not_opened() {
        let (place, files) = files(false);
        fs::mknodat(CWD, place.path().join("in/pipe"), fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(files.open("/data/pipe", 0, 0), Err(Errno::ACCESS));
    }
}
