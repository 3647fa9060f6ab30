//! Sockets that talk to each other over the loopback, on the host.

use core::net::SocketAddr;

use super::option::{Name, Setting, Value};
use super::*;
use crate::fd::Object;
use crate::fd::poll::Events;

fn v4(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn open(kind: Kind, family: Family) -> Arc<dyn Object> {
    match kind {
        Kind::Stream => tcp(family, true).unwrap(),
        Kind::Datagram => udp(family, true).unwrap(),
    }
}

fn socket(object: &Arc<dyn Object>) -> &dyn Socket {
    object.socket().unwrap()
}

/// A listener on any port, and its address.
fn listener(backlog: usize) -> (Arc<dyn Object>, SocketAddr) {
    let object = open(Kind::Stream, Family::V4);
    socket(&object).bind(v4(0)).unwrap();
    socket(&object).listen(backlog).unwrap();
    let address = socket(&object).local().unwrap();
    (object, address)
}

/// Both ends of a connection.
fn pair() -> (Arc<dyn Object>, Arc<dyn Object>) {
    let (listener, address) = listener(8);
    let client = open(Kind::Stream, Family::V4);
    match socket(&client).connect(Some(address)) {
        Ok(()) | Err(Error::InProgress) => {}
        Err(error) => panic!("{error:?}"),
    }
    let (server, from) = socket(&listener).accept().unwrap();
    server.set_nonblocking(true);
    assert_eq!(socket(&client).local().unwrap(), from);
    assert_eq!(socket(&client).peer().unwrap(), address);
    (client, server)
}

#[test]
fn what_is_sent_arrives() {
    let (client, server) = pair();
    assert_eq!(client.write(b"hello"), Ok(5));
    let mut buffer = [0; 16];
    assert_eq!(server.read(&mut buffer), Ok(5));
    assert_eq!(&buffer[..5], b"hello");
    assert_eq!(server.read(&mut buffer), Err(Error::WouldBlock));
    assert_eq!(server.ready(), Events::WRITABLE);
    assert_eq!(server.write(b"there"), Ok(5));
    assert_eq!(client.ready(), Events::READABLE | Events::WRITABLE);
    assert_eq!(client.read(&mut buffer[..2]), Ok(2));
    assert_eq!(client.read(&mut buffer), Ok(3));
}

#[test]
fn the_end_is_read_after_everything() {
    let (client, server) = pair();
    client.write(b"x").unwrap();
    drop(client);
    let mut buffer = [0; 4];
    assert_eq!(server.read(&mut buffer), Ok(1));
    assert_eq!(server.read(&mut buffer), Ok(0));
    assert_eq!(server.read(&mut buffer), Ok(0));
}

#[test]
fn a_half_shut_connection_still_reads() {
    let (client, server) = pair();
    socket(&client).shutdown(Shutdown::Write).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(server.read(&mut buffer), Ok(0));
    assert_eq!(client.write(b"x"), Err(Error::BrokenPipe));
    assert_eq!(server.write(b"yes"), Ok(3));
    assert_eq!(client.read(&mut buffer), Ok(3));
    socket(&server).shutdown(Shutdown::Both).unwrap();
    assert_eq!(client.read(&mut buffer), Ok(0));
}

#[test]
fn what_is_ready_is_known_until_something_happens() {
    let (client, server) = pair();
    server.ready();
    assert_eq!(server.idle(Events::READABLE), Some(Events::WRITABLE));
    assert_eq!(server.idle(Events::WRITABLE), None);
    client.write(b"x").unwrap();
    assert_eq!(server.idle(Events::READABLE), None);
    assert_eq!(server.ready(), Events::READABLE | Events::WRITABLE);
    assert_eq!(server.read(&mut [0; 4]), Ok(1));
    // It may still be; who looks learns that it is not.
    assert_eq!(server.idle(Events::READABLE), None);
    assert_eq!(server.ready(), Events::WRITABLE);
    assert_eq!(server.idle(Events::READABLE), Some(Events::WRITABLE));
    drop(client);
    assert_eq!(server.idle(Events::READABLE), None);
}

#[test]
fn the_end_of_a_direction_is_told_before_all_is_read() {
    let (client, server) = pair();
    client.write(b"x").unwrap();
    socket(&client).shutdown(Shutdown::Write).unwrap();
    let half = Events::READABLE | Events::WRITABLE | Events::READ_CLOSED;
    assert_eq!(server.ready(), half);
    assert_eq!(server.read(&mut [0; 4]), Ok(1));
    assert_eq!(server.ready(), half);
    assert_eq!(client.ready(), Events::WRITABLE);
    socket(&server).shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.ready(), half | Events::HUNG_UP);
    assert_eq!(client.ready(), half | Events::HUNG_UP);
}

#[test]
fn unread_bytes_reset_the_connection() {
    let (client, server) = pair();
    client.write(b"never read").unwrap();
    drop(server);
    let mut buffer = [0; 4];
    assert_eq!(client.read(&mut buffer), Err(Error::ConnectionReset));
    assert_eq!(client.read(&mut buffer), Ok(0));
    assert_eq!(client.write(b"x"), Err(Error::BrokenPipe));
}

#[test]
fn nobody_listens() {
    let (listener, address) = listener(1);
    drop(listener);
    let client = open(Kind::Stream, Family::V4);
    let result = socket(&client).connect(Some(address));
    assert_eq!(result, Err(Error::ConnectionRefused));
}

#[test]
fn a_full_queue_takes_no_more() {
    let (listener, address) = listener(2);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let client = open(Kind::Stream, Family::V4);
            let result = socket(&client).connect(Some(address));
            (client, result)
        })
        .collect();
    let made = clients.iter().filter(|(_, result)| result.is_ok()).count();
    assert_eq!(made, 2);
    assert!(socket(&listener).accept().is_ok());
    assert!(socket(&listener).accept().is_ok());
    assert_eq!(socket(&listener).accept().err(), Some(Error::WouldBlock));
}

#[test]
fn a_taken_port_is_in_use() {
    let (_listener, address) = listener(1);
    let other = open(Kind::Stream, Family::V4);
    assert_eq!(socket(&other).bind(address), Err(Error::AddressInUse));
    assert_eq!(socket(&other).bind("1.2.3.4:0".parse().unwrap()), Err(Error::AddressNotAvailable));
}

#[test]
fn a_megabyte_goes_both_ways() {
    let (client, server) = pair();
    let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| (at ^ at >> 8) as u8).collect();
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut sent, mut received) = (0, Vec::new());
        let mut buffer = vec![0; 10_000];
        while received.len() < bytes.len() {
            match from.write(&bytes[sent..]) {
                Ok(length) => sent += length,
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
            match to.read(&mut buffer) {
                Ok(length) => received.extend_from_slice(&buffer[..length]),
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
        }
        assert!(received == bytes);
    }
}

#[test]
fn datagrams_keep_their_ends() {
    let (one, other) = (open(Kind::Datagram, Family::V4), open(Kind::Datagram, Family::V4));
    socket(&one).bind(v4(0)).unwrap();
    let address = socket(&one).local().unwrap();
    let none = Flags::default();
    assert_eq!(socket(&other).send(b"x", None, none), Err(Error::DestinationRequired));
    for message in [&b"first"[..], b"", b"second"] {
        let sent = socket(&other).send(message, Some(address), none);
        assert_eq!(sent, Ok(message.len()));
    }
    let mut buffer = [0; 3];
    let from = socket(&other).local().unwrap().port();
    let peek = Flags { peek: true, ..none };
    assert_eq!(socket(&one).receive(&mut buffer, peek), Ok((3, Some(v4(from)))));
    for length in [3, 0, 3] {
        let (received, _) = socket(&one).receive(&mut buffer, none).unwrap();
        assert_eq!(received, length);
    }
    assert_eq!(socket(&one).receive(&mut buffer, none).err(), Some(Error::WouldBlock));
    let long = vec![7; super::datagram::LONGEST];
    assert_eq!(socket(&other).send(&long, Some(address), none), Ok(long.len()));
    let mut buffer = vec![0; long.len()];
    assert_eq!(socket(&one).receive(&mut buffer, none).unwrap().0, long.len());
    assert!(buffer == long);
    let longer = vec![7; super::datagram::LONGEST + 1];
    assert_eq!(socket(&other).send(&longer, Some(address), none), Err(Error::MessageTooLong));
}

#[test]
fn a_connected_datagram_socket_learns_that_nobody_is_there() {
    let gone = open(Kind::Datagram, Family::V4);
    socket(&gone).bind(v4(0)).unwrap();
    let address = socket(&gone).local().unwrap();
    drop(gone);
    let client = open(Kind::Datagram, Family::V4);
    socket(&client).connect(Some(address)).unwrap();
    assert_eq!(client.write(b"x"), Ok(1));
    let mut buffer = [0; 4];
    assert_eq!(client.read(&mut buffer), Err(Error::ConnectionRefused));
    assert_eq!(client.read(&mut buffer), Err(Error::WouldBlock));
}

#[test]
fn groups_are_heard_by_their_members() {
    let group = SocketAddr::from(([239, 1, 2, 3], 0));
    let members: Vec<_> = (0..2).map(|_| open(Kind::Datagram, Family::V4)).collect();
    let mut port = 0;
    for member in &members {
        let own = socket(member);
        own.set_option(Setting::ReuseAddress(true)).unwrap();
        own.bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
        port = own.local().unwrap().port();
        let join = Setting::JoinV4([239, 1, 2, 3].into(), [0; 4].into());
        own.set_option(join).unwrap();
        assert_eq!(own.set_option(join), Err(Error::AddressInUse));
    }
    let sender = open(Kind::Datagram, Family::V4);
    let to = SocketAddr::new(group.ip(), port);
    socket(&sender).send(b"all", Some(to), Flags::default()).unwrap();
    let mut buffer = [0; 8];
    for member in &members {
        assert_eq!(member.read(&mut buffer), Ok(3));
    }
    socket(&sender).set_option(Setting::MulticastLoop(false)).unwrap();
    let _ = socket(&sender).send(b"others", Some(to), Flags::default());
    assert_eq!(members[0].read(&mut buffer), Err(Error::WouldBlock));
}

#[test]
fn ipv6_takes_ipv4_unless_told_otherwise() {
    let both = open(Kind::Stream, Family::V6);
    socket(&both).bind("[::]:0".parse().unwrap()).unwrap();
    let port = socket(&both).local().unwrap().port();
    // Without a card, only addresses of this machine may be listened on.
    assert_eq!(socket(&both).listen(1), Err(Error::NetworkDown));
    let only = open(Kind::Stream, Family::V6);
    socket(&only).set_option(Setting::V6Only(true)).unwrap();
    socket(&only).bind("[::1]:0".parse().unwrap()).unwrap();
    socket(&only).listen(1).unwrap();
    let port6 = socket(&only).local().unwrap().port();
    assert_ne!(port, port6);
    let client = open(Kind::Stream, Family::V6);
    let to: SocketAddr = format!("[::1]:{port6}").parse().unwrap();
    socket(&client).connect(Some(to)).unwrap();
    assert_eq!(socket(&client).peer(), Ok(to));
}

#[test]
fn options_are_kept() {
    let (client, server) = pair();
    socket(&client).set_option(Setting::NoDelay(true)).unwrap();
    assert_eq!(socket(&client).option(Name::NoDelay), Ok(Value::Flag(true)));
    assert_eq!(socket(&server).option(Name::NoDelay), Ok(Value::Flag(false)));
    assert_eq!(socket(&client).set_option(Setting::HopLimit(0)), Err(Error::InvalidArgument));
    assert_eq!(socket(&client).option(Name::MulticastLoop), Err(Error::NoSuchOption));
    assert_eq!(socket(&client).option(Name::TakeError), Ok(Value::Error(None)));
}

#[test]
fn closed_sockets_leave_nothing_behind() {
    let before = super::stack::lock().entries.len();
    for _ in 0..100 {
        let (client, server) = pair();
        client.write(b"x").unwrap();
        server.read(&mut [0; 4]).unwrap();
        drop(server);
        drop(client);
    }
    // Other tests have sockets too, but not a hundred.
    assert!(super::stack::lock().entries.len() < before + 50);
}

/// Whatever is written and read, in pieces of any size: as long as something is left, somebody can do something.
#[test]
fn nothing_waits_for_a_timer() {
    for seed in 1..20_u64 {
        let mut state = seed;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % bound
        };
        let (client, server) = pair();
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i / 3) as u8).collect();
        let sizes = [700, 3000, 8192, 70_000];
        let (ours, theirs) = (sizes[below(4)], sizes[below(4)]);
        let mut idle = 0;
        let (mut sent, mut waiting, mut back) = (0, Vec::<u8>::new(), Vec::new());
        let mut buffer = alloc::vec![0; 70_000];
        while back.len() < bytes.len() {
            let mut progress = false;
            for _ in 0..below(4) {
                let end = (sent + 1 + below(ours)).min(bytes.len());
                if sent < end
                    && let Ok(length) = client.write(&bytes[sent..end])
                {
                    sent += length;
                    progress = true;
                }
            }
            for _ in 0..below(4) {
                let length = 1 + below(theirs);
                if waiting.len() < 100_000
                    && let Ok(length) = server.read(&mut buffer[..length])
                {
                    waiting.extend_from_slice(&buffer[..length]);
                    progress |= length > 0;
                }
                if !waiting.is_empty()
                    && let Ok(length) = server.write(&waiting)
                {
                    waiting.drain(..length);
                    progress = true;
                }
            }
            for _ in 0..below(4) {
                let length = 1 + below(ours);
                if let Ok(length) = client.read(&mut buffer[..length]) {
                    back.extend_from_slice(&buffer[..length]);
                    progress = true;
                }
            }
            idle = if progress { 0 } else { idle + 1 };
            let left = waiting.len();
            let what = std::format!("{sent} sent, {left} in between, {} back", back.len());
            let ready = (client.ready(), server.ready());
            assert!(idle < 100, "seed {seed}, {ours}, {theirs}: {what}, {ready:?}");
        }
        assert!(back == bytes);
    }
}
