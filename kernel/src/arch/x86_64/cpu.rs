//! Control registers and what the processor can do.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// A feature that the kernel makes use of where it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Feature {
    /// `XSAVE` and `XRSTOR`.
    Xsave = 1 << 0,
    /// `WRFSBASE` in user and kernel mode.
    FsGsBase = 1 << 1,
    /// The local APIC is reached by model-specific registers.
    X2Apic = 1 << 2,
}

static FEATURES: AtomicU32 = AtomicU32::new(0);
static VECTOR_STATE: AtomicU32 = AtomicU32::new(512);

/// True when the processor has `feature`.
#[inline]
#[must_use]
pub fn has(feature: Feature) -> bool {
    FEATURES.load(Relaxed) & feature as u32 != 0
}

/// Bytes that the vector registers take in memory (`XSAVE` area, or 512 for `FXSAVE`).
#[must_use]
pub fn vector_state_size() -> usize {
    VECTOR_STATE.load(Relaxed) as usize
}

/// Turns on write protection in ring 0, no-execute, SMEP and UMIP, and the vector registers with
/// the widest vectors that the processor has.
///
/// No-execute is on before the kernel's own page tables, which need it: see [`enable_no_execute`].
pub fn init() {
    let leaf1 = __cpuid(1);
    let leaf7 = __cpuid_count(7, 0);
    let mut features = 0;

    let mut cr4 = Cr4::read();
    cr4 |= Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE;
    if leaf7.ebx & 1 << 7 != 0 {
        cr4 |= Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION;
    }
    if leaf7.ecx & 1 << 2 != 0 {
        cr4 |= Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION;
    }
    if leaf7.ebx & 1 != 0 {
        cr4 |= Cr4Flags::FSGSBASE;
        features |= Feature::FsGsBase as u32;
    }
    if leaf1.ecx & 1 << 26 != 0 {
        cr4 |= Cr4Flags::OSXSAVE;
        features |= Feature::Xsave as u32;
    }
    if leaf1.ecx & 1 << 21 != 0 {
        features |= Feature::X2Apic as u32;
    }
    let mut cr0 = Cr0::read();
    cr0 |= Cr0Flags::WRITE_PROTECT | Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR;
    cr0 &= !(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
    // SAFETY: each flag of CR4 was announced by CPUID, or exists on every 64-bit processor; the
    // kernel's page tables mark every page that is written to as writable.
    unsafe {
        Cr4::write(cr4);
        Cr0::write(cr0);
    }
    FEATURES.store(features, Relaxed);

    if has(Feature::Xsave) {
        let supported = __cpuid_count(0xd, 0).eax;
        let mut wanted = XCr0Flags::X87 | XCr0Flags::SSE;
        if supported & 1 << 2 != 0 {
            wanted |= XCr0Flags::AVX;
        }
        let avx512 = XCr0Flags::OPMASK | XCr0Flags::ZMM_HI256 | XCr0Flags::HI16_ZMM;
        if u64::from(supported) & avx512.bits() == avx512.bits() {
            wanted |= avx512;
        }
        // SAFETY: only state components that CPUID leaf 0xd announces, in a combination that the
        // architecture allows (SDM volume 1, 13.3).
        unsafe { XCr0::write(wanted) };
        VECTOR_STATE.store(__cpuid_count(0xd, 0).ebx, Relaxed);
    }
}

/// Lets page-table entries carry the no-execute bit.
pub fn enable_no_execute() {
    // SAFETY: every 64-bit processor that QEMU, KVM or a vendor of the last decade provides has it;
    // system call extensions and long mode stay as they are.
    unsafe { Efer::update(|efer| *efer |= EferFlags::NO_EXECUTE_ENABLE) };
}

/// The bases of the thread-local data of the running thread.
#[inline]
pub fn set_thread_pointer(address: usize) {
    if has(Feature::FsGsBase) {
        // SAFETY: FSGSBASE is on; the kernel itself keeps nothing behind FS but the thread block
        // that `address` points to.
        unsafe { asm!("wrfsbase {}", in(reg) address, options(nostack, preserves_flags)) };
    } else {
        x86_64::registers::model_specific::FsBase::write(x86_64::VirtAddr::new(address as u64));
    }
}

/// The time-stamp counter.
#[inline]
#[must_use]
pub fn timestamp() -> u64 {
    // SAFETY: the instruction exists on every 64-bit processor and is allowed in ring 0.
    unsafe { core::arch::x86_64::_rdtsc() }
}
