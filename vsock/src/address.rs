//! Where a socket is.

use std::fmt;

/// Any context: of a listener, the machine's own.
pub const VMADDR_CID_ANY: u32 = u32::MAX;
/// The machine itself, where a system has a way from itself to itself; Skete has none.
pub const VMADDR_CID_LOCAL: u32 = 1;
/// The host.
pub const VMADDR_CID_HOST: u32 = 2;
/// Any port that is free.
pub const VMADDR_PORT_ANY: u32 = u32::MAX;

/// A context, which is the host or one of its machines, and a port there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VsockAddr {
    cid: u32,
    port: u32,
}

impl VsockAddr {
    /// An address.
    #[must_use]
    pub const fn new(cid: u32, port: u32) -> VsockAddr {
        VsockAddr { cid, port }
    }

    /// The context's identifier.
    #[must_use]
    pub const fn cid(&self) -> u32 {
        self.cid
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }
}

impl fmt::Display for VsockAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cid {
            VMADDR_CID_ANY => write!(formatter, "any:{}", self.port),
            cid => write!(formatter, "{cid}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_in_two_parts() {
        assert_eq!(VsockAddr::new(3, 1024).to_string(), "3:1024");
        assert_eq!(VsockAddr::new(VMADDR_CID_ANY, 7).to_string(), "any:7");
    }
}
