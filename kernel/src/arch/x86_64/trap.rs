//! Exceptions and interrupts: the way in, and what a fault prints.

use core::arch::{asm, naked_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::gdt::{EXCEPTION_STACK, INTERRUPT_STACK, LAST_RESORT_STACK};
use super::{apic, local, objects, power, tlb, vectors};
use crate::boot::status;
use crate::debug::Line;
use crate::debug::backtrace::{self, Callers, Style};
use crate::{console, mm, sched};

/// The registers of the code that was interrupted, as they lie on the handler's stack.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "registers by their own names")]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Number of vectors that have an entry here: the processor's 32, then the kernel's own interrupts.
const VECTORS: usize = 48;
/// Number of vectors that the table has room for. Those from [`VECTORS`] on are for devices
/// ([`super::vectors`]).
const GATES: usize = VECTORS + vectors::COUNT;
/// The first vector of [`super::vectors`].
pub const FIRST_DEVICE: u8 = VECTORS as u8;
/// The first interrupt vector.
pub const FIRST_INTERRUPT: u8 = 32;
/// The timer of the local APIC.
pub const TIMER: u8 = FIRST_INTERRUPT;
/// COM1.
pub const SERIAL: u8 = FIRST_INTERRUPT + 4;
/// Another processor asks for attention.
pub const CALL: u8 = FIRST_INTERRUPT + 1;
/// The local APIC's spurious interrupt; its lowest four bits are set, as old models ask for.
pub const SPURIOUS: u8 = 47;

const PAGE_FAULT: u64 = 14;
const DOUBLE_FAULT: u64 = 8;
const INVALID_OPCODE: u64 = 6;

/// Exceptions for which the processor pushes an error code.
const WITH_ERROR: u32 = 1 << 8 | 0x7c00 | 1 << 17 | 1 << 21 | 3 << 29;

/// Bytes of code for each vector in [`ENTRIES`].
pub(super) const ENTRY_SIZE: usize = 16;

core::arch::global_asm!(
    ".pushsection .text.skete_trap_entries, \"ax\", @progbits",
    ".balign 16",
    "skete_trap_entries:",
    ".set vector, 0",
    ".rept {vectors}",
    ".balign {size}",
    ".if (vector >= 32) || (({with_error} >> (vector & 31)) & 1) == 0",
    "push 0",
    ".endif",
    "push vector",
    "jmp {common}",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    vectors = const VECTORS,
    size = const ENTRY_SIZE,
    with_error = const WITH_ERROR,
    common = sym common,
);

unsafe extern "C" {
    #[link_name = "skete_trap_entries"]
    static ENTRIES: [[u8; ENTRY_SIZE]; VECTORS];
}

/// Saves the registers of what was interrupted, handles, continues it.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn common() {
    naked_asm!(
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "push rbp",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rdi, rsp",
        "xor ebp, ebp",
        "call {handle}",
        "jmp {leave}",
        handle = sym handle,
        leave = sym leave,
    )
}

/// Continues what was interrupted.
///
/// # Safety
///
/// Jumped to, not called, with the stack pointer at the [`Frame`] of what was interrupted.
#[unsafe(naked)]
pub unsafe extern "C" fn leave() {
    naked_asm!(
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rbp",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
        "add rsp, 16",
        "iretq",
    )
}

struct Table(UnsafeCell<[[u64; 2]; GATES]>);

// SAFETY: written by `init`, before interrupts are on or a second processor runs, and by `set_gate`,
// whose caller sees to it that nobody looks at the gate.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([[0; 2]; GATES]));

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Fills the interrupt descriptor table, and loads it on the first processor.
pub fn init() {
    let entries = &raw const ENTRIES as u64;
    for vector in 0..VECTORS {
        let entry = entries + (vector * ENTRY_SIZE) as u64;
        let stack = match vector {
            2 | 8 | 18 => LAST_RESORT_STACK,
            0..32 => EXCEPTION_STACK,
            _ => INTERRUPT_STACK,
        };
        // SAFETY: called once, with interrupts off; the entry saves and restores every register.
        unsafe { set_gate(vector, entry, stack) };
    }
    load();
}

/// Lets a vector lead to the code at `entry`, on this stack.
///
/// # Safety
///
/// Nothing interrupts with this vector yet, and the code handles what does.
pub(super) unsafe fn set_gate(vector: usize, entry: u64, stack: u8) {
    let selector: u16;
    // SAFETY: reads a register.
    unsafe { asm!("mov {:x}, cs", out(reg) selector, options(nomem, nostack)) };
    // SDM volume 3, figure 6-8: a present 64-bit interrupt gate.
    let low = entry & 0xffff
        | u64::from(selector) << 16
        | u64::from(stack) << 32
        | 0x8e << 40
        | (entry >> 16 & 0xffff) << 48;
    // SAFETY: nobody looks at the gate, as the caller vouches for.
    unsafe { (*TABLE.0.get())[vector] = [low, entry >> 32] };
}

/// Loads the interrupt descriptor table on the running processor.
pub fn load() {
    let pointer = TablePointer { limit: size_of::<Table>() as u16 - 1, base: TABLE.0.get() as u64 };
    // SAFETY: the table is static, and `init` has filled it.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack)) };
}

extern "C" fn handle(frame: &mut Frame) {
    match frame.vector {
        PAGE_FAULT => {
            let address = x86_64::registers::control::Cr2::read_raw() as usize;
            // A page that is not there yet: bit 0 of the error code is clear.
            if frame.error & 1 == 0 && mm::area::populate(address) {
                return;
            }
            page_fault(frame, address)
        }
        0..32 => fault(frame, exception_name(frame), None),
        vector => interrupt(vector as u8, frame),
    }
}

fn interrupt(vector: u8, frame: &mut Frame) {
    if vector == SPURIOUS {
        return;
    }
    objects::restart(frame);
    sched::interrupted();
    tlb::answer();
    match vector {
        TIMER => sched::timer_interrupt(),
        SERIAL => crate::console::interrupt(),
        // The answer was given, and what there is to do is found now.
        CALL => {}
        vector => vectors::handle(vector),
    }
    // After a device has been seen to: its line, were it still up, would interrupt again.
    apic::end_of_interrupt();
    sched::preempt(frame);
}

fn exception_name(frame: &Frame) -> &'static str {
    match frame.vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid task state segment",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault (a non-canonical address or a privileged operation)",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point error",
        _ => "unexpected exception",
    }
}

fn page_fault(frame: &Frame, address: usize) -> ! {
    let write = frame.error & 2 != 0;
    let execute = frame.error & 16 != 0;
    let present = frame.error & 1 != 0;
    let cause = match mm::area::describe(address) {
        mm::area::Place::StackGuard => "stack overflow",
        mm::area::Place::OutOfMemory => "out of memory: no page is left for",
        _ if address < 0x10_0000 => match (execute, write) {
            (true, _) => "null pointer: call of",
            (_, true) => "null pointer: write to",
            _ => "null pointer: read of",
        },
        _ if execute && present => "execute non-executable memory at",
        _ if execute => "execute unmapped memory at",
        _ if write && present => "write to read-only memory at",
        _ if write => "write to unmapped memory at",
        _ => "read of unmapped memory at",
    };
    fault(frame, cause, Some(address))
}

/// Tells what happened, where and in which thread, and ends the machine.
fn fault(frame: &Frame, cause: &str, address: Option<usize>) -> ! {
    /// The processor whose fault is being told, counted from 1.
    static TELLING: AtomicU32 = AtomicU32::new(0);
    static FAULTS: AtomicU32 = AtomicU32::new(0);
    let own = local::this().number + 1;
    if let Err(other) = TELLING.compare_exchange(0, own, Relaxed, Relaxed)
        && other != own
    {
        // The first fault is told, and ends the machine.
        super::halt();
    }
    match FAULTS.fetch_add(1, Relaxed) {
        0 => {}
        1 => {
            Line::new()
                .text("skete: a second fault while the first was being told, at ")
                .hex(frame.rip)
                .end();
            power::end(status::KERNEL_BUG);
        }
        // Telling is what fails.
        _ => power::end(status::KERNEL_BUG),
    }
    let callers = Callers { frame_pointer: frame.rbp as usize };
    let (cause, status) =
        match frame.vector == INVALID_OPCODE && backtrace::is_kernel(frame.rip as usize, callers) {
            true => ("bug in the kernel, which panicked", status::KERNEL_BUG),
            false => (cause, status::FAULT),
        };
    let mut line = Line::new();
    line.text("skete: ").text(cause);
    if let Some(address) = address {
        line.text(if cause == "stack overflow" { ": access to " } else { " " }).hex(address as u64);
    }
    if frame.vector == DOUBLE_FAULT || frame.error != 0 && address.is_none() {
        line.text(" (error code ").hex(frame.error).text(")");
    }
    line.text(" at ").hex(frame.rip).text(" in thread ");
    sched::describe_current(&mut line);
    line.end();

    let registers = [
        ("rax", frame.rax),
        ("rbx", frame.rbx),
        ("rcx", frame.rcx),
        ("rdx", frame.rdx),
        ("rsi", frame.rsi),
        ("rdi", frame.rdi),
        ("rbp", frame.rbp),
        ("rsp", frame.rsp),
        ("r8 ", frame.r8),
        ("r9 ", frame.r9),
        ("r10", frame.r10),
        ("r11", frame.r11),
        ("r12", frame.r12),
        ("r13", frame.r13),
        ("r14", frame.r14),
        ("r15", frame.r15),
        ("rip", frame.rip),
        ("flags", frame.rflags),
    ];
    for row in registers.chunks(4) {
        let mut line = Line::new();
        for (name, value) in row {
            line.text("  ").text(name).text(" ").hex16(*value);
        }
        line.end();
    }
    backtrace::print(Some(frame.rip as usize), callers, Style::Fault, &mut console::write_error);
    power::end(status)
}

/// Prints the stack of the caller.
pub fn print_own_stack() {
    let frame_pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack)) };
    print_stack(frame_pointer);
}

/// Prints the stack that a frame pointer leads to.
pub fn print_stack(frame_pointer: usize) {
    let callers = Callers { frame_pointer };
    backtrace::print(None, callers, Style::Fault, &mut console::write_error);
}
