//! The boot path. It names no subsystem: what the program does not use does not come up.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hermit_entry::boot_info::RawBootInfo;

use super::command_line::{Words, option, port};
use super::device_tree::Tree;
use super::information::{Information, Platform};
use super::{archives, image, status};
use crate::arch::{self, paging, power, smp, uhyve};
use crate::console::input::Discipline;
use crate::debug::{Level, Line};
use crate::mm::Region;
use crate::mm::blocks::Blocks;
use crate::mm::frames::{self, FRAME};
use crate::mm::heap;
use crate::mm::regions::Regions;
use crate::sync::Lock;
use crate::{console, sched, time};

hermit_entry::define_entry_version!();

/// Memory that the loader has mapped as a whole.
const LOADER_MAPPED: usize = 1 << 30;
/// Where uhyve has no memory.
const DEVICES: core::ops::Range<usize> = 0xc000_0000..0x1_0000_0000;
/// The multiboot specification's type of free memory.
const AVAILABLE: u32 = 1;
/// The type that our loader gives to its own memory (docs/boot-protocol.md).
const LOADER: u32 = 0x534b;
/// The type that our loader gives to an archive of the initial file tree.
const ARCHIVE: u32 = 0x534c;

/// What the program is started with.
#[derive(Debug, Default)]
pub struct Program {
    /// `argv[0]` and the arguments.
    pub arguments: Vec<String>,
    /// The environment: `KEY=VALUE`.
    pub environment: Vec<String>,
    /// The command line.
    pub line: String,
}

static PROGRAM: Lock<Option<&'static Program>> = Lock::new(None);
static NO_PROGRAM: Program =
    Program { arguments: Vec::new(), environment: Vec::new(), line: String::new() };

/// What the program is started with.
#[must_use]
pub fn program() -> &'static Program {
    PROGRAM.lock().unwrap_or(&NO_PROGRAM)
}

/// Ends the machine before the program has started.
fn refuse(line: &mut Line) -> ! {
    line.end();
    power::end(status::REFUSED)
}

/// Takes over from the loader; runs `main` as the first thread.
///
/// # Safety
///
/// Called once, by the image's entry point, in the state that `hermit_entry::Entry` promises, on a
/// stack inside the image.
pub unsafe fn start(raw: &'static RawBootInfo, main: extern "C" fn(usize) -> !) -> ! {
    // SAFETY: the first thing that happens, under the loader's tables.
    unsafe { paging::adopt_loader_tables() };
    let info = Information::read(raw);
    let (line, map) = match info.platform() {
        // SAFETY: the structures were made, or passed on, by the loader, below 1 GiB.
        Platform::Multiboot(found) => unsafe {
            (
                text(found.line, found.line_length as usize),
                multiboot_map(found.address as usize),
            )
        },
        Platform::Uhyve(found) => {
            uhyve::set_present();
            smp::set_count(found.processors as u32);
            time::set_epoch(found.time[0] as i64);
            // Unless it is told otherwise: the monitor may know no input.
            console::set_discipline(Discipline::None);
            // SAFETY: the monitor has put the tree there, below 1 GiB.
            (unsafe { uhyve_line(&info) }, uhyve_map(&info))
        }
        Platform::Other => refuse(Line::new().text(
            "skete: this loader's platform is not known: use Skete's or Hermit's multiboot loader, or uhyve",
        )),
    };
    early_options(line);
    arch::init();
    heap::init();
    sched::init();
    if let Some(template) = info.tls() {
        sched::tls::init(template);
    }
    let range = info.image_start..info.image_end;
    // SAFETY: the map is the machine's, and nobody else uses what it calls free.
    if unsafe { take_memory(&map, range.start as usize..range.end as usize) }.is_none() {
        let available: usize =
            map.free.as_slice().iter().map(|region| region.end - region.start).sum();
        refuse(
            Line::new()
                .text("skete: out of memory while starting: ")
                .number(available as u64 >> 10)
                .text(" KiB are too little; give the machine more (-m, --memory)"),
        );
    }
    heap::set_room();
    // SAFETY: the loader keeps them out of the free memory, and they are mapped now.
    unsafe { archives::hand_over(map.archives) };
    let program = options(line);
    // SAFETY: the line was the last thing that lay in the loader's memory; its tables, stack and information
    // are not used any more.
    unsafe { frames::add_reserve(&map.loader.without(map.tree)) };
    Line::log(Level::Info, |line| {
        line.text("memory: ")
            .number(frames::total() as u64 * 4)
            .text(" KiB, free: ")
            .number(frames::available() as u64 * 4)
            .text(" KiB");
    });
    *PROGRAM.lock() = Some(Box::leak(Box::new(program)));
    match sched::start(main, 0) {
        Ok(never) => match never {},
        Err(_) => refuse(Line::new().text(
            "skete: out of memory while starting the program; give the machine more (-m, --memory)",
        )),
    }
}

/// A text that the loader has left in low memory.
///
/// # Safety
///
/// It is there, or its length is 0, and it is UTF-8.
unsafe fn text(address: u64, length: usize) -> &'static str {
    // SAFETY: vouched for by the caller; the address in the direct map stays valid.
    unsafe {
        let start = arch::direct(address as usize) as *const u8;
        core::str::from_utf8_unchecked(core::slice::from_raw_parts(start, length))
    }
}

struct Map {
    free: Regions,
    loader: Regions,
    /// The part of the loader's memory that stays as it is.
    tree: Region,
    /// From the lowest layer to the highest.
    archives: [Region; archives::MOST],
}

/// The command line of a machine that is uhyve's (docs/boot-protocol.md).
///
/// # Safety
///
/// The information is the monitor's.
unsafe fn uhyve_line(info: &Information) -> &'static str {
    TREE.store(info.device_tree as usize, Relaxed);
    let line = device_tree().and_then(|tree| tree.property(b"bootargs"));
    let line = line.unwrap_or(b"\0");
    // SAFETY: the monitor writes texts that end with a zero.
    unsafe { core::str::from_utf8_unchecked(&line[..line.len() - 1]) }
}

/// The device tree's physical address, or 0.
static TREE: AtomicUsize = AtomicUsize::new(0);

/// The device tree, if the machine has told of one.
#[must_use]
pub fn device_tree() -> Option<Tree> {
    match TREE.load(Relaxed) {
        0 => None,
        // SAFETY: the loader has put it there, in low memory, which stays mapped; nobody gets it.
        tree => Some(unsafe { Tree::new(arch::direct(tree) as *const u8) }),
    }
}

/// The memory of such a machine.
fn uhyve_map(info: &Information) -> Map {
    let tree = info.device_tree as usize;
    let mut map = Map {
        free: Regions::new(),
        loader: Regions::new(),
        tree: Region { start: tree, end: tree + device_tree().map_or(0, Tree::length) },
        archives: Default::default(),
    };
    let (start, end) = (info.image_start as usize, info.memory_end as usize);
    map.loader.push(Region { start: FRAME, end: start });
    // For the other processors' first steps.
    map.free.push(Region { start: 0, end: FRAME });
    map.free.push(Region { start, end: end.min(DEVICES.start) });
    map.free.push(Region { start: DEVICES.end, end });
    map
}

/// Reads a multiboot information structure (Multiboot 0.6.96, 3.3).
///
/// # Safety
///
/// `address` is one, below 1 GiB, as is its memory map.
unsafe fn multiboot_map(address: usize) -> Map {
    const MAP_LENGTH: usize = 44;
    const MAP_ADDRESS: usize = 48;
    let mut map = Map {
        free: Regions::new(),
        loader: Regions::new(),
        tree: Region::default(),
        archives: Default::default(),
    };
    let mut archives = map.archives.iter_mut();
    // SAFETY: vouched for by the caller; entries need not be aligned.
    unsafe {
        let info = arch::direct(address) as *const u8;
        let length = info.add(MAP_LENGTH).cast::<u32>().read_unaligned() as usize;
        let entries = arch::direct(info.add(MAP_ADDRESS).cast::<u32>().read_unaligned() as usize)
            as *const u8;
        let mut offset = 0;
        while offset + 24 <= length {
            let entry = entries.add(offset);
            let size = entry.cast::<u32>().read_unaligned() as usize;
            let start = entry.add(4).cast::<u64>().read_unaligned() as usize;
            let bytes = entry.add(12).cast::<u64>().read_unaligned() as usize;
            let region = Region { start, end: start.saturating_add(bytes) };
            match entry.add(20).cast::<u32>().read_unaligned() {
                AVAILABLE => map.free.push(region),
                LOADER => map.loader.push(region),
                ARCHIVE => _ = archives.next().map(|place| *place = region),
                _ => {}
            }
            offset += size + 4;
        }
    }
    map
}

/// Takes the free memory over, and moves to page tables of our own. `None` when it does not suffice.
///
/// # Safety
///
/// `map` tells the truth. Called once.
unsafe fn take_memory(map: &Map, image: core::ops::Range<usize>) -> Option<()> {
    let mut own = Regions::new();
    for page in (image.start & !(FRAME - 1)..image.end).step_by(FRAME) {
        let frame = paging::translate(page)?;
        own.push(Region { start: frame, end: frame + FRAME });
    }
    let mut free = map.free.without(Region { start: 0, end: FRAME });
    for part in own.as_slice() {
        free = free.without(*part);
    }
    let size = Blocks::bytes_for(free.end().max(map.loader.end()));
    let start = free.longest_below(LOADER_MAPPED)?.start;
    let books = Region { start, end: (start + size).next_multiple_of(FRAME) };
    free = free.without(books);

    let mut memory = map.free;
    map.loader.as_slice().iter().chain(&map.archives).for_each(|region| memory.push(*region));
    // SAFETY: free memory by the loader's map, not the image's, not the books'.
    unsafe {
        frames::init(free.as_slice().iter().copied(), books);
        paging::switch_to_own(image::segments(), memory.as_slice(), own.as_slice())
    }
}

/// Options that are needed before there is a heap: where to say what goes wrong.
fn early_options(line: &str) {
    let mut words = Words::new(line);
    // None of these values has a reason for quotes, and taking those away would need memory.
    while let Some(word) = words.next_raw().filter(|&word| word != "--") {
        match option(word) {
            Some(("status", number)) => _ = port(number).map(power::set_status_port),
            Some(("stderr", number)) => _ = port(number).map(console::set_error_port),
            Some(("log", level)) => _ = Level::parse(level).map(crate::debug::set_level),
            _ => {}
        }
    }
}

fn options(line: &str) -> Program {
    let mut program = Program { line: line.into(), ..Program::default() };
    let mut name = String::from("skete");
    let mut words = Words::new(line);
    for word in words.by_ref().take_while(|word| word != "--") {
        let known = match option(&word) {
            Some(("name", value)) => {
                name = value.into();
                true
            }
            Some(("env", variable)) if option(variable).is_some() => {
                program.environment.push(variable.into());
                true
            }
            Some(("stdin", kind)) => match kind {
                "tty" => true,
                "framed" => choose(Discipline::Framed),
                "none" => choose(Discipline::None),
                "file" => choose(Discipline::File),
                _ => false,
            },
            Some(("terminals", streams)) => terminals(streams),
            Some(("status" | "stderr", number)) => port(number).is_some(),
            Some(("log", level)) => Level::parse(level).is_some(),
            // For parts that come up later (`super::option`). Of several cards, each has an `ip` with a number.
            Some((name, _)) => {
                matches!(name.as_bytes(), [b'i', b'p', ..] | b"gw" | b"dns" | b"virtio_mmio.device")
            }
            None => false,
        };
        if !known {
            refuse(
                Line::new()
                    .text("skete: unknown kernel option `")
                    .text(&word)
                    .text("`: known are env=KEY=VALUE, log=LEVEL, ip=, gw=, dns= and those of docs/boot-protocol.md; ")
                    .text("the program's arguments go behind --"),
            );
        }
    }
    program.arguments.push(name);
    program.arguments.extend(words.map(alloc::borrow::Cow::into_owned));
    program
}

/// The digits of the standard streams that are terminals.
fn terminals(streams: &str) -> bool {
    let known = streams.bytes().all(|digit| matches!(digit, b'0'..=b'2'));
    console::set_terminals(streams.bytes().fold(0, |set, digit| set | 1 << (digit & 3)));
    known
}

fn choose(discipline: Discipline) -> bool {
    console::set_discipline(discipline);
    true
}
