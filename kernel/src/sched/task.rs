//! The record of a thread, which lies at the top of its stack, where FS points to.

use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};

use super::list::{Linked, Links};
use super::timers::{Entry, Timed};
use super::{ThreadId, tls};
use crate::arch::context::Preempted;

/// A processor, or none: all zero then, so that a static task takes no room in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// No processor.
    pub const NONE: Place = Place(0);

    /// The processor with this number.
    #[inline]
    pub const fn of(number: u32) -> Place {
        Place(number + 1)
    }

    /// The processor's number.
    #[inline]
    pub const fn number(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

/// What a thread is called; shorter than a name of std's may be, and 0 behind it.
pub type Name = [u8; 24];

/// A thread.
///
/// What is not atomic belongs to the thread itself while it runs, and otherwise to who holds the lock of
/// the list, or the timers, that it stands in.
#[derive(Debug)]
#[repr(C)]
pub struct Task {
    /// What the ABI wants at the thread pointer.
    pub control: tls::Control,
    /// Where it goes on; 0 while it runs.
    pub context: AtomicUsize,
    pub id: ThreadId,
    pub priority: AtomicU8,
    /// It waits, and whoever makes this false is the one to wake it.
    waiting: AtomicBool,
    /// How the last wait ended.
    pub timed_out: Cell<bool>,
    /// The processor whose timers have the wait's deadline.
    pub timed_by: Cell<Place>,
    /// What it waits for, and its bucket in the wait table; 0 when it stands in none.
    pub key: AtomicUsize,
    /// The processor in whose run queue it stands.
    queued: AtomicU32,
    /// Its priority there.
    pub level: Cell<u8>,
    /// See [`super::hold`].
    pub hold: Cell<u8>,
    /// The only processor that it may run on, if there is such a one.
    pub bound: Place,
    /// The processor that it ran on last.
    pub last: Cell<u32>,
    links: Links<Task>,
    timer: Entry<Task>,
    pub stack: usize,
    pub preempted: UnsafeCell<Option<Preempted>>,
    /// The next task in the same bucket of the registry, whose lock guards it.
    pub next_by_id: Cell<Option<&'static Task>>,
    /// 1: a wake-up for the next [`super::park`] has come.
    pub unparked: AtomicU32,
    pub name: UnsafeCell<Name>,
}

// SAFETY: see the description of the type.
unsafe impl Sync for Task {}

impl Linked for Task {
    fn links(&self) -> &Links<Task> {
        &self.links
    }
}

impl Timed for Task {
    fn timer(&self) -> &Entry<Task> {
        &self.timer
    }
}

impl Task {
    /// A thread that is about to run for the first time.
    pub const fn new(
        id: ThreadId,
        priority: u8,
        bound: Place,
        stack: usize,
        context: usize,
    ) -> Task {
        Task {
            control: tls::Control::EMPTY,
            context: AtomicUsize::new(context),
            id,
            priority: AtomicU8::new(priority),
            waiting: AtomicBool::new(false),
            timed_out: Cell::new(false),
            timed_by: Cell::new(Place::NONE),
            key: AtomicUsize::new(0),
            queued: AtomicU32::new(Place::NONE.0),
            level: Cell::new(0),
            hold: Cell::new(0),
            bound,
            last: Cell::new(0),
            links: Links::new(),
            timer: Entry::new(),
            stack,
            preempted: UnsafeCell::new(None),
            next_by_id: Cell::new(None),
            unparked: AtomicU32::new(0),
            name: UnsafeCell::new([0; 24]),
        }
    }

    /// The running thread.
    #[inline(always)]
    pub fn current() -> &'static Task {
        // SAFETY: FS points to the running thread's record, or to the record of what runs when no thread
        // does, from `init` on; it is valid for as long as the thread runs.
        unsafe { &*(tls::pointer() as *const Task) }
    }

    /// Begins a wait, before others can see it.
    #[inline]
    pub fn begin_wait(&self, key: usize, timed_by: Place) {
        self.key.store(key, Relaxed);
        self.timed_out.set(false);
        self.timed_by.set(timed_by);
        self.waiting.store(true, SeqCst);
    }

    /// True for the one who is to wake the task.
    #[inline]
    pub fn claim(&self) -> bool {
        self.waiting.swap(false, SeqCst)
    }

    /// The processor in whose run queue it stands.
    #[inline]
    pub fn queued(&self) -> Place {
        Place(self.queued.load(Relaxed))
    }

    /// Notes in whose run queue it stands.
    #[inline]
    pub fn set_queued(&self, place: Place) {
        self.queued.store(place.0, Relaxed);
    }

    /// What it is called; nothing when nobody has named it.
    pub fn name(&self) -> &[u8] {
        // SAFETY: a thread's name is written by itself; a reader that comes in between gets bytes of
        // both.
        let name = unsafe { &*self.name.get() };
        let length = name.iter().position(|byte| *byte == 0);
        &name[..length.unwrap_or(name.len())]
    }
}
