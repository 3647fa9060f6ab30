//! `cargo xtask bench --profile`: which room of an image executes the instructions.

use std::collections::BTreeMap;

use anyhow::Result;

use super::instructions::{Counter, EXIT, MARKS, Range};
use super::{Subject, thousands};
use crate::sdk;
use crate::size::Inventory;

/// How many functions are shown of each phase.
const FUNCTIONS: usize = 20;

/// Prints instructions by room and by function, before `main` and from there on.
pub fn show(subject: &Subject) -> Result<()> {
    let kernel = sdk::ensure()?.kernel_object;
    let inventory = Inventory::read(&subject.image, Some(&kernel))?;
    let mut rooms = BTreeMap::new();
    let mut ranges = Vec::new();
    for symbol in inventory.code() {
        let name = symbol.to_string();
        rooms.insert(name.clone(), symbol.room.to_string());
        ranges.push(Range { start: symbol.start, end: symbol.end, name });
    }
    let report = Counter::build()?.count(subject, &ranges)?;
    for (from, to, title) in [
        (MARKS[0], MARKS[1], "kernel entry to `main`"),
        (MARKS[1], EXIT, "`main` to the machine's end"),
    ] {
        let before = report.in_ranges(from);
        let counts = report.in_ranges(to).into_iter().map(|(name, count)| {
            let earlier = before.get(&name).copied().unwrap_or(0);
            (name, count - earlier)
        });
        let counts: Vec<(String, u64)> = counts.filter(|(_, count)| *count > 0).collect();
        let mut by_room = BTreeMap::<&str, u64>::new();
        for (name, count) in &counts {
            let room = rooms.get(name).map_or("?", String::as_str);
            *by_room.entry(room).or_default() += count;
        }
        println!("{title}: {} instructions", thousands(report.total(to)? - report.total(from)?));
        print_largest(
            by_room.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            usize::MAX,
        );
        println!();
        print_largest(counts, FUNCTIONS);
        println!();
    }
    Ok(())
}

fn print_largest(mut counts: Vec<(String, u64)>, most: usize) {
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (name, count) in counts.iter().take(most) {
        println!("{:>12}  {name}", thousands(*count));
    }
}
