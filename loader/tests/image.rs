//! Sound and broken images, made byte by byte.

use proptest::prelude::*;
use skete_loader::elf::{ET_DYN, ET_EXEC, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE, PT_TLS};
use skete_loader::image::{ENTRY_VERSION, HIGHEST, Image, PAGE};
use skete_loader::memory::Memory;
use skete_loader::placement::Placement;
use skete_loader::problem::Problem;

/// One program header and what it points to.
#[derive(Clone)]
struct Segment {
    kind: u32,
    flags: u32,
    address: u64,
    content: Vec<u8>,
    memory_size: u64,
    align: u64,
}

fn segment(kind: u32, address: u64, content: &[u8], memory_size: u64) -> Segment {
    Segment { kind, flags: PF_X, address, content: content.to_vec(), memory_size, align: 4 }
}

fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((name.len() as u32).to_le_bytes());
    bytes.extend((content.len() as u32).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    for part in [name, content] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn entry_note() -> Segment {
    segment(PT_NOTE, 0, &note(b"HERMIT\0", 0x5a00, &[ENTRY_VERSION]), 0)
}

/// An ELF file: header, program headers, contents.
fn elf(kind: u16, entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(kind.to_le_bytes());
    bytes.extend(62u16.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(entry.to_le_bytes());
    bytes.extend(64u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    for field in [64, 56, segments.len() as u16, 0, 0, 0] {
        bytes.extend(u16::to_le_bytes(field));
    }
    let mut offset = bytes.len() + 56 * segments.len();
    for segment in segments {
        bytes.extend(segment.kind.to_le_bytes());
        bytes.extend(segment.flags.to_le_bytes());
        let size = segment.content.len() as u64;
        let memory = segment.memory_size.max(size);
        for field in [offset as u64, segment.address, segment.address, size, memory, segment.align]
        {
            bytes.extend(field.to_le_bytes());
        }
        offset += segment.content.len();
    }
    bytes.extend(segments.iter().flat_map(|segment| &segment.content));
    bytes
}

/// A sound image with code, data, zeros and thread-local storage.
fn sound() -> Vec<u8> {
    elf(
        ET_EXEC,
        0x20_0010,
        &[
            segment(PT_LOAD, 0x20_0000, &[0x90; 100], 100),
            segment(PT_LOAD, 0x20_1000, &[7; 16], 0x1800),
            Segment { align: 16, ..segment(PT_TLS, 0x20_1000, &[7; 8], 24) },
            entry_note(),
        ],
    )
}

fn refusal(bytes: &[u8]) -> Problem {
    Image::parse(bytes).expect_err("the image is refused")
}

/// Loads an image into memory full of old bytes.
fn load(image: &Image<'_>, base: u64) -> Vec<u8> {
    let pages = image.pages();
    let mut memory = vec![0xaa; (pages.end - pages.start) as usize];
    image.load(&mut memory, base).unwrap();
    memory
}

#[test]
fn the_version_is_that_of_hermit_entry() {
    hermit_entry::define_entry_version!();
    // SAFETY: the note is plain old data of this size; padding is not read.
    let bytes = unsafe { *(&raw const ENTRY_VERSION).cast::<[u8; 21]>() };
    assert_eq!(bytes[20], skete_loader::image::ENTRY_VERSION);
    assert_eq!(bytes[12..19], *b"HERMIT\0");
}

#[test]
fn a_sound_image_is_loaded_and_the_rest_is_zero() {
    let bytes = sound();
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.range, 0x20_0000..0x20_2800);
    assert_eq!(image.entry, 0x20_0010);
    assert_eq!(
        image.tls.map(|tls| (tls.start, tls.memory_size, tls.align)),
        Some((0x20_1000, 24, 16))
    );
    let memory = load(&image, 0);
    assert_eq!(memory.len(), 0x3000);
    assert!(memory[..100].iter().all(|byte| *byte == 0x90));
    assert!(memory[100..0x1000].iter().all(|byte| *byte == 0));
    assert!(memory[0x1000..0x1010].iter().all(|byte| *byte == 7));
    assert!(memory[0x1010..].iter().all(|byte| *byte == 0));
}

#[test]
fn foreign_files_are_told_apart() {
    assert_eq!(refusal(b""), Problem::NotElf);
    assert_eq!(refusal(b"#!/bin/sh\n"), Problem::NotElf);
    let mut bytes = sound();
    bytes[4] = 1;
    assert_eq!(refusal(&bytes), Problem::Format("32-bit"));
    bytes[4] = 2;
    bytes[18] = 183;
    assert_eq!(refusal(&bytes), Problem::Machine(183));
    let linux = [segment(PT_LOAD, 0x40_0000, &[0; 16], 0), segment(PT_INTERP, 0, b"/lib/ld", 0)];
    assert!(matches!(refusal(&elf(ET_DYN, 0, &linux)), Problem::Foreign(_)));
    let without_note = [segment(PT_LOAD, 0x40_0000, &[0; 16], 0)];
    assert!(matches!(refusal(&elf(ET_EXEC, 0x40_0000, &without_note)), Problem::Foreign(_)));
}

#[test]
fn another_entry_version_is_named() {
    let old = segment(PT_NOTE, 0, &note(b"HERMIT\0", 0x5a00, &[3]), 0);
    let bytes = elf(ET_EXEC, 0x20_0000, &[segment(PT_LOAD, 0x20_0000, &[0; 8], 0), old]);
    assert_eq!(refusal(&bytes), Problem::EntryVersion(3));
}

#[test]
fn a_note_behind_others_is_found() {
    let mut content = note(b"GNU\0", 1, &[6; 16]);
    content.extend(note(b"HERMIT\0", 0x5b00, &[1]));
    content.extend(note(b"HERMIT\0", 0x5a00, &[ENTRY_VERSION]));
    // Without the padding of the last one.
    content.truncate(content.len() - 3);
    let notes = segment(PT_NOTE, 0, &content, 0);
    let load = segment(PT_LOAD, 0x20_0000, &[0; 8], 0);
    Image::parse(&elf(ET_EXEC, 0x20_0000, &[load, notes])).unwrap();
}

#[test]
fn segments_must_make_sense() {
    let image =
        |segments: &[Segment]| elf(ET_EXEC, 0x20_0000, &[segments, &[entry_note()]].concat());
    let code = segment(PT_LOAD, 0x20_0000, &[0; 100], 0);
    let overlap = segment(PT_LOAD, 0x20_0063, &[0; 10], 0);
    assert!(matches!(refusal(&image(&[code.clone(), overlap])), Problem::Malformed(_)));
    assert!(matches!(refusal(&image(&[])), Problem::Malformed(_)));
    let far = segment(PT_LOAD, u64::MAX - 4, &[0; 100], 0);
    assert_eq!(refusal(&image(&[code.clone(), far])), Problem::Addresses);
    let high = segment(PT_LOAD, 0x20_1000, &[], HIGHEST);
    assert_eq!(refusal(&image(&[code.clone(), high])), Problem::Addresses);
    let low = segment(PT_LOAD, 0x10_0000, &[0; 100], 0);
    let bytes = elf(ET_EXEC, 0x10_0000, &[low, entry_note()]);
    assert_eq!(refusal(&bytes), Problem::Addresses);
    let data = Segment { flags: 4, ..code.clone() };
    assert!(matches!(refusal(&image(&[data])), Problem::Malformed(_)));
    let tls = segment(PT_TLS, 0x20_0060, &[0; 8], 8);
    assert!(matches!(refusal(&image(&[code, tls])), Problem::Malformed(_)));
}

/// A relocatable image with one relocation of a kind, at an offset, with a symbol table of an
/// undefined weak and a defined symbol behind the null symbol.
fn relocatable(kind: u32, target: u64, symbol: u32) -> Vec<u8> {
    let mut data = vec![0; 16];
    for field in [target, u64::from(kind) | u64::from(symbol) << 32, 0x10] {
        data.extend(field.to_le_bytes());
    }
    let symbols = data.len() as u64;
    data.extend([0; 24]);
    for (information, section, value) in [(0x20, 0u16, 0u64), (0x10, 1, 0x100)] {
        data.extend([0, 0, 0, 0, information, 0]);
        data.extend(section.to_le_bytes());
        data.extend(value.to_le_bytes());
        data.extend([0; 8]);
    }
    let mut dynamic = Vec::new();
    for (tag, value) in [(7u64, 0x1010u64), (8, 24), (9, 24), (6, 0x1000 + symbols), (0, 0)] {
        dynamic.extend(tag.to_le_bytes());
        dynamic.extend(value.to_le_bytes());
    }
    elf(
        ET_DYN,
        0x10,
        &[
            segment(PT_LOAD, 0, &[0x90; 32], 0),
            segment(PT_LOAD, 0x1000, &data, 0),
            segment(PT_DYNAMIC, 0, &dynamic, 0),
            entry_note(),
        ],
    )
}

#[test]
fn relocations_are_applied() {
    for (kind, symbol, expected) in [(8, 0, 0x40_0010u64), (1, 2, 0x40_0110), (6, 1, 0x10)] {
        let bytes = relocatable(kind, 0x1008, symbol);
        let memory = load(&Image::parse(&bytes).unwrap(), 0x40_0000);
        assert_eq!(memory[0x1008..0x1010], expected.to_le_bytes(), "kind {kind}");
    }
}

#[test]
fn wrong_relocations_are_refused() {
    assert_eq!(refusal(&relocatable(37, 0x1008, 0)), Problem::Relocation(37));
    assert!(matches!(refusal(&relocatable(8, 0x9000, 0)), Problem::Malformed(_)));
    assert!(matches!(refusal(&relocatable(8, u64::MAX - 3, 0)), Problem::Malformed(_)));
    assert!(matches!(refusal(&relocatable(6, 0x1008, 0)), Problem::Foreign(_)));
    assert!(matches!(refusal(&relocatable(6, 0x1008, 77)), Problem::Malformed(_)));
}

#[test]
fn small_memories_are_used_from_below() {
    let bytes = sound();
    let image = Image::parse(&bytes).unwrap();
    let mut free = Memory::new();
    free.insert(0..0x9_f000).unwrap();
    let placement = Placement::find(&image, &free).unwrap();
    assert_eq!((placement.physical, placement.tables, placement.base), (0x1_0000, 0x1_3000, 0));
    let mut tiny = Memory::new();
    tiny.insert(0x1_0000..0x1_2000).unwrap();
    assert_eq!(
        Placement::find(&image, &tiny),
        Err(Problem::TooLarge { needed: 0x3000, largest: 0x2000 })
    );
    let bytes = relocatable(8, 0x1008, 0);
    let image = Image::parse(&bytes).unwrap();
    free.insert(0x10_0000..0x40_0000).unwrap();
    let placement = Placement::find(&image, &free).unwrap();
    assert_eq!((placement.physical, placement.base), (0x20_0000, 0x20_0000));
}

/// Parses and, when that succeeds, does all that the loader does with the image.
fn exercise(bytes: &[u8]) {
    let Ok(image) = Image::parse(bytes) else {
        return;
    };
    let mut free = Memory::new();
    free.insert(0..HIGHEST).unwrap();
    let Ok(placement) = Placement::find(&image, &free) else {
        return;
    };
    assert!(image.pages().end <= HIGHEST);
    assert_eq!(placement.physical % PAGE, 0);
    if image.pages().end - image.pages().start < 1 << 24 {
        load(&image, placement.base);
    }
}

proptest! {
    #[test]
    fn every_truncation_is_refused(cut in 0usize..1000) {
        let bytes = sound();
        if cut < bytes.len() {
            refusal(&bytes[..cut]);
        }
    }

    #[test]
    fn damaged_images_are_loaded_or_refused(
        changes in prop::collection::vec((0usize..1000, any::<u8>()), 1..8),
        moved in any::<bool>(),
    ) {
        let mut bytes = if moved { relocatable(1, 0x1008, 2) } else { sound() };
        for (place, value) in changes {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        exercise(&bytes);
    }

    #[test]
    fn wild_headers_are_loaded_or_refused(
        fields in prop::collection::vec((8usize..60, prop_oneof![Just(u64::MAX), Just(0), any::<u64>(), 0u64..0x1000]), 1..4),
        moved in any::<bool>(),
    ) {
        let mut bytes = if moved { relocatable(8, 0x1008, 0) } else { sound() };
        for (place, value) in fields {
            let place = place * 8 % (bytes.len() - 8);
            bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        exercise(&bytes);
    }
}
