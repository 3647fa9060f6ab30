//! What the loader tells: `hermit_entry::boot_info::RawBootInfo`, version 4 of its binary interface.
//!
//! The crate's own reading of it checks texts and converts times, in more bytes than all else on the way to
//! `main`; so the structure is declared here once more, field by field.

use core::mem::offset_of;

use hermit_entry::boot_info::{RawBootInfo, TlsInfo};

/// The whole structure. Addresses are physical where nothing else is said.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Information {
    /// The lowest physical address.
    pub memory_start: u64,
    /// The end of the highest memory.
    pub memory_end: u64,
    /// The port of the serial line, or 0.
    pub serial_port: u16,
    /// The flattened device tree, or 0.
    pub device_tree: u64,
    /// Where the image is, in virtual addresses.
    pub image_start: u64,
    /// The image's end.
    pub image_end: u64,
    tls: TlsInfo,
    platform: u32,
    details: Details,
}

#[repr(C)]
#[derive(Clone, Copy)]
union Details {
    multiboot: Multiboot,
    uhyve: Uhyve,
}

/// A machine that was started with multiboot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiboot {
    /// The command line's text, or 0.
    pub line: u64,
    /// Its length.
    pub line_length: u64,
    /// Multiboot's information.
    pub address: u64,
}

/// A machine of uhyve's, or of another monitor that speaks its protocol.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uhyve {
    has_pci: bool,
    /// How many processors it has.
    pub processors: u64,
    /// The time-stamp counter's frequency, or 0.
    pub kilohertz: u32,
    /// Nanoseconds since 1970 when it was started: the low half, the high half.
    pub time: [u64; 2],
}

/// Who made the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// See [`Multiboot`].
    Multiboot(Multiboot),
    /// See [`Uhyve`].
    Uhyve(Uhyve),
    /// Somebody else.
    Other,
}

const _: () = assert!(size_of::<Information>() == size_of::<RawBootInfo>());
const _: () = assert!(offset_of!(Information, details) == 88);

impl Information {
    /// What the loader tells.
    #[must_use]
    pub fn read(raw: &RawBootInfo) -> Information {
        // SAFETY: the same structure, of which every part may have any value.
        unsafe { *(&raw const *raw).cast::<Information>() }
    }

    /// The template of thread-local storage.
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo> {
        (self.tls.memsz != 0).then_some(self.tls)
    }

    /// Who made the machine.
    #[must_use]
    pub fn platform(&self) -> Platform {
        // SAFETY: the number tells which of the two it is.
        unsafe {
            match self.platform {
                0 => Platform::Multiboot(self.details.multiboot),
                1 => Platform::Uhyve(self.details.uhyve),
                _ => Platform::Other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::num::{NonZeroU16, NonZeroU32, NonZeroU64};
    use hermit_entry::boot_info::{BootInfo, HardwareInfo, LoadInfo, PlatformInfo};
    use time::OffsetDateTime;

    fn told(platform_info: PlatformInfo) -> Information {
        let raw = RawBootInfo::from(BootInfo {
            hardware_info: HardwareInfo {
                phys_addr_range: 1..2,
                serial_port_base: NonZeroU16::new(3),
                device_tree: NonZeroU64::new(4),
            },
            load_info: LoadInfo {
                kernel_image_addr_range: 5..6,
                tls_info: Some(TlsInfo { start: 7, filesz: 8, memsz: 9, align: 10 }),
            },
            platform_info,
        });
        Information::read(&raw)
    }

    #[test]
    fn multiboot_is_read_as_it_was_written() {
        let line = "a line";
        let information = told(PlatformInfo::Multiboot {
            command_line: Some(line),
            multiboot_info_addr: NonZeroU64::new(11).unwrap(),
        });
        let expected = Multiboot { line: line.as_ptr() as u64, line_length: 6, address: 11 };
        assert_eq!(information.platform(), Platform::Multiboot(expected));
        let numbers = [information.memory_start, information.memory_end, information.device_tree];
        assert_eq!((numbers, information.serial_port), ([1, 2, 4], 3));
        assert_eq!([information.image_start, information.image_end], [5, 6]);
        let tls = information.tls().unwrap();
        assert_eq!([tls.start, tls.filesz, tls.memsz, tls.align], [7, 8, 9, 10]);
    }

    #[test]
    fn uhyve_is_read_as_it_was_written() {
        let information = told(PlatformInfo::Uhyve {
            has_pci: true,
            num_cpus: NonZeroU64::new(12).unwrap(),
            cpu_freq: NonZeroU32::new(13),
            boot_time: OffsetDateTime::from_unix_timestamp_nanos((14 << 64) + 15)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        });
        let Platform::Uhyve(uhyve) = information.platform() else { panic!("another platform") };
        assert_eq!((uhyve.has_pci, uhyve.processors, uhyve.kilohertz), (true, 12, 13));
        let other = told(PlatformInfo::Fdt);
        assert_eq!(other.platform(), Platform::Other);
    }

    #[test]
    fn the_time_comes_in_nanoseconds() {
        let information = told(PlatformInfo::Uhyve {
            has_pci: false,
            num_cpus: NonZeroU64::MIN,
            cpu_freq: None,
            boot_time: OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789)
                .unwrap(),
        });
        let Platform::Uhyve(uhyve) = information.platform() else { panic!("another platform") };
        assert_eq!((uhyve.kilohertz, uhyve.time), (0, [1_700_000_000_123_456_789, 0]));
    }
}
