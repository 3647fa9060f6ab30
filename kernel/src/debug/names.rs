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

    /// The functions that `address` lies in: the innermost of inlined ones first.
    #[must_use]
    pub fn at(self, address: u32) -> Symbols<'a> {
        let mut lines = Entries::find(self, 12, address);
        let mut place = 0u32;
        while lines.step() {
            let folded = lines.cursor.number() as u32;
            place = place.wrapping_add(folded >> 1 ^ (folded & 1).wrapping_neg());
        }
        Symbols {
            names: self,
            place: place as usize,
            address: (place == 0).then_some(address),
            name: [0; LONGEST],
        }
    }

    /// Writes the name of the function that an address lies in; gives its length.
    fn function(self, address: u32, name: &mut [u8; LONGEST]) -> usize {
        let mut functions = Entries::find(self, 4, address);
        let mut start = 0;
        while functions.step() {
            start = functions.cursor.1;
            while functions.cursor.byte() != 0 {}
        }
        let mut length = 0;
        if start != 0 {
            let mut entry = Cursor(self, start);
            while let code @ 1.. = entry.byte() {
                self.expand(code, name, &mut length);
            }
        }
        length
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

    // A table is read seldom, so its reader is small rather than fast.
    #[inline(never)]
    fn word(self, at: usize) -> usize {
        let word = self.0.get(at..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u32::from_le_bytes(*word) as usize)
    }

    #[inline(never)]
    fn byte(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }
}

/// The functions that an address lies in.
#[derive(Debug)]
pub struct Symbols<'a> {
    names: Names<'a>,
    /// The place of the next one, 0 without one.
    place: usize,
    /// The address, if only its function's name is known.
    address: Option<u32>,
    name: [u8; LONGEST],
}

impl Symbols<'_> {
    /// The next outer function.
    #[expect(clippy::should_implement_trait, reason = "a symbol may borrow from here")]
    pub fn next(&mut self) -> Option<Symbol<'_>> {
        if let Some(address) = self.address.take() {
            let length = self.names.function(address, &mut self.name);
            return (length != 0)
                .then_some(Symbol { name: &self.name[..length], ..Symbol::default() });
        }
        if self.place == 0 {
            return None;
        }
        let mut at = Cursor(self.names, self.names.word(20) + self.place);
        let back = at.number();
        let symbol = Symbol {
            name: self.names.text(at.number()),
            file: self.names.text(at.number()),
            line: at.number() as u32,
            column: at.number() as u32,
        };
        self.place = match back {
            0 => 0,
            _ => self.place.saturating_sub(back),
        };
        Some(symbol)
    }
}

/// The entries of a block from its first one to the one that an address lies in.
struct Entries<'a> {
    cursor: Cursor<'a>,
    address: u32,
    /// The entry's address.
    reached: u32,
    first: bool,
}

impl<'a> Entries<'a> {
    /// The entries before `address`, of the kind whose number of blocks is at `header`.
    fn find(names: Names<'a>, header: usize, address: u32) -> Entries<'a> {
        let (count, first) = (names.word(header), names.word(header + 4));
        // The number of blocks that start at the address or below it.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = (low + high) / 2;
            if names.word(first + 8 * middle) as u32 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(block) = low.checked_sub(1) else {
            // The table's end, where nothing is.
            return Entries {
                cursor: Cursor(names, names.0.len()),
                address,
                reached: 0,
                first: false,
            };
        };
        let block = first + 8 * block;
        Entries {
            cursor: Cursor(names, names.word(block + 4)),
            address,
            reached: names.word(block) as u32,
            first: true,
        }
    }

    /// Goes to the next entry; false when it lies behind the address, or the block ends.
    fn step(&mut self) -> bool {
        let distance = self.cursor.number() as u32;
        if distance == 0 && !self.first {
            return false;
        }
        self.first = false;
        self.reached = self.reached.wrapping_add(distance);
        self.reached <= self.address
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
    #[inline(never)]
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
