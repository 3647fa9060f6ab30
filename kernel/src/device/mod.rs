//! Devices: where they are, how they interrupt, and how virtio devices are talked to.
//!
//! Nothing of this is on the boot path. The first use of a device looks for it.

pub mod dma;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod interrupt;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod pci;
pub mod virtio;
pub mod wake;
