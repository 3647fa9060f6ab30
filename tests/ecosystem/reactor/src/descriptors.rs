//! rustix: descriptors, events, waiting.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, dup, ioctl_fionbio, read, readv, write, writev};
use rustix::pipe::{PipeFlags, pipe, pipe_with};

pub fn read_and_write() -> io::Result<()> {
    let (reader, writer) = pipe()?;
    assert_eq!(write(&writer, b"some ")?, 5);
    let parts = [IoSlice::new(b"more "), IoSlice::new(b"text")];
    assert_eq!(writev(&writer, &parts)?, 9);
    let (mut one, mut other) = ([0; 6], [0; 20]);
    let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
    assert_eq!(readv(&reader, &mut parts)?, 14);
    assert_eq!((&one, &other[..8]), (b"some m", &b"ore text"[..]));
    let second = dup(&writer)?;
    drop(writer);
    assert_eq!(write(&second, b"x")?, 1);
    drop(second);
    let mut rest = Vec::with_capacity(8);
    assert_eq!(read(&reader, rustix::buffer::spare_capacity(&mut rest))?, 1);
    assert_eq!(rest, b"x");
    assert_eq!(read(&reader, &mut one[..])?, 0);
    Ok(())
}

pub fn flags() -> io::Result<()> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    assert!(fcntl_getfl(&reader)?.contains(OFlags::NONBLOCK));
    assert_eq!(read(&reader, &mut [0; 1][..]), Err(Errno::AGAIN));
    ioctl_fionbio(&reader, false)?;
    assert!(!fcntl_getfl(&reader)?.contains(OFlags::NONBLOCK));
    fcntl_setfl(&reader, fcntl_getfl(&reader)? | OFlags::NONBLOCK)?;
    assert_eq!(read(&reader, &mut [0; 1][..]), Err(Errno::AGAIN));
    drop(reader);
    assert_eq!(write(&writer, b"x"), Err(Errno::PIPE));
    Ok(())
}

pub fn events() -> io::Result<()> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let mut count = [0; 8];
    assert_eq!(read(&event, &mut count), Err(Errno::AGAIN));
    for number in [2u64, 40] {
        write(&event, &number.to_ne_bytes())?;
    }
    read(&event, &mut count)?;
    assert_eq!(u64::from_ne_bytes(count), 42);
    Ok(())
}

pub fn poll() -> io::Result<()> {
    let (reader, writer) = pipe()?;
    let mut asked = [PollFd::new(&reader, PollFlags::IN), PollFd::new(&writer, PollFlags::OUT)];
    assert_eq!(rustix::event::poll(&mut asked, None)?, 1);
    assert_eq!(asked[0].revents(), PollFlags::empty());
    assert_eq!(asked[1].revents(), PollFlags::OUT);
    let start = Instant::now();
    let limit = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    assert_eq!(rustix::event::poll(&mut asked[..1], Some(&limit))?, 0);
    assert!(start.elapsed() >= Duration::from_millis(20));
    write(&writer, b"x")?;
    assert_eq!(rustix::event::poll(&mut asked, Some(&limit))?, 2);
    assert_eq!(asked[0].revents(), PollFlags::IN);
    Ok(())
}

pub fn errors() -> io::Result<()> {
    let (reader, writer) = pipe()?;
    let closed = reader.as_raw_fd();
    drop(reader);
    // SAFETY: nothing owns this number now, and only errors are asked of it.
    let closed: BorrowedFd<'_> = unsafe { BorrowedFd::borrow_raw(closed) };
    assert_eq!(read(closed.as_fd(), &mut [0; 1][..]), Err(Errno::BADF));
    assert_eq!(rustix::io::fcntl_getfd(closed), Err(Errno::BADF));
    assert_eq!(rustix::fs::tell(&writer), Err(Errno::SPIPE));
    let error: io::Error = Errno::NOENT.into();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    Ok(())
}
