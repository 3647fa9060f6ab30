//! The configuration of a Hermit image: `hermit.toml`, as `hermit_entry::config` describes it.
//!
//! That module needs an allocator; this one takes memory from its caller. Like it, it does not mind keys
//! that it does not know.

use crate::toml::{self, Invalid, Kind, Visitor};

/// The file's name.
pub const NAME: &str = "hermit.toml";
/// The only version that there is.
const VERSION: &[u8] = b"1";
/// The bytes in front of each value: its key and its length.
const RECORD: usize = 5;

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Key {
    Unknown,
    Version,
    Kernel,
    Input,
    KernelArgs,
    AppArgs,
    EnvVars,
    Requirements,
    Memory,
    Cpus,
}

impl Key {
    fn find(name: &[u8]) -> Self {
        match name {
            b"version" => Self::Version,
            b"kernel" => Self::Kernel,
            b"input" => Self::Input,
            b"kernel_args" => Self::KernelArgs,
            b"app_args" => Self::AppArgs,
            b"env_vars" => Self::EnvVars,
            b"requirements" => Self::Requirements,
            b"memory" => Self::Memory,
            b"cpus" => Self::Cpus,
            _ => Self::Unknown,
        }
    }
}

/// A value that has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// The configuration's version.
    Version = 1,
    /// The name of the kernel's file.
    Kernel,
    /// The kernel's options.
    KernelArgs,
    /// The program's arguments.
    AppArgs,
    /// The program's environment.
    EnvVars,
    /// The least memory.
    Memory,
    /// The least number of processors.
    Cpus,
}

impl Field {
    /// Where a field stands, and whether it is a list.
    fn find(path: &[Key]) -> Option<(Self, bool)> {
        Some(match path {
            [Key::Version] => (Self::Version, false),
            [Key::Kernel] => (Self::Kernel, false),
            [Key::Input, Key::KernelArgs] => (Self::KernelArgs, true),
            [Key::Input, Key::AppArgs] => (Self::AppArgs, true),
            [Key::Input, Key::EnvVars] => (Self::EnvVars, true),
            [Key::Requirements, Key::Memory] => (Self::Memory, false),
            [Key::Requirements, Key::Cpus] => (Self::Cpus, false),
            _ => return None,
        })
    }
}

/// A configuration.
#[derive(Debug)]
pub struct Config<'m> {
    /// Values one behind the other: field, length, bytes.
    values: &'m [u8],
    /// The least memory in bytes.
    pub memory: u64,
    /// The least number of processors.
    pub cpus: u64,
}

/// How much memory [`Config::parse`] needs for the values of a text of this length.
#[must_use]
pub const fn memory_for(length: usize) -> usize {
    // The shortest value, `""`, has two bytes.
    length + length / 2 * RECORD
}

impl<'m> Config<'m> {
    /// Reads a configuration from a text; its values go to `memory`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str, memory: &'m mut [u8]) -> Result<Self, &'static str> {
        let mut reader = Reader {
            path: [Key::Unknown; 3],
            length: 0,
            name: [0; 16],
            name_length: 0,
            list: false,
            ignored: 0,
            text: None,
            seen: 0,
            values: Values { memory, length: 0 },
            size: 0,
            cpus: 0,
            wrong: None,
        };
        toml::walk(text, &mut reader).map_err(|Invalid| "it is not valid TOML")?;
        if let Some(why) = reader.wrong {
            return Err(why);
        }
        let missing = |field: Field| reader.seen & 1 << field as u8 == 0;
        for (field, why) in [
            (Field::Version, "it lacks `version`"),
            (Field::Kernel, "it lacks `kernel`"),
            (Field::KernelArgs, "it lacks `kernel_args` in `[input]`"),
            (Field::AppArgs, "it lacks `app_args` in `[input]`"),
        ] {
            if missing(field) {
                return Err(why);
            }
        }
        let (size, cpus) = (reader.size, reader.cpus);
        let Values { memory: all, length } = reader.values;
        let config = Self { values: all.get(..length).unwrap_or_default(), memory: size, cpus };
        if !config.values(Field::Version).eq([VERSION]) {
            return Err("its `version` is not \"1\", the only one that this loader knows");
        }
        Ok(config)
    }

    /// The values of a field.
    pub fn values(&self, field: Field) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m> {
        let mut rest = self.values;
        core::iter::from_fn(move || {
            let (&key, after) = rest.split_first()?;
            let (length, after) = after.split_first_chunk()?;
            let value;
            (value, rest) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            Some((key, value))
        })
        .filter(move |(key, _)| *key == field as u8)
        .map(|(_, value)| value)
    }

    /// The name of the kernel's file.
    #[must_use]
    pub fn kernel(&self) -> &'m [u8] {
        self.values(Field::Kernel).next().unwrap_or_default()
    }
}

/// Values behind each other.
struct Values<'m> {
    memory: &'m mut [u8],
    length: usize,
}

impl Values<'_> {
    fn push(&mut self, bytes: &[u8]) -> bool {
        let place = self.memory.get_mut(self.length..self.length + bytes.len());
        place.is_some_and(|place| {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
            true
        })
    }
}

/// Follows a document and picks what has a meaning.
struct Reader<'m> {
    /// The keys from the document's root to where the reader is; no meaning is deeper.
    path: [Key; 3],
    length: usize,
    /// The last key's name, as far as one with a meaning is long.
    name: [u8; 16],
    name_length: usize,
    /// Whether the reader is in the array of a field.
    list: bool,
    /// How many arrays and tables without a meaning the reader is in.
    ignored: usize,
    /// The string that is being read: its field, and where its record begins.
    text: Option<(Field, usize)>,
    /// The fields that were there, one bit each.
    seen: u32,
    values: Values<'m>,
    /// What the requirements say.
    size: u64,
    cpus: u64,
    wrong: Option<&'static str>,
}

impl Reader<'_> {
    /// Notes that a field is there.
    fn note(&mut self, field: Field) {
        if self.seen & 1 << field as u8 != 0 {
            self.wrong = Some("a key occurs twice in it");
        }
        self.seen |= 1 << field as u8;
    }

    fn push(&mut self, bytes: &[u8]) {
        if !self.values.push(bytes) {
            self.wrong = Some("its values are too long");
        }
    }
}

const WRONG_TYPE: &str = "a value in it has the wrong type";

impl Visitor for Reader<'_> {
    fn header(&mut self) {
        self.length = 0;
    }

    fn header_ends(&mut self, array: bool) {
        if array {
            // No field is in one.
            self.key();
        }
    }

    fn key(&mut self) {
        if let Some(place) = self.path.get_mut(self.length) {
            *place = Key::Unknown;
        }
        self.length += 1;
        self.name_length = 0;
    }

    fn key_part(&mut self, part: &[u8]) {
        let end = self.name_length + part.len();
        if let Some(place) = self.name.get_mut(self.name_length..end) {
            place.copy_from_slice(part);
        }
        self.name_length = end;
        let name = self.name.get(..end).unwrap_or_default();
        if let Some(place) = self.path.get_mut(self.length - 1) {
            *place = Key::find(name);
        }
    }

    fn keys_end(&mut self, count: usize) {
        self.length -= count;
    }

    fn value(&mut self, kind: Kind<'_>) {
        let is_container = matches!(kind, Kind::Array | Kind::Table);
        if self.ignored > 0 {
            self.ignored += usize::from(is_container);
            return;
        }
        let Some((field, list)) = self.path.get(..self.length).and_then(Field::find) else {
            self.ignored = usize::from(kind == Kind::Array);
            return;
        };
        if !self.list {
            self.note(field);
        }
        match kind {
            Kind::Array if list && !self.list => self.list = true,
            Kind::String if list == self.list && field != Field::Cpus => {
                self.text = Some((field, self.values.length));
                self.push(&[field as u8, 0, 0, 0, 0]);
            }
            Kind::Other(text) if field == Field::Cpus => match number(text) {
                Some(number) => self.cpus = number,
                None => self.wrong = Some(WRONG_TYPE),
            },
            _ => {
                self.wrong = Some(WRONG_TYPE);
                self.ignored = usize::from(is_container);
            }
        }
    }

    fn string_part(&mut self, part: &[u8]) {
        if self.text.is_some() {
            self.push(part);
        }
    }

    fn string_ends(&mut self) {
        let Some((field, start)) = self.text.take() else {
            return;
        };
        let end = self.values.length;
        let record = self.values.memory.get_mut(start..end).unwrap_or_default();
        let Some((head, text)) = record.split_first_chunk_mut::<RECORD>() else {
            return;
        };
        if field == Field::Memory {
            match size(text) {
                Some(size) => self.size = size,
                None => self.wrong = Some("its `memory` is no size like \"64 MiB\""),
            }
        }
        // The text lies in the memory that is mapped, so it is shorter than 4 GiB.
        let length = (text.len() as u32).to_le_bytes();
        *head = [field as u8, length[0], length[1], length[2], length[3]];
    }

    fn container_ends(&mut self) {
        match self.ignored {
            0 => self.list = false,
            _ => self.ignored -= 1,
        }
    }
}

/// Reads an integer as TOML writes it.
fn number(text: &[u8]) -> Option<u64> {
    let (radix, digits) = match text {
        [b'0', b'x', digits @ ..] => (16, digits),
        [b'0', b'o', digits @ ..] => (8, digits),
        [b'0', b'b', digits @ ..] => (2, digits),
        [b'+', digits @ ..] => (10, digits),
        digits => (10, digits),
    };
    let plain = radix == 10 && digits.len() > 1 && digits.starts_with(b"0");
    let underscores = digits.starts_with(b"_") || digits.ends_with(b"_");
    if digits.is_empty() || plain || underscores || digits.windows(2).any(|pair| pair == b"__") {
        return None;
    }
    let mut digits = digits.iter().filter(|digit| **digit != b'_');
    digits.try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        value.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

/// Reads an amount of memory as the crate byte-unit does: a number, perhaps with a fraction, and a unit of
/// bytes: `B`, `KB` (1000), `KiB` (1024), and so on.
fn size(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let unit =
        text.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let (letter, rest) = match unit.trim_ascii_start() {
        [] | [b'B'] => (b'B', &b""[..]),
        [letter, rest @ ..] => (letter.to_ascii_uppercase(), rest),
    };
    let power = b"BKMGTPE".iter().position(|known| *known == letter)?;
    let (step, rest) = match rest {
        [b'i' | b'I', rest @ ..] if power > 0 => (1024_u64, rest),
        rest => (1000, rest),
    };
    if !matches!(rest, b"" | b"B") {
        return None;
    }
    let unit = step.checked_pow(power as u32)?;
    let mut parts = number.split(|byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or_default());
    if parts.next().is_some() || whole.is_empty() {
        return None;
    }
    let digit = |byte: &u8| u64::from(byte - b'0');
    let whole = whole
        .iter()
        .try_fold(0_u64, |value, byte| value.checked_mul(10)?.checked_add(digit(byte)))?;
    let mut size = whole.checked_mul(unit)?;
    let mut part = unit;
    for byte in fraction {
        part /= 10;
        size = size.checked_add(part * digit(byte))?;
    }
    Some(size)
}

#[cfg(test)]
mod tests;
