//! The image's file: what is loaded stays where it is; the table of names and what is kept of the
//! rest come behind it.
//!
//! The table becomes one more segment to load. Its program header takes the place of
//! `PT_GNU_STACK`, which says something to Linux only and which linkers put behind the segments, so
//! that these stay in ascending order.

use anyhow::{Context, Result, bail};

use crate::table::MAGIC;

/// The section that holds the table of names.
const SECTION: &[u8] = b".skete.names";
const PAGE: u64 = 4096;

// System V ABI, "ELF-64 Object File Format".
const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const PT_LOAD: u32 = 1;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_NOBITS: u32 = 8;
const SHF_ALLOC: u64 = 2;

/// What stays in an image's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything: debug information, symbols, the table with names and lines.
    All,
    /// Symbols, and the table with names.
    Symbols,
    /// The table with names.
    Names,
    /// What the program itself reads.
    Nothing,
}

/// A program header.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
    /// Where it lies in the file.
    place: usize,
}

impl Segment {
    fn write(&self, file: &mut [u8]) {
        let mut bytes = Vec::with_capacity(PROGRAM_HEADER);
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        for word in
            [self.offset, self.address, self.address, self.file_size, self.memory_size, self.align]
        {
            bytes.extend(word.to_le_bytes());
        }
        file[self.place..self.place + PROGRAM_HEADER].copy_from_slice(&bytes);
    }

    fn content<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        file.get(start..start.checked_add(usize::try_from(self.file_size).ok()?)?)
    }

    /// Whether it is a table of names.
    fn is_table(&self, file: &[u8]) -> bool {
        self.kind == PT_LOAD
            && self.content(file).is_some_and(|content| content.starts_with(&MAGIC))
    }
}

/// A section header.
#[derive(Clone, Debug)]
struct Section {
    name: Vec<u8>,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry: u64,
}

/// The address of the image's first byte.
pub fn base(image: &[u8]) -> Result<u64> {
    let loaded = segments(image)?.into_iter().filter(|segment| segment.kind == PT_LOAD);
    loaded.map(|segment| segment.address).min().context("nothing in it is to be loaded")
}

/// The table of names that is in an image.
pub fn table(image: &[u8]) -> Result<Option<&[u8]>> {
    let found = segments(image)?.into_iter().find(|segment| segment.is_table(image));
    Ok(found.and_then(|segment| segment.content(image)))
}

/// The image with `table` as its last segment and with what `keep` names.
pub fn rewrite(image: &[u8], table: Option<&[u8]>, keep: Keep) -> Result<Vec<u8>> {
    let segments = segments(image)?;
    let loaded =
        || segments.iter().filter(|segment| segment.kind == PT_LOAD && !segment.is_table(image));
    let end = loaded().map(|segment| segment.offset + segment.file_size).max();
    let end = end.context("nothing in it is to be loaded")? as usize;
    let mut file = image.get(..end).context("it breaks off")?.to_vec();
    let mut sections = kept(image, keep)?;

    let slot =
        segments.iter().find(|segment| segment.kind == PT_GNU_STACK || segment.is_table(image));
    match table {
        Some(table) => {
            let slot = slot
                .context("it has no PT_GNU_STACK header, whose place the table of names takes")?;
            let free =
                loaded().map(|segment| segment.address + segment.memory_size).max().unwrap_or(0);
            let offset = file.len() as u64;
            let size = table.len() as u64;
            let address = free.next_multiple_of(PAGE) + offset % PAGE;
            let segment = Segment {
                kind: PT_LOAD,
                flags: PF_R,
                offset,
                address,
                file_size: size,
                memory_size: size,
                align: PAGE,
                place: slot.place,
            };
            segment.write(&mut file);
            file.extend(table);
            sections.push(Section {
                name: SECTION.to_vec(),
                kind: SHT_PROGBITS,
                flags: SHF_ALLOC,
                address,
                offset,
                size,
                link: 0,
                info: 0,
                align: 1,
                entry: 0,
            });
        }
        None => {
            if let Some(slot) = slot {
                let unused = Segment {
                    kind: PT_GNU_STACK,
                    flags: PF_R | PF_W,
                    offset: 0,
                    address: 0,
                    file_size: 0,
                    memory_size: 0,
                    align: 0,
                    place: slot.place,
                };
                unused.write(&mut file);
            }
        }
    }
    match keep {
        Keep::All | Keep::Symbols => append(&mut file, image, sections)?,
        // Without symbols nobody asks for sections.
        Keep::Names | Keep::Nothing => set_sections(&mut file, 0, 0, 0),
    }
    Ok(file)
}

/// The sections that stay, the ones that are loaded first: symbols name them by their numbers.
fn kept(image: &[u8], keep: Keep) -> Result<Vec<Section>> {
    let all = sections(image)?;
    let linked: Vec<usize> = all
        .iter()
        .filter(|section| section.kind == SHT_SYMTAB)
        .map(|section| section.link as usize)
        .collect();
    let mut numbers = vec![0; all.len()];
    let mut stay = Vec::new();
    for (number, section) in all.iter().enumerate() {
        let stays = match keep {
            _ if section.name == SECTION || section.name == b".shstrtab" => false,
            _ if number == 0 || section.flags & SHF_ALLOC != 0 => true,
            Keep::All => true,
            Keep::Symbols => section.kind == SHT_SYMTAB || linked.contains(&number),
            Keep::Names | Keep::Nothing => false,
        };
        if stays {
            numbers[number] = stay.len() as u32;
            stay.push(section.clone());
        }
    }
    for (number, section) in all.iter().enumerate() {
        let loaded = section.flags & SHF_ALLOC != 0 && section.name != SECTION;
        if loaded && numbers[number] as usize != number {
            bail!("sections that are loaded come behind others");
        }
    }
    for section in &mut stay {
        section.link = numbers.get(section.link as usize).copied().unwrap_or(0);
    }
    Ok(stay)
}

/// Adds what is not loaded of the sections, and their headers.
fn append(file: &mut Vec<u8>, image: &[u8], mut sections: Vec<Section>) -> Result<()> {
    for section in &mut sections {
        if section.flags & SHF_ALLOC == 0 && section.kind != SHT_NOBITS && section.size != 0 {
            let start = section.offset as usize;
            let content = image.get(start..start.saturating_add(section.size as usize));
            align(file, section.align);
            section.offset = file.len() as u64;
            file.extend(content.context("a section breaks off")?);
        }
    }
    let mut names = vec![0];
    let mut name = |text: &[u8]| {
        let at = names.len() as u32;
        names.extend(text);
        names.push(0);
        at
    };
    let mut named: Vec<u32> = Vec::new();
    for section in &sections {
        named.push(if section.name.is_empty() { 0 } else { name(&section.name) });
    }
    named.push(name(b".shstrtab"));
    sections.push(Section {
        name: Vec::new(),
        kind: SHT_STRTAB,
        flags: 0,
        address: 0,
        offset: file.len() as u64,
        size: names.len() as u64,
        link: 0,
        info: 0,
        align: 1,
        entry: 0,
    });
    file.extend(&names);
    align(file, 8);
    let headers = file.len() as u64;
    for (section, name) in sections.iter().zip(named) {
        file.extend(name.to_le_bytes());
        file.extend(section.kind.to_le_bytes());
        for word in [section.flags, section.address, section.offset, section.size] {
            file.extend(word.to_le_bytes());
        }
        file.extend(section.link.to_le_bytes());
        file.extend(section.info.to_le_bytes());
        file.extend(section.align.to_le_bytes());
        file.extend(section.entry.to_le_bytes());
    }
    let count = u16::try_from(sections.len()).context("it has too many sections")?;
    set_sections(file, headers, count, count - 1);
    Ok(())
}

/// Says in the file's header where the section headers are, how many, and which one is that of the names.
fn set_sections(file: &mut [u8], headers: u64, count: u16, names: u16) {
    file[40..48].copy_from_slice(&headers.to_le_bytes());
    file[58..60].copy_from_slice(&(SECTION_HEADER as u16).to_le_bytes());
    file[60..62].copy_from_slice(&count.to_le_bytes());
    file[62..64].copy_from_slice(&names.to_le_bytes());
}

fn align(file: &mut Vec<u8>, to: u64) {
    file.resize(file.len().next_multiple_of((to as usize).max(1)), 0);
}

fn segments(image: &[u8]) -> Result<Vec<Segment>> {
    if image.len() < FILE_HEADER || !image.starts_with(b"\x7fELF\x02\x01") {
        bail!("it is not a 64-bit ELF file");
    }
    let first = u64_at(image, 32)? as usize;
    let count = usize::from(u16_at(image, 56)?);
    (0..count)
        .map(|number| {
            let place = first + number * PROGRAM_HEADER;
            Ok(Segment {
                kind: u32_at(image, place)?,
                flags: u32_at(image, place + 4)?,
                offset: u64_at(image, place + 8)?,
                address: u64_at(image, place + 16)?,
                file_size: u64_at(image, place + 32)?,
                memory_size: u64_at(image, place + 40)?,
                align: u64_at(image, place + 48)?,
                place,
            })
        })
        .collect()
}

fn sections(image: &[u8]) -> Result<Vec<Section>> {
    let first = u64_at(image, 40)? as usize;
    let count = usize::from(u16_at(image, 60)?);
    let names = first + usize::from(u16_at(image, 62)?) * SECTION_HEADER;
    let names = if count == 0 { 0 } else { u64_at(image, names + 24)? as usize };
    (0..count)
        .map(|number| {
            let at = first + number * SECTION_HEADER;
            let name = image.get(names + u32_at(image, at)? as usize..).context("it breaks off")?;
            Ok(Section {
                name: name.iter().copied().take_while(|byte| *byte != 0).collect(),
                kind: u32_at(image, at + 4)?,
                flags: u64_at(image, at + 8)?,
                address: u64_at(image, at + 16)?,
                offset: u64_at(image, at + 24)?,
                size: u64_at(image, at + 32)?,
                link: u32_at(image, at + 40)?,
                info: u32_at(image, at + 44)?,
                align: u64_at(image, at + 48)?,
                entry: u64_at(image, at + 56)?,
            })
        })
        .collect()
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = image.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().context("it breaks off")
}

fn u16_at(image: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_le_bytes(bytes(image, at)?))
}

fn u32_at(image: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(bytes(image, at)?))
}

fn u64_at(image: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from_le_bytes(bytes(image, at)?))
}
