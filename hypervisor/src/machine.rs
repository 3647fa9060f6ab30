//! The virtual machine: made, filled, run.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};

use crate::calls::Context;
use crate::console::Console;
use crate::debugger::Debugger;
use crate::devices::channel::Name;
use crate::devices::passt::Passt;
use crate::devices::queue::{Device, descriptor};
use crate::devices::{Bus, block, channel, entropy, net, tap, vsock};
use crate::ends::{self, Signals};
use crate::exit::Processor;
use crate::files::Files;
use crate::jail;
use crate::memory::Memory;
use crate::options::{Card, Options};
use crate::stats::Stats;
use crate::symbols::Symbols;
use crate::{boot, cpu, gdb, image};

/// The interrupt line that tells the guest of input.
const INPUT_LINE: u32 = 4;

/// A virtual machine with what all its threads share.
pub struct Machine {
    /// What hypercalls work on.
    pub context: Context,
    /// Devices.
    pub(crate) bus: Bus,
    /// Names on the host that go with the run.
    pub(crate) names: Vec<Name>,
    /// The names of its functions.
    pub(crate) symbols: Symbols,
    /// The processors.
    pub vcpus: Vec<Arc<Mutex<VcpuFd>>>,
    /// The file for a core.
    pub core: Option<File>,
    /// Counts.
    pub stats: Stats,
    /// KVM's part. It is here so that it lives as long as the processors do.
    pub vm: VmFd,
}

/// Runs an image; ends the process with the guest's status.
///
/// # Errors
///
/// What keeps the guest from being started.
pub fn run(mut options: Options) -> Result<()> {
    let stats = Stats::default();
    let signals = Signals::block()?;
    let kvm = skete_kvm_probe::open()?;
    let bytes = image::open(&options.image)?;
    let image =
        image::parse(&bytes).with_context(|| format!("{} is no image", options.image.display()))?;
    let console = Console::new(options.console.as_deref())?;
    let files = Files::new(&options.mounts)?;
    if image::hermit_version(&image).is_none() {
        let own = boot::own_options(&options, &console.terminals());
        options.kernel.splice(0..0, own);
    }
    let memory = Memory::new(options.memory, options.huge_pages)?;
    let loaded = image::load(&image, &memory)?;
    let symbols = Symbols { bytes, base: loaded.base };

    let vm = make(&kvm)?;
    memory.give(&vm)?;
    vm.register_irqfd(&console.arrived, INPUT_LINE).context("KVM gives no interrupt")?;
    let vcpus = (0..options.cpus)
        .map(|number| vm.create_vcpu(number.into()).context("KVM gives no processor"));
    let mut vcpus = vcpus.collect::<Result<Vec<VcpuFd>>>()?;
    let kilohertz = vcpus.first().and_then(|vcpu| vcpu.get_tsc_khz().ok());
    let supported = cpu::supported(&kvm)?;
    for (number, vcpu) in (0..).zip(&mut vcpus) {
        let cpuid = cpu::describe(&supported, &kvm, number, options.cpus, kilohertz);
        cpu::identify(vcpu, &cpuid)?;
        if number == 0 {
            skete_kvm_probe::works(vcpu, memory.map())?;
        }
        cpu::set_up(vcpu, loaded.entry, number)?;
    }
    let (devices, names) = devices(&options, &memory)?;
    let create = |path: &PathBuf| {
        File::create(path).with_context(|| format!("cannot make {}", path.display()))
    };
    let core = options.core.as_ref().map(create).transpose()?;
    let listener = options.gdb.as_deref().map(gdb::listen).transpose()?;
    // All is open; threads that are started from here on are confined as well.
    if options.jail {
        jail::confine_files(files.directories(), names.iter().map(Name::directory))?;
    }
    let mut bus = Bus::default();
    for device in devices {
        let word = bus.add(&vm, &memory, device, options.jail)?;
        options.kernel.push(word);
    }
    boot::write(&memory, &options, loaded.info, kilohertz)?;
    let vcpus = vcpus.into_iter().map(|vcpu| Arc::new(Mutex::new(vcpu))).collect();
    let machine = Arc::new(Machine {
        context: Context { memory, console, files, options },
        bus,
        names,
        symbols,
        vcpus,
        core,
        stats,
        vm,
    });
    let context = &machine.context;
    let debugger = listener.as_ref().map(|_| Debugger::new(context.options.cpus).map(Arc::new));
    let debugger = debugger.transpose()?;
    for (number, vcpu) in (0..).zip(&machine.vcpus) {
        let processor = Processor {
            machine: machine.clone(),
            vcpu: vcpu.clone(),
            number,
            debugger: debugger.clone(),
        };
        let thread = thread::Builder::new()
            .name(format!("vcpu{number}"))
            .stack_size(256 << 10)
            .spawn(move || processor.run())
            .context("the host gives no thread for a processor")?;
        if let Some(debugger) = &debugger {
            debugger.add_thread(thread);
        }
    }
    if let (Some(debugger), Some(listener)) = (debugger, listener) {
        let guest = gdb::Guest {
            debugger,
            vcpus: machine.vcpus.clone(),
            memory: context.memory.clone(),
            resume: gdb::Resume::default(),
        };
        let machine = machine.clone();
        let jail = context.options.jail.then(|| jail::asked_for(&context.options, false));
        gdb::start(guest, listener, jail, move || {
            ends::finish(&machine, ends::End::Signal(libc::SIGKILL))
        })?;
    }
    if context.options.jail {
        jail::confine_calls(&[], &jail::asked_for(&context.options, false))?;
    }
    watch(&machine, &signals)
}

/// The guest's devices, and what names they have on the host.
fn devices(options: &Options, memory: &Memory) -> Result<(Vec<Device>, Vec<Name>)> {
    let (mut devices, mut names) = (Vec::new(), Vec::new());
    for card in &options.cards {
        let card = match card {
            // A pair of queues for each processor.
            Card::Tap(name) => {
                net::on_tap(tap::open(name, net::MOST_PAIRS.min(options.cpus.into()))?)
            }
            Card::User => net::on_passt(Passt::start(&options.published)?),
        };
        devices.push(card.context("the host does not give what a network card needs")?);
    }
    for disk in &options.disks {
        devices.push(block::open(disk)?);
    }
    devices.extend(options.rng.then(entropy::source));
    if let Some(cid) = options.vsock {
        devices.push(vsock::open(cid, memory)?);
    }
    for path in &options.channels {
        let (device, name) = channel::listen(path)?;
        devices.push(device);
        names.push(name);
    }
    Ok((devices, names))
}

/// A machine with interrupt controllers and nothing else.
#[inline(never)] // Instructions are counted from here on.
fn make(kvm: &Kvm) -> Result<VmFd> {
    for (capability, name) in [
        (Cap::Irqchip, "interrupt controllers"),
        (Cap::UserMemory, "memory"),
        (Cap::Irqfd, "interrupts by events"),
        (Cap::Ioeventfd, "events for devices"),
        (Cap::SyncRegs, "shared registers"),
    ] {
        if !kvm.check_extension(capability) {
            bail!("this host's KVM has no {name}; use QEMU (`cargo xtask run`)");
        }
    }
    let vm = kvm.create_vm().context("KVM gives no virtual machine")?;
    // Pages that Intel's processors need for themselves, where no memory of the guest's is.
    vm.set_tss_address(0xfffb_d000).context("KVM does not take an address")?;
    vm.create_irq_chip().context("KVM gives no interrupt controllers")?;
    Ok(vm)
}

/// Sees to signals and to standard input until a processor ends the process.
fn watch(machine: &Arc<Machine>, signals: &Signals) -> Result<()> {
    let console = &machine.context.console;
    loop {
        let source = console.source();
        let wanted = descriptor(&console.wanted);
        let mut ready =
            vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&wanted, PollFlags::IN)];
        if let Some(source) = &source {
            ready.push(PollFd::new(source, PollFlags::IN));
        }
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for events"),
        }
        let is_ready = |number: usize| ready.get(number).is_some_and(|fd| !fd.revents().is_empty());
        if is_ready(0)
            && let Some(signal) = signals.take()
        {
            ends::obey(machine, signal);
        }
        if is_ready(1) {
            let _ = console.wanted.read();
        }
        if is_ready(2) {
            console.receive();
        }
    }
}
