//! smol: tasks, channels, timers, blocking work, and descriptors that wake a task.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use smol::future::{self, FutureExt};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{channel, stream::StreamExt};

pub fn spawn() -> io::Result<()> {
    let sum: u64 = smol::block_on(async {
        let tasks: Vec<_> = (0..1000u64)
            .map(|number| {
                smol::spawn(async move {
                    future::yield_now().await;
                    number
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await;
        }
        sum
    });
    assert_eq!(sum, 499_500);
    Ok(())
}

pub fn channels() -> io::Result<()> {
    let (sender, receiver) = channel::bounded(3);
    let producer = thread::spawn(move || {
        smol::block_on(async {
            for number in 0..500 {
                sender.send(number).await?;
            }
            Ok::<_, channel::SendError<u32>>(())
        })
    });
    let received: Vec<u32> = smol::block_on(receiver.collect());
    assert!(received.iter().copied().eq(0..500));
    assert_eq!(producer.join().ok(), Some(Ok(())));
    Ok(())
}

pub fn blocking() -> io::Result<()> {
    let start = Instant::now();
    smol::block_on(async {
        let sleeps: Vec<_> = (0..4)
            .map(|_| {
                smol::unblock(|| {
                    thread::sleep(Duration::from_millis(50));
                    thread::current().id()
                })
            })
            .collect();
        for sleep in sleeps {
            assert_ne!(sleep.await, thread::current().id());
        }
    });
    assert!(start.elapsed() >= Duration::from_millis(50));
    Ok(())
}

pub fn timers() -> io::Result<()> {
    smol::block_on(async {
        let start = Instant::now();
        for milliseconds in [1, 7, 20] {
            let before = Instant::now();
            Timer::after(Duration::from_millis(milliseconds)).await;
            assert!(before.elapsed() >= Duration::from_millis(milliseconds));
        }
        let ticks = Timer::interval(Duration::from_millis(5)).take(4).count().await;
        assert_eq!(ticks, 4);
        assert!(start.elapsed() >= Duration::from_millis(48));
        assert!(start.elapsed() < Duration::from_secs(20));
    });
    Ok(())
}

pub fn races() -> io::Result<()> {
    let never = async {
        future::pending::<()>().await;
        "never"
    };
    let late = async {
        Timer::after(Duration::from_millis(10)).await;
        "late"
    };
    assert_eq!(smol::block_on(never.or(late)), "late");
    Ok(())
}

pub fn files() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("text");
    smol::block_on(async {
        smol::fs::write(&path, "one\ntwo\n").await?;
        let mut file = smol::fs::OpenOptions::new().append(true).open(&path).await?;
        file.write_all(b"three\n").await?;
        file.flush().await?;
        assert_eq!(smol::fs::read_to_string(&path).await?, "one\ntwo\nthree\n");
        let mut entries = smol::fs::read_dir(directory.path()).await?;
        let entry = entries.try_next().await?.map(|entry| entry.file_name());
        assert_eq!(entry.as_deref(), Some("text".as_ref()));
        Ok(())
    })
}

/// A reader that sleeps is woken by a write from another thread.
pub fn pipe() -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    let mut reader = Async::new(reader)?;
    let thread = thread::spawn(move || {
        use std::io::Write;
        let mut writer = writer;
        for word in ["first ", "second ", "third"] {
            thread::sleep(Duration::from_millis(15));
            writer.write_all(word.as_bytes())?;
        }
        io::Result::Ok(())
    });
    let mut text = String::new();
    smol::block_on(reader.read_to_string(&mut text))?;
    assert_eq!(text, "first second third");
    assert!(thread.join().is_ok_and(|result| result.is_ok()));
    Ok(())
}

/// A writer sleeps until there is room, and a time limit holds while nobody reads.
pub fn full_pipe() -> io::Result<()> {
    const LENGTH: usize = 300_000;
    let (reader, writer) = io::pipe()?;
    let (mut reader, mut writer) = (Async::new(reader)?, Async::new(writer)?);
    smol::block_on(async {
        let ones = vec![1; LENGTH];
        let stuck = writer.write_all(&ones);
        let limit = async {
            Timer::after(Duration::from_millis(20)).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let error = stuck.or(limit).await.err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::TimedOut));
        let write = async move {
            writer.write_all(&vec![2; LENGTH]).await?;
            drop(writer);
            Ok(())
        };
        let mut all = Vec::new();
        let (_, _) = future::try_zip(write, reader.read_to_end(&mut all)).await?;
        assert_eq!(all.iter().filter(|byte| **byte == 2).count(), LENGTH);
        Ok(())
    })
}
