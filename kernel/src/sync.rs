//! Locks of the kernel.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release,
};

use crate::{arch, sched, time};

/// A lock for a few hundred instructions: interrupts stay off while it is held.
#[derive(Debug)]
pub struct Lock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one exclusive reference at a time.
unsafe impl<T: Send> Sync for Lock<T> {}

/// The right to use what a [`Lock`] guards.
#[derive(Debug)]
pub struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
    interrupts: bool,
}

impl<T> Lock<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Lock<T> {
        Lock { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits, spinning, until the lock is free.
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, T> {
        let interrupts = arch::irq::off();
        while self.held.swap(true, Acquire) {
            arch::spin(&self.held);
        }
        LockGuard { lock: self, interrupts }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        let interrupts = arch::irq::off();
        if self.held.swap(true, Acquire) {
            arch::irq::restore(interrupts);
            return None;
        }
        Some(LockGuard { lock: self, interrupts })
    }
}

impl<T> LockGuard<'_, T> {
    /// Gives the lock back but leaves interrupts off; tells whether they were on before, which the
    /// caller has to restore.
    #[inline]
    #[must_use]
    pub fn release_keep_interrupts_off(self) -> bool {
        let interrupts = self.interrupts;
        self.lock.held.store(false, Release);
        core::mem::forget(self);
        interrupts
    }
}

impl<T> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.held.store(false, Release);
        arch::irq::restore(self.interrupts);
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard is the proof that nobody else has it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.lock.value.get() }
    }
}

/// A reference that is set once, or not at all: a part of the kernel that an image holds only when its
/// program reaches what sets it.
#[derive(Debug)]
pub struct Hook<T>(AtomicPtr<()>, PhantomData<T>);

impl<T> Default for Hook<&'static T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Hook<&'static T> {
    /// Sets it.
    pub fn set(&self, value: &'static T) {
        // Were the one value known, the compiler would put it where it is asked for.
        let value = core::hint::black_box(ptr::from_ref(value));
        self.0.store(value.cast_mut().cast(), Release);
    }

    /// Sets it, and `next` to what it was before: the links of a list.
    pub fn push(&self, value: &'static T, next: &Self) {
        let link = ptr::from_ref(value).cast_mut().cast();
        let mut before = self.0.load(Relaxed);
        loop {
            next.0.store(before, Relaxed);
            match self.0.compare_exchange(before, link, AcqRel, Acquire) {
                Ok(_) => return,
                Err(other) => before = other,
            }
        }
    }

    /// What it was set to.
    #[inline]
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or what `set` or `push` has stored.
        unsafe { self.0.load(Acquire).cast::<T>().as_ref() }
    }
}

impl<T> Hook<&'static T> {
    /// Not set.
    #[must_use]
    pub const fn new() -> Self {
        Hook(AtomicPtr::new(ptr::null_mut()), PhantomData)
    }
}

const FREE: u32 = 0;

mod futex_lock;

/// A lock whose waiters sleep, for work that may take long: copying a file's data, walking a path.
#[derive(Debug)]
pub struct Mutex<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the mutex hands out one exclusive reference at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}
// SAFETY: moving the mutex moves the value.
unsafe impl<T: Send> Send for Mutex<T> {}

/// The right to use what a [`Mutex`] guards.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Sleeps until the mutex is free.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        futex_lock::lock(&self.state);
        MutexGuard { mutex: self }
    }
}

impl<T> Mutex<T> {
    /// As [`Mutex::lock`], for a mutex that others hold for a moment only: looks at it for a while before it
    /// sleeps, if there is another processor that can give it back meanwhile.
    #[inline]
    pub fn lock_soon(&self) -> MutexGuard<'_, T> {
        if !futex_lock::try_lock(&self.state) {
            self.lock_after_looking();
        }
        MutexGuard { mutex: self }
    }

    #[cold]
    fn lock_after_looking(&self) {
        /// Nanoseconds: a few times as long as sleeping and being woken takes.
        const LOOK: u64 = 100_000;
        if arch::processors_online() > 1 {
            let end = time::monotonic() + LOOK;
            while time::monotonic() < end {
                if self.state.load(Relaxed) == FREE && futex_lock::try_lock(&self.state) {
                    return;
                }
                arch::relax();
            }
        }
        futex_lock::lock(&self.state);
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        futex_lock::unlock(&self.mutex.state);
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard is the proof that nobody else has it.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.mutex.value.get() }
    }
}
