//! Hypercalls of the monitors that speak uhyve's protocol: ours (`hypervisor/`), and uhyve since 0.8.
//!
//! A call is a write to an I/O port, its number, with the physical address of its parameters in `rdi`
//! (crate `uhyve-interface`, version 2).

use alloc::boxed::Box;
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use uhyve_interface::GuestPhysAddr;
use uhyve_interface::v2::HypercallAddress;
use uhyve_interface::v2::parameters::{
    CloseParams, FstatParams, GetdentParams, GetdentResult, LseekParams, MkdirParams, MkdirResult,
    OpenParams, ReadParams, SerialReadBufferParams, StatKind, StatParams, StatResult, UnlinkParams,
    WriteParams,
};
pub use uhyve_interface::v2::parameters::{FileAttr as Attributes, Timespec};

use super::paging;
use crate::mm::blocks::FRAME;
use crate::{Error, Result};

static PRESENT: AtomicBool = AtomicBool::new(false);

/// Notes that the machine is such a monitor's.
pub fn set_present() {
    PRESENT.store(true, Relaxed);
}

/// Whether the machine is such a monitor's.
#[inline]
#[must_use]
pub fn is_present() -> bool {
    PRESENT.load(Relaxed)
}

fn call(port: u16, argument: usize) {
    // SAFETY: the monitor reads and writes the parameters only, and what they point to; all that is over
    // when the instruction is.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") 0, in("rdi") argument, options(nostack))
    };
}

/// Parameters on one page, so that they are in one piece in physical memory.
#[repr(C, align(64))]
struct Parameters<T>(T);

fn call_with<T>(number: HypercallAddress, parameters: &mut Parameters<T>) {
    call_port(number as u16, parameters);
}

fn call_port<T>(port: u16, parameters: &mut Parameters<T>) {
    const { assert!(size_of::<T>() <= 64) };
    if let Some(address) = paging::translate(&raw mut *parameters as usize) {
        call(port, address);
    }
}

/// Ends the machine.
pub fn exit(status: i32) {
    call(HypercallAddress::Exit as u16, status as u32 as usize);
}

/// The part of a buffer that lies on one page, and its physical address.
fn first_part(buffer: *const u8, length: usize) -> Option<(GuestPhysAddr, u64)> {
    // SAFETY: a byte of the caller's buffer; its page may not have been touched yet.
    unsafe { buffer.read_volatile() };
    let length = length.min(FRAME - buffer as usize % FRAME);
    let address = paging::translate(buffer as usize)? as u64;
    Some((GuestPhysAddr::new_truncate(address), length as u64))
}

/// Writes to one of the monitor's standard streams.
pub fn write(stream: i32, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((buf, len)) = first_part(rest.as_ptr(), rest.len()) else {
            return;
        };
        let mut parameters = Parameters(WriteParams { len, ret: 0, buf, fd: stream });
        call_with(HypercallAddress::FileWrite, &mut parameters);
        rest = &rest[len as usize..];
    }
}

/// Takes what has come in on standard input, at most as much as there is room for on one page.
pub fn read(buffer: &mut [u8]) -> usize {
    // Written to, so that the page is the reader's own.
    buffer.iter_mut().take(1).for_each(|byte| *byte = 0);
    let Some((buf, maxlen)) = first_part(buffer.as_ptr(), buffer.len()) else {
        return 0;
    };
    let mut parameters = Parameters(SerialReadBufferParams { maxlen, len: 0, buf });
    call_with(HypercallAddress::SerialReadBuffer, &mut parameters);
    (parameters.0.len as usize).min(buffer.len())
}

/// A page: what is in it is in one piece in physical memory.
#[repr(C, align(4096))]
pub struct Page([u8; FRAME]);

impl Page {
    /// A page with a text, which ends with a zero. `None` when it does not fit, or memory is short.
    #[must_use]
    pub fn text(text: &[u8]) -> Option<Box<Page>> {
        if text.len() >= FRAME {
            return None;
        }
        let layout = core::alloc::Layout::new::<Page>();
        // SAFETY: the layout has a size; zeros are a page.
        let mut page = unsafe {
            let page = alloc::alloc::alloc_zeroed(layout).cast::<Page>();
            (!page.is_null()).then(|| Box::from_raw(page))
        }?;
        page.0[..text.len()].copy_from_slice(text);
        Some(page)
    }

    /// The text.
    #[must_use]
    pub fn as_text(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        &self.0[..end.unwrap_or(0)]
    }

    /// Calls for each entry of a directory in the first bytes: its name, number and kind.
    pub fn each_entry(&self, length: usize, mut each: impl FnMut(&[u8], u64, u8)) {
        let mut rest = &self.0[..length.min(FRAME)];
        // Linux's `struct linux_dirent64`: number, offset, length, kind, name.
        while let (Some(head), Some(number)) = (rest.get(..19), rest.first_chunk()) {
            let size = usize::from(u16::from_le_bytes([head[16], head[17]]));
            let name = rest[19..].split(|byte| *byte == 0).next().unwrap_or_default();
            each(name, u64::from_le_bytes(*number), head[18]);
            let Some(after) = rest.get(size.max(19)..) else {
                return;
            };
            rest = after;
        }
    }

    fn address(&self) -> GuestPhysAddr {
        let address = paging::translate(&raw const *self as usize).unwrap_or(0);
        GuestPhysAddr::new_truncate(address as u64)
    }
}

/// An error by its number: Linux's.
fn error(number: i32) -> Error {
    match number {
        1 => Error::NotPermitted,
        2 => Error::NotFound,
        9 => Error::BadDescriptor,
        13 => Error::PermissionDenied,
        16 => Error::Busy,
        17 => Error::AlreadyExists,
        18 => Error::OtherDevice,
        20 => Error::NotADirectory,
        21 => Error::IsADirectory,
        23 | 24 => Error::TooManyOpen,
        27 => Error::FileTooLarge,
        28 => Error::NoSpace,
        29 => Error::NotSeekable,
        30 => Error::ReadOnly,
        36 => Error::NameTooLong,
        38 => Error::Unsupported,
        39 => Error::DirectoryNotEmpty,
        40 => Error::Loop,
        _ => Error::InvalidArgument,
    }
}

/// A result as most calls have it: a number, or an error's negative number.
fn result(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| error(value.unsigned_abs() as i32))
}

/// Opens a file; gives its descriptor.
///
/// # Errors
///
/// Those of open(2), as for the others below.
pub fn open(path: &Page, flags: i32, mode: i32) -> Result<i32> {
    let mut parameters = Parameters(OpenParams { name: path.address(), flags, mode, ret: -1 });
    call_with(HypercallAddress::FileOpen, &mut parameters);
    result(parameters.0.ret.into()).map(|descriptor| descriptor as i32)
}

/// Closes a file.
pub fn close(descriptor: i32) {
    let mut parameters = Parameters(CloseParams { fd: descriptor, ret: 0 });
    call_with(HypercallAddress::FileClose, &mut parameters);
}

/// Reads or writes a buffer, a page at a time: a page that is filled is touched first, so that it is the reader's
/// own. Gives how many bytes it was until the file had or took no more.
fn transfer(
    number: HypercallAddress,
    descriptor: i32,
    buffer: *const u8,
    length: usize,
    mut touch: impl FnMut(usize),
) -> Result<usize> {
    // Both kinds of parameters are the same.
    const { assert!(size_of::<ReadParams>() == size_of::<WriteParams>()) };
    const { assert!(offset_of!(ReadParams, ret) == offset_of!(WriteParams, ret)) };
    const { assert!(offset_of!(ReadParams, buf) == offset_of!(WriteParams, buf)) };
    let mut done = 0;
    while done < length {
        touch(done);
        let part = first_part(buffer.wrapping_add(done), length - done);
        let (buf, len) = part.ok_or(Error::InvalidArgument)?;
        let mut parameters = Parameters(WriteParams { len, ret: 0, buf, fd: descriptor });
        call_with(number, &mut parameters);
        match result(parameters.0.ret) {
            Ok(got) => {
                done += got as usize;
                if got < len {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Reads from a file.
///
/// # Errors
///
/// Those of read(2).
pub fn read_file(descriptor: i32, buffer: &mut [u8]) -> Result<usize> {
    let (start, length) = (buffer.as_ptr(), buffer.len());
    transfer(HypercallAddress::FileRead, descriptor, start, length, |at| buffer[at] = 0)
}

/// Writes to a file.
///
/// # Errors
///
/// Those of write(2).
pub fn write_file(descriptor: i32, bytes: &[u8]) -> Result<usize> {
    let (start, length) = (bytes.as_ptr(), bytes.len());
    transfer(HypercallAddress::FileWrite, descriptor, start, length, |_| ())
}

/// Moves a file's position; gives the new one.
///
/// # Errors
///
/// Those of lseek(2).
pub fn seek(descriptor: i32, offset: i64, whence: u32) -> Result<u64> {
    let mut parameters = Parameters(LseekParams { offset, whence, fd: descriptor });
    call_with(HypercallAddress::FileLseek, &mut parameters);
    result(parameters.0.offset)
}

/// Removes a file's name.
///
/// # Errors
///
/// Those of unlink(2).
pub fn remove(path: &Page) -> Result<()> {
    let mut parameters = Parameters(UnlinkParams { name: path.address(), ret: -1 });
    call_with(HypercallAddress::FileUnlink, &mut parameters);
    result(parameters.0.ret.into()).map(drop)
}

/// Makes a directory.
///
/// # Errors
///
/// Those of mkdir(2).
pub fn make_directory(path: &Page) -> Result<()> {
    let mut parameters = Parameters(MkdirParams {
        path: path.address(),
        len: path.as_text().len() as u64 + 1,
        ret: MkdirResult::None,
    });
    call_with(HypercallAddress::Mkdir, &mut parameters);
    match parameters.0.ret {
        MkdirResult::Error(number) => Err(error(number)),
        _ => Ok(()),
    }
}

/// What the monitor writes about a file.
#[repr(C, align(128))]
struct Found(Attributes);

fn attributes(call: impl FnOnce(GuestPhysAddr) -> StatResult) -> Result<Attributes> {
    let mut found = Box::new(Found(Attributes::default()));
    let address = paging::translate(&raw mut *found as usize).ok_or(Error::InvalidArgument)?;
    match call(GuestPhysAddr::new_truncate(address as u64)) {
        StatResult::Error(number) => Err(error(number)),
        _ => Ok(found.0),
    }
}

/// What there is to know about what a path leads to; about a symbolic link itself unless `follow`.
///
/// # Errors
///
/// Those of stat(2).
pub fn stat(path: &Page, follow: bool) -> Result<Attributes> {
    attributes(|attr| {
        let mut parameters = Parameters(StatParams {
            name: path.address(),
            kind: if follow { StatKind::Stat } else { StatKind::LStat },
            attr,
            ret: StatResult::None,
        });
        call_with(HypercallAddress::FileStat, &mut parameters);
        parameters.0.ret
    })
}

/// What there is to know about an open file.
///
/// # Errors
///
/// Those of fstat(2).
pub fn fstat(descriptor: i32) -> Result<Attributes> {
    attributes(|attr| {
        let mut parameters =
            Parameters(FstatParams { fd: descriptor, attr, ret: StatResult::None });
        call_with(HypercallAddress::FileFstat, &mut parameters);
        parameters.0.ret
    })
}

/// Reads the next entries of a directory; gives how many bytes they take, 0 at the end.
///
/// # Errors
///
/// Those of getdents(2).
pub fn entries(descriptor: i32, page: &mut Page) -> Result<usize> {
    let mut parameters = Parameters(GetdentParams {
        fd: descriptor,
        buf: page.address(),
        len: FRAME as u64,
        ret: GetdentResult::None,
    });
    call_with(HypercallAddress::Getdents, &mut parameters);
    match parameters.0.ret {
        GetdentResult::Success(length) => Ok(length as usize),
        GetdentResult::Error(number) => Err(error(number)),
        _ => Ok(0),
    }
}

/// The call of our own monitor alone that changes files (docs/boot-protocol.md).
const CHANGE: u16 = 0x1f00;

/// Its parameters.
#[repr(C)]
struct Change {
    operation: u32,
    result: i32,
    path: u64,
    other: u64,
    descriptor: i64,
    number: u64,
}

/// What a change is made to.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// What a path leads to.
    Path(&'a Page),
    /// An open file.
    Descriptor(i32),
}

/// A change; `other` is a physical address. Another monitor does nothing, which is an error.
fn change(operation: u32, target: Target<'_>, other: u64, number: u64) -> Result<usize> {
    const NOT_THERE: i32 = -38;
    let (path, descriptor) = match target {
        Target::Path(path) => (path.address().as_u64(), -1),
        Target::Descriptor(descriptor) => (0, descriptor.into()),
    };
    let mut parameters =
        Parameters(Change { operation, result: NOT_THERE, path, other, descriptor, number });
    call_port(CHANGE, &mut parameters);
    result(parameters.0.result.into()).map(|number| number as usize)
}

/// Gives a file or directory another name.
///
/// # Errors
///
/// Those of rename(2).
pub fn rename(from: &Page, to: &Page) -> Result<()> {
    change(1, Target::Path(from), to.address().as_u64(), 0).map(drop)
}

/// Makes a symbolic link.
///
/// # Errors
///
/// Those of symlink(2).
pub fn make_link(target: &Page, path: &Page) -> Result<()> {
    change(2, Target::Path(path), target.address().as_u64(), 0).map(drop)
}

/// Gives a file another name beside the one it has.
///
/// # Errors
///
/// Those of link(2).
pub fn link(from: &Page, to: &Page) -> Result<()> {
    change(3, Target::Path(from), to.address().as_u64(), 0).map(drop)
}

/// Reads what a symbolic link stands for.
///
/// # Errors
///
/// Those of readlink(2).
pub fn read_link(path: &Page) -> Result<Box<Page>> {
    let mut target = Page::text(b"").ok_or(Error::OutOfMemory)?;
    let room = FRAME as u64 - 1;
    let length = change(4, Target::Path(path), target.address().as_u64(), room)?;
    target.0[length.min(FRAME - 1)] = 0;
    Ok(target)
}

/// Changes the permission bits.
///
/// # Errors
///
/// Those of chmod(2).
pub fn set_mode(target: Target<'_>, mode: u32) -> Result<()> {
    change(5, target, 0, mode.into()).map(drop)
}

/// Changes the length.
///
/// # Errors
///
/// Those of ftruncate(2).
pub fn set_length(descriptor: i32, length: u64) -> Result<()> {
    change(6, Target::Descriptor(descriptor), 0, length).map(drop)
}

/// Waits until what was written is on the host's disk.
///
/// # Errors
///
/// Those of fsync(2).
pub fn sync(descriptor: i32) -> Result<()> {
    change(7, Target::Descriptor(descriptor), 0, 0).map(drop)
}

/// Changes the times, in nanoseconds since 1970; one that is `None` stays.
///
/// # Errors
///
/// Those of utimensat(2).
pub fn set_times(target: Target<'_>, times: [Option<i64>; 2]) -> Result<()> {
    let times = Parameters(times.map(|time| time.unwrap_or(i64::MIN)));
    let place = paging::translate(&raw const times as usize).ok_or(Error::InvalidArgument)?;
    change(8, target, place as u64, 0).map(drop)
}
