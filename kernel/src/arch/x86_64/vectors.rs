//! Interrupt vectors of devices. The entries are in an image only when something in it asks for a vector.

use super::gdt::INTERRUPT_STACK;
use super::trap::{self, ENTRY_SIZE, FIRST_DEVICE};
use crate::sync::{Hook, Lock};

/// How many vectors there are for devices.
pub const COUNT: usize = 64;

core::arch::global_asm!(
    ".pushsection .text.skete_device_entries, \"ax\", @progbits",
    ".balign 16",
    "skete_device_entries:",
    ".set vector, {first}",
    ".rept {count}",
    ".balign {size}",
    "push 0",
    "push vector",
    "jmp {common}",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    first = const FIRST_DEVICE,
    count = const COUNT,
    size = const ENTRY_SIZE,
    common = sym trap::common,
);

unsafe extern "C" {
    #[link_name = "skete_device_entries"]
    static ENTRIES: [[u8; ENTRY_SIZE]; COUNT];
}

/// What is done when a device interrupts, by its vector.
pub type Handler = fn(u8);

static HANDLER: Hook<&'static Handler> = Hook::new();
static TAKEN: Lock<usize> = Lock::new(0);

/// Takes a vector that nobody has. Its interrupts, as those of all others, go to `handler` from now on. `None` when
/// all are taken.
pub fn take(handler: &'static Handler) -> Option<u8> {
    let mut taken = TAKEN.lock();
    let number = *taken;
    if number == COUNT {
        return None;
    }
    HANDLER.set(handler);
    let entry = &raw const ENTRIES as u64 + (number * ENTRY_SIZE) as u64;
    // SAFETY: nobody has had the vector; its entry goes the way of all interrupts, to `handle`.
    unsafe { trap::set_gate(usize::from(FIRST_DEVICE) + number, entry, INTERRUPT_STACK) };
    *taken += 1;
    Some(FIRST_DEVICE + number as u8)
}

/// The number of a device's vector among [`COUNT`].
#[must_use]
pub fn number(vector: u8) -> usize {
    usize::from(vector - FIRST_DEVICE)
}

/// A device has interrupted.
pub(super) fn handle(vector: u8) {
    if let Some(handler) = HANDLER.get() {
        handler(vector);
    }
}
