//! Descriptors: reading, writing, waiting.

use alloc::sync::Arc;
use core::ffi::c_void;

use hermit_abi::errno::*;
use hermit_abi::{
    EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE, F_DUPFD, F_GETFD, F_GETFL, F_SETFD, F_SETFL,
    FD_CLOEXEC, FIONBIO, IOV_MAX, O_APPEND, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, POLLERR,
    POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDHUP, SEEK_CUR, SEEK_END, SEEK_SET, iovec, nfds_t,
    pollfd,
};
use skete_kernel::fd::eventfd::EventFd;
use skete_kernel::fd::pipe::pipe;
use skete_kernel::fd::poll::{self, Events};
use skete_kernel::fd::{self, Handle, Seek};
use skete_kernel::fs::Lock;
use skete_kernel::{Error, Result, time as clock};

use crate::errno::{count, fail, number, status, value};
use crate::pointers;

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_read(descriptor: i32, buffer: *mut u8, length: usize) -> isize {
    // SAFETY: the caller passes a buffer.
    count(
        unsafe { pointers::buffer(buffer, length) }
            .and_then(|buffer| fd::get(descriptor)?.read(buffer)),
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_write(descriptor: i32, bytes: *const u8, length: usize) -> isize {
    // SAFETY: the caller passes a buffer.
    count(
        unsafe { pointers::bytes(bytes, length) }
            .and_then(|bytes| fd::get(descriptor)?.write(bytes)),
    )
}

/// The parts of a vector, each checked, which together are no longer than a call can tell.
unsafe fn parts<'a>(vectors: *const iovec, number: usize) -> Result<&'a [iovec]> {
    if number > IOV_MAX || vectors.is_null() && number > 0 {
        return Err(Error::InvalidArgument);
    }
    let vectors = match number {
        0 => &[][..],
        // SAFETY: the caller vouches for so many vectors.
        number => unsafe { core::slice::from_raw_parts(vectors, number) },
    };
    let mut total = 0usize;
    for vector in vectors {
        if vector.iov_base.is_null() && vector.iov_len > 0 {
            return Err(Error::InvalidArgument);
        }
        total = total
            .checked_add(vector.iov_len)
            .filter(|total| isize::try_from(*total).is_ok())
            .ok_or(Error::InvalidArgument)?;
    }
    Ok(vectors)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_readv(descriptor: i32, vectors: *const iovec, number: usize) -> isize {
    // SAFETY: the caller passes vectors of buffers.
    count(unsafe { parts(vectors, number) }.and_then(|vectors| {
        let buffer = |vector: &iovec| {
            // SAFETY: as above, and nobody else uses them; the pointer and the length were checked.
            unsafe { pointers::buffer(vector.iov_base.cast(), vector.iov_len) }.unwrap_or_default()
        };
        fd::get(descriptor)?.read_vectored(&mut vectors.iter().map(buffer))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_writev(descriptor: i32, vectors: *const iovec, number: usize) -> isize {
    // SAFETY: the caller passes vectors of buffers.
    count(unsafe { parts(vectors, number) }.and_then(|vectors| {
        let bytes = |vector: &iovec| {
            // SAFETY: as above; the pointer and the length were checked.
            unsafe { pointers::bytes(vector.iov_base.cast(), vector.iov_len) }.unwrap_or_default()
        };
        fd::get(descriptor)?.write_vectored(&mut vectors.iter().map(bytes))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_pread(
    descriptor: i32,
    buffer: *mut u8,
    length: usize,
    offset: i64,
) -> isize {
    let offset = u64::try_from(offset).map_err(|_| Error::InvalidArgument);
    // SAFETY: the caller passes a buffer.
    count(unsafe { pointers::buffer(buffer, length) }.and_then(|buffer| {
        let handle = fd::get(descriptor)?;
        handle.object(Error::NotSeekable)?.read_at(buffer, offset?)
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_pwrite(
    descriptor: i32,
    bytes: *const u8,
    length: usize,
    offset: i64,
) -> isize {
    let offset = u64::try_from(offset).map_err(|_| Error::InvalidArgument);
    // SAFETY: the caller passes a buffer.
    count(unsafe { pointers::bytes(bytes, length) }.and_then(|bytes| {
        let handle = fd::get(descriptor)?;
        handle.object(Error::NotSeekable)?.write_at(bytes, offset?)
    }))
}

/// Reads or writes the parts of a vector in turn, each behind the one before, until one is not done as a whole.
/// What was done before an error counts.
unsafe fn positioned(
    vectors: *const iovec,
    number: usize,
    offset: i64,
    mut each: impl FnMut(&iovec, u64) -> Result<usize>,
) -> isize {
    let mut work = || {
        let mut offset = u64::try_from(offset).map_err(|_| Error::InvalidArgument)?;
        let mut total = 0;
        // SAFETY: the caller passes vectors of buffers.
        for vector in unsafe { parts(vectors, number)? } {
            match each(vector, offset) {
                Ok(done) => {
                    total += done;
                    offset += done as u64;
                    if done < vector.iov_len {
                        break;
                    }
                }
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(total)
    };
    count(work())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_preadv(
    descriptor: i32,
    vectors: *const iovec,
    number: usize,
    offset: i64,
) -> isize {
    // SAFETY: the caller passes vectors of buffers.
    unsafe {
        positioned(vectors, number, offset, |vector, offset| {
            let buffer = pointers::buffer(vector.iov_base.cast(), vector.iov_len)?;
            let handle = fd::get(descriptor)?;
            handle.object(Error::NotSeekable)?.read_at(buffer, offset)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_pwritev(
    descriptor: i32,
    vectors: *const iovec,
    number: usize,
    offset: i64,
) -> isize {
    // SAFETY: the caller passes vectors of buffers.
    unsafe {
        positioned(vectors, number, offset, |vector, offset| {
            let bytes = pointers::bytes(vector.iov_base.cast(), vector.iov_len)?;
            let handle = fd::get(descriptor)?;
            handle.object(Error::NotSeekable)?.write_at(bytes, offset)
        })
    }
}

/// Locks a file, as flock(2) does, with Linux's numbers.
#[unsafe(no_mangle)]
extern "C" fn sys_flock(descriptor: i32, operation: i32) -> i32 {
    const LOCK_SH: i32 = 1;
    const LOCK_EX: i32 = 2;
    const LOCK_NB: i32 = 4;
    const LOCK_UN: i32 = 8;
    let handle = match fd::get(descriptor) {
        Ok(handle) => handle,
        Err(error) => return fail(number(error)),
    };
    status(handle.object(Error::InvalidArgument).and_then(|object| {
        let wait = operation & LOCK_NB == 0;
        match operation & !LOCK_NB {
            LOCK_SH => object.lock(Lock::Shared, wait),
            LOCK_EX => object.lock(Lock::Exclusive, wait),
            LOCK_UN => object.unlock(),
            _ => Err(Error::InvalidArgument),
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sys_lseek(descriptor: i32, offset: isize, whence: i32) -> isize {
    let offset = offset as i64;
    let seek = || {
        let to = match whence {
            SEEK_SET => Seek::Start(u64::try_from(offset).map_err(|_| Error::InvalidArgument)?),
            SEEK_CUR => Seek::Current(offset),
            SEEK_END => Seek::End(offset),
            _ => return Err(Error::InvalidArgument),
        };
        fd::get(descriptor)?.object(Error::NotSeekable)?.seek(to)
    };
    count(seek().map(|position| position as usize))
}

#[unsafe(no_mangle)]
extern "C" fn sys_close(descriptor: i32) -> i32 {
    status(fd::close(descriptor))
}

#[unsafe(no_mangle)]
extern "C" fn sys_dup(descriptor: i32) -> i32 {
    value(fd::duplicate(descriptor))
}

#[unsafe(no_mangle)]
extern "C" fn sys_fsync(descriptor: i32) -> i32 {
    status(fd::get(descriptor).and_then(|handle| handle.object(Error::InvalidArgument)?.sync()))
}

#[unsafe(no_mangle)]
extern "C" fn sys_ftruncate(descriptor: i32, length: u64) -> i32 {
    status(
        fd::get(descriptor)
            .and_then(|handle| handle.object(Error::InvalidArgument)?.set_length(length)),
    )
}

/// Descriptor flags have no meaning without a second program; status flags are those that can be changed.
#[unsafe(no_mangle)]
extern "C" fn sys_fcntl(descriptor: i32, command: i32, argument: i32) -> i32 {
    let control = || {
        let handle = fd::get(descriptor)?;
        Ok(match command {
            F_DUPFD => fd::duplicate(descriptor)?,
            F_GETFD => FD_CLOEXEC,
            F_SETFD => 0,
            F_GETFL => match &handle {
                Handle::Object(object) => {
                    let access = match object.options() {
                        Some(options) => {
                            let access = match (options.read, options.write) {
                                (true, false) => O_RDONLY,
                                (false, _) => O_WRONLY,
                                (true, true) => O_RDWR,
                            };
                            access | if options.append { O_APPEND } else { 0 }
                        }
                        None => O_RDWR,
                    };
                    access | if object.is_nonblocking() { O_NONBLOCK } else { 0 }
                }
                Handle::Input => O_RDONLY,
                Handle::Output | Handle::Error => O_WRONLY,
            },
            F_SETFL => {
                if let Handle::Object(object) = &handle {
                    object.set_nonblocking(argument & O_NONBLOCK != 0);
                } else if argument & O_NONBLOCK != 0 {
                    return Err(Error::Unsupported);
                }
                0
            }
            _ => return Err(Error::InvalidArgument),
        })
    };
    value(control())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_ioctl(descriptor: i32, command: i32, argument: *mut c_void) -> i32 {
    let handle = match fd::get(descriptor) {
        Ok(handle) => handle,
        Err(error) => return fail(number(error)),
    };
    match (command, handle) {
        (FIONBIO, Handle::Object(object)) if !argument.is_null() => {
            // SAFETY: the caller passes an int.
            object.set_nonblocking(unsafe { argument.cast::<i32>().read() } != 0);
            0
        }
        (FIONBIO, _) => fail(EINVAL),
        _ => fail(ENOTTY),
    }
}

#[unsafe(no_mangle)]
extern "C" fn sys_eventfd(count: u64, flags: i16) -> i32 {
    if flags & !(EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC) != 0 {
        return fail(EINVAL);
    }
    let event = EventFd::new(count, flags & EFD_SEMAPHORE != 0, flags & EFD_NONBLOCK != 0);
    value(fd::open(Handle::Object(Arc::new(event))))
}

/// Makes a pipe: its side to read from is the first descriptor. Not part of hermit-abi.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_pipe(descriptors: *mut [i32; 2], flags: i32) -> i32 {
    if flags & !O_NONBLOCK != 0 || descriptors.is_null() {
        return fail(EINVAL);
    }
    let (reader, writer) = pipe(flags & O_NONBLOCK != 0);
    let open = |side| fd::open(Handle::Object(Arc::new(side)));
    status(open(reader).and_then(|reader| {
        let writer = open(writer).inspect_err(|_| _ = fd::close(reader))?;
        // SAFETY: the caller passes room for two descriptors.
        unsafe { descriptors.write([reader, writer]) };
        Ok(())
    }))
}

/// Gives 1 when a person is at the other end, else 0. Not part of hermit-abi.
#[unsafe(no_mangle)]
extern "C" fn sys_isatty(descriptor: i32) -> i32 {
    fd::get(descriptor).is_ok_and(|handle| handle.is_terminal()).into()
}

/// What a descriptor is ready for, of what is asked.
fn revents(asked: &pollfd, look: &mut fd::Look) -> i16 {
    if asked.fd < 0 {
        return 0;
    }
    let wants = |bit, event| match asked.events & bit {
        0 => Events::NONE,
        _ => event,
    };
    let wanted = wants(POLLIN, Events::READABLE)
        | wants(POLLOUT, Events::WRITABLE)
        | wants(POLLRDHUP, Events::READ_CLOSED);
    let Ok(ready) = look.ready(asked.fd, wanted) else {
        return POLLNVAL;
    };
    let has = |event, bit| if (ready & event).is_empty() { 0 } else { bit };
    let told = has(Events::READABLE, POLLIN)
        | has(Events::WRITABLE, POLLOUT)
        | has(Events::READ_CLOSED, POLLRDHUP);
    asked.events & told | has(Events::HUNG_UP, POLLHUP) | has(Events::ERROR, POLLERR)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_poll(descriptors: *mut pollfd, number: nfds_t, timeout: i32) -> i32 {
    if number > fd::LIMIT || descriptors.is_null() && number > 0 {
        return fail(EINVAL);
    }
    let descriptors = match number {
        0 => &mut [][..],
        // SAFETY: the caller passes so many descriptors.
        number => unsafe { core::slice::from_raw_parts_mut(descriptors, number) },
    };
    let mut look = || {
        let mut look = fd::Look::default();
        let ready = descriptors.iter_mut().map(|asked| {
            asked.revents = revents(asked, &mut look);
            i32::from(asked.revents != 0)
        });
        Some(ready.sum::<i32>()).filter(|ready| *ready > 0)
    };
    match u64::try_from(timeout) {
        Ok(0) => look().unwrap_or(0),
        timeout => {
            let deadline = timeout
                .ok()
                .map(|milliseconds| clock::monotonic().saturating_add(milliseconds * 1_000_000));
            poll::wait(deadline, look).unwrap_or(0)
        }
    }
}
