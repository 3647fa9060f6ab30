//! What can keep an image from booting, each with its one line for the user.

/// Why the loader gives up. The line that [`Problem::describe`] writes says what is wrong and what
/// to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The boot information lacks what the loader needs; the text names it.
    BootInformation(&'static str),
    /// No multiboot module was passed.
    NoImage,
    /// More than two multiboot modules were passed.
    ManyModules,
    /// The command line is not UTF-8 or lies too high.
    CommandLine(&'static str),
    /// The module does not start like an ELF file.
    NotElf,
    /// The ELF file breaks off or contradicts itself; the text says where.
    Malformed(&'static str),
    /// An ELF file for another processor: the `e_machine` number.
    Machine(u16),
    /// A 32-bit or big-endian ELF file.
    Format(&'static str),
    /// A sound ELF file that is no image: no hermit-entry note, or linked for another system.
    Foreign(&'static str),
    /// The note asks for another version of hermit-entry.
    EntryVersion(u8),
    /// The image's addresses are outside of what the loader can map.
    Addresses,
    /// No free range of memory is large enough, in bytes.
    TooLarge {
        /// What the image needs in one piece.
        needed: u64,
        /// The largest free piece.
        largest: u64,
    },
    /// The file of the image, or of the root archive, reaches beyond the memory: what it is, and where it
    /// ends, in bytes.
    FileTooLarge(&'static str, u64),
    /// A compressed file, `what`, is damaged; the second text says how.
    Compressed(&'static str, &'static str),
    /// What a compressed file, `what`, states as its size has no room; it may be damaged as well.
    CompressedTooLarge {
        /// Which file it is.
        what: &'static str,
        /// The size that it states.
        needed: u64,
        /// The largest free piece.
        largest: u64,
    },
    /// The archive in a Hermit image is damaged: how, and where, in bytes from its start.
    Archive(&'static str, u64),
    /// A Hermit image's configuration cannot be used; the text says why.
    Config(&'static str),
    /// A Hermit image has no file of the name that its configuration gives for the kernel.
    NoKernel,
    /// A Hermit image asks for more memory than there is, in bytes.
    Memory {
        /// What it asks for.
        needed: u64,
        /// What the machine has.
        found: u64,
    },
    /// A Hermit image asks for more processors than there are.
    Processors {
        /// What it asks for.
        needed: u64,
        /// What the machine has.
        found: u64,
    },
    /// A relocation that the loader does not know: the `R_X86_64_*` number.
    Relocation(u32),
}

impl Problem {
    /// Writes the line for the user, without its line break, piece by piece.
    ///
    /// Numbers are written by hand, so that nothing of `core::fmt` ends up in the loader.
    pub fn describe(&self, write: &mut dyn FnMut(&str)) {
        write("skete-loader: ");
        match *self {
            Self::BootInformation(what) => {
                write("the boot information is unusable (");
                write(what);
                write("): boot the loader with `qemu-system-x86_64 -kernel LOADER -initrd IMAGE`");
            }
            Self::NoImage => {
                write("there is no image: pass it with `-initrd IMAGE`");
            }
            Self::ManyModules => {
                write(
                    "more than an image and a root archive were passed: pass one of each, and write a \
                     comma in a path twice",
                );
            }
            Self::CommandLine(why) => {
                write("the command line ");
                write(why);
            }
            Self::NotElf => {
                write("the image is not an ELF file, nor a Hermit image: ");
                write(REBUILD);
            }
            Self::Malformed(why) => {
                write("the image is damaged (");
                write(why);
                write("): ");
                write(REBUILD);
            }
            Self::Machine(machine) => {
                write("the image is built for another processor (ELF machine ");
                write_number(u64::from(machine), write);
                write("), not for x86-64: ");
                write(REBUILD);
            }
            Self::Format(what) => {
                write("the image is a ");
                write(what);
                write(" ELF file, not a 64-bit x86-64 one: ");
                write(REBUILD);
            }
            Self::Foreign(why) => {
                write("the file is a program for another system, not a bootable image (");
                write(why);
                write("): ");
                write(REBUILD);
            }
            Self::EntryVersion(version) => {
                write("the image speaks hermit-entry version ");
                write_number(u64::from(version), write);
                write(", this loader version ");
                write_number(u64::from(crate::image::ENTRY_VERSION), write);
                write(": build image and loader from the same release");
            }
            Self::Addresses => {
                write(
                    "the image is linked outside of the addresses from 2 MiB to 1 GiB that the \
                     loader maps: link it at 0x200000, or make it relocatable",
                );
            }
            Self::TooLarge { needed, largest } => {
                write("the image does not fit: it needs ");
                write_number(needed.div_ceil(1024), write);
                write(" KiB of memory in one piece, the largest free one has ");
                write_number(largest / 1024, write);
                write(" KiB: give the machine more memory");
            }
            Self::FileTooLarge(what, end) => {
                write("the ");
                write(what);
                write(" does not fit: its file reaches up to ");
                write_number(end.div_ceil(1024), write);
                write(" KiB, beyond the end of memory: give the machine more");
            }
            Self::Compressed(what, why) => {
                write("the compressed ");
                write(what);
                write(" is damaged (");
                write(why);
                write("): make it again");
            }
            Self::CompressedTooLarge { what, needed, largest } => {
                write("the compressed ");
                write(what);
                write(" does not fit: it says that it becomes ");
                write_number(needed.div_ceil(1024), write);
                write(" KiB, the largest free piece of memory has ");
                write_number(largest / 1024, write);
                write(
                    " KiB: give the machine more memory, or make the file again if that cannot be",
                );
            }
            Self::Archive(why, offset) => {
                write("the archive in the image is damaged (");
                write(why);
                write(", byte ");
                write_number(offset, write);
                write("): make the image again");
            }
            Self::Config(why) => {
                write("the image's hermit.toml cannot be used (");
                write(why);
                write("): `cargo xtask build --format hermit` makes one that can");
            }
            Self::NoKernel => {
                write("the image has no file of the name that its hermit.toml gives as `kernel`");
            }
            Self::Memory { needed, found } => {
                write("the image asks for ");
                write_number(needed.div_ceil(1024), write);
                write(" KiB of memory, the machine has ");
                write_number(found / 1024, write);
                write(" KiB: give it more");
            }
            Self::Processors { needed, found } => {
                write("the image asks for ");
                write_number(needed, write);
                write(" processors, the machine has ");
                write_number(found, write);
                write(": give it more");
            }
            Self::Relocation(kind) => {
                write("the image has a relocation of kind ");
                write_number(u64::from(kind), write);
                write(", which the loader does not know: link the image statically");
            }
        }
    }
}

/// What to do about most broken images.
const REBUILD: &str = "pass an image that `cargo xtask build` has made";

/// Writes a number in decimal.
pub fn write_number(number: u64, write: &mut dyn FnMut(&str)) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        // A remainder below ten fits a byte.
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        start = index;
        if rest == 0 {
            break;
        }
    }
    let text = digits.get(start..).unwrap_or_default();
    write(core::str::from_utf8(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::{String, ToString};

    fn line(problem: Problem) -> String {
        let mut text = String::new();
        problem.describe(&mut |part| text.push_str(part));
        text
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 65535, u64::MAX] {
            let mut text = String::new();
            write_number(number, &mut |part| text.push_str(part));
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn sizes_are_rounded_so_that_the_line_is_true() {
        let text = line(Problem::TooLarge { needed: 2049, largest: 2047 });
        assert!(text.contains("needs 3 KiB") && text.contains("has 1 KiB"), "{text}");
    }

    #[test]
    fn every_line_is_one_line() {
        for problem in
            [Problem::NoImage, Problem::NotElf, Problem::Addresses, Problem::Machine(183)]
        {
            assert!(!line(problem).contains('\n'));
        }
    }
}
