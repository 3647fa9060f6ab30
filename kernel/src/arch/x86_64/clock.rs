//! How fast the time-stamp counter and the local APIC's timer run.
//!
//! Nothing here happens before a program first asks for the time.

use core::arch::x86_64::{__cpuid, CpuidResult};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

use super::{apic, cpu, paging};

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
        .or_else(paravirtual)
        .or_else(against_hpet)
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
    let frequency = if frequency == 0 {
        measure_bus()
    } else {
        frequency
    };
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

/// The counter's frequency by a clock of known frequency that counts up from any value.
fn measure(hertz: u64, read: &dyn Fn() -> u64) -> Option<u64> {
    // Of several readings, the one that the two time stamps enclose most tightly.
    let sample = || {
        (0..5)
            .map(|_| {
                let before = cpu::timestamp();
                let value = read();
                let after = cpu::timestamp();
                (after - before, before + (after - before) / 2, value)
            })
            .min_by_key(|sample| sample.0)
            .expect("five samples")
    };
    let (_, start, first) = sample();
    let wanted = hertz * WATCH.as_millis() as u64 / 1000;
    loop {
        let elapsed = read().wrapping_sub(first);
        if elapsed >= wanted && elapsed < 1 << 40 {
            break;
        }
        let cycles = cpu::timestamp() - start;
        if elapsed == 0 && cycles > STANDS_STILL || cycles > GIVE_UP {
            return None;
        }
    }
    let (_, end, last) = sample();
    Some((u128::from(end - start) * u128::from(hertz) / u128::from(last - first)) as u64)
}

/// KVM's clock page (Linux, Documentation/virt/kvm/x86/msr.rst): it tells the scale of the counter.
#[repr(C, align(64))]
struct ClockPage(UnsafeCell<[u32; 8]>);

// SAFETY: written by the hypervisor, read with volatile accesses.
unsafe impl Sync for ClockPage {}

fn paravirtual() -> Option<u64> {
    static PAGE: ClockPage = ClockPage(UnsafeCell::new([0; 8]));
    const SYSTEM_TIME_NEW: u32 = 0x4b56_4d01;
    const CLOCK_SOURCE_2: u32 = 1 << 3;

    if hypervisor()? != Hypervisor::Kvm || leaf(HYPERVISOR + 1).eax & CLOCK_SOURCE_2 == 0 {
        return None;
    }
    let physical = paging::translate(PAGE.0.get() as usize)?;
    // SAFETY: KVM writes 32 bytes of time information to the static page, until the register is
    // cleared again.
    let fields = unsafe {
        let mut register = Msr::new(SYSTEM_TIME_NEW);
        register.write(physical as u64 | 1);
        let fields = PAGE.0.get().read_volatile();
        register.write(0);
        fields
    };
    let (multiplier, shift) = (u64::from(fields[6]), fields[7] as i8);
    if multiplier == 0 {
        return None;
    }
    // nanoseconds = (cycles << shift) * multiplier >> 32, so a second takes:
    let cycles = (1_000_000_000u128 << 32) / u128::from(multiplier);
    Some(if shift >= 0 {
        cycles >> shift
    } else {
        cycles << -shift
    } as u64)
}

/// Whether the time-stamp counter runs at one speed whatever the processor does: the processor says so, or
/// the hypervisor that makes the counter.
#[must_use]
pub fn counter_is_steady() -> bool {
    const INVARIANT: u32 = 1 << 8;
    const KVM_STABLE: u32 = 1 << 24;
    let says_so = leaf(0x8000_0000).eax >= 0x8000_0007 && leaf(0x8000_0007).edx & INVARIANT != 0;
    says_so
        || match hypervisor() {
            Some(Hypervisor::Tcg) => true,
            Some(Hypervisor::Kvm) => leaf(HYPERVISOR + 1).eax & KVM_STABLE != 0,
            _ => false,
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
        Some(Hpet {
            counter: register(0xf0),
            femtoseconds,
        })
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

fn against_hpet() -> Option<u64> {
    let hpet = Hpet::start()?;
    measure(1_000_000_000_000_000 / hpet.femtoseconds, &|| hpet.ticks())
}

/// Channel 2 of the programmable interval timer (Intel 8254), which interrupts nobody.
fn against_pit() -> Option<u64> {
    const HERTZ: u64 = 1_193_182;
    // SAFETY: the timer's ports, and the gate of channel 2 in port 0x61 with the speaker off.
    unsafe {
        let mut gate = Port::<u8>::new(0x61);
        let value = gate.read();
        gate.write(value & !2 | 1);
        Port::<u8>::new(0x43).write(0b1011_0000);
        Port::<u8>::new(0x42).write(0xff);
        Port::<u8>::new(0x42).write(0xff);
    }
    measure(HERTZ, &|| {
        // SAFETY: latches and reads the count, low byte first.
        let count = unsafe {
            Port::<u8>::new(0x43).write(0b1000_0000);
            let low = Port::<u8>::new(0x42).read();
            u16::from_le_bytes([low, Port::<u8>::new(0x42).read()])
        };
        u64::from(u16::MAX - count)
    })
}

/// QEMU gives the timer of the local APIC a frequency that is known.
fn against_apic() -> Option<u64> {
    hypervisor()?;
    apic::start_counting();
    let frequency = measure(VIRTUAL_BUS / apic::DIVISOR, &|| u64::from(apic::counted()));
    apic::stop_counting();
    frequency
}
