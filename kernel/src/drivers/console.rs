//! Channels to the host: virtio-console with one port (Virtual I/O Device version 1.2, section 5.3).
//!
//! Bytes come and go as they are. Interrupts tell everybody who polls, and who waits here polls.

use alloc::boxed::Box;
use alloc::vec::Vec;

use virtio::Id;

use super::bytes::Bytes;
use crate::debug::{Level, Line};
use crate::device::dma::Chunk;
use crate::device::virtio::queue::Queue;
use crate::device::virtio::transport::{Doorbell, Refusal, Transport};
use crate::device::virtio::{self as device, Device};
use crate::device::wake::Wakes;
use crate::fd::poll::{self, Events};
use crate::mm::frames::FRAME;
use crate::sync::Lock;
use crate::{Error, Result};

/// Queues of the first port (5.3.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Bytes of what is received that wait for a reader, in buffers of that many.
const BUFFERS: u16 = 4;

#[derive(Debug)]
struct Receiver {
    queue: Queue<Bytes>,
    doorbell: Doorbell,
    /// What is being read, and which bytes of it are left.
    current: Option<(Bytes, core::ops::Range<usize>)>,
}

#[derive(Debug)]
struct Transmitter {
    queue: Queue<Bytes>,
    doorbell: Doorbell,
    /// `None` while the device has it.
    idle: Option<Bytes>,
    /// Pieces that were given to the device, and those that it has taken.
    given: u64,
    taken: u64,
}

/// A channel to the host.
#[derive(Debug)]
pub struct Console {
    device: &'static Device,
    wakes: &'static Wakes,
    receiver: Lock<Receiver>,
    transmitter: Lock<Transmitter>,
}

/// Every channel of the machine, brought up. One that cannot be used is told of. Called once.
#[must_use]
pub fn consoles() -> Vec<&'static Console> {
    let mut consoles = Vec::new();
    for transport in device::find(Id::Console) {
        match Console::new(transport) {
            Ok(console) => {
                Line::log(Level::Info, |line| {
                    transport.describe(line);
                    line.text(": channel");
                });
                consoles.push(&*Box::leak(Box::new(console)));
            }
            Err(why) => device::refuse(transport, why),
        }
    }
    consoles
}

impl Console {
    pub(super) fn new(transport: &'static dyn Transport) -> Result<Console, Refusal> {
        let mut device = Device::begin(transport, 0, |_, offered| offered)?;
        let wakes: &'static Wakes = Box::leak(Box::new(Wakes::new(1)));
        let connected = device.connect(wakes);
        let device: &'static Device = Box::leak(Box::new(device));
        connected
            .and_then(|()| Console::with_queues(device, wakes))
            .inspect_err(|_| device.give_up())
    }

    fn with_queues(device: &'static Device, wakes: &'static Wakes) -> Result<Console, Refusal> {
        const MEMORY: Refusal = "memory is short for its buffers";
        let bytes = |writable| Some(Bytes::new(Chunk::new(FRAME)?, writable));
        let (queue, doorbell) = device.queue(RECEIVE, BUFFERS, 0)?;
        let mut receiver = Receiver { queue, doorbell, current: None };
        while receiver.queue.free() > 0 {
            // A new queue with a free descriptor takes it.
            let _ = receiver.queue.add(bytes(true).ok_or(MEMORY)?);
        }
        let (queue, doorbell) = device.queue(TRANSMIT, 1, 0)?;
        let transmitter = Transmitter {
            queue,
            doorbell,
            idle: Some(bytes(false).ok_or(MEMORY)?),
            given: 0,
            taken: 0,
        };
        wakes.parts[0].set(poll::changes());
        device.start()?;
        if receiver.queue.needs_notification() {
            receiver.doorbell.ring();
        }
        Ok(Console {
            device,
            wakes,
            receiver: Lock::new(receiver),
            transmitter: Lock::new(transmitter),
        })
    }

    /// Reads what has come, when something has; waits for that, or not.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`]; [`Error::DeviceFailed`] when the device is out of use.
    pub fn read(&self, buffer: &mut [u8], wait: bool) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        attempt(wait, || self.take(buffer))
    }

    /// Writes, and waits until the host has taken it; or writes what it takes without waiting.
    ///
    /// # Errors
    ///
    /// As for [`Console::read`].
    pub fn write(&self, bytes: &[u8], wait: bool) -> Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            let piece = attempt(wait, || self.give(&bytes[written..]));
            let (number, length) = match piece {
                Ok(piece) => piece,
                Err(error) if written == 0 => return Err(error),
                Err(_) => break,
            };
            if wait {
                attempt(true, || self.is_taken(number))?;
            }
            written += length;
        }
        Ok(written)
    }

    /// What can be done at once.
    pub fn ready(&self) -> Events {
        let readable = match self.look() {
            Some(_) => Events::READABLE,
            None => Events::NONE,
        };
        let mut transmitter = self.transmitter.lock();
        let result = transmitter.collect();
        let idle = transmitter.idle.is_some();
        drop(transmitter);
        match self.checked(result) {
            Ok(()) if !idle => readable,
            _ => readable | Events::WRITABLE,
        }
    }

    /// Puts a device that is at fault out of use.
    fn checked(&self, result: Result<(), &'static str>) -> Result<()> {
        let result = result.map_err(|why| {
            self.device.put_out(why);
            Error::DeviceFailed
        });
        // It tells of an error of its own as of a change.
        match result {
            Ok(()) if self.wakes.take_change() && !self.device.works() => Err(Error::DeviceFailed),
            result => result,
        }
    }

    /// Whether there is something to read, or will never be.
    fn look(&self) -> Option<Result<()>> {
        let mut receiver = self.receiver.lock();
        let result = receiver.collect();
        let any = receiver.current.is_some();
        drop(receiver);
        match self.checked(result) {
            Ok(()) => any.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    }

    fn take(&self, buffer: &mut [u8]) -> Option<Result<usize>> {
        if let Err(error) = self.look()? {
            return Some(Err(error));
        }
        let mut receiver = self.receiver.lock();
        // Somebody else may have been faster.
        let (bytes, range) = receiver.current.as_mut()?;
        let length = range.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes.chunk[range.start..][..length]);
        range.start += length;
        if range.start == range.end
            && let Some((bytes, _)) = receiver.current.take()
        {
            receiver.give_back(bytes);
        }
        Some(Ok(length))
    }

    /// Gives some bytes to the device, if it has taken those before.
    fn give(&self, bytes: &[u8]) -> Option<Result<(u64, usize)>> {
        let mut transmitter = self.transmitter.lock();
        let result = transmitter.collect();
        let Ok(()) = result else {
            drop(transmitter);
            return Some(Err(self.checked(result).err()?));
        };
        let mut piece = transmitter.idle.take()?;
        let length = bytes.len().min(piece.chunk.len());
        piece.chunk[..length].copy_from_slice(&bytes[..length]);
        piece.length = length as u32;
        if transmitter.queue.add(piece).is_err() {
            return Some(Err(Error::DeviceFailed));
        }
        transmitter.given += 1;
        if transmitter.queue.needs_notification() {
            transmitter.doorbell.ring();
        }
        Some(Ok((transmitter.given, length)))
    }

    fn is_taken(&self, number: u64) -> Option<Result<()>> {
        let mut transmitter = self.transmitter.lock();
        let result = transmitter.collect();
        let taken = transmitter.taken >= number;
        drop(transmitter);
        match self.checked(result) {
            Ok(()) => taken.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Tries until something comes of it, or once.
fn attempt<T>(wait: bool, mut look: impl FnMut() -> Option<Result<T>>) -> Result<T> {
    match wait {
        true => poll::wait(None, look)?,
        false => look().unwrap_or(Err(Error::WouldBlock)),
    }
}

impl Receiver {
    /// Takes what the device has brought, when there is nothing left of what came before.
    fn collect(&mut self) -> Result<(), &'static str> {
        while self.current.is_none() {
            match self.queue.used() {
                Some((bytes, 0)) => self.give_back(bytes),
                Some((bytes, length)) => self.current = Some((bytes, 0..length as usize)),
                None => match self.queue.fault() {
                    Some(why) => return Err(why),
                    // Otherwise something has come meanwhile.
                    None if self.queue.enable_interrupt() => break,
                    None => {}
                },
            }
        }
        Ok(())
    }

    fn give_back(&mut self, bytes: Bytes) {
        // It came out of the queue: only one that is out of use does not take it.
        let _ = self.queue.add(bytes);
        if self.queue.needs_notification() {
            self.doorbell.ring();
        }
    }
}

impl Transmitter {
    /// Takes back what the device has sent.
    fn collect(&mut self) -> Result<(), &'static str> {
        while self.idle.is_none() {
            match self.queue.used() {
                Some((bytes, _)) => {
                    self.idle = Some(bytes);
                    self.taken += 1;
                }
                None => match self.queue.fault() {
                    Some(why) => return Err(why),
                    None if self.queue.enable_interrupt() => break,
                    None => {}
                },
            }
        }
        Ok(())
    }
}
