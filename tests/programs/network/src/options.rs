//! Options of sockets: what they are, and that they stay as they are set.

use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use crate::{BOTH, fails, listen, pair};

pub fn streams() -> io::Result<()> {
    for ip in BOTH {
        let (client, server) = pair(ip)?;
        assert!(!client.nodelay()?);
        client.set_nodelay(true)?;
        assert!(client.nodelay()?);
        assert!(!server.nodelay()?);
        assert_eq!(client.ttl()?, 64);
        client.set_ttl(7)?;
        assert_eq!(client.ttl()?, 7);
        fails(client.set_ttl(0), ErrorKind::InvalidInput);
        fails(client.set_ttl(256), ErrorKind::InvalidInput);
        assert!(client.take_error()?.is_none());
        let copy = client.try_clone()?;
        assert_eq!(copy.ttl()?, 7);
    }
    Ok(())
}

#[expect(deprecated, reason = "there is nothing else in std")]
pub fn listeners() -> io::Result<()> {
    let (listener, _) = listen(Ipv6Addr::UNSPECIFIED.into())?;
    assert!(!listener.only_v6()?);
    // Too late.
    fails(listener.set_only_v6(true), ErrorKind::InvalidInput);
    assert_eq!(listener.ttl()?, 64);
    listener.set_ttl(9)?;
    assert_eq!(listener.ttl()?, 9);
    assert!(listener.take_error()?.is_none());
    let (listener, _) = listen(BOTH[0])?;
    let error = listener.only_v6().expect_err("IPv4 alone");
    assert_eq!(error.raw_os_error(), Some(if cfg!(target_os = "linux") { 95 } else { 92 }));
    Ok(())
}

pub fn datagrams() -> io::Result<()> {
    let socket = UdpSocket::bind((BOTH[0], 0))?;
    assert!(socket.multicast_loop_v4()?);
    socket.set_multicast_loop_v4(false)?;
    assert!(!socket.multicast_loop_v4()?);
    assert_eq!(socket.multicast_ttl_v4()?, 1);
    socket.set_multicast_ttl_v4(32)?;
    assert_eq!(socket.multicast_ttl_v4()?, 32);
    assert_eq!(socket.ttl()?, 64);
    socket.set_ttl(255)?;
    assert_eq!(socket.ttl()?, 255);
    assert!(socket.take_error()?.is_none());
    let socket = UdpSocket::bind((BOTH[1], 0))?;
    assert!(socket.multicast_loop_v6()?);
    socket.set_multicast_loop_v6(false)?;
    assert!(!socket.multicast_loop_v6()?);
    Ok(())
}

pub fn times() -> io::Result<()> {
    let (client, _server) = pair(BOTH[0])?;
    let socket = UdpSocket::bind((BOTH[0], 0))?;
    assert_eq!(client.read_timeout()?, None);
    assert_eq!(client.write_timeout()?, None);
    let (long, short) = (Duration::from_secs(100), Duration::from_millis(20));
    client.set_read_timeout(Some(long))?;
    client.set_write_timeout(Some(short))?;
    assert_eq!(client.read_timeout()?, Some(long));
    assert_eq!(client.write_timeout()?, Some(short));
    socket.set_read_timeout(Some(short))?;
    assert_eq!(socket.read_timeout()?, Some(short));
    assert_eq!(socket.write_timeout()?, None);
    client.set_read_timeout(None)?;
    assert_eq!(client.read_timeout()?, None);
    fails(client.set_read_timeout(Some(Duration::ZERO)), ErrorKind::InvalidInput);
    fails(socket.set_write_timeout(Some(Duration::ZERO)), ErrorKind::InvalidInput);
    Ok(())
}
