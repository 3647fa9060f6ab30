//! Segments, and the stacks that traps and interrupts switch to.

use core::cell::UnsafeCell;

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

const STACK: usize = 8 * 1024;

/// A stack in the image itself.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Stack(UnsafeCell<[u8; STACK]>);

// SAFETY: only the processor writes to it, and the handlers that it starts there.
unsafe impl Sync for Stack {}

struct Tables {
    gdt: UnsafeCell<GlobalDescriptorTable<5>>,
    tss: UnsafeCell<TaskStateSegment>,
}

// SAFETY: written once, by `init`, before a second thread of control exists.
unsafe impl Sync for Tables {}

#[expect(
    clippy::declare_interior_mutable_const,
    reason = "a template for statics"
)]
const EMPTY: Stack = Stack(UnsafeCell::new([0; STACK]));
static EXCEPTIONS: Stack = EMPTY;
static LAST_RESORT: Stack = EMPTY;

/// The stack on which the kernel starts. Interrupts have it after that: they are off until the first thread
/// runs.
pub static BOOT_STACK: Stack = EMPTY;
/// Bytes in [`BOOT_STACK`].
pub const BOOT_STACK_SIZE: usize = STACK;
static TABLES: Tables = Tables {
    gdt: UnsafeCell::new(GlobalDescriptorTable::empty()),
    tss: UnsafeCell::new(TaskStateSegment::new()),
};

/// Loads the kernel's segments and its task state segment.
pub fn init() {
    // SAFETY: called once, on the boot processor, with interrupts off; the tables are static.
    unsafe {
        let tss = &mut *TABLES.tss.get();
        for (entry, stack) in [&EXCEPTIONS, &LAST_RESORT, &BOOT_STACK]
            .into_iter()
            .enumerate()
        {
            let top = stack.0.get() as u64 + STACK as u64;
            tss.interrupt_stack_table[entry] = VirtAddr::new(top);
        }
        let gdt = &mut *TABLES.gdt.get();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        let task = gdt.append(Descriptor::tss_segment(&*TABLES.tss.get()));
        (*TABLES.gdt.get()).load_unsafe();
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(SegmentSelector(0));
        ES::set_reg(SegmentSelector(0));
        load_tss(task);
    }
}
