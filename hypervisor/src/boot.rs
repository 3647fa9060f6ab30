//! What a guest finds in its memory when it begins (docs/boot-protocol.md): page tables, segments, a device
//! tree with the command line, the boot information.
//!
//! | address | what |
//! | --- | --- |
//! | 0x0 | nothing: the kernel starts other processors there |
//! | 0x1000 | the descriptor table |
//! | 0x2000 | the boot information |
//! | 0x3000 | page-map level 4, then one table of each level for the first GiB |
//! | 0x8000 | a stack of 32 KiB, downwards from 0x1_0000 |
//! | 0x1_0000 | the device tree |
//! | 0x20_0000 | the image |

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use hermit_entry::boot_info::{BootInfo, HardwareInfo, LoadInfo, PlatformInfo, RawBootInfo};
use skete_loader::image::LOWEST;
use skete_loader::options::Quoted;
use std::num::{NonZeroU32, NonZeroU64};
use uhyve_interface::v2::HypercallAddress;
use vm_fdt::FdtWriter;

use crate::memory::{DEVICES, Memory};
use crate::options::Options;

/// The descriptor table.
pub const DESCRIPTORS: u64 = 0x1000;
/// Its entries: none, 64-bit code, data.
pub const SEGMENTS: [u64; 3] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
/// The boot information.
pub const INFORMATION: u64 = 0x2000;
/// Page-map level 4.
pub const PAGE_TABLES: u64 = 0x3000;
/// The end of the first stack.
pub const STACK: u64 = 0x1_0000;
const TREE: u64 = 0x1_0000;

/// Writes everything. `kilohertz` is how fast the time-stamp counter runs.
#[inline(never)] // Instructions are counted from here on.
pub fn write(
    memory: &Memory,
    options: &Options,
    info: LoadInfo,
    kilohertz: Option<u32>,
) -> Result<()> {
    let segments = SEGMENTS.iter().flat_map(|segment| segment.to_le_bytes()).collect::<Vec<_>>();
    memory.write(&segments, DESCRIPTORS)?;
    write_page_tables(memory)?;
    let tree = tree(memory, options, kilohertz).context("the device tree cannot be written")?;
    if TREE + tree.len() as u64 > LOWEST {
        bail!("the program's arguments and environment are too long: {} KiB", tree.len() >> 10);
    }
    memory.write(&tree, TREE)?;
    let information = RawBootInfo::from(BootInfo {
        hardware_info: HardwareInfo {
            phys_addr_range: 0..memory.end(),
            serial_port_base: std::num::NonZeroU16::new(HypercallAddress::SerialWriteBuffer as u16),
            device_tree: NonZeroU64::new(TREE),
        },
        load_info: info,
        platform_info: PlatformInfo::Uhyve {
            has_pci: false,
            num_cpus: u64::from(options.cpus).try_into()?,
            cpu_freq: kilohertz.and_then(NonZeroU32::new),
            boot_time: SystemTime::now().into(),
        },
    });
    // SAFETY: a structure of numbers; padding is written over with zeros first.
    let bytes = unsafe {
        let mut bytes = [0u8; size_of::<RawBootInfo>()];
        bytes.as_mut_ptr().cast::<RawBootInfo>().write_unaligned(information);
        bytes
    };
    memory.write(&bytes, INFORMATION)
}

/// The first GiB, mapped identically in pages of 2 MiB.
fn write_page_tables(memory: &Memory) -> Result<()> {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    let entry = |number: u64, value: u64, table: u64| {
        memory.write(&value.to_le_bytes(), table + 8 * number)
    };
    let [level3, level2] = [PAGE_TABLES + 0x1000, PAGE_TABLES + 0x2000];
    entry(0, level3 | PRESENT_WRITABLE, PAGE_TABLES)?;
    // Hermit's older kernels find their tables by this one.
    entry(511, PAGE_TABLES | PRESENT_WRITABLE, PAGE_TABLES)?;
    entry(0, level2 | PRESENT_WRITABLE, level3)?;
    let pages =
        (0..512u64).flat_map(|number| (number << 21 | PRESENT_WRITABLE | LARGE).to_le_bytes());
    memory.write(&pages.collect::<Vec<_>>(), level2)
}

/// The device tree, as uhyve writes it.
fn tree(
    memory: &Memory,
    options: &Options,
    kilohertz: Option<u32>,
) -> vm_fdt::FdtWriterResult<Vec<u8>> {
    let mut writer = FdtWriter::new()?;
    let root = writer.begin_node("")?;
    writer.property_string("compatible", "hermit,uhyve")?;
    writer.property_u32("#address-cells", 2)?;
    writer.property_u32("#size-cells", 2)?;
    let low = memory.end().min(DEVICES.start);
    let mut ranges = vec![0, low];
    if memory.end() > low {
        ranges.extend([DEVICES.end, memory.end() - DEVICES.end]);
    }
    let node = writer.begin_node("memory@0")?;
    writer.property_string("device_type", "memory")?;
    writer.property_array_u64("reg", &ranges)?;
    writer.end_node(node)?;
    if !options.mounts.is_empty() {
        let node = writer.begin_node("uhyve,mounts")?;
        let paths = options.mounts.iter().map(|mount| mount.guest.clone());
        writer.property_string_list("mounts", paths.collect())?;
        writer.end_node(node)?;
    }
    let node = writer.begin_node("cpus")?;
    writer.property_u32("#address-cells", 1)?;
    writer.property_u32("#size-cells", 0)?;
    for number in 0..options.cpus {
        let node = writer.begin_node(&format!("cpu@{number}"))?;
        writer.property_string("device_type", "cpu")?;
        writer.end_node(node)?;
    }
    writer.end_node(node)?;
    if let Some(kilohertz) = kilohertz {
        let node = writer.begin_node("hermit,tsc")?;
        writer.property_u32("khz", kilohertz)?;
        writer.end_node(node)?;
    }
    let node = writer.begin_node("chosen")?;
    writer.property_string("bootargs", &command_line(options))?;
    writer.end_node(node)?;
    writer.end_node(root)?;
    writer.finish()
}

/// The command line: the kernel's options, `--`, the program's arguments.
fn command_line(options: &Options) -> String {
    let mut words = options.kernel.clone();
    for (key, value) in &options.environment {
        words.push(format!("env={}", Quoted(&format!("{key}={value}"))));
    }
    words.push("--".to_owned());
    words.extend(options.arguments.iter().map(|word| Quoted(word).to_string()));
    words.join(" ")
}

/// The options that our kernel alone understands.
pub fn own_options(options: &Options, terminals: &str) -> Vec<String> {
    let mut words = vec!["stdin=framed".to_owned(), "stderr=2".to_owned()];
    if !terminals.is_empty() {
        words.push(format!("terminals={terminals}"));
    }
    if let Some(name) = options.image.file_stem() {
        words.push(format!("name={}", Quoted(&name.to_string_lossy())));
    }
    if let Some(level) = &options.log {
        words.push(format!("log={}", Quoted(level)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_quoted() {
        let mut options = Options::new("dir/app.elf".into());
        options.arguments = vec!["two words".into(), "--".into()];
        options.environment = vec![("A".into(), "1 2".into())];
        options.kernel = own_options(&options, "12");
        assert_eq!(
            command_line(&options),
            "stdin=framed stderr=2 terminals=12 name=app env=\"A=1 2\" -- \"two words\" \"--\""
        );
    }

    #[test]
    fn a_small_guest_gets_everything() -> Result<()> {
        use vm_memory::{Bytes, GuestAddress};
        let memory = Memory::new(2 << 20, false)?;
        let info = LoadInfo { kernel_image_addr_range: LOWEST..LOWEST, tls_info: None };
        write(&memory, &Options::new("app".into()), info, Some(1000))?;
        let entry = |at| memory.map().read_obj::<u64>(GuestAddress(at));
        assert_eq!(entry(PAGE_TABLES)?, PAGE_TABLES + 0x1003);
        assert_eq!(entry(PAGE_TABLES + 0x2000 + 8 * 511)?, 511 << 21 | 0x83);
        assert_eq!(memory.map().read_obj::<u32>(GuestAddress(TREE))?, 0xd00d_feed_u32.to_be());
        Ok(())
    }
}
