//! The network. This kernel has none yet: every call says so, and none pretends.

use core::ffi::{c_char, c_void};

use hermit_abi::errno::ENOSYS;
use hermit_abi::{EAI_FAIL, addrinfo, sockaddr, socklen_t};
use skete_kernel::debug::{Level, Line};
use skete_kernel::fd;

use crate::errno::{fail, number};

#[cold]
fn no_network() -> i32 {
    Line::log(Level::Error, |line| {
        line.text("this kernel has no network: sockets are not supported");
    });
    fail(ENOSYS)
}

/// A descriptor is no socket: EBADF when it is not even open, else ENOTSOCK.
fn no_socket(descriptor: i32) -> i32 {
    match fd::get(descriptor) {
        Ok(_) => fail(hermit_abi::errno::ENOTSOCK),
        Err(error) => fail(number(error)),
    }
}

#[unsafe(no_mangle)]
extern "C" fn sys_network_init() -> i32 {
    no_network()
}

#[unsafe(no_mangle)]
extern "C" fn sys_socket(_domain: i32, _kind: i32, _protocol: i32) -> i32 {
    no_network()
}

#[unsafe(no_mangle)]
extern "C" fn sys_getaddrbyname(_name: *const c_char, _address: *mut u8, _length: usize) -> i32 {
    no_network()
}

#[unsafe(no_mangle)]
extern "C" fn sys_getaddrinfo(
    _node: *const c_char,
    _service: *const c_char,
    _hints: *const addrinfo,
    _result: *mut *mut addrinfo,
) -> i32 {
    no_network();
    EAI_FAIL
}

/// Nothing was ever given that could be freed.
#[unsafe(no_mangle)]
extern "C" fn sys_freeaddrinfo(_list: *mut addrinfo) {}

macro_rules! need_a_socket {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(descriptor: i32, $(_: $argument),*) -> $result {
            no_socket(descriptor) as $result
        }
    )*};
}

need_a_socket! {
    sys_accept(*mut sockaddr, *mut socklen_t) -> i32;
    sys_bind(*const sockaddr, socklen_t) -> i32;
    sys_connect(*const sockaddr, socklen_t) -> i32;
    sys_recv(*mut u8, usize, i32) -> isize;
    sys_recvfrom(*mut u8, usize, i32, *mut sockaddr, *mut socklen_t) -> isize;
    sys_getpeername(*mut sockaddr, *mut socklen_t) -> i32;
    sys_getsockname(*mut sockaddr, *mut socklen_t) -> i32;
    sys_getsockopt(i32, i32, *mut c_void, *mut socklen_t) -> i32;
    sys_setsockopt(i32, i32, *const c_void, socklen_t) -> i32;
    sys_listen(i32) -> i32;
    sys_send(*const c_void, usize, i32) -> isize;
    sys_sendto(*const c_void, usize, i32, *const sockaddr, socklen_t) -> isize;
    sys_shutdown(i32) -> i32;
    sys_shutdown_socket(i32) -> i32;
}
