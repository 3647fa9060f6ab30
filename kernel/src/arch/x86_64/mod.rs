//! x86-64: every privileged instruction of the kernel is in this room.

pub mod acpi;
pub mod apic;
pub mod clock;
pub mod context;
pub mod cpu;
pub mod entropy;
pub mod fw_cfg;
pub mod gdt;
pub mod ioapic;
pub mod irq;
pub mod local;
pub mod objects;
pub mod paging;
pub mod pci;
pub mod power;
pub mod processor;
pub mod pvclock;
pub mod rtc;
pub mod serial;
pub mod smp;
pub mod tlb;
pub mod trap;
pub mod uhyve;
pub mod vectors;

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The name of this machine, as `/proc` and log lines give it.
pub const NAME: &str = "x86_64";

/// Where physical memory is mapped as a whole: page-map level 4, entry 128.
///
/// It lies in the lower half of the address space, so that a pointer into the heap is a small
/// positive number: programs that tag pointers count on 47 bits.
pub const DIRECT_MAP: usize = 0x4000_0000_0000;

/// Where device registers are mapped, uncached: page-map level 4, entry 129.
pub const DEVICE_MAP: usize = 0x4080_0000_0000;

/// Where areas (stacks, large allocations) live: page-map level 4, entries 64 to 127.
pub const AREA_MAP: usize = 0x2000_0000_0000;

/// The address in the direct map of a physical address.
#[inline]
#[must_use]
pub const fn direct(physical: usize) -> usize {
    DIRECT_MAP + physical
}

/// Brings the boot processor into the state that the kernel relies on: descriptor tables, traps,
/// vector registers, protections. Page tables must be the kernel's own by now.
pub fn init() {
    local::init();
    trap::init();
    cpu::init();
    apic::mask_legacy_controllers();
}

/// Stops the running processor for good.
pub fn halt() -> ! {
    loop {
        irq::off();
        x86_64::instructions::hlt();
    }
}

/// Touches the stack `BYTES` further down, at most a page, so that a page fault for it happens now.
///
/// Under a lock that a page fault needs, nothing below what was touched before may be used or touched.
#[inline]
pub fn touch_stack<const BYTES: usize>() {
    const { assert!(BYTES <= 4096) };
    // SAFETY: reads a byte of the running stack, or of its guard, which ends the program as it should.
    unsafe {
        core::arch::asm!("test byte ptr [rsp - {}], 0", const BYTES, options(nostack, readonly));
    }
}

/// A translator makes this machine, to which each `pause` is a way out of its code, through a lock that all its
/// processors and devices share.
static TRANSLATED: AtomicBool = AtomicBool::new(false);

/// A turn in a wait for another processor.
#[inline]
pub fn relax() {
    if !TRANSLATED.load(Relaxed) {
        core::hint::spin_loop();
    }
}

/// A turn in the wait for a spin lock. With one processor the holder cannot go on while we spin.
#[cold]
pub fn spin(held: &AtomicBool) {
    if local::online() == 1 {
        panic!("a lock is taken that this processor holds already");
    }
    while held.load(Relaxed) {
        // The holder may be waiting for our answer.
        tlb::answer();
        relax();
    }
}

/// The number of the running processor, which may be another one right after.
#[inline]
#[must_use]
pub fn processor_number() -> u32 {
    local::this().number
}

/// How many processors run.
#[inline]
#[must_use]
pub fn processors_online() -> u32 {
    local::online()
}
