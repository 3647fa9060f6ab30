//! Segments, and the stacks that traps and interrupts switch to.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Stack of page faults and every other exception (interrupt stack table, entry 1).
pub const EXCEPTION_STACK: u8 = 1;
/// Stack of double faults, machine checks and non-maskable interrupts (entry 2).
pub const LAST_RESORT_STACK: u8 = 2;
/// Stack of device interrupts (entry 3).
pub const INTERRUPT_STACK: u8 = 3;

/// Bytes in a stack.
pub const STACK_SIZE: usize = 8 * 1024;

/// A stack for a processor.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Stack(UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: only the processor writes to it, and the handlers that it starts there.
unsafe impl Sync for Stack {}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Stack {
    /// Zeros.
    #[must_use]
    pub const fn new() -> Stack {
        Stack(UnsafeCell::new([0; STACK_SIZE]))
    }

    /// Its end.
    #[must_use]
    pub fn top(&self) -> usize {
        self.0.get() as usize + STACK_SIZE
    }
}

/// The stack on which the kernel starts. Interrupts have it after that, and what runs when no thread
/// does.
pub static BOOT_STACK: Stack = Stack::new();

/// The descriptor tables of a processor, and its stacks for exceptions.
#[derive(Debug)]
pub struct Tables {
    gdt: UnsafeCell<MaybeUninit<GlobalDescriptorTable<5>>>,
    tss: UnsafeCell<MaybeUninit<TaskStateSegment>>,
    exceptions: Stack,
    last_resort: Stack,
}

impl Tables {
    /// Tables that are not in use: all zero, so that they take no room in an image.
    #[must_use]
    pub const fn new() -> Tables {
        Tables {
            gdt: UnsafeCell::new(MaybeUninit::zeroed()),
            tss: UnsafeCell::new(MaybeUninit::zeroed()),
            exceptions: Stack::new(),
            last_resort: Stack::new(),
        }
    }

    /// Loads the kernel's segments and a task state segment. `stack` is the top of the stack for
    /// interrupts.
    pub(super) fn load(&'static self, stack: usize) {
        // SAFETY: called once, by the processor whose tables these are, with interrupts off.
        unsafe {
            let tss = (*self.tss.get()).write(TaskStateSegment::new());
            let tops = [self.exceptions.top(), self.last_resort.top(), stack];
            for (entry, top) in tops.into_iter().enumerate() {
                tss.interrupt_stack_table[entry] = VirtAddr::new(top as u64);
            }
            let gdt = (*self.gdt.get()).write(GlobalDescriptorTable::empty());
            let code = gdt.append(Descriptor::kernel_code_segment());
            let data = gdt.append(Descriptor::kernel_data_segment());
            let task = gdt.append(Descriptor::tss_segment(&*tss));
            gdt.load_unsafe();
            CS::set_reg(code);
            SS::set_reg(data);
            DS::set_reg(SegmentSelector(0));
            ES::set_reg(SegmentSelector(0));
            load_tss(task);
        }
    }
}
