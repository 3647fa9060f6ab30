//! From the 32-bit entry to the image's first instruction.

mod console;
mod entry;
mod fw_cfg;
mod heap;
mod hermit;

use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use hermit_entry::boot_info::{
    BootInfo, HardwareInfo, LoadInfo, PlatformInfo, RawBootInfo, SerialPortBase, TlsInfo,
};
use skete_loader::gzip;
use skete_loader::image::{HIGHEST, Image, LOWEST, PAGE};
use skete_loader::memory::Memory;
use skete_loader::multiboot::{
    self, INFORMATION_SIZE, Information, KernelInformation, MODULE_SIZE,
};
use skete_loader::options::{self, Options};
use skete_loader::paging::{self, REACH};
use skete_loader::placement::Placement;
use skete_loader::problem::Problem;

use console::{COM1, Console};
use hermit::Hermit;

/// What the kernel reads after the jump. It lies in the loader's own memory, below 2 MiB.
static mut BOOT_INFO: Option<RawBootInfo> = None;
static mut KERNEL_INFORMATION: KernelInformation = KernelInformation::EMPTY;

/// Called by the 32-bit entry, in long mode, with the first GiB mapped identically.
extern "C" fn start(information: u32) -> ! {
    // SAFETY: the entry has checked that a multiboot boot loader passed this address.
    let raw = unsafe { bytes(information, INFORMATION_SIZE as u32) };
    let raw = raw.and_then(|raw| raw.first_chunk().ok_or(OUTSIDE));
    match raw.and_then(load) {
        // SAFETY: `load` has put the image there, with page tables that map it.
        Ok(jump) => unsafe { jump.take() },
        Err(problem) => {
            // Only a message needs to know where messages go.
            let line = raw.and_then(command_line).unwrap_or_default();
            Console::new(Options::parse(line)).fail(&problem)
        }
    }
}

/// The last step: an entry point with its argument.
struct Jump {
    entry: u64,
    boot_info: NonNull<RawBootInfo>,
}

impl Jump {
    /// Enters the image. The stack starts anew.
    ///
    /// # Safety
    /// The entry point must be mapped code of type [`hermit_entry::Entry`].
    unsafe fn take(self) -> ! {
        // SAFETY: the caller vouches for the entry point; the boot information is static.
        unsafe { entry::enter(self.entry, self.boot_info.as_ptr()) }
    }
}

const OUTSIDE: Problem = Problem::BootInformation("it points outside of the first GiB");

/// The bytes of physical memory at `address`.
///
/// # Safety
/// Nobody may write there as long as the slice lives.
unsafe fn bytes(address: u32, size: u32) -> Result<&'static [u8], Problem> {
    let end = u64::from(address) + u64::from(size);
    let start = NonNull::new(address as usize as *mut u8).ok_or(OUTSIDE)?;
    if end > HIGHEST {
        return Err(OUTSIDE);
    }
    // SAFETY: the first GiB is mapped identically, and the caller vouches for its content.
    Ok(unsafe { slice::from_raw_parts(start.as_ptr(), size as usize) })
}

/// The zero-terminated string at `address`, without the zero.
///
/// # Safety
/// Nobody may write there as long as the slice lives.
unsafe fn string(address: u32) -> Result<&'static [u8], Problem> {
    // The kernel reads the line where it is, so it must lie below where images are mapped.
    let size = (LOWEST as u32).saturating_sub(address);
    // SAFETY: as the caller says.
    let bytes = unsafe { bytes(address, size) }?;
    let end = bytes.iter().position(|byte| *byte == 0);
    end.and_then(|end| bytes.get(..end))
        .ok_or(Problem::CommandLine("is too long: it must end below 2 MiB of physical memory"))
}

/// The command line for the kernel.
fn command_line(raw: &[u8; INFORMATION_SIZE]) -> Result<&'static [u8], Problem> {
    let line = match multiboot::command_line(raw) {
        // SAFETY: the boot loader has put the line there, and nothing is written there: the image
        // is placed elsewhere.
        Some(address) => unsafe { string(address) }?,
        None => &[],
    };
    Ok(options::without_first_word(line))
}

/// Does everything but the jump.
fn load(raw: &[u8; INFORMATION_SIZE]) -> Result<Jump, Problem> {
    let mut line = command_line(raw)?;
    let information = Information::parse(raw)?;
    let map = information.map.clone();
    // SAFETY: the boot loader has put the map there, and nothing is written there before the
    // image is placed.
    let mut free = multiboot::free_memory(unsafe { bytes(map.start, map.end - map.start) }?)?;
    let modules = modules(&information, &free)?;
    let total = free.total();
    let mut own = Memory::new();
    claim(entry::extent(), &mut own, &mut free)?;
    let line_start = line.as_ptr() as u64;
    let line_end = line_start + line.len() as u64;
    claim(line_start..line_end, &mut own, &mut free)?;
    let mut usable = free.clone();
    usable.remove(modules.image.start.into()..modules.image.end.into())?;
    if let Some(root) = &modules.root {
        usable.remove(root.start.into()..root.end.into())?;
    }
    // Read once more when something is wrong.
    let raw_start = raw.as_ptr() as u64;
    usable.remove(raw_start..raw_start + raw.len() as u64)?;

    // SAFETY: the module is kept out of what anything is placed in.
    let mut file = unsafe { bytes(modules.image.start, modules.image.end - modules.image.start) }?;
    let mut archives = [None, None];
    if gzip::is_gzip(file) {
        // SAFETY: what is usable is free, and mapped identically as yet.
        let hermit = unsafe { Hermit::unpack(file, line, total, &mut usable) }?;
        free.remove(hermit.archive.clone())?;
        line = hermit.line;
        let line_start = line.as_ptr() as u64;
        claim(line_start..line_start + line.len() as u64, &mut own, &mut free)?;
        file = hermit.kernel;
        archives[0] = Some(hermit.archive);
        usable.insert(modules.image.start.into()..modules.image.end.into())?;
    }
    if let Some(root) = modules.root {
        // SAFETY: as for the image. Whether it is compressed is not asked where the loader cannot read.
        let compressed = unsafe { bytes(root.start, root.end - root.start) }
            .ok()
            .filter(|file| gzip::is_gzip(file));
        let place = match compressed {
            // SAFETY: as above.
            Some(file) => unsafe { hermit::inflate(file, "root archive", &mut usable) }?.0,
            None => root.start.into()..root.end.into(),
        };
        free.remove(place.clone())?;
        archives[1] = Some(place);
    }
    let command_line = core::str::from_utf8(line)
        .map_err(|_| Problem::CommandLine("is not UTF-8: pass arguments that are"))?;
    let image = Image::parse(file)?;

    let placement = Placement::find(&image, &usable)?;
    let pages = image.pages();
    // SAFETY: `placement` is free memory in the first GiB, so nothing else refers to it.
    let memory = unsafe {
        slice::from_raw_parts_mut(placement.physical as *mut u8, (pages.end - pages.start) as usize)
    };
    image.load(memory, placement.base)?;
    if !image.relocatable {
        let tables = paging::tables(&pages);
        let range = placement.tables..placement.tables + tables * PAGE;
        claim(range, &mut own, &mut free)?;
        shadow(&pages, placement);
    }

    let kernel_information = &raw mut KERNEL_INFORMATION;
    // SAFETY: one CPU runs, once, through here; nothing else refers to the static.
    unsafe { &mut *kernel_information }.fill(
        // The loader is linked below 2 MiB.
        kernel_information as usize as u32,
        &information,
        &free,
        &own,
        archives.into_iter().flatten(),
    );
    let base = placement.base;
    let boot_info = BootInfo {
        hardware_info: HardwareInfo {
            phys_addr_range: 0..free.end(),
            serial_port_base: SerialPortBase::new(COM1),
            device_tree: None,
        },
        load_info: LoadInfo {
            kernel_image_addr_range: image.range.start.wrapping_add(base)
                ..image.range.end.wrapping_add(base),
            tls_info: image.tls.map(|tls| TlsInfo {
                start: tls.start.wrapping_add(base),
                filesz: tls.file_size,
                memsz: tls.memory_size,
                align: tls.align,
            }),
        },
        platform_info: PlatformInfo::Multiboot {
            command_line: Some(command_line),
            multiboot_info_addr: (kernel_information as u64).try_into().map_err(|_| OUTSIDE)?,
        },
    };
    let place = &raw mut BOOT_INFO;
    // SAFETY: as above.
    let boot_info = unsafe { &mut *place }.insert(boot_info.into());
    Ok(Jump { entry: image.entry.wrapping_add(base), boot_info: NonNull::from(boot_info) })
}

/// The files that the boot loader has put into memory.
struct Modules {
    image: Range<u32>,
    root: Option<Range<u32>>,
}

/// Finds the modules, which have to lie in free memory.
fn modules(information: &Information, free: &Memory) -> Result<Modules, Problem> {
    let entries = information.modules.clone();
    // SAFETY: the boot loader has put the entries there, and nothing is written there before they are read.
    let entries = unsafe { bytes(entries.start, entries.end - entries.start) }?;
    let mut entries = entries
        .chunks_exact(MODULE_SIZE as usize)
        .zip(["image", "root archive"])
        .map(|(entry, what)| {
            let module = module_range(entry).ok_or(OUTSIDE)?;
            // QEMU places modules without a look at how much memory there is.
            match free.contains(&(module.start.into()..module.end.into())) {
                true => Ok(module),
                false => Err(Problem::FileTooLarge(what, module.end.into())),
            }
        });
    Ok(Modules {
        image: entries.next().unwrap_or(Err(Problem::NoImage))?,
        root: entries.next().transpose()?,
    })
}

/// Takes pages out of the free memory; the kernel may have them when it has left the loader behind.
fn claim(range: Range<u64>, own: &mut Memory, free: &mut Memory) -> Result<(), Problem> {
    let start = range.start / PAGE * PAGE;
    own.insert(start..range.end.next_multiple_of(PAGE))?;
    free.remove(range)
}

/// Where the module lies, from its multiboot entry.
fn module_range(entry: &[u8]) -> Option<Range<u32>> {
    let start = u32::from_le_bytes(*entry.first_chunk()?);
    let end = u32::from_le_bytes(*entry.get(4..)?.first_chunk()?);
    (start <= end).then_some(start..end)
}

/// Maps the image's pages where it was linked. From here on the identical mapping of these
/// addresses is gone.
fn shadow(pages: &Range<u64>, placement: Placement) {
    let first = pages.start / REACH;
    for index in 0..paging::tables(pages) {
        let base = (first + index) * REACH;
        let table = placement.tables + index * 0x1000;
        // SAFETY: the table is free memory in the first GiB, found for this purpose, aligned to
        // a page.
        let entries = unsafe { slice::from_raw_parts_mut(table as *mut u64, paging::ENTRIES) };
        for (place, entry) in
            entries.iter_mut().zip(paging::entries(base, pages.clone(), placement.physical))
        {
            *place = entry;
        }
        // SAFETY: images lie between 2 MiB and 1 GiB, where neither the loader nor anything it
        // still reads is: the last use of the module and the old boot information was before.
        unsafe { entry::set_table((first + index) as usize, paging::entry(table)) };
    }
    entry::flush();
}

#[cfg_attr(target_os = "none", panic_handler)]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    Console::default().bug(info.location())
}
