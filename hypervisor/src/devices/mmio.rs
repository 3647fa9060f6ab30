//! A device's registers (4.2.2).

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context, Result};
use kvm_ioctls::{IoEventAddress, VmFd};
use parking_lot::Mutex;
use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::EventFd;

use super::queue::{Active, Interrupt, Model, SIZE, Worker, Workers, event};
use crate::jail;
use crate::memory::Memory;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"SKET");

const NOTIFY: u64 = 0x50;
const CONFIGURATION: u64 = 0x100;

/// The transport's features: version 1, indices for events.
const VERSION_1: u64 = 1 << 32;
const EVENT_INDEX: u64 = 1 << 29;

/// Bits of the interrupt's status.
const USED: u32 = 1;
const CONFIGURATION_CHANGE: u32 = 2;

/// Bits of the status (2.1).
const FEATURES_OK: u32 = 8;
const DRIVER_OK: u32 = 4;
const NEEDS_RESET: u32 = 64;

/// A device.
pub struct Mmio {
    model: Model,
    memory: Memory,
    interrupt: Arc<Interrupt>,
    kicks: Vec<EventFd>,
    servers: Vec<Server>,
    state: Mutex<State>,
}

/// The thread of a worker, as others see it.
struct Server {
    begin: Sender<Active>,
    /// Tells that it has stopped.
    ended: Mutex<Receiver<()>>,
    stop: EventFd,
}

/// What the driver has set.
struct State {
    status: u32,
    feature_half: u32,
    driver_half: u32,
    driver_features: u64,
    selected: usize,
    queues: Vec<Queue>,
    /// The numbers of the servers that run.
    running: Vec<usize>,
}

fn fresh(count: usize) -> Result<Vec<Queue>> {
    let queues = (0..count).map(|_| Queue::new(SIZE).context("a queue of no size"));
    queues.collect()
}

impl Mmio {
    /// Makes a device, and its workers' threads.
    pub fn new(memory: &Memory, mut model: Model, workers: Workers, jail: bool) -> Result<Mmio> {
        let interrupt = Arc::new(Interrupt {
            broken: AtomicBool::new(false),
            resets: AtomicBool::new(false),
            used: event()?,
            trouble: event()?,
        });
        let mut servers = Vec::new();
        for (number, worker) in workers.into_iter().enumerate() {
            let (begin, active) = mpsc::channel();
            let (tell, ended) = mpsc::channel();
            thread::Builder::new()
                .name(format!("virtio{}-{number}", model.id))
                .stack_size(256 << 10)
                .spawn(move || serve(worker, &active, &tell, jail))
                .context("the host gives no thread for a device")?;
            servers.push(Server { begin, ended: Mutex::new(ended), stop: event()? });
        }
        model.features |= VERSION_1 | EVENT_INDEX;
        let kicks = (0..model.queues).map(|_| event());
        Ok(Mmio {
            memory: memory.clone(),
            interrupt,
            kicks: kicks.collect::<Result<_>>()?,
            servers,
            state: Mutex::new(State {
                status: 0,
                feature_half: 0,
                driver_half: 0,
                driver_features: 0,
                selected: 0,
                queues: fresh(model.queues)?,
                running: Vec::new(),
            }),
            model,
        })
    }

    /// Lets a machine's processors reach its events directly: its registers are at `base`, and it has an
    /// interrupt line, and one with all devices for trouble.
    pub fn connect(&self, vm: &VmFd, base: u64, line: u32, trouble: u32) -> Result<()> {
        let interrupts = [(&self.interrupt.used, line), (&self.interrupt.trouble, trouble)];
        let connected =
            interrupts.into_iter().try_for_each(|(event, line)| vm.register_irqfd(event, line));
        connected.context("KVM gives no interrupt for a device")?;
        for (number, kick) in (0..).zip(&self.kicks) {
            let address = IoEventAddress::Mmio(base + NOTIFY);
            vm.register_ioevent(kick, &address, number as u32)
                .context("KVM gives no event for a queue")?;
        }
        Ok(())
    }

    /// Answers a read.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(at) = offset.checked_sub(CONFIGURATION) {
            let from = self.model.configuration.get(at as usize..).unwrap_or_default();
            data.fill(0);
            data.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            return;
        }
        let state = self.state.lock();
        let queue = state.queues.get(state.selected);
        let value = match offset {
            0x00 => MAGIC,
            0x04 => VERSION,
            0x08 => self.model.id,
            0x0c => VENDOR,
            0x10 => half(self.model.features, state.feature_half),
            0x34 => queue.map_or(0, |queue| queue.max_size().into()),
            0x44 => queue.map_or(0, |queue| queue.ready().into()),
            // Buffers may have been used at any time: nobody counts for what the edges were.
            0x60 if self.interrupt.broken.load(SeqCst) => USED | CONFIGURATION_CHANGE,
            0x60 => USED,
            0x70 if self.interrupt.broken.load(SeqCst) => state.status | NEEDS_RESET,
            0x70 => state.status,
            // The configuration never changes.
            _ => 0,
        };
        let bytes = value.to_le_bytes();
        data.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }

    /// Takes a write.
    pub fn write(&self, offset: u64, data: &[u8]) {
        let mut bytes = [0; 4];
        if data.len() > bytes.len() || offset >= CONFIGURATION {
            return;
        }
        bytes[..data.len()].copy_from_slice(data);
        let value = u32::from_le_bytes(bytes);
        let mut state = self.state.lock();
        match offset {
            0x14 => state.feature_half = value,
            0x20 => {
                let shift = if state.driver_half == 0 { 0 } else { 32 };
                if state.driver_half <= 1 && state.status & FEATURES_OK == 0 {
                    let kept = state.driver_features & !(0xffff_ffff << shift);
                    state.driver_features = kept | u64::from(value) << shift;
                }
            }
            0x24 => state.driver_half = value,
            0x30 => state.selected = value as usize,
            // Only for a queue whose event KVM does not take.
            0x50 => {
                if let Some(kick) = self.kicks.get(value as usize) {
                    let _ = kick.write(1);
                }
            }
            0x70 => self.set_status(&mut state, value),
            _ => set_queue(&mut state, offset, value),
        }
    }

    fn set_status(&self, state: &mut State, mut value: u32) {
        if value == 0 {
            self.reset(state);
            return;
        }
        if value & FEATURES_OK != 0 && state.driver_features & !self.model.features != 0 {
            value &= !FEATURES_OK;
        }
        let begins = value & DRIVER_OK != 0 && state.status & DRIVER_OK == 0;
        state.status |= value;
        if begins && self.start(state).is_none() {
            state.status |= NEEDS_RESET;
        }
    }

    /// Makes the device as it was in the beginning (2.4.1): when this is over, nothing of it touches the
    /// driver's memory any more.
    fn reset(&self, state: &mut State) {
        self.interrupt.resets.store(true, SeqCst);
        for number in mem::take(&mut state.running) {
            let server = &self.servers[number];
            let _ = server.stop.write(1);
            // Its thread is gone when there is an error: it touches nothing either.
            let _ = server.ended.lock().recv();
            let _ = server.stop.read();
        }
        for kick in &self.kicks {
            let _ = kick.read();
        }
        self.interrupt.resets.store(false, SeqCst);
        self.interrupt.broken.store(false, SeqCst);
        (state.status, state.driver_features, state.selected) = (0, 0, 0);
        state.queues.iter_mut().for_each(QueueT::reset);
    }

    /// Hands the queues to the workers; `None` when the driver has not set them up as it should, or the host is
    /// short of events.
    fn start(&self, state: &mut State) -> Option<()> {
        let features = state.driver_features;
        let agreed = state.status & FEATURES_OK != 0 && features & VERSION_1 != 0;
        let usable = |queue: &Queue| !queue.ready() || queue.is_valid(self.memory.map());
        if !agreed || !state.queues.iter().all(usable) {
            return None;
        }
        let mut queues = mem::replace(&mut state.queues, fresh(self.model.queues).ok()?);
        for (number, server) in self.servers.iter().enumerate() {
            let share = (self.model.share)(&self.model, number, features);
            if number > 0 && !share.iter().all(|one| queues[*one].ready()) {
                continue;
            }
            let mut active = Active {
                number,
                memory: self.memory.clone(),
                features,
                queues: Vec::with_capacity(share.len()),
                kicks: Vec::with_capacity(share.len()),
                interrupt: self.interrupt.clone(),
                stop: server.stop.try_clone().ok()?,
            };
            for one in share {
                let mut queue = mem::replace(&mut queues[one], Queue::new(SIZE).ok()?);
                queue.set_event_idx(features & EVENT_INDEX != 0);
                active.queues.push(queue);
                active.kicks.push(self.kicks[one].try_clone().ok()?);
            }
            server.begin.send(active).ok()?;
            state.running.push(number);
        }
        Some(())
    }
}

/// A half of 64 bits.
fn half(bits: u64, number: u32) -> u32 {
    match number {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}

/// Sets the selected queue up. One that is ready stays as it is.
fn set_queue(state: &mut State, offset: u64, value: u32) {
    let running = state.status & DRIVER_OK != 0;
    let Some(queue) = state.queues.get_mut(state.selected).filter(|_| !running) else {
        return;
    };
    match offset {
        0x44 => queue.set_ready(value & 1 != 0),
        _ if queue.ready() => {}
        0x38 => queue.set_size(u16::try_from(value).unwrap_or(0)),
        0x80 => queue.set_desc_table_address(Some(value), None),
        0x84 => queue.set_desc_table_address(None, Some(value)),
        0x90 => queue.set_avail_ring_address(Some(value), None),
        0x94 => queue.set_avail_ring_address(None, Some(value)),
        0xa0 => queue.set_used_ring_address(Some(value), None),
        0xa4 => queue.set_used_ring_address(None, Some(value)),
        _ => {}
    }
}

/// A worker's thread: runs it each time that the driver starts the device.
fn serve(mut worker: Box<dyn Worker>, begin: &Receiver<Active>, ended: &Sender<()>, jail: bool) {
    // What it does not need, it gives up before the guest can talk to it.
    if jail && let Err(error) = jail::confine_calls(worker.calls(), &[]) {
        say!("skete: a device does not start: {error:#}");
        return;
    }
    let mut told = false;
    while let Ok(mut active) = begin.recv() {
        if let Err(error) = worker.run(&mut active) {
            // Once: a guest can have it fail as often as it likes.
            if !mem::replace(&mut told, true) {
                say!("skete: a virtio device has failed: {error}");
            }
            active.interrupt.fail();
        }
        // Nothing is kept that refers to the guest's memory.
        drop(active);
        if ended.send(()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use virtio_queue::desc::split::Descriptor;
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::devices::queue::descriptor;

    /// What the tests' driver has agreed on beside the version.
    const FEATURE: u64 = 1 << 3;

    /// Gives each buffer back as it is, until it gets one that is longer than 100 bytes.
    #[derive(Debug)]
    struct Echo;

    impl Worker for Echo {
        fn run(&mut self, active: &mut Active) -> std::io::Result<()> {
            loop {
                while let Some(chain) =
                    active.queues[0].pop_descriptor_chain(active.memory.shared())
                {
                    let (head, length) =
                        (chain.head_index(), chain.last().map_or(0, |one| one.len()));
                    if length > 100 {
                        return Err(std::io::Error::other("a buffer too long"));
                    }
                    active.give(0, head, length);
                    active.interrupt.tell();
                }
                let (kick, stop) = (descriptor(&active.kicks[0]), descriptor(&active.stop));
                let wait =
                    |fd| rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::IN);
                let mut ready = [wait(kick), wait(stop)];
                rustix::event::poll(&mut ready, None)?;
                if !ready[1].revents().is_empty() {
                    return Ok(());
                }
                let _ = active.kicks[0].read();
            }
        }
    }

    fn device() -> Result<(Memory, Mmio)> {
        let memory = Memory::new(2 << 20, false)?;
        let model = Model {
            id: 42,
            features: FEATURE,
            configuration: vec![1, 2, 3],
            queues: 1,
            share: |_, _, _| vec![0],
        };
        let device = Mmio::new(&memory, model, vec![Box::new(Echo)], false)?;
        Ok((memory, device))
    }

    impl Mmio {
        fn get(&self, offset: u64) -> u32 {
            let mut bytes = [0xff; 4];
            self.read(offset, &mut bytes);
            u32::from_le_bytes(bytes)
        }

        fn set(&self, offset: u64, value: u32) {
            self.write(offset, &value.to_le_bytes());
        }

        /// Does what a driver does (3.1.1), with its queue at `at`.
        fn set_up(&self, at: u64) -> u32 {
            self.set(0x70, 1);
            self.set(0x70, 3);
            for (half, bits) in [(0, FEATURE as u32), (1, (VERSION_1 >> 32) as u32)] {
                self.set(0x24, half);
                self.set(0x20, bits);
            }
            self.set(0x70, 3 | FEATURES_OK);
            self.set(0x38, 16);
            for (offset, address) in [(0x80, at), (0x90, at + 0x1000), (0xa0, at + 0x2000)] {
                self.set(offset, address as u32);
                self.set(offset + 4, 0);
            }
            self.set(0x44, 1);
            self.set(0x70, 3 | FEATURES_OK | DRIVER_OK);
            self.get(0x70)
        }

        /// Gives the device the buffer of a number and a length; waits until it is used, or the device broken.
        fn use_buffer(&self, memory: &Memory, at: u64, number: u16, length: u32) -> Option<u32> {
            let map = memory.map();
            let buffer = Descriptor::new(0x8000, length, 2, 0);
            map.write_obj(buffer, GuestAddress(at)).ok()?;
            map.write_obj((number + 1).to_le(), GuestAddress(at + 0x1002)).ok()?;
            self.set(0x50, 0);
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(10) && self.get(0x70) & NEEDS_RESET == 0 {
                let used = map.read_obj::<u16>(GuestAddress(at + 0x2002)).ok()?;
                if used == number + 1 {
                    let place = at + 0x2004 + 8 * u64::from(number % 16);
                    return map.read_obj(GuestAddress(place + 4)).ok();
                }
            }
            None
        }
    }

    #[test]
    fn a_device_can_be_reset_at_any_time() -> Result<()> {
        let (memory, device) = device()?;
        assert_eq!((device.get(0), device.get(4), device.get(8)), (MAGIC, 2, 42));
        for round in 0..50_u64 {
            let at = 0x1_0000 + round * 0x4000;
            assert_eq!(device.set_up(at), 3 | FEATURES_OK | DRIVER_OK);
            for number in 0..3 {
                assert_eq!(
                    device.use_buffer(&memory, at, number, 7 + u32::from(number)),
                    Some(7 + u32::from(number))
                );
            }
            device.set(0x64, device.get(0x60));
            assert_eq!((device.get(0x60), device.interrupt.trouble.read().ok()), (USED, None));
            assert!((1..=3).contains(&device.interrupt.used.read()?));
            // One more, of which nobody waits for the end.
            device.set(0x50, 0);
            device.set(0x70, 0);
            assert_eq!((device.get(0x70), device.get(0x44)), (0, 0));
        }
        Ok(())
    }

    #[test]
    fn a_device_that_has_failed_works_after_a_reset() -> Result<()> {
        let (memory, device) = device()?;
        device.set_up(0x1_0000);
        assert_eq!(device.use_buffer(&memory, 0x1_0000, 0, 101), None);
        assert_eq!(device.get(0x70) & NEEDS_RESET, NEEDS_RESET);
        assert_eq!(device.get(0x60), USED | CONFIGURATION_CHANGE);
        assert_eq!((device.interrupt.trouble.read()?, device.interrupt.used.read()?), (1, 1));
        device.set(0x70, 0);
        assert_eq!((device.get(0x70), device.get(0x60)), (0, USED));
        device.set_up(0x2_0000);
        assert_eq!(device.use_buffer(&memory, 0x2_0000, 0, 100), Some(100));
        Ok(())
    }

    #[test]
    fn a_queue_outside_the_memory_does_not_start() -> Result<()> {
        let (memory, device) = device()?;
        assert_eq!(device.set_up(0xffff_0000) & NEEDS_RESET, NEEDS_RESET);
        device.set(0x70, 0);
        device.set_up(0x1_0000);
        assert_eq!(device.use_buffer(&memory, 0x1_0000, 0, 1), Some(1));
        Ok(())
    }

    #[test]
    fn unknown_features_are_refused() -> Result<()> {
        let (_, device) = device()?;
        device.set(0x70, 3);
        device.set(0x20, 1 << 7);
        device.set(0x70, 3 | FEATURES_OK);
        assert_eq!(device.get(0x70), 3);
        // Nor does the device begin with what it has refused.
        device.set(0x24, 1);
        device.set(0x20, (VERSION_1 >> 32) as u32);
        device.set(0x70, 3 | DRIVER_OK);
        assert_eq!(device.get(0x70), 3 | DRIVER_OK | NEEDS_RESET);
        Ok(())
    }
}
