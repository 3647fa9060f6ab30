//! The terminal behind a serial line: it shows what is written, and has no size and no raw mode.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal};

use crate::kb::Key;
use crate::term::{Term, TermTarget};

pub(crate) use crate::common_term::*;

pub(crate) const DEFAULT_WIDTH: u16 = 80;

pub(crate) fn is_a_terminal(out: &Term) -> bool {
    match out.target() {
        TermTarget::Stdout => io::stdout().is_terminal(),
        TermTarget::Stderr => io::stderr().is_terminal(),
    }
}

pub(crate) fn is_a_color_terminal(out: &Term) -> bool {
    is_a_terminal(out) && env::var_os("NO_COLOR").is_none() && is_capable()
}

/// Whether `TERM` is set, to something better than a dumb terminal.
fn is_capable() -> bool {
    env::var_os("TERM").is_some_and(|term| term != "dumb")
}

pub(crate) fn is_a_true_color_terminal(out: &Term) -> bool {
    is_a_color_terminal(out)
        && env::var("COLORTERM").is_ok_and(|term| term == "truecolor" || term == "24bit")
}

pub(crate) fn terminal_size(_out: &Term) -> Option<(u16, u16)> {
    None
}

pub(crate) fn read_secure() -> io::Result<String> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "a serial line cannot be told to hide what is typed",
    ))
}

pub(crate) fn read_single_key(_ctrlc_key: bool) -> io::Result<Key> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "a serial line gives whole lines, not keys",
    ))
}

pub(crate) fn wants_emoji() -> bool {
    false
}

pub(crate) fn set_title<T: Display>(_title: T) {}
