//! Descriptions of archives: entries as programs write them, then changes to the bytes.

use std::fmt::Write as _;

use arbitrary::{Arbitrary, Result, Unstructured};

const BLOCK: usize = 512;

/// An archive.
#[derive(Arbitrary, Debug)]
pub struct Input {
    pieces: Vec<Piece>,
    changes: Vec<Change>,
    cut: Option<u16>,
    end: End,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    Entry(Header, Content),
    /// A pax header, with records for what comes next.
    Pax(Vec<(Key, Text)>),
    /// GNU tar's long name, or long target.
    Long(bool, Text),
    Zeros,
}

#[derive(Arbitrary, Debug)]
struct Header {
    kind: Type,
    name: Text,
    target: Text,
    prefix: Text,
    format: Format,
    mode: u16,
    modified: u32,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Type {
    Old,
    File,
    HardLink,
    Symlink,
    Directory,
    Contiguous,
    Other(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Format {
    V7,
    Ustar,
    Gnu,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Key {
    Path,
    LinkPath,
    Size,
    Modified,
    Comment,
}

/// A byte that is put somewhere, after which the header's checksum may be put right.
#[derive(Arbitrary, Debug)]
struct Change {
    at: u16,
    byte: u8,
    right: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum End {
    Whole,
    One,
    None,
    Padded,
}

/// Names that meet each other, and some that do not fit.
#[derive(Debug)]
struct Text(Vec<u8>);

impl<'a> Arbitrary<'a> for Text {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Text> {
        const PARTS: [&[u8]; 16] = [
            b"a",
            b"b",
            b"c",
            b"/",
            b"/",
            b"/",
            b"./",
            b"..",
            b"dev",
            b"null",
            b"tmp",
            b"\xff",
            b"\0",
            b"7",
            b"1.5",
            b"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
        ];
        let count = input.int_in_range(0..=6)?;
        let mut text = Vec::new();
        for _ in 0..count {
            text.extend_from_slice(input.choose(&PARTS)?);
        }
        Ok(Text(text))
    }
}

#[derive(Debug)]
struct Content(Vec<u8>);

impl<'a> Arbitrary<'a> for Content {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Content> {
        let length = *input.choose(&[0, 1, 7, 511, 512, 513, 1500])?;
        Ok(Content(vec![input.arbitrary()?; length]))
    }
}

impl Input {
    /// The bytes that it means.
    pub fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for piece in self.pieces.iter().take(40) {
            match piece {
                Piece::Entry(header, content) => {
                    let flag = header.kind.flag();
                    let content = match flag {
                        b'1'..=b'6' => &[][..],
                        _ => &content.0,
                    };
                    let block = header.block(flag, content.len());
                    push(&mut archive, block, content);
                }
                Piece::Pax(records) => {
                    let mut content = Vec::new();
                    for (key, value) in records.iter().take(4) {
                        record(&mut content, *key, &value.0);
                    }
                    let block = block(b'x', b"pax", b"", content.len());
                    push(&mut archive, block, &content);
                }
                Piece::Long(target, text) => {
                    let flag = if *target { b'K' } else { b'L' };
                    let content = [&text.0[..], b"\0"].concat();
                    push(&mut archive, block(flag, b"long", b"", content.len()), &content);
                }
                Piece::Zeros => archive.extend([0; BLOCK]),
            }
        }
        for change in self.changes.iter().take(20) {
            let at = usize::from(change.at);
            if let Some(place) = archive.get_mut(at) {
                *place = change.byte;
                let start = at / BLOCK * BLOCK;
                if change.right
                    && let Some(block) = archive[start..].first_chunk_mut()
                {
                    sum(block);
                }
            }
        }
        archive.extend(vec![
            0;
            match self.end {
                End::Whole => 2 * BLOCK,
                End::One => BLOCK,
                End::None => 0,
                End::Padded => 20 * BLOCK,
            }
        ]);
        if let Some(cut) = self.cut {
            archive.truncate(usize::from(cut));
        }
        archive
    }
}

impl Type {
    fn flag(self) -> u8 {
        match self {
            Type::Old => 0,
            Type::File => b'0',
            Type::HardLink => b'1',
            Type::Symlink => b'2',
            Type::Directory => b'5',
            Type::Contiguous => b'7',
            Type::Other(flag) => flag,
        }
    }
}

impl Header {
    fn block(&self, flag: u8, size: usize) -> [u8; BLOCK] {
        let mut block = block(flag, &self.name.0, &self.target.0, size);
        put(&mut block[100..108], format!("{:07o}", self.mode).as_bytes());
        put(&mut block[136..148], format!("{:011o}", self.modified).as_bytes());
        match self.format {
            Format::V7 => {}
            Format::Ustar => {
                put(&mut block[257..265], b"ustar\x0000");
                put(&mut block[345..500], &self.prefix.0);
            }
            Format::Gnu => put(&mut block[257..265], b"ustar  \0"),
        }
        sum(&mut block);
        block
    }
}

fn block(flag: u8, name: &[u8], target: &[u8], size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[..100], name);
    put(&mut block[124..136], format!("{size:011o}").as_bytes());
    block[156] = flag;
    put(&mut block[157..257], target);
    if matches!(flag, b'x' | b'L' | b'K') {
        put(&mut block[257..265], if flag == b'x' { b"ustar\x0000" } else { b"ustar  \0" });
    }
    sum(&mut block);
    block
}

fn put(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn sum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn push(archive: &mut Vec<u8>, block: [u8; BLOCK], content: &[u8]) {
    archive.extend(block);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

fn record(content: &mut Vec<u8>, key: Key, value: &[u8]) {
    let key = match key {
        Key::Path => "path",
        Key::LinkPath => "linkpath",
        Key::Size => "size",
        Key::Modified => "mtime",
        Key::Comment => "comment",
    };
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut start = String::new();
    let _ = write!(start, "{length} {key}=");
    content.extend(start.bytes());
    content.extend(value);
    content.push(b'\n');
}
