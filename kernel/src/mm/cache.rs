//! A processor's own store of small objects that were freed, in front of the [`spans`](super::spans): most
//! allocations take what was given back last, without a lock (Bonwick and Adams, "Magazines and Vmem",
//! USENIX 2001).

use core::ptr::{self, NonNull};

use super::spans;

/// The largest size that is stored.
pub const LARGEST: usize = 1024;
/// The largest alignment that every class keeps.
pub const LARGEST_ALIGN: usize = 16;
const CLASSES: usize = spans::class_of(LARGEST) + 1;
/// Bytes that a class may hold.
const BYTES: usize = 4096;
/// Objects that a class may hold.
const MOST: usize = 32;

/// The class of a size, by its multiple of 16.
const CLASS: [u8; LARGEST / 16 + 1] = {
    let mut classes = [0; LARGEST / 16 + 1];
    let mut multiple = 1;
    while multiple < classes.len() {
        classes[multiple] = spans::class_of(multiple * 16) as u8;
        multiple += 1;
    }
    classes
};

/// The stored objects of a class.
#[derive(Clone, Copy, Debug)]
struct Bin {
    /// Linked through their first word.
    first: *mut u8,
    count: u32,
}

/// The store.
#[derive(Debug)]
pub struct Cache([Bin; CLASSES]);

// SAFETY: owns everything that its pointers lead to.
unsafe impl Send for Cache {}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

/// The class of a request, if it is one for the store.
#[inline(always)]
#[must_use]
pub const fn class(size: usize, align: usize) -> Option<usize> {
    if size <= LARGEST && align <= LARGEST_ALIGN {
        Some(CLASS[size.div_ceil(16)] as usize)
    } else {
        None
    }
}

/// Objects that each class may hold.
const MOST_OF: [u8; CLASSES] = {
    let mut most = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let fit = BYTES / spans::size_of_class(class);
        most[class] = if fit < MOST { fit } else { MOST } as u8;
        class += 1;
    }
    most
};

impl Cache {
    /// Nothing stored.
    #[must_use]
    pub const fn new() -> Cache {
        let empty = Bin {
            first: ptr::null_mut(),
            count: 0,
        };
        Cache([empty; CLASSES])
    }

    /// Takes an object of a class.
    #[inline(always)]
    pub fn take(&mut self, class: usize) -> Option<NonNull<u8>> {
        let bin = &mut self.0[class];
        let object = NonNull::new(bin.first)?;
        // SAFETY: a stored object, which holds the link to the next one.
        bin.first = unsafe { object.cast::<*mut u8>().read() };
        bin.count -= 1;
        Some(object)
    }

    /// Stores an object of a class; `false` when there is no room.
    ///
    /// # Safety
    ///
    /// The object is free, of that class, and nobody else's.
    #[inline(always)]
    #[must_use]
    pub unsafe fn put(&mut self, class: usize, object: NonNull<u8>) -> bool {
        let bin = &mut self.0[class];
        if bin.count >= u32::from(MOST_OF[class]) {
            return false;
        }
        bin.count += 1;
        // SAFETY: an object is at least two words large.
        unsafe { object.cast::<*mut u8>().write(bin.first) };
        bin.first = object.as_ptr();
        true
    }

    /// Gives objects of a class to `free`, until half of what there may be is left.
    pub fn halve(&mut self, class: usize, mut free: impl FnMut(NonNull<u8>)) {
        while self.0[class].count > u32::from(MOST_OF[class]) / 2
            && let Some(object) = self.take(class)
        {
            free(object);
        }
    }

    /// Gives everything to `free`, with the size of its class.
    pub fn empty(&mut self, mut free: impl FnMut(NonNull<u8>, usize)) {
        for class in 0..CLASSES {
            while let Some(object) = self.take(class) {
                free(object, spans::size_of_class(class));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_spans() {
        for size in 0..=LARGEST {
            assert_eq!(
                class(size, 16),
                Some(spans::class_of(size.max(1))),
                "{size}"
            );
        }
        assert_eq!((class(LARGEST + 1, 1), class(8, 32)), (None, None));
    }

    #[test]
    fn what_was_stored_last_is_taken_first() {
        let mut memory = [[0usize; 8]; 64];
        let mut cache = Cache::new();
        let class = class(64, 8).unwrap();
        let objects: Vec<_> = memory
            .iter_mut()
            .map(|object| NonNull::from(object).cast())
            .collect();
        let stored = objects
            .iter()
            // SAFETY: 64 bytes each, used by nobody else.
            .take_while(|object| unsafe { cache.put(class, **object) })
            .count();
        assert_eq!(stored, MOST);
        let mut freed = Vec::new();
        cache.halve(class, |object| freed.push(object));
        assert_eq!(freed.len(), MOST / 2);
        assert_eq!(freed[0], objects[MOST - 1]);
        assert_eq!(cache.take(class), Some(objects[MOST / 2 - 1]));
        let mut rest = 0;
        cache.empty(|_, size| rest += usize::from(size == 64));
        assert_eq!((rest, cache.take(class)), (MOST / 2 - 1, None));
    }
}
