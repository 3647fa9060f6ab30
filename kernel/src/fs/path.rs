//! Paths: bytes between slashes (POSIX, 4.16 "Pathname Resolution").

use core::ops::Range;

use crate::{Error, Result};

/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 255;
/// The longest path, in bytes.
pub const LONGEST_PATH: usize = 4095;

/// Checks a path that a program gives.
///
/// # Errors
///
/// [`Error::NotFound`] for an empty one, [`Error::NameTooLong`], [`Error::InvalidArgument`] for a NUL.
pub fn check(path: &[u8]) -> Result<()> {
    if path.is_empty() {
        return Err(Error::NotFound);
    }
    if path.len() > LONGEST_PATH {
        return Err(Error::NameTooLong);
    }
    if path.contains(&0) {
        return Err(Error::InvalidArgument);
    }
    Ok(())
}

/// Where the next name behind `from` stands; slashes are skipped, `.` and `..` are names like others.
#[must_use]
pub fn next_name(path: &[u8], from: usize) -> Option<Range<usize>> {
    let start = from + path[from..].iter().position(|byte| *byte != b'/')?;
    let length = path[start..].iter().position(|byte| *byte == b'/');
    Some(start..length.map_or(path.len(), |length| start + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(path: &str) -> Vec<&str> {
        let mut names = Vec::new();
        let mut at = 0;
        while let Some(name) = next_name(path.as_bytes(), at) {
            at = name.end;
            names.push(&path[name]);
        }
        names
    }

    #[test]
    fn names_are_between_slashes() {
        assert_eq!(names("/a//b/./c/"), ["a", "b", ".", "c"]);
        assert_eq!(names("/"), [""; 0]);
        assert_eq!(names("a/.."), ["a", ".."]);
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(check(&[b'a'; 4095]), Ok(()));
        assert_eq!(check(&[b'a'; 4096]), Err(Error::NameTooLong));
        assert_eq!(check(b""), Err(Error::NotFound));
        assert_eq!(check(b"a\0b"), Err(Error::InvalidArgument));
    }

    proptest! {
        /// std's own splitting agrees, which leaves most dots out.
        #[test]
        fn agrees_with_std(path in "[a-c./]{1,40}") {
            use std::path::Component;
            let expected: Vec<&str> = std::path::Path::new(&path).components().filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_str().unwrap()),
                Component::ParentDir => Some(".."),
                _ => None,
            }).collect();
            let found: Vec<&str> = names(&path).into_iter().filter(|name| *name != ".").collect();
            prop_assert_eq!(found, expected);
        }
    }
}
