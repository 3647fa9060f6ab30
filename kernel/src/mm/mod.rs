//! Memory: frames, areas of the address space, the heap.

#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod area;
pub mod blocks;
pub mod cache;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod frames;
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
#[path = "hosted.rs"]
pub mod frames;
pub mod heap;
pub mod regions;
pub mod spans;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod stacks;

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: usize,
    /// End (exclusive).
    pub end: usize,
}
