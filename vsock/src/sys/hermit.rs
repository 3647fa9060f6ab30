//! What is hermit-abi's own.

use std::io;

pub use hermit_abi::accept;
use hermit_abi::{AF_VSOCK, SOCK_STREAM, sockaddr_vm};

use super::LENGTH;
use crate::VsockAddr;

/// Skete's own call: what an image holds of IP is reached by `sys_socket` only.
#[cfg(target_env = "skete")]
pub fn socket() -> i32 {
    unsafe extern "C" {
        safe fn sys_vsock_socket(kind: i32, protocol: i32) -> i32;
    }
    sys_vsock_socket(SOCK_STREAM, 0)
}

#[cfg(not(target_env = "skete"))]
pub fn socket() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { hermit_abi::socket(AF_VSOCK, SOCK_STREAM, 0) }
}

/// What a call has returned: a number, or that of an error, negated.
pub fn done(result: i32) -> io::Result<i32> {
    match result {
        0.. => Ok(result),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

pub const fn to_system(address: VsockAddr) -> sockaddr_vm {
    sockaddr_vm {
        svm_len: LENGTH as u8,
        svm_family: AF_VSOCK as u8,
        svm_reserved1: 0,
        svm_port: address.port(),
        svm_cid: address.cid(),
        svm_zero: [0; 4],
    }
}
