//! A device's registers (4.2.2).

use std::mem;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use kvm_ioctls::{IoEventAddress, VmFd};
use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::queue::{Active, Interrupt, SIZE, Worker};
use crate::jail::{self, Role};
use crate::memory::Memory;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"SKET");

const NOTIFY: u64 = 0x50;
const CONFIGURATION: u64 = 0x100;

/// The transport's features: version 1, indices for events.
const VERSION_1: u64 = 1 << 32;
const EVENT_INDEX: u64 = 1 << 29;

/// Bits of the status (2.1).
const FEATURES_OK: u32 = 8;
const DRIVER_OK: u32 = 4;
const NEEDS_RESET: u32 = 64;
const FAILED: u32 = 128;

/// A device.
#[derive(Debug)]
pub struct Mmio {
    id: u32,
    features: u64,
    configuration: Vec<u8>,
    memory: Memory,
    interrupt: Arc<Interrupt>,
    kicks: Vec<EventFd>,
    stop: EventFd,
    state: Mutex<State>,
}

/// What the driver has set.
#[derive(Debug)]
struct State {
    status: u32,
    feature_half: u32,
    driver_half: u32,
    driver_features: u64,
    selected: usize,
    queues: Vec<Queue>,
    /// To the device's thread; gone when the device has run.
    start: Option<Sender<Active>>,
}

fn event() -> Result<EventFd> {
    EventFd::new(EFD_NONBLOCK).context("the host gives no eventfd")
}

impl Mmio {
    /// Makes a device at a place, an address and an interrupt line, and its thread.
    ///
    /// # Errors
    ///
    /// When the host gives no events or no thread.
    pub fn new(
        vm: &VmFd,
        memory: &Memory,
        worker: Box<dyn Worker>,
        place: (u64, u32),
        jail: bool,
    ) -> Result<Arc<Mmio>> {
        let (base, line) = place;
        let interrupt = Arc::new(Interrupt {
            status: AtomicU32::new(0),
            line: event()?,
            done: event()?,
        });
        vm.register_irqfd_with_resample(&interrupt.line, &interrupt.done, line)
            .context("KVM gives no interrupt for a device")?;
        let mut kicks = Vec::new();
        let mut queues = Vec::new();
        for number in 0..worker.queues() {
            let kick = event()?;
            vm.register_ioevent(&kick, &IoEventAddress::Mmio(base + NOTIFY), number as u32)
                .context("KVM gives no event for a queue")?;
            kicks.push(kick);
            queues.push(Queue::new(SIZE).context("a queue of no size")?);
        }
        let (start, begin) = mpsc::channel();
        let device = Mmio {
            id: worker.id(),
            features: worker.features() | VERSION_1 | EVENT_INDEX,
            configuration: worker.configuration(),
            memory: memory.clone(),
            interrupt,
            kicks,
            stop: event()?,
            state: Mutex::new(State {
                status: 0,
                feature_half: 0,
                driver_half: 0,
                driver_features: 0,
                selected: 0,
                queues,
                start: Some(start),
            }),
        };
        thread::Builder::new()
            .name(format!("virtio{}", device.id))
            .stack_size(256 << 10)
            .spawn(move || serve(worker, &begin, jail))
            .context("the host gives no thread for a device")?;
        Ok(Arc::new(device))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a read.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(at) = offset.checked_sub(CONFIGURATION) {
            let from = self.configuration.get(at as usize..).unwrap_or_default();
            data.fill(0);
            data.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            return;
        }
        let state = self.state();
        let queue = state.queues.get(state.selected);
        let value = match offset {
            0x00 => MAGIC,
            0x04 => VERSION,
            0x08 => self.id,
            0x0c => VENDOR,
            0x10 => half(self.features, state.feature_half),
            0x34 => queue.map_or(0, |queue| queue.max_size().into()),
            0x44 => queue.map_or(0, |queue| queue.ready().into()),
            0x60 => self.interrupt.status.load(SeqCst),
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
        let mut state = self.state();
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
            0x64 => _ = self.interrupt.status.fetch_and(!value, SeqCst),
            0x70 => self.set_status(&mut state, value),
            _ => set_queue(&mut state, offset, value),
        }
    }

    fn set_status(&self, state: &mut State, value: u32) {
        if value == 0 {
            let ran = state.status & DRIVER_OK != 0;
            if ran {
                let _ = self.stop.write(1);
            }
            self.interrupt.status.store(0, SeqCst);
            // A device that has run does not begin again: its queues are its thread's.
            state.status = if state.start.is_none() {
                FAILED | NEEDS_RESET
            } else {
                0
            };
            (state.driver_features, state.selected) = (0, 0);
            state.queues.iter_mut().for_each(QueueT::reset);
            return;
        }
        let mut value = value;
        if value & FEATURES_OK != 0 && state.driver_features & !self.features != 0 {
            value &= !FEATURES_OK;
        }
        let begins = value & DRIVER_OK != 0 && state.status & DRIVER_OK == 0;
        state.status |= value;
        if begins {
            self.start(state);
        }
    }

    /// Hands the queues to the device's thread.
    fn start(&self, state: &mut State) {
        let usable = state.driver_features & VERSION_1 != 0
            && state
                .queues
                .iter()
                .all(|queue| !queue.ready() || queue.is_valid(self.memory.map()));
        let events = self
            .kicks
            .iter()
            .map(EventFd::try_clone)
            .collect::<Result<Vec<_>, _>>();
        let (Some(start), true, Ok(kicks), Ok(stop)) =
            (state.start.take(), usable, events, self.stop.try_clone())
        else {
            state.status |= NEEDS_RESET;
            return;
        };
        let fresh = state
            .queues
            .iter()
            .map(|_| Queue::new(SIZE))
            .collect::<Result<Vec<_>, _>>();
        let mut queues = mem::replace(&mut state.queues, fresh.unwrap_or_default());
        for queue in &mut queues {
            queue.set_event_idx(state.driver_features & EVENT_INDEX != 0);
        }
        let _ = start.send(Active {
            memory: self.memory.clone(),
            features: state.driver_features,
            queues,
            kicks,
            interrupt: self.interrupt.clone(),
            stop,
        });
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

/// A device's thread.
fn serve(mut worker: Box<dyn Worker>, begin: &Receiver<Active>, jail: bool) {
    // What it does not need, it gives up before the guest can talk to it.
    if jail && let Err(error) = jail::confine_calls(Role::Device, false) {
        eprintln!("skete: a device does not start: {error:#}");
        return;
    }
    let Ok(mut active) = begin.recv() else { return };
    if let Err(error) = worker.run(&mut active) {
        eprintln!("skete: virtio device {} has failed: {error}", worker.id());
    }
}
