//! Datagrams.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::{BOTH, fails, join};

fn two(ip: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    Ok((UdpSocket::bind((ip, 0))?, UdpSocket::bind((ip, 0))?))
}

pub fn echo() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        let (a, b) = (one.local_addr()?, two.local_addr()?);
        assert_eq!(a.ip(), ip);
        assert!(a.port() >= 1024 && a != b);
        assert_eq!(one.send_to(b"there", b)?, 5);
        let mut buffer = [0; 16];
        assert_eq!(two.recv_from(&mut buffer)?, (5, a));
        assert_eq!(&buffer[..5], b"there");
        assert_eq!(two.send_to(b"back", a)?, 4);
        assert_eq!(one.recv_from(&mut buffer)?, (4, b));
        // From any address of its own.
        let any = match ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let any = UdpSocket::bind((any, 0))?;
        any.send_to(b"x", b)?;
        let from = (ip, any.local_addr()?.port()).into();
        assert_eq!(two.recv_from(&mut buffer)?, (1, from));
        two.send_to(b"y", from)?;
        assert_eq!(any.recv_from(&mut buffer)?, (1, b));
    }
    // One socket for both families.
    let any = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let one = UdpSocket::bind((BOTH[0], 0))?;
    one.send_to(b"x", (BOTH[0], any.local_addr()?.port()))?;
    let (_, from) = any.recv_from(&mut [0; 4])?;
    assert_eq!(from.ip(), Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    any.send_to(b"y", from)?;
    assert_eq!(one.recv_from(&mut [0; 4])?.1.port(), any.local_addr()?.port());
    Ok(())
}

pub fn boundaries() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        let to = two.local_addr()?;
        for number in 0..60_u8 {
            one.send_to(&vec![number; usize::from(number) * 10 + 1], to)?;
        }
        let mut buffer = [0; 1000];
        for number in 0..60_u8 {
            let (length, _) = two.recv_from(&mut buffer)?;
            assert_eq!(length, usize::from(number) * 10 + 1);
            assert!(buffer[..length].iter().all(|byte| *byte == number));
        }
    }
    Ok(())
}

pub fn truncated() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        one.send_to(b"longer than that", two.local_addr()?)?;
        one.send_to(b"next", two.local_addr()?)?;
        let mut buffer = [0; 6];
        assert_eq!(two.recv_from(&mut buffer)?.0, 6);
        assert_eq!(&buffer, b"longer");
        assert_eq!(two.recv_from(&mut buffer)?.0, 4);
        assert_eq!(&buffer[..4], b"next");
    }
    Ok(())
}

pub fn empty() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        assert_eq!(one.send_to(b"", two.local_addr()?)?, 0);
        one.send_to(b"x", two.local_addr()?)?;
        let mut buffer = [0; 4];
        assert_eq!(two.recv_from(&mut buffer)?, (0, one.local_addr()?));
        assert_eq!(two.recv_from(&mut buffer)?.0, 1);
    }
    Ok(())
}

pub fn longest() -> io::Result<()> {
    for (ip, most) in [(BOTH[0], 65507), (BOTH[1], 65527)] {
        let (one, two) = two(ip)?;
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i / 7) as u8).collect();
        for length in [1472, 1473, 9000, 60_000] {
            assert_eq!(one.send_to(&bytes[..length], two.local_addr()?)?, length);
            let mut buffer = vec![0; 70_000];
            assert_eq!(two.recv_from(&mut buffer)?.0, length);
            assert!(buffer[..length] == bytes[..length]);
        }
        let error = one.send_to(&bytes[..most + 1], two.local_addr()?);
        let error = error.expect_err("no datagram is that long");
        assert_eq!(error.to_string(), "Message too long (os error 90)");
    }
    Ok(())
}

pub fn peek() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        one.send_to(b"twice", two.local_addr()?)?;
        let mut buffer = [0; 16];
        assert_eq!(two.peek_from(&mut buffer)?, (5, one.local_addr()?));
        assert_eq!(two.peek_from(&mut buffer[..2])?.0, 2);
        assert_eq!(two.recv_from(&mut buffer)?, (5, one.local_addr()?));
        two.connect(one.local_addr()?)?;
        one.send_to(b"again", two.local_addr()?)?;
        assert_eq!(two.peek(&mut buffer)?, 5);
        assert_eq!(two.recv(&mut buffer)?, 5);
    }
    Ok(())
}

pub fn connected() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        let other = UdpSocket::bind((ip, 0))?;
        one.connect(two.local_addr()?)?;
        assert_eq!(one.peer_addr()?, two.local_addr()?);
        other.send_to(b"not from the peer", one.local_addr()?)?;
        two.send_to(b"from the peer", one.local_addr()?)?;
        let mut buffer = [0; 32];
        assert_eq!(one.recv(&mut buffer)?, 13);
        assert_eq!(one.send(b"to the peer")?, 11);
        assert_eq!(two.recv_from(&mut buffer)?, (11, one.local_addr()?));
        // Another address may still be given, and another peer chosen.
        one.send_to(b"to another", other.local_addr()?)?;
        assert_eq!(other.recv_from(&mut buffer)?, (10, one.local_addr()?));
        one.connect(other.local_addr()?)?;
        assert_eq!(one.peer_addr()?, other.local_addr()?);
        one.send(b"x")?;
        assert_eq!(other.recv_from(&mut buffer)?, (1, one.local_addr()?));
    }
    // To connect takes an address of one's own.
    let any = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    any.connect((BOTH[0], 9))?;
    assert_eq!(any.local_addr()?.ip(), BOTH[0]);
    Ok(())
}

pub fn unreachable() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        let gone = two.local_addr()?;
        drop(two);
        one.connect(gone)?;
        one.set_read_timeout(Some(Duration::from_secs(20)))?;
        one.send(b"x")?;
        fails(one.recv(&mut [0; 4]), ErrorKind::ConnectionRefused);
        // Once for each that was sent, also to a sender.
        one.send(b"x")?;
        thread::sleep(Duration::from_millis(20));
        assert_eq!(one.take_error()?.map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
        assert!(one.take_error()?.is_none());
        // Without a peer nobody is told.
        let other = UdpSocket::bind((ip, 0))?;
        other.send_to(b"x", gone)?;
        other.set_read_timeout(Some(Duration::from_millis(30)))?;
        fails(other.recv_from(&mut [0; 4]), ErrorKind::WouldBlock);
    }
    Ok(())
}

pub fn no_destination() -> io::Result<()> {
    let socket = UdpSocket::bind((BOTH[0], 0))?;
    let error = socket.send(b"x").expect_err("nobody to send to");
    assert_eq!(error.to_string(), "Destination address required (os error 89)");
    // An address of the other family is none.
    let error = socket.send_to(b"x", (BOTH[1], 9)).expect_err("no way");
    assert_eq!(error.to_string(), "Address family not supported by protocol (os error 97)");
    let error = socket.send_to(b"x", (BOTH[0], 0));
    fails(error, ErrorKind::InvalidInput);
    Ok(())
}

pub fn timeout() -> io::Result<()> {
    const SHORT: Duration = Duration::from_millis(40);
    for ip in BOTH {
        let (one, two) = two(ip)?;
        two.set_read_timeout(Some(SHORT))?;
        let start = Instant::now();
        fails(two.recv_from(&mut [0; 4]), ErrorKind::WouldBlock);
        fails(two.peek_from(&mut [0; 4]), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= 2 * SHORT);
        two.set_read_timeout(None)?;
        let to = two.local_addr()?;
        let late = thread::spawn(move || {
            thread::sleep(SHORT);
            one.send_to(b"late", to)
        });
        assert_eq!(two.recv(&mut [0; 8])?, 4);
        join(late)?;
    }
    Ok(())
}

pub fn nonblocking() -> io::Result<()> {
    for ip in BOTH {
        let (one, two) = two(ip)?;
        two.set_nonblocking(true)?;
        fails(two.recv_from(&mut [0; 4]), ErrorKind::WouldBlock);
        one.send_to(b"x", two.local_addr()?)?;
        two.set_nonblocking(false)?;
        assert_eq!(two.recv(&mut [0; 4])?, 1);
    }
    Ok(())
}

/// What nobody takes is dropped, and nobody waits for it.
pub fn overflow() -> io::Result<()> {
    let (one, two) = two(BOTH[0])?;
    let to = two.local_addr()?;
    for number in 0..5_000_u32 {
        let mut bytes = [0; 1000];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        assert_eq!(one.send_to(&bytes, to)?, 1000);
    }
    two.set_read_timeout(Some(Duration::from_millis(30)))?;
    let mut next = 0;
    let mut buffer = [0; 1000];
    while let Ok(length) = two.recv(&mut buffer) {
        assert_eq!(length, 1000);
        let number = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
        assert!(number >= next, "{number} before {next}");
        next = number + 1;
    }
    assert!(next > 10, "{next} arrived");
    // There is room again.
    one.send_to(b"x", to)?;
    assert_eq!(two.recv(&mut buffer)?, 1);
    Ok(())
}

pub fn copies() -> io::Result<()> {
    let (one, two) = two(BOTH[1])?;
    let copy = one.try_clone()?;
    assert_eq!(copy.local_addr()?, one.local_addr()?);
    copy.send_to(b"x", two.local_addr()?)?;
    assert_eq!(two.recv_from(&mut [0; 4])?.1, one.local_addr()?);
    drop(one);
    two.send_to(b"y", copy.local_addr()?)?;
    assert_eq!(copy.recv(&mut [0; 4])?, 1);
    Ok(())
}

pub fn broadcast() -> io::Result<()> {
    let socket = UdpSocket::bind((BOTH[0], 0))?;
    let everybody = (Ipv4Addr::new(127, 255, 255, 255), 9);
    let error = fails(socket.send_to(b"x", everybody), ErrorKind::PermissionDenied);
    assert_eq!(error.to_string(), "Permission denied (os error 13)");
    assert!(!socket.broadcast()?);
    socket.set_broadcast(true)?;
    assert!(socket.broadcast()?);
    socket.send_to(b"x", everybody)?;
    Ok(())
}

pub fn group_v4() -> io::Result<()> {
    let group = Ipv4Addr::new(239, 255, 77, 1);
    let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let to: SocketAddr = (group, receiver.local_addr()?.port()).into();
    receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    let error = receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST);
    fails(error, ErrorKind::AddrInUse);
    let error = receiver.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::LOCALHOST);
    fails(error, ErrorKind::InvalidInput);
    let sender = UdpSocket::bind((BOTH[0], 0))?;
    sender.send_to(b"to the group", to)?;
    let mut buffer = [0; 32];
    receiver.set_read_timeout(Some(Duration::from_secs(20)))?;
    assert_eq!(receiver.recv_from(&mut buffer)?, (12, sender.local_addr()?));
    // Not to those who are in no group.
    receiver.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    sender.send_to(b"to nobody", to)?;
    receiver.set_read_timeout(Some(Duration::from_millis(30)))?;
    fails(receiver.recv(&mut buffer), ErrorKind::WouldBlock);
    let error = receiver.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST);
    fails(error, ErrorKind::AddrNotAvailable);
    Ok(())
}

pub fn group_v6() -> io::Result<()> {
    let group: Ipv6Addr = "ff02::7701".parse().unwrap();
    let receiver = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = receiver.local_addr()?.port();
    // The loopback interface is the first one.
    receiver.join_multicast_v6(&group, 1)?;
    fails(receiver.join_multicast_v6(&group, 1), ErrorKind::AddrInUse);
    fails(receiver.join_multicast_v6(&Ipv6Addr::LOCALHOST, 1), ErrorKind::InvalidInput);
    let sender = UdpSocket::bind((BOTH[1], 0))?;
    let to = std::net::SocketAddrV6::new(group, port, 0, 1);
    match sender.send_to(b"to the group", to) {
        // Linux has no route to groups on the loopback interface unless somebody adds one.
        Err(error) if cfg!(target_os = "linux") => {
            assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
            return Ok(());
        }
        sent => assert_eq!(sent?, 12),
    }
    let mut buffer = [0; 32];
    receiver.set_read_timeout(Some(Duration::from_secs(20)))?;
    assert_eq!(receiver.recv_from(&mut buffer)?, (12, sender.local_addr()?));
    receiver.leave_multicast_v6(&group, 1)?;
    sender.send_to(b"to nobody", to)?;
    receiver.set_read_timeout(Some(Duration::from_millis(30)))?;
    fails(receiver.recv(&mut buffer), ErrorKind::WouldBlock);
    fails(receiver.leave_multicast_v6(&group, 1), ErrorKind::AddrNotAvailable);
    Ok(())
}
