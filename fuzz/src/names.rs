//! Answers of name servers: whatever they hold, the addresses that are taken from them are ones that another
//! reader finds there, too.

use std::net::IpAddr;

use arbitrary::{Arbitrary, Unstructured};
use simple_dns::Packet;
use simple_dns::rdata::RData;
use skete_kernel::net::Family;
use skete_kernel::net::resolve::message::{Answer, Query};
use skete_kernel::net::resolve::name::Name;

/// A record of an answer that was made up.
#[derive(Arbitrary, Debug)]
struct Record {
    /// Its name: one of a few, or a pointer to anywhere.
    name: Place,
    kind: u8,
    data: Data,
}

#[derive(Arbitrary, Debug)]
enum Place {
    Question,
    Letter(u8),
    Pointer(u16),
}

#[derive(Arbitrary, Debug)]
enum Data {
    Fitting([u8; 16]),
    Name(Place),
    Any(Vec<u8>),
}

/// An answer that was made up.
#[derive(Arbitrary, Debug)]
struct Message {
    flags: u16,
    good_flags: bool,
    records: Vec<Record>,
    missing: u8,
    behind: Vec<u8>,
}

impl Place {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Place::Question => vec![0xc0, 12],
            Place::Letter(letter) => vec![1, b'a' + letter % 8, 0],
            Place::Pointer(to) => (0xc000 | (to % 300)).to_be_bytes().into(),
        }
    }
}

impl Message {
    /// The bytes of an answer to the question.
    fn bytes(&self, question: &[u8]) -> Vec<u8> {
        let mut message = question.to_vec();
        let flags = if self.good_flags { 0x8180 } else { self.flags };
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        let count = self.records.len() as u16 + u16::from(self.missing % 2);
        message[6..8].copy_from_slice(&count.to_be_bytes());
        for record in &self.records {
            let kind: u16 = [1, 28, 5, u16::from(record.kind)][usize::from(record.kind % 4)];
            message.extend(record.name.bytes());
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            let data = match &record.data {
                Data::Fitting(bytes) if kind == 1 => bytes[..4].to_vec(),
                Data::Fitting(bytes) => bytes.to_vec(),
                Data::Name(place) => place.bytes(),
                Data::Any(bytes) => bytes.clone(),
            };
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
        message.extend(&self.behind);
        message
    }
}

/// Reads the answer that the bytes mean.
///
/// # Panics
///
/// When something is wrong with what is read.
pub fn run(data: &[u8]) {
    let name = Name::new(b"a.example").expect("a name");
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let query = Query {
        id: 0x1234,
        name: &name,
        family: if first & 1 == 0 { Family::V4 } else { Family::V6 },
        extended: first & 2 != 0,
    };
    let question = Query { extended: false, ..query.clone() };
    // Bytes as they are, or a description of an answer.
    let message = match first & 4 {
        0 => rest.to_vec(),
        _ => match Message::arbitrary(&mut Unstructured::new(rest)) {
            Ok(message) => message.bytes(&question.message()),
            Err(_) => return,
        },
    };
    let Some(Answer::Addresses(addresses)) = query.answer(&message) else {
        return;
    };
    // What follows the records may be damaged; then the other reader has nothing to say.
    let Ok(packet) = Packet::parse(&message) else {
        return;
    };
    assert_eq!(packet.id(), query.id);
    let theirs: Vec<IpAddr> = packet
        .answers
        .iter()
        .filter_map(|record| match (&record.rdata, query.family) {
            (RData::A(data), Family::V4) => Some(IpAddr::from(data.address.to_be_bytes())),
            (RData::AAAA(data), Family::V6) => Some(IpAddr::from(data.address.to_be_bytes())),
            _ => None,
        })
        .collect();
    for address in &addresses {
        assert!(theirs.contains(address), "{address} is in no record");
    }
    // Without aliases, those of the name itself are all there are.
    let own = |record: &&simple_dns::ResourceRecord| {
        record.name.to_string().eq_ignore_ascii_case("a.example")
    };
    let alias = |record: &simple_dns::ResourceRecord| matches!(record.rdata, RData::CNAME(_));
    if !packet.answers.iter().any(alias) {
        let count = packet.answers.iter().filter(own).count();
        assert!(addresses.len() <= count, "{addresses:?} of {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn addresses_are_those_that_another_reader_finds() {
        seeds::drive(20_000, 300, run);
    }
}
