//! Names for addresses: a compact table of functions, files and lines that the image carries.
//!
//! The table is made when an image is linked (the crate `skete-names`, which also holds the writer of
//! every part described here) and loaded as the image's last segment. All numbers are little-endian,
//! addresses count from the image's first byte, offsets from the table's.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | [`MAGIC`] |
//! | 6 × 4 | number and offset of the function blocks; number and offset of the line blocks; offset of the places; offset of the texts |
//! | 512 | what each of the 256 byte values stands for in a function's name: two more such values, or one plain byte and 0 |
//! | | blocks, each its first address and the offset of its entries; entries; places; texts |
//!
//! - An entry of a **function** block is the distance from the entry before it, and the name up to a 0.
//!   A name that is empty belongs to no function.
//! - An entry of a **line** block is the distance from the entry before it, and the place's offset from
//!   the place of that entry, signed. Place 0 is none.
//! - A **place** is the distance back to the place that it is inlined at (0: none), where the texts of
//!   its function and its file start among the texts (each ends with a 0), line and column.
//!
//! A distance of 0 behind the first entry ends a block.
//!
//! Numbers in entries and places are LEB128, signed ones folded to unsigned by `zigzag`.

use core::ops::ControlFlow;

/// The table's first bytes.
pub const MAGIC: [u8; 4] = *b"SkN1";
/// Bytes before the meanings of the byte values.
pub const HEADER: usize = 28;
/// The longest name of a function that is shown whole.
const LONGEST: usize = 200;

/// A function that an address lies in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The function's name, without a hash.
    pub name: &'a [u8],
    /// The source file; empty where it is not known.
    pub file: &'a [u8],
    /// The line, from 1; 0 where it is not known.
    pub line: u32,
    /// The column, from 1; 0 where it is not known.
    pub column: u32,
}

/// A table of names.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a>(&'a [u8]);

impl<'a> Names<'a> {
    /// The table that starts with `bytes`, if it is one.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Names<'a>> {
        bytes.starts_with(&MAGIC).then_some(Names(bytes))
    }

    /// Calls `each` with the function that `address` lies in. Where functions were inlined, the
    /// innermost comes first.
    pub fn resolve(self, address: u32, each: &mut dyn FnMut(&Symbol<'_>)) {
        let mut place = self.place(address);
        if place == 0 {
            let mut name = [0; LONGEST];
            let length = self.function(address, &mut name);
            if length != 0 {
                each(&Symbol {
                    name: &name[..length],
                    ..Symbol::default()
                });
            }
            return;
        }
        loop {
            let mut at = Cursor(self, self.word(20) + place);
            let back = at.number();
            let name = self.text(at.number());
            let file = self.text(at.number());
            let line = at.number() as u32;
            let column = at.number() as u32;
            each(&Symbol {
                name,
                file,
                line,
                column,
            });
            match place.checked_sub(back) {
                Some(outer) if back != 0 => place = outer,
                _ => return,
            }
        }
    }

    /// The offset of the place of an address, 0 without one.
    fn place(self, address: u32) -> usize {
        let mut last = 0u32;
        self.walk(12, address, |entry, reached| {
            if reached {
                return ControlFlow::Break(());
            }
            let folded = entry.number() as u32;
            last = last.wrapping_add(folded >> 1 ^ (folded & 1).wrapping_neg());
            ControlFlow::Continue(())
        });
        last as usize
    }

    /// Writes the name of the function that an address lies in; gives its length.
    fn function(self, address: u32, name: &mut [u8; LONGEST]) -> usize {
        let mut start = 0;
        self.walk(4, address, |entry, reached| {
            if reached {
                return ControlFlow::Break(());
            }
            start = entry.1;
            while entry.byte() != 0 {}
            ControlFlow::Continue(())
        });
        let mut length = 0;
        if start != 0 {
            let mut entry = Cursor(self, start);
            while let code @ 1.. = entry.byte() {
                self.expand(code, name, &mut length);
            }
        }
        length
    }

    /// Goes through the entries of the block that `address` lies in, of the kind whose number of
    /// blocks is at `header`; tells `visit` when an entry lies behind the address.
    fn walk(
        self,
        header: usize,
        address: u32,
        mut visit: impl FnMut(&mut Cursor<'a>, bool) -> ControlFlow<()>,
    ) {
        let (count, first) = (self.word(header), self.word(header + 4));
        let start = |block: usize| self.word(first + 8 * block) as u32;
        // The number of blocks that start at the address or below it.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = (low + high) / 2;
            if start(middle) <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(block) = low.checked_sub(1) else {
            return;
        };
        let mut reached = start(block);
        let mut entry = Cursor(self, self.word(first + 8 * block + 4));
        for index in 0.. {
            let distance = entry.number() as u32;
            if index != 0 && distance == 0 {
                return;
            }
            reached = reached.wrapping_add(distance);
            if visit(&mut entry, reached > address).is_break() {
                return;
            }
        }
    }

    /// Adds what a byte of a name stands for.
    fn expand(self, code: u8, name: &mut [u8; LONGEST], length: &mut usize) {
        let meaning = HEADER + 2 * usize::from(code);
        let (first, second) = (self.byte(meaning), self.byte(meaning + 1));
        if second != 0 {
            self.expand(first, name, length);
            self.expand(second, name, length);
        } else if *length < LONGEST {
            name[*length] = first;
            *length += 1;
        }
    }

    fn text(self, at: usize) -> &'a [u8] {
        let text = self.0.get(self.word(24) + at..).unwrap_or_default();
        let length = text.iter().position(|byte| *byte == 0);
        &text[..length.unwrap_or(0)]
    }

    fn word(self, at: usize) -> usize {
        (0..4).fold(0, |word, byte| {
            word | usize::from(self.byte(at + byte)) << (8 * byte)
        })
    }

    fn byte(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }
}

/// A place in the table that is read from.
struct Cursor<'a>(Names<'a>, usize);

impl Cursor<'_> {
    fn byte(&mut self) -> u8 {
        self.1 += 1;
        self.0.byte(self.1 - 1)
    }

    /// Reads a number in LEB128.
    fn number(&mut self) -> usize {
        let mut number = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte();
            number |= usize::from(byte & 0x7f) << (shift & 63);
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }
}
