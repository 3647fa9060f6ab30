//! Paths, and what is known about files.

use alloc::vec::Vec;
use core::ffi::c_char;
use core::mem::offset_of;

use hermit_abi::errno::*;
use hermit_abi::{
    DT_BLK, DT_CHR, DT_DIR, DT_LNK, DT_REG, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY,
    O_RDWR, O_TRUNC, O_WRONLY, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, dirent64, stat,
    timespec,
};
use skete_kernel::fd::{self, Handle};
use skete_kernel::fs::{self, Kind, Metadata, Options};
use skete_kernel::{Error, Result};

use crate::errno::{count, fail, number, status, value};
use crate::{pointers, time};

/// What nobody but the owner gets of a new file's permissions, as most systems are set up (umask(2)).
const UMASK: u32 = 0o022;

/// Linux's number; hermit-abi has none.
const O_NOFOLLOW: i32 = 0o400_000;

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_open(path: *const c_char, flags: i32, mode: i32) -> i32 {
    let access = flags & (O_RDONLY | O_WRONLY | O_RDWR);
    let options = Options {
        read: access != O_WRONLY,
        write: access != O_RDONLY,
        append: flags & O_APPEND != 0,
        create: flags & O_CREAT != 0,
        exclusive: flags & O_EXCL != 0,
        truncate: flags & O_TRUNC != 0,
        directory: flags & O_DIRECTORY != 0,
        no_follow: flags & O_NOFOLLOW != 0,
        mode: mode as u32 & !UMASK,
    };
    // SAFETY: the caller passes a C string.
    value(
        unsafe { pointers::text(path) }
            .and_then(|path| fd::open(Handle::Object(fs::open(path, options)?))),
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_opendir(path: *const c_char) -> i32 {
    // SAFETY: the caller passes a C string.
    unsafe { sys_open(path, O_RDONLY | O_DIRECTORY, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_mkdir(path: *const c_char, mode: u32) -> i32 {
    // SAFETY: the caller passes a C string.
    status(unsafe { pointers::text(path) }.and_then(|path| fs::make_directory(path, mode & !UMASK)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_rmdir(path: *const c_char) -> i32 {
    // SAFETY: the caller passes a C string.
    status(unsafe { pointers::text(path) }.and_then(fs::remove_directory))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_unlink(path: *const c_char) -> i32 {
    // SAFETY: the caller passes a C string.
    status(unsafe { pointers::text(path) }.and_then(fs::remove_file))
}

/// Does something with two paths.
unsafe fn two(
    one: *const c_char,
    other: *const c_char,
    work: fn(&[u8], &[u8]) -> Result<()>,
) -> i32 {
    // SAFETY: the caller passes two C strings.
    let paths = unsafe { pointers::text(one).and_then(|one| Ok((one, pointers::text(other)?))) };
    status(paths.and_then(|(one, other)| work(one, other)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_rename(from: *const c_char, to: *const c_char) -> i32 {
    // SAFETY: the caller passes two C strings.
    unsafe { two(from, to, fs::rename) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_link(from: *const c_char, to: *const c_char) -> i32 {
    // SAFETY: the caller passes two C strings.
    unsafe { two(from, to, fs::link) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_symlink(target: *const c_char, path: *const c_char) -> i32 {
    // SAFETY: the caller passes two C strings.
    unsafe { two(target, path, fs::make_link) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_chmod(path: *const c_char, mode: u32) -> i32 {
    // SAFETY: the caller passes a C string.
    status(unsafe { pointers::text(path) }.and_then(|path| fs::set_mode(path, mode)))
}

#[unsafe(no_mangle)]
extern "C" fn sys_fchmod(descriptor: i32, mode: u32) -> i32 {
    status(
        fd::get(descriptor)
            .and_then(|handle| handle.object(Error::InvalidArgument)?.set_mode(mode)),
    )
}

/// The times of the last access and the last change, as utimensat(2) takes them: a time with `UTIME_OMIT` for
/// its nanoseconds stays as it is.
unsafe fn times(pair: *const [timespec; 2]) -> Result<[Option<i64>; 2]> {
    const UTIME_OMIT: i32 = 0x3fff_fffe;
    // SAFETY: the caller passes two times, or null.
    let pair = unsafe { pair.as_ref() }.ok_or(Error::InvalidArgument)?;
    let nanoseconds = |time: &timespec| match time.tv_nsec {
        UTIME_OMIT => Ok(None),
        rest @ 0..1_000_000_000 => {
            let whole = time
                .tv_sec
                .checked_mul(1_000_000_000)
                .and_then(|whole| whole.checked_add(rest.into()));
            whole.map(Some).ok_or(Error::InvalidArgument)
        }
        _ => Err(Error::InvalidArgument),
    };
    Ok([nanoseconds(&pair[0])?, nanoseconds(&pair[1])?])
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_utimens(path: *const c_char, pair: *const [timespec; 2]) -> i32 {
    // SAFETY: the caller passes a C string and two times.
    let arguments = unsafe { pointers::text(path).and_then(|path| Ok((path, times(pair)?))) };
    status(
        arguments.and_then(|(path, [accessed, modified])| fs::set_times(path, accessed, modified)),
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_lutimens(path: *const c_char, pair: *const [timespec; 2]) -> i32 {
    // SAFETY: the caller passes a C string and two times.
    let arguments = unsafe { pointers::text(path).and_then(|path| Ok((path, times(pair)?))) };
    status(
        arguments
            .and_then(|(path, [accessed, modified])| fs::set_link_times(path, accessed, modified)),
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_futimens(descriptor: i32, pair: *const [timespec; 2]) -> i32 {
    // SAFETY: the caller passes two times.
    let times = unsafe { times(pair) };
    status(times.and_then(|[accessed, modified]| {
        fd::get(descriptor)?.object(Error::InvalidArgument)?.set_times(accessed, modified)
    }))
}

/// Copies a path, without a NUL, to a buffer; gives its length. ERANGE when the buffer is too short.
unsafe fn give_path(path: Result<Vec<u8>>, buffer: *mut u8, length: usize) -> isize {
    // SAFETY: the caller passes a buffer.
    let both = path.and_then(|path| Ok((path, unsafe { pointers::buffer(buffer, length)? })));
    match both {
        Ok((path, buffer)) => match buffer.get_mut(..path.len()) {
            Some(place) => {
                place.copy_from_slice(&path);
                path.len() as isize
            }
            None => fail(ERANGE) as isize,
        },
        Err(error) => fail(number(error)) as isize,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_realpath(path: *const c_char, buffer: *mut u8, length: usize) -> isize {
    // SAFETY: the caller passes a C string and a buffer.
    unsafe { give_path(pointers::text(path).and_then(fs::canonical), buffer, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_readlink(path: *const c_char, buffer: *mut u8, length: usize) -> isize {
    // SAFETY: the caller passes a C string and a buffer.
    unsafe { give_path(pointers::text(path).and_then(fs::read_link), buffer, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getcwd(buffer: *mut u8, length: usize) -> isize {
    // SAFETY: the caller passes a buffer.
    unsafe { give_path(fs::current_directory(), buffer, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_chdir(path: *const c_char) -> i32 {
    // SAFETY: the caller passes a C string.
    status(unsafe { pointers::text(path) }.and_then(fs::set_current_directory))
}

fn describe(metadata: &Metadata) -> stat {
    let kind = match metadata.kind {
        Kind::File => S_IFREG,
        Kind::Directory => S_IFDIR,
        Kind::Device => S_IFCHR,
        Kind::Link => S_IFLNK,
        Kind::Disk => S_IFBLK,
    };
    stat {
        st_ino: metadata.number,
        st_nlink: metadata.links,
        st_mode: kind | metadata.mode,
        st_size: metadata.length as i64,
        st_blksize: 4096,
        st_blocks: metadata.stored.div_ceil(512) as i64,
        st_atim: time::split(metadata.accessed),
        st_mtim: time::split(metadata.modified),
        st_ctim: time::split(metadata.changed),
        ..stat::default()
    }
}

/// What there is to know about a descriptor, and when its file was made. Streams were never made.
fn describe_descriptor(descriptor: i32) -> Result<(stat, timespec)> {
    Ok(match fd::get(descriptor)? {
        Handle::Object(object) => {
            let metadata = object.metadata()?;
            (describe(&metadata), time::split(metadata.created))
        }
        _ => {
            let console =
                stat { st_mode: S_IFCHR | 0o620, st_nlink: 1, st_blksize: 1024, ..stat::default() };
            (console, time::split(0))
        }
    })
}

/// Writes to a place that the caller gives, if it does.
unsafe fn give<T>(place: *mut T, value: T) -> Result<()> {
    // SAFETY: the caller passes a place, or null.
    let place = unsafe { place.as_mut() };
    place.map(|place| *place = value).ok_or(Error::InvalidArgument)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_stat(path: *const c_char, result: *mut stat) -> i32 {
    // SAFETY: the caller passes a C string and a place for the result.
    status(unsafe {
        let metadata = pointers::text(path).and_then(fs::metadata);
        metadata.and_then(|metadata| give(result, describe(&metadata)))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_lstat(path: *const c_char, result: *mut stat) -> i32 {
    // SAFETY: the caller passes a C string and a place for the result.
    status(unsafe {
        let metadata = pointers::text(path).and_then(fs::link_metadata);
        metadata.and_then(|metadata| give(result, describe(&metadata)))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_fstat(descriptor: i32, result: *mut stat) -> i32 {
    // SAFETY: the caller passes a place for the result.
    status(describe_descriptor(descriptor).and_then(|(stat, _)| unsafe { give(result, stat) }))
}

/// As `sys_stat`, or `sys_lstat` without `follow`, and tells when the file was made, for which `stat` has no field.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_stat_created(
    path: *const c_char,
    follow: bool,
    result: *mut stat,
    created: *mut timespec,
) -> i32 {
    let metadata = if follow { fs::metadata } else { fs::link_metadata };
    // SAFETY: the caller passes a C string and places for the results.
    status(unsafe {
        pointers::text(path).and_then(|path| {
            let metadata = metadata(path)?;
            give(result, describe(&metadata))?;
            give(created, time::split(metadata.created))
        })
    })
}

/// As `sys_fstat`, and tells when the file was made.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_fstat_created(
    descriptor: i32,
    result: *mut stat,
    created: *mut timespec,
) -> i32 {
    status(describe_descriptor(descriptor).and_then(|(stat, time)| {
        // SAFETY: the caller passes places for the results.
        unsafe {
            give(result, stat)?;
            give(created, time)
        }
    }))
}

/// Fills `buffer` with as many entries as it has room for. Gives their bytes, 0 at the end; EINVAL when there
/// is no room for one.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getdents64(descriptor: i32, buffer: *mut dirent64, length: usize) -> i64 {
    const NAME: usize = offset_of!(dirent64, d_name);
    let list = || {
        // SAFETY: the caller passes a buffer.
        let buffer = unsafe { pointers::buffer(buffer.cast(), length)? };
        let mut used = 0;
        let mut full = false;
        fd::get(descriptor)?.object(Error::NotADirectory)?.entries(&mut |entry| {
            // Each entry is as long as its name, with a NUL, wants it; the next one is aligned.
            let size = (NAME + entry.name.len() + 1).next_multiple_of(align_of::<dirent64>());
            let Some(place) = buffer.get_mut(used..used + size) else {
                full = true;
                return false;
            };
            place.fill(0);
            place[offset_of!(dirent64, d_ino)..][..8].copy_from_slice(&entry.number.to_ne_bytes());
            place[offset_of!(dirent64, d_off)..][..8].copy_from_slice(&entry.next.to_ne_bytes());
            place[offset_of!(dirent64, d_reclen)..][..2]
                .copy_from_slice(&(size as u16).to_ne_bytes());
            place[offset_of!(dirent64, d_type)] = match entry.kind {
                Kind::File => DT_REG,
                Kind::Directory => DT_DIR,
                Kind::Device => DT_CHR,
                Kind::Link => DT_LNK,
                Kind::Disk => DT_BLK,
            };
            place[NAME..][..entry.name.len()].copy_from_slice(entry.name);
            used += size;
            true
        })?;
        if used == 0 && full { Err(Error::InvalidArgument) } else { Ok(used) }
    };
    count(list()) as i64
}

/// Lets names below `/dev` lead to the machine's devices. Nothing calls it but the kernel, in an image that is linked
/// with `--defsym=skete_devices=sys_devices`. Not part of hermit-abi.
#[unsafe(no_mangle)]
extern "C" fn sys_devices() {
    fs::allow_devices();
}
