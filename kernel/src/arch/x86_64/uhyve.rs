//! Hypercalls of the monitors that speak uhyve's protocol: ours (`hypervisor/`), and uhyve since 0.8.
//!
//! A call is a write to an I/O port, its number, with the physical address of its parameters in `rdi`
//! (crate `uhyve-interface`, version 2).

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use uhyve_interface::GuestPhysAddr;
use uhyve_interface::v2::HypercallAddress;
use uhyve_interface::v2::parameters::{SerialReadBufferParams, WriteParams};

use super::paging;
use crate::mm::blocks::FRAME;

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

fn call(number: HypercallAddress, argument: usize) {
    // SAFETY: the monitor reads and writes the parameters only, and what they point to; all that is over
    // when the instruction is.
    unsafe {
        asm!("out dx, eax", in("dx") number as u16, in("eax") 0, in("rdi") argument, options(nostack))
    };
}

/// Parameters on one page, so that they are in one piece in physical memory.
#[repr(C, align(32))]
struct Parameters<T>(T);

fn call_with<T>(number: HypercallAddress, parameters: &mut Parameters<T>) {
    const { assert!(size_of::<T>() <= 32) };
    if let Some(address) = paging::translate(&raw mut *parameters as usize) {
        call(number, address);
    }
}

/// Ends the machine.
pub fn exit(status: i32) {
    call(HypercallAddress::Exit, status as u32 as usize);
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
        let mut parameters = Parameters(WriteParams {
            len,
            ret: 0,
            buf,
            fd: stream,
        });
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
    let mut parameters = Parameters(SerialReadBufferParams {
        maxlen,
        len: 0,
        buf,
    });
    call_with(HypercallAddress::SerialReadBuffer, &mut parameters);
    (parameters.0.len as usize).min(buffer.len())
}
