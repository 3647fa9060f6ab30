//! The GDB stub: each processor is a thread.
//!
//! Breakpoints are the processors' own, four with the watchpoints, for `break` as well as for `hbreak`.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use gdbstub::common::{Signal, Tid};
use gdbstub::conn::ConnectionExt as _;
use gdbstub::stub::run_blocking::{BlockingEventLoop, Event, WaitForStopReasonError};
use gdbstub::stub::{DisconnectReason, GdbStub, MultiThreadStopReason};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind,
};
use gdbstub::target::{Target, TargetError, TargetResult};
use gdbstub_arch::x86::X86_64_SSE;
use gdbstub_arch::x86::reg::X86_64CoreRegs;
use kvm_bindings::kvm_regs;
use kvm_ioctls::VcpuFd;
use parking_lot::{Mutex, MutexGuard};
use rustix::event::{PollFd, PollFlags, poll};
use vm_memory::{Bytes, GuestAddress};

use crate::cpu;
use crate::debugger::{Debugger, Registers, Stop};
use crate::devices::queue::descriptor;
use crate::jail::{self, Call};
use crate::memory::Memory;

/// What the debugger works on.
pub struct Guest {
    /// The gate.
    pub debugger: Arc<Debugger>,
    /// The processors.
    pub vcpus: Vec<Arc<Mutex<VcpuFd>>>,
    /// The guest's memory.
    pub memory: Memory,
    /// How they go on.
    pub resume: Resume,
}

/// What the debugger has asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resume {
    /// This one does a single step.
    step: Option<u8>,
    /// This one runs on.
    run: Option<u8>,
    /// Those that were not named stand still.
    locked: bool,
}

/// Waits at an address for a debugger.
pub fn listen(address: &str) -> Result<TcpListener> {
    let address =
        if address.contains(':') { address.to_owned() } else { format!("127.0.0.1:{address}") };
    let listener = TcpListener::bind(&address)
        .with_context(|| format!("cannot wait for a debugger at {address}"))?;
    say!("skete: waiting for a debugger at {address}; in another terminal:");
    say!("  gdb IMAGE -ex 'target remote {address}' -ex 'break main' -ex continue");
    Ok(listener)
}

/// An error of KVM's, after which there is nothing to debug.
fn fatal(error: kvm_ioctls::Error) -> TargetError<anyhow::Error> {
    TargetError::Fatal(error.into())
}

fn thread_of(number: u8) -> Tid {
    Tid::new(usize::from(number) + 1).unwrap_or(Tid::MIN)
}

fn number_of(thread: Tid) -> usize {
    thread.get() - 1
}

enum Events {}

impl BlockingEventLoop for Events {
    type Target = Guest;
    type Connection = TcpStream;
    type StopReason = MultiThreadStopReason<u64>;

    fn wait_for_stop_reason(
        guest: &mut Guest,
        connection: &mut TcpStream,
    ) -> Result<Event<Self::StopReason>, WaitForStopReasonError<anyhow::Error, std::io::Error>>
    {
        loop {
            if let Some(stop) = guest.debugger.why() {
                return Ok(Event::TargetStopped(guest.reason(stop)));
            }
            let stopped = descriptor(&guest.debugger.stopped);
            let mut ready =
                [PollFd::new(&stopped, PollFlags::IN), PollFd::new(connection, PollFlags::IN)];
            let _ = poll(&mut ready, None);
            if !ready[1].revents().is_empty() {
                let byte = connection.read().map_err(WaitForStopReasonError::Connection)?;
                return Ok(Event::IncomingData(byte));
            }
        }
    }

    fn on_interrupt(guest: &mut Guest) -> Result<Option<Self::StopReason>> {
        // That they have stopped is seen later.
        guest.debugger.interrupt();
        Ok(None)
    }
}

impl Guest {
    fn vcpu(&self, thread: Tid) -> Result<MutexGuard<'_, VcpuFd>> {
        let vcpu = self.vcpus.get(number_of(thread)).context("there is no such processor")?;
        Ok(vcpu.lock())
    }

    fn reason(&self, stop: Stop) -> MultiThreadStopReason<u64> {
        match stop {
            Stop::Asked => MultiThreadStopReason::SignalWithThread {
                tid: thread_of(0),
                signal: Signal::SIGINT,
            },
            Stop::Step(number) => MultiThreadStopReason::SignalWithThread {
                tid: thread_of(number),
                signal: Signal::SIGTRAP,
            },
            Stop::Hit(number, register) => {
                let tid = thread_of(number);
                match self.debugger.register(register) {
                    Some((addr, kind)) if kind & 3 != 0 => {
                        let kind =
                            if kind & 3 == 1 { WatchKind::Write } else { WatchKind::ReadWrite };
                        MultiThreadStopReason::Watch { tid, kind, addr }
                    }
                    _ => MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP },
                }
            }
        }
    }

    /// Reads or writes memory by the virtual addresses of a processor, page by page.
    fn transfer(
        &self,
        thread: Tid,
        start: u64,
        length: usize,
        mut work: impl FnMut(u64, std::ops::Range<usize>) -> bool,
    ) -> usize {
        const PAGE: u64 = 4096;
        let Ok(vcpu) = self.vcpu(thread) else {
            return 0;
        };
        let mut done = 0;
        while done < length {
            let address = start.wrapping_add(done as u64);
            let part = ((PAGE - address % PAGE) as usize).min(length - done);
            let found = vcpu.translate_gva(address).ok().filter(|found| found.valid != 0);
            match found {
                Some(found) if work(found.physical_address, done..done + part) => done += part,
                _ => break,
            }
        }
        done
    }
}

impl Target for Guest {
    type Arch = X86_64_SSE;
    type Error = anyhow::Error;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Guest {
    fn read_registers(
        &mut self,
        registers: &mut X86_64CoreRegs,
        thread: Tid,
    ) -> TargetResult<(), Self> {
        let vcpu = self.vcpu(thread).map_err(TargetError::Fatal)?;
        let (mut general, special) =
            (vcpu.get_regs().map_err(fatal)?, vcpu.get_sregs().map_err(fatal)?);
        let fpu = vcpu.get_fpu().map_err(fatal)?;
        registers.regs = cpu::general(&mut general).map(|register| *register);
        registers.rip = general.rip;
        registers.eflags = general.rflags as u32;
        let segments = &mut registers.segments;
        segments.cs = special.cs.selector.into();
        segments.ss = special.ss.selector.into();
        segments.ds = special.ds.selector.into();
        segments.es = special.es.selector.into();
        segments.fs = special.fs.selector.into();
        segments.gs = special.gs.selector.into();
        for (to, from) in registers.st.iter_mut().zip(&fpu.fpr) {
            to.copy_from_slice(&from[..10]);
        }
        registers.xmm = fpu.xmm.map(u128::from_le_bytes);
        registers.mxcsr = fpu.mxcsr;
        Ok(())
    }

    fn write_registers(
        &mut self,
        registers: &X86_64CoreRegs,
        thread: Tid,
    ) -> TargetResult<(), Self> {
        let vcpu = self.vcpu(thread).map_err(TargetError::Fatal)?;
        let (rip, rflags) = (registers.rip, registers.eflags.into());
        let mut general = kvm_regs { rip, rflags, ..kvm_regs::default() };
        for (to, from) in cpu::general(&mut general).into_iter().zip(registers.regs) {
            *to = from;
        }
        vcpu.set_regs(&general).map_err(fatal)?;
        let mut fpu = vcpu.get_fpu().map_err(fatal)?;
        for (to, from) in fpu.fpr.iter_mut().zip(&registers.st) {
            to[..10].copy_from_slice(from);
        }
        fpu.xmm = registers.xmm.map(u128::to_le_bytes);
        fpu.mxcsr = registers.mxcsr;
        vcpu.set_fpu(&fpu).map_err(fatal)?;
        Ok(())
    }

    fn read_addrs(
        &mut self,
        start: u64,
        data: &mut [u8],
        thread: Tid,
    ) -> TargetResult<usize, Self> {
        let length = data.len();
        let done = self.transfer(thread, start, length, |address, part| {
            self.memory.map().read_slice(&mut data[part], GuestAddress(address)).is_ok()
        });
        if done == 0 && length > 0 { Err(TargetError::NonFatal) } else { Ok(done) }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], thread: Tid) -> TargetResult<(), Self> {
        let done = self.transfer(thread, start, data.len(), |address, part| {
            self.memory.map().write_slice(&data[part], GuestAddress(address)).is_ok()
        });
        if done < data.len() { Err(TargetError::NonFatal) } else { Ok(()) }
    }

    fn list_active_threads(&mut self, register: &mut dyn FnMut(Tid)) -> Result<()> {
        (0..self.vcpus.len()).for_each(|number| register(thread_of(number as u8)));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadResume for Guest {
    fn resume(&mut self) -> Result<()> {
        match self.resume {
            Resume { step: Some(number), .. } => self.debugger.go(Some(number), true),
            Resume { run, locked: true, .. } => self.debugger.go(run, false),
            _ => self.debugger.go(None, false),
        }
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<()> {
        self.resume = Resume::default();
        Ok(())
    }

    fn set_resume_action_continue(&mut self, thread: Tid, _signal: Option<Signal>) -> Result<()> {
        self.resume.run = Some(number_of(thread) as u8);
        Ok(())
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSchedulerLocking for Guest {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<()> {
        self.resume.locked = true;
        Ok(())
    }
}

impl MultiThreadSingleStep for Guest {
    fn set_resume_action_step(&mut self, thread: Tid, _signal: Option<Signal>) -> Result<()> {
        self.resume.step = Some(number_of(thread) as u8);
        Ok(())
    }
}

impl Breakpoints for Guest {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Guest {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.debugger.change(|registers| registers.add(address, 0)))
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.debugger.change(|registers| registers.remove(address, 0)))
    }
}

impl HwBreakpoint for Guest {
    fn add_hw_breakpoint(&mut self, address: u64, kind: usize) -> TargetResult<bool, Self> {
        self.add_sw_breakpoint(address, kind)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, kind: usize) -> TargetResult<bool, Self> {
        self.remove_sw_breakpoint(address, kind)
    }
}

/// Adds or removes a watchpoint; `false` for one that the processor cannot have.
fn watch(
    guest: &Guest,
    (address, length, kind): (u64, u64, WatchKind),
    change: fn(&mut Registers, u64, u8) -> bool,
) -> bool {
    // What register 7 has for its length.
    let size = match length {
        1 => 0,
        2 => 1,
        4 => 3,
        8 => 2,
        _ => return false,
    };
    let access = if matches!(kind, WatchKind::Write) { 1 } else { 3 };
    address.is_multiple_of(length)
        && guest.debugger.change(|registers| change(registers, address, size << 2 | access))
}

impl HwWatchpoint for Guest {
    fn add_hw_watchpoint(
        &mut self,
        address: u64,
        length: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(watch(self, (address, length, kind), Registers::add))
    }

    fn remove_hw_watchpoint(
        &mut self,
        address: u64,
        length: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(watch(self, (address, length, kind), Registers::remove))
    }
}

/// Waits for a debugger and serves it, in a thread of its own, until it leaves; the guest then runs on. `killed` is
/// called when the debugger has killed it; `jail` are the system calls that this takes.
pub fn start(
    mut guest: Guest,
    listener: TcpListener,
    jail: Option<Vec<Call>>,
    killed: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let serve = move || {
        let outcome = serve(&mut guest, &listener, jail.as_deref());
        guest.debugger.leave();
        match outcome {
            Ok(DisconnectReason::Kill) => killed(),
            Ok(_) => {}
            Err(error) => say!("skete: {error:#}"),
        }
    };
    let thread = std::thread::Builder::new().name("gdb".into()).spawn(serve);
    thread.map(drop).context("the host gives no thread for the debugger")
}

fn serve(
    guest: &mut Guest,
    listener: &TcpListener,
    jail: Option<&[Call]>,
) -> Result<DisconnectReason> {
    if let Some(calls) = jail {
        jail::confine_calls(jail::DEBUGGER, calls)?;
    }
    let (stream, _) = listener.accept().context("no debugger can connect")?;
    let _ = stream.set_nodelay(true);
    let outcome = GdbStub::new(stream).run_blocking::<Events>(guest);
    outcome.map_err(|error| anyhow!("the debugger is gone: {error}"))
}
