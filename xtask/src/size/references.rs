//! What in an image refers to what: read from the machine code and from pointers in data, so that
//! it works on any image with symbols, without a special link.

use std::collections::{BTreeSet, VecDeque};

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

use super::inventory::{Inventory, Piece, Store};

/// The references between the pieces of an inventory, by index.
#[derive(Debug)]
pub struct References {
    from: Vec<BTreeSet<usize>>,
}

impl References {
    /// Finds all references. Unnamed data is cut where something refers to it, and given to the
    /// room of what refers to it first.
    pub fn find(inventory: &mut Inventory) -> Self {
        let borders: BTreeSet<u64> =
            inventory.pieces.iter().flat_map(|piece| targets(inventory, piece)).collect();
        inventory.fill(&borders);
        let from = inventory
            .pieces
            .iter()
            .map(|piece| {
                targets(inventory, piece)
                    .into_iter()
                    .filter_map(|target| inventory.at(target))
                    .collect()
            })
            .collect();
        let references = Self { from };
        references.give_away(inventory);
        references
    }

    /// Lets unnamed data belong to where it is reached from, nearest to named code first.
    fn give_away(&self, inventory: &mut Inventory) {
        let mut queue: VecDeque<usize> =
            (0..self.from.len()).filter(|piece| !inventory.is_unowned(*piece)).collect();
        while let Some(user) = queue.pop_front() {
            for piece in &self.from[user] {
                if inventory.is_unowned(*piece) {
                    inventory.give(*piece, user);
                    queue.push_back(*piece);
                }
            }
        }
    }

    /// The shortest way from one piece to another, both included.
    pub fn chain(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut previous = vec![None; self.from.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(piece) = queue.pop_front() {
            if piece == to {
                let mut chain: Vec<usize> = std::iter::successors(Some(to), |piece| {
                    previous[*piece].filter(|_| *piece != from)
                })
                .collect();
                chain.reverse();
                return Some(chain);
            }
            for next in &self.from[piece] {
                if previous[*next].is_none() && *next != from {
                    previous[*next] = Some(piece);
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    /// The pieces that refer to a piece, but itself.
    pub fn users(&self, piece: usize) -> Vec<usize> {
        let all = self.from.iter().enumerate();
        all.filter(|(user, targets)| *user != piece && targets.contains(&piece))
            .map(|(user, _)| user)
            .collect()
    }
}

/// The addresses that a piece refers to.
fn targets(inventory: &Inventory, piece: &Piece) -> Vec<u64> {
    let inside = |address: &u64| inventory.at(*address).is_some();
    let content = inventory.content(piece);
    if inventory.section(piece).store == Store::Code {
        let mut decoder = Decoder::with_ip(64, content, piece.start, DecoderOptions::NONE);
        let mut found = Vec::new();
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            found.extend(in_instruction(&instruction).filter(inside));
            // A number is an address only when it is the start of something or in unnamed data.
            found.extend(immediate(&instruction).filter(|address| {
                inventory.at(*address).is_some_and(|index| {
                    let target = &inventory.pieces[index];
                    target.start == *address || target.name.is_none()
                })
            }));
        }
        return found;
    }
    // Pointers lie at multiples of 8.
    let skip = (piece.start.next_multiple_of(8) - piece.start) as usize;
    let words = content.get(skip..).unwrap_or_default().chunks_exact(8);
    words.filter_map(|word| word.try_into().ok().map(u64::from_le_bytes)).filter(inside).collect()
}

/// The addresses in an instruction that can be nothing else.
fn in_instruction(instruction: &Instruction) -> impl Iterator<Item = u64> + use<> {
    let branch = match instruction.op0_kind() {
        OpKind::NearBranch64 => Some(instruction.near_branch64()),
        _ => None,
    };
    let has_memory =
        (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
    let relative = instruction.is_ip_rel_memory_operand();
    // Thread-local storage is at an offset from `fs`, not at an address.
    let absolute = has_memory && !relative && instruction.segment_prefix() == Register::None;
    let memory = (relative || absolute).then(|| instruction.memory_displacement64());
    branch.into_iter().chain(memory)
}

/// The 32-bit or 64-bit number in an instruction.
fn immediate(instruction: &Instruction) -> impl Iterator<Item = u64> + use<> {
    let operand = (0..instruction.op_count()).find(|operand| {
        let kind = instruction.op_kind(*operand);
        matches!(kind, OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64)
    });
    operand.map(|operand| instruction.immediate(operand)).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::inventory::Section;

    fn section(name: &str, start: u64, store: Store, content: &[u8]) -> Section {
        let end = start + content.len() as u64;
        Section { name: name.to_owned(), start, end, store, content: content.to_vec() }
    }

    /// An image in which `first` calls `second`, `second` takes the address of a table without a
    /// name, and the table points to `third`.
    fn inventory() -> Inventory {
        #[rustfmt::skip]
        let code = [
            0xe8, 0x03, 0, 0, 0, 0x90, 0x90, 0x90,             // call 0x200008
            0xbf, 0x08, 0x10, 0x20, 0, 0xc3, 0x90, 0x90,       // mov edi, 0x201008
            0xc3, 0x90,                                        // ret
        ];
        let mut table = [0; 16];
        table[8..].copy_from_slice(&0x20_0010u64.to_le_bytes());
        let sections = vec![
            section(".text", 0x20_0000, Store::Code, &code),
            section(".rodata", 0x20_1000, Store::Constants, &table),
        ];
        let names = [("first", 0, 8), ("second", 8, 16), ("third", 16, 18)];
        Inventory::from_parts(
            sections,
            names.map(|(name, start, end)| (name, 0x20_0000 + start..0x20_0000 + end)),
        )
    }

    #[test]
    fn calls_addresses_and_pointers_are_found() {
        let mut inventory = inventory();
        let references = References::find(&mut inventory);
        let [first, third] = ["first", "third"].map(|name| inventory.named(name)[0]);
        let chain = references.chain(first, third).expect("first reaches third");
        let chain: Vec<String> =
            chain.iter().map(|index| inventory.pieces[*index].to_string()).collect();
        assert_eq!(chain, ["first", "second", "unnamed data at 0x201008", "third"]);
        assert_eq!(references.chain(third, first), None);
    }

    #[test]
    fn unnamed_data_belongs_to_what_refers_to_it() {
        let mut inventory = inventory();
        References::find(&mut inventory);
        let table = inventory.at(0x20_1008).expect("the table is a piece");
        assert_eq!(inventory.pieces[table].room, "room of second");
        let rest = inventory.at(0x20_1000).expect("what is before it is another");
        assert!(inventory.is_unowned(rest));
    }
}
