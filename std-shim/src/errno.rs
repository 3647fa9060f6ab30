//! The kernel's errors as numbers of errno.

use hermit_abi::errno::*;
use skete_kernel::{Error, Result, sched::tls};

/// The number that stands for an error.
pub const fn number(error: Error) -> i32 {
    match error {
        Error::NotFound => ENOENT,
        Error::AlreadyExists => EEXIST,
        Error::NotADirectory => ENOTDIR,
        Error::IsADirectory => EISDIR,
        Error::DirectoryNotEmpty => ENOTEMPTY,
        Error::NameTooLong => ENAMETOOLONG,
        Error::BadDescriptor => EBADF,
        Error::BrokenPipe => EPIPE,
        Error::TooManyOpen => EMFILE,
        Error::InvalidArgument => EINVAL,
        Error::OutOfMemory => ENOMEM,
        Error::NoSpace => ENOSPC,
        Error::ReadOnly => EROFS,
        Error::FileTooLarge => EFBIG,
        Error::NotSeekable => ESPIPE,
        Error::WouldBlock | Error::Changed => EAGAIN,
        Error::TimedOut => ETIMEDOUT,
        Error::NoSuchThread => ESRCH,
        Error::PermissionDenied => EACCES,
        Error::NotPermitted => EPERM,
        Error::Loop => ELOOP,
        Error::Busy => EBUSY,
        Error::OtherDevice => EXDEV,
        Error::NoDevice => ENODEV,
        Error::DeviceFailed => EIO,
        Error::Unsupported => ENOSYS,
        Error::NotASocket => ENOTSOCK,
        Error::FamilyNotSupported => EAFNOSUPPORT,
        Error::NoSuchOption => ENOPROTOOPT,
        Error::AddressInUse => EADDRINUSE,
        Error::AddressNotAvailable => EADDRNOTAVAIL,
        Error::NetworkDown => ENETDOWN,
        Error::NetworkUnreachable => ENETUNREACH,
        Error::HostUnreachable => EHOSTUNREACH,
        Error::ConnectionRefused => ECONNREFUSED,
        Error::ConnectionReset => ECONNRESET,
        Error::ConnectionAborted => ECONNABORTED,
        Error::InProgress => EINPROGRESS,
        Error::AlreadyInProgress => EALREADY,
        Error::AlreadyConnected => EISCONN,
        Error::NotConnected => ENOTCONN,
        Error::DestinationRequired => EDESTADDRREQ,
        Error::MessageTooLong => EMSGSIZE,
    }
}

/// Notes an error for `sys_get_errno`; gives it negated.
pub fn fail(number: i32) -> i32 {
    tls::set_word(number);
    -number
}

/// What a function returns: nothing but success or an error.
pub fn status(result: Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => fail(number(error)),
    }
}

/// What a function returns: a small number or an error.
pub fn value(result: Result<i32>) -> i32 {
    result.unwrap_or_else(|error| fail(number(error)))
}

/// What a function returns: a count of bytes, or an error.
pub fn count(result: Result<usize>) -> isize {
    match result {
        Ok(count) => count as isize,
        Err(error) => fail(number(error)) as isize,
    }
}

#[unsafe(no_mangle)]
extern "C" fn sys_get_errno() -> i32 {
    tls::word()
}

#[unsafe(no_mangle)]
extern "C" fn sys_errno() -> i32 {
    tls::word()
}
