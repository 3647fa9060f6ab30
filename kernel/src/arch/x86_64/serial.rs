//! COM1 and the debug console.

use core::arch::asm;

use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::IER;
use uart_16550::{Config, Uart16550};

use super::{ioapic, trap, uhyve};
use crate::sync::Lock;

const COM1: u16 = 0x3f8;
/// The line of the I/O APIC that COM1 is wired to.
const COM1_LINE: u32 = 4;

struct Port {
    uart: Uart16550<PioBackend>,
    ready: bool,
}

static PORT: Lock<Port> = Lock::new(Port {
    // SAFETY: COM1 of every PC; where it is missing, accesses go nowhere. The lock makes it exclusive.
    uart: match unsafe { Uart16550::new_port(COM1) } {
        Ok(uart) => uart,
        Err(_) => panic!("COM1 is a valid port"),
    },
    ready: false,
});

impl Port {
    fn uart(&mut self) -> Option<&mut Uart16550<PioBackend>> {
        if !self.ready {
            self.uart.init(Config::DEFAULT).ok()?;
            self.ready = true;
        }
        Some(&mut self.uart)
    }
}

/// Sends bytes; waits while the other side does not take them. A machine without COM1 loses them.
pub fn write(bytes: &[u8]) {
    if uhyve::is_present() {
        return uhyve::write(1, bytes);
    }
    // Interrupts are off only for one filling of the transmit buffer at a time.
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut port = PORT.lock();
        let Some(uart) = port.uart() else { return };
        rest = &rest[uart.send_bytes(rest)..];
    }
}

/// Takes what has been received, up to the size of the buffer, without waiting.
pub fn read(buffer: &mut [u8]) -> usize {
    if uhyve::is_present() {
        return uhyve::read(buffer);
    }
    PORT.lock().uart().map_or(0, |uart| uart.receive_bytes(buffer))
}

/// Makes COM1 interrupt when bytes have come in. `false` when the machine cannot.
pub fn enable_receive_interrupt() -> bool {
    // A monitor without COM1 has its line all the same.
    if uhyve::is_present() {
        return ioapic::route_isa(COM1_LINE, trap::SERIAL);
    }
    let mut port = PORT.lock();
    let Some(uart) = port.uart() else {
        return false;
    };
    if !ioapic::route_isa(COM1_LINE, trap::SERIAL) {
        return false;
    }
    uart.enable_interrupts(IER::DATA_READY);
    true
}

/// Writes bytes to a debug-console port (QEMU's `isa-debugcon`), which is always ready; where calls take the
/// place of ports, to the stream with this number.
pub fn write_debug_console(port: u16, bytes: &[u8]) {
    if uhyve::is_present() {
        return uhyve::write(port.into(), bytes);
    }
    // SAFETY: reads `bytes` only; the port belongs to a device that takes bytes, or to none.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
             options(readonly, nostack, preserves_flags));
    }
}

/// Tells the runner, on the status port, that a reader is there: input sent before would be lost when
/// COM1 is set up.
pub fn announce_reader() {
    const ENQUIRY: u8 = 0x05;
    if !uhyve::is_present() && PORT.lock().uart().is_some() {
        super::power::write_status_port(&[ENQUIRY]);
    }
}
