//! The functions of an image, by its symbols.

use anyhow::Result;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use crate::table::Table;

/// Puts every function of the image into the table.
pub fn collect(image: &[u8], base: u64, table: &mut Table) -> Result<()> {
    let file = object::File::parse(image)?;
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        // Behind the last function is none.
        table.function((section.address() + section.size() - base) as u32, "");
    }
    let mut symbols: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
        .collect();
    // Of several names of one address the global one is the best known.
    symbols.sort_by_key(|symbol| (symbol.is_global(), symbol.size()));
    for symbol in symbols {
        table.function((symbol.address() - base) as u32, &readable(symbol.name()?));
    }
    Ok(())
}

/// A symbol as people read it: without its hash, and without the types of generic parameters, which
/// are most of the text and seldom what one looks for.
fn readable(symbol: &str) -> String {
    let whole = format!("{:#}", rustc_demangle::demangle(symbol));
    let mut short = String::with_capacity(whole.len());
    // Whether each of the brackets that are open is shown.
    let mut open: Vec<bool> = Vec::new();
    let mut last = ' ';
    for (at, letter) in whole.char_indices() {
        let shown = open.iter().all(|shown| *shown);
        match letter {
            '<' => {
                // `<T as Trait>::method` and `&<T>` say what it is about, `Vec<T>` and `f::<T>` do not.
                let names = !last.is_alphanumeric() && last != '_' && last != ':' && last != '}';
                open.push(names);
                if shown && names {
                    short.push('<');
                } else if shown && short.ends_with("::") {
                    short.truncate(short.len() - 2);
                }
            }
            '>' if last != '-' => {
                if open.pop() == Some(true) && shown {
                    short.push('>');
                }
            }
            _ if shown => short.push(letter),
            _ => {}
        }
        last = letter;
        let _ = at;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn names_are_as_people_read_them() {
        for (symbol, name) in [
            ("main", "main"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_RINvNtC3std3mem8align_ofdE", "std::mem::align_of"),
            (
                "_RNvXs_NtC3foo3barNtNtC3foo3bar1TNtC3std5Clone5clone",
                "<foo::bar::T as std::Clone>::clone",
            ),
        ] {
            assert_eq!(readable(symbol), name);
        }
    }
}
