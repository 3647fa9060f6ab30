//! What belongs to one processor, reached through GS.

use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst,
};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;

use super::gdt;
use crate::mm::cache::Cache;

/// The most processors that are made use of.
pub const MOST: usize = 64;

/// A processor's own data.
#[derive(Debug)]
#[repr(C)]
pub struct Local {
    own: Cell<*const Local>,
    /// The top of the stack that it starts, idles and handles interrupts on.
    pub stack: Cell<usize>,
    /// Processors are numbered in the order in which they come up; the first is 0.
    pub number: u32,
    /// What interrupts from other processors are sent to.
    pub apic: Cell<u32>,
    /// Odd while it has nothing to do; counts up with every change.
    pub idle: AtomicU32,
    /// It waits for an interrupt, or is just about to.
    pub halted: AtomicBool,
    /// The last of [`super::tlb`]'s requests that it has answered.
    pub flushed: AtomicU64,
    /// Small objects of the heap.
    pub objects: UnsafeCell<Cache>,
    /// The scheduler's data about it.
    pub scheduler: Cell<*const ()>,
    /// Its descriptor tables and stacks for traps.
    pub tables: gdt::Tables,
}

// SAFETY: other processors use the atomics only, and the cells that are written before the processor
// is in the table.
unsafe impl Sync for Local {}

/// The first processor.
static FIRST: Local = Local::new(0);
static ALL: [AtomicPtr<Local>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];
static COUNT: AtomicU32 = AtomicU32::new(1);

impl Local {
    /// A processor that has not started. Nothing but its number is not zero.
    #[must_use]
    pub const fn new(number: u32) -> Local {
        Local {
            own: Cell::new(ptr::null()),
            stack: Cell::new(0),
            number,
            apic: Cell::new(0),
            idle: AtomicU32::new(0),
            halted: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
            objects: UnsafeCell::new(Cache::new()),
            scheduler: Cell::new(ptr::null()),
            tables: gdt::Tables::new(),
        }
    }

    /// True while the processor has nothing to do.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle.load(SeqCst) & 1 != 0
    }

    /// Makes this the running processor's, with its descriptor tables. `stack` is the top of its stack.
    pub(super) fn install(&'static self, stack: usize) {
        self.own.set(self);
        self.stack.set(stack);
        self.tables.load(stack);
        GsBase::write(VirtAddr::from_ptr(self));
    }

    /// Lets the others know the running processor.
    pub(super) fn publish(&'static self) {
        ALL[self.number as usize].store(ptr::from_ref(self).cast_mut(), SeqCst);
        COUNT.fetch_add(u32::from(self.number > 0), SeqCst);
    }
}

/// Names the first processor.
pub(super) fn init() {
    FIRST.install(gdt::BOOT_STACK.top());
    FIRST.publish();
}

/// The running processor. Interrupts must be off for as long as the answer has to stay true.
#[inline(always)]
#[must_use]
pub fn this() -> &'static Local {
    let own: *const Local;
    // SAFETY: GS points to the processor's `Local` from the start on, whose first word is its address.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) own, options(nostack, preserves_flags, pure, readonly));
        &*own
    }
}

/// How many processors run.
#[inline]
#[must_use]
pub fn online() -> u32 {
    COUNT.load(Relaxed)
}

/// The processor with this number, if it runs.
#[inline]
#[must_use]
pub fn get(number: u32) -> Option<&'static Local> {
    // SAFETY: a published processor is never taken back.
    unsafe { ALL.get(number as usize)?.load(SeqCst).as_ref() }
}

/// All processors that run.
pub fn all() -> impl Iterator<Item = &'static Local> {
    (0..MOST as u32).filter_map(get)
}
