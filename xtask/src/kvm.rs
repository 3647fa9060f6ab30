//! Whether KVM is any good here.
//!
//! An open `/dev/kvm` proves nothing: some hosts interpret guest code instruction by instruction
//! and know no vector instructions. So a virtual CPU has to run a million of them, in ring 0 and
//! protected mode, within a second.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kvm_bindings::{kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// How long the probe may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Where the code lies in the guest's memory.
const CODE: usize = 0x1000;
/// How large the guest's memory is.
const MEMORY: usize = 0x4000;
/// How often the loop runs.
const ROUNDS: u32 = 1_000_000;

/// ```text
///     mov   ecx, ROUNDS
///     pcmpeqd xmm1, xmm1        ; four times -1
///     pxor  xmm0, xmm0
/// 1:  psubd xmm0, xmm1          ; four times +1
///     movaps [0x2000], xmm0
///     dec   ecx
///     jnz   1b
///     hlt
/// ```
const PROGRAM: [u8; 29] = [
    0xb9, 0x40, 0x42, 0x0f, 0x00, // mov ecx, 1_000_000
    0x66, 0x0f, 0x76, 0xc9, // pcmpeqd xmm1, xmm1
    0x66, 0x0f, 0xef, 0xc0, // pxor xmm0, xmm0
    0x66, 0x0f, 0xfa, 0xc1, // psubd xmm0, xmm1
    0x0f, 0x29, 0x05, 0x00, 0x20, 0x00, 0x00, // movaps [0x2000], xmm0
    0x49, // dec ecx
    0x75, 0xf2, // jnz -14
    0xf4, // hlt
    0x90,
];

/// Whether /dev/kvm runs ring-0 code with vector instructions at a processor's speed.
pub fn works() -> bool {
    let (sender, receiver) = mpsc::channel();
    // A guest that never halts keeps its thread; it ends with this process.
    let probe = thread::Builder::new()
        .name("kvm probe".into())
        .spawn(move || {
            let _ = sender.send(probe());
        });
    probe.is_ok() && matches!(receiver.recv_timeout(LIMIT), Ok(Ok(())))
}

fn probe() -> Result<()> {
    let kvm = Kvm::new().context("no /dev/kvm")?;
    let memory = Memory::new()?;
    let vm = kvm.create_vm().context("no virtual machine")?;
    memory.write(CODE, &PROGRAM);
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY as u64,
        userspace_addr: memory.0 as u64,
    };
    // SAFETY: the region is a mapping of `MEMORY` bytes. It was made before `vm`, so it is unmapped
    // after the virtual machine is closed.
    unsafe { vm.set_user_memory_region(region) }.context("no memory for the guest")?;
    let mut vcpu = vm.create_vcpu(0).context("no virtual CPU")?;
    let cpuid = kvm
        .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
        .context("no CPUID")?;
    vcpu.set_cpuid2(&cpuid).context("cannot set CPUID")?;

    let flat = |selector, type_| kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        ..kvm_segment::default()
    };
    let mut sregs = vcpu.get_sregs().context("no registers")?;
    sregs.cs = flat(0x08, 11);
    let data = flat(0x10, 3);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.cr0 = 0x0000_0033; // PE, MP, ET, NE; no paging
    sregs.cr4 = 0x0000_0600; // OSFXSR, OSXMMEXCPT
    vcpu.set_sregs(&sregs).context("cannot set registers")?;
    let mut regs = vcpu.get_regs().context("no registers")?;
    regs.rip = CODE as u64;
    regs.rflags = 2;
    vcpu.set_regs(&regs).context("cannot set registers")?;

    let halted = matches!(
        vcpu.run().context("the virtual CPU does not run")?,
        VcpuExit::Hlt
    );
    let sums = memory.read(0x2000);
    if !halted || sums != [ROUNDS; 4] {
        bail!("the virtual CPU does not run vector instructions");
    }
    Ok(())
}

/// The guest's memory.
struct Memory(*mut u8);

impl Memory {
    fn new() -> Result<Memory> {
        // SAFETY: a new anonymous mapping at an address that the system chooses touches nothing
        // that exists.
        let address = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                MEMORY,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        Ok(Memory(address.context("no memory")?.cast()))
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= MEMORY);
        // SAFETY: the range lies in the mapping, as just checked, and no guest runs yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.add(at), bytes.len()) };
    }

    fn read(&self, at: usize) -> [u32; 4] {
        assert!(at + 16 <= MEMORY && at.is_multiple_of(16));
        // SAFETY: the range lies in the mapping and is aligned, as just checked; the guest has
        // stopped.
        unsafe { self.0.add(at).cast::<[u32; 4]>().read_volatile() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it any more.
        let _ = unsafe { munmap(self.0.cast(), MEMORY) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_counts_its_rounds() {
        assert_eq!(
            u32::from_le_bytes([PROGRAM[1], PROGRAM[2], PROGRAM[3], PROGRAM[4]]),
            ROUNDS
        );
        // The jump goes back to psubd, 13 bytes into the program.
        let jump = PROGRAM
            .iter()
            .position(|&byte| byte == 0x75)
            .map(|at| at as i8);
        assert_eq!(
            jump.map(|at| at + 2 + PROGRAM[at as usize + 1] as i8),
            Some(13)
        );
    }
}
