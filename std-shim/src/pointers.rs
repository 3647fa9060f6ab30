//! Pointers that come over the border.

use core::ffi::{CStr, c_char};
use core::sync::atomic::AtomicU32;

use hermit_abi::timespec;
use skete_kernel::{Error, Result};

/// The bytes of a C string.
///
/// # Safety
///
/// Null, or a C string that outlives the result.
pub unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(Error::InvalidArgument);
    }
    // SAFETY: vouched for by the caller.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// The bytes of a buffer to read from.
///
/// # Safety
///
/// `length` bytes that outlive the result, or nothing.
pub unsafe fn bytes<'a>(pointer: *const u8, length: usize) -> Result<&'a [u8]> {
    check(pointer, length)?;
    if length == 0 {
        return Ok(&[]);
    }
    // SAFETY: vouched for by the caller.
    Ok(unsafe { core::slice::from_raw_parts(pointer, length) })
}

/// The bytes of a buffer to write to.
///
/// # Safety
///
/// `length` bytes that outlive the result and nobody else uses, or nothing.
pub unsafe fn buffer<'a>(pointer: *mut u8, length: usize) -> Result<&'a mut [u8]> {
    check(pointer, length)?;
    if length == 0 {
        return Ok(&mut []);
    }
    // SAFETY: vouched for by the caller. The bytes may be uninitialised; they are only written to.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer, length) })
}

fn check(pointer: *const u8, length: usize) -> Result<()> {
    let valid = length == 0 || !pointer.is_null() && isize::try_from(length).is_ok();
    valid.then_some(()).ok_or(Error::InvalidArgument)
}

/// A futex.
///
/// # Safety
///
/// Null, or four aligned bytes that outlive the result.
pub unsafe fn word<'a>(pointer: *mut u32) -> Result<&'a AtomicU32> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(Error::InvalidArgument);
    }
    // SAFETY: vouched for by the caller.
    Ok(unsafe { AtomicU32::from_ptr(pointer) })
}

/// A time in nanoseconds. `None` for a null pointer.
///
/// # Safety
///
/// Null, or a timespec.
pub unsafe fn duration(pointer: *const timespec) -> Result<Option<u64>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: vouched for by the caller.
    let time = unsafe { pointer.read() };
    match (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanoseconds @ 0..1_000_000_000)) => {
            Ok(Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)))
        }
        _ => Err(Error::InvalidArgument),
    }
}
