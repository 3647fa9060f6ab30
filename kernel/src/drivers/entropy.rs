//! Sources of random numbers: virtio-rng (Virtual I/O Device version 1.2, section 5.4).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use virtio::Id;

use super::bytes::Bytes;
use super::patience::Patience;
use crate::debug::{Level, Line};
use crate::device::dma::Chunk;
use crate::device::virtio::queue::Queue;
use crate::device::virtio::transport::{Doorbell, Refusal, Transport};
use crate::device::virtio::{self as device, Device};
use crate::device::wake::Wakes;
use crate::mm::frames::FRAME;
use crate::sync::{Lock, Mutex};
use crate::{Error, Result};

#[derive(Debug)]
struct State {
    queue: Queue<Bytes>,
    doorbell: Doorbell,
    /// `None` while the device has it, and when it will not give it back.
    idle: Option<Bytes>,
}

/// A source of random numbers.
#[derive(Debug)]
pub struct Source {
    device: &'static Device,
    state: Lock<State>,
    events: AtomicU32,
    /// One after the other.
    turn: Mutex<()>,
}

/// Every source of the machine, brought up. One that cannot be used is told of. Called once.
#[must_use]
pub fn sources() -> Vec<&'static Source> {
    let mut sources = Vec::new();
    for transport in device::find(Id::Rng) {
        match Source::new(transport) {
            Ok(source) => {
                Line::log(Level::Info, |line| {
                    transport.describe(line);
                    line.text(": source of random numbers");
                });
                sources.push(source);
            }
            Err(why) => device::refuse(transport, why),
        }
    }
    sources
}

impl Source {
    pub(super) fn new(transport: &'static dyn Transport) -> Result<&'static Source, Refusal> {
        let mut device = Device::begin(transport, 0, |_, offered| offered)?;
        let wakes: &'static Wakes = Box::leak(Box::new(Wakes::new(1)));
        let connected = device.connect(wakes);
        let device: &'static Device = Box::leak(Box::new(device));
        connected.and_then(|()| Source::with_queue(device, wakes)).inspect_err(|_| device.give_up())
    }

    fn with_queue(
        device: &'static Device,
        wakes: &'static Wakes,
    ) -> Result<&'static Source, Refusal> {
        let (queue, doorbell) = device.queue(0, 1, 0)?;
        let chunk = Chunk::zeroed(FRAME).ok_or("memory is short for its buffer")?;
        let source: &'static Source = Box::leak(Box::new(Source {
            device,
            state: Lock::new(State { queue, doorbell, idle: Some(Bytes::new(chunk, true)) }),
            events: AtomicU32::new(0),
            turn: Mutex::new(()),
        }));
        wakes.parts[0].set(&source.events);
        device.start()?;
        Ok(source)
    }

    /// Fills a part of a buffer, at least a byte of it if it has any; tells how many.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`] when the device is out of use.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let _turn = self.turn.lock();
        self.ask(buffer.len())?;
        let (mut numbers, length) = self.answer()?;
        buffer[..length].copy_from_slice(&numbers.chunk[..length]);
        // Somebody's key is not left lying about.
        numbers.chunk[..length].fill(0);
        self.state.lock().idle = Some(numbers);
        Ok(length)
    }

    fn ask(&self, length: usize) -> Result<()> {
        let mut state = self.state.lock();
        let mut numbers = state.idle.take().ok_or(Error::DeviceFailed)?;
        numbers.length = length.min(numbers.chunk.len()) as u32;
        state.queue.add(numbers).map_err(|_| Error::DeviceFailed)?;
        if state.queue.needs_notification() {
            state.doorbell.ring();
        }
        Ok(())
    }

    fn answer(&self) -> Result<(Bytes, usize)> {
        let mut patience = Patience::default();
        loop {
            let before = self.events.load(SeqCst);
            let mut state = self.state.lock();
            let used = state.queue.used();
            let fault = state.queue.fault();
            let again = used.is_none() && fault.is_none() && !state.queue.enable_interrupt();
            drop(state);
            match (used, fault) {
                // It has to give one at least (5.4.6.2).
                (Some((_, 0)), _) => {
                    self.device.put_out("it has given no random numbers when asked for some");
                    return Err(Error::DeviceFailed);
                }
                (Some((numbers, length)), _) => return Ok((numbers, length as usize)),
                (None, Some(why)) => {
                    self.device.put_out(why);
                    return Err(Error::DeviceFailed);
                }
                (None, None) if again => {}
                (None, None) => {
                    if !patience.wait(self.device, &self.events, before) {
                        return Err(Error::DeviceFailed);
                    }
                }
            }
        }
    }
}
