//! Standard input, output and error.

pub mod input;

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

use crate::arch::{fw_cfg, serial};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, Result};
use input::{Discipline, Input};

static ERROR_PORT: AtomicU16 = AtomicU16::new(0);

/// Sends standard error, and what the kernel says, to a debug-console port of its own.
pub fn set_error_port(port: u16) {
    ERROR_PORT.store(port, Relaxed);
}

/// Bit n is set when standard stream n is a terminal.
static TERMINALS: AtomicU8 = AtomicU8::new(0);

/// Chooses which standard streams are terminals: bit n stands for stream n.
pub fn set_terminals(streams: u8) {
    TERMINALS.store(streams, Relaxed);
}

/// Whether a standard stream is a terminal.
#[must_use]
pub fn is_terminal(stream: u8) -> bool {
    TERMINALS.load(Relaxed) >> stream & 1 != 0
}

/// Writes to standard output.
pub fn write_output(bytes: &[u8]) {
    serial::write(bytes);
}

/// Writes to standard error.
pub fn write_error(bytes: &[u8]) {
    match ERROR_PORT.load(Relaxed) {
        0 => serial::write(bytes),
        port => serial::write_debug_console(port, bytes),
    }
}

static INPUT: Mutex<Input> = Mutex::new(Input::new());
/// Counts interrupts of COM1, for a reader to wait on.
static RECEIVED: AtomicU32 = AtomicU32::new(0);

static DISCIPLINE: AtomicU8 = AtomicU8::new(Discipline::Terminal as u8);

/// Chooses how received bytes become standard input, before the first of them is read.
pub fn set_discipline(discipline: Discipline) {
    DISCIPLINE.store(discipline as u8, Relaxed);
}

fn discipline() -> Discipline {
    match DISCIPLINE.load(Relaxed) {
        kind if kind == Discipline::Framed as u8 => Discipline::Framed,
        kind if kind == Discipline::None as u8 => Discipline::None,
        kind if kind == Discipline::File as u8 => Discipline::File,
        _ => Discipline::Terminal,
    }
}

/// The name of the file that is standard input with [`Discipline::File`].
const FILE_NAME: &str = "opt/skete/stdin";
static FILE: Mutex<Option<fw_cfg::File>> = Mutex::new(None);

fn read_file(buffer: &mut [u8]) -> Result<usize> {
    let mut slot = FILE.lock();
    let file = match &mut *slot {
        Some(file) => file,
        None => slot.insert(fw_cfg::File::open(FILE_NAME).ok_or(Error::NoDevice)?),
    };
    Ok(file.read(buffer))
}

/// The input of COM1, which is set up when it is first wanted.
fn started() -> Result<MutexGuard<'static, Input>> {
    let mut input = INPUT.lock();
    input.start(discipline(), || {
        serial::announce_reader();
        serial::enable_receive_interrupt()
    })?;
    Ok(input)
}

/// COM1 has received something.
pub fn interrupt() {
    RECEIVED.fetch_add(1, Relaxed);
    crate::sched::wake_from_interrupt(&RECEIVED);
    crate::fd::poll::changed_from_interrupt();
}

/// Reads from standard input: waits for at least one byte, gives 0 at the end of the file.
///
/// # Errors
///
/// [`Error::NoDevice`] when the machine has no COM1 that can interrupt, or no file to read.
pub fn read(buffer: &mut [u8]) -> Result<usize> {
    if buffer.is_empty() {
        return Ok(0);
    }
    if discipline() == Discipline::File {
        return read_file(buffer);
    }
    let mut input = started()?;
    loop {
        let before = RECEIVED.load(Relaxed);
        if let Some(length) = input.take(buffer) {
            return Ok(length);
        }
        let mut raw = [0; 64];
        let received = serial::read(&mut raw);
        if received > 0 {
            input.receive(&raw[..received], serial::write);
        } else {
            // Changed or woken: there is something to look at.
            let _ = crate::sched::wait_for_device(&RECEIVED, before, None);
        }
    }
}

/// What can be done with standard input at once. The first question sets it up.
#[must_use]
pub fn ready() -> crate::fd::poll::Events {
    use crate::fd::poll::Events;
    if discipline() == Discipline::File {
        return Events::READABLE;
    }
    // A read that fails does not wait either.
    let Ok(mut input) = started() else {
        return Events::READABLE;
    };
    loop {
        if input.is_ready() {
            return Events::READABLE;
        }
        let mut raw = [0; 64];
        match serial::read(&mut raw) {
            0 => return Events::NONE,
            length => input.receive(&raw[..length], serial::write),
        }
    }
}
