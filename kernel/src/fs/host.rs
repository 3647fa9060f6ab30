//! Files of the host's that a monitor shows (docs/boot-protocol.md): paths below its mounts go to it, as they
//! are, without `.` and `..`.

#[cfg(any(target_os = "none", skete_lint_arch))]
pub use machine::{Place, find, mounts};

/// A host's process has none.
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
pub use hosted::{Place, find, mounts};

#[cfg(any(target_os = "none", skete_lint_arch, test))]
use alloc::vec::Vec;

/// Takes `.`, `..` and empty names out of an absolute path, as they are written: links are not looked at.
#[cfg(any(target_os = "none", skete_lint_arch, test))]
fn normal(path: &[u8]) -> Vec<u8> {
    let mut normal = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                let end = normal.iter().rposition(|byte| *byte == b'/');
                normal.truncate(end.unwrap_or(0));
            }
            name => {
                normal.push(b'/');
                normal.extend_from_slice(name);
            }
        }
    }
    normal
}

/// Whether a path is a mount's, or below it.
#[cfg(any(target_os = "none", skete_lint_arch, test))]
fn is_below(path: &[u8], mount: &[u8]) -> bool {
    let rest = path.strip_prefix(mount);
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

#[cfg(not(any(target_os = "none", skete_lint_arch)))]
mod hosted {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use crate::fd::Object;
    use crate::fs::{Metadata, Options};
    use crate::{Error, Result};

    /// A path that cannot be.
    pub struct Place(core::convert::Infallible);

    /// There is none.
    pub fn find(_path: &[u8]) -> Option<Place> {
        None
    }

    /// There are none.
    pub fn mounts() -> impl Iterator<Item = &'static [u8]> {
        core::iter::empty()
    }

    impl Place {
        pub fn open(&self, _options: Options) -> Result<Arc<dyn Object>> {
            Err(Error::NoDevice)
        }
        pub fn metadata(&self, _follow: bool) -> Result<Metadata> {
            match self.0 {}
        }
        pub fn make_directory(&self) -> Result<()> {
            match self.0 {}
        }
        pub fn remove(&self) -> Result<()> {
            match self.0 {}
        }
        pub fn rename(&self, _to: &Place) -> Result<()> {
            match self.0 {}
        }
        pub fn link(&self, _to: &Place) -> Result<()> {
            match self.0 {}
        }
        pub fn make_link(&self, _target: &[u8]) -> Result<()> {
            match self.0 {}
        }
        pub fn read_link(&self) -> Result<Vec<u8>> {
            match self.0 {}
        }
        pub fn set_mode(&self, _mode: u32) -> Result<()> {
            match self.0 {}
        }
        pub fn set_times(&self, _accessed: Option<i64>, _modified: Option<i64>) -> Result<()> {
            match self.0 {}
        }
        pub fn path(&self) -> Vec<u8> {
            match self.0 {}
        }
    }
}

#[cfg(any(target_os = "none", skete_lint_arch))]
mod machine {
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use crate::arch::uhyve::{self, Attributes, Page, Target};
    use crate::boot;
    use crate::fd::{Object, Seek};
    use crate::fs::{Entry, Kind, Metadata, Options};
    use crate::sync::Mutex;
    use crate::{Error, Result};

    /// Flags of open(2), as the monitor takes them: Linux's.
    const WRITE_ONLY: i32 = 0o1;
    const READ_WRITE: i32 = 0o2;
    const CREATE: i32 = 0o100;
    const EXCLUSIVE: i32 = 0o200;
    const TRUNCATE: i32 = 0o1000;
    const APPEND: i32 = 0o2000;
    const DIRECTORY: i32 = 0o20_0000;
    const NO_FOLLOW: i32 = 0o40_0000;

    /// The paths that mounts are seen at.
    pub fn mounts() -> impl Iterator<Item = &'static [u8]> {
        let list = boot::device_tree().and_then(|tree| tree.property(b"mounts"));
        let paths = list.unwrap_or_default().split(|byte| *byte == 0);
        paths.filter(|path| path.starts_with(b"/"))
    }

    /// A path below a mount.
    pub struct Place(Box<Page>);

    /// The place that an absolute path leads to, if that is the host's.
    pub fn find(path: &[u8]) -> Option<Place> {
        boot::device_tree()?;
        let path = super::normal(path);
        mounts().find(|mount| super::is_below(&path, mount))?;
        Page::text(&path).map(Place)
    }

    fn metadata(found: &Attributes) -> Metadata {
        const KIND: u32 = 0o17_0000;
        let nanoseconds =
            |time: &uhyve::Timespec| time.tv_sec * 1_000_000_000 + i64::from(time.tv_nsec);
        Metadata {
            kind: match found.st_mode & KIND {
                0o4_0000 => Kind::Directory,
                0o12_0000 => Kind::Link,
                0o10_0000 => Kind::File,
                _ => Kind::Device,
            },
            number: found.st_ino,
            links: found.st_nlink,
            mode: found.st_mode & 0o7777,
            length: found.st_size as u64,
            stored: found.st_blocks as u64 * 512,
            accessed: nanoseconds(&found.st_atim),
            modified: nanoseconds(&found.st_mtim),
            changed: nanoseconds(&found.st_ctim),
            created: nanoseconds(&found.st_ctim),
        }
    }

    impl Place {
        /// Opens what is there.
        pub fn open(&self, options: Options) -> Result<Arc<dyn Object>> {
            let mut flags = match (options.read, options.write) {
                (true, true) => READ_WRITE,
                (false, true) => WRITE_ONLY,
                _ => 0,
            };
            for (given, flag) in [
                (options.create, CREATE),
                (options.exclusive, EXCLUSIVE),
                (options.truncate, TRUNCATE),
                (options.append, APPEND),
                (options.directory, DIRECTORY),
                (options.no_follow, NO_FOLLOW),
            ] {
                flags |= if given { flag } else { 0 };
            }
            let descriptor = uhyve::open(&self.0, flags, options.mode as i32)?;
            Ok(Arc::new(File { descriptor, options, position: Mutex::new(None) }))
        }

        /// What there is to know about it; about a symbolic link itself unless `follow`.
        pub fn metadata(&self, follow: bool) -> Result<Metadata> {
            uhyve::stat(&self.0, follow).map(|found| metadata(&found))
        }

        /// Makes a directory.
        pub fn make_directory(&self) -> Result<()> {
            uhyve::make_directory(&self.0)
        }

        /// Removes a file, or an empty directory.
        pub fn remove(&self) -> Result<()> {
            uhyve::remove(&self.0)
        }

        /// Gives it another name.
        pub fn rename(&self, to: &Place) -> Result<()> {
            uhyve::rename(&self.0, &to.0)
        }

        /// Gives it another name beside the one it has.
        pub fn link(&self, to: &Place) -> Result<()> {
            uhyve::link(&self.0, &to.0)
        }

        /// Makes a symbolic link here.
        pub fn make_link(&self, target: &[u8]) -> Result<()> {
            let target = Page::text(target).ok_or(Error::NameTooLong)?;
            uhyve::make_link(&target, &self.0)
        }

        /// What the symbolic link here stands for.
        pub fn read_link(&self) -> Result<Vec<u8>> {
            Ok(uhyve::read_link(&self.0)?.as_text().into())
        }

        /// Changes its permission bits.
        pub fn set_mode(&self, mode: u32) -> Result<()> {
            uhyve::set_mode(Target::Path(&self.0), mode)
        }

        /// Changes its times.
        pub fn set_times(&self, accessed: Option<i64>, modified: Option<i64>) -> Result<()> {
            uhyve::set_times(Target::Path(&self.0), [accessed, modified])
        }

        /// The path.
        pub fn path(&self) -> Vec<u8> {
            self.0.as_text().into()
        }
    }

    /// The names in a directory, from its first reading on, and how many were taken.
    struct Names {
        all: Vec<(Vec<u8>, u64, Kind)>,
        taken: usize,
    }

    /// A file or directory of the host's that is open.
    struct File {
        descriptor: i32,
        options: Options,
        /// Who moves the host's position, or reads names.
        position: Mutex<Option<Names>>,
    }

    impl File {
        /// Does something at another position.
        fn at(&self, offset: u64, work: impl FnOnce() -> Result<usize>) -> Result<usize> {
            let _moving = self.position.lock();
            let before = uhyve::seek(self.descriptor, 0, 1)?;
            uhyve::seek(
                self.descriptor,
                i64::try_from(offset).map_err(|_| Error::InvalidArgument)?,
                0,
            )?;
            let done = work();
            uhyve::seek(self.descriptor, before as i64, 0)?;
            done
        }

        fn read_names(&self) -> Result<Names> {
            let mut all = Vec::new();
            let mut page = Page::text(b"").ok_or(Error::OutOfMemory)?;
            loop {
                let length = uhyve::entries(self.descriptor, &mut page)?;
                if length == 0 {
                    return Ok(Names { all, taken: 0 });
                }
                page.each_entry(length, |name, number, kind| {
                    let kind = match kind {
                        4 => Kind::Directory,
                        10 => Kind::Link,
                        8 => Kind::File,
                        _ => Kind::Device,
                    };
                    if name != b"." && name != b".." {
                        all.push((name.into(), number, kind));
                    }
                });
            }
        }
    }

    impl Object for File {
        fn read(&self, buffer: &mut [u8]) -> Result<usize> {
            let _moving = self.position.lock();
            uhyve::read_file(self.descriptor, buffer)
        }

        fn write(&self, bytes: &[u8]) -> Result<usize> {
            let _moving = self.position.lock();
            uhyve::write_file(self.descriptor, bytes)
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
            self.at(offset, || uhyve::read_file(self.descriptor, buffer))
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
            self.at(offset, || uhyve::write_file(self.descriptor, bytes))
        }

        fn seek(&self, to: Seek) -> Result<u64> {
            let mut moving = self.position.lock();
            if let (Some(names), Seek::Start(0)) = (&mut *moving, to) {
                names.taken = 0;
            }
            let (offset, whence) = match to {
                Seek::Start(offset) => (offset as i64, 0),
                Seek::Current(offset) => (offset, 1),
                Seek::End(offset) => (offset, 2),
            };
            uhyve::seek(self.descriptor, offset, whence)
        }

        fn metadata(&self) -> Result<Metadata> {
            uhyve::fstat(self.descriptor).map(|found| metadata(&found))
        }

        fn options(&self) -> Option<Options> {
            Some(self.options)
        }

        fn set_length(&self, length: u64) -> Result<()> {
            uhyve::set_length(self.descriptor, length)
        }

        fn set_mode(&self, mode: u32) -> Result<()> {
            uhyve::set_mode(Target::Descriptor(self.descriptor), mode)
        }

        fn set_times(&self, accessed: Option<i64>, modified: Option<i64>) -> Result<()> {
            uhyve::set_times(Target::Descriptor(self.descriptor), [accessed, modified])
        }

        fn sync(&self) -> Result<()> {
            uhyve::sync(self.descriptor)
        }

        fn entries(&self, take: &mut dyn FnMut(&Entry<'_>) -> bool) -> Result<()> {
            let mut slot = self.position.lock();
            let names = match &mut *slot {
                Some(names) => names,
                None => slot.insert(self.read_names()?),
            };
            while let Some((name, number, kind)) = names.all.get(names.taken) {
                let next = names.taken + 1;
                if !take(&Entry { name, number: *number, kind: *kind, next: next as u64 }) {
                    break;
                }
                names.taken = next;
            }
            Ok(())
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            uhyve::close(self.descriptor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(normal(b"/a//b/./c/"), b"/a/b/c");
        assert_eq!(normal(b"/a/b/../../c"), b"/c");
        assert_eq!(normal(b"/../.."), b"");
    }

    #[test]
    fn a_mount_has_what_is_below_it() {
        assert!(is_below(b"/data", b"/data") && is_below(b"/data/x", b"/data"));
        assert!(!is_below(b"/datax", b"/data") && !is_below(b"/", b"/data"));
    }
}
