//! What a host's process is started with.

use std::string::String;
use std::sync::LazyLock;
use std::vec::Vec;

/// As in an image.
#[derive(Debug, Default)]
pub struct Program {
    /// `argv[0]` and the arguments.
    pub arguments: Vec<String>,
    /// The command line.
    pub line: String,
}

/// Always the same.
#[must_use]
pub fn program() -> &'static Program {
    static PROGRAM: LazyLock<Program> = LazyLock::new(|| Program {
        arguments: ["hosted", "two words"].map(String::from).into(),
        line: String::new(),
    });
    &PROGRAM
}
