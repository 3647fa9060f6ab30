//! The block of thread-local data (TLS variant II: Drepper, "ELF Handling For Thread-Local Storage").

use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hermit_entry::boot_info::TlsInfo;

/// What the thread pointer points to: the start of the thread's record.
#[derive(Debug)]
#[repr(C)]
pub struct Control {
    /// The thread pointer itself, as the ABI wants it.
    own: usize,
    /// A word for `std-shim`: the number of the thread's last error.
    word: i32,
}

impl Control {
    /// To be filled by [`install`].
    pub const EMPTY: Control = Control { own: 0, word: 0 };
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

/// Bytes that [`place`] takes of a stack for a record of `record` bytes, at most.
#[must_use]
pub fn size(record: usize) -> usize {
    let align = ALIGN.load(Relaxed).max(64);
    SIZE.load(Relaxed).next_multiple_of(align) + 2 * align + record
}

/// Where a thread's record of `record` bytes goes below `top`, and where its stack ends.
#[must_use]
pub fn place(top: usize, record: usize) -> (usize, usize) {
    let align = ALIGN.load(Relaxed);
    let pointer = (top - record) & !(align.max(64) - 1);
    let start = pointer - SIZE.load(Relaxed).next_multiple_of(align);
    (pointer, start & !15)
}

/// Fills the block below a thread's record, and the record's [`Control`].
///
/// # Safety
///
/// [`place`] has given `pointer`; what it laid out is writable and belongs to the thread.
pub unsafe fn install(pointer: usize) {
    let (size, file_size) = (SIZE.load(Relaxed), FILE_SIZE.load(Relaxed));
    let start = pointer - size.next_multiple_of(ALIGN.load(Relaxed));
    // SAFETY: inside the bytes that the caller vouches for; the template is a part of the image.
    unsafe {
        ptr::copy_nonoverlapping(START.load(Relaxed) as *const u8, start as *mut u8, file_size);
        ptr::write_bytes((start + file_size) as *mut u8, 0, size - file_size);
        (pointer as *mut Control).write(Control { own: pointer, word: 0 });
    }
}

/// The thread pointer.
#[inline(always)]
#[must_use]
pub fn pointer() -> usize {
    let pointer: usize;
    // SAFETY: FS points to a `Control` from the scheduler's `init` on. It is another one when the thread
    // is, and the asker is then one too.
    unsafe {
        core::arch::asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, pure, readonly))
    };
    pointer
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
