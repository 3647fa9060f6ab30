//! The command line of a Hermit image: what its configuration says, and what comes from outside.

use crate::config::{Config, Field};
use crate::options::Word;

/// How much memory [`join`] needs.
#[must_use]
pub fn memory_for(line: &[u8], config: &Config<'_>) -> usize {
    let values = [Field::KernelArgs, Field::EnvVars, Field::AppArgs];
    let values = values.into_iter().flat_map(|field| config.values(field));
    // Every byte may need a backslash; around a value are `env=`, two quotes and a space.
    values.fold(line.len() + 4, |size, value| size + 2 * value.len() + 8)
}

/// Writes the command line for the kernel to `memory` and gives its length: the configuration's options and
/// variables, then those of `line`, so that these win; then the arguments of `line` or, when it has no
/// `--`, the configuration's. `None` when the memory does not suffice.
pub fn join(line: &[u8], config: &Config<'_>, memory: &mut [u8]) -> Option<usize> {
    let mut out = Writer { memory, length: 0 };
    for value in config.values(Field::KernelArgs) {
        out.word(b"", value)?;
    }
    for value in config.values(Field::EnvVars) {
        out.word(b"env=", value)?;
    }
    out.bytes(line)?;
    let mut arguments = config.values(Field::AppArgs).peekable();
    if !has_arguments(line) && arguments.peek().is_some() {
        out.bytes(b" --")?;
        for value in arguments {
            out.bytes(b" ")?;
            out.word(b"", value)?;
        }
    }
    Some(out.length)
}

/// Whether a line has the word that ends its options.
fn has_arguments(line: &[u8]) -> bool {
    let mut rest = line;
    loop {
        let mut word = Word::start(rest);
        if word.rest.is_empty() {
            return false;
        }
        if word.clone().eq(*b"--") {
            return true;
        }
        word.by_ref().for_each(drop);
        rest = word.rest;
    }
}

struct Writer<'m> {
    memory: &'m mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let place = self.memory.get_mut(self.length..self.length + bytes.len())?;
        place.copy_from_slice(bytes);
        self.length += bytes.len();
        Some(())
    }

    /// A word in quotes, and a space.
    fn word(&mut self, prefix: &[u8], value: &[u8]) -> Option<()> {
        self.bytes(prefix)?;
        self.bytes(b"\"")?;
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                self.bytes(b"\\")?;
            }
            self.bytes(&[*byte])?;
        }
        self.bytes(b"\" ")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::String;
    use std::vec;

    fn joined(line: &str, input: &str) -> String {
        let text = std::format!("version = '1'\nkernel = 'k'\n[input]\n{input}");
        let mut memory = vec![0; crate::config::memory_for(text.len())];
        let config = Config::parse(&text, &mut memory).unwrap();
        let mut out = vec![0; memory_for(line.as_bytes(), &config)];
        let length = join(line.as_bytes(), &config, &mut out).unwrap();
        assert!(join(line.as_bytes(), &config, &mut vec![0; length - 1]).is_none());
        out.truncate(length);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_comes_from_outside_comes_last() {
        let input = r#"kernel_args = ["log=info"]
            app_args = ["a b", "say \"hi\""]
            env_vars = ["A=\\"]"#;
        assert_eq!(
            joined("env=A=1 name=x", input).replace("  ", " "),
            r#""log=info" env="A=\\" env=A=1 name=x -- "a b" "say \"hi\"" "#
        );
        // Arguments from outside replace the configuration's.
        assert_eq!(joined("name=x -- own", input), r#""log=info" env="A=\\" name=x -- own"#);
        assert_eq!(
            joined(r#"name="a -- b""#, "kernel_args = []\napp_args = []"),
            r#"name="a -- b""#
        );
    }
}
