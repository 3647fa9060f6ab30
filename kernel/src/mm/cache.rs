//! A processor's own store of small objects that were freed, in front of the [`spans`](super::spans): most
//! allocations take what was given back last, without a lock (Bonwick and Adams, "Magazines and Vmem",
//! USENIX 2001).

use core::ptr::{self, NonNull};

/// The largest size that is stored.
pub const LARGEST: usize = 1024;
/// The largest alignment that every class keeps.
pub const LARGEST_ALIGN: usize = 16;
/// Sizes are told apart by their multiple of 16.
const BINS: usize = LARGEST / 16 + 1;

/// What a stored object holds.
#[derive(Debug)]
#[repr(C)]
pub struct Object {
    /// The object that was stored before, or the [`Ends`]' of the bin.
    pub(crate) next: *mut Object,
    /// How many more may be stored in front of it.
    pub(crate) room: u32,
}

/// The end of each bin: an object without a next one, which is never given away and never written to.
#[derive(Debug)]
pub struct Ends([Object; BINS]);

impl Ends {
    /// To be filled by [`Ends::fill`]; all zero, so that it takes no room in an image.
    #[must_use]
    pub const fn new() -> Ends {
        Ends([const { Object { next: ptr::null_mut(), room: 0 } }; BINS])
    }

    /// Says how much room there is in an empty bin: for so many bytes, and objects.
    pub fn fill(&mut self, bytes: usize, objects: u32) {
        for (bin, end) in self.0.iter_mut().enumerate() {
            let fit = bytes / (16 * bin).max(1);
            end.room = objects.min(u32::try_from(fit).unwrap_or(u32::MAX));
        }
    }

    /// How many objects a bin may hold.
    #[must_use]
    pub const fn most(&self, bin: usize) -> u32 {
        self.0[bin].room
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self::new()
    }
}

/// The store: for each multiple of 16 the object of this size that came last.
#[derive(Debug)]
#[repr(transparent)]
pub struct Cache([*mut Object; BINS]);

// SAFETY: owns everything that its pointers lead to, but for the ends, which nobody changes.
unsafe impl Send for Cache {}

/// The bin of a request, if it is one for the store.
#[inline(always)]
#[must_use]
pub const fn bin(size: usize, align: usize) -> Option<usize> {
    if size <= LARGEST && align <= LARGEST_ALIGN { Some(size.div_ceil(16)) } else { None }
}

impl Cache {
    /// Not to be used before [`Cache::begin`].
    #[must_use]
    pub const fn new() -> Cache {
        Cache([ptr::null_mut(); BINS])
    }

    /// Nothing is stored.
    pub fn begin(&mut self, ends: &'static Ends) {
        for (first, end) in self.0.iter_mut().zip(&ends.0) {
            *first = ptr::from_ref(end).cast_mut();
        }
    }

    fn room(&self, bin: usize) -> u32 {
        // SAFETY: a stored object, or the bin's end.
        unsafe { (*self.0[bin]).room }
    }

    /// Takes an object out of a bin.
    pub fn take(&mut self, bin: usize) -> Option<NonNull<u8>> {
        let object = self.0[bin];
        // SAFETY: a stored object, or the bin's end.
        let next = unsafe { (*object).next };
        if next.is_null() {
            return None;
        }
        self.0[bin] = next;
        NonNull::new(object.cast())
    }

    /// Stores an object in a bin; `false` when there is no room.
    ///
    /// # Safety
    ///
    /// The object is free, of a class that serves the bin's sizes, and nobody else's.
    #[must_use]
    pub unsafe fn put(&mut self, bin: usize, object: NonNull<u8>) -> bool {
        let Some(room) = self.room(bin).checked_sub(1) else {
            return false;
        };
        let object = object.cast::<Object>();
        // SAFETY: an object is at least two words large.
        unsafe {
            object.write(Object { next: self.0[bin], room });
        }
        self.0[bin] = object.as_ptr();
        true
    }

    /// Stores objects from `allocate`, until there is room for `half` more.
    pub fn fill_half(
        &mut self,
        bin: usize,
        half: u32,
        mut allocate: impl FnMut() -> Option<NonNull<u8>>,
    ) {
        while self.room(bin) > half
            && let Some(object) = allocate()
            // SAFETY: a fresh object of the bin's class.
            && unsafe { self.put(bin, object) }
        {}
    }

    /// Gives objects of a bin to `free`, until there is room for `half` more.
    pub fn halve(&mut self, bin: usize, half: u32, mut free: impl FnMut(NonNull<u8>)) {
        while self.room(bin) < half
            && let Some(object) = self.take(bin)
        {
            free(object);
        }
    }

    /// Gives everything to `free`, with its bin's size.
    pub fn empty(&mut self, mut free: impl FnMut(NonNull<u8>, usize)) {
        for bin in 0..BINS {
            while let Some(object) = self.take(bin) {
                free(object, 16 * bin);
            }
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::spans;
    use super::*;
    use std::boxed::Box;

    #[test]
    fn a_bin_is_of_one_class() {
        for size in 1..=LARGEST {
            let bin = bin(size, 16).unwrap();
            assert_eq!(spans::class_of(size), spans::class_of(16 * bin), "{size}");
        }
        assert_eq!((bin(LARGEST + 1, 1), bin(8, 32)), (None, None));
    }

    #[test]
    fn what_was_stored_last_is_taken_first() {
        let ends = Box::leak(Box::new(Ends::new()));
        ends.fill(4096, 32);
        let mut memory = [[0usize; 8]; 64];
        let mut cache = Cache::new();
        cache.begin(ends);
        let bin = bin(64, 8).unwrap();
        const MOST: usize = 32;
        assert_eq!(ends.most(bin), MOST as u32);
        let objects: Vec<_> =
            memory.iter_mut().map(|object| NonNull::from(object).cast()).collect();
        let stored = objects
            .iter()
            // SAFETY: 64 bytes each, used by nobody else.
            .take_while(|object| unsafe { cache.put(bin, **object) })
            .count();
        assert_eq!(stored, MOST);
        let mut freed = Vec::new();
        cache.halve(bin, ends.most(bin) / 2, |object| freed.push(object));
        assert_eq!(freed.len(), MOST / 2);
        assert_eq!(freed[0], objects[MOST - 1]);
        assert_eq!(cache.take(bin), Some(objects[MOST / 2 - 1]));
        let mut fresh = freed.iter().copied();
        cache.fill_half(bin, ends.most(bin) / 2, || fresh.next());
        assert_eq!(fresh.len(), MOST / 2 - 1);
        let mut rest = 0;
        cache.empty(|_, size| rest += usize::from(size == 64));
        assert_eq!((rest, cache.take(bin)), (MOST / 2, None));
    }
}
