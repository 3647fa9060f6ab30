//! Questions to name servers and their answers (RFC 1035, section 4; RFC 6891).

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::wire::{
    DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion, DnsRcode, DnsRecord, DnsRecordData,
    DnsRepr,
};

use super::name::Name;
use crate::net::Family;

/// The largest datagram that a server may answer with: what passes everywhere in one packet.
pub const LARGEST: usize = 1232;
/// Records of an answer that are looked at.
const MOST_RECORDS: usize = 512;
/// How often a name may lead to another.
const MOST_ALIASES: usize = 16;

/// Additional record: the root's name, type OPT, [`LARGEST`] for a class, no flags, no options.
const OPT: [u8; 11] = {
    let [high, low] = (LARGEST as u16).to_be_bytes();
    [0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]
};

/// What a name server was asked.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// A number that nobody can guess.
    pub id: u16,
    /// The name.
    pub name: &'a Name,
    /// The kind of addresses.
    pub family: Family,
    /// Whether larger answers than 512 bytes are offered to be taken.
    pub extended: bool,
}

/// What a name server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses of the name; none when it has none of this kind.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoName,
    /// The answer is longer than a datagram.
    Truncated,
    /// The server does not understand; a question of the older form it may.
    Malformed,
    /// It cannot answer now.
    Failed,
    /// It does not want to.
    Refused,
}

impl Query<'_> {
    fn kind(&self) -> DnsQueryType {
        match self.family {
            Family::V4 => DnsQueryType::A,
            Family::V6 => DnsQueryType::Aaaa,
        }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let repr = DnsRepr {
            transaction_id: self.id,
            opcode: DnsOpcode::Query,
            flags: DnsFlags::RECURSION_DESIRED,
            question: DnsQuestion { name: self.name.bytes(), type_: self.kind() },
        };
        let mut message = vec![0; repr.buffer_len()];
        let mut packet = DnsPacket::new_unchecked(&mut message[..]);
        repr.emit(&mut packet);
        if self.extended {
            packet.set_additional_record_count(1);
            message.extend(OPT);
        }
        message
    }

    /// Reads an answer. `None`: it is none, or not to this question.
    #[must_use]
    pub fn answer(&self, message: &[u8]) -> Option<Answer> {
        let packet = DnsPacket::new_checked(message).ok()?;
        let is_answer = packet.transaction_id() == self.id
            && packet.flags().contains(DnsFlags::RESPONSE)
            && packet.opcode() == DnsOpcode::Query;
        if !is_answer {
            return None;
        }
        let (records, question) = match packet.question_count() {
            1 => DnsQuestion::parse(packet.payload()).ok()?,
            // A server that has not understood the question does not repeat it.
            0 if packet.rcode() == DnsRcode::FormErr => return Some(Answer::Malformed),
            _ => return None,
        };
        if question.type_ != self.kind() || read(&packet, question.name).as_ref() != Some(self.name)
        {
            return None;
        }
        Some(match packet.rcode() {
            _ if packet.flags().contains(DnsFlags::TRUNCATED) => Answer::Truncated,
            DnsRcode::NoError => match self.addresses(&packet, records) {
                Some(addresses) => Answer::Addresses(addresses),
                None => Answer::Failed,
            },
            DnsRcode::NXDomain => Answer::NoName,
            DnsRcode::FormErr | DnsRcode::NotImp if self.extended => Answer::Malformed,
            DnsRcode::ServFail => Answer::Failed,
            _ => Answer::Refused,
        })
    }

    /// The addresses in the answer's records, through all aliases. `None` when the records make no sense.
    fn addresses(&self, packet: &DnsPacket<&[u8]>, records: &[u8]) -> Option<Vec<IpAddr>> {
        let mut name = self.name.clone();
        for _ in 0..MOST_ALIASES {
            let mut rest = records;
            let mut addresses = Vec::new();
            let mut alias = None;
            for _ in 0..usize::from(packet.answer_record_count()).min(MOST_RECORDS) {
                let (behind, record) = DnsRecord::parse(rest).ok()?;
                rest = behind;
                let address = match record.data {
                    DnsRecordData::A(ip) if self.family == Family::V4 => IpAddr::V4(ip),
                    DnsRecordData::Aaaa(ip) if self.family == Family::V6 => IpAddr::V6(ip),
                    DnsRecordData::Cname(to) if alias.is_none() => {
                        if read(packet, record.name)? == name {
                            alias = Some(read(packet, to)?);
                        }
                        continue;
                    }
                    _ => continue,
                };
                if read(packet, record.name)? == name && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            match alias {
                Some(alias) if addresses.is_empty() => name = alias,
                _ => return Some(addresses),
            }
        }
        None
    }
}

/// A name in a packet, which may lead to another place there.
fn read(packet: &DnsPacket<&[u8]>, name: &[u8]) -> Option<Name> {
    Name::of(packet.parse_name(name).map(Result::ok))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn query(name: &Name, family: Family) -> Query<'_> {
        Query { id: 0x1234, name, family, extended: true }
    }

    /// An answer to a query: its header's flags, and records of a name, a type and data.
    fn reply(query: &Query, flags: u16, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut message = query.message();
        message.truncate(message.len() - OPT.len());
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        message[11] = 0;
        for (name, kind, data) in records {
            message.extend(*name);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(*data);
        }
        message
    }

    const OK: u16 = 0x8180;
    /// Where the question's name is.
    const QUESTION: &[u8] = &[0xc0, 12];

    #[test]
    fn a_question_as_rfc_1035_draws_it() {
        let name = name("a.example");
        let message = query(&name, Family::V6).message();
        let expected = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\x00\x01\x01a\x07example\0\0\x1c\0\x01\
            \0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_eq!(message, expected);
        let old = Query { extended: false, ..query(&name, Family::V4) };
        assert_eq!(
            old.message(),
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01"
        );
    }

    #[test]
    fn addresses_of_the_kind_that_was_asked_for() {
        let name = name("a.example");
        let query = query(&name, Family::V4);
        let records: [(&[u8], u16, &[u8]); 4] = [
            (QUESTION, 1, &[192, 0, 2, 1]),
            (QUESTION, 28, &[0x20; 16]),
            (b"\x01B\x07example\0", 1, &[192, 0, 2, 9]),
            (b"\x01A\x07EXAMPLE\0", 1, &[192, 0, 2, 2]),
        ];
        let expected = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        assert_eq!(
            query.answer(&reply(&query, OK, &records)),
            Some(Answer::Addresses(expected.into()))
        );
        assert_eq!(query.answer(&reply(&query, OK, &[])), Some(Answer::Addresses(Vec::new())));
    }

    #[test]
    fn aliases_are_followed_in_any_order() {
        let name = name("a.example");
        let query = query(&name, Family::V6);
        let records: [(&[u8], u16, &[u8]); 3] =
            [(b"\x01c\0", 28, &[0x20; 16]), (b"\x01b\0", 5, b"\x01c\0"), (QUESTION, 5, b"\x01b\0")];
        let expected = [IpAddr::from([0x20; 16])];
        assert_eq!(
            query.answer(&reply(&query, OK, &records)),
            Some(Answer::Addresses(expected.into()))
        );
        let circle: [(&[u8], u16, &[u8]); 2] =
            [(QUESTION, 5, b"\x01b\0"), (b"\x01b\0", 5, QUESTION)];
        assert_eq!(query.answer(&reply(&query, OK, &circle)), Some(Answer::Failed));
    }

    #[test]
    fn what_is_not_an_answer_to_this_question_is_none() {
        let name = name("a.example");
        let query = query(&name, Family::V4);
        let good = reply(&query, OK, &[(QUESTION, 1, &[192, 0, 2, 1])]);
        assert!(query.answer(&good).is_some());
        let other = super::super::name::Name::new(b"b.example").unwrap();
        for wrong in [
            Query { id: 1, ..query.clone() },
            Query { name: &other, ..query.clone() },
            Query { family: Family::V6, ..query.clone() },
        ] {
            assert_eq!(wrong.answer(&good), None);
        }
        assert_eq!(query.answer(&query.message()), None, "a question");
        for length in 0..12 + 11 + 4 {
            assert_eq!(query.answer(&good[..length]), None, "{length}");
        }
        // Cut inside the records: an answer, and a bad one.
        assert_eq!(query.answer(&good[..good.len() - 1]), Some(Answer::Failed));
    }

    #[test]
    fn a_server_s_refusals_are_told_apart() {
        let name = name("a.example");
        let query = query(&name, Family::V4);
        for (flags, answer) in [
            (OK | 3, Answer::NoName),
            (OK | 1, Answer::Malformed),
            (OK | 2, Answer::Failed),
            (OK | 4, Answer::Malformed),
            (OK | 5, Answer::Refused),
            (OK | 0x200, Answer::Truncated),
        ] {
            assert_eq!(query.answer(&reply(&query, flags, &[])), Some(answer));
        }
    }

    proptest! {
        /// No message, whatever is in it, does anything but give an answer or none.
        #[test]
        fn any_bytes_are_read(mut message in proptest::collection::vec(any::<u8>(), 0..400), near in any::<bool>()) {
            let name = name("a.example");
            let query = query(&name, Family::V4);
            if near {
                // The start of a good answer, so that the records are reached.
                let mut good = reply(&query, OK, &[(QUESTION, 5, QUESTION), (QUESTION, 1, &[1, 2, 3, 4])]);
                good[6] = message.first().copied().unwrap_or(0);
                good.append(&mut message);
                message = good;
            }
            if let Some(Answer::Addresses(addresses)) = query.answer(&message) {
                prop_assert!(addresses.len() <= MOST_RECORDS);
                prop_assert!(addresses.iter().all(IpAddr::is_ipv4));
            }
        }
    }
}
