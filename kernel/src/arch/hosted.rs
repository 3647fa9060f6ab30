//! A host's process instead of a machine: enough for the kernel's logic to run under `cargo test`.

use core::sync::atomic::AtomicBool;

/// The name of this machine.
pub const NAME: &str = "hosted";

/// A turn in a wait.
pub fn relax() {
    std::thread::yield_now();
}

/// A turn in the wait for a spin lock.
pub fn spin(_held: &AtomicBool) {
    std::thread::yield_now();
}

/// Physical addresses are the process's own.
#[must_use]
pub const fn direct(physical: usize) -> usize {
    physical
}

/// There is no interrupt flag.
pub mod irq {
    /// Interrupts are never on.
    #[must_use]
    pub const fn off() -> bool {
        false
    }

    /// Nothing to restore.
    pub const fn restore(_on: bool) {}
}

/// The time-stamp counter counts nanoseconds.
pub mod cpu {
    use std::sync::OnceLock;
    use std::time::Instant;

    /// Nanoseconds since the first question.
    #[must_use]
    pub fn timestamp() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// How fast the counter runs.
pub mod clock {
    /// A nanosecond at a time.
    #[must_use]
    pub const fn timestamp_frequency() -> Option<u64> {
        Some(1_000_000_000)
    }

    /// It does.
    #[must_use]
    pub const fn counter_is_steady() -> bool {
        true
    }

    /// A clock that the host does not let anyone touch.
    #[derive(Clone, Copy, Debug)]
    pub enum Hpet {}

    impl Hpet {
        /// There is none.
        #[must_use]
        pub const fn start() -> Option<Hpet> {
            None
        }

        /// Never called.
        #[must_use]
        pub const fn nanoseconds(self) -> u64 {
            match self {}
        }
    }
}

/// There is no hypervisor that keeps a clock.
pub mod pvclock {
    use crate::time::page::{HostTime, Reading};

    /// None.
    #[must_use]
    pub const fn read() -> Option<Reading> {
        None
    }

    /// Never.
    #[must_use]
    pub const fn has_news() -> bool {
        false
    }

    /// None.
    #[must_use]
    pub const fn host() -> Option<HostTime> {
        None
    }
}

/// The host's clock.
pub mod rtc {
    use std::time::SystemTime;

    /// Seconds since 1970.
    #[must_use]
    pub fn unix_time() -> Option<i64> {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(elapsed.as_secs() as i64)
    }
}

/// A processor of no make.
pub mod processor {
    use crate::text::Text;

    /// Its number alone.
    pub fn describe(text: &mut Text, number: u64, _count: u64, _hertz: u64) {
        text.text("processor\t: ").number(number).text("\n\n");
    }
}

/// The end of the process.
pub mod power {
    /// Ends the process.
    pub fn end(status: i32) -> ! {
        std::process::exit(status)
    }
}

/// The host's source of random numbers.
pub mod entropy {
    use std::io::Read;

    /// Fills a seed.
    #[must_use]
    pub fn seed() -> Option<[u8; 32]> {
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom").ok()?.read_exact(&mut seed).ok()?;
        Some(seed)
    }
}

/// The process's own streams.
pub mod serial {
    use std::io::{Read, Write};

    /// Writes to standard output.
    pub fn write(bytes: &[u8]) {
        let _ = std::io::stdout().write_all(bytes);
    }

    /// Reads from standard input.
    pub fn read(buffer: &mut [u8]) -> usize {
        std::io::stdin().read(buffer).unwrap_or(0)
    }

    /// Standard input needs no interrupt.
    #[must_use]
    pub const fn enable_receive_interrupt() -> bool {
        true
    }

    /// Nobody is told.
    pub const fn announce_reader() {}

    /// Writes to standard error.
    pub fn write_debug_console(_port: u16, bytes: &[u8]) {
        let _ = std::io::stderr().write_all(bytes);
    }
}

/// There is no such device.
pub mod fw_cfg {
    /// A file that cannot be.
    #[derive(Debug)]
    pub enum File {}

    impl File {
        /// There is none.
        #[must_use]
        pub const fn open(_name: &str) -> Option<File> {
            None
        }

        /// Never called.
        pub const fn read(&mut self, _buffer: &mut [u8]) -> usize {
            match *self {}
        }
    }
}

/// All threads look like they run on the first.
#[must_use]
pub const fn processor_number() -> u32 {
    0
}

/// As many as the threads of a test need.
#[must_use]
pub const fn processors_online() -> u32 {
    2
}
