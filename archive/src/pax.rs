//! Extended headers: records of the form `LENGTH KEY=VALUE\n` (POSIX.1-2017, pax, "pax Extended Header").

use crate::Problem;

/// The records of an extended header: keys with their values.
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub const fn new(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    fn read(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let digits = self.rest.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(number(self.rest.get(..digits)?)?).ok()?;
        let (record, rest) = self.rest.split_at_checked(length)?;
        // The length counts its own digits, the space and the line break.
        let text = record.get(digits + 1..)?.strip_suffix(b"\n")?;
        let equals = text.iter().position(|byte| *byte == b'=')?;
        self.rest = rest;
        Some((text.get(..equals)?, text.get(equals + 1..)?))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_none() {
            self.rest = &[];
        }
        Some(record.ok_or(Problem::Extension))
    }
}

/// Whether all records can be read.
pub fn check(content: &[u8]) -> Result<(), Problem> {
    Records::new(content).try_for_each(|record| record.map(drop))
}

/// A decimal number.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Seconds with a fraction, as nanoseconds, rounded down to one.
pub fn time(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|byte| *byte == b'.');
    let (seconds, fraction) = text.split_at(point.unwrap_or(text.len()));
    let fraction = fraction.strip_prefix(b".").unwrap_or_default();
    let mut nanoseconds = i64::try_from(number(seconds)?).ok()?.checked_mul(1_000_000_000)?;
    let mut unit = 100_000_000;
    for digit in fraction {
        let digit = char::from(*digit).to_digit(10)?;
        nanoseconds = nanoseconds.checked_add(i64::from(digit) * unit)?;
        unit /= 10;
    }
    Some(if negative { -nanoseconds } else { nanoseconds })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[test]
    fn records_have_keys_and_values() {
        // A value may hold line breaks and equals signs.
        let records: Vec<_> = Records::new(b"12 path=a b\n18 comment=x=y\nz \n").collect();
        let expected = [(&b"path"[..], &b"a b"[..]), (b"comment", b"x=y\nz ")];
        assert_eq!(records, expected.map(Ok));
    }

    #[test]
    fn records_that_contradict_their_length_are_refused() {
        for content in [
            &b"x"[..],
            b"0 a=b\n",
            b"3 a=b\n",
            b"99 a=b\n",
            b"6 a=b",
            b"6 a=bc",
            b"6 abc\n",
            b" a=b\n",
            b"99999999999999999999999 a=b\n",
            b"-6 a=b\n",
            b"\0\0\0",
        ] {
            assert_eq!(check(content), Err(Problem::Extension), "{content:?}");
        }
        assert_eq!(check(b"6 a=b\n"), Ok(()));
        assert_eq!(check(b""), Ok(()));
    }

    #[test]
    fn times_have_fractions() {
        assert_eq!(time(b"1350244992.023960108"), Some(1_350_244_992_023_960_108));
        assert_eq!(time(b"1.5"), Some(1_500_000_000));
        assert_eq!(time(b"-1.5"), Some(-1_500_000_000));
        assert_eq!(time(b"7"), Some(7_000_000_000));
        assert_eq!(time(b"0.0000000001"), Some(0));
        for wrong in [&b""[..], b".5", b"-", b"1,5", b"1.x", b"99999999999999"] {
            assert_eq!(time(wrong), None);
        }
    }
}
