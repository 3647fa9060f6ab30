//! Can this machine run a guest?
//!
//! An open `/dev/kvm` proves nothing: some hosts interpret guest code
//! instruction by instruction and know no vector instructions. So a processor has to run a million of them,
//! in ring 0, within a second.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

const ELSE: &str = "QEMU needs no KVM: `cargo xtask run IMAGE`";
/// How long the probe may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Where the probe's code lies.
const CODE: u64 = 0x1000;
/// How often its loop runs, to see whether KVM is fast enough.
const MANY: u32 = 1_000_000;
/// How often, to see whether it works at all.
const FEW: u32 = 1000;
/// The port that tells that the loop is over.
const PORT: u16 = 0xf4;

/// ```text
///     mov   ecx, ROUNDS
///     pcmpeqd xmm1, xmm1        ; four times -1
///     pxor  xmm0, xmm0
/// 1:  psubd xmm0, xmm1          ; four times +1
///     movaps [0x2000], xmm0
///     dec   ecx
///     jnz   1b
///     out   PORT, al
/// ```
const PROGRAM: [u8; 29] = [
    0xb9, 0, 0, 0, 0, // mov ecx, ROUNDS
    0x66, 0x0f, 0x76, 0xc9, // pcmpeqd xmm1, xmm1
    0x66, 0x0f, 0xef, 0xc0, // pxor xmm0, xmm0
    0x66, 0x0f, 0xfa, 0xc1, // psubd xmm0, xmm1
    0x0f, 0x29, 0x05, 0x00, 0x20, 0x00, 0x00, // movaps [0x2000], xmm0
    0x49, // dec ecx
    0x75, 0xf2, // jnz -14
    0xe6, PORT as u8, // out PORT, al
];

/// Opens KVM.
///
/// # Errors
///
/// What is missing, and what to do.
pub fn open() -> Result<Kvm> {
    let kvm = Kvm::new().map_err(|error| match error.errno() {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => anyhow::anyhow!(
            "this host has no KVM (/dev/kvm): load the module kvm_intel or kvm_amd, or switch virtualization on in the firmware; {ELSE}"
        ),
        libc::EACCES | libc::EPERM => anyhow::anyhow!(
            "/dev/kvm may not be used by this user: add it to the group kvm (`sudo usermod -aG kvm $USER`, then log in again); {ELSE}"
        ),
        _ => anyhow::anyhow!("/dev/kvm cannot be opened: {error}; {ELSE}"),
    })?;
    match kvm.get_api_version() {
        12 => Ok(kvm),
        version => bail!("this host's KVM has version {version} of its interface, not 12; {ELSE}"),
    }
}

/// Runs the probe.
///
/// # Errors
///
/// What does not work, and what to do.
pub fn probe() -> Result<()> {
    let kvm = open()?;
    let (sender, receiver) = mpsc::channel();
    // A guest that never ends keeps its thread, which ends with this process.
    let probe = thread::Builder::new().name("probe".into()).spawn(move || {
        let _ = sender.send(run(&kvm));
    });
    probe.context("the host gives no thread")?;
    match receiver.recv_timeout(LIMIT) {
        Ok(outcome) => outcome,
        Err(_) => bail!(
            "this host's KVM is too slow to be of use: a million rounds take longer than a second (it may interpret the guest's code); {ELSE}"
        ),
    }
}

fn run(kvm: &Kvm) -> Result<()> {
    /// Enough for the code, and what it writes.
    const MEMORY: usize = 0x4000;
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY)])
        .context("the host has no memory for a guest")?;
    let vm = kvm.create_vm().context("KVM gives no virtual machine")?;
    let region = kvm_userspace_memory_region {
        memory_size: MEMORY as u64,
        userspace_addr: memory.get_host_address(GuestAddress(0))? as u64,
        ..kvm_userspace_memory_region::default()
    };
    // SAFETY: the mapping has this length. It was made before the machine, so that it lives longer.
    unsafe { vm.set_user_memory_region(region) }.context("KVM does not take the memory")?;
    let mut vcpu = vm.create_vcpu(0).context("KVM gives no processor")?;
    let supported = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .context("KVM does not tell what processor there is")?;
    vcpu.set_cpuid2(&supported).context("KVM does not take CPUID")?;
    rounds(&mut vcpu, &memory, MANY)
}

/// Whether a processor runs vector instructions in ring 0. It has its CPUID already; its other registers and
/// the first pages of its memory are changed.
///
/// # Errors
///
/// When it does not, with what to do.
pub fn works(vcpu: &mut VcpuFd, memory: &GuestMemoryMmap) -> Result<()> {
    rounds(vcpu, memory, FEW)
}

fn rounds(vcpu: &mut VcpuFd, memory: &GuestMemoryMmap, rounds: u32) -> Result<()> {
    let mut program = PROGRAM;
    program[1..5].copy_from_slice(&rounds.to_le_bytes());
    memory.write_slice(&program, GuestAddress(CODE)).context("the guest has too little memory")?;
    let flat = |selector, type_| kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    };
    let mut special = vcpu.get_sregs().context("KVM gives no registers")?;
    special.cs = flat(0x08, 11);
    let data = flat(0x10, 3);
    (special.ds, special.es, special.fs) = (data, data, data);
    special.gs = data;
    special.cr0 = 0x33; // PE, MP, ET, NE; no paging
    special.cr4 = 0x600; // OSFXSR, OSXMMEXCPT
    vcpu.set_sregs(&special).context("KVM does not take registers")?;
    let mut general = vcpu.get_regs().context("KVM gives no registers")?;
    (general.rip, general.rflags) = (CODE, 2);
    vcpu.set_regs(&general).context("KVM does not take registers")?;
    let ended = loop {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(port, _)) => break port == PORT,
            Err(error) if matches!(error.errno(), libc::EAGAIN | libc::EINTR) => {}
            _ => break false,
        }
    };
    let sums = memory.read_obj::<[u32; 4]>(GuestAddress(0x2000))?;
    if !ended || sums != [rounds; 4] {
        bail!(
            "this host's KVM cannot run a guest: vector instructions do not work in ring 0; {ELSE}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jump_goes_back_to_the_sum() {
        let sum = PROGRAM.windows(4).position(|four| four == [0x66, 0x0f, 0xfa, 0xc1]);
        let jump = PROGRAM.iter().position(|&byte| byte == 0x75);
        let to = jump.map(|at| (at as i8 + 2 + PROGRAM[at + 1] as i8) as usize);
        assert_eq!(to, sum);
    }
}
