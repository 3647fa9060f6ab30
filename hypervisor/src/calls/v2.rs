//! Version 2 of the interface: addresses are physical, and 64 bits wide.

use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;
use uhyve_interface::v2::HypercallAddress;
use uhyve_interface::v2::parameters::{
    CloseParams, Dirent64, FileAttr, FstatParams, GetdentParams, LseekParams, MkdirParams,
    OpenParams, ReadParams, SerialReadBufferParams, SerialWriteBufferParams, StatParams, Timespec,
    UnlinkParams, WriteParams,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError};

use super::{Context, Done, Flow};

/// The longest part that one call reads or writes.
pub const MOST: u64 = 1 << 30;

/// The tags of the results that are enumerations: nothing, success, … (`GetdentResult`, `StatResult`).
const SUCCESS: u32 = 1;

/// Does a call.
pub fn handle(context: &Context, number: HypercallAddress, argument: u64) -> Done {
    match number {
        HypercallAddress::Exit => Err(Flow::Exit(argument as i32)),
        HypercallAddress::SerialWriteByte => {
            context.console.put(&[argument as u8]);
            Ok(())
        }
        HypercallAddress::SerialWriteBuffer => {
            let (buffer, length) =
                fields!(context, argument, SerialWriteBufferParams { buf: u64, len: u64 });
            context.print(1, buffer, length).map(drop)
        }
        HypercallAddress::SerialReadBuffer => read_input(context, argument),
        HypercallAddress::FileWrite => write(context, argument),
        HypercallAddress::FileRead => read(context, argument),
        HypercallAddress::FileOpen => open(context, argument),
        HypercallAddress::FileClose => close(context, argument),
        HypercallAddress::FileLseek => seek(context, argument),
        HypercallAddress::FileUnlink => unlink(context, argument),
        HypercallAddress::Mkdir => make_directory(context, argument),
        HypercallAddress::FileStat => stat(context, argument),
        HypercallAddress::FileFstat => fstat(context, argument),
        HypercallAddress::Getdents => entries(context, argument),
        // Nothing is there to be read at once, and memory is not shared.
        _ => Ok(()),
    }
}

/// A result as most calls have it: a number, or an error's negative number.
fn number(result: Result<i64, Errno>) -> i64 {
    result.unwrap_or_else(|error| -i64::from(error.raw_os_error()))
}

fn read_input(context: &Context, at: u64) -> Done {
    let (most, buffer) = fields!(context, at, SerialReadBufferParams { maxlen: u64, buf: u64 });
    let length = if context.memory.contains(buffer, most) {
        let bytes = context.console.take(most as usize);
        let written = context.memory.write(&bytes, buffer);
        written.map_or(0, |()| bytes.len())
    } else {
        0
    };
    context.write(at, offset_of!(SerialReadBufferParams, len), length as u64)
}

fn write(context: &Context, at: u64) -> Done {
    let (descriptor, buffer, length) =
        fields!(context, at, WriteParams { fd: i32, buf: u64, len: u64 });
    let result = write_file(context, descriptor, buffer, length)?;
    context.write(at, offset_of!(WriteParams, ret), result)
}

/// Writes to a standard stream or a file.
pub fn write_file(
    context: &Context,
    descriptor: i32,
    buffer: u64,
    length: u64,
) -> Result<i64, Flow> {
    if matches!(descriptor, 1 | 2) {
        return context.print(descriptor, buffer, length);
    }
    Ok(number(transfer(context, descriptor, buffer, length, |count, file| {
        context.memory.map().write_volatile_to(GuestAddress(buffer), file, count)
    })))
}

fn read(context: &Context, at: u64) -> Done {
    let (descriptor, buffer, length) =
        fields!(context, at, ReadParams { fd: i32, buf: u64, len: u64 });
    let result = read_file(context, descriptor, buffer, length);
    context.write(at, offset_of!(ReadParams, ret), result)
}

/// Reads from a file.
pub fn read_file(context: &Context, descriptor: i32, buffer: u64, length: u64) -> i64 {
    number(transfer(context, descriptor, buffer, length, |count, file| {
        context.memory.map().read_volatile_from(GuestAddress(buffer), file, count)
    }))
}

fn transfer(
    context: &Context,
    descriptor: i32,
    buffer: u64,
    length: u64,
    work: impl FnOnce(usize, &mut BorrowedFd<'_>) -> Result<usize, GuestMemoryError>,
) -> Result<i64, Errno> {
    let file = context.files.get(descriptor)?;
    if !context.memory.contains(buffer, length) {
        return Err(Errno::FAULT);
    }
    let done = work(length.min(MOST) as usize, &mut file.as_fd());
    done.map(|count| count as i64).map_err(|error| crate::console::code(&error))
}

fn open(context: &Context, at: u64) -> Done {
    let (name, flags, mode) = fields!(context, at, OpenParams { name: u64, flags: i32, mode: i32 });
    let opened = context.path(name).and_then(|path| context.files.open(&path, flags, mode));
    context.write(at, offset_of!(OpenParams, ret), number(opened.map(i64::from)) as i32)
}

fn close(context: &Context, at: u64) -> Done {
    let closed = match fields!(context, at, CloseParams { fd: i32 }) {
        0..=2 => Ok(()),
        other => context.files.close(other),
    };
    context.write(at, offset_of!(CloseParams, ret), number(closed.map(|()| 0)) as i32)
}

fn seek(context: &Context, at: u64) -> Done {
    let (descriptor, offset, whence) =
        fields!(context, at, LseekParams { fd: i32, offset: i64, whence: u32 });
    let result = seek_file(context, descriptor, offset, whence);
    context.write(at, offset_of!(LseekParams, offset), result)
}

/// Moves the position in a file.
pub fn seek_file(context: &Context, descriptor: i32, offset: i64, whence: u32) -> i64 {
    let seek = || {
        let position = match whence as i32 {
            libc::SEEK_SET => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::INVAL)?),
            libc::SEEK_CUR => SeekFrom::Current(offset),
            libc::SEEK_END => SeekFrom::End(offset),
            _ => return Err(Errno::INVAL),
        };
        fs::seek(context.files.get(descriptor)?, position).map(|position| position as i64)
    };
    number(seek())
}

fn unlink(context: &Context, at: u64) -> Done {
    let name = fields!(context, at, UnlinkParams { name: u64 });
    let removed = context.path(name).and_then(|path| context.files.remove(&path));
    context.write(at, offset_of!(UnlinkParams, ret), number(removed.map(|()| 0)) as i32)
}

/// Writes a result that is an enumeration with a number in the case of an error.
fn outcome(context: &Context, at: u64, offset: usize, result: Result<(), Errno>) -> Done {
    const ERROR: u32 = 2;
    match result {
        Ok(()) => context.write(at, offset, SUCCESS),
        Err(error) => {
            context.write(at, offset, ERROR)?;
            context.write(at, offset + 4, error.raw_os_error())
        }
    }
}

fn make_directory(context: &Context, at: u64) -> Done {
    let name = fields!(context, at, MkdirParams { path: u64 });
    let made = context.path(name).and_then(|path| context.files.make_directory(&path));
    outcome(context, at, offset_of!(MkdirParams, ret), made)
}

fn stat(context: &Context, at: u64) -> Done {
    let (name, kind, target) = fields!(context, at, StatParams { name: u64, kind: u32, attr: u64 });
    let found = context.path(name).and_then(|path| context.files.stat(&path, kind == 0));
    let done = found.and_then(|found| write_attributes(context, target, &found));
    outcome(context, at, offset_of!(StatParams, ret), done)
}

fn fstat(context: &Context, at: u64) -> Done {
    let (descriptor, target) = fields!(context, at, FstatParams { fd: i32, attr: u64 });
    let found = context.files.get(descriptor).and_then(|file| fs::fstat(file.as_fd()));
    let done = found.and_then(|found| write_attributes(context, target, &found));
    outcome(context, at, offset_of!(FstatParams, ret), done)
}

/// Writes what there is to know about a file. Who owns it on the host is no business of the guest's.
fn write_attributes(context: &Context, target: u64, found: &fs::Stat) -> Result<(), Errno> {
    const { assert!(size_of::<Timespec>() == 16) };
    let mut bytes = [0; size_of::<FileAttr>()];
    // What is shorter than 64 bits has zeros behind it: the owner, or nothing.
    for (offset, value) in [
        (offset_of!(FileAttr, st_dev), found.st_dev),
        (offset_of!(FileAttr, st_ino), found.st_ino),
        (offset_of!(FileAttr, st_nlink), found.st_nlink),
        (offset_of!(FileAttr, st_mode), found.st_mode.into()),
        (offset_of!(FileAttr, st_size), found.st_size as u64),
        (offset_of!(FileAttr, st_blksize), found.st_blksize as u64),
        (offset_of!(FileAttr, st_blocks), found.st_blocks as u64),
        (offset_of!(FileAttr, st_atim), found.st_atime as u64),
        (offset_of!(FileAttr, st_atim) + 8, found.st_atime_nsec),
        (offset_of!(FileAttr, st_mtim), found.st_mtime as u64),
        (offset_of!(FileAttr, st_mtim) + 8, found.st_mtime_nsec),
        (offset_of!(FileAttr, st_ctim), found.st_ctime as u64),
        (offset_of!(FileAttr, st_ctim) + 8, found.st_ctime_nsec),
    ] {
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    let written = context.memory.write(&bytes, target);
    written.map_err(|_| Errno::FAULT)
}

fn entries(context: &Context, at: u64) -> Done {
    /// `GetdentResult`'s tags.
    const END: u32 = 2;
    const ERROR: u32 = 3;
    const RESULT: usize = offset_of!(GetdentParams, ret);
    let (descriptor, buffer, length) =
        fields!(context, at, GetdentParams { fd: i32, buf: u64, len: u64 });
    match read_entries(context, descriptor, buffer, length) {
        Ok(0) => context.write(at, RESULT, END),
        Ok(count) => {
            context.write(at, RESULT, SUCCESS)?;
            context.write(at, RESULT + 8, count as u64)
        }
        Err(error) => {
            context.write(at, RESULT, ERROR)?;
            context.write(at, RESULT + 8, error.raw_os_error())
        }
    }
}

/// Fills a buffer with as many entries as it has room for; Linux's format is the interface's.
fn read_entries(
    context: &Context,
    descriptor: i32,
    buffer: u64,
    length: u64,
) -> Result<usize, Errno> {
    const { assert!(offset_of!(Dirent64, d_name) == 19) };
    const MOST: u64 = 64 << 10;
    let file = context.files.get(descriptor)?;
    if !context.memory.contains(buffer, length) {
        return Err(Errno::FAULT);
    }
    let length = length.min(MOST) as usize;
    let slice =
        context.memory.map().get_slice(GuestAddress(buffer), length).map_err(|_| Errno::FAULT)?;
    let mut bytes = vec![0u8; length];
    // SAFETY: the call writes to `bytes`, no more than there is room for.
    let got = unsafe {
        libc::syscall(libc::SYS_getdents64, file.as_fd().as_raw_fd(), bytes.as_mut_ptr(), length)
    };
    let got = usize::try_from(got)
        .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))?;
    slice.copy_from(&bytes[..got]);
    Ok(got)
}
