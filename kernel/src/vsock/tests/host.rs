//! A device and a host that live in this process.

use virtio::vsock::{Op, Type};

use crate::device::virtio::fake::{Fake, VERSION_1, memory};
use crate::device::virtio::queue::tests::{Chain, Model};
use crate::drivers::vsock::{Card, Header, SIZE};
use crate::vsock::Address;
use crate::vsock::room::Room;

/// The machine's address in all tests.
pub const CID: u64 = 5;
/// The host's.
pub const HOST: u64 = 2;

/// The other side of a room.
pub struct Host {
    pub device: &'static Fake,
    receive: Model,
    transmit: Model,
    events: Model,
}

/// A room with a device.
pub fn room() -> (Room, Host) {
    let device = Fake::new(VERSION_1, (3, 64), CID.to_le_bytes().into());
    let room = Room::new(Card::new(device).expect("a device that can be used"));
    let host = Host {
        device,
        receive: device.queue(0),
        transmit: device.queue(1),
        events: device.queue(2),
    };
    (room, host)
}

/// A header from the host's port to the machine's.
pub fn header(from: u32, to: u32, operation: Op) -> Header {
    Header {
        from: (HOST, from),
        to: (CID, to),
        kind: Type::Stream.into(),
        operation: operation.into(),
        capacity: 1 << 16,
        ..Header::default()
    }
}

impl Host {
    fn buffer(&mut self) -> Chain {
        self.receive.take().expect("a buffer to receive into")
    }

    /// Sends a packet, and has it taken.
    pub fn send(&mut self, room: &mut Room, header: Header, payload: &[u8]) {
        let header = Header { length: payload.len() as u32, ..header };
        self.send_raw(room, &header.encode(), payload, SIZE + payload.len());
    }

    /// Sends any bytes as a packet, of which it says that they are so many.
    pub fn send_raw(&mut self, room: &mut Room, header: &[u8], payload: &[u8], length: usize) {
        let chain = self.buffer();
        let place = memory(chain.spans[0]);
        place[..header.len()].copy_from_slice(header);
        place[header.len()..header.len() + payload.len()].copy_from_slice(payload);
        self.receive.give(&chain, length as u32);
        room.work(0);
    }

    /// Says that all connections are gone.
    pub fn reset(&mut self, room: &mut Room) {
        let chain = self.events.take().expect("a buffer for an event");
        memory(chain.spans[0]).fill(0);
        self.events.give(&chain, 4);
        room.work(0);
    }

    /// The next packet of the machine's; stays with the device unless `done`.
    pub fn look(&mut self, done: bool) -> Option<(Header, Vec<u8>)> {
        let chain = self.transmit.take()?;
        let bytes = memory(chain.spans[0]);
        let header = Header::decode(bytes.first_chunk().expect("a header"));
        let payload = bytes[SIZE..].to_vec();
        assert_eq!(payload.len(), header.length as usize);
        if done {
            self.transmit.give(&chain, 0);
        }
        Some((header, payload))
    }

    /// The next packet of the machine's.
    pub fn next(&mut self) -> Option<(Header, Vec<u8>)> {
        self.look(true)
    }

    /// What the next packet is about; it carries nothing.
    pub fn next_operation(&mut self) -> Option<Op> {
        let (header, payload) = self.next()?;
        assert!(payload.is_empty());
        assert_eq!(header.from.0, CID);
        Op::try_from(header.operation).ok()
    }

    /// A listener of the machine's on a port, and a connection of the host's with it.
    pub fn connect(&mut self, room: &mut Room, port: u32) -> (usize, usize) {
        let (listener, _) = room.socket();
        let local = Address { cid: CID as u32, port };
        room.bind(listener, local).unwrap();
        room.listen(listener, 4).unwrap();
        self.send(room, header(700, port, Op::Request), &[]);
        assert_eq!(self.next_operation(), Some(Op::Response));
        let (stream, _, peer) = room.accept(listener).unwrap().unwrap();
        assert_eq!((peer.cid, peer.port), (HOST as u32, 700));
        (listener, stream)
    }
}
