//! What can be set on a socket, and asked of it.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::Error;

/// An option of a socket with its value. A socket that has no such option answers
/// [`Error::NoSuchOption`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Bind although connections of an earlier socket are still ending (`SO_REUSEADDR`).
    ReuseAddress(bool),
    /// Share the port with others that say the same; what comes is spread over them (`SO_REUSEPORT`).
    ReusePort(bool),
    /// Datagrams may go to everybody (`SO_BROADCAST`).
    Broadcast(bool),
    /// An idle connection is probed (`SO_KEEPALIVE`).
    KeepAlive(bool),
    /// Seconds of idleness before the first probe (`TCP_KEEPIDLE`) and between probes (`TCP_KEEPINTVL`).
    KeepAliveInterval(u32),
    /// Small segments are sent at once (`TCP_NODELAY`).
    NoDelay(bool),
    /// How long `close` waits for what was sent to arrive, in nanoseconds; `Some(0)` resets the connection
    /// (`SO_LINGER`).
    Linger(Option<u64>),
    /// How long a read waits, in nanoseconds (`SO_RCVTIMEO`).
    ReadTimeout(Option<u64>),
    /// How long a write, a connect or an accept waits, in nanoseconds (`SO_SNDTIMEO`).
    WriteTimeout(Option<u64>),
    /// Bytes of room for what was received (`SO_RCVBUF`). Noted before a connection is made, told afterwards.
    ReceiveBuffer(usize),
    /// Bytes of room for what is to be sent (`SO_SNDBUF`).
    SendBuffer(usize),
    /// Routers that a packet may pass (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    HopLimit(u8),
    /// The same for what goes to a group (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`).
    MulticastHopLimit(u8),
    /// What goes to a group comes back to this machine's members (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`).
    MulticastLoop(bool),
    /// The interface that what goes to a group leaves by, by its number from 1 on, or 0 for any
    /// (`IPV6_MULTICAST_IF`).
    MulticastInterface(u32),
    /// The same by an address of the interface, or the unspecified one for any (`IP_MULTICAST_IF`).
    MulticastAddress(Ipv4Addr),
    /// An IPv6 socket leaves IPv4 to others (`IPV6_V6ONLY`).
    V6Only(bool),
    /// Become a member of a group, on the interface with this address, or any (`IP_ADD_MEMBERSHIP`).
    JoinV4(Ipv4Addr, Ipv4Addr),
    /// Be one no more (`IP_DROP_MEMBERSHIP`).
    LeaveV4(Ipv4Addr, Ipv4Addr),
    /// Become a member of a group, on the interface with this number, or any for 0 (`IPV6_ADD_MEMBERSHIP`).
    JoinV6(Ipv6Addr, u32),
    /// Be one no more (`IPV6_DROP_MEMBERSHIP`).
    LeaveV6(Ipv6Addr, u32),
}

/// An option that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the Setting of its name")]
pub enum Name {
    ReuseAddress,
    ReusePort,
    Broadcast,
    KeepAlive,
    KeepAliveInterval,
    NoDelay,
    Linger,
    ReadTimeout,
    WriteTimeout,
    ReceiveBuffer,
    SendBuffer,
    HopLimit,
    MulticastHopLimit,
    MulticastLoop,
    MulticastInterface,
    MulticastAddress,
    V6Only,
    /// The error that the socket has met, which is taken away by this (`SO_ERROR`).
    TakeError,
    /// True for one that accepts connections (`SO_ACCEPTCONN`).
    Listens,
    /// A stream or datagrams (`SO_TYPE`).
    Kind,
    /// The number by which [`crate::vsock`] knows its socket; others have none.
    Number,
}

/// What an option is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A switch.
    Flag(bool),
    /// A number.
    Number(usize),
    /// A time in nanoseconds, or none.
    Time(Option<u64>),
    /// An error, or none.
    Error(Option<Error>),
    /// A stream or datagrams.
    Kind(super::Kind),
    /// An address.
    Address(Ipv4Addr),
}
