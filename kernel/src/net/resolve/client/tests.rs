//! Name servers that misbehave, and what comes of it.

use super::*;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use core::cell::{Cell, RefCell};
use std::rc::Rc;

/// What a server does with a question over datagrams (`false`) or a stream.
type Script = fn(server: u8, stream: bool, question: &[u8]) -> Vec<Vec<u8>>;

struct Fake {
    script: Script,
    clock: Rc<Cell<u64>>,
    asked: RefCell<Vec<String>>,
    ids: Cell<u16>,
}

struct FakeLink {
    script: Script,
    server: u8,
    stream: bool,
    clock: Rc<Cell<u64>>,
    waiting: RefCell<VecDeque<Vec<u8>>>,
}

fn fake(script: Script) -> Fake {
    Fake { script, clock: Rc::default(), asked: RefCell::default(), ids: Cell::new(7) }
}

impl Fake {
    fn link(&self, server: IpAddr, stream: bool) -> FakeLink {
        let kind = if stream { "tcp " } else { "udp " };
        self.asked.borrow_mut().push(kind.to_string() + &server.to_string());
        let IpAddr::V4(server) = server else { panic!("the servers here have IPv4") };
        FakeLink {
            script: self.script,
            server: server.octets()[3],
            stream,
            clock: self.clock.clone(),
            waiting: RefCell::default(),
        }
    }

    fn ask(&self, family: Option<Family>) -> Result<Vec<String>, Failure> {
        let servers = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let name = Name::new(b"a.example").unwrap();
        let found = ask(self, &servers, &name, family)?;
        Ok(found.iter().map(IpAddr::to_string).collect())
    }

    fn seconds(&self) -> u64 {
        self.clock.get() / SECOND
    }
}

impl Network for Fake {
    type Link = FakeLink;

    fn datagrams(&self, server: IpAddr) -> Result<FakeLink> {
        Ok(self.link(server, false))
    }

    fn stream(&self, server: IpAddr, _: u64) -> Result<FakeLink> {
        Ok(self.link(server, true))
    }

    fn now(&self) -> u64 {
        self.clock.get()
    }

    fn random(&self) -> Result<u16> {
        self.ids.set(self.ids.get() + 1);
        Ok(self.ids.get())
    }
}

impl Link for FakeLink {
    fn send(&self, bytes: &[u8], _: u64) -> Result<()> {
        let question = if self.stream { &bytes[2..] } else { bytes };
        let answers = (self.script)(self.server, self.stream, question);
        let answers = answers.into_iter().map(|answer| match self.stream {
            true => [&(answer.len() as u16).to_be_bytes()[..], &answer].concat(),
            false => answer,
        });
        self.waiting.borrow_mut().extend(answers);
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8], deadline: u64) -> Result<usize> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(mut next) = waiting.pop_front() else {
            self.clock.set(deadline);
            return Err(Error::TimedOut);
        };
        if next.is_empty() {
            return Err(Error::ConnectionRefused);
        }
        let length = next.len().min(buffer.len());
        buffer[..length].copy_from_slice(&next[..length]);
        if self.stream && length < next.len() {
            waiting.push_front(next.split_off(length));
        }
        Ok(length)
    }
}

fn wants_v6(question: &[u8]) -> bool {
    question.windows(4).any(|bytes| bytes == [0, 28, 0, 1])
}

fn is_extended(question: &[u8]) -> bool {
    question[11] == 1
}

/// The question with an answer's flags, without what was additional, and one record for each piece of data.
fn answer(question: &[u8], flags: u16, data: &[&[u8]]) -> Vec<u8> {
    let mut message = question.to_vec();
    if is_extended(question) {
        message.truncate(message.len() - 11);
        message[11] = 0;
    }
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[7] = data.len() as u8;
    for data in data {
        let kind = if data.len() == 16 { 28 } else { 1 };
        message.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
        message.extend(*data);
    }
    message
}

const OK: u16 = 0x8180;
const V4: &[u8] = &[192, 0, 2, 1];
const V6: &[u8] = &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A server as it should be.
fn good(question: &[u8]) -> Vec<u8> {
    let data = if wants_v6(question) { V6 } else { V4 };
    answer(question, OK, &[data])
}

#[test]
fn both_kinds_are_asked_for() {
    let fake = fake(|_, _, question| [good(question)].into());
    assert_eq!(fake.ask(None).unwrap(), ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(*fake.asked.borrow(), ["udp 10.0.0.1"]);
    assert_eq!(fake.ask(Some(Family::V6)).unwrap(), ["2001:db8::1"]);
    assert_eq!(fake.seconds(), 0);
}

#[test]
fn a_server_that_says_nothing_is_waited_for_and_the_next_asked() {
    let fake = fake(|server, _, question| match server {
        1 => Vec::new(),
        _ => [good(question)].into(),
    });
    assert_eq!(fake.ask(None).unwrap().len(), 2);
    assert_eq!(fake.seconds(), 5);
}

#[test]
fn when_nobody_answers_the_name_may_be_asked_for_again() {
    let fake = fake(|_, _, _| Vec::new());
    assert_eq!(fake.ask(None), Err(Failure::Again));
    assert_eq!(fake.seconds(), 20);
    assert_eq!(fake.asked.borrow().len(), 4);
}

#[test]
fn a_server_that_is_not_there_costs_no_time() {
    let fake = fake(|server, _, question| match server {
        1 => [Vec::new()].into(),
        _ => [good(question)].into(),
    });
    assert!(fake.ask(None).is_ok());
    assert_eq!(fake.seconds(), 0);
}

#[test]
fn no_such_name_is_final() {
    let fake = fake(|_, _, question| [answer(question, OK | 3, &[])].into());
    assert_eq!(fake.ask(None), Err(Failure::NoName));
    assert_eq!(fake.asked.borrow().len(), 1);
}

#[test]
fn a_name_without_addresses_is_none() {
    let fake = fake(|_, _, question| [answer(question, OK, &[])].into());
    assert_eq!(fake.ask(None), Err(Failure::NoName));
}

#[test]
fn refusals_are_asked_elsewhere_and_told() {
    let fake1 = fake(|_, _, question| [answer(question, OK | 5, &[])].into());
    assert_eq!(fake1.ask(None), Err(Failure::Refused));
    assert_eq!(fake1.asked.borrow().len(), 4);
    let fake2 = fake(|_, _, question| [answer(question, OK | 2, &[])].into());
    assert_eq!(fake2.ask(None), Err(Failure::Again));
}

#[test]
fn one_kind_is_enough_when_the_other_does_not_come() {
    let fake = fake(|_, _, question| match wants_v6(question) {
        true => Vec::new(),
        false => [good(question)].into(),
    });
    assert_eq!(fake.ask(None).unwrap(), ["192.0.2.1"]);
    assert_eq!(fake.seconds(), 2);
    // But nothing is not known to be nothing while a question is open.
    let silent = self::fake(|_, _, question| match wants_v6(question) {
        true => Vec::new(),
        false => [answer(question, OK, &[])].into(),
    });
    assert_eq!(silent.ask(None), Err(Failure::Again));
}

#[test]
fn forged_answers_are_passed_over() {
    let fake = fake(|_, _, question| {
        let mut other_id = good(question);
        other_id[1] ^= 0x80;
        let mut other_name = good(question);
        other_name[13] = b'b';
        let noise = b"not a message at all".to_vec();
        [other_id, noise, other_name, good(question)].into()
    });
    assert_eq!(fake.ask(None).unwrap(), ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(fake.asked.borrow().len(), 1);
}

#[test]
fn what_is_too_long_is_asked_for_over_tcp() {
    let fake = fake(|_, stream, question| match stream {
        true => [good(question)].into(),
        false => [answer(question, OK | 0x200, &[])].into(),
    });
    assert_eq!(fake.ask(Some(Family::V4)).unwrap(), ["192.0.2.1"]);
    assert_eq!(*fake.asked.borrow(), ["udp 10.0.0.1", "tcp 10.0.0.1"]);
}

#[test]
fn an_old_server_is_asked_in_the_old_way() {
    let fake = fake(|_, _, question| match is_extended(question) {
        // Without the question, as some do.
        true => [[&question[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat()].into(),
        false => [good(question)].into(),
    });
    assert_eq!(fake.ask(None).unwrap().len(), 2);
    assert_eq!(fake.asked.borrow().len(), 1);
}
