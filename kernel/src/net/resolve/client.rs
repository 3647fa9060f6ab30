//! Asking name servers, as resolv.conf(5) says: one after the other, five seconds each, all of them twice.
//!
//! Both kinds of addresses are asked for at once. An answer counts only when it comes from the server, with
//! the number and the question that were sent. One that is longer than a datagram is asked for again over TCP.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::message::{Answer, Query};
use super::name::Name;
use super::{Failure, Family};
use crate::{Error, Result};

const SECOND: u64 = 1_000_000_000;
/// How long a server may take, in nanoseconds.
const TIMEOUT: u64 = 5 * SECOND;
/// How much longer it may take for the second kind of addresses, once there is one of the first.
const GRACE: u64 = 2 * SECOND;
/// How often every server is asked.
const ATTEMPTS: usize = 2;

/// Connections to name servers.
pub trait Network {
    /// Its connections.
    type Link: Link;

    /// One for datagrams.
    fn datagrams(&self, server: IpAddr) -> Result<Self::Link>;

    /// One for a stream, made before `deadline`.
    fn stream(&self, server: IpAddr, deadline: u64) -> Result<Self::Link>;

    /// Nanoseconds since any moment.
    fn now(&self) -> u64;

    /// A number that nobody can guess.
    fn random(&self) -> Result<u16>;
}

/// A connection to a name server.
pub trait Link {
    /// Sends all of it.
    fn send(&self, bytes: &[u8], deadline: u64) -> Result<()>;

    /// Receives a datagram, or a part of the stream. [`Error::TimedOut`] when there is none until `deadline`.
    fn receive(&self, buffer: &mut [u8], deadline: u64) -> Result<usize>;
}

/// What one server has said.
enum Outcome {
    /// What is final: these addresses, of which there may be none.
    Known(Vec<IpAddr>),
    /// Nothing that helps; another server may know more.
    Unknown(Failure),
}

/// Asks for the addresses of a name.
///
/// # Errors
///
/// [`Failure::NoName`] when a server says so, else why the last one did not help.
pub fn ask<N: Network>(
    network: &N,
    servers: &[IpAddr],
    name: &Name,
    family: Option<Family>,
) -> Result<Vec<IpAddr>, Failure> {
    let mut last = Failure::Again;
    for _ in 0..ATTEMPTS {
        for server in servers {
            match ask_one(network, *server, name, family)? {
                Outcome::Known(addresses) if addresses.is_empty() => return Err(Failure::NoName),
                Outcome::Known(addresses) => return Ok(addresses),
                Outcome::Unknown(failure) => last = failure,
            }
        }
    }
    Err(last)
}

/// A question, and what has become of it.
struct Asked<'a> {
    query: Query<'a>,
    answer: Option<Answer>,
}

impl Asked<'_> {
    /// Why the answer does not help, if it does not.
    fn failure(&self) -> Option<Failure> {
        match self.answer {
            Some(Answer::Addresses(_) | Answer::NoName) => None,
            Some(Answer::Refused) => Some(Failure::Refused),
            _ => Some(Failure::Again),
        }
    }

    fn addresses(&self) -> &[IpAddr] {
        match &self.answer {
            Some(Answer::Addresses(addresses)) => addresses,
            _ => &[],
        }
    }
}

/// Asks one server. An error is one that no other server would change.
fn ask_one<N: Network>(
    network: &N,
    server: IpAddr,
    name: &Name,
    family: Option<Family>,
) -> Result<Outcome, Failure> {
    let mut asked = Vec::new();
    for kind in [Family::V4, Family::V6] {
        if family.is_none_or(|family| family == kind) {
            asked.push(Asked {
                query: Query { id: network.random()?, name, family: kind, extended: true },
                answer: None,
            });
        }
    }
    match exchange(network, server, &mut asked) {
        Ok(()) | Err(Error::TimedOut) => {}
        Err(Error::OutOfMemory) => return Err(Failure::OutOfMemory),
        // The server is not there, or the way to it.
        Err(_) => return Ok(Outcome::Unknown(Failure::Again)),
    }
    let mut found = Vec::new();
    asked.iter().for_each(|asked| found.extend_from_slice(asked.addresses()));
    // One kind is better than nothing; without any, no question may be open.
    let failure = asked.iter().find_map(Asked::failure);
    Ok(match failure {
        Some(failure) if found.is_empty() => Outcome::Unknown(failure),
        _ => Outcome::Known(found),
    })
}

/// Sends the questions and waits for their answers.
fn exchange<N: Network>(network: &N, server: IpAddr, asked: &mut [Asked]) -> Result<()> {
    let mut deadline = network.now().saturating_add(TIMEOUT);
    let link = network.datagrams(server)?;
    for asked in asked.iter() {
        link.send(&asked.query.message(), deadline)?;
    }
    // Some servers send more than they were offered.
    let mut buffer = alloc::vec![0; 4096];
    while asked.iter().any(|asked| asked.answer.is_none()) {
        let length = link.receive(&mut buffer, deadline)?;
        let Some((asked, answer)) =
            asked.iter_mut().filter(|asked| asked.answer.is_none()).find_map(|asked| {
                let answer = asked.query.answer(&buffer[..length])?;
                Some((asked, answer))
            })
        else {
            continue;
        };
        asked.answer = match answer {
            Answer::Malformed if asked.query.extended => {
                asked.query.extended = false;
                link.send(&asked.query.message(), deadline)?;
                None
            }
            Answer::Truncated => Some(by_stream(network, server, &asked.query)?),
            answer => Some(answer),
        };
        if !asked.addresses().is_empty() {
            deadline = deadline.min(network.now().saturating_add(GRACE));
        }
    }
    Ok(())
}

/// Asks a question over TCP, where every message is behind its length (RFC 7766).
fn by_stream<N: Network>(network: &N, server: IpAddr, query: &Query) -> Result<Answer> {
    let deadline = network.now().saturating_add(TIMEOUT);
    let link = network.stream(server, deadline)?;
    let message = query.message();
    let mut sent = Vec::from((message.len() as u16).to_be_bytes());
    sent.extend(message);
    link.send(&sent, deadline)?;
    let mut length = [0; 2];
    receive_all(&link, &mut length, deadline)?;
    let mut message = alloc::vec![0; usize::from(u16::from_be_bytes(length))];
    receive_all(&link, &mut message, deadline)?;
    Ok(match query.answer(&message) {
        None | Some(Answer::Truncated) => Answer::Failed,
        Some(answer) => answer,
    })
}

fn receive_all(link: &impl Link, mut buffer: &mut [u8], deadline: u64) -> Result<()> {
    while !buffer.is_empty() {
        match link.receive(buffer, deadline)? {
            0 => return Err(Error::ConnectionReset),
            length => buffer = &mut buffer[length..],
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
