//! The SDK's linker: the real one, after which the image gets its table of names.
//!
//! Stripping is left until then: the names come from what is stripped.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use skete_names::Keep;

use crate::process;
use crate::wrapper::Sdk;

/// The program's name in the SDK.
pub const NAME: &str = "skete-link";

/// Changes when programs have to be linked again although neither they nor the kernel changed.
pub const KEY: &str = "names-1";

/// Acts as the linker.
pub fn main() -> Result<ExitCode> {
    let sdk = Sdk::find()?;
    let mut call = Call::default();
    // Files with further arguments live as long as the linker runs.
    let mut files = Vec::new();
    for arg in std::env::args_os().skip(1) {
        match arg.to_str().and_then(|arg| arg.strip_prefix('@')) {
            Some(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
                let mut rest =
                    Call { output: call.output.take(), keep: call.keep, ..Call::default() };
                text.lines().for_each(|line| rest.take(unquoted(line).into()));
                let file = tempfile::NamedTempFile::new()
                    .context("cannot make a file for the linker's arguments")?;
                let lines: String =
                    rest.args.iter().map(|arg| quoted(&arg.to_string_lossy()) + "\n").collect();
                fs::write(file.path(), lines).context("cannot write the linker's arguments")?;
                let mut name = OsString::from("@");
                name.push(file.path());
                files.push(file);
                (call.output, call.keep) = (rest.output, rest.keep);
                call.args.push(name);
            }
            None => call.take(arg),
        }
    }
    let linker = &sdk.manifest.linker;
    let status = Command::new(linker).args(&call.args).status();
    let status = status.with_context(|| format!("cannot start {}", linker.display()))?;
    if status.success()
        && let Some(output) = &call.output
    {
        skete_names::finish(output, call.keep.unwrap_or(Keep::All))?;
    }
    Ok(process::exit_code(status))
}

/// A call of the linker.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    /// The arguments for the real one.
    args: Vec<OsString>,
    /// What it writes.
    output: Option<PathBuf>,
    /// What is to stay in that.
    keep: Option<Keep>,
}

impl Call {
    fn take(&mut self, arg: OsString) {
        if self.args.last().is_some_and(|last| last == "-o") {
            self.output = Some(PathBuf::from(&arg));
        }
        match arg.to_str() {
            Some("--strip-debug" | "-S") => self.keep = Some(Keep::Symbols),
            Some("--strip-all" | "-s") => self.keep = Some(Keep::Names),
            _ => self.args.push(arg),
        }
    }
}

/// A line of a file of arguments, as rustc writes them: blanks and backslashes behind a backslash.
fn unquoted(line: &str) -> String {
    let mut text = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.extend(letters.next()),
            '"' => {}
            _ => text.push(letter),
        }
    }
    text
}

fn quoted(text: &str) -> String {
    let mut line = String::new();
    for letter in text.chars() {
        if matches!(letter, '\\' | ' ' | '"') {
            line.push('\\');
        }
        line.push(letter);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn call(line: &str) -> Call {
        let mut call = Call::default();
        line.split(' ').for_each(|arg| call.take(arg.into()));
        call
    }

    #[test]
    fn the_output_and_what_stays_in_it_are_found() {
        let call = call("-flavor gnu a.o --strip-all -o /t/app -L x");
        assert_eq!(call.output, Some(PathBuf::from("/t/app")));
        assert_eq!(call.keep, Some(Keep::Names));
        assert_eq!(call.args.join(OsStr::new(" ")), "-flavor gnu a.o -o /t/app -L x");
        assert_eq!(super::Call::default().keep, None);
    }

    #[test]
    fn arguments_survive_a_file() {
        for text in ["plain", "with blank", r"back\slash", "quote\"d", ""] {
            assert_eq!(unquoted(&quoted(text)), text);
        }
    }
}
