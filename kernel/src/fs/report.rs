//! The files below `/proc` (Linux, proc(5)): text that is made when one is opened, in Linux's formats, since
//! programs read numbers out of it.

use alloc::vec::Vec;

use crate::mm::frames::{self, FRAME};
use crate::text::Text;
use crate::{Result, arch, boot, sched, time};

/// What a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// What runs here.
    Version,
    /// Seconds since the start, and how many of them nothing was done.
    Uptime,
    /// Memory, in KiB.
    Memory,
    /// The processors.
    Processors,
    /// The program's arguments, each with a NUL behind it.
    Arguments,
    /// The program's name.
    Name,
}

impl Report {
    /// Every report with its path.
    pub const ALL: [(&'static str, Report); 6] = [
        ("/proc/version", Report::Version),
        ("/proc/uptime", Report::Uptime),
        ("/proc/meminfo", Report::Memory),
        ("/proc/cpuinfo", Report::Processors),
        ("/proc/1/cmdline", Report::Arguments),
        ("/proc/1/comm", Report::Name),
    ];

    /// The directory of the one process.
    pub const PROCESS: &'static str = "/proc/1";

    /// A link to it.
    pub const SELF: &'static str = "/proc/self";

    /// Makes the text.
    ///
    /// # Errors
    ///
    /// [`crate::Error::OutOfMemory`].
    pub fn text(self) -> Result<Vec<u8>> {
        let mut text = Text::new();
        match self {
            Report::Version => {
                text.text(concat!("Skete version ", env!("CARGO_PKG_VERSION"), " ("));
                text.text(arch::NAME).text(")\n");
            }
            Report::Uptime => {
                seconds(&mut text, time::monotonic()).text(" ");
                seconds(&mut text, time::idle()).text("\n");
            }
            Report::Memory => memory(&mut text),
            Report::Processors => {
                let (hertz, count) = (time::frequency(), sched::processors().into());
                for number in 0..count {
                    arch::processor::describe(&mut text, number, count, hertz);
                }
            }
            Report::Arguments => {
                for argument in &boot::program().arguments {
                    text.text(argument).text("\0");
                }
            }
            Report::Name => {
                text.text(name()).text("\n");
            }
        }
        text.finish()
    }
}

/// The program's name.
pub(super) fn name() -> &'static str {
    let arguments = &boot::program().arguments;
    arguments.first().map_or("", |name| name.as_str())
}

/// With hundredths, as Linux has them.
fn seconds(text: &mut Text, nanoseconds: u64) -> &mut Text {
    let hundredths = nanoseconds / 10_000_000;
    text.number(hundredths / 100).text(".");
    text.padded(hundredths % 100, 2, b'0')
}

fn memory(text: &mut Text) {
    let kibibytes = |frames: usize| (frames * FRAME / 1024) as u64;
    let (total, free) = (kibibytes(frames::total()), kibibytes(frames::available()));
    for (name, value) in [
        ("MemTotal:       ", total),
        ("MemFree:        ", free),
        // Nothing that takes memory would give it back when asked.
        ("MemAvailable:   ", free),
        ("Buffers:        ", 0),
        ("Cached:         ", 0),
        ("SwapTotal:      ", 0),
        ("SwapFree:       ", 0),
    ] {
        text.text(name).padded(value, 8, b' ').text(" kB\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(report: Report) -> String {
        String::from_utf8(report.text().unwrap()).unwrap()
    }

    #[test]
    fn memory_is_told_as_linux_tells_it() {
        let text = text(Report::Memory);
        let linux = std::fs::read_to_string("/proc/meminfo").unwrap();
        for line in text.lines() {
            let name = line.split(':').next().unwrap();
            let theirs = linux.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
            assert_eq!(line.len(), theirs.len(), "{line} {theirs}");
        }
        assert!(text.starts_with("MemTotal:        1048576 kB\n"), "{text}");
    }

    #[test]
    fn time_is_two_numbers() {
        let text = text(Report::Uptime);
        let (up, idle) = text.trim_end().split_once(' ').unwrap();
        assert!(up.parse::<f64>().unwrap() >= idle.parse::<f64>().unwrap());
        assert!(up.contains('.') && idle.contains('.'));
    }

    #[test]
    fn arguments_end_with_nuls() {
        assert_eq!(text(Report::Arguments), "hosted\0two words\0");
        assert_eq!(text(Report::Name), "hosted\n");
    }
}
