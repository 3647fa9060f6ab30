//! Stops and lets go of processors for a debugger.
//!
//! A processor runs only while the gate is open. Closing it makes each one come out of the guest (a signal
//! that only KVM_RUN lets through) and wait; what it has at that time, the debugger may look at and change.

use std::os::fd::AsRawFd;
use std::thread::JoinHandle;

use anyhow::{Context, Error, Result, ensure};
use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP, kvm_guest_debug,
    kvm_guest_debug_arch,
};
use kvm_ioctls::VcpuFd;
use parking_lot::{Condvar, Mutex};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::signal::{
    Killable as _, SIGRTMIN, block_signal, clear_signal, register_signal_handler,
};

use crate::devices::queue::event;

/// Why all processors have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The debugger asked for it.
    Asked,
    /// A processor has done one step.
    Step(u8),
    /// A processor has come to a breakpoint, or done what is watched: the number of the debug register.
    Hit(u8, u8),
}

/// Breakpoints and watchpoints: the processors' four debug registers, and what each is for (SDM volume 3, 18.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    addresses: [Option<(u64, u8)>; 4],
}

impl Registers {
    /// Takes a register for an address; `kind` is what register 7 has for it: 0 to execute, 1 to write, 3 to read
    /// or write, and the length less one above it. `false` when all are taken.
    pub fn add(&mut self, address: u64, kind: u8) -> bool {
        let free = self.addresses.iter_mut().find(|place| place.is_none());
        free.map(|place| *place = Some((address, kind))).is_some()
    }

    /// Gives it back; `false` when there is none.
    pub fn remove(&mut self, address: u64, kind: u8) -> bool {
        let mut places = self.addresses.iter_mut();
        let found = places.find(|place| **place == Some((address, kind)));
        found.map(|place| *place = None).is_some()
    }

    /// What is at a register.
    pub fn get(&self, number: u8) -> Option<(u64, u8)> {
        self.addresses.get(usize::from(number)).copied().flatten()
    }

    fn values(&self) -> [u64; 8] {
        let mut values = [0; 8];
        for (number, place) in self.addresses.iter().enumerate() {
            if let Some((address, kind)) = place {
                values[number] = *address;
                values[7] |= 2 << (2 * number) | u64::from(*kind) << (16 + 4 * number);
            }
        }
        values[7] |= 1 << 9 | 1 << 10;
        values
    }
}

struct State {
    open: bool,
    /// Processors that wait at the gate.
    waiting: u8,
    /// The one that runs while the others wait.
    alone: Option<u8>,
    /// It does a single step.
    step: bool,
    registers: Registers,
    /// Counts changes of what a processor has to set before it runs.
    version: u64,
    stop: Option<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// The gate.
pub struct Debugger {
    state: Mutex<State>,
    changed: Condvar,
    processors: u8,
    /// Told when all have stopped.
    pub stopped: EventFd,
}

impl Debugger {
    /// A closed gate for so many processors.
    pub fn new(processors: u8) -> Result<Debugger> {
        Ok(Debugger {
            state: Mutex::new(State {
                open: false,
                waiting: 0,
                alone: None,
                step: false,
                registers: Registers::default(),
                version: 1,
                stop: Some(Stop::Asked),
                threads: Vec::new(),
            }),
            changed: Condvar::new(),
            processors,
            stopped: event()?,
        })
    }

    /// A processor's thread, for the signal.
    pub fn add_thread(&self, thread: JoinHandle<()>) {
        self.state.lock().threads.push(thread);
    }

    /// Lets a processor through when it may run, and sets its debug registers. `known` is what it has set.
    pub fn pass(&self, number: u8, vcpu: &Mutex<VcpuFd>, known: &mut u64) -> Result<()> {
        let mut state = self.state.lock();
        while !state.open || state.alone.is_some_and(|alone| alone != number) {
            state.waiting += 1;
            if state.waiting == self.processors {
                let _ = self.stopped.write(1);
            }
            self.changed.wait(&mut state);
            state.waiting -= 1;
        }
        if *known != state.version {
            *known = state.version;
            set(&vcpu.lock(), &state.registers, state.step)?;
        }
        Ok(())
    }

    /// A processor has come out by itself. `dr6` tells why (SDM volume 3, 18.2.3).
    pub fn hit(&self, number: u8, dr6: u64) {
        const STEP: u64 = 1 << 14;
        let mut state = self.state.lock();
        let stop =
            match (0..4).find(|bit| dr6 & 1 << bit != 0 && state.registers.get(*bit).is_some()) {
                Some(register) => Stop::Hit(number, register),
                None if dr6 & STEP != 0 => Stop::Step(number),
                None => return,
            };
        if state.open {
            self.close(&mut state, stop);
        }
    }

    /// Stops all.
    pub fn interrupt(&self) {
        let mut state = self.state.lock();
        if state.open {
            self.close(&mut state, Stop::Asked);
        }
    }

    fn close(&self, state: &mut State, stop: Stop) {
        state.open = false;
        state.stop = Some(stop);
        for thread in &state.threads {
            // All but KVM_RUN holds it back.
            let _ = thread.kill(SIGRTMIN());
        }
    }

    /// Lets all run, or one alone; with `step`, for one instruction.
    pub fn go(&self, alone: Option<u8>, step: bool) {
        let mut state = self.state.lock();
        let _ = self.stopped.read();
        (state.alone, state.step) = (alone, step);
        state.version += 1;
        state.open = true;
        state.stop = None;
        self.changed.notify_all();
    }

    /// Why all have stopped, when they have.
    pub fn why(&self) -> Option<Stop> {
        let state = self.state.lock();
        state.stop.filter(|_| state.waiting == self.processors)
    }

    /// Changes breakpoints while all stand still.
    pub fn change<T>(&self, change: impl FnOnce(&mut Registers) -> T) -> T {
        let mut state = self.state.lock();
        state.version += 1;
        change(&mut state.registers)
    }

    /// What is at a debug register.
    pub fn register(&self, number: u8) -> Option<(u64, u8)> {
        self.state.lock().registers.get(number)
    }

    /// No more breakpoints, and all run for good.
    pub fn leave(&self) {
        self.change(|registers| *registers = Registers::default());
        self.go(None, false);
    }
}

/// Sets the debug registers of a processor that does not run. With `step` it does one instruction.
pub fn set(vcpu: &VcpuFd, registers: &Registers, step: bool) -> Result<()> {
    let step = if step { KVM_GUESTDBG_SINGLESTEP } else { 0 };
    let debug = kvm_guest_debug {
        control: KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | step,
        pad: 0,
        arch: kvm_guest_debug_arch { debugreg: registers.values() },
    };
    vcpu.set_guest_debug(&debug).context("KVM does not take debug registers")
}

/// Holds the signal back in this thread, but in KVM_RUN.
pub fn let_signal_into_guest_only(vcpu: &VcpuFd) -> Result<()> {
    extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    /// `KVM_SET_SIGNAL_MASK`, with a mask of eight bytes.
    const SET_SIGNAL_MASK: libc::c_ulong = 0x4004_ae8b;
    #[repr(C, packed)]
    struct Mask {
        length: u32,
        signals: u64,
    }
    register_signal_handler(SIGRTMIN(), nothing).context("cannot handle a signal")?;
    block_signal(SIGRTMIN()).map_err(Error::msg).context("cannot hold a signal back")?;
    let mask = Mask { length: 8, signals: !(1 << (SIGRTMIN() - 1)) };
    // SAFETY: KVM reads the mask.
    let done = unsafe { libc::ioctl(vcpu.as_raw_fd(), SET_SIGNAL_MASK, &raw const mask) };
    ensure!(done == 0, "KVM does not take a signal: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Takes the signal that has brought this thread's processor out.
pub fn take_signal() {
    let _ = clear_signal(SIGRTMIN());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_registers() {
        let mut registers = Registers::default();
        for address in 0..4 {
            assert!(registers.add(address, 0));
        }
        assert!(!registers.add(4, 0));
        assert!(registers.remove(2, 0) && !registers.remove(2, 0));
        // Four bytes, written.
        assert!(registers.add(0x1000, 0b1101));
        assert_eq!(registers.get(2), Some((0x1000, 0b1101)));
        let values = registers.values();
        assert_eq!(values[2], 0x1000);
        assert_eq!(values[7], 0b10_10_10_10 | 0b1101 << 24 | 1 << 9 | 1 << 10);
    }
}
