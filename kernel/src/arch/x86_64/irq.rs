//! The interrupt flag, and waiting for an interrupt.

use core::arch::asm;

/// Turns interrupts off; tells whether they were on.
#[inline]
pub fn off() -> bool {
    let flags: u64;
    // SAFETY: reading RFLAGS and clearing IF touch no memory but the stack; the caller restores IF
    // with `restore`.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    flags & 1 << 9 != 0
}

/// Gives back what [`off`] told.
#[inline]
pub fn restore(on: bool) {
    if on {
        // SAFETY: interrupts were on before the matching `off`, so the tables for them are in place.
        unsafe { asm!("sti", options(nomem, nostack)) };
    }
}

/// Sleeps until an interrupt has been handled. Interrupts are off before and after.
#[inline]
pub fn wait() {
    // SAFETY: interrupts are handled on their own stack and restore every register; `sti` takes
    // effect after `hlt` has begun, so that no wake-up is lost (SDM volume 2, STI).
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}
