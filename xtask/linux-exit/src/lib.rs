//! Linked into a Linux program, lets it end a machine whose only process it is (process 1 of an
//! initramfs), and tell its exit status in the way of `docs/boot-protocol.md`.
//!
//! Without it, Linux panics when its first process ends, and the status is lost. Nothing happens in
//! a program that is not process 1. The program's source is not changed: the linker takes the one
//! object of this library by its symbol `skete_linux_exit` and glibc calls it before `main`.

//!
//! Where the kernel's command line has an address, the network is brought up first (see [`network`]).

#![no_std]

mod network;

use core::arch::asm;
use core::ffi::{c_int, c_ulong, c_void};

/// Takes the exit status, four little-endian bytes.
const STATUS_PORT: u16 = 0xea;
/// Ends the machine.
const EXIT_PORT: u16 = 0xf4;

/// How many turns the machine gets to end: some seconds, even when the host is busy.
const PATIENCE: u32 = 1 << 31;

unsafe extern "C" {
    safe fn getpid() -> c_int;
    /// Waits until a terminal has sent everything.
    safe fn tcdrain(descriptor: c_int) -> c_int;
    /// Allows the use of I/O ports; gives 0 when that was done.
    safe fn ioperm(first: c_ulong, count: c_ulong, on: c_int) -> c_int;
    /// As `atexit`, with the exit status.
    safe fn on_exit(handler: extern "C" fn(c_int, *mut c_void), data: *mut c_void) -> c_int;
}

/// Called before `main`.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".init_array")]
#[allow(non_upper_case_globals)]
pub static skete_linux_exit: extern "C" fn() = at_start;

extern "C" fn at_start() {
    if getpid() == 1 {
        on_exit(at_exit, core::ptr::null_mut());
        network::bring_up();
    }
}

/// Ends the machine. Where it may not, the process ends as usual, and Linux says so loudly.
extern "C" fn at_exit(status: c_int, _data: *mut c_void) {
    tcdrain(1);
    let allowed = |port: u16| ioperm(port.into(), 1, 1) == 0;
    if allowed(STATUS_PORT) && allowed(EXIT_PORT) {
        for byte in status.to_le_bytes() {
            out(STATUS_PORT, byte);
        }
        let [low, ..] = status.to_le_bytes();
        out(EXIT_PORT, low);
        // QEMU takes a moment. Linux must not see the end of its first process in it.
        for _ in 0..PATIENCE {
            core::hint::spin_loop();
        }
    }
}

/// Writes a byte to one of the two ports.
fn out(port: u16, byte: u8) {
    // SAFETY: `at_exit` has asked for the ports. The first is a debug console, the second one ends
    // the machine: neither changes this process's memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) };
}
