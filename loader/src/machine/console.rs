//! Messages to the user and the end of the machine.

use core::panic::Location;

use skete_loader::options::Options;
use skete_loader::problem::{Problem, write_number};
use x86_64::instructions::{hlt, interrupts, port::Port, tables};
use x86_64::structures::DescriptorTablePointer;

/// The first serial port.
pub const COM1: u16 = 0x3f8;
/// QEMU's `isa-debug-exit`.
const DEBUG_EXIT: u16 = 0xf4;
/// The status of a refused image.
const REFUSED: u32 = 1;

/// Where messages and the status go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console {
    options: Options,
}

impl Console {
    /// A console as the command line says.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Tells why the image does not boot, and ends the machine.
    pub fn fail(self, problem: &Problem) -> ! {
        problem.describe(&mut |text| self.write(text));
        self.write("\n");
        self.exit()
    }

    /// Tells where the loader itself went wrong, and ends the machine.
    pub fn bug(self, location: Option<&Location<'_>>) -> ! {
        self.write("skete-loader: this is a bug in the loader, please report it");
        if let Some(location) = location {
            self.write(" (");
            self.write(location.file());
            self.write(":");
            write_number(location.line().into(), &mut |text| self.write(text));
            self.write(")");
        }
        self.write("\n");
        self.exit()
    }

    fn write(self, text: &str) {
        for byte in text.bytes() {
            match self.options.stderr {
                // SAFETY: the runner has put its debug console there.
                Some(port) => unsafe { Port::new(port).write(byte) },
                None => write_serial(byte),
            }
        }
    }

    fn exit(self) -> ! {
        if let Some(port) = self.options.status {
            for byte in REFUSED.to_le_bytes() {
                // SAFETY: the runner has put its debug console there.
                unsafe { Port::new(port).write(byte) };
            }
        }
        // SAFETY: writing there ends QEMU or, without the device, does nothing.
        unsafe { Port::new(DEBUG_EXIT).write(REFUSED) };
        // Without the device: an exception that cannot be delivered resets the machine, which
        // ends QEMU under `-no-reboot`.
        let none = DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
        // SAFETY: nothing after this needs an interrupt table.
        unsafe { tables::lidt(&none) };
        interrupts::int3();
        loop {
            hlt();
        }
    }
}

/// Waits until COM1 takes a byte, but not forever, and writes it.
fn write_serial(byte: u8) {
    const LINE_STATUS: u16 = 5;
    const EMPTY: u8 = 1 << 5;
    let mut status = Port::<u8>::new(COM1 + LINE_STATUS);
    for _ in 0..100_000 {
        // SAFETY: reading the line status has no effect on an empty transmitter.
        if unsafe { status.read() } & EMPTY != 0 {
            break;
        }
    }
    // SAFETY: COM1's data register; without the device the write does nothing.
    unsafe { Port::new(COM1).write(byte) };
}
