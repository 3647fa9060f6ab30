//! The running processor's store of small objects, without a lock and with interrupts as they are.
//!
//! Both functions are restartable sequences (Linux, `rseq(2)`): what they do shows only when their last
//! store is done. An interrupt that comes before lets them begin anew ([`restart`]), perhaps on another
//! processor, so that they never act on what has changed meanwhile.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::local::Local;
use super::trap::Frame;
use crate::mm::cache::{LARGEST, LARGEST_ALIGN, Object};
use crate::mm::heap;

const STORE: usize = offset_of!(Local, objects);
const NEXT: usize = offset_of!(Object, next);
const ROOM: usize = offset_of!(Object, room);

/// Other names of what follows: those that a program calls it by, without so much as a jump in between.
macro_rules! names {
    ($($name:literal),*) => {
        concat!($(".globl ", $name, "\n.type ", $name, ", @function\n", $name, ":\n"),*)
    };
}

/// Allocates `size` bytes: an object of [`crate::mm::cache`], or else what [`heap::allocate_slowly`] gives.
#[unsafe(naked)]
pub extern "C" fn allocate(size: usize, align: usize) -> *mut u8 {
    naked_asm!(
        names!("sys_alloc", "sys_malloc"),
        "lea rdx, [rdi + 15]",
        "shr rdx, 4",
        "cmp rdi, {largest}",
        "ja {slowly}",
        "cmp rsi, {align}",
        "ja {slowly}",
        ".globl skete_objects_take",
        "skete_objects_take:",
        "mov rax, gs:[rdx * 8 + {store}]",
        "mov rcx, [rax + {next}]",
        "test rcx, rcx",
        "jz {slowly}",
        "mov gs:[rdx * 8 + {store}], rcx",
        ".globl skete_objects_taken",
        "skete_objects_taken:",
        "ret",
        largest = const LARGEST,
        align = const LARGEST_ALIGN,
        store = const STORE,
        next = const NEXT,
        slowly = sym heap::allocate_slowly,
    )
}

/// Gives memory back, to [`crate::mm::cache`] or else by [`heap::free_slowly`].
///
/// # Safety
///
/// As for `GlobalAlloc::dealloc`.
#[unsafe(naked)]
pub unsafe extern "C" fn free(pointer: *mut u8, size: usize, align: usize) {
    naked_asm!(
        names!("sys_dealloc", "sys_free"),
        "lea r8, [rsi + 15]",
        "shr r8, 4",
        "cmp rsi, {largest}",
        "ja {slowly}",
        "cmp rdx, {align}",
        "ja {slowly}",
        ".globl skete_objects_store",
        "skete_objects_store:",
        "mov rax, gs:[r8 * 8 + {store}]",
        "mov ecx, [rax + {room}]",
        "sub ecx, 1",
        "jb {slowly}",
        "mov [rdi + {next}], rax",
        "mov [rdi + {room}], ecx",
        "mov gs:[r8 * 8 + {store}], rdi",
        ".globl skete_objects_stored",
        "skete_objects_stored:",
        "ret",
        largest = const LARGEST,
        align = const LARGEST_ALIGN,
        store = const STORE,
        next = const NEXT,
        room = const ROOM,
        slowly = sym heap::free_slowly,
    )
}

unsafe extern "C" {
    /// Where [`allocate`] begins what it has to do at one go.
    #[link_name = "skete_objects_take"]
    static TAKE: u8;
    /// Where it is done.
    #[link_name = "skete_objects_taken"]
    static TAKEN: u8;
    /// The same for [`free`].
    #[link_name = "skete_objects_store"]
    static STORE_BEGIN: u8;
    #[link_name = "skete_objects_stored"]
    static STORED: u8;
}

/// Lets what was interrupted begin anew, if it was one of the functions above and not done. What they
/// begin with is in registers that they do not change.
#[inline]
pub fn restart(frame: &mut Frame) {
    let parts = [
        (&raw const TAKE as u64, &raw const TAKEN as u64),
        (&raw const STORE_BEGIN as u64, &raw const STORED as u64),
    ];
    for (start, done) in parts {
        if (start..done).contains(&frame.rip) {
            frame.rip = start;
        }
    }
}
