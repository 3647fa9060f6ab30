//! The guest's memory: taken from the host page by page as it is touched.

use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use anyhow::{Context, Result};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

/// Where no memory is: devices (docs/boot-protocol.md).
pub const DEVICES: Range<u64> = 0xc000_0000..0x1_0000_0000;

/// The guest's memory.
#[derive(Clone, Debug)]
pub struct Memory {
    map: Arc<GuestMemoryMmap>,
}

impl Memory {
    /// Maps so many bytes, beginning at address 0.
    ///
    /// # Errors
    ///
    /// When the host does not give them.
    pub fn new(bytes: u64, huge_pages: bool) -> Result<Memory> {
        let low = bytes.min(DEVICES.start);
        let mut ranges = vec![(GuestAddress(0), low as usize)];
        if bytes > low {
            ranges.push((GuestAddress(DEVICES.end), (bytes - low) as usize));
        }
        const NONE: &str = "the host has no memory for the guest";
        let map = if huge_pages {
            let regions = ranges.iter().map(|(start, bytes)| aligned(*start, *bytes).context(NONE));
            GuestMemoryMmap::from_regions(regions.collect::<Result<_>>()?).context(NONE)?
        } else {
            GuestMemoryMmap::from_ranges(&ranges).context(NONE)?
        };
        let memory = Memory { map: Arc::new(map) };
        // Otherwise the host clears 2 MiB for the first byte of a small guest.
        let advice = match huge_pages {
            true => Advice::LinuxHugepage,
            false => Advice::LinuxNoHugepage,
        };
        for region in memory.map.iter() {
            // SAFETY: advice about a mapping that is ours.
            let advised = unsafe { madvise(region.as_ptr().cast(), region.size(), advice) };
            if huge_pages {
                advised.context("this host's kernel has no huge pages")?;
            }
        }
        Ok(memory)
    }

    /// The end of the highest memory.
    pub fn end(&self) -> u64 {
        self.map.last_addr().0 + 1
    }

    /// The memory by addresses of the guest, checked.
    pub fn map(&self) -> &GuestMemoryMmap {
        &self.map
    }

    /// The same, to be kept.
    pub fn shared(&self) -> Arc<GuestMemoryMmap> {
        self.map.clone()
    }

    /// Gives it to a virtual machine.
    ///
    /// # Errors
    ///
    /// Those of KVM.
    pub fn give(&self, vm: &VmFd) -> Result<()> {
        for (slot, region) in self.map.iter().enumerate() {
            let region = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: 0,
                guest_phys_addr: region.start_addr().0,
                memory_size: region.len(),
                userspace_addr: region.as_ptr() as u64,
            };
            // SAFETY: the mapping lives as long as the process: the machine's threads hold it.
            unsafe { vm.set_user_memory_region(region) }.context("KVM does not take the memory")?;
        }
        Ok(())
    }

    /// A piece of memory, for as long as no guest runs.
    ///
    /// # Safety
    ///
    /// No guest runs, and nobody else uses the same piece.
    #[expect(clippy::mut_from_ref, reason = "the memory belongs to the guest; the caller vouches")]
    pub unsafe fn piece(&self, start: u64, length: u64) -> Option<&mut [u8]> {
        let slice = self.map.get_slice(GuestAddress(start), length as usize).ok()?;
        // SAFETY: the slice was checked; the caller vouches for the rest.
        Some(unsafe { std::slice::from_raw_parts_mut(slice.ptr_guard_mut().as_ptr(), slice.len()) })
    }

    /// Whether all of a part is memory.
    pub fn contains(&self, address: u64, length: u64) -> bool {
        let region = self.map.find_region(GuestAddress(address));
        region.is_some_and(|region| length <= region.len() - (address - region.start_addr().0))
    }

    /// Writes bytes.
    ///
    /// # Errors
    ///
    /// When there is no memory there.
    pub fn write(&self, bytes: &[u8], address: u64) -> Result<()> {
        self.map
            .write_slice(bytes, GuestAddress(address))
            .with_context(|| format!("the guest has no memory at {address:#x}"))
    }

    /// The pages that the host has: for each part of the memory its address, and a byte a page, bit 0 of which tells.
    pub fn pages(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        const PART: usize = 64 << 20;
        self.map.iter().flat_map(|region| {
            (0..region.size()).step_by(PART).map(move |start| {
                let length = PART.min(region.size() - start);
                let mut pages = vec![0u8; length.div_ceil(4096)];
                let first = region.as_ptr().wrapping_add(start).cast();
                // SAFETY: asks about a mapping that is ours; the answer fits.
                if unsafe { libc::mincore(first, length, pages.as_mut_ptr()) } != 0 {
                    pages.fill(1);
                }
                (region.start_addr().0 + start as u64, pages)
            })
        })
    }

    /// Bytes of it that the host has pages for.
    pub fn touched(&self) -> u64 {
        let pages = self.pages().flat_map(|(_, pages)| pages);
        4096 * pages.filter(|page| page & 1 != 0).count() as u64
    }
}

/// Memory whose pages can be huge: KVM maps one as such only where the host's address and the guest's are at the same
/// place in it.
fn aligned(start: GuestAddress, bytes: usize) -> Result<GuestRegionMmap> {
    const HUGE: usize = 2 << 20;
    let (access, flags) =
        (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new mapping where the kernel has room, which is nobody else's and stays as long as the process.
    let region = unsafe {
        let place = mmap_anonymous(ptr::null_mut(), bytes + HUGE, access, flags)?.cast::<u8>();
        let place = place.add(place.align_offset(HUGE));
        MmapRegion::build_raw(place, bytes, access.bits() as i32, flags.bits() as i32)?
    };
    GuestRegionMmap::new(region, start).context("an address beyond all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_begin_where_the_hosts_do() -> Result<()> {
        let memory = Memory::new(DEVICES.start + (4 << 20), true)?;
        let places = memory.map().iter().map(|region| region.as_ptr().addr() % (2 << 20));
        assert_eq!(places.collect::<Vec<_>>(), [0, 0]);
        memory.write(&[1, 2], DEVICES.end + (4 << 20) - 2)
    }

    #[test]
    fn parts_lie_in_one_region() -> Result<()> {
        const HIGH: u64 = 1 << 20;
        let memory = Memory::new(DEVICES.start + HIGH, false)?;
        for (address, length) in [(0, DEVICES.start), (DEVICES.start - 1, 1), (DEVICES.end, HIGH)] {
            assert!(memory.contains(address, length), "{address:#x} {length:#x}");
            assert!(!memory.contains(address, length + 1), "{address:#x} {length:#x}");
            assert!(!memory.contains(address, u64::MAX), "{address:#x}");
        }
        for address in [DEVICES.start, DEVICES.end - 1, DEVICES.end + HIGH, u64::MAX] {
            assert!(!memory.contains(address, 0), "{address:#x}");
        }
        Ok(())
    }
}
