//! Sockets against a host that lives in this process.

mod host;

use std::vec::Vec;
use std::{assert_eq, vec};

use proptest::prelude::*;
use virtio::vsock::Op;

use self::host::{CID, HOST, header, room};
use super::{ANY, Address};
use crate::Error;
use crate::drivers::vsock::Header;
use crate::fd::poll::Events;
use crate::net::Shutdown;

const PEER: Address = Address { cid: HOST as u32, port: 700 };

#[test]
fn a_connection_is_asked_for_and_made() {
    let (mut room, mut host) = room();
    let (id, _) = room.socket();
    assert_eq!(room.ready(id), Events::WRITABLE | Events::HUNG_UP);
    room.connect(id, PEER, 0).unwrap();
    assert_eq!(room.connected(id), Ok(None));
    assert_eq!(room.connect(id, PEER, 0), Err(Error::AlreadyInProgress));
    assert_eq!(room.ready(id), Events::NONE);
    let (request, _) = host.next().unwrap();
    assert_eq!(request.operation, Op::Request as u16);
    assert_eq!(request.to, (HOST, 700));
    assert!(request.capacity >= 4096, "{}", request.capacity);
    let port = request.from.1;
    host.send(&mut room, header(700, port, Op::Response), &[]);
    assert_eq!(room.connected(id), Ok(Some(())));
    assert_eq!(room.connect(id, PEER, 0), Err(Error::AlreadyConnected));
    assert_eq!(room.peer(id), Ok(PEER));
    assert_eq!(room.local(id), Address { cid: CID as u32, port });
    assert_eq!(room.ready(id), Events::WRITABLE);
    assert_eq!(room.next(), None);
}

#[test]
fn a_refusal_is_told_once_and_silence_is_not_waited_for() {
    let (mut room, mut host) = room();
    let (id, _) = room.socket();
    room.connect(id, PEER, 0).unwrap();
    let port = host.next().unwrap().0.from.1;
    host.send(&mut room, header(700, port, Op::Rst), &[]);
    assert_eq!(room.connected(id), Err(Error::ConnectionRefused));
    assert_eq!(room.write(id, b"x"), Err(Error::BrokenPipe));

    let (id, _) = room.socket();
    room.connect(id, PEER, 5).unwrap();
    assert_eq!(host.next_operation(), Some(Op::Request));
    let due = room.next().unwrap();
    room.work(due - 1);
    assert_eq!(room.connected(id), Ok(None));
    room.work(due);
    assert_eq!(room.connected(id), Err(Error::TimedOut));
    assert_eq!(host.next_operation(), Some(Op::Rst));
}

#[test]
fn there_is_no_way_to_the_machine_itself() {
    let (mut room, mut host) = room();
    for cid in [0, 1, CID as u32, ANY] {
        let (id, _) = room.socket();
        let peer = Address { cid, port: 1 };
        assert_eq!(room.connect(id, peer, 0), Err(Error::NetworkUnreachable));
    }
    assert!(host.next().is_none());
}

#[test]
fn a_port_has_one_owner() {
    let (mut room, _host) = room();
    let address = Address { cid: ANY, port: 9 };
    let (first, second) = (room.socket().0, room.socket().0);
    assert_eq!(room.bind(first, address), Ok(9));
    assert_eq!(room.bind(first, address), Err(Error::AddressInUse));
    assert_eq!(room.bind(second, address), Err(Error::AddressInUse));
    let other = Address { cid: 77, port: 10 };
    assert_eq!(room.bind(second, other), Err(Error::AddressNotAvailable));
    let any = Address { cid: ANY, port: ANY };
    let chosen = room.bind(second, any).unwrap();
    assert!(chosen >= 49152, "{chosen}");
    room.release(first, 0);
    let third = room.socket().0;
    assert_eq!(room.bind(third, address), Ok(9));
}

#[test]
fn more_than_the_backlog_are_refused() {
    let (mut room, mut host) = room();
    let (listener, _) = room.socket();
    room.bind(listener, Address { cid: ANY, port: 9 }).unwrap();
    // Nobody listens yet.
    host.send(&mut room, header(1, 9, Op::Request), &[]);
    assert_eq!(host.next_operation(), Some(Op::Rst));
    room.listen(listener, 2).unwrap();
    assert_eq!(room.accept(listener).unwrap().map(|one| one.0), None);
    for (port, answer) in [(1, Op::Response), (2, Op::Response), (3, Op::Rst)] {
        host.send(&mut room, header(port, 9, Op::Request), &[]);
        assert_eq!(host.next_operation(), Some(answer), "{port}");
    }
    assert_eq!(room.ready(listener), Events::READABLE);
    assert!(room.accept(listener).unwrap().is_some());
    // One waits no more: it has broken off, which who accepts it reads.
    host.send(&mut room, header(2, 9, Op::Rw), b"bye");
    host.send(&mut room, header(2, 9, Op::Rst), &[]);
    let (late, ..) = room.accept(listener).unwrap().unwrap();
    let mut buffer = [0; 8];
    assert_eq!(room.read(late, &mut buffer, false), Ok(Some(3)));
    assert_eq!(room.read(late, &mut buffer, false), Err(Error::ConnectionReset));
    assert_eq!(room.read(late, &mut buffer, false), Ok(Some(0)));
    // Those who wait when the listener goes are sent away.
    host.send(&mut room, header(4, 9, Op::Request), &[]);
    assert_eq!(host.next_operation(), Some(Op::Response));
    room.release(listener, 0);
    assert_eq!(host.next_operation(), Some(Op::Rst));
    host.send(&mut room, header(4, 9, Op::Rw), b"x");
    assert_eq!(host.next_operation(), Some(Op::Rst));
}

#[test]
fn nobody_sends_more_than_there_is_room_for() {
    let (mut room, mut host) = room();
    let (_, id) = host.connect(&mut room, 9);
    let bytes = vec![7; 100_000];
    // The host has told of 65536.
    let mut sent = 0;
    while let Some(length) = room.write(id, &bytes[sent..]).unwrap() {
        sent += length;
        while let Some((header, payload)) = host.next() {
            assert!(header.operation == Op::Rw as u16 || payload.is_empty());
        }
    }
    assert_eq!(sent, 1 << 16);
    assert_eq!(room.ready(id), Events::NONE);
    // It was asked once for more.
    assert_eq!(room.write(id, &bytes), Ok(None));
    assert!(host.next().is_none());
    // What goes back in time, or tells of more than was sent, means nothing.
    for forwarded in [1 << 16, (1 << 16) + 1, 10] {
        let update = Header { forwarded, capacity: 0, ..header(700, 9, Op::CreditUpdate) };
        host.send(&mut room, update, &[]);
        assert_eq!(room.write(id, &bytes), Ok(None));
        while host.next().is_some() {}
    }
    let update = Header { forwarded: 10, capacity: 1000, ..header(700, 9, Op::CreditUpdate) };
    host.send(&mut room, update, &[]);
    assert_eq!(room.write(id, &bytes), Ok(Some(1000)));
}

#[test]
fn a_host_that_sends_more_than_it_may_is_cut_off() {
    let (mut room, mut host) = room();
    let (_, id) = host.connect(&mut room, 9);
    let capacity = room.capacity(id);
    let part = vec![1; 1000];
    for _ in 0..capacity / 1000 {
        host.send(&mut room, header(700, 9, Op::Rw), &part);
    }
    assert!(host.next().is_none());
    host.send(&mut room, header(700, 9, Op::Rw), &part);
    assert_eq!(host.next_operation(), Some(Op::Rst));
    // What was within its rights is read.
    let mut buffer = vec![0; capacity + 1];
    assert_eq!(room.read(id, &mut buffer, false), Ok(Some(capacity / 1000 * 1000)));
    assert_eq!(room.read(id, &mut buffer, false), Err(Error::ConnectionReset));
    assert_eq!(room.read(id, &mut buffer, false), Ok(Some(0)));
}

#[test]
fn the_host_learns_of_room_when_it_is_worth_a_packet() {
    let (mut room, mut host) = room();
    let (_, id) = host.connect(&mut room, 9);
    let quarter = room.capacity(id) / 4;
    let mut buffer = vec![0; quarter];
    let mut told = 0;
    for byte in 0..quarter / 500 + 1 {
        host.send(&mut room, header(700, 9, Op::Rw), &[byte as u8; 500]);
        assert_eq!(room.read(id, &mut buffer, true), Ok(Some(500)), "a look");
        assert_eq!(room.read(id, &mut buffer, false), Ok(Some(500)));
        assert_eq!(buffer[..500], [byte as u8; 500]);
        while let Some((header, _)) = host.next() {
            assert_eq!(header.operation, Op::CreditUpdate as u16);
            assert!(header.forwarded as usize >= quarter);
            told += 1;
        }
    }
    assert_eq!(told, 1);
    // Who asks is told at once.
    host.send(&mut room, header(700, 9, Op::CreditRequest), &[]);
    assert_eq!(host.next_operation(), Some(Op::CreditUpdate));
}

#[test]
fn halves_are_shut_one_by_one() {
    let (mut room, mut host) = room();
    let (_, id) = host.connect(&mut room, 9);
    let mut buffer = [0; 8];
    room.shutdown(id, Shutdown::Write).unwrap();
    let (told, _) = host.next().unwrap();
    assert_eq!((told.operation, told.flags), (Op::Shutdown as u16, 2));
    assert_eq!(room.write(id, b"x"), Err(Error::BrokenPipe));
    host.send(&mut room, header(700, 9, Op::Rw), b"answer");
    let shut = Header { flags: 2, ..header(700, 9, Op::Shutdown) };
    host.send(&mut room, shut, &[]);
    assert_eq!(room.read(id, &mut buffer, false), Ok(Some(6)));
    assert_eq!(room.read(id, &mut buffer, false), Ok(Some(0)));
    assert!(host.next().is_none());
    // The host closes: it waits for the end.
    let shut = Header { flags: 3, ..header(700, 9, Op::Shutdown) };
    host.send(&mut room, shut, &[]);
    assert_eq!(host.next_operation(), Some(Op::Rst));
    assert_eq!(room.take_error(id), None);
    assert_eq!(room.read(id, &mut buffer, false), Ok(Some(0)));
    room.release(id, 0);
    assert!(host.next().is_none());
}

#[test]
fn what_was_sent_is_read_behind_the_end() {
    let (mut room, mut host) = room();
    let (_, id) = host.connect(&mut room, 9);
    host.send(&mut room, header(700, 9, Op::Rw), b"last words");
    let shut = Header { flags: 3, ..header(700, 9, Op::Shutdown) };
    host.send(&mut room, shut, &[]);
    // Not before they are read.
    assert!(host.next().is_none());
    assert_eq!(room.write(id, b"x"), Err(Error::BrokenPipe));
    let mut buffer = [0; 16];
    assert_eq!(room.read(id, &mut buffer, false), Ok(Some(10)));
    assert_eq!(host.next_operation(), Some(Op::Rst));
    assert_eq!(room.read(id, &mut buffer, false), Ok(Some(0)));
}

#[test]
fn a_closed_connection_waits_for_the_host_but_not_for_ever() {
    let (mut room, mut host) = room();
    let (listener, id) = host.connect(&mut room, 9);
    room.release(id, 0);
    let (told, _) = host.next().unwrap();
    assert_eq!((told.operation, told.flags), (Op::Shutdown as u16, 3));
    // What was under way is dropped, without a word.
    host.send(&mut room, header(700, 9, Op::Rw), b"x");
    assert!(host.next().is_none());
    assert_eq!(room.left(), 1);
    host.send(&mut room, header(700, 9, Op::Rst), &[]);
    assert_eq!((room.left(), room.next()), (0, None));

    room.release(listener, 0);
    let (_, id) = host.connect(&mut room, 9);
    room.release(id, 0);
    assert_eq!(host.next_operation(), Some(Op::Shutdown));
    let due = room.next().unwrap();
    room.work(due);
    assert_eq!(host.next_operation(), Some(Op::Rst));
    assert_eq!(room.left(), 0);
}

#[test]
fn the_end_of_the_machine_waits_for_the_host() {
    let (mut room, mut host) = room();
    let (listener, id) = host.connect(&mut room, 9);
    room.write(id, b"last words").unwrap();
    room.close_all(0);
    assert_eq!(room.left(), 2, "the connection, and what the device has not taken");
    assert_eq!(host.next().unwrap().1, b"last words");
    assert_eq!(host.next_operation(), Some(Op::Shutdown));
    assert_eq!(room.left(), 1);
    host.send(&mut room, header(700, 9, Op::Rst), &[]);
    assert_eq!(room.left(), 0);
    room.release(listener, 0);
    assert!(room.is_empty());
}

#[test]
fn packets_for_nobody_are_answered_and_those_for_others_are_not() {
    let (mut room, mut host) = room();
    host.send(&mut room, header(700, 9, Op::Rw), b"x");
    let (answer, _) = host.next().unwrap();
    assert_eq!(answer.operation, Op::Rst as u16);
    assert_eq!((answer.from, answer.to), ((CID, 9), (HOST, 700)));
    // A reset is never answered; another kind of socket is refused as what it is.
    host.send(&mut room, header(700, 9, Op::Rst), &[]);
    assert!(host.next().is_none());
    let odd = Header { kind: 2, ..header(700, 9, Op::Request) };
    host.send(&mut room, odd, &[]);
    assert_eq!(host.next().unwrap().0.kind, 2);
    let other = Header { to: (CID + 1, 9), ..header(700, 9, Op::Request) };
    host.send(&mut room, other, &[]);
    let nobody = Header { from: (1 << 40, 1), ..header(700, 9, Op::Request) };
    host.send(&mut room, nobody, &[]);
    assert!(host.next().is_none());
}

#[test]
fn a_host_that_forgets_ends_connections_and_no_listeners() {
    let (mut room, mut host) = room();
    let (listener, id) = host.connect(&mut room, 9);
    host.reset(&mut room);
    assert_eq!(room.write(id, b"x"), Err(Error::ConnectionReset));
    assert_eq!(room.write(id, b"x"), Err(Error::BrokenPipe));
    room.release(id, 0);
    host.send(&mut room, header(700, 9, Op::Request), &[]);
    assert_eq!(host.next_operation(), Some(Op::Response));
    assert!(room.accept(listener).unwrap().is_some());
}

#[test]
fn a_device_that_lies_is_put_out_of_use() {
    let whole = header(700, 9, Op::Rw).encode();
    let long = Header { length: 101, ..header(700, 9, Op::Rw) }.encode();
    for (bytes, length) in [(&whole[..], 43), (&long[..], 144), (&whole[..], 1 << 20)] {
        let (mut room, mut host) = room();
        let (listener, id) = host.connect(&mut room, 9);
        host.send_raw(&mut room, bytes, &[0; 100], length);
        assert!(!room.card.works());
        assert!(host.device.is_reset());
        let mut buffer = [0; 8];
        assert_eq!(room.read(id, &mut buffer, false), Err(Error::ConnectionReset));
        assert_eq!(room.accept(listener).map(|_| ()), Err(Error::NetworkDown));
        let (id, _) = room.socket();
        assert_eq!(room.connect(id, PEER, 0), Err(Error::NetworkDown));
        assert_eq!(room.left(), 0);
    }
}

#[test]
fn a_device_that_takes_nothing_holds_writers_and_answers() {
    let (mut room, mut host) = room();
    let (_, id) = host.connect(&mut room, 9);
    let update = Header { capacity: u32::MAX, ..header(700, 9, Op::CreditUpdate) };
    host.send(&mut room, update, &[]);
    let bytes = vec![3; 1 << 20];
    let mut sent = 0;
    while let Some(length) = room.write(id, &bytes).unwrap() {
        sent += length;
        assert!(sent < 16 << 20, "there is no end of buffers");
    }
    // More than there are buffers or places for.
    for _ in 0..2000 {
        let asked = Header { operation: Op::CreditRequest as u16, ..update };
        host.send(&mut room, asked, &[]);
    }
    room.woken.clear();
    let (mut bytes, mut answers) = (0, 0);
    while let Some((header, payload)) = host.next() {
        bytes += payload.len();
        answers += usize::from(header.operation == Op::CreditUpdate as u16);
        room.work(0);
    }
    assert_eq!(bytes, sent);
    assert!((1024..2000).contains(&answers), "{answers}");
    assert!(!room.woken.is_empty(), "the writer is told");
    assert!(room.write(id, b"x").unwrap().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes come out in the order in which they were sent, however they are cut.
    #[test]
    fn bytes_stay_in_order(parts in prop::collection::vec((1usize..3000, 1usize..5000), 1..60)) {
        let (mut room, mut host) = room();
        let (_, id) = host.connect(&mut room, 9);
        let (mut next, mut expected) = (0u32, 0u32);
        let mut forwarded = 0u32;
        for (length, room_to_read) in parts {
            let bytes: Vec<u8> = (0..length as u32).map(|at| ((next + at) % 251) as u8).collect();
            // As the host counts: what is on its way is no more than there is room for.
            if (next - forwarded) as usize + length <= room.capacity(id) {
                host.send(&mut room, header(700, 9, Op::Rw), &bytes);
                next += length as u32;
            }
            let mut buffer = vec![0; room_to_read];
            if let Some(got) = room.read(id, &mut buffer, false).unwrap() {
                for byte in &buffer[..got] {
                    prop_assert_eq!(*byte, (expected % 251) as u8);
                    expected += 1;
                }
            }
            while let Some((header, _)) = host.next() {
                prop_assert_eq!(header.operation, Op::CreditUpdate as u16);
                forwarded = header.forwarded;
            }
        }
        let mut buffer = vec![0; 1 << 20];
        if let Some(got) = room.read(id, &mut buffer, false).unwrap() {
            expected += got as u32;
        }
        prop_assert_eq!(expected, next);
    }

    /// Whatever comes, the books agree, and nothing is kept that nobody has.
    #[test]
    fn any_packets_do_no_harm(packets in prop::collection::vec((0u16..9, 0u16..3, 698u32..702, 8u32..11, 0u32..5, any::<u32>(), 0usize..200), 0..150)) {
        let (mut room, mut host) = room();
        let (listener, id) = host.connect(&mut room, 9);
        let mut open = vec![id];
        for (operation, kind, from, to, flags, number, length) in packets {
            let odd = Header { operation, kind, flags, forwarded: number, capacity: number, ..header(from, to, Op::Rw) };
            host.send(&mut room, odd, &vec![1; length]);
            while host.next().is_some() {}
            if let Some((id, ..)) = room.accept(listener).unwrap() {
                open.push(id);
            }
            let mut buffer = [0; 64];
            for id in &open {
                let _ = room.read(*id, &mut buffer, false);
                let _ = room.write(*id, &buffer[..8]);
                let _ = room.ready(*id);
            }
            while host.next().is_some() {}
        }
        for id in open {
            room.release(id, 0);
        }
        room.release(listener, 0);
        while host.next().is_some() {}
        room.work(u64::MAX);
        while host.next().is_some() {}
        prop_assert_eq!(room.left(), 0);
        prop_assert!(room.is_empty());
    }
}
