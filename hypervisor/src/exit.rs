//! A processor's thread: lets the guest run, and answers when it comes out.

use std::sync::Arc;

use kvm_bindings::kvm_guest_debug;
use kvm_ioctls::{SyncReg, VcpuExit, VcpuFd};
use parking_lot::Mutex;
use vm_memory::{Bytes as _, GuestAddress};

use crate::calls::{Call, Context, Flow};
use crate::debugger::{self, Debugger, Registers};
use crate::ends::{self, End};
use crate::jail;
use crate::machine::Machine;
use crate::stats::{Kind, Moment};
use crate::{boot, cpu, paging};

/// A processor.
pub struct Processor {
    /// The machine that it belongs to.
    pub machine: Arc<Machine>,
    /// KVM's part. Others have it only while the guest does not run.
    pub vcpu: Arc<Mutex<VcpuFd>>,
    /// Its number.
    pub number: u8,
    /// Who stops it, if anybody does.
    pub debugger: Option<Arc<Debugger>>,
}

/// The most frames of a stack that are shown.
const MOST_FRAMES: usize = 64;

impl Processor {
    /// Runs the guest to its end, which is the process's.
    pub fn run(self) {
        self.vcpu.lock().set_sync_valid_reg(SyncReg::Register);
        let machine = self.machine.clone();
        let options = &machine.context.options;
        if self.debugger.is_some()
            && let Err(error) = debugger::let_signal_into_guest_only(&self.vcpu.lock())
        {
            ends::finish(&machine, End::Broken(format!("{error:#}")));
        }
        if options.jail
            && let Err(error) =
                jail::confine_calls(jail::PROCESSOR, &jail::asked_for(options, true))
        {
            ends::finish(&machine, End::Refused(format!("{error:#}")));
        }
        if self.number == 0 {
            self.watch_for_main();
            machine.stats.reached(Moment::Entry);
        }
        let mut known = 0;
        loop {
            if let Some(debugger) = &self.debugger
                && let Err(error) = debugger.pass(self.number, &self.vcpu, &mut known)
            {
                ends::finish(&machine, End::Broken(format!("{error:#}")));
            }
            let Some((kind, end)) = self.enter() else { continue };
            machine.stats.count(kind);
            if let Some(end) = end {
                if matches!(end, End::TripleFault | End::Broken(_) | End::Refused(_)) {
                    self.show();
                }
                ends::finish(&machine, end);
            }
        }
    }

    /// Has the guest come out once when the program begins, for the numbers at the end.
    fn watch_for_main(&self) {
        if self.machine.context.options.stats
            && self.debugger.is_none()
            && let Some(main) = self.machine.symbols.address("main")
        {
            let mut registers = Registers::default();
            if registers.add(main, 0) {
                // Without it, the numbers say that it was not seen.
                let _ = debugger::set(&self.vcpu.lock(), &registers, false);
            }
        }
    }

    /// Lets the guest run. Gives what it came out for, and the end when there is one; `None` when it came out for
    /// the monitor.
    fn enter(&self) -> Option<(Kind, Option<End>)> {
        let number = self.number;
        let mut vcpu = self.vcpu.lock();
        let broken = |why| Some((Kind::Other, Some(End::Broken(why))));
        let done = |kind| Some((kind, None));
        match vcpu.run() {
            Ok(VcpuExit::IoOut(port, data)) => {
                let mut value = [0; 4];
                value.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
                let argument = vcpu.sync_regs().regs.rdi;
                // It stands still for as long as the call takes.
                drop(vcpu);
                Some(self.out(Call { port, argument, value: u32::from_le_bytes(value) }))
            }
            // Nothing is there: all ones.
            Ok(VcpuExit::IoIn(_, data)) => {
                data.fill(0xff);
                done(Kind::Port)
            }
            Ok(VcpuExit::MmioRead(address, data)) => {
                self.machine.bus.read(address, data);
                done(Kind::Device)
            }
            Ok(VcpuExit::MmioWrite(address, data)) => {
                self.machine.bus.write(address, data);
                done(Kind::Device)
            }
            Ok(VcpuExit::Shutdown) => Some((Kind::Other, Some(End::TripleFault))),
            Ok(VcpuExit::SystemEvent(kind, _)) => {
                broken(format!("it asked for system event {kind}"))
            }
            Ok(VcpuExit::InternalError) => broken(format!(
                "KVM cannot go on with processor {number} (internal error: an instruction that it does not know, or memory that is not there)"
            )),
            Ok(VcpuExit::FailEntry(reason, _)) => broken(format!(
                "processor {number} does not enter the guest (hardware reason {reason:#x})"
            )),
            Ok(VcpuExit::Debug(info)) => match &self.debugger {
                Some(debugger) => {
                    debugger.hit(number, info.dr6);
                    done(Kind::Debug)
                }
                None => {
                    let _ = vcpu.set_guest_debug(&kvm_guest_debug::default());
                    self.machine.stats.reached(Moment::Main);
                    None
                }
            },
            Ok(VcpuExit::Intr) => done(Kind::Signal),
            Ok(other) => {
                broken(format!("KVM has left processor {number} for an unknown reason: {other:?}"))
            }
            Err(error) => match error.errno() {
                // Just after its start a processor may be told to try again.
                libc::EINTR | libc::EAGAIN => {
                    // A stop of this process, or of the whole host, comes as a signal. A guest without KVM's clock
                    // cannot be told, and need not.
                    let _ = vcpu.kvmclock_ctrl();
                    if self.debugger.is_some() {
                        debugger::take_signal();
                    }
                    done(Kind::Signal)
                }
                _ => broken(format!("processor {number} does not run: {error}")),
            },
        }
    }

    /// The guest has written to a port.
    fn out(&self, call: Call) -> (Kind, Option<End>) {
        let context = &self.machine.context;
        let tables = || self.vcpu.lock().get_sregs().map_or(boot::PAGE_TABLES, |found| found.cr3);
        let flow = context.handle(call, &tables);
        if context.options.trace
            && let Some(name) = Context::name(call.port)
        {
            let shown = if call.port < 0x1000 { call.value.into() } else { call.argument };
            let done = match flow {
                Some(Flow::Continue) => "done".to_owned(),
                other => format!("{other:?}"),
            };
            say!("skete: cpu {}: {name}({shown:#x}) = {done}", self.number);
        }
        let end = match flow {
            None => return (Kind::Port, None),
            Some(Flow::Continue) => None,
            Some(Flow::Exit(status)) => Some(End::Status(status)),
            Some(Flow::ReaderGone) => Some(End::ReaderGone),
            Some(Flow::NoParameters(address)) => Some(End::Refused(format!(
                "the parameters of its call {} are not in its memory: {address:#x}",
                Context::name(call.port).unwrap_or_default()
            ))),
        };
        (Kind::Call, end)
    }

    /// Shows the registers and the stack.
    fn show(&self) {
        let vcpu = self.vcpu.lock();
        let (Ok(mut general), Ok(special)) = (vcpu.get_regs(), vcpu.get_sregs()) else {
            return;
        };
        // Where a processor begins when it is switched on (SDM volume 3, 10.1.1).
        if (special.cs.selector, general.rip) == (0xf000, 0xfff0) {
            say!(
                "skete: processor {} was reset by its fault, as AMD's are: its registers are lost; a breakpoint before the fault keeps them (--gdb)",
                self.number
            );
            return;
        }
        say!("skete: registers of processor {}:", self.number);
        const NAMES: &str = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip flags \
            cr0 cr2 cr3 cr4 efer cs";
        let (s, cs) = (special, special.cs.selector.into());
        let others = [general.rip, general.rflags, s.cr0, s.cr2, s.cr3, s.cr4, s.efer, cs];
        let values = cpu::general(&mut general).map(|register| *register).into_iter().chain(others);
        let registers = NAMES.split(' ').zip(values).collect::<Vec<_>>();
        for row in registers.chunks(4) {
            let row = row.iter().map(|(name, value)| format!("{name:>5} {value:016x}"));
            say!(" {}", row.collect::<Vec<_>>().join(" "));
        }
        say!("skete: stack of processor {}:", self.number);
        let memory = &self.machine.context.memory;
        let word = |address| {
            let place = paging::translate(memory, special.cr3, address)?;
            memory.map().read_obj::<u64>(GuestAddress(place)).ok()
        };
        let (mut code, mut frame) = (general.rip, general.rbp);
        for number in 0..MOST_FRAMES {
            // Where a call goes on may be behind the end of its function.
            let name = self.machine.symbols.name(code - u64::from(number > 0));
            say!("{number:>4}: {code:#018x} {}", name.as_deref().unwrap_or("?"));
            // A frame begins with where the caller's is, and where it goes on (System V ABI, 3.2.2).
            match (word(frame), word(frame.wrapping_add(8))) {
                (Some(next), Some(back)) if back > 0 => (frame, code) = (next, back),
                _ => break,
            }
        }
    }
}
