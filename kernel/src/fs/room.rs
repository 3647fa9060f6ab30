//! Memory for files. Files and the program share the machine's memory: the file system is full while there is
//! still enough left for the program to notice and go on.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::mm::frames::{self, FRAME};
use crate::{Error, Result};

/// The most memory that is kept from files, in frames.
const MOST_KEPT: usize = (16 << 20) / FRAME;

/// Whether files may take `bytes` more.
///
/// # Errors
///
/// [`Error::NoSpace`] when less than a sixteenth of the memory, or 16 MiB, would be left.
pub(super) fn check(bytes: usize) -> Result<()> {
    let kept = (frames::total() / 16).min(MOST_KEPT);
    let free = frames::available().saturating_sub(kept);
    if bytes.div_ceil(FRAME) >= free {
        return Err(Error::NoSpace);
    }
    Ok(())
}

/// Reserves room in a vector for so many elements more, and for some that may come later.
///
/// # Errors
///
/// [`Error::NoSpace`].
pub(super) fn reserve<T>(vector: &mut Vec<T>, additional: usize) -> Result<()> {
    // A long vector is made longer without copying, so a small step suffices.
    reserve_in_steps(vector, additional, (vector.capacity() / 8).max(4))
}

/// As [`reserve`], with room for `step` elements when there is none for those that are wanted.
///
/// # Errors
///
/// [`Error::NoSpace`].
pub(super) fn reserve_in_steps<T>(
    vector: &mut Vec<T>,
    additional: usize,
    step: usize,
) -> Result<()> {
    let free = vector.capacity() - vector.len();
    if additional <= free {
        return Ok(());
    }
    let missing = additional - free;
    let step = missing.max(step);
    let bytes = |elements: usize| elements.checked_mul(size_of::<T>()).ok_or(Error::NoSpace);
    if check(bytes(step)?).is_ok() && vector.try_reserve_exact(free + step).is_ok() {
        return Ok(());
    }
    check(bytes(missing)?)?;
    vector.try_reserve_exact(additional).map_err(|_| Error::NoSpace)
}

/// Gives back what a vector has reserved and does not need. Without memory for the shorter one it stays as it is:
/// `Vec::shrink_to_fit` would end the program.
pub(super) fn shrink<T>(vector: &mut Vec<T>) {
    if vector.capacity() / 4 <= vector.len() {
        return;
    }
    let mut shorter = Vec::new();
    if shorter.try_reserve_exact(vector.len()).is_ok() {
        shorter.append(vector);
        *vector = shorter;
    }
}

/// Reserves room in a vector that lasts no longer than a call. A full file system can still be read and emptied, so
/// this asks for memory alone.
///
/// # Errors
///
/// [`Error::NoSpace`].
pub(super) fn borrow<T>(vector: &mut Vec<T>, additional: usize) -> Result<()> {
    vector.try_reserve(additional).map_err(|_| Error::NoSpace)
}

/// Puts a value into shared memory. What lasts as a part of the file system is to [`check`] first.
///
/// # Errors
///
/// [`Error::NoSpace`].
pub(super) fn share<T>(value: T) -> Result<Arc<T>> {
    #[cfg(target_os = "none")]
    let shared = Arc::try_new(value).map_err(|_| Error::NoSpace)?;
    // A host's process does not run out of memory in any way that could be told.
    #[cfg(not(target_os = "none"))]
    let shared = Arc::new(value);
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_grows_in_small_steps() {
        let mut vector = Vec::<u8>::new();
        let mut moves = 0;
        for byte in 0..100_000_u32 {
            let capacity = vector.capacity();
            reserve(&mut vector, 1).unwrap();
            vector.push(byte as u8);
            moves += usize::from(vector.capacity() != capacity);
        }
        assert!(moves < 120, "{moves}");
        assert!(vector.capacity() <= 100_000 * 9 / 8 + 8);
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let mut vector = vec![1_u8];
        assert_eq!(reserve(&mut vector, usize::MAX), Err(Error::NoSpace));
        assert_eq!(reserve(&mut vector, 1 << 50), Err(Error::NoSpace));
        assert_eq!(vector, [1]);
    }

    #[test]
    fn shrinking_keeps_the_elements() {
        let mut vector = Vec::with_capacity(1000);
        vector.extend([1, 2, 3]);
        shrink(&mut vector);
        assert_eq!((vector.capacity(), &vector[..]), (3, &[1, 2, 3][..]));
    }
}
