//! The system's functions and structures, as the libc backend names them.
//!
//! Functions give a negative error number when they fail (see `hermit_conv.rs`). Paths below an open
//! directory, which the system cannot walk, and what it has no call for are `ENOSYS`.
//!
//! # Safety
//!
//! Every function asks of its caller what the function of that name in C does: pointers that are valid for
//! as many values as are told, and strings that end.

#![allow(non_camel_case_types, non_snake_case)]

pub(crate) use libc::*;

/// Functions that the system has no call for.
macro_rules! absent {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        pub(crate) unsafe fn $name($(_: $argument),*) -> $result {
            -ENOSYS as $result
        }
    )*};
}

#[path = "hermit_constants.rs"]
mod constants;
#[path = "hermit_net.rs"]
#[cfg(feature = "net")]
mod net;
#[path = "hermit_termios.rs"]
#[cfg(feature = "termios")]
mod terminal;

pub(crate) use constants::*;
// Where libc has the same name, this one counts.
pub(crate) use constants::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE};
#[cfg(feature = "net")]
pub(crate) use net::*;
#[cfg(feature = "net")]
pub(crate) use net::{recv, recvfrom, send, sendto};
#[cfg(feature = "termios")]
pub(crate) use terminal::*;

pub(crate) use core::ffi::{c_int, c_long, c_uint, c_ulong};

pub(crate) type dev_t = u64;
pub(crate) type ino_t = u64;
pub(crate) type off_t = i64;
pub(crate) type uid_t = u32;
pub(crate) type gid_t = u32;
pub(crate) type speed_t = c_uint;
pub(crate) type tcflag_t = c_uint;

mod system {
    use super::{c_char, c_int, mode_t, ssize_t};

    extern "C" {
        pub(super) fn sys_pread(fd: c_int, buffer: *mut u8, length: usize, offset: i64) -> ssize_t;
        pub(super) fn sys_pwrite(
            fd: c_int,
            bytes: *const u8,
            length: usize,
            offset: i64,
        ) -> ssize_t;
        pub(super) fn sys_preadv(
            fd: c_int,
            vectors: *const libc::iovec,
            number: usize,
            offset: i64,
        ) -> ssize_t;
        pub(super) fn sys_pwritev(
            fd: c_int,
            vectors: *const libc::iovec,
            number: usize,
            offset: i64,
        ) -> ssize_t;
        pub(super) fn sys_pipe(descriptors: *mut [c_int; 2], flags: c_int) -> c_int;
        pub(super) fn sys_isatty(fd: c_int) -> c_int;
        pub(super) fn sys_flock(fd: c_int, operation: c_int) -> c_int;
        pub(super) fn sys_lseek(fd: c_int, offset: isize, whence: c_int) -> isize;
        pub(super) fn sys_fsync(fd: c_int) -> c_int;
        pub(super) fn sys_ftruncate(fd: c_int, length: u64) -> c_int;
        pub(super) fn sys_rename(from: *const c_char, to: *const c_char) -> c_int;
        pub(super) fn sys_link(from: *const c_char, to: *const c_char) -> c_int;
        pub(super) fn sys_symlink(target: *const c_char, path: *const c_char) -> c_int;
        pub(super) fn sys_readlink(path: *const c_char, buffer: *mut u8, length: usize) -> ssize_t;
        pub(super) fn sys_chmod(path: *const c_char, mode: mode_t) -> c_int;
        pub(super) fn sys_fchmod(fd: c_int, mode: mode_t) -> c_int;
        pub(super) fn sys_utimens(path: *const c_char, times: *const [libc::timespec; 2]) -> c_int;
        pub(super) fn sys_lutimens(path: *const c_char, times: *const [libc::timespec; 2])
            -> c_int;
        pub(super) fn sys_futimens(fd: c_int, times: *const [libc::timespec; 2]) -> c_int;
        pub(super) fn sys_getcwd(buffer: *mut u8, length: usize) -> ssize_t;
        pub(super) fn sys_chdir(path: *const c_char) -> c_int;
        pub(super) fn sys_getpid() -> c_int;
        pub(super) fn sys_yield();
        pub(super) fn sys_read_entropy(buffer: *mut u8, length: usize, flags: u32) -> ssize_t;
    }
}

/// `struct timespec`, with nanoseconds as wide as elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct timespec {
    pub(crate) tv_sec: time_t,
    pub(crate) tv_nsec: c_long,
}

/// `struct timeval`
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct timeval {
    pub(crate) tv_sec: time_t,
    pub(crate) tv_usec: c_int,
}

impl timespec {
    fn narrow(self) -> libc::timespec {
        libc::timespec {
            tv_sec: self.tv_sec,
            // What is out of range stays out of range.
            tv_nsec: i32::try_from(self.tv_nsec).unwrap_or(-1),
        }
    }
}

absent! {
    chown(*const c_char, uid_t, gid_t) -> c_int;
    clock_settime(clockid_t, *const timespec) -> c_int;
    dup2(c_int, c_int) -> c_int;
    dup3(c_int, c_int, c_int) -> c_int;
    fchown(c_int, uid_t, gid_t) -> c_int;
    fchownat(c_int, *const c_char, uid_t, gid_t, c_int) -> c_int;
    fstatfs(c_int, *mut statfs) -> c_int;
    fstatvfs(c_int, *mut statvfs) -> c_int;
    mknodat(c_int, *const c_char, mode_t, dev_t) -> c_int;
    posix_fadvise(c_int, off_t, off_t, c_int) -> c_int;
    posix_fallocate(c_int, off_t, off_t) -> c_int;
    statfs(*const c_char, *mut statfs) -> c_int;
    statvfs(*const c_char, *mut statvfs) -> c_int;
}

// Descriptors.

pub(crate) unsafe fn readv(fd: c_int, vectors: *const iovec, number: c_int) -> ssize_t {
    libc::readv(fd, vectors, number as usize)
}

pub(crate) unsafe fn writev(fd: c_int, vectors: *const iovec, number: c_int) -> ssize_t {
    libc::writev(fd, vectors, number as usize)
}

pub(crate) unsafe fn read(fd: c_int, buffer: *mut c_void, length: usize) -> ssize_t {
    libc::read(fd, buffer.cast(), length)
}

pub(crate) unsafe fn write(fd: c_int, bytes: *const c_void, length: usize) -> ssize_t {
    libc::write(fd, bytes.cast(), length)
}

pub(crate) unsafe fn pread(fd: c_int, buffer: *mut c_void, length: usize, at: off_t) -> ssize_t {
    system::sys_pread(fd, buffer.cast(), length, at)
}

pub(crate) unsafe fn pwrite(fd: c_int, bytes: *const c_void, length: usize, at: off_t) -> ssize_t {
    system::sys_pwrite(fd, bytes.cast(), length, at)
}

pub(crate) unsafe fn preadv(fd: c_int, vectors: *const iovec, number: c_int, at: off_t) -> ssize_t {
    system::sys_preadv(fd, vectors, number as usize, at)
}

pub(crate) unsafe fn pwritev(
    fd: c_int,
    vectors: *const iovec,
    number: c_int,
    at: off_t,
) -> ssize_t {
    system::sys_pwritev(fd, vectors, number as usize, at)
}

pub(crate) unsafe fn lseek(fd: c_int, offset: off_t, whence: c_int) -> off_t {
    system::sys_lseek(fd, offset as isize, whence) as off_t
}

pub(crate) unsafe fn fsync(fd: c_int) -> c_int {
    system::sys_fsync(fd)
}

pub(crate) unsafe fn fdatasync(fd: c_int) -> c_int {
    system::sys_fsync(fd)
}

/// Every file is in memory.
pub(crate) unsafe fn sync() {}

pub(crate) unsafe fn ftruncate(fd: c_int, length: off_t) -> c_int {
    match u64::try_from(length) {
        Ok(length) => system::sys_ftruncate(fd, length),
        Err(_) => -EINVAL,
    }
}

pub(crate) unsafe fn flock(fd: c_int, operation: c_int) -> c_int {
    system::sys_flock(fd, operation)
}

pub(crate) unsafe fn isatty(fd: c_int) -> c_int {
    system::sys_isatty(fd)
}

pub(crate) unsafe fn pipe(descriptors: *mut c_int) -> c_int {
    system::sys_pipe(descriptors.cast(), 0)
}

pub(crate) unsafe fn pipe2(descriptors: *mut c_int, flags: c_int) -> c_int {
    // No program is ever executed, so a descriptor is closed before that.
    system::sys_pipe(descriptors.cast(), flags & !O_CLOEXEC)
}

pub(crate) unsafe fn eventfd(value: c_uint, flags: c_int) -> c_int {
    extern "C" {
        fn sys_eventfd(value: u64, flags: i16) -> c_int;
    }
    match i16::try_from(flags) {
        Ok(flags) => sys_eventfd(value.into(), flags),
        Err(_) => -EINVAL,
    }
}

/// A lock of a file's part.
#[repr(C)]
pub(crate) struct flock {
    pub(crate) l_type: i16,
    pub(crate) l_whence: i16,
    pub(crate) l_start: off_t,
    pub(crate) l_len: off_t,
    pub(crate) l_pid: pid_t,
}

/// The last argument of `fcntl`, or the error that it has no meaning for the system.
pub(crate) trait FcntlArgument {
    fn number(self) -> Result<c_int, c_int>;
}

impl FcntlArgument for c_int {
    fn number(self) -> Result<c_int, c_int> {
        Ok(self)
    }
}

impl FcntlArgument for c_uint {
    fn number(self) -> Result<c_int, c_int> {
        Ok(self as c_int)
    }
}

impl FcntlArgument for &flock {
    fn number(self) -> Result<c_int, c_int> {
        Err(-ENOSYS)
    }
}

pub(crate) unsafe fn fcntl(fd: c_int, command: c_int, argument: impl FcntlArgument) -> c_int {
    let command = match command {
        F_DUPFD_CLOEXEC => F_DUPFD,
        command => command,
    };
    match argument.number() {
        Ok(argument) => libc::fcntl(fd, command, argument),
        Err(error) => error,
    }
}

pub(crate) unsafe fn ioctl<T>(fd: c_int, command: c_int, argument: *const T) -> c_int {
    libc::ioctl(fd, command, argument.cast_mut().cast())
}

// Paths.

/// Whether a path can be walked: the current directory is known, other open directories are not.
unsafe fn walkable(directory: c_int, path: *const c_char) -> Result<(), c_int> {
    if directory == AT_FDCWD || *path.cast::<u8>() == b'/' {
        Ok(())
    } else {
        Err(-ENOSYS)
    }
}

macro_rules! at {
    ($($name:ident($($directory:ident $path:ident),* $(; $argument:ident: $type:ty)*) -> $result:ty $work:block)*) => {$(
        pub(crate) unsafe fn $name($($directory: c_int, $path: *const c_char,)* $($argument: $type),*) -> $result {
            $(
                if let Err(error) = walkable($directory, $path) {
                    return error as $result;
                }
            )*
            $work
        }
    )*};
}

at! {
    openat(directory path; flags: c_int; mode: c_uint) -> c_int {
        open(path, flags, mode)
    }
    mkdirat(directory path; mode: mode_t) -> c_int {
        mkdir(path, mode)
    }
    unlinkat(directory path; flags: c_int) -> c_int {
        match flags {
            0 => unlink(path),
            AT_REMOVEDIR => rmdir(path),
            _ => -EINVAL,
        }
    }
    readlinkat(directory path; buffer: *mut c_char; length: usize) -> ssize_t {
        readlink(path, buffer, length)
    }
    fstatat(directory path; result: *mut stat; flags: c_int) -> c_int {
        match flags {
            0 => libc::stat(path, result),
            AT_SYMLINK_NOFOLLOW => lstat(path, result),
            _ => -EINVAL,
        }
    }
    faccessat(directory path; mode: c_int; flags: c_int) -> c_int {
        match flags & !AT_EACCESS {
            0 => access(path, mode),
            _ => -EINVAL,
        }
    }
    fchmodat(directory path; mode: mode_t; flags: c_int) -> c_int {
        match flags {
            0 => chmod(path, mode),
            _ => -EOPNOTSUPP,
        }
    }
    utimensat(directory path; times: *const timespec; flags: c_int) -> c_int {
        let times = known(times);
        match flags {
            0 => system::sys_utimens(path, &times),
            AT_SYMLINK_NOFOLLOW => system::sys_lutimens(path, &times),
            _ => -EINVAL,
        }
    }
    renameat(directory path, other_directory other_path) -> c_int {
        rename(path, other_path)
    }
    linkat(directory path, other_directory other_path; flags: c_int) -> c_int {
        match flags {
            0 => link(path, other_path),
            _ => -EOPNOTSUPP,
        }
    }
}

pub(crate) unsafe fn symlinkat(
    target: *const c_char,
    directory: c_int,
    path: *const c_char,
) -> c_int {
    match walkable(directory, path) {
        Ok(()) => symlink(target, path),
        Err(error) => error,
    }
}

pub(crate) unsafe fn rename(from: *const c_char, to: *const c_char) -> c_int {
    system::sys_rename(from, to)
}

pub(crate) unsafe fn link(from: *const c_char, to: *const c_char) -> c_int {
    system::sys_link(from, to)
}

pub(crate) unsafe fn symlink(target: *const c_char, path: *const c_char) -> c_int {
    system::sys_symlink(target, path)
}

pub(crate) unsafe fn readlink(path: *const c_char, buffer: *mut c_char, length: usize) -> ssize_t {
    system::sys_readlink(path, buffer.cast(), length)
}

pub(crate) unsafe fn chmod(path: *const c_char, mode: mode_t) -> c_int {
    system::sys_chmod(path, mode)
}

pub(crate) unsafe fn fchmod(fd: c_int, mode: mode_t) -> c_int {
    system::sys_fchmod(fd, mode)
}

/// The one user may do everything but execute what nobody may.
pub(crate) unsafe fn access(path: *const c_char, mode: c_int) -> c_int {
    let mut found = core::mem::MaybeUninit::<stat>::uninit();
    match libc::stat(path, found.as_mut_ptr()) {
        0 => {
            let file = found.assume_init();
            let executable = file.st_mode & S_IFMT == S_IFDIR || file.st_mode & 0o111 != 0;
            if mode & X_OK != 0 && !executable {
                -EACCES
            } else {
                0
            }
        }
        error => error,
    }
}

/// Times as the system takes them: it has no name for the present.
unsafe fn known(times: *const timespec) -> [libc::timespec; 2] {
    let time = |time: timespec| match time.tv_nsec {
        UTIME_NOW => {
            let mut now = libc::timespec::default();
            libc::clock_gettime(CLOCK_REALTIME, &mut now);
            now
        }
        _ => time.narrow(),
    };
    [time(*times), time(*times.add(1))]
}

pub(crate) unsafe fn futimens(fd: c_int, times: *const timespec) -> c_int {
    system::sys_futimens(fd, &known(times))
}

/// `struct statfs`, which nothing fills.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct statfs {
    pub f_type: c_long,
}

/// `struct statvfs`, which nothing fills.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct statvfs {
    pub f_bsize: c_ulong,
    pub f_frsize: c_ulong,
    pub f_blocks: u64,
    pub f_bfree: u64,
    pub f_bavail: u64,
    pub f_files: u64,
    pub f_ffree: u64,
    pub f_favail: u64,
    pub f_fsid: c_ulong,
    pub f_flag: c_ulong,
    pub f_namemax: c_ulong,
}

/// `fsid_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fsid_t {
    __val: [c_int; 2],
}

// Numbers of devices, as on Linux.

pub(crate) const fn major(device: dev_t) -> c_uint {
    ((device >> 32) as c_uint & 0xffff_f000) | ((device >> 8) as c_uint & 0xfff)
}

pub(crate) const fn minor(device: dev_t) -> c_uint {
    ((device >> 12) as c_uint & 0xffff_ff00) | (device as c_uint & 0xff)
}

pub(crate) const fn makedev(major: c_uint, minor: c_uint) -> dev_t {
    let (major, minor) = (major as dev_t, minor as dev_t);
    (major & 0xffff_f000) << 32
        | (major & 0xfff) << 8
        | (minor & 0xffff_ff00) << 12
        | (minor & 0xff)
}

// The process, its threads, time, random numbers.

pub(crate) unsafe fn getpid() -> pid_t {
    system::sys_getpid()
}

/// There is one user, who may do everything.
macro_rules! one_user {
    ($($name:ident)*) => {$(
        pub(crate) unsafe fn $name() -> uid_t {
            0
        }
    )*};
}

one_user! {
    getuid geteuid getgid getegid
}

/// Changes the current directory.
#[cfg(all(feature = "fs", feature = "process"))]
pub(crate) fn change_directory(path: &crate::ffi::CStr) -> crate::io::Result<()> {
    // SAFETY: the path is a C string.
    super::conv::ret(unsafe { system::sys_chdir(path.as_ptr().cast()) })
}

/// The current directory, in `buffer`'s memory as far as that is enough.
#[cfg(all(feature = "alloc", feature = "fs"))]
pub(crate) fn current_directory(
    mut buffer: alloc::vec::Vec<u8>,
) -> crate::io::Result<crate::ffi::CString> {
    loop {
        buffer.clear();
        buffer.reserve(256);
        // SAFETY: the system writes to the buffer's memory, no more than there is.
        let length = unsafe { system::sys_getcwd(buffer.as_mut_ptr(), buffer.capacity()) };
        match usize::try_from(length) {
            Ok(length) => {
                // SAFETY: so many bytes were written.
                unsafe { buffer.set_len(length) };
                return crate::ffi::CString::new(buffer).map_err(|_| crate::io::Errno::ILSEQ);
            }
            Err(_) if length as c_int == -ERANGE => buffer.reserve(2 * buffer.capacity()),
            Err(_) => return Err(crate::io::Errno(-length as c_int)),
        }
    }
}

pub(crate) unsafe fn sched_yield() -> c_int {
    system::sys_yield();
    0
}

pub(crate) unsafe fn nanosleep(request: *const timespec, _remain: *mut timespec) -> c_int {
    libc::nanosleep(&(*request).narrow())
}

/// Sleeps for a time, or until one. Errors are positive here.
pub(crate) unsafe fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    remain: *mut timespec,
) -> c_int {
    let mut request = *request;
    if flags & TIMER_ABSTIME != 0 {
        let mut now = libc::timespec::default();
        let result = libc::clock_gettime(clock, &mut now);
        if result < 0 {
            return -result;
        }
        if !(0..1_000_000_000).contains(&request.tv_nsec) {
            return EINVAL;
        }
        let Some(mut seconds) = request.tv_sec.checked_sub(now.tv_sec) else {
            return EINVAL;
        };
        let mut nanoseconds = request.tv_nsec - c_long::from(now.tv_nsec);
        if nanoseconds < 0 {
            seconds -= 1;
            nanoseconds += 1_000_000_000;
        }
        if seconds < 0 {
            return 0;
        }
        request = timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        };
    } else if clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME {
        return EINVAL;
    }
    -nanosleep(&request, remain)
}

pub(crate) unsafe fn clock_gettime(clock: clockid_t, result: *mut timespec) -> c_int {
    let mut now = libc::timespec::default();
    let status = libc::clock_gettime(clock, &mut now);
    if status == 0 {
        *result = timespec {
            tv_sec: now.tv_sec,
            tv_nsec: now.tv_nsec.into(),
        };
    }
    status
}

/// The system counts in nanoseconds.
pub(crate) unsafe fn clock_getres(_clock: clockid_t, result: *mut timespec) -> c_int {
    *result = timespec {
        tv_sec: 0,
        tv_nsec: 1,
    };
    0
}

pub(crate) unsafe fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> ssize_t {
    system::sys_read_entropy(buffer.cast(), length, 0)
}

pub(crate) unsafe fn sysconf(name: c_int) -> c_long {
    match name {
        _SC_PAGESIZE => 4096,
        _SC_CLK_TCK => 100,
        _ => -1,
    }
}
