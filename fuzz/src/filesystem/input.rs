//! What a fuzzer's bytes mean: operations on a few files with a few names.

use arbitrary::{Arbitrary, Result, Unstructured};

/// How many descriptors are open at most.
pub const DESCRIPTORS: usize = 4;

/// One call.
#[derive(Arbitrary, Debug)]
pub enum Operation {
    Open {
        slot: Slot,
        path: Path,
        access: Access,
        flags: Flags,
        writable: bool,
    },
    Close(Slot),
    Read(Slot, Size),
    Write(Slot, Size, u8),
    ReadAt(Slot, Size, Offset),
    WriteAt(Slot, Size, u8, Offset),
    Seek(Slot, Whence, Offset),
    SetLength(Slot, Offset),
    MakeDirectory(Path),
    RemoveDirectory(Path),
    RemoveFile(Path),
    Rename(Path, Path),
    Link(Path, Path),
    MakeLink(Path, Path),
    ReadLink(Path),
    Canonical(Path),
    Metadata(Path),
    LinkMetadata(Path),
    DescriptorMetadata(Slot),
    SetMode(Path, bool),
    List(Path),
    Lock(Slot, Lock),
    /// From now on there is no room, or there is again. Linux does not hear of this.
    Full(Rarely),
}

/// How a file is opened.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

/// The other flags of open(2). Most are rare, so that most files are opened.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of open(2), each on its own")]
pub struct Flags {
    pub append: bool,
    pub create: bool,
    pub exclusive: bool,
    pub truncate: bool,
    pub directory: bool,
    pub no_follow: bool,
}

impl<'a> Arbitrary<'a> for Flags {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Flags> {
        let [bits, rare] = <[u8; 2]>::arbitrary(input)?;
        let rarely = |bit: u8| bits & 1 << bit != 0 && rare & 1 << bit != 0;
        Ok(Flags {
            append: rarely(0),
            create: bits & 2 != 0,
            exclusive: rarely(2),
            truncate: rarely(3),
            directory: rarely(4),
            no_follow: rarely(5),
        })
    }
}

/// What is done about a lock; nobody waits.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Lock {
    Shared,
    Exclusive,
    Unlock,
}

/// Where a position is counted from.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Whence {
    Start,
    Current,
    End,
}

/// True once in eight times.
#[derive(Clone, Copy, Debug)]
pub struct Rarely(pub bool);

impl<'a> Arbitrary<'a> for Rarely {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Rarely> {
        Ok(Rarely(u8::arbitrary(input)? & 7 == 7))
    }
}

/// One of the descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Slot(pub usize);

impl<'a> Arbitrary<'a> for Slot {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Slot> {
        Ok(Slot(usize::from(u8::arbitrary(input)?) % DESCRIPTORS))
    }
}

/// A number of bytes: around the edges of what may matter, or any below 2^13.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize);

impl<'a> Arbitrary<'a> for Size {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Size> {
        const EDGES: [usize; 8] = [0, 1, 2, 63, 64, 4095, 4096, 4097];
        let choice = usize::from(u8::arbitrary(input)?);
        Ok(Size(match EDGES.get(choice) {
            Some(size) => *size,
            None => usize::from(u16::arbitrary(input)? % (1 << 13)),
        }))
    }
}

/// A place in a file, or near its ends.
#[derive(Clone, Copy, Debug)]
pub struct Offset(pub i64);

impl<'a> Arbitrary<'a> for Offset {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Offset> {
        const EDGES: [i64; 5] = [0, -1, 4096, i64::MIN, -(1 << 40)];
        let choice = usize::from(u8::arbitrary(input)?);
        Ok(Offset(match EDGES.get(choice) {
            Some(offset) => *offset,
            None => i64::from(i16::arbitrary(input)?),
        }))
    }
}

/// A path of a few names, so that operations meet at the same files.
#[derive(Clone, Debug)]
pub struct Path(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Path {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Path> {
        const NAMES: [&[u8]; 12] =
            [b"a", b"a", b"a", b"a", b"b", b"b", b"b", b"c", b"c", b"..", b".", b"\xff\n"];
        const COUNTS: [u8; 8] = [0, 1, 1, 1, 1, 2, 2, 3];
        let shape = u8::arbitrary(input)?;
        let mut path = Vec::new();
        if shape & 1 != 0 {
            path.push(b'/');
        }
        for number in 0..COUNTS[usize::from(shape >> 1 & 7)] {
            if number > 0 {
                path.push(b'/');
            }
            match u8::arbitrary(input)? {
                255 => path.extend([b'l'; 256]),
                254 => path.extend([b'l'; 255]),
                name => path.extend(NAMES[usize::from(name) % NAMES.len()]),
            }
        }
        if shape & 0xf0 == 0xf0 {
            path.push(b'/');
        }
        Ok(Path(path))
    }
}
