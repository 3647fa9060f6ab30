//! The end of the virtual machine.

use core::arch::asm;
use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

use x86_64::instructions::port::Port;

/// I/O port of QEMU's `isa-debug-exit`.
const DEBUG_EXIT: u16 = 0xf4;

static STATUS_PORT: AtomicU16 = AtomicU16::new(0);

/// Names the debug-console port that takes the whole exit status.
pub fn set_status_port(port: u16) {
    STATUS_PORT.store(port, Relaxed);
}

/// Writes to the status port, if there is one.
pub fn write_status_port(bytes: &[u8]) {
    match STATUS_PORT.load(Relaxed) {
        0 => {}
        port => super::serial::write_debug_console(port, bytes),
    }
}

/// Ends the virtual machine with `status`.
///
/// QEMU's debug-exit device loses the highest bit of a byte, so the whole status goes to the status
/// port first, little-endian, where the runner reads it.
pub fn end(status: i32) -> ! {
    super::irq::off();
    if super::uhyve::is_present() {
        super::uhyve::exit(status);
    }
    write_status_port(&status.to_le_bytes());
    // SAFETY: the port belongs to a device that only takes the status, or to no device at all.
    unsafe { Port::<u32>::new(DEBUG_EXIT).write(status as u8 as u32) };
    reset()
}

/// Ends a machine that has no debug-exit device: an empty interrupt table and a breakpoint are a
/// triple fault, which every monitor takes as a shutdown (QEMU with `-no-reboot`).
fn reset() -> ! {
    let empty = [0u8; 10];
    // SAFETY: never comes back.
    unsafe {
        asm!("lidt [{}]", "int3", "2: hlt", "jmp 2b", in(reg) &raw const empty, options(noreturn));
    }
}
