//! The table, under construction. `kernel/src/debug/names.rs` documents its format.

use std::collections::{BTreeMap, HashMap};

use crate::pairs;

/// The first bytes.
pub const MAGIC: [u8; 4] = *b"SkN1";
const HEADER: usize = 28;
/// Entries that are read one after the other at most.
const BLOCK: usize = 64;

/// What an image knows about its addresses, which count from its first byte.
#[derive(Debug, Default)]
pub struct Table {
    /// Where each function starts, with its name.
    functions: BTreeMap<u32, String>,
    /// Where each place starts, which ends where the next one starts.
    lines: BTreeMap<u32, usize>,
    places: Vec<u8>,
    known: HashMap<(usize, Place), usize>,
    texts: Vec<u8>,
    offsets: HashMap<String, usize>,
}

/// A line of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The function's name.
    pub function: String,
    /// The source file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 where it is not known.
    pub column: u32,
}

impl Table {
    /// The functions between `address` and the next one have this name. No name: there is none.
    pub fn function(&mut self, address: u32, name: &str) {
        self.functions.insert(address, name.to_owned());
    }

    /// The instructions between `address` and the next one belong to these places, the innermost of
    /// inlined functions first. No place: it is not known.
    pub fn line(&mut self, address: u32, places: &[Place]) {
        if self.places.is_empty() {
            // Place 0 is none.
            self.places.push(0);
        }
        let mut outer = 0;
        for place in places.iter().rev() {
            outer = match self.known.get(&(outer, place.clone())) {
                Some(known) => *known,
                None => self.place(outer, place),
            };
        }
        self.lines.insert(address, outer);
    }

    fn place(&mut self, outer: usize, place: &Place) -> usize {
        let at = self.places.len();
        let back = if outer == 0 { 0 } else { at - outer };
        let [function, file] = [&place.function, &place.file].map(|text| self.text(text));
        for part in [back, function, file, place.line as usize, place.column as usize] {
            number(&mut self.places, part);
        }
        self.known.insert((outer, place.clone()), at);
        at
    }

    /// The offset of a text among the texts.
    fn text(&mut self, text: &str) -> usize {
        if let Some(known) = self.offsets.get(text) {
            return *known;
        }
        let at = self.texts.len();
        self.texts.extend(text.bytes().filter(|byte| *byte != 0));
        self.texts.push(0);
        self.offsets.insert(text.to_owned(), at);
        at
    }

    /// The table's bytes.
    pub fn write(&self) -> Vec<u8> {
        let names = self.functions.values();
        let mut names: Vec<Vec<u8>> =
            names.map(|name| name.replace('\0', "").into_bytes()).collect();
        let meanings = pairs::shorten(&mut names);

        let mut table = Vec::from(MAGIC);
        table.resize(HEADER, 0);
        table.extend(meanings.as_flattened());
        let functions = self.functions.keys().copied().zip(&names);
        blocks(&mut table, 4, functions, |table, name, _| {
            table.extend(*name);
            table.push(0);
        });
        let mut last = 0;
        let lines = self.lines.iter().filter_map(|(start, place)| {
            let changed = std::mem::replace(&mut last, *place) != *place;
            changed.then_some((*start, *place))
        });
        blocks(&mut table, 12, lines, |table, place, before| {
            let back = *place as i64 - before.copied().unwrap_or(0) as i64;
            number(table, zigzag(back));
        });
        for (header, part) in [(20, &self.places), (24, &self.texts)] {
            let at = table.len();
            set(&mut table, header, at);
            table.extend(part);
        }
        table
    }
}

/// Writes entries in blocks, with their number and offset at `header`. `write` gets the entry and the
/// one before it in its block.
fn blocks<T>(
    table: &mut Vec<u8>,
    header: usize,
    entries: impl Iterator<Item = (u32, T)>,
    write: impl Fn(&mut Vec<u8>, &T, Option<&T>),
) {
    let entries: Vec<(u32, T)> = entries.collect();
    let first = table.len();
    set(table, header, entries.len().div_ceil(BLOCK));
    set(table, header + 4, first);
    table.resize(first + 8 * entries.len().div_ceil(BLOCK), 0);
    for (index, block) in entries.chunks(BLOCK).enumerate() {
        let at = table.len();
        set(table, first + 8 * index, block[0].0 as usize);
        set(table, first + 8 * index + 4, at);
        let mut before = None;
        for (start, entry) in block {
            let last = before.map_or(block[0].0, |(start, _)| start);
            number(table, (start - last) as usize);
            write(table, entry, before.map(|(_, entry)| entry));
            before = Some((*start, entry));
        }
        number(table, 0);
    }
}

/// Writes a word of the header or of a block's head. Tables are as large as images, below 4 GiB.
fn set(table: &mut [u8], at: usize, word: usize) {
    table[at..at + 4].copy_from_slice(&(word as u32).to_le_bytes());
}

/// Adds a number in LEB128.
fn number(table: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        table.push(number as u8 | 0x80);
        number >>= 7;
    }
    table.push(number as u8);
}

/// Folds a signed number so that small ones stay small.
const fn zigzag(number: i64) -> usize {
    ((number << 1) ^ (number >> 63)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use skete_kernel::debug::names::{self, Names};

    use super::*;

    #[test]
    fn writer_and_reader_agree_on_the_constants() {
        assert_eq!((MAGIC, HEADER), (names::MAGIC, names::HEADER));
    }

    /// What the kernel reads at an address.
    fn read(table: &[u8], address: u32) -> Vec<Place> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut places = Vec::new();
        let mut symbols = Names::new(table).unwrap().at(address);
        while let Some(symbol) = symbols.next() {
            places.push(Place {
                function: text(symbol.name),
                file: text(symbol.file),
                line: symbol.line,
                column: symbol.column,
            });
        }
        places
    }

    fn named(name: &str) -> Vec<Place> {
        vec![Place { function: name.to_owned(), ..Place::default() }]
    }

    fn place(function: &str, line: u32) -> Place {
        Place { function: function.to_owned(), file: format!("src/{function}.rs"), line, column: 7 }
    }

    #[test]
    fn an_address_has_the_name_of_the_function_before_it() {
        let mut table = Table::default();
        table.function(0x1000, "core::fmt::write");
        table.function(0x1010, "größe::ß");
        table.function(0x1020, "");
        let bytes = table.write();
        assert_eq!(read(&bytes, 0x1000), named("core::fmt::write"));
        assert_eq!(read(&bytes, 0x100f), named("core::fmt::write"));
        assert_eq!(read(&bytes, 0x1010), named("größe::ß"));
        for nothing in [0, 0xfff, 0x1020, u32::MAX] {
            assert_eq!(read(&bytes, nothing), []);
        }
    }

    #[test]
    fn inlined_functions_come_innermost_first() {
        let mut table = Table::default();
        table.function(0x10, "outer");
        table.line(0x10, &[place("outer", 1)]);
        table.line(0x14, &[place("inner", 9), place("middle", 5), place("outer", 2)]);
        table.line(0x18, &[]);
        let bytes = table.write();
        assert_eq!(read(&bytes, 0x13), [place("outer", 1)]);
        assert_eq!(read(&bytes, 0x17), [place("inner", 9), place("middle", 5), place("outer", 2)]);
        // Without a line there is still a name.
        assert_eq!(read(&bytes, 0x18), named("outer"));
    }

    #[test]
    fn an_empty_table_names_nothing() {
        assert_eq!(read(&Table::default().write(), 0), []);
    }

    #[test]
    fn a_damaged_table_ends_every_search() {
        let mut table = Table::default();
        for at in 0..200 {
            table.function(at * 16, &format!("function::{at}"));
            table.line(at * 16, &[place("f", at)]);
        }
        let whole = table.write();
        for length in 4..whole.len() {
            let mut symbols = Names::new(&whole[..length]).unwrap().at(1600);
            while symbols.next().is_some() {}
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            functions in proptest::collection::btree_map(0u32..100_000, "[a-z:<>{}#0-9_]{1,40}", 1..300),
            lines in proptest::collection::btree_map(0u32..100_000, (0usize..3, 1u32..9000), 0..300),
            probes in proptest::collection::vec(0u32..110_000, 1..50),
        ) {
            let mut table = Table::default();
            for (start, name) in &functions {
                table.function(*start, name);
            }
            let chain = |(depth, line): &(usize, u32)| -> Vec<Place> {
                (0..*depth).map(|at| place(&format!("f{at}"), line + at as u32)).collect()
            };
            for (start, line) in &lines {
                table.line(*start, &chain(line));
            }
            let bytes = table.write();
            for probe in probes {
                let places = lines.range(..=probe).next_back().map(|(_, line)| chain(line));
                let expected = places.filter(|places| !places.is_empty()).unwrap_or_else(|| {
                    functions.range(..=probe).next_back().map(|(_, name)| named(name)).unwrap_or_default()
                });
                prop_assert_eq!(read(&bytes, probe), expected);
            }
        }
    }
}
