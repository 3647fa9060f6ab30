//! The other processors: how many there are, and how they come up.
//!
//! All are started with one command (SDM volume 3, 9.4) and come up beside each other, while the first
//! one goes on. Each begins in real mode in page 0, which is nobody's: its own code there ([`START`])
//! takes it to 64-bit mode on temporary page tables that have that page besides everything else.

use alloc::alloc::{Layout, alloc_zeroed};
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use super::gdt::Stack;
use super::local::{self, Local, MOST};
use super::{acpi, apic, cpu, fw_cfg, paging, trap};
use crate::mm::heap;

/// What a processor that has come up does.
pub type Main = extern "C" fn() -> !;

/// A processor's data and stack, in the heap for good.
#[repr(C)]
struct Processor {
    local: Local,
    stack: Stack,
}

/// What the code in page 0 is told, at [`TOLD`] there.
#[repr(C)]
struct Told {
    segments: [u64; 3],
    /// What `lgdt` takes begins in the middle of this.
    limit: u32,
    base: u32,
    root: u32,
    cr4: u32,
    efer: u32,
    cr0: u32,
    enter: usize,
}

/// Where in page 0 the code finds [`Told`].
const TOLD: usize = 128;

core::arch::global_asm!(
    ".pushsection .rodata.skete_smp_start, \"a\", @progbits",
    "skete_smp_start:",
    ".code16",
    "cli",
    "xor ax, ax",
    "mov ds, ax",
    "lgdt [{limit} + 2]",
    "mov eax, [{cr4}]",
    "mov cr4, eax",
    "mov eax, [{root}]",
    "mov cr3, eax",
    "mov ecx, 0xc0000080",
    "xor edx, edx",
    "mov eax, [{efer}]",
    "wrmsr",
    // Protection and paging at once: from real mode straight to long mode.
    "mov eax, [{cr0}]",
    "mov cr0, eax",
    // A far jump to the 64-bit segment.
    ".byte 0xea",
    ".word 3f - skete_smp_start",
    ".word 8",
    ".code64",
    "3:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov rax, qword ptr [{enter}]",
    "jmp rax",
    "skete_smp_start_end:",
    ".popsection",
    limit = const TOLD + offset_of!(Told, limit),
    cr4 = const TOLD + offset_of!(Told, cr4),
    root = const TOLD + offset_of!(Told, root),
    efer = const TOLD + offset_of!(Told, efer),
    cr0 = const TOLD + offset_of!(Told, cr0),
    enter = const TOLD + offset_of!(Told, enter),
);

unsafe extern "C" {
    #[link_name = "skete_smp_start"]
    static START: u8;
    #[link_name = "skete_smp_start_end"]
    static START_END: u8;
}

/// Processors that have a place in [`PLACES`].
static PREPARED: AtomicU32 = AtomicU32::new(0);
/// Processors that have taken one.
static TAKEN: AtomicU32 = AtomicU32::new(0);
static PLACES: [AtomicPtr<Processor>; MOST] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MOST];
/// The kernel's own page tables.
static ROOT: AtomicUsize = AtomicUsize::new(0);
static MAIN: AtomicUsize = AtomicUsize::new(0);
static FOUND: AtomicU32 = AtomicU32::new(0);

/// How many processors the machine has, not more than [`MOST`]: as ACPI tells, or else QEMU.
#[must_use]
pub fn count() -> u32 {
    match FOUND.load(Relaxed) {
        0 => {
            let count = acpi::processors()
                .or_else(fw_cfg::processors)
                .map_or(1, |count| count.clamp(1, MOST as u32));
            FOUND.store(count, Relaxed);
            count
        }
        count => count,
    }
}

/// Says how many processors the machine has, where the loader knows.
pub fn set_count(count: u32) {
    FOUND.store(count.clamp(1, MOST as u32), Relaxed);
}

/// Starts the other processors, as many as memory is there for; does not wait for them. Each gets the
/// `scheduler` data of its number, and ends up in `main` on its own stack, with interrupts off. Gives the
/// number of those that stay off, and why.
pub fn start(
    main: Main,
    mut scheduler: impl FnMut(u32) -> Option<NonNull<()>>,
) -> Result<(), (u32, &'static str)> {
    const MEMORY: &str = "memory is short; give the machine more (-m, --memory)";
    let others = count() - 1;
    super::TRANSLATED.store(super::clock::is_translated(), Relaxed);
    super::tlb::prepare();
    let mut prepared = 0;
    while prepared < others
        && scheduler(prepared + 1).is_some_and(|data| prepare(prepared + 1, data))
    {
        prepared += 1;
    }
    let root = paging::root_address();
    let temporary = paging::with_page_zero().ok_or((others, MEMORY))?;
    let told = Told {
        // No segment, 64-bit code, data; both marked as accessed, for the page cannot be written to.
        segments: [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff],
        limit: (size_of::<[u64; 3]>() as u32 - 1) << 16,
        base: TOLD as u32,
        root: u32::try_from(temporary)
            .map_err(|_| (others, "their first page tables are above 4 GiB"))?,
        cr4: 1 << 5,
        // Long mode, and no-execute.
        efer: 1 << 8 | 1 << 11,
        cr0: 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1,
        enter: enter as *const () as usize,
    };
    let page = super::direct(0);
    if !paging::is_mapped(page) {
        return Err((others, "page 0, where they begin, is no memory"));
    }
    ROOT.store(root, Relaxed);
    MAIN.store(main as usize, Relaxed);
    PREPARED.store(prepared, SeqCst);
    // SAFETY: the kernel gives page 0 to nobody; the code and what it is told fit into it.
    unsafe {
        let length = (&raw const START_END).offset_from(&raw const START) as usize;
        core::ptr::copy_nonoverlapping(&raw const START, page as *mut u8, length);
        debug_assert!(length <= TOLD);
        ((page + TOLD) as *mut Told).write(told);
    }
    let interrupts = super::irq::off();
    apic::init();
    local::this().apic.set(apic::own_id());
    apic::start_others(0);
    super::irq::restore(interrupts);
    match others - prepared {
        0 => Ok(()),
        missing => Err((missing, MEMORY)),
    }
}

/// Makes a place for a processor; `false` when memory is short.
fn prepare(number: u32, scheduler: NonNull<()>) -> bool {
    // SAFETY: the layout has a size.
    let place = unsafe { alloc_zeroed(Layout::new::<Processor>()) }.cast::<Processor>();
    if place.is_null() {
        return false;
    }
    // SAFETY: fresh memory for it. The stack, zeros, is as it should be.
    unsafe {
        (&raw mut (*place).local).write(Local::new(number));
        (*place).local.scheduler.set(scheduler.as_ptr());
        heap::begin(&(*place).local);
    }
    PLACES[number as usize - 1].store(place, Relaxed);
    true
}

/// The first instructions in the kernel proper: takes a place, and its stack.
#[unsafe(naked)]
unsafe extern "C" fn enter() -> ! {
    core::arch::naked_asm!(
        "mov eax, 1",
        "lock xadd [rip + {taken}], eax",
        "cmp eax, [rip + {prepared}]",
        "jae 2f",
        "lea rdi, [rip + {places}]",
        "mov rdi, [rdi + 8 * rax]",
        "lea rsp, [rdi + {size}]",
        "xor ebp, ebp",
        "call {begin}",
        // More processors than were told of.
        "2:",
        "hlt",
        "jmp 2b",
        taken = sym TAKEN,
        prepared = sym PREPARED,
        places = sym PLACES,
        size = const size_of::<Processor>(),
        begin = sym begin,
    )
}

extern "C" fn begin(place: &'static Processor) -> ! {
    // SAFETY: the kernel's tables, which have the running code and this stack as the temporary ones have.
    unsafe { paging::switch_to(ROOT.load(Relaxed)) };
    place.local.install(place.stack.top());
    trap::load();
    cpu::init();
    apic::enable();
    place.local.apic.set(apic::own_id());
    place.local.publish();
    // What was taken away between the switch and now.
    super::tlb::flush_own();
    // SAFETY: `start` has stored a `Main`.
    let main: Main = unsafe { core::mem::transmute(MAIN.load(Relaxed)) };
    main()
}

const _: () = assert!(offset_of!(Processor, stack) + size_of::<Stack>() == size_of::<Processor>());
