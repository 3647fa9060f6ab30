//! Version 2 of the interface: addresses are physical, and 64 bits wide.

use std::mem::offset_of;
use std::os::fd::AsFd;

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
            let length = context.read::<u64>(argument, offset_of!(SerialWriteBufferParams, len))?;
            let buffer = context.read::<u64>(argument, offset_of!(SerialWriteBufferParams, buf))?;
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
    let most = context.read::<u64>(at, offset_of!(SerialReadBufferParams, maxlen))?;
    let buffer = context.read::<u64>(at, offset_of!(SerialReadBufferParams, buf))?;
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
    let descriptor = context.read::<i32>(at, offset_of!(WriteParams, fd))?;
    let buffer = context.read::<u64>(at, offset_of!(WriteParams, buf))?;
    let length = context.read::<u64>(at, offset_of!(WriteParams, len))?;
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
    let descriptor = context.read::<i32>(at, offset_of!(ReadParams, fd))?;
    let buffer = context.read::<u64>(at, offset_of!(ReadParams, buf))?;
    let length = context.read::<u64>(at, offset_of!(ReadParams, len))?;
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
    work: impl FnOnce(usize, &mut std::os::fd::BorrowedFd<'_>) -> Result<usize, GuestMemoryError>,
) -> Result<i64, Errno> {
    let file = context.files.get(descriptor)?;
    if !context.memory.contains(buffer, length) {
        return Err(Errno::FAULT);
    }
    let done = work(length.min(MOST) as usize, &mut file.as_fd());
    done.map(|count| count as i64)
        .map_err(|error| Errno::from_raw_os_error(crate::console::code(&error)))
}

fn open(context: &Context, at: u64) -> Done {
    let name = context.read::<u64>(at, offset_of!(OpenParams, name))?;
    let flags = context.read::<i32>(at, offset_of!(OpenParams, flags))?;
    let mode = context.read::<i32>(at, offset_of!(OpenParams, mode))?;
    let opened = context
        .path(name)
        .and_then(|path| context.files.open(&path, flags, mode).map_err(Errno::raw_os_error));
    context.write(at, offset_of!(OpenParams, ret), opened.unwrap_or_else(|code| -code))
}

fn close(context: &Context, at: u64) -> Done {
    let descriptor = context.read::<i32>(at, offset_of!(CloseParams, fd))?;
    let closed = match descriptor {
        0..=2 => Ok(()),
        other => context.files.close(other),
    };
    context.write(at, offset_of!(CloseParams, ret), number(closed.map(|()| 0)) as i32)
}

fn seek(context: &Context, at: u64) -> Done {
    let descriptor = context.read::<i32>(at, offset_of!(LseekParams, fd))?;
    let offset = context.read::<i64>(at, offset_of!(LseekParams, offset))?;
    let whence = context.read::<u32>(at, offset_of!(LseekParams, whence))?;
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
    let name = context.read::<u64>(at, offset_of!(UnlinkParams, name))?;
    let removed = context
        .path(name)
        .and_then(|path| context.files.remove(&path).map_err(Errno::raw_os_error));
    context.write(at, offset_of!(UnlinkParams, ret), removed.map_or_else(|code| -code, |()| 0))
}

/// Writes a result that is an enumeration with a number in the case of an error.
fn outcome(context: &Context, at: u64, error_tag: u32, result: Result<(), i32>) -> Done {
    match result {
        Ok(()) => context.write(at, 0, SUCCESS),
        Err(code) => {
            context.write(at, 0, error_tag)?;
            context.write(at, 4, code)
        }
    }
}

fn make_directory(context: &Context, at: u64) -> Done {
    let name = context.read::<u64>(at, offset_of!(MkdirParams, path))?;
    let made = context
        .path(name)
        .and_then(|path| context.files.make_directory(&path).map_err(Errno::raw_os_error));
    outcome(context, at + offset_of!(MkdirParams, ret) as u64, 2, made)
}

fn stat(context: &Context, at: u64) -> Done {
    let name = context.read::<u64>(at, offset_of!(StatParams, name))?;
    let kind = context.read::<u32>(at, offset_of!(StatParams, kind))?;
    let target = context.read::<u64>(at, offset_of!(StatParams, attr))?;
    let found = context
        .path(name)
        .and_then(|path| context.files.stat(&path, kind == 0).map_err(Errno::raw_os_error));
    let done = found.and_then(|found| write_attributes(context, target, &found));
    outcome(context, at + offset_of!(StatParams, ret) as u64, 2, done)
}

fn fstat(context: &Context, at: u64) -> Done {
    let descriptor = context.read::<i32>(at, offset_of!(FstatParams, fd))?;
    let target = context.read::<u64>(at, offset_of!(FstatParams, attr))?;
    let found = context.files.get(descriptor).and_then(|file| fs::fstat(file.as_fd()));
    let done = found
        .map_err(Errno::raw_os_error)
        .and_then(|found| write_attributes(context, target, &found));
    outcome(context, at + offset_of!(FstatParams, ret) as u64, 2, done)
}

/// Writes what there is to know about a file. Who owns it on the host is no business of the guest's.
fn write_attributes(context: &Context, target: u64, found: &fs::Stat) -> Result<(), i32> {
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
    written.map_err(|_| libc::EFAULT)
}

fn entries(context: &Context, at: u64) -> Done {
    /// `GetdentResult`'s tags.
    const END: u32 = 2;
    const ERROR: u32 = 3;
    let descriptor = context.read::<i32>(at, offset_of!(GetdentParams, fd))?;
    let buffer = context.read::<u64>(at, offset_of!(GetdentParams, buf))?;
    let length = context.read::<u64>(at, offset_of!(GetdentParams, len))?;
    let result = at + offset_of!(GetdentParams, ret) as u64;
    match read_entries(context, descriptor, buffer, length) {
        Ok(0) => context.write(result, 0, END),
        Ok(count) => {
            context.write(result, 0, SUCCESS)?;
            context.write(result, 8, count as u64)
        }
        Err(error) => {
            context.write(result, 0, ERROR)?;
            context.write(result, 8, error.raw_os_error())
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
        libc::syscall(
            libc::SYS_getdents64,
            std::os::fd::AsRawFd::as_raw_fd(&file.as_fd()),
            bytes.as_mut_ptr(),
            length,
        )
    };
    let got = usize::try_from(got)
        .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))?;
    slice.copy_from(&bytes[..got]);
    Ok(got)
}
