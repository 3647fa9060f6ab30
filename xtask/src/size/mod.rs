//! `cargo xtask size`: what is inside an image, and why.

mod inventory;
mod references;
mod rooms;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bench::thousands;
use crate::image::{self, ProfileArgs};
use crate::sdk;
pub use inventory::Inventory;
use inventory::{Piece, Store};
use references::References;

/// Shows what is inside an image and why
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask size hello
  cargo xtask size hello --symbols 50
  cargo xtask size hello sys_open     # why is this function in the image?")]
pub struct SizeArgs {
    /// An example's name, the path to a crate, or an image with symbols
    what: String,

    /// Tell why this function or static is in the image: a name, or the end of a path
    symbol: Option<String>,

    /// How many of the largest symbols to show
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    symbols: usize,

    #[command(flatten)]
    profile: ProfileArgs,
}

/// Runs `cargo xtask size`.
pub fn run(args: SizeArgs) -> Result<()> {
    let sdk = sdk::ensure()?;
    let image = image::build_with(&sdk, &args.what, &args.profile.options())?;
    let mut inventory = Inventory::read(&image, Some(&sdk.kernel_object))?;
    let references = References::find(&mut inventory);
    match &args.symbol {
        Some(symbol) => why(&inventory, &references, symbol),
        None => overview(&image, &inventory, args.symbols),
    }
}

/// Bytes of one room, by what they are in the image.
#[derive(Debug, Default, Clone, Copy)]
struct Sizes {
    code: u64,
    constants: u64,
    data: u64,
    zeros: u64,
}

impl Sizes {
    fn add(&mut self, store: Store, bytes: u64) {
        *match store {
            Store::Code => &mut self.code,
            Store::Constants => &mut self.constants,
            Store::Data => &mut self.data,
            Store::Zeros => &mut self.zeros,
        } += bytes;
    }

    /// Zeros take no room in the file.
    fn file(self) -> u64 {
        self.code + self.constants + self.data
    }

    fn line(self, name: &str) {
        let columns = [self.file(), self.code, self.constants, self.data, self.zeros];
        let columns = columns.map(|bytes| format!("{:>10}", thousands(bytes)));
        println!("{}  {name}", columns.join(" "));
    }
}

fn overview(image: &Path, inventory: &Inventory, symbols: usize) -> Result<()> {
    let stripped = image::strip(image, image::Strip::Symbols)?;
    let file = fs::metadata(&stripped)
        .with_context(|| format!("cannot read {}", stripped.display()))?
        .len();
    let mut rooms = BTreeMap::<&str, Sizes>::new();
    let mut sections = BTreeMap::<&str, Sizes>::new();
    let mut all = Sizes::default();
    for piece in &inventory.pieces {
        let section = inventory.section(piece);
        rooms.entry(&piece.room).or_default().add(section.store, piece.size());
        sections.entry(&section.name).or_default().add(section.store, piece.size());
        all.add(section.store, piece.size());
    }
    println!("{:>10} {:>10} {:>10} {:>10} {:>10}", "in file", "code", "constants", "data", "zeros");
    for groups in [rooms, sections] {
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(name, sizes)| (std::cmp::Reverse((sizes.file(), sizes.zeros)), *name));
        for (name, sizes) in groups {
            sizes.line(name);
        }
        println!();
    }
    all.line("all of it");
    println!("{:>10} {:43}  the stripped file, with headers and padding", thousands(file), "");
    println!("\nThe largest symbols:");
    let mut largest: Vec<&Piece> =
        inventory.pieces.iter().filter(|piece| piece.name.is_some()).collect();
    largest.sort_by_key(|piece| (std::cmp::Reverse(piece.size()), piece.start));
    for piece in largest.iter().take(symbols) {
        println!("{:>10}  {:24}  {piece}", thousands(piece.size()), piece.room);
    }
    Ok(())
}

/// The most symbols of one name that are all explained.
const ALIKE: usize = 4;

fn why(inventory: &Inventory, references: &References, symbol: &str) -> Result<()> {
    let found = inventory.named(symbol);
    if found.is_empty() {
        bail!(
            "the image has no symbol `{symbol}`: the program does not reach it, or it is inlined"
        );
    }
    if found.len() > ALIKE {
        let names: Vec<_> =
            found.iter().take(20).map(|index| inventory.pieces[*index].to_string()).collect();
        bail!("`{symbol}` names {} symbols, choose one: {}", found.len(), names.join(", "));
    }
    let entry = inventory
        .at(inventory.entry)
        .context("the image's entry point is in none of its sections")?;
    for target in found {
        explain(inventory, references, entry, target);
    }
    Ok(())
}

fn explain(inventory: &Inventory, references: &References, entry: usize, target: usize) {
    let Some(chain) = references.chain(entry, target) else {
        println!(
            "nothing that is reached from the entry point refers to `{}`\n",
            inventory.pieces[target]
        );
        return;
    };
    println!("{:>10}  {:24}  reached through", "bytes", "room");
    for index in chain {
        let piece = &inventory.pieces[index];
        println!("{:>10}  {:24}  {piece}", thousands(piece.size()), piece.room);
    }
    let users = references.users(target);
    println!("\n{:>10}  {:24}  referred to by", "", "");
    for index in users.iter().take(20) {
        println!("{:>10}  {:24}  {}", "", inventory.pieces[*index].room, inventory.pieces[*index]);
    }
    if users.len() > 20 {
        println!("{:>10}  {:24}  and {} more", "", "", users.len() - 20);
    }
    println!();
}
