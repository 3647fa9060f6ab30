//! `/etc/hosts`, if the image's files have one.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::name::Name;
use super::{Failure, Family, number};
use crate::{Error, fs};

const PATH: &[u8] = b"/etc/hosts";

/// The addresses of a name, in their order in the file.
///
/// # Errors
///
/// [`Failure::System`] when the file is there and cannot be read.
pub fn lookup(name: &Name, family: Option<Family>) -> Result<Vec<SocketAddr>, Failure> {
    let options = fs::Options { read: true, ..fs::Options::default() };
    let file = match fs::open_known(PATH, options) {
        Err(Error::NotFound | Error::NotADirectory) => return Ok(Vec::new()),
        file => file?,
    };
    let mut text = Vec::new();
    let mut part = [0; 1024];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(search(&text, name, family)),
            length => {
                text.try_reserve(length).map_err(|_| Failure::OutOfMemory)?;
                text.extend_from_slice(&part[..length]);
            }
        }
    }
}

/// The same, in the text of such a file: an address and its names on each line, `#` before what is no part of
/// it (hosts(5)). Lines that make no sense are passed over.
fn search(text: &[u8], name: &Name, family: Option<Family>) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(address) = words.next().and_then(number::parse) else {
            continue;
        };
        if Family::has(family, address.ip())
            && !found.contains(&address)
            && words.any(|word| Name::new(word).as_ref() == Some(name))
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# a comment\n\
        127.0.0.1\tlocalhost loghost # names\n\
        ::1 localhost ip6-localhost\n\
        nonsense here\n\
        10.1.1.1   db.example.  DB\n\
        fe80::1%2 db\n\
        10.1.1.1 db\r\n\
        10.1.1.2 #db";

    fn found(name: &[u8], family: Option<Family>) -> Vec<alloc::string::String> {
        let found = search(FILE, &Name::new(name).unwrap(), family);
        found.iter().map(|address| std::format!("{address}")).collect()
    }

    #[test]
    fn names_are_found_on_their_lines() {
        assert_eq!(found(b"localhost", None), ["127.0.0.1:0", "[::1]:0"]);
        assert_eq!(found(b"LOGHOST.", None), ["127.0.0.1:0"]);
        assert_eq!(found(b"db", None), ["10.1.1.1:0", "[fe80::1%2]:0"]);
        assert_eq!(found(b"db.example", None), ["10.1.1.1:0"]);
        assert_eq!(found(b"db", Some(Family::V6)), ["[fe80::1%2]:0"]);
        assert!(found(b"here", None).is_empty());
        assert!(found(b"names", None).is_empty());
    }
}
