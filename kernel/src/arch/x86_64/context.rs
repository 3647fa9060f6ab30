//! Switching between threads.
//!
//! A thread that is not running is one address: the top of its stack, where [`switch`] left it. The
//! kernel uses no vector register, and a call lets the callee clobber them all, so a thread that
//! gives up the processor by a call keeps only the callee-saved registers and the two control words
//! (System V ABI, 3.2.3). A thread that an interrupt takes the processor from keeps everything, in
//! a [`Preempted`] block that looks to `switch` like a stack.

use alloc::alloc::{Layout, alloc, dealloc};
use core::arch::{asm, naked_asm};
use core::ptr::NonNull;

use super::cpu::{self, Feature};
use super::trap::Frame;

/// MXCSR and x87 control word of a new thread: all exceptions masked, 64-bit precision.
const CONTROL_WORDS: u64 = 0x037f << 32 | 0x1f80;

/// What [`switch`] keeps on a stack.
#[repr(C)]
struct Saved {
    control_words: u64,
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbx: u64,
    rbp: u64,
    rip: u64,
}

/// Puts what [`Saved`] has onto the stack, and where that is to where RDI points.
macro_rules! save {
    () => {
        "push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        sub rsp, 8
        stmxcsr [rsp]
        fnstcw [rsp + 4]
        mov [rdi], rsp"
    };
}

/// Saves the running thread's state under `previous` and continues the thread saved under `next`, as soon
/// as it is: what is there may still be 0, while another processor is about to save it. It is 0 again
/// when the thread runs.
///
/// # Safety
///
/// Interrupts are off. What is, or will be, saved under `next` comes from `switch`, [`prepare`] or
/// [`Preempted::save`], nobody else continues it, and the stack it lies on is live. `previous` stays valid
/// until the thread continues.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(previous: *mut usize, next: *mut usize) {
    naked_asm!(
        save!(),
        "mov rdi, rsi",
        "jmp {resume}",
        resume = sym resume,
    )
}

/// Saves the running thread's state under `previous` and goes on with `run` at the top of a stack.
///
/// # Safety
///
/// As for [`switch`]; nobody else uses the stack.
#[unsafe(naked)]
pub unsafe extern "C" fn switch_to_idle(
    previous: *mut usize,
    top: usize,
    run: extern "C" fn() -> !,
) {
    naked_asm!(
        save!(),
        "mov rdi, rsi",
        "mov rsi, rdx",
        "jmp {idle}",
        idle = sym idle,
    )
}

/// Goes on with `run` at the top of a stack; what runs is given up.
///
/// # Safety
///
/// Interrupts are off; nobody else uses the stack.
#[unsafe(naked)]
pub unsafe extern "C" fn idle(top: usize, run: extern "C" fn() -> !) -> ! {
    naked_asm!("mov rsp, rdi", "xor ebp, ebp", "call rsi", "ud2")
}

/// The frame pointer of a thread that has left the processor by [`switch`], for its stack to be shown.
#[must_use]
pub fn frame_pointer(context: usize) -> usize {
    if context == 0 {
        return 0;
    }
    // SAFETY: where a thread goes on that does not run.
    unsafe { (*(context as *const Saved)).rbp as usize }
}

/// Continues the thread saved under `next`, as [`switch`] does; the running one is given up.
///
/// # Safety
///
/// As for [`switch`].
#[unsafe(naked)]
pub unsafe extern "C" fn resume(next: *mut usize) -> ! {
    naked_asm!(
        "2:",
        "mov rax, [rdi]",
        "test rax, rax",
        "jz 3f",
        "mov qword ptr [rdi], 0",
        "mov rsp, rax",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        "3:",
        "pause",
        "jmp 2b",
    )
}

/// Prepares a stack on which `entry(argument)` starts when [`switch`] first comes to it. `top` is
/// the end of the stack.
///
/// # Safety
///
/// The 128 bytes below `top` are writable and belong to the new thread.
#[must_use]
pub unsafe fn prepare(top: usize, entry: extern "C" fn(usize) -> !, argument: usize) -> usize {
    let saved = (top & !0xf) - 16 - size_of::<Saved>();
    // SAFETY: lies in the 128 bytes that the caller vouches for, aligned to 16.
    unsafe {
        (saved as *mut Saved).write(Saved {
            control_words: CONTROL_WORDS,
            r15: 0,
            r14: 0,
            r13: 0,
            r12: argument as u64,
            rbx: entry as usize as u64,
            rbp: 0,
            rip: first_frame as *const () as u64,
        });
    }
    saved
}

/// Continues on another stack for good.
///
/// # Safety
///
/// As for [`prepare`]; nothing on the current stack is needed any more.
pub unsafe fn enter(top: usize, entry: extern "C" fn(usize) -> !, argument: usize) -> ! {
    // SAFETY: vouched for by the caller.
    let mut context = unsafe { prepare(top, entry, argument) };
    // SAFETY: `prepare` has just written it; the caller vouches for the stack.
    unsafe { resume(&raw mut context) }
}

/// The outermost frame of a thread: where stack traces end.
#[unsafe(naked)]
extern "C" fn first_frame() -> ! {
    naked_asm!("mov rdi, r12", "xor ebp, ebp", "call rbx", "ud2")
}

/// Everything that an interrupted thread has in registers.
#[derive(Debug)]
pub struct Preempted(NonNull<Block>);

#[repr(C, align(64))]
struct Block {
    saved: Saved,
    frame: Frame,
    // The vector registers follow, at the next multiple of 64.
}

// SAFETY: a plain block of memory, owned.
unsafe impl Send for Preempted {}

const VECTORS: usize = size_of::<Block>();

impl Preempted {
    fn layout() -> Layout {
        let size = VECTORS + cpu::vector_state_size();
        Layout::from_size_align(size, 64).expect("a few KiB")
    }

    /// A block for one thread; `None` when memory is short.
    #[must_use]
    pub fn new() -> Option<Preempted> {
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { alloc(Self::layout()) })?;
        // SAFETY: freshly allocated. The header of an XSAVE area must be zero before its first use
        // (SDM volume 1, 13.4.2).
        unsafe { block.write_bytes(0, Self::layout().size()) };
        Some(Preempted(block.cast()))
    }

    /// Takes over the state of the thread that `frame` interrupted and that still has its vector
    /// registers loaded. Gives what [`switch`] takes to continue it.
    #[must_use]
    pub fn save(&mut self, frame: &Frame) -> usize {
        let block = self.0.as_ptr();
        let vectors = block as usize + VECTORS;
        // SAFETY: the block has room for the frame and, behind it, for the vector registers at an
        // address that is a multiple of 64.
        unsafe {
            (*block).frame = *frame;
            (*block).saved.control_words = CONTROL_WORDS;
            if cpu::has(Feature::Xsave) {
                (*block).saved.rip = continue_xsave as *const () as u64;
                asm!("xsave64 [{}]", in(reg) vectors, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else {
                (*block).saved.rip = continue_fxsave as *const () as u64;
                asm!("fxsave64 [{}]", in(reg) vectors, options(nostack));
            }
        }
        block as usize
    }
}

impl Drop for Preempted {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, which is constant after boot.
        unsafe { dealloc(self.0.as_ptr().cast(), Self::layout()) };
    }
}

/// Where [`resume`] goes for a preempted thread: the stack pointer is at `Block::frame`.
#[unsafe(naked)]
unsafe extern "C" fn continue_xsave() -> ! {
    naked_asm!(
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [rsp + {vectors}]",
        "jmp {leave}",
        vectors = const VECTORS - core::mem::offset_of!(Block, frame),
        leave = sym super::trap::leave,
    )
}

#[unsafe(naked)]
unsafe extern "C" fn continue_fxsave() -> ! {
    naked_asm!(
        "fxrstor64 [rsp + {vectors}]",
        "jmp {leave}",
        vectors = const VECTORS - core::mem::offset_of!(Block, frame),
        leave = sym super::trap::leave,
    )
}
