//! Names of machines (RFC 1035, section 3.1; RFC 1123, section 2.1).

use alloc::vec::Vec;

/// The most bytes that a name has in a message, with its lengths and its end.
pub const LONGEST: usize = 255;
const LONGEST_LABEL: usize = 63;

/// A name as it stands in a message: labels, each behind its length, and an empty one. Without capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Vec<u8>);

impl Name {
    /// The name that is written `text`, with or without a dot at its end. `None` when no machine can have it.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Name> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let labels = text.split(|byte| *byte == b'.');
        Name::of(labels.map(|label| {
            let fits = !label.is_empty() && label.iter().all(good);
            fits.then_some(label)
        }))
    }

    /// The name with these labels; `None` when one of them is missing or they are too long.
    pub fn of<'a>(labels: impl Iterator<Item = Option<&'a [u8]>>) -> Option<Name> {
        let mut bytes = Vec::with_capacity(32);
        for label in labels {
            let label = label?;
            if label.len() > LONGEST_LABEL || bytes.len() + label.len() + 2 > LONGEST {
                return None;
            }
            bytes.push(label.len() as u8);
            bytes.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        bytes.push(0);
        Some(Name(bytes))
    }

    /// As it stands in a message.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it means this machine (RFC 6761, section 6.3).
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        let Some(before) = self.0.strip_suffix(b"\x09localhost\0") else {
            return false;
        };
        // The end has to be a label of its own, not the end of a longer one that looks like it.
        let mut rest = before;
        while let Some((length, behind)) = rest.split_first() {
            let Some(behind) = behind.get(usize::from(*length)..) else {
                return false;
            };
            rest = behind;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        let name = Name::new(b"Www.example.ORG").unwrap();
        assert_eq!(name.bytes(), b"\x03www\x07example\x03org\0");
        assert_eq!(Name::new(b"www.example.org."), Some(name));
        assert!(Name::new(b"_sip._tcp.a-b").is_some());
    }

    #[test]
    fn what_no_machine_is_called_is_refused() {
        let long = [b'a'; 64];
        for text in
            [&b""[..], b".", b"a..b", b".a", b"a b", b"a\0", b"gr\xc3\xb6\xc3\x9fe", b"a/b", &long]
        {
            assert_eq!(Name::new(text), None, "{text:?}");
        }
        assert!(Name::new(&long[1..]).is_some());
        // 253 characters are the most.
        let most = [&long[..61], &long[..63], &long[..63], &long[..63]].join(&b'.');
        assert_eq!(most.len(), 253);
        assert_eq!(Name::new(&most).unwrap().bytes().len(), LONGEST);
        assert_eq!(Name::new(&[&b"a"[..], &most].concat()), None);
    }

    #[test]
    fn localhost_is_this_machine() {
        for (text, is) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("a.b.localhost", true),
            ("notlocalhost", false),
            ("localhost.example", false),
            ("local", false),
        ] {
            assert_eq!(Name::new(text.as_bytes()).unwrap().is_localhost(), is, "{text}");
        }
    }
}
