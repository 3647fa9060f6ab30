//! Addresses that are written as numbers.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str;

/// The address with port 0: IPv6 with or without `%` and the number of an interface, or IPv4 in any form that
/// inet_aton(3) takes.
pub fn parse(text: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(text).ok()?;
    if let Some(ip) = v4(text) {
        return Some((ip, 0).into());
    }
    let (ip, scope) = match text.split_once('%') {
        Some((ip, scope)) => (ip, decimal(scope)?),
        None => (text, 0),
    };
    let ip: Ipv6Addr = ip.parse().ok()?;
    Some(SocketAddrV6::new(ip, 0, 0, scope).into())
}

fn decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// One to four numbers, of which the last fills the bytes that the others leave; decimal, octal after a 0,
/// hexadecimal after 0x.
fn v4(text: &str) -> Option<Ipv4Addr> {
    let mut value = 0;
    let mut left = 4;
    let mut parts = text.split('.').peekable();
    while let Some(part) = parts.next() {
        let number = part_of_v4(part)?;
        if left == 0 {
            return None;
        }
        if parts.peek().is_none() {
            // The last takes what is left.
            if left < 4 && number >> (8 * left) != 0 {
                return None;
            }
            return Some(Ipv4Addr::from(value | number));
        }
        if number > 255 {
            return None;
        }
        left -= 1;
        value |= number << (8 * left);
    }
    None
}

fn part_of_v4(part: &str) -> Option<u32> {
    let (digits, radix) = match part.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&part[2..], 16),
        [b'0', _, ..] => (&part[1..], 8),
        _ => (part, 10),
    };
    let good = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_number() {
        for (text, ip) in [
            ("10.0.2.15", "10.0.2.15"),
            ("127.1", "127.0.0.1"),
            ("1.2.3", "1.2.0.3"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.0.0.01", "127.0.0.1"),
            ("4294967295", "255.255.255.255"),
            ("0", "0.0.0.0"),
            ("::1", "::1"),
            ("2001:DB8::1:0", "2001:db8::1:0"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ] {
            let expected = SocketAddr::new(ip.parse().unwrap(), 0);
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
        let scoped = "[fe80::1%3]:0".parse().unwrap();
        assert_eq!(parse(b"fe80::1%3"), Some(SocketAddr::V6(scoped)));
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "1.2.3.4.5",
            "256.0.0.1",
            "1.2.3.256",
            "1.16777216",
            "4294967296",
            "08",
            "0x",
            "0xg",
            "+1",
            "1.+2",
            "a",
            "1.2.3.4 ",
            ":",
            ":::",
            "fe80::1%",
            "fe80::1%+3",
            "fe80::1%lo",
            "1.2.3.4%1",
            "localhost",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"\xff"), None);
    }
}
