//! A core file of the guest, which a debugger opens beside the image: registers of each processor that stands
//! still, and all memory that the page tables map.
//!
//! The guest's physical memory is written once; each mapped range is a segment that points into it. Pages that
//! were never touched are holes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use kvm_bindings::{kvm_regs, kvm_sregs};
use vm_memory::{Bytes, GuestAddress};

use crate::memory::Memory;
use crate::paging;

const PAGE: u64 = 4096;
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
/// How many pages are written at once.
const PIECE: usize = 16;
/// The most segments: their number has 16 bits.
const MOST: usize = 60_000;

/// A note with a processor's registers (Linux, `struct elf_prstatus`).
fn note(number: u32, general: &kvm_regs, special: &kvm_sregs) -> Vec<u8> {
    const STATUS: u32 = 1;
    const SIZE: usize = 336;
    const PROCESS: usize = 32;
    const REGISTERS: usize = 112;
    let (g, s) = (general, special);
    let [cs, ss, ds, es, fs, gs] =
        [s.cs, s.ss, s.ds, s.es, s.fs, s.gs].map(|segment| segment.selector.into());
    let (none, fs_base, gs_base) = (u64::MAX, s.fs.base, s.gs.base);
    let registers = [
        g.r15, g.r14, g.r13, g.r12, g.rbp, g.rbx, g.r11, g.r10, g.r9, g.r8, g.rax, g.rcx, g.rdx,
        g.rsi, g.rdi, none, g.rip, cs, g.rflags, g.rsp, ss, fs_base, gs_base, ds, es, fs, gs,
    ];
    let mut status = [0; SIZE];
    status[PROCESS..PROCESS + 4].copy_from_slice(&(number + 1).to_le_bytes());
    for (place, register) in status[REGISTERS..].chunks_exact_mut(8).zip(registers) {
        place.copy_from_slice(&register.to_le_bytes());
    }
    let mut note = Vec::new();
    for word in [5u32, SIZE as u32, STATUS] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"CORE\0\0\0\0");
    note.extend(status);
    note
}

fn program_header(kind: u32, offset: u64, address: u64, length: u64) -> Vec<u8> {
    const ALL: u32 = 7;
    let mut header = Vec::new();
    header.extend(kind.to_le_bytes());
    header.extend(ALL.to_le_bytes());
    for word in [offset, address, 0, length, length, if kind == 1 { PAGE } else { 4 }] {
        header.extend(word.to_le_bytes());
    }
    header
}

/// Writes the file. Of the processors, the first one's page tables count.
pub fn write(
    file: &File,
    memory: &Memory,
    processors: &[(u32, kvm_regs, kvm_sregs)],
) -> Result<()> {
    let (_, _, first) = processors.first().context("no processor stands still")?;
    let notes =
        processors.iter().flat_map(|(number, general, special)| note(*number, general, special));
    let notes = notes.collect::<Vec<_>>();
    let ranges = paging::ranges(memory, first.cr3, MOST);
    let count = ranges.len() as u64 + 1;
    let notes_at = HEADER + count * PROGRAM_HEADER;
    let memory_at = (notes_at + notes.len() as u64).next_multiple_of(PAGE);

    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // A core file for x86-64, version 1, without an entry.
    head.extend([4, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0, HEADER, 0] {
        head.extend(word.to_le_bytes());
    }
    head.extend([0; 4]);
    for half in [HEADER, PROGRAM_HEADER, count, 0, 0, 0] {
        head.extend((half as u16).to_le_bytes());
    }
    head.extend(program_header(4, notes_at, 0, notes.len() as u64));
    for range in &ranges {
        head.extend(program_header(1, memory_at + range.physical, range.start, range.length));
    }
    head.extend(notes);
    file.write_all_at(&head, 0)?;
    file.set_len(memory_at + memory.end())?;
    let mut bytes = vec![0; PIECE * PAGE as usize];
    for (start, pages) in memory.pages() {
        let pieces = (start..).step_by(bytes.len()).zip(pages.chunks(PIECE));
        for (address, pages) in pieces.filter(|(_, pages)| pages.iter().any(|page| page & 1 != 0)) {
            let bytes = &mut bytes[..pages.len() * PAGE as usize];
            memory.map().read_slice(bytes, GuestAddress(address))?;
            file.write_all_at(bytes, memory_at + address)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_file_is_one() -> Result<()> {
        let memory = Memory::new(2 << 20, false)?;
        memory.write(&0x2003u64.to_le_bytes(), 0x1000)?;
        memory.write(&0x3003u64.to_le_bytes(), 0x2000)?;
        memory.write(&0x83u64.to_le_bytes(), 0x3000)?;
        let special = kvm_sregs { cr3: 0x1000, ..kvm_sregs::default() };
        let general = kvm_regs { rip: 0x1234, ..kvm_regs::default() };
        let file = tempfile::tempfile()?;
        write(&file, &memory, &[(0, general, special)])?;
        let mut head = [0; 64 + 2 * 56];
        file.read_exact_at(&mut head, 0)?;
        assert_eq!((&head[..4], head[16], head[56]), (&b"\x7fELF"[..], 4, 2));
        let offset = u64::from_le_bytes(*head[64 + 56 + 8..].first_chunk().context("8")?);
        let mut word = [0; 8];
        file.read_exact_at(&mut word, offset + 0x2000)?;
        assert_eq!(u64::from_le_bytes(word), 0x3003);
        Ok(())
    }
}
