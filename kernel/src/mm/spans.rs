//! Small allocations: size classes, each cut from spans of frames.
//!
//! A span is a run of frames, aligned to its size, with a header at its start: from the address of an
//! object and its size, which every caller of `dealloc` knows, the span is one mask away. Objects are
//! handed out from the span's list of freed ones, then from the part never used, so that memory is not
//! touched before it is wanted. A span without objects goes back, unless it is the last of its class
//! that has room.

use core::ptr::{self, NonNull};

use super::blocks::FRAME;

/// The largest size that a span serves.
pub const LARGEST: usize = 8192;
/// The largest alignment that a span serves.
pub const LARGEST_ALIGN: usize = 4096;
const CLASSES: usize = 32;

/// Where spans come from.
pub trait Source {
    /// `frames` frames in a row (1, 4 or 16), aligned to their size.
    fn allocate(&mut self, frames: usize) -> Option<NonNull<u8>>;
    /// Takes back what [`Source::allocate`] gave.
    fn free(&mut self, address: NonNull<u8>, frames: usize);
}

#[repr(C)]
struct Span {
    /// Objects that were freed, linked through their first word.
    freed: *mut u8,
    next: *mut Span,
    previous: *mut Span,
    /// Offset of the part that was never used.
    fresh: u32,
    used: u16,
    class: u16,
}

/// The class for a size of 1 to [`LARGEST`]: multiples of 16 up to 128, then four to a doubling.
pub(super) const fn class_of(size: usize) -> usize {
    if size <= 128 {
        size.div_ceil(16).saturating_sub(1)
    } else {
        let above = size - 1;
        let exponent = above.ilog2() as usize;
        8 + (exponent - 7) * 4 + (above >> (exponent - 2) & 3)
    }
}

pub(super) const fn size_of_class(class: usize) -> usize {
    if class < 8 {
        (class + 1) * 16
    } else {
        let group = (class - 8) / 4;
        (128 << group) + ((class - 8) % 4 + 1) * (32 << group)
    }
}

const fn frames_of_class(class: usize) -> usize {
    match size_of_class(class) {
        0..=128 => 1,
        129..=1024 => 4,
        _ => 16,
    }
}

/// Offset of the first object: behind the header, at a multiple of every alignment that the class's
/// size is a multiple of.
const fn first_object(class: usize) -> usize {
    let size = size_of_class(class);
    size_of::<Span>().next_multiple_of(1 << size.trailing_zeros())
}

/// What the fast path has to know of a class.
#[derive(Clone, Copy)]
struct Shape {
    size: u32,
    bytes: u32,
}

const SHAPES: [Shape; CLASSES] = {
    let mut shapes = [Shape { size: 0, bytes: 0 }; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        shapes[class] = Shape {
            size: size_of_class(class) as u32,
            bytes: (frames_of_class(class) * FRAME) as u32,
        };
        class += 1;
    }
    shapes
};

/// The small objects of the heap.
#[derive(Debug)]
pub struct Spans {
    /// For each class, the spans that have room.
    open: [*mut Span; CLASSES],
}

// SAFETY: owns everything that its pointers lead to.
unsafe impl Send for Spans {}

impl Default for Spans {
    fn default() -> Self {
        Self::new()
    }
}

impl Spans {
    /// No spans yet.
    #[must_use]
    pub const fn new() -> Spans {
        Spans { open: [ptr::null_mut(); CLASSES] }
    }

    /// True when a request is for this allocator.
    #[inline]
    #[must_use]
    pub const fn serves(size: usize, align: usize) -> bool {
        size.next_multiple_of(align) <= LARGEST && align <= LARGEST_ALIGN
    }

    #[inline]
    const fn class(size: usize, align: usize) -> usize {
        // A multiple of the alignment falls into a class whose size is a multiple of it too.
        class_of(if align <= 16 { size } else { size.next_multiple_of(align) })
    }

    /// True when both sizes are of one class, so that an object of the first needs no move to become
    /// one of the second.
    #[must_use]
    pub const fn same_class(size: usize, align: usize, new_size: usize) -> bool {
        Self::class(size, align) == Self::class(new_size, align)
    }

    /// Memory for `size` bytes. `None` when the source is dry.
    #[inline]
    pub fn allocate(
        &mut self,
        size: usize,
        align: usize,
        source: &mut impl Source,
    ) -> Option<NonNull<u8>> {
        let class = Self::class(size, align);
        let mut span = self.open[class];
        if span.is_null() {
            span = self.grow(class, source)?;
        }
        let shape = SHAPES[class];
        // SAFETY: the spans in `open` are live and have room: a freed object, or a fresh part.
        unsafe {
            (*span).used += 1;
            let object = if (*span).freed.is_null() {
                let offset = (*span).fresh;
                (*span).fresh = offset + shape.size;
                span.cast::<u8>().add(offset as usize)
            } else {
                let object = (*span).freed;
                (*span).freed = object.cast::<*mut u8>().read();
                object
            };
            if (*span).freed.is_null() && (*span).fresh + shape.size > shape.bytes {
                self.remove(class, span);
            }
            Some(NonNull::new_unchecked(object))
        }
    }

    /// Gives back what [`Spans::allocate`] gave for the same size and alignment.
    ///
    /// # Safety
    ///
    /// As for `GlobalAlloc::dealloc`.
    #[inline]
    pub unsafe fn free(
        &mut self,
        object: NonNull<u8>,
        size: usize,
        align: usize,
        source: &mut impl Source,
    ) {
        let class = Self::class(size, align);
        let shape = SHAPES[class];
        let object = object.as_ptr();
        let span = object.map_addr(|address| address & !(shape.bytes as usize - 1)).cast::<Span>();
        // SAFETY: spans are aligned to their size, so that the mask leads to the header of the span
        // that the object came from.
        unsafe {
            debug_assert_eq!((*span).class as usize, class);
            let was_full = (*span).freed.is_null() && (*span).fresh + shape.size > shape.bytes;
            object.cast::<*mut u8>().write((*span).freed);
            (*span).freed = object;
            (*span).used -= 1;
            if was_full {
                self.insert(class, span);
            } else if (*span).used == 0 && !((*span).next.is_null() && (*span).previous.is_null()) {
                self.remove(class, span);
                source.free(NonNull::new_unchecked(span.cast()), shape.bytes as usize / FRAME);
            }
        }
    }

    #[cold]
    fn grow(&mut self, class: usize, source: &mut impl Source) -> Option<*mut Span> {
        let span = source.allocate(frames_of_class(class))?.cast::<Span>().as_ptr();
        // SAFETY: the source gave the memory, which is larger than a header.
        unsafe {
            span.write(Span {
                freed: ptr::null_mut(),
                next: ptr::null_mut(),
                previous: ptr::null_mut(),
                fresh: first_object(class) as u32,
                used: 0,
                class: class as u16,
            });
            self.insert(class, span);
        }
        Some(span)
    }

    /// # Safety
    ///
    /// `span` is live, of this class, and in no list.
    unsafe fn insert(&mut self, class: usize, span: *mut Span) {
        let next = core::mem::replace(&mut self.open[class], span);
        // SAFETY: vouched for by the caller; spans in the list are live.
        unsafe {
            ((*span).previous, (*span).next) = (ptr::null_mut(), next);
            if !next.is_null() {
                (*next).previous = span;
            }
        }
    }

    /// # Safety
    ///
    /// `span` is live and in the list of this class.
    unsafe fn remove(&mut self, class: usize, span: *mut Span) {
        // SAFETY: vouched for by the caller; spans in the list are live.
        unsafe {
            let (previous, next) = ((*span).previous, (*span).next);
            if previous.is_null() {
                self.open[class] = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::alloc::{Layout, alloc, dealloc};
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Host {
        frames: usize,
        limit: Option<usize>,
    }

    impl Source for Host {
        fn allocate(&mut self, frames: usize) -> Option<NonNull<u8>> {
            if self.limit.is_some_and(|limit| self.frames + frames > limit) {
                return None;
            }
            self.frames += frames;
            let layout = Layout::from_size_align(frames * FRAME, frames * FRAME).unwrap();
            // SAFETY: not empty.
            NonNull::new(unsafe { alloc(layout) })
        }

        fn free(&mut self, address: NonNull<u8>, frames: usize) {
            self.frames -= frames;
            let layout = Layout::from_size_align(frames * FRAME, frames * FRAME).unwrap();
            // SAFETY: allocated above with the same layout.
            unsafe { dealloc(address.as_ptr(), layout) };
        }
    }

    #[test]
    fn classes_are_ordered_and_tight() {
        for size in 1..=LARGEST {
            let class = class_of(size);
            assert!(size_of_class(class) >= size, "{size}");
            assert!(class == 0 || size_of_class(class - 1) < size, "{size}");
        }
        assert_eq!(class_of(LARGEST), CLASSES - 1);
    }

    #[test]
    fn a_dry_source_is_told() {
        let mut source = Host { frames: 0, limit: Some(1) };
        let mut spans = Spans::new();
        let mut count = 0;
        while spans.allocate(64, 8, &mut source).is_some() {
            count += 1;
        }
        assert_eq!(count, (FRAME - 64) / 64);
    }

    proptest! {
        /// Objects never overlap, are aligned, keep what is written to them, and everything but one
        /// span for each class goes back.
        #[test]
        fn objects_are_disjoint(requests in prop::collection::vec((1usize..=LARGEST, 0u32..=12, 0u8..3, any::<prop::sample::Index>()), 1..400)) {
            let mut source = Host::default();
            let mut spans = Spans::new();
            let mut held: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
            for (size, align, action, which) in requests {
                let align = 1usize << align;
                if action == 0 && !held.is_empty() {
                    let address = *which.get(&held.keys().copied().collect::<Vec<_>>());
                    let (size, align) = held.remove(&address).unwrap();
                    let pointer = NonNull::new(address as *mut u8).unwrap();
                    // SAFETY: allocated below with this size and alignment, and not yet freed.
                    unsafe {
                        prop_assert_eq!(pointer.read(), address as u8);
                        prop_assert_eq!(pointer.add(size - 1).read(), address as u8);
                        spans.free(pointer, size, align, &mut source);
                    }
                } else if Spans::serves(size, align) {
                    let pointer = spans.allocate(size, align, &mut source).unwrap();
                    let address = pointer.as_ptr() as usize;
                    prop_assert!(address.is_multiple_of(align));
                    if let Some((below, (length, _))) = held.range(..address + size).next_back() {
                        prop_assert!(below + length <= address);
                    }
                    // SAFETY: `size` bytes of it are ours.
                    unsafe { pointer.write_bytes(address as u8, size) };
                    held.insert(address, (size, align));
                }
            }
            for (address, (size, align)) in held {
                // SAFETY: as above.
                unsafe { spans.free(NonNull::new(address as *mut u8).unwrap(), size, align, &mut source) };
            }
            let most: usize = (0..CLASSES).map(frames_of_class).sum();
            prop_assert!(source.frames <= most);
        }
    }
}
