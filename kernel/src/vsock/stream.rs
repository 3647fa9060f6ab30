//! A connection: what it has received, and what it may send.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use virtio::vsock::{Op, ShutdownF, Type};

use super::Address;
use crate::drivers::vsock::Header;
use crate::fd::poll::Events;
use crate::mm::blocks::FRAME;
use crate::mm::frames;
use crate::net::Shutdown;
use crate::net::signal::Signal;
use crate::{Error, Result};

/// `VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE` and `VIRTIO_VSOCK_SHUTDOWN_F_SEND`.
const RECEIVE: u32 = ShutdownF::RECEIVE.bits().to_ne();
const SEND: u32 = ShutdownF::SEND.bits().to_ne();
/// Nothing is sent or received any more.
const BOTH: u32 = RECEIVE | SEND;

/// The least and the most that a connection keeps of what its program has not read.
const SMALLEST: usize = 4 << 10;
const LARGEST: usize = 256 << 10;
/// A connection keeps no more than this part of the memory that is left when it is made.
const PART: usize = 256;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The other side has been asked.
    Connecting,
    /// Bytes may flow.
    Connected,
    /// No descriptor is left, and the other side has been told.
    Closing,
    /// It is over.
    Closed,
}

/// Who has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A descriptor.
    Descriptor,
    /// A listener, until it is accepted.
    Listener(usize),
    /// Nobody.
    Nobody,
}

/// A connection (5.10.6).
#[derive(Debug)]
pub struct Stream {
    /// Both ends.
    pub local: Address,
    /// Where the other end is.
    pub peer: Address,
    /// How far it has come.
    pub state: State,
    /// Who has it.
    pub holder: Holder,
    /// When the wait for an answer is over, in nanoseconds of the monotonic clock.
    pub deadline: Option<u64>,
    /// What has gone wrong, until it is told.
    pub error: Option<Error>,
    /// For those who wait.
    pub signal: Arc<Signal>,
    received: VecDeque<u8>,
    capacity: u32,
    /// Bytes that the program has read, ever, and what the other side knows of that.
    forwarded: u32,
    told: u32,
    /// Bytes sent, ever; of those the other side's program has read so many, as far as it has told.
    sent: u32,
    peer_forwarded: u32,
    peer_capacity: u32,
    /// The other side has been asked how much it has room for.
    asked: bool,
    /// What this side, and what the other one, does no more: [`RECEIVE`], [`SEND`].
    shut: u32,
    peer_shut: u32,
}

/// What is to be done with a connection after a packet of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// Tell the other side how much room there is.
    Tell,
    /// A connection that was asked for is there.
    Made,
    /// End it at once, and tell the other side so.
    Reset,
    /// It is over on the other side.
    Over,
}

impl Stream {
    /// A connection between two ends.
    pub fn new(local: Address, peer: Address, state: State, holder: Holder) -> Stream {
        let capacity = (frames::available() * FRAME / PART).clamp(SMALLEST, LARGEST);
        Stream {
            local,
            peer,
            state,
            holder,
            deadline: None,
            error: None,
            signal: Arc::new(Signal::default()),
            received: VecDeque::new(),
            capacity: capacity as u32,
            forwarded: 0,
            told: 0,
            sent: 0,
            peer_forwarded: 0,
            peer_capacity: 0,
            asked: false,
            shut: 0,
            peer_shut: 0,
        }
    }

    /// A packet's header; from now on the other side knows how much was read.
    pub fn header(&mut self, operation: Op) -> Header {
        self.told = self.forwarded;
        Header {
            from: (self.local.cid.into(), self.local.port),
            to: (self.peer.cid.into(), self.peer.port),
            length: 0,
            kind: Type::Stream.into(),
            operation: operation.into(),
            flags: match operation {
                Op::Shutdown => self.shut,
                _ => 0,
            },
            capacity: self.capacity,
            forwarded: self.forwarded,
        }
    }

    /// Bytes that the other side has room for (5.10.6.3).
    pub fn credit(&self) -> usize {
        let under_way = self.sent.wrapping_sub(self.peer_forwarded);
        self.peer_capacity.saturating_sub(under_way) as usize
    }

    /// Believes what the other side says of its room. Packets may overtake each other on their way into its queue:
    /// what it has passed on never becomes less, nor more than it was sent.
    fn take_credit(&mut self, header: &Header) {
        let more = header.forwarded.wrapping_sub(self.peer_forwarded);
        if more <= self.sent.wrapping_sub(self.peer_forwarded) {
            self.peer_forwarded = header.forwarded;
        }
        self.peer_capacity = header.capacity;
        if self.credit() > 0 {
            self.asked = false;
        }
    }

    /// Whether the other side is to be asked for its room: once, until it has told.
    pub fn should_ask(&mut self) -> bool {
        !core::mem::replace(&mut self.asked, true)
    }

    /// Takes a packet.
    pub fn take(&mut self, header: &Header, payload: &[u8]) -> After {
        let operation = Op::try_from(header.operation);
        if operation == Ok(Op::Rst) {
            return After::Over;
        }
        self.take_credit(header);
        match (self.state, operation) {
            (State::Connecting, Ok(Op::Response)) => After::Made,
            (State::Connected, Ok(Op::Rw)) => self.keep(payload),
            // Nobody reads it any more.
            (State::Closing, Ok(Op::Rw)) => After::Nothing,
            (State::Connected | State::Closing, Ok(Op::Shutdown)) => {
                self.peer_shut |= header.flags & BOTH;
                match self.peer_shut {
                    BOTH if self.received.is_empty() => After::Reset,
                    _ => After::Nothing,
                }
            }
            (State::Connected | State::Closing, Ok(Op::CreditUpdate)) => After::Nothing,
            (State::Connected | State::Closing, Ok(Op::CreditRequest)) => After::Tell,
            // Over already, or nothing that belongs here.
            _ => After::Reset,
        }
    }

    fn keep(&mut self, payload: &[u8]) -> After {
        if self.shut & RECEIVE != 0 {
            self.forwarded = self.forwarded.wrapping_add(payload.len() as u32);
            return After::Nothing;
        }
        let room = self.capacity as usize - self.received.len();
        // More than it may send, or than there is memory for.
        if payload.len() > room || self.received.try_reserve(payload.len()).is_err() {
            return After::Reset;
        }
        self.received.extend(payload);
        After::Nothing
    }

    /// Ends the connection. Where nobody expected that, the next call tells of it.
    pub fn end(&mut self, error: Error) {
        let expected = self.peer_shut & SEND != 0 || self.shut == BOTH;
        if !expected && matches!(self.state, State::Connecting | State::Connected) {
            self.error = Some(match self.state {
                State::Connecting if error == Error::ConnectionReset => Error::ConnectionRefused,
                _ => error,
            });
        }
        self.state = State::Closed;
        self.deadline = None;
    }

    /// True when the other side has closed, and there is nothing left of what it has sent.
    pub fn is_finished(&self) -> bool {
        self.state == State::Connected && self.peer_shut == BOTH && self.received.is_empty()
    }

    /// True when the other side should be told of what was read since.
    pub fn should_tell(&self) -> bool {
        let news = self.forwarded.wrapping_sub(self.told);
        self.state == State::Connected && news >= self.capacity / 4
    }

    /// Reads what was received; `None` when nothing was yet.
    ///
    /// # Errors
    ///
    /// What has gone wrong with the connection.
    pub fn read(&mut self, buffer: &mut [u8], peek: bool) -> Result<Option<usize>> {
        if self.shut & RECEIVE != 0 {
            return Ok(Some(0));
        }
        let length = buffer.len().min(self.received.len());
        if length > 0 {
            let (first, second) = self.received.as_slices();
            let split = length.min(first.len());
            buffer[..split].copy_from_slice(&first[..split]);
            buffer[split..length].copy_from_slice(&second[..length - split]);
            if !peek {
                self.received.drain(..length);
                self.forwarded = self.forwarded.wrapping_add(length as u32);
            }
            return Ok(Some(length));
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let ended = self.state == State::Closed || self.peer_shut & SEND != 0;
        Ok((ended || buffer.is_empty()).then_some(0))
    }

    /// How many bytes may be sent now; `None` before there is a connection.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenPipe`] when nobody will read them; what has gone wrong with the connection.
    pub fn may_send(&mut self) -> Result<Option<usize>> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match self.state {
            State::Connecting => Ok(None),
            State::Connected if self.shut & SEND == 0 && self.peer_shut & RECEIVE == 0 => {
                Ok(Some(self.credit()))
            }
            _ => Err(Error::BrokenPipe),
        }
    }

    /// So many bytes were sent.
    pub fn note_sent(&mut self, length: usize) {
        self.sent = self.sent.wrapping_add(length as u32);
    }

    /// Shuts halves.
    pub fn shut(&mut self, how: Shutdown) {
        self.shut |= match how {
            Shutdown::Read => RECEIVE,
            Shutdown::Write => SEND,
            Shutdown::Both => BOTH,
        };
    }

    /// Forgets what nobody will read.
    pub fn discard(&mut self) {
        self.received = VecDeque::new();
    }

    /// True when the other side has closed.
    pub fn is_left(&self) -> bool {
        self.peer_shut == BOTH
    }

    /// Bytes that it keeps at most.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// What can be done without waiting.
    pub fn ready(&self) -> Events {
        let when = |condition, events| if condition { events } else { Events::NONE };
        if self.state == State::Connecting {
            return Events::NONE;
        }
        let closed = self.state == State::Closed;
        let ended = closed || self.peer_shut & SEND != 0 || self.shut & RECEIVE != 0;
        let stuck = closed || self.peer_shut & RECEIVE != 0 || self.shut & SEND != 0;
        when(ended || !self.received.is_empty() || self.error.is_some(), Events::READABLE)
            | when(ended, Events::READ_CLOSED)
            | when(stuck || self.credit() > 0, Events::WRITABLE)
            | when(ended && stuck, Events::HUNG_UP)
            | when(self.error.is_some(), Events::ERROR)
    }
}
