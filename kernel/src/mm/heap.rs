//! The heap: what `alloc` and `dealloc` of the program and of the kernel itself come to.
//!
//! | size | where it comes from |
//! | --- | --- |
//! | up to 1 KiB | the processor's [`cache`](super::cache) of what was freed last |
//! | up to 8 KiB | [`spans`](super::spans): size classes |
//! | up to 128 KiB | a run of frames in the direct map |
//! | above, or when no run is free | an [`area`](super::area): filled as it is touched, grown without copying |
//!
//! Everything goes back to the frames when it is freed. Nothing here panics for want of memory.

#![cfg(any(target_os = "none", skete_lint_arch))]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use super::area::{self, Kind};
use super::cache::{self, Cache};
use super::frames::{self, FRAME};
use super::spans::{Source, Spans};
use crate::arch::{self, irq};
use crate::sync::Lock;

/// The longest run of frames that is used as one allocation.
const LONGEST_RUN: usize = 32 * FRAME;

static SPANS: Lock<Spans> = Lock::new(Spans::new());

struct Frames;

impl Source for Frames {
    fn allocate(&mut self, count: usize) -> Option<NonNull<u8>> {
        NonNull::new(arch::direct(frames::allocate(count)?) as *mut u8)
    }

    fn free(&mut self, address: NonNull<u8>, count: usize) {
        frames::free(address.as_ptr() as usize - arch::DIRECT_MAP, count);
    }
}

/// The one processor's cache.
struct Own(UnsafeCell<Cache>);

// SAFETY: only `with_cache` reaches it.
unsafe impl Sync for Own {}

static CACHE: Own = Own(UnsafeCell::new(Cache::new()));

/// Does something with this processor's cache, a few instructions long.
#[inline(always)]
fn with_cache<T>(work: impl FnOnce(&mut Cache) -> T) -> T {
    let interrupts = irq::off();
    // SAFETY: with interrupts off, nothing else runs on the processor whose cache it is; `work` does not
    // come back here.
    let result = work(unsafe { &mut *CACHE.0.get() });
    irq::restore(interrupts);
    result
}

/// Allocates `size` bytes; null when memory is short.
#[inline(never)]
#[must_use]
pub fn allocate(size: usize, align: usize) -> *mut u8 {
    if let Some(class) = cache::class(size, align)
        && let Some(object) = with_cache(|cache| cache.take(class))
    {
        return object.as_ptr();
    }
    allocate_uncached(size, align)
}

#[inline(never)]
fn allocate_uncached(size: usize, align: usize) -> *mut u8 {
    if !Spans::serves(size, align) {
        return allocate_large(size, align).0;
    }
    let mut spans = SPANS.lock();
    for last in [false, true] {
        if let Some(object) = spans.allocate(size, align, &mut Frames) {
            return object.as_ptr();
        }
        if !last {
            // What is kept for other sizes may be all that is left.
            with_cache(|cache| {
                cache.empty(|object, size| {
                    // SAFETY: a free object of that size.
                    unsafe { spans.free(object, size, 1, &mut Frames) };
                });
            });
        }
    }
    ptr::null_mut()
}

/// Allocates `size` bytes of zeros; null when memory is short.
#[must_use]
pub fn allocate_zeroed(size: usize, align: usize) -> *mut u8 {
    let (pointer, zeroed) = if Spans::serves(size, align) {
        (allocate(size, align), false)
    } else {
        allocate_large(size, align)
    };
    if !pointer.is_null() && !zeroed {
        // SAFETY: `size` bytes were just allocated.
        unsafe { pointer.write_bytes(0, size) };
    }
    pointer
}

/// Memory beyond the spans, and whether it is known to be zero.
#[cold]
fn allocate_large(size: usize, align: usize) -> (*mut u8, bool) {
    if size <= LONGEST_RUN
        && align <= FRAME
        && let Some(frame) = frames::allocate(size.div_ceil(FRAME))
    {
        return (arch::direct(frame) as *mut u8, false);
    }
    match area::allocate(size, align, Kind::Heap) {
        Ok(start) => (start as *mut u8, true),
        Err(_) => (ptr::null_mut(), false),
    }
}

/// Gives memory back.
///
/// # Safety
///
/// As for `GlobalAlloc::dealloc`.
#[inline(never)]
pub unsafe fn free(pointer: *mut u8, size: usize, align: usize) {
    if let Some(class) = cache::class(size, align)
        && let Some(object) = NonNull::new(pointer)
        // SAFETY: vouched for by the caller.
        && with_cache(|cache| unsafe { cache.put(class, object) })
    {
        return;
    }
    // SAFETY: as above.
    unsafe { free_uncached(pointer, size, align) }
}

/// # Safety
///
/// As for `GlobalAlloc::dealloc`.
#[inline(never)]
unsafe fn free_uncached(pointer: *mut u8, size: usize, align: usize) {
    let address = pointer as usize;
    if area::contains(address) {
        area::free(address).expect("an allocation to free");
    } else if Spans::serves(size, align) {
        let mut spans = SPANS.lock();
        if let Some(class) = cache::class(size, align) {
            with_cache(|cache| {
                cache.halve(class, |object| {
                    // SAFETY: a free object of the same class.
                    unsafe { spans.free(object, size, align, &mut Frames) };
                });
            });
        }
        // SAFETY: vouched for by the caller; a null pointer is no allocation.
        unsafe { spans.free(NonNull::new_unchecked(pointer), size, align, &mut Frames) };
    } else {
        frames::free(address - arch::DIRECT_MAP, size.div_ceil(FRAME));
    }
}

/// Changes the size of an allocation. Null when memory is short: it is as it was.
///
/// # Safety
///
/// As for `GlobalAlloc::realloc`.
pub unsafe fn resize(pointer: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
    let address = pointer as usize;
    if area::contains(address) {
        if new_size > LONGEST_RUN {
            return area::resize(address, new_size, align)
                .map_or(ptr::null_mut(), |start| start as *mut u8);
        }
    } else if Spans::serves(size, align) {
        if Spans::serves(new_size, align) && Spans::same_class(size, align, new_size) {
            return pointer;
        }
    } else if size.div_ceil(FRAME) == new_size.div_ceil(FRAME) {
        return pointer;
    }
    let moved = allocate(new_size, align);
    if !moved.is_null() {
        // SAFETY: two live allocations, the shorter length of them; the old one is the caller's.
        unsafe {
            ptr::copy_nonoverlapping(pointer, moved, size.min(new_size));
            free(pointer, size, align);
        }
    }
    moved
}

/// The allocator of the kernel's own boxes and vectors.
#[derive(Debug)]
pub struct Heap;

// SAFETY: the functions above keep the contract of `GlobalAlloc`.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocate(layout.size(), layout.align())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: vouched for by the caller.
        unsafe { free(pointer, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: vouched for by the caller.
        unsafe { resize(pointer, layout.size(), layout.align(), new_size) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocate_zeroed(layout.size(), layout.align())
    }
}

#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: Heap = Heap;
