//! Paths: bytes between slashes (POSIX, 4.16 "Pathname Resolution").

use crate::{Error, Result};

/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 255;
/// The longest path, in bytes.
pub const LONGEST_PATH: usize = 4095;

/// A path whose lengths have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    /// Checks a path.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for an empty one, [`Error::NameTooLong`], [`Error::InvalidArgument`] for a NUL.
    pub fn new(path: &'a [u8]) -> Result<Path<'a>> {
        if path.is_empty() {
            return Err(Error::NotFound);
        }
        if path.len() > LONGEST_PATH
            || path
                .split(|byte| *byte == b'/')
                .any(|name| name.len() > LONGEST_NAME)
        {
            return Err(Error::NameTooLong);
        }
        if path.contains(&0) {
            return Err(Error::InvalidArgument);
        }
        Ok(Path(path))
    }

    /// The names on the way; `.` and doubled slashes are left out, `..` is not.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".")
    }

    /// True when the path can only mean a directory: it ends in a slash, or in `.`.
    #[must_use]
    pub fn means_directory(&self) -> bool {
        matches!(
            self.0.rsplit(|byte| *byte == b'/').next(),
            Some(b"" | b"." | b"..")
        )
    }

    /// The last name as it stands, which may be `.`, `..` or (for the root) nothing.
    #[must_use]
    pub fn last_as_written(&self) -> &'a [u8] {
        self.0
            .rsplit(|byte| *byte == b'/')
            .find(|name| !name.is_empty())
            .unwrap_or(b"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(path: &str) -> Vec<String> {
        let path = Path::new(path.as_bytes()).unwrap();
        path.names()
            .map(|name| String::from_utf8(name.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn names_are_between_slashes() {
        assert_eq!(names("/a//b/./c/"), ["a", "b", "c"]);
        assert_eq!(names("/"), [""; 0]);
        assert_eq!(names("a/.."), ["a", ".."]);
    }

    #[test]
    fn lengths_are_checked() {
        let longest = "n".repeat(255);
        assert!(Path::new(longest.as_bytes()).is_ok());
        assert_eq!(
            Path::new(format!("{longest}n").as_bytes()).unwrap_err(),
            Error::NameTooLong
        );
        let long = "a/".repeat(2047);
        assert!(Path::new(format!("{long}b").as_bytes()).is_ok());
        assert_eq!(
            Path::new(format!("{long}bb").as_bytes()).unwrap_err(),
            Error::NameTooLong
        );
        assert_eq!(Path::new(b"").unwrap_err(), Error::NotFound);
        assert_eq!(Path::new(b"a\0b").unwrap_err(), Error::InvalidArgument);
    }

    #[test]
    fn some_paths_mean_directories() {
        for (path, expected) in [
            ("/", true),
            ("a/", true),
            ("a/.", true),
            ("a/..", true),
            ("a", false),
            ("a.", false),
        ] {
            assert_eq!(
                Path::new(path.as_bytes()).unwrap().means_directory(),
                expected,
                "{path}"
            );
        }
    }

    proptest! {
        /// std's own splitting agrees.
        #[test]
        fn agrees_with_std(path in "[a-c./]{1,40}") {
            use std::path::Component;
            let expected: Vec<String> = std::path::Path::new(&path).components().filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_str().unwrap().into()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            }).collect();
            prop_assert_eq!(names(&path), expected);
        }
    }
}
