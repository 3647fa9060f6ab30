//! The archives that the initial file tree is made from.
//!
//! The boot path only notes where they lie; `fs` reads them when a program first uses a file.

#[cfg(any(target_os = "none", skete_lint_arch))]
pub use machine::{MOST, all, hand_over};

/// A host's process has none.
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
pub fn all() -> impl Iterator<Item = &'static [u8]> {
    core::iter::empty()
}

#[cfg(any(target_os = "none", skete_lint_arch))]
mod machine {
    use core::slice;

    use crate::arch;
    use crate::mm::Region;
    use crate::sync::Lock;

    /// The most archives that a loader hands over.
    pub const MOST: usize = 2;

    /// Physical memory that nobody else has, from the lowest layer to the highest; empty where there is
    /// none.
    static HANDED_OVER: Lock<[Region; MOST]> = Lock::new([Region { start: 0, end: 0 }; MOST]);

    /// Notes where the archives are that the loader has handed over.
    ///
    /// # Safety
    ///
    /// They stay as they are, mapped in the direct map, as long as the machine runs.
    pub unsafe fn hand_over(archives: [Region; MOST]) {
        *HANDED_OVER.lock() = archives;
    }

    /// All archives, from the lowest layer to the highest: what is in the image, then what came at boot.
    pub fn all() -> impl Iterator<Item = &'static [u8]> {
        let handed_over = *HANDED_OVER.lock();
        let handed_over = handed_over.into_iter().map(|region| {
            let start = arch::direct(region.start) as *const u8;
            // SAFETY: `hand_over`'s caller vouches for it; an empty one may lie anywhere.
            unsafe { slice::from_raw_parts(start, region.end - region.start) }
        });
        core::iter::once(baked()).chain(handed_over).filter(|archive| !archive.is_empty())
    }

    // Start and end of the archive in the image. The compiler's wrapper links one in when it is asked to;
    // the symbols are 0 otherwise.
    core::arch::global_asm!(
        ".pushsection .rodata.skete_baked, \"a\"",
        ".weak skete_root_start",
        ".weak skete_root_end",
        ".balign 8",
        "skete_baked: .quad skete_root_start, skete_root_end",
        ".popsection",
    );

    /// The archive in the image.
    fn baked() -> &'static [u8] {
        unsafe extern "C" {
            static skete_baked: [usize; 2];
        }
        // SAFETY: defined above, and constant.
        let [start, end] = unsafe { skete_baked };
        if start == 0 {
            return &[];
        }
        // SAFETY: the symbols enclose a read-only part of the image.
        unsafe { slice::from_raw_parts(start as *const u8, end - start) }
    }
}
