//! A virtual processor: what it says about itself, and the state that it begins in.

use anyhow::{Context, Result};
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_cpuid_entry2, kvm_msr_entry, kvm_regs, kvm_segment,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd};

use crate::boot;

/// The first leaf that is a hypervisor's, and the one that tells how fast the clocks are.
const HYPERVISOR: u32 = 0x4000_0000;
const FREQUENCIES: u32 = HYPERVISOR + 0x10;
/// Bus cycles a second that KVM gives the local APIC's timer, in kHz.
const BUS: u32 = 1_000_000;

/// The leaf about power, and that the time-stamp counter runs at one speed.
const POWER: u32 = 0x8000_0007;
const INVARIANT_COUNTER: u32 = 1 << 8;

const MISC_ENABLE: u32 = 0x1a0;
const FAST_STRINGS: u64 = 1;
const MTRR_DEFAULT: u32 = 0x2ff;
const MTRR_ENABLED_WRITE_BACK: u64 = 1 << 11 | 6;

/// What KVM can show a guest of this host's processor.
pub fn supported(kvm: &Kvm) -> Result<CpuId> {
    let mut supported = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .context("KVM does not tell what processor there is")?;
    if host_relies_on_counter() {
        let power = |entry: &&mut kvm_cpuid_entry2| entry.function == POWER;
        if let Some(entry) = supported.as_mut_slice().iter_mut().find(power) {
            entry.edx |= INVARIANT_COUNTER;
        }
    }
    Ok(supported)
}

/// The host's own clock is the time-stamp counter. What is good for the host is good for a guest that stays there,
/// even where the processor promises nothing because the host is a guest itself.
fn host_relies_on_counter() -> bool {
    const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(CLOCK).is_ok_and(|name| name.trim() == "tsc")
}

/// Changes that for processor `number` of `count`: its own number, the timer, the clocks' speed.
pub fn describe(
    supported: &CpuId,
    kvm: &Kvm,
    number: u8,
    count: u8,
    kilohertz: Option<u32>,
) -> Vec<kvm_cpuid_entry2> {
    let mut entries = supported.as_slice().to_vec();
    let number = u32::from(number);
    let shift = u32::from(count).next_power_of_two().ilog2();
    for entry in &mut entries {
        match entry.function {
            1 => {
                entry.ebx = entry.ebx & 0xffff | number << 24 | u32::from(count) << 16;
                entry.ecx |= 1 << 31;
                if kvm.check_extension(Cap::TscDeadlineTimer) {
                    entry.ecx |= 1 << 24;
                }
            }
            // One package of so many cores with one thread each.
            0xb | 0x1f => {
                entry.edx = number;
                (entry.eax, entry.ebx, entry.ecx) = match entry.index {
                    0 => (0, 1, 1 << 8),
                    1 => (shift, count.into(), 2 << 8 | 1),
                    index => (0, 0, index),
                };
            }
            HYPERVISOR if kilohertz.is_some() => entry.eax = entry.eax.max(FREQUENCIES),
            // The processor's name, which KVM leaves out.
            0x8000_0002..=0x8000_0004 => {
                let own = std::arch::x86_64::__cpuid(entry.function);
                (entry.eax, entry.ebx, entry.ecx, entry.edx) = (own.eax, own.ebx, own.ecx, own.edx);
            }
            // No counters for performance.
            0xa => entry.eax = 0,
            _ => {}
        }
    }
    entries.retain(|entry| entry.function != FREQUENCIES);
    if let Some(kilohertz) = kilohertz {
        entries.push(kvm_cpuid_entry2 {
            function: FREQUENCIES,
            eax: kilohertz,
            ebx: BUS,
            ..kvm_cpuid_entry2::default()
        });
    }
    entries
}

/// Tells a processor what it says about itself: first of all, for later kernels refuse long mode on a processor
/// that does not have it yet.
pub fn identify(vcpu: &VcpuFd, cpuid: &[kvm_cpuid_entry2]) -> Result<()> {
    let cpuid = CpuId::from_entries(cpuid).ok().context("too many leaves of CPUID")?;
    vcpu.set_cpuid2(&cpuid).context("KVM does not take CPUID")
}

/// Sets a processor up: it begins at `entry` in long mode, as `hermit_entry::Entry` promises, and gets its
/// number.
pub fn set_up(vcpu: &VcpuFd, entry: u64, number: u8) -> Result<()> {
    let msrs = [(MISC_ENABLE, FAST_STRINGS), (MTRR_DEFAULT, MTRR_ENABLED_WRITE_BACK)];
    let msrs = msrs.map(|(index, data)| kvm_msr_entry { index, data, ..kvm_msr_entry::default() });
    let msrs = Msrs::from_entries(&msrs).ok().context("too many registers")?;
    vcpu.set_msrs(&msrs).context("KVM does not take model-specific registers")?;

    let mut special = vcpu.get_sregs().context("KVM gives no registers")?;
    let segment = |number: u16, type_: u8, long: u8| kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: number << 3,
        type_,
        present: 1,
        dpl: 0,
        db: 1 - long,
        s: 1,
        l: long,
        g: 1,
        ..kvm_segment::default()
    };
    special.cs = segment(1, 11, 1);
    let data = segment(2, 3, 0);
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    special.gdt.base = boot::DESCRIPTORS;
    special.gdt.limit = size_of_val(&boot::SEGMENTS) as u16 - 1;
    // Protection, the coprocessor's two bits, numeric errors, write protection, paging.
    special.cr0 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;
    special.cr3 = boot::PAGE_TABLES;
    special.cr4 = 1 << 5;
    // Long mode enabled and active, no-execute.
    special.efer = 1 << 8 | 1 << 10 | 1 << 11;
    vcpu.set_sregs(&special).context("KVM does not take long mode")?;
    let registers = kvm_regs {
        rflags: 2,
        rip: entry,
        rdi: boot::INFORMATION,
        rsi: number.into(),
        // As after a call.
        rsp: boot::STACK - 8,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&registers).context("KVM does not take registers")
}

/// The general registers, in gdb's order.
pub fn general(registers: &mut kvm_regs) -> [&mut u64; 16] {
    let r = registers;
    [
        &mut r.rax, &mut r.rbx, &mut r.rcx, &mut r.rdx, &mut r.rsi, &mut r.rdi, &mut r.rbp,
        &mut r.rsp, &mut r.r8, &mut r.r9, &mut r.r10, &mut r.r11, &mut r.r12, &mut r.r13,
        &mut r.r14, &mut r.r15,
    ]
}
