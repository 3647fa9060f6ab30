//! What the plugin is told on QEMU's command line.

use std::fs;
use std::path::PathBuf;

/// A place in the guest's code; the total is recorded when it is first executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The instruction's virtual address.
    pub address: u64,
    /// What the report calls it.
    pub name: String,
}

/// A piece of the guest's code that is counted for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first virtual address.
    pub start: u64,
    /// The address behind the last one.
    pub end: u64,
    /// What the report calls it.
    pub name: String,
}

/// The plugin's arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where the report goes.
    pub out: PathBuf,
    /// `mark=ADDRESS:NAME`, any number of times.
    pub marks: Vec<Mark>,
    /// `ranges=FILE` with a line `START END NAME` for each, sorted by start after reading.
    pub ranges: Vec<Range>,
}

impl Settings {
    /// Reads the arguments, `KEY=VALUE` each.
    pub fn parse<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut settings = Self::default();
        for argument in arguments {
            match argument.split_once('=') {
                Some(("out", path)) => settings.out = path.into(),
                Some(("mark", mark)) => settings
                    .marks
                    .push(parse_mark(mark).ok_or_else(|| format!("`{mark}` is not ADDRESS:NAME"))?),
                Some(("ranges", path)) => {
                    let text =
                        fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                    settings.ranges = parse_ranges(&text)?;
                }
                _ => {
                    return Err(format!(
                        "`{argument}` is not known; there are out=FILE, mark=ADDRESS:NAME, ranges=FILE"
                    ));
                }
            }
        }
        if settings.out.as_os_str().is_empty() {
            return Err("out=FILE is missing".to_owned());
        }
        Ok(settings)
    }

    /// Which range an address is in.
    pub fn range_of(&self, address: u64) -> Option<usize> {
        let index = self.ranges.partition_point(|range| range.start <= address).checked_sub(1)?;
        (address < self.ranges.get(index)?.end).then_some(index)
    }
}

fn parse_address(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn parse_mark(text: &str) -> Option<Mark> {
    let (address, name) = text.split_once(':')?;
    Some(Mark { address: parse_address(address)?, name: name.to_owned() })
}

fn parse_ranges(text: &str) -> Result<Vec<Range>, String> {
    let read = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let start = parse_address(words.next()?)?;
        let end = parse_address(words.next()?)?;
        Some(Range { start, end, name: words.next()?.to_owned() })
    };
    let mut ranges = text
        .lines()
        .map(|line| read(line).ok_or_else(|| format!("`{line}` is not START END NAME")))
        .collect::<Result<Vec<_>, _>>()?;
    ranges.sort_by_key(|range| range.start);
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let settings = Settings::parse(["out=/x", "mark=0x20:main"].into_iter()).unwrap();
        assert_eq!(settings.out, PathBuf::from("/x"));
        assert_eq!(settings.marks, [Mark { address: 0x20, name: "main".to_owned() }]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for wrong in ["mark=20:main", "mark=0x20", "color=red", "ranges=/does/not/exist"] {
            assert!(Settings::parse(["out=/x", wrong].into_iter()).is_err(), "{wrong}");
        }
        assert!(Settings::parse([].into_iter()).is_err());
    }

    #[test]
    fn addresses_find_their_range() {
        let ranges = parse_ranges("0x30 0x40 b\n0x10 0x20 a name with spaces\n").unwrap();
        let settings = Settings { ranges, ..Settings::default() };
        assert_eq!(settings.ranges[0].name, "a name with spaces");
        assert_eq!(settings.range_of(0x10), Some(0));
        assert_eq!(settings.range_of(0x20), None);
        assert_eq!(settings.range_of(0x3f), Some(1));
        assert_eq!(settings.range_of(0x0f), None);
    }
}
