//! How long a device may take to answer.

use core::sync::atomic::AtomicU32;

use crate::debug::Line;
use crate::device::virtio::Device;
use crate::{Error, sched, time};

/// Nanoseconds after which a device that does not answer is looked at, and told of.
const LONG: u64 = 30_000_000_000;

/// The wait for an answer. A device that is silent for long is told of once.
#[derive(Debug, Default)]
pub struct Patience {
    told: bool,
}

impl Patience {
    /// Sleeps until `events` is no longer `before`, or is woken. False when the device turns out not to work any more.
    pub fn wait(&mut self, device: &Device, events: &AtomicU32, before: u32) -> bool {
        let deadline = time::monotonic().saturating_add(LONG);
        sched::wait_for_device(events, before, Some(deadline)) != Err(Error::TimedOut)
            || self.is_worth_it(device)
    }

    #[cold]
    fn is_worth_it(&mut self, device: &Device) -> bool {
        if !device.works() {
            return false;
        }
        if !core::mem::replace(&mut self.told, true) {
            let mut line = Line::new();
            line.text("skete: ");
            device.transport().describe(&mut line);
            line.text(" has not answered for 30 s; still waiting").end();
        }
        true
    }
}
