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
use super::cache::{self, Cache, Ends};
use super::frames::{self, FRAME};
use super::spans::{Source, Spans};
use crate::arch::local::{self, Local};
use crate::arch::{self, irq, objects};
use crate::sync::{Hook, Lock};

/// The longest run of frames that is used as one allocation.
const LONGEST_RUN: usize = 32 * FRAME;

static SPANS: Lock<Spans> = Lock::new(Spans::new());

/// Memory that others keep for later.
#[derive(Debug)]
pub struct Spare {
    /// Gives it back.
    pub give_up: fn(),
}

/// Set once there is such memory.
pub static SPARE: Hook<&'static Spare> = Hook::new();

fn take_spare() {
    if let Some(spare) = SPARE.get() {
        (spare.give_up)();
    }
}

struct Frames;

impl Source for Frames {
    fn allocate(&mut self, count: usize) -> Option<NonNull<u8>> {
        NonNull::new(arch::direct(frames::allocate(count)?) as *mut u8)
    }

    fn free(&mut self, address: NonNull<u8>, count: usize) {
        frames::free(address.as_ptr() as usize - arch::DIRECT_MAP, count);
    }
}

fn cut(spans: &mut Spans, size: usize, align: usize) -> Option<NonNull<u8>> {
    spans.allocate(size, align, &mut Frames)
}

/// # Safety
///
/// As for [`Spans::free`].
unsafe fn take_back(spans: &mut Spans, object: NonNull<u8>, size: usize, align: usize) {
    // SAFETY: vouched for by the caller.
    unsafe { spans.free(object, size, align, &mut Frames) };
}

/// Does something with the running processor's cache.
fn with_cache<T>(work: impl FnOnce(&mut Cache) -> T) -> T {
    let interrupts = irq::off();
    // SAFETY: with interrupts off, nothing else runs on the processor whose cache it is; `work` does not
    // come back here.
    let result = work(unsafe { &mut *local::this().objects.get() });
    irq::restore(interrupts);
    result
}

/// What the bins of all processors end with.
struct SharedEnds(UnsafeCell<Ends>);

// SAFETY: written by `init`, before there is a second processor.
unsafe impl Sync for SharedEnds {}

static ENDS: SharedEnds = SharedEnds(UnsafeCell::new(Ends::new()));

/// Begins the first processor's cache, before anything is allocated.
pub fn init() {
    begin(local::this());
}

/// Sets how much each processor may store, by the memory that there is: of each multiple of 16 bytes a
/// page, or four in a machine of 64 MiB or more.
pub fn set_room() {
    const PLENTY: usize = 64 * 256;
    let pages = if frames::total() < PLENTY * 9 / 10 { 1 } else { 4 };
    // SAFETY: no second processor is there yet, and an object that is stored already says how much room
    // is left without asking its bin's end.
    unsafe { (*ENDS.0.get()).fill(pages * FRAME, 16 + 16 * pages as u32) };
}

/// Half of what a bin may hold.
fn half(bin: usize) -> u32 {
    // SAFETY: not changed any more.
    unsafe { (*ENDS.0.get()).most(bin) / 2 }
}

/// Begins the cache of a processor that does not run yet, or has just begun to.
pub fn begin(processor: &Local) {
    // SAFETY: nobody uses the cache yet; the ends are not changed any more.
    unsafe { (*processor.objects.get()).begin(&*ENDS.0.get()) };
}

/// Allocates `size` bytes; null when memory is short, or the request means nothing: what `Layout` promises
/// has to hold.
#[inline]
#[must_use]
pub fn allocate(size: usize, align: usize) -> *mut u8 {
    objects::allocate(size, align)
}

/// [`allocate`], when the processor's cache has nothing.
pub extern "C" fn allocate_slowly(size: usize, align: usize) -> *mut u8 {
    if !align.is_power_of_two() || size > isize::MAX as usize - align {
        return ptr::null_mut();
    }
    if !Spans::serves(size, align) {
        return allocate_large(size, align).0;
    }
    let mut spans = SPANS.lock();
    if let Some(object) = cut(&mut spans, size, align) {
        if let Some(bin) = cache::bin(size, align)
            && local::online() > 1
        {
            // So that the lock is not everyone's next stop again.
            with_cache(|cache| {
                cache.fill_half(bin, half(bin), || cut(&mut spans, size, align));
            });
        }
        return object.as_ptr();
    }
    // What is kept for other sizes, and for threads, may be all that is left.
    with_cache(|cache| {
        cache.empty(|object, size| {
            // SAFETY: a free object of that size.
            unsafe { take_back(&mut spans, object, size, 1) };
        });
    });
    drop(spans);
    take_spare();
    cut(&mut SPANS.lock(), size, align).map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Allocates `size` bytes of zeros; null when memory is short.
#[must_use]
pub fn allocate_zeroed(size: usize, align: usize) -> *mut u8 {
    let small = align.is_power_of_two() && Spans::serves(size, align);
    let (pointer, zeroed) =
        if small { (allocate(size, align), false) } else { allocate_large(size, align) };
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
    let area = area::allocate(size, align, Kind::Heap).or_else(|_| {
        take_spare();
        area::allocate(size, align, Kind::Heap)
    });
    match area {
        Ok(start) => (start as *mut u8, true),
        Err(_) => (ptr::null_mut(), false),
    }
}

/// Gives memory back.
///
/// # Safety
///
/// As for `GlobalAlloc::dealloc`.
#[inline]
pub unsafe fn free(pointer: *mut u8, size: usize, align: usize) {
    // SAFETY: vouched for by the caller.
    unsafe { objects::free(pointer, size, align) }
}

/// [`free`], when the processor's cache has no room.
///
/// # Safety
///
/// As for `GlobalAlloc::dealloc`.
pub unsafe extern "C" fn free_slowly(pointer: *mut u8, size: usize, align: usize) {
    let address = pointer as usize;
    if area::contains(address) {
        area::free(address).expect("an allocation to free");
    } else if Spans::serves(size, align) {
        let mut spans = SPANS.lock();
        if let Some(bin) = cache::bin(size, align) {
            with_cache(|cache| {
                cache.halve(bin, half(bin), |object| {
                    // SAFETY: a free object of the same class.
                    unsafe { take_back(&mut spans, object, size, align) };
                });
            });
        }
        // SAFETY: vouched for by the caller; a null pointer is no allocation.
        unsafe { take_back(&mut spans, NonNull::new_unchecked(pointer), size, align) };
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
            return area::resize(address, new_size)
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
