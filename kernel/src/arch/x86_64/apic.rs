//! The local APIC (SDM volume 3, chapter 11) with its timer.
//!
//! It comes up when a thread first needs an interrupt: a program that neither sleeps nor has a
//! second thread nor waits for input never pays for it.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

use super::cpu::{self, Feature};
use super::local::Local;
use super::{clock, paging, trap};
use crate::time;

const APIC_BASE: u32 = 0x1b;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_X2: u64 = 1 << 10;

/// Registers, as offsets in the memory-mapped page; an x2APIC has them at 0x800 + offset / 16.
const ID: u32 = 0x20;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS_VECTOR: u32 = 0xf0;
const COMMAND: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
const TIMER_ENTRY: u32 = 0x320;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

/// Kinds of [`COMMAND`], and that it goes to all but the sender (SDM volume 3, 11.6.1).
const INIT: u32 = 0b101 << 8 | ASSERT;
const STARTUP: u32 = 0b110 << 8 | ASSERT;
const ASSERT: u32 = 1 << 14;
const ALL_OTHERS: u32 = 0b11 << 18;
const PENDING: u32 = 1 << 12;

const SOFTWARE_ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const DIVIDE_BY_16: u32 = 0b0011;
/// The timer counts once in so many bus cycles.
pub const DIVISOR: u64 = 16;

/// The bit of CPUID's first leaf, the mode of the timer's entry, and the register of a timer that goes by the
/// time-stamp counter (SDM volume 3, 11.5.4.1).
const TSC_DEADLINE: u32 = 1 << 24;
const BY_COUNTER: u32 = 0b10 << 17;
const DEADLINE_REGISTER: u32 = 0x6e0;

/// The timer goes by the time-stamp counter: one write arms it, without a division of the bus's speed.
static DEADLINE: AtomicBool = AtomicBool::new(false);
static READY: AtomicBool = AtomicBool::new(false);
/// Address of the memory-mapped registers; 0 with an x2APIC.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);

fn read(register: u32) -> u32 {
    match REGISTERS.load(Relaxed) {
        // SAFETY: the x2APIC mode is on; reading a register of the timer or the identity is harmless.
        0 => unsafe { Msr::new(0x800 + register / 16).read() as u32 },
        // SAFETY: the page is mapped as device registers and stays so.
        page => unsafe { ((page + register as usize) as *const u32).read_volatile() },
    }
}

fn write(register: u32, value: u32) {
    match REGISTERS.load(Relaxed) {
        // SAFETY: the x2APIC mode is on; the callers write what the manual allows.
        0 => unsafe { Msr::new(0x800 + register / 16).write(u64::from(value)) },
        // SAFETY: the page is mapped as device registers and stays so.
        page => unsafe { ((page + register as usize) as *mut u32).write_volatile(value) },
    }
}

/// Keeps the two legacy interrupt controllers quiet: firmware leaves them on vectors of exceptions.
pub fn mask_legacy_controllers() {
    // SAFETY: their mask registers; where there are none, the writes go nowhere.
    unsafe {
        Port::<u8>::new(0x21).write(0xff);
        Port::<u8>::new(0xa1).write(0xff);
    }
}

/// Brings the first processor's local APIC up, once.
pub fn init() {
    if !READY.swap(true, Relaxed) {
        enable();
    }
}

/// Brings the running processor's local APIC up.
pub fn enable() {
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: the register exists on every 64-bit processor; x2APIC mode only where CPUID has it.
    unsafe {
        let mut value = base.read() | APIC_BASE_ENABLE;
        if cpu::has(Feature::X2Apic) {
            value |= APIC_BASE_X2;
        } else if REGISTERS.load(Relaxed) == 0 {
            let page =
                paging::map_device(value as usize & !0xfff).expect("memory for one page table");
            REGISTERS.store(page, Relaxed);
        }
        base.write(value);
    }
    write(SPURIOUS_VECTOR, SOFTWARE_ENABLE | u32::from(trap::SPURIOUS));
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    let deadline = core::arch::x86_64::__cpuid(1).ecx & TSC_DEADLINE != 0;
    DEADLINE.store(deadline && clock::counter_is_steady(), Relaxed);
    set_timer_entry();
}

/// Lets the timer interrupt, by its count or by the time-stamp counter.
fn set_timer_entry() {
    let mode = match DEADLINE.load(Relaxed) {
        true => BY_COUNTER,
        false => 0,
    };
    write(TIMER_ENTRY, mode | u32::from(trap::TIMER));
    // The entry's write must be there before the deadline's (SDM volume 3, 11.5.4.1).
    // SAFETY: every 64-bit processor has the instruction.
    unsafe { core::arch::x86_64::_mm_mfence() };
}

/// The number that the running processor is known by to the interrupt controllers.
#[must_use]
pub fn own_id() -> u32 {
    match REGISTERS.load(Relaxed) {
        0 => read(ID),
        _ => read(ID) >> 24,
    }
}

/// Sends a command to the processor with this number. Interrupts are off.
fn command(destination: u32, command: u32) {
    match REGISTERS.load(Relaxed) {
        // SAFETY: the x2APIC mode is on; the callers' commands are for processors that run the kernel, or
        // are about to.
        0 => unsafe {
            // Earlier writes must be there before the interrupt: WRMSR to an x2APIC does not see to it.
            core::arch::x86_64::_mm_mfence();
            Msr::new(0x800 + COMMAND / 16).write(u64::from(destination) << 32 | u64::from(command));
        },
        _ => {
            write(COMMAND_HIGH, destination << 24);
            write(COMMAND, command);
            while read(COMMAND) & PENDING != 0 {
                core::hint::spin_loop();
            }
        }
    }
}

/// Makes another processor look whether there is something to do for it. Interrupts are off.
pub fn interrupt(other: &Local) {
    command(other.apic.get(), ASSERT | u32::from(trap::CALL));
}

/// Resets all other processors and lets them start in real mode at the physical address `page << 12`.
pub fn start_others(page: u8) {
    init();
    command(0, INIT | ALL_OTHERS);
    // Twice, as the manual wants it (SDM volume 3, 9.4.4.1); one that runs already takes no notice.
    for _ in 0..2 {
        command(0, STARTUP | ALL_OTHERS | u32::from(page));
    }
}

/// Tells the local APIC that the interrupt in service has been handled.
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Lets the timer interrupt once, `nanoseconds` from now at the earliest (sooner only when the time
/// is more than the counter holds: over a minute).
pub fn arm_timer(nanoseconds: u64) {
    init();
    if DEADLINE.load(Relaxed) {
        let cycles = u128::from(nanoseconds) * u128::from(time::frequency()) / 1_000_000_000;
        let cycles = u64::try_from(cycles).unwrap_or(u64::MAX / 2);
        // One more than passes: the timer must not come early.
        return set_deadline(cpu::timestamp().saturating_add(cycles + 1));
    }
    let ticks = u128::from(nanoseconds) * u128::from(clock::apic_bus_frequency())
        / (1_000_000_000 * u128::from(DIVISOR));
    write(TIMER_INITIAL, u32::try_from(ticks + 1).unwrap_or(u32::MAX));
}

/// Lets the timer interrupt when the time-stamp counter has got so far. 0 would be never.
fn set_deadline(cycles: u64) {
    // SAFETY: CPUID announced the register.
    unsafe { Msr::new(DEADLINE_REGISTER).write(cycles) };
}

/// The timer as a clock to measure others with: counts up, wraps after `u32::MAX`. The timer's
/// interrupt is masked until [`stop_counting`].
pub fn start_counting() {
    init();
    write(TIMER_ENTRY, u32::from(trap::TIMER) | MASKED);
    write(TIMER_INITIAL, u32::MAX);
}

/// Ticks since [`start_counting`].
pub fn counted() -> u32 {
    u32::MAX - read(TIMER_CURRENT)
}

/// Ends what [`start_counting`] began. The timer interrupts at once, so that the scheduler arms it
/// anew for what it had been armed for.
pub fn stop_counting() {
    set_timer_entry();
    match DEADLINE.load(Relaxed) {
        true => set_deadline(1),
        false => write(TIMER_INITIAL, 1),
    }
}
