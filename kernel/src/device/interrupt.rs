//! Which part of the kernel a device's interrupt is for.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use crate::arch::ioapic::{self, Line};
use crate::arch::{pci, vectors};
use crate::debug::{Level, Line as Text};
use crate::sync::Lock;

/// What interrupts.
pub trait Source: Sync {
    /// Sees to the device, on the interrupt stack with interrupts off; false when it was not this one that
    /// interrupted.
    fn interrupt(&self) -> bool;
}

/// One of those that a vector is for.
struct Handler {
    source: &'static dyn Source,
    next: *const Handler,
}

/// For each vector, those that it is for.
static HANDLERS: [AtomicPtr<Handler>; vectors::COUNT] =
    [const { AtomicPtr::new(ptr::null_mut()) }; vectors::COUNT];

/// Lines that have a vector.
static LINES: Lock<Vec<(u32, u8)>> = Lock::new(Vec::new());

/// Interrupts in a row, at most, that are for nobody before their line is cut off.
const STRAY: u32 = 10_000;

fn handle(vector: u8) {
    static STRAYS: AtomicU32 = AtomicU32::new(0);
    let mut handler = HANDLERS[vectors::number(vector)].load(Acquire).cast_const();
    let mut known = false;
    // SAFETY: handlers are never given back.
    while let Some(entry) = unsafe { handler.as_ref() } {
        known |= entry.source.interrupt();
        handler = entry.next;
    }
    if known {
        STRAYS.store(0, Relaxed);
    } else if STRAYS.fetch_add(1, Relaxed) == STRAY {
        let line = LINES.lock().iter().find(|(_, other)| *other == vector).copied();
        if let Some((line, _)) = line {
            ioapic::mask(line);
            Text::new()
                .text("skete: interrupt line ")
                .number(line.into())
                .text(" is cut off: it interrupts without end, and for no known device")
                .end();
        }
    }
}

fn add(vector: u8, source: &'static dyn Source) {
    let first = &HANDLERS[vectors::number(vector)];
    let next = first.load(Relaxed);
    let handler = Box::leak(Box::new(Handler { source, next }));
    first.store(handler, Release);
}

/// Lets the interrupts of a line go to `source`, besides those that share the line.
///
/// # Errors
///
/// Why the line cannot interrupt.
pub fn connect_line(line: Line, source: &'static dyn Source) -> Result<(), &'static str> {
    let known = LINES.lock().iter().find(|(number, _)| *number == line.number).copied();
    if let Some((_, vector)) = known {
        add(vector, source);
        return Ok(());
    }
    let vector = vectors::take(&(handle as vectors::Handler)).ok_or(NO_VECTOR)?;
    add(vector, source);
    LINES.lock().push((line.number, vector));
    if !ioapic::route(line, vector) {
        return Err("no I/O APIC has its interrupt line");
    }
    Text::log(Level::Debug, |text| {
        text.text("interrupt line ")
            .number(line.number.into())
            .text(if line.level { ", level" } else { ", edge" })
            .text(if line.low { ", low" } else { ", high" })
            .text(", vector ")
            .number(vector.into());
    });
    Ok(())
}

const NO_VECTOR: &str = "all interrupt vectors are in use";

/// Makes a message-signaled interrupt for `source`, handled by the processor with this number where it runs:
/// the address that the device has to write to, and what.
///
/// # Errors
///
/// When no vector is left.
pub fn connect_message(
    processor: u32,
    source: &'static dyn Source,
) -> Result<(u64, u32), &'static str> {
    let vector = vectors::take(&(handle as vectors::Handler)).ok_or(NO_VECTOR)?;
    add(vector, source);
    Ok(pci::message(processor, vector))
}
