//! Locks on files.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::Room;

#[track_caller]
fn busy(result: Result<(), TryLockError>) {
    assert!(matches!(result, Err(TryLockError::WouldBlock)), "{result:?}");
}

pub fn attempts() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let (one, two) = (File::create(&path)?, File::open(&path)?);
    one.try_lock()?;
    busy(two.try_lock());
    busy(two.try_lock_shared());
    one.unlock()?;
    one.try_lock_shared()?;
    two.try_lock_shared()?;
    busy(two.try_lock());
    one.unlock()?;
    two.try_lock()?;
    // What a clone does, the other sees: it is one open file.
    let clone = two.try_clone()?;
    clone.try_lock()?;
    drop(two);
    busy(one.try_lock());
    clone.unlock()?;
    one.try_lock()?;
    // Closing gives a lock back, and another file is another lock.
    let other = File::create(room.at("other"))?;
    other.try_lock()?;
    drop(one);
    clone.try_lock()?;
    let error = io::Error::from(TryLockError::WouldBlock);
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    Ok(())
}

pub fn waits() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("file");
    let file = File::create(&path)?;
    file.lock()?;
    let given_back = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                let (path, given_back) = (&path, &given_back);
                scope.spawn(move || -> io::Result<()> {
                    let own = File::open(path)?;
                    if number == 0 {
                        own.lock()?;
                    } else {
                        own.lock_shared()?;
                    }
                    assert!(given_back.load(Ordering::SeqCst));
                    own.unlock()
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(50));
        given_back.store(true, Ordering::SeqCst);
        drop(file);
        waiters.into_iter().try_for_each(|waiter| waiter.join().expect("a waiter panicked"))
    })
}

/// A number in a file that several threads count up: no step is lost.
pub fn counter() -> io::Result<()> {
    let room = Room::new()?;
    let path = room.at("counter");
    fs::write(&path, "0")?;
    thread::scope(|scope| {
        let counters: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| -> io::Result<()> {
                    for _ in 0..50 {
                        let mut file = File::options().read(true).write(true).open(&path)?;
                        file.lock()?;
                        let mut text = String::new();
                        file.read_to_string(&mut text)?;
                        let number = text.parse::<u32>().map_err(io::Error::other)?;
                        thread::yield_now();
                        file.rewind()?;
                        write!(file, "{}", number + 1)?;
                    }
                    Ok(())
                })
            })
            .collect();
        counters.into_iter().try_for_each(|counter| counter.join().expect("a counter panicked"))
    })?;
    assert_eq!(fs::read_to_string(&path)?, "200");
    Ok(())
}
