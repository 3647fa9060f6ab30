//! How fast the time-stamp counter and the local APIC's timer run.
//!
//! Nothing here happens before a program first asks for the time.

use core::arch::x86_64::{__cpuid, CpuidResult};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use x86_64::instructions::port::Port;

use super::{apic, cpu, paging, pvclock};

/// Bus cycles a second that QEMU and KVM give every local APIC timer.
const VIRTUAL_BUS: u64 = 1_000_000_000;

/// How long a reference clock is watched: a part in 10,000 at a microsecond's uncertainty.
const WATCH: core::time::Duration = core::time::Duration::from_millis(5);
/// A reference clock that shows the same after so many cycles, about a millisecond, is none.
const STANDS_STILL: u64 = 1 << 22;
/// After so many cycles a reference clock that has not got that far is none.
const GIVE_UP: u64 = 1 << 29;

static BUS: AtomicU64 = AtomicU64::new(0);

/// Who makes the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hypervisor {
    Kvm,
    /// QEMU without help from hardware.
    Tcg,
    Other,
}

/// The first leaf of CPUID that is a hypervisor's.
const HYPERVISOR: u32 = 0x4000_0000;

fn leaf(number: u32) -> CpuidResult {
    __cpuid(number)
}

fn hypervisor() -> Option<Hypervisor> {
    (leaf(1).ecx & 1 << 31 != 0).then(|| match leaf(HYPERVISOR).ebx.to_le_bytes() {
        // The first bytes of `KVMKVMKVM` and `TCGTCGTCGTCG`.
        [b'K', b'V', b'M', _] => Hypervisor::Kvm,
        [b'T', b'C', b'G', _] => Hypervisor::Tcg,
        _ => Hypervisor::Other,
    })
}

/// True when the machine is QEMU's without help from hardware.
pub fn is_translated() -> bool {
    hypervisor() == Some(Hypervisor::Tcg)
}

/// The leaf that tells of the counter and the crystal that it is derived from (SDM volume 2, CPUID, leaf
/// 15H).
fn counter_leaf() -> Option<CpuidResult> {
    (leaf(0).eax >= 0x15).then(|| leaf(0x15))
}

fn from_processor() -> Option<u64> {
    let counter = counter_leaf()?;
    let cycles = u64::from(counter.ecx) * u64::from(counter.ebx);
    (cycles != 0).then(|| cycles.checked_div(counter.eax.into()))?
}

/// KHz by the leaf that VMware began with and others have taken over.
fn from_hypervisor() -> Option<u64> {
    const FREQUENCIES: u32 = HYPERVISOR + 0x10;
    hypervisor()?;
    let khz = (leaf(HYPERVISOR).eax >= FREQUENCIES).then(|| leaf(FREQUENCIES).eax)?;
    (khz != 0).then_some(u64::from(khz) * 1000)
}

/// Cycles of the time-stamp counter in a second, from the first source that knows: the processor's
/// own leaf, the hypervisor's leaf, KVM's paravirtual clock, the HPET, the PIT, and under QEMU the
/// local APIC's timer.
#[must_use]
pub fn timestamp_frequency() -> Option<u64> {
    from_processor()
        .or_else(from_hypervisor)
        .or_else(pvclock::frequency)
        .or_else(|| measure(Reference::Hpet(Hpet::start()?)))
        .or_else(against_pit)
        .or_else(against_apic)
}

/// Bus cycles a second of the local APIC's timer.
pub fn apic_bus_frequency() -> u64 {
    let known = BUS.load(Relaxed);
    if known != 0 {
        return known;
    }
    let frequency = match hypervisor() {
        Some(_) => VIRTUAL_BUS,
        None => counter_leaf().map_or(0, |counter| counter.ecx.into()),
    };
    let frequency = if frequency == 0 { measure_bus() } else { frequency };
    BUS.store(frequency, Relaxed);
    frequency
}

/// Measures the timer's bus against the PIT, on a machine that says nothing about itself.
fn measure_bus() -> u64 {
    apic::start_counting();
    let start = cpu::timestamp();
    let pit = against_pit();
    let (ticks, cycles) = (u64::from(apic::counted()), cpu::timestamp() - start);
    apic::stop_counting();
    match pit {
        Some(hertz) if cycles > 0 => {
            (u128::from(ticks * apic::DIVISOR) * u128::from(hertz) / u128::from(cycles)) as u64
        }
        _ => VIRTUAL_BUS,
    }
}

/// A clock of known frequency, which counts up from any value.
#[derive(Clone, Copy, Debug)]
enum Reference {
    Hpet(Hpet),
    /// Channel 2 of the programmable interval timer.
    Pit,
    /// The local APIC's timer, where its frequency is known.
    Apic,
}

impl Reference {
    /// Ticks in a second.
    const fn hertz(self) -> u64 {
        match self {
            Reference::Hpet(hpet) => 1_000_000_000_000_000 / hpet.femtoseconds,
            Reference::Pit => 1_193_182,
            Reference::Apic => VIRTUAL_BUS / apic::DIVISOR,
        }
    }

    fn ticks(self) -> u64 {
        match self {
            Reference::Hpet(hpet) => hpet.ticks(),
            Reference::Pit => u64::from(u16::MAX - pit_count()),
            Reference::Apic => u64::from(apic::counted()),
        }
    }

    /// The counter and the ticks at a moment: of several readings, the one that two time stamps enclose most tightly.
    #[inline(never)]
    fn sample(self) -> (u64, u64) {
        let (mut tightest, mut best) = (u64::MAX, (0, 0));
        for _ in 0..5 {
            let before = cpu::timestamp();
            let ticks = self.ticks();
            let spread = cpu::timestamp() - before;
            if spread < tightest {
                (tightest, best) = (spread, (before + spread / 2, ticks));
            }
        }
        best
    }
}

/// The counter's frequency by a reference clock.
fn measure(reference: Reference) -> Option<u64> {
    let hertz = reference.hertz();
    let (start, first) = reference.sample();
    let wanted = hertz * WATCH.as_millis() as u64 / 1000;
    loop {
        let elapsed = reference.ticks().wrapping_sub(first);
        if elapsed >= wanted && elapsed < 1 << 40 {
            break;
        }
        let cycles = cpu::timestamp() - start;
        if elapsed == 0 && cycles > STANDS_STILL || cycles > GIVE_UP {
            return None;
        }
    }
    let (end, last) = reference.sample();
    Some((u128::from(end - start) * u128::from(hertz) / u128::from(last - first)) as u64)
}

/// Whether the time-stamp counter runs at one speed whatever the processor does, and wherever it goes on running:
/// the processor says so, or is QEMU's. KVM's own word for it ([`STABLE`](crate::time::page::STABLE)) is
/// one for its clock.
#[must_use]
pub fn counter_is_steady() -> bool {
    const INVARIANT: u32 = 1 << 8;
    let says_so = leaf(0x8000_0000).eax >= 0x8000_0007 && leaf(0x8000_0007).edx & INVARIANT != 0;
    says_so || hypervisor() == Some(Hypervisor::Tcg)
}

/// What KVM offers its guests (Linux, Documentation/virt/kvm/x86/cpuid.rst); nothing on other machines.
pub(super) fn kvm_features() -> u32 {
    match hypervisor() {
        Some(Hypervisor::Kvm) => leaf(HYPERVISOR + 1).eax,
        _ => 0,
    }
}

/// The high precision event timer (IA-PC HPET specification 1.0a), where every PC has it.
#[derive(Clone, Copy, Debug)]
pub struct Hpet {
    counter: *const u64,
    /// The length of a tick.
    femtoseconds: u64,
}

// SAFETY: reading the counter has no effect.
unsafe impl Send for Hpet {}
// SAFETY: as above.
unsafe impl Sync for Hpet {}

impl Hpet {
    /// Lets the counter run. `None` when there is none of 64 bits.
    #[must_use]
    pub fn start() -> Option<Hpet> {
        const HPET: usize = 0xfed0_0000;
        const WIDE: u64 = 1 << 13;
        let page = paging::map_device(HPET)?;
        let register = |offset: usize| (page + offset) as *mut u64;
        // SAFETY: device registers; where there is no HPET, reads give all zeros or all ones.
        let capabilities = unsafe { register(0).read_volatile() };
        let femtoseconds = capabilities >> 32;
        let wide = capabilities & WIDE != 0 && capabilities & 0xff != 0;
        if !wide || femtoseconds == 0 || femtoseconds > 100_000_000 {
            return None;
        }
        // SAFETY: as above; bit 0 of the configuration lets the main counter run.
        unsafe {
            let configuration = register(0x10);
            configuration.write_volatile(configuration.read_volatile() | 1);
        }
        Some(Hpet { counter: register(0xf0), femtoseconds })
    }

    fn ticks(self) -> u64 {
        // SAFETY: the counter's register, which stays mapped.
        unsafe { self.counter.read_volatile() }
    }

    /// Nanoseconds since it was started.
    #[must_use]
    pub fn nanoseconds(self) -> u64 {
        (u128::from(self.ticks()) * u128::from(self.femtoseconds) / 1_000_000) as u64
    }
}

/// Channel 2 of the programmable interval timer (Intel 8254), which interrupts nobody.
fn against_pit() -> Option<u64> {
    // SAFETY: the timer's ports, and the gate of channel 2 in port 0x61 with the speaker off.
    unsafe {
        let mut gate = Port::<u8>::new(0x61);
        let value = gate.read();
        gate.write(value & !2 | 1);
        Port::<u8>::new(0x43).write(0b1011_0000);
        Port::<u8>::new(0x42).write(0xff);
        Port::<u8>::new(0x42).write(0xff);
    }
    measure(Reference::Pit)
}

/// What channel 2 has left to count down.
fn pit_count() -> u16 {
    // SAFETY: latches and reads the count, low byte first.
    unsafe {
        Port::<u8>::new(0x43).write(0b1000_0000);
        let low = Port::<u8>::new(0x42).read();
        u16::from_le_bytes([low, Port::<u8>::new(0x42).read()])
    }
}

/// QEMU gives the timer of the local APIC a frequency that is known.
fn against_apic() -> Option<u64> {
    hypervisor()?;
    apic::start_counting();
    let frequency = measure(Reference::Apic);
    apic::stop_counting();
    frequency
}
