//! The calls that led to an instruction, by the chain of frame pointers, which the target's
//! specification makes every function of an image keep.

use super::Line;
use super::names::{Symbol, Symbols};
use crate::arch::paging;
use crate::boot::image;

/// The return addresses of a stack, innermost first.
#[derive(Clone, Copy, Debug)]
pub struct Callers {
    /// The frame pointer of the function that was called last.
    pub frame_pointer: usize,
}

impl Iterator for Callers {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let frame = self.frame_pointer;
        if frame == 0
            || !frame.is_multiple_of(8)
            || !paging::is_mapped(frame)
            || !paging::is_mapped(frame + 8)
        {
            return None;
        }
        // SAFETY: mapped memory, as was just checked; a wrong frame pointer gives a wrong address.
        let [next, address] = unsafe { *(frame as *const [usize; 2]) };
        // Stacks grow down. Whatever does not lead up is the end, so that no walk is endless.
        self.frame_pointer = if next > frame { next } else { 0 };
        (address != 0).then_some(address)
    }
}

/// The functions that the instruction at `address` belongs to, the innermost of inlined ones first.
/// Without names in the image there are none.
#[must_use]
pub fn symbols(address: usize) -> Option<Symbols<'static>> {
    let (names, base) = image::names()?;
    Some(names.at(u32::try_from(address.wrapping_sub(base)).ok()?))
}

/// Whether the instruction at `address` is the kernel's own: a panic of the kernel is an instruction
/// that traps, in the function itself or in one of the library's that only it calls.
#[must_use]
pub fn is_kernel(address: usize, mut callers: Callers) -> bool {
    let caller = callers.next().unwrap_or(0);
    [address, caller].into_iter().filter_map(symbols).any(|mut symbols| {
        let mut own = false;
        while let Some(symbol) = symbols.next() {
            own |= symbol.name.starts_with(b"skete_") || symbol.name.starts_with(b"<skete_");
        }
        own
    })
}

/// How much of a stack is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// What lies between std's own frames (`RUST_BACKTRACE=1`).
    Short,
    /// Everything, with addresses (`RUST_BACKTRACE=full`).
    Full,
    /// The innermost frames, with addresses: a fault's stack may be nothing but recursion.
    Fault,
}

impl Style {
    /// Frames that are shown at most.
    const fn most(self) -> usize {
        match self {
            // As many as std shows.
            Style::Short => 100,
            Style::Full => usize::MAX,
            Style::Fault => 40,
        }
    }
}

/// Writes the stack in std's format: first the instruction at `start`, if any, then the callers.
pub fn print(
    start: Option<usize>,
    mut callers: Callers,
    style: Style,
    write: &mut dyn FnMut(&[u8]),
) {
    let mut printer = Printer {
        style,
        index: 0,
        // std's hook for panics calls the printer through a function of this name.
        shown: style != Style::Short,
        omitted: 0,
        write,
    };
    (printer.write)(b"stack backtrace:\n");
    if let Some(address) = start {
        printer.frame(address, address);
    }
    for caller in callers.by_ref().take(style.most()) {
        // A call may be its function's last instruction: what it returns to is another's.
        printer.frame(caller, caller - 1);
    }
    let more = callers.count();
    if more != 0 {
        let mut line = Line::new();
        line.text("      [... and ").number(more as u64).text(" more ...]");
        line.end_to(printer.write);
    }
}

struct Printer<'a> {
    style: Style,
    index: u64,
    shown: bool,
    /// Frames left out since the last one that was shown.
    omitted: u64,
    write: &'a mut dyn FnMut(&[u8]),
}

impl Printer<'_> {
    fn frame(&mut self, address: usize, inside: usize) {
        let Some(mut symbols) = symbols(inside) else {
            return self.symbol(address, &Symbol::default());
        };
        let mut symbol = symbols.next().unwrap_or_default();
        loop {
            self.symbol(address, &symbol);
            match symbols.next() {
                Some(outer) => symbol = outer,
                None => return,
            }
        }
    }

    fn symbol(&mut self, address: usize, symbol: &Symbol<'_>) {
        if self.style == Style::Short {
            let marks = |mark: &[u8]| symbol.name.windows(mark.len()).any(|part| part == mark);
            if marks(b"__rust_end_short_backtrace") {
                self.shown = true;
                return;
            }
            if self.shown && marks(b"__rust_begin_short_backtrace") {
                self.shown = false;
                return;
            }
            if !self.shown {
                self.omitted += 1;
                return;
            }
        }
        let mut line = Line::new();
        if self.omitted != 0 && self.index != 0 {
            line.text("      [... omitted ").number(self.omitted).text(" frames ...]");
            line.end_to(self.write);
        }
        self.omitted = 0;
        let digits = self.index.checked_ilog10().unwrap_or(0) as usize;
        line.text(&"   "[digits.min(3)..]).number(self.index).text(": ");
        if self.style != Style::Short {
            line.hex16(address as u64).text(" - ");
        }
        match symbol.name {
            b"" => line.text("<unknown>"),
            name => line.bytes(name),
        };
        line.end_to(self.write);
        if symbol.line != 0 {
            line.text("             at ")
                .bytes(symbol.file)
                .text(":")
                .number(u64::from(symbol.line));
            if symbol.column != 0 {
                line.text(":").number(u64::from(symbol.column));
            }
            line.end_to(self.write);
        }
        self.index += 1;
    }
}
