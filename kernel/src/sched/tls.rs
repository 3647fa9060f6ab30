//! The block of thread-local data (TLS variant II: Drepper, "ELF Handling For Thread-Local Storage").

use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hermit_entry::boot_info::TlsInfo;

/// What the thread pointer points to.
#[repr(C)]
struct Control {
    /// The thread pointer itself, as the ABI wants it.
    own: usize,
    /// A word for `std-shim`: the number of the thread's last error.
    word: i32,
}

static START: AtomicUsize = AtomicUsize::new(0);
static FILE_SIZE: AtomicUsize = AtomicUsize::new(0);
static SIZE: AtomicUsize = AtomicUsize::new(0);
static ALIGN: AtomicUsize = AtomicUsize::new(1);

/// Names the image's template, which every thread starts with a copy of.
pub fn init(template: TlsInfo) {
    START.store(template.start as usize, Relaxed);
    FILE_SIZE.store(template.filesz as usize, Relaxed);
    SIZE.store(template.memsz as usize, Relaxed);
    ALIGN.store((template.align as usize).max(1), Relaxed);
}

/// Bytes that [`install`] takes of a stack, at most.
#[must_use]
pub fn size() -> usize {
    let align = ALIGN.load(Relaxed).max(64);
    SIZE.load(Relaxed).next_multiple_of(align) + 2 * align + size_of::<Control>()
}

/// Lays a thread's block below `top`; gives the thread pointer and what is left of the stack.
///
/// # Safety
///
/// [`size`] bytes below `top` are writable and belong to the thread.
#[must_use]
pub unsafe fn install(top: usize) -> (usize, usize) {
    let (size, file_size) = (SIZE.load(Relaxed), FILE_SIZE.load(Relaxed));
    let align = ALIGN.load(Relaxed);
    let pointer = (top - size_of::<Control>()) & !(align.max(64) - 1);
    let start = pointer - size.next_multiple_of(align);
    // SAFETY: inside the bytes that the caller vouches for; the template is a part of the image.
    unsafe {
        ptr::copy_nonoverlapping(
            START.load(Relaxed) as *const u8,
            start as *mut u8,
            file_size,
        );
        ptr::write_bytes((start + file_size) as *mut u8, 0, size - file_size);
        (pointer as *mut Control).write(Control {
            own: pointer,
            word: 0,
        });
    }
    (pointer, start & !15)
}

/// The running thread's word for `std-shim`.
#[must_use]
pub fn word() -> i32 {
    let word: i32;
    // SAFETY: FS points to the running thread's `Control` from its start on.
    unsafe {
        core::arch::asm!("mov {:e}, fs:[8]", out(reg) word, options(nostack, preserves_flags, readonly))
    };
    word
}

/// Sets the running thread's word for `std-shim`.
pub fn set_word(word: i32) {
    // SAFETY: as in `word`.
    unsafe {
        core::arch::asm!("mov fs:[8], {:e}", in(reg) word, options(nostack, preserves_flags))
    };
}
