//! How a run ends: the guest's status, a signal, a guest that cannot go on.

use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::process;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Error, Result, ensure};
use parking_lot::Mutex;
use vmm_sys_util::signal::{block_signal, create_sigset, register_signal_handler, unblock_signal};

use crate::devices::channel::Name;
use crate::machine::Machine;

/// Why a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest has ended with this status.
    Status(i32),
    /// The monitor got this signal.
    Signal(i32),
    /// The guest has faulted while it handled a fault that it had while it handled a fault.
    TripleFault,
    /// KVM cannot go on.
    Broken(String),
    /// The monitor does not go on: the guest did what it must not.
    Refused(String),
    /// Nobody reads the guest's output any more.
    ReaderGone,
}

impl End {
    /// Whether something has gone wrong in the guest: it has ended as if by a signal, or cannot go on.
    pub fn is_fault(&self) -> bool {
        match self {
            End::Status(status) => (129..160).contains(status),
            End::TripleFault | End::Broken(_) | End::Refused(_) => true,
            End::Signal(_) | End::ReaderGone => false,
        }
    }

    /// The process's status, and a line for the user.
    pub fn tell(&self) -> (u8, Option<String>) {
        match self {
            End::Status(status) => match status & 0xff {
                0 if *status != 0 => {
                    let line = format!("the program's exit status is {status}, whose low byte is 0; ending with 1");
                    (1, Some(line))
                }
                low => (low as u8, None),
            },
            End::Signal(signal) => (128 + *signal as u8, None),
            End::TripleFault => {
                (1, Some("the guest has ended without a status: a triple fault (a fault that its kernel could not handle)".into()))
            }
            End::Broken(why) => (1, Some(format!("the guest cannot go on: {why}"))),
            End::Refused(why) => (1, Some(format!("the guest was ended: {why}"))),
            End::ReaderGone => (141, None),
        }
    }
}

/// Ends the process, once: whoever comes second waits for the first.
pub fn finish(machine: &Machine, end: End) -> ! {
    static FIRST: Mutex<()> = Mutex::new(());
    let _guard = FIRST.lock();
    let (status, line) = end.tell();
    let mut text = String::new();
    if let Some(line) = line {
        text = format!("skete: {line}\n");
    }
    if end.is_fault()
        && let Some(file) = &machine.core
    {
        match write_core(machine, file) {
            Ok(()) => text.push_str("skete: the core file is written; gdb IMAGE CORE opens it\n"),
            Err(error) => {
                text.push_str(&format!("skete: the core file cannot be written: {error:#}\n"))
            }
        }
    }
    if machine.context.options.stats {
        let report = machine.stats.report(machine.context.memory.touched());
        for line in report.lines() {
            text.push_str(&format!("skete: {line}\n"));
        }
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    machine.names.iter().for_each(Name::remove);
    process::exit(status.into())
}

/// Writes a core file with the processors that stand still.
fn write_core(machine: &Machine, file: &std::fs::File) -> Result<()> {
    let mut processors = Vec::new();
    for (number, vcpu) in (0..).zip(&machine.vcpus) {
        // Another one may be in the guest.
        let Some(vcpu) = vcpu.try_lock() else { continue };
        processors.push((number, vcpu.get_regs()?, vcpu.get_sregs()?));
    }
    crate::core_file::write(file, &machine.context.memory, &processors)
}

/// Ends the process in order, because a signal has come: the next one ends it at once. No thread is started for that,
/// which the jail would have to allow.
pub fn obey(machine: &Arc<Machine>, signal: i32) -> ! {
    static MACHINE: OnceLock<Arc<Machine>> = OnceLock::new();
    extern "C" fn at_once(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        if let Some(machine) = MACHINE.get() {
            machine.names.iter().for_each(Name::remove);
        }
        // SAFETY: a signal handler may exit.
        unsafe { libc::_exit(128 + signal) }
    }
    MACHINE.get_or_init(|| machine.clone());
    for signal in SIGNALS {
        // Without the handler, what the signal does by itself ends the process as well.
        let _ = register_signal_handler(signal, at_once);
        let _ = unblock_signal(signal);
    }
    finish(machine, End::Signal(signal))
}

/// The signals that end a run.
const SIGNALS: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The first signal that ends a run, taken when the watcher asks for it instead of at any time.
pub struct Signals(OwnedFd);

impl Signals {
    /// Holds them back in this thread, and in those that it starts.
    pub fn block() -> Result<Signals> {
        let held = SIGNALS.into_iter().try_for_each(block_signal);
        held.map_err(Error::msg).context("cannot hold signals back")?;
        let set = create_sigset(&SIGNALS).context("cannot take signals")?;
        // SAFETY: the descriptor is a new one, and nobody else's.
        unsafe {
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            ensure!(fd >= 0, "cannot take signals: {}", std::io::Error::last_os_error());
            Ok(Signals(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// One that has come.
    pub fn take(&self) -> Option<i32> {
        let mut bytes = [0u8; size_of::<libc::signalfd_siginfo>()];
        let got = rustix::io::read(&self.0, &mut bytes).ok()?;
        // The first field is the signal's number (`signalfd(2)`).
        let number = u32::from_ne_bytes(*bytes.first_chunk()?);
        (got == bytes.len()).then_some(number as i32)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_eight_bits() {
        let status = |status| End::Status(status).tell();
        assert_eq!(status(0), (0, None));
        assert_eq!(status(200), (200, None));
        assert_eq!(status(-1), (255, None));
        assert_eq!(status(257), (1, None));
        assert!(matches!(status(256), (1, Some(_))));
        assert_eq!(End::Signal(libc::SIGTERM).tell(), (143, None));
        assert!(
            matches!(End::TripleFault.tell(), (1, Some(line)) if line.contains("triple fault"))
        );
    }
}
