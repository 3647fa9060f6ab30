//! Reads JSON from standard input and prints it with sorted keys, indented.
//!
//! Numbers keep the digits they came with, however many. Several values may follow each other.

use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::Value;

/// Reads JSON from standard input, prints it with sorted keys, indented
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Print every value on one line instead
    #[arg(short, long)]
    compact: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match print(io::stdin().lock(), io::stdout().lock(), arguments.compact) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("json: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads every value from `input` and writes it to `output`, each followed by a line break.
///
/// Fails when `input` cannot be read, is not JSON or holds no value at all.
fn print(mut input: impl Read, output: impl Write, compact: bool) -> Result<()> {
    // Parsing a slice is several times faster than parsing a reader byte by byte.
    let mut text = Vec::new();
    input.read_to_end(&mut text).context("cannot read standard input")?;
    let mut output = BufWriter::new(output);
    let mut values = 0;
    // `serde_json::Map` is a `BTreeMap`: its keys come out sorted.
    for value in serde_json::Deserializer::from_slice(&text).into_iter::<Value>() {
        let value = value.context("standard input is not JSON")?;
        if compact {
            serde_json::to_writer(&mut output, &value)?;
        } else {
            serde_json::to_writer_pretty(&mut output, &value)?;
        }
        output.write_all(b"\n")?;
        values += 1;
    }
    if values == 0 {
        bail!("standard input is empty: expected a JSON value");
    }
    output.flush().context("cannot write standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(input: &str) -> Result<String> {
        let mut output = Vec::new();
        print(input.as_bytes(), &mut output, true)?;
        Ok(String::from_utf8(output)?)
    }

    #[test]
    fn keys_are_sorted_at_every_depth() -> Result<()> {
        assert_eq!(
            printed(r#"{"b": [{"z": 1, "y": 2}], "a": null}"#)?,
            "{\"a\":null,\"b\":[{\"y\":2,\"z\":1}]}\n"
        );
        Ok(())
    }

    #[test]
    fn numbers_keep_their_digits() -> Result<()> {
        for number in ["0.10000000000000000000000000001", "123456789012345678901234567890", "-1"] {
            assert_eq!(printed(number)?, format!("{number}\n"));
        }
        Ok(())
    }

    #[test]
    fn several_values_may_follow_each_other() -> Result<()> {
        assert_eq!(printed("1 [2]\n\"drei\"")?, "1\n[2]\n\"drei\"\n");
        Ok(())
    }

    #[test]
    fn what_is_printed_can_be_read_again() -> Result<()> {
        let text = r#"{"text":"a\"\\\né😀","list":[true,false,null,[],{}]}"#;
        let once = printed(text)?;
        assert_eq!(printed(&once)?, once);
        Ok(())
    }

    #[test]
    fn bad_input_is_an_error_that_says_where() {
        for (input, expected) in [
            ("{\"a\": }", "line 1 column 7"),
            ("[1, 2", "EOF"),
            ("", "empty"),
            ("\u{feff}", "line 1"),
        ] {
            let error = format!("{:#}", printed(input).unwrap_err());
            assert!(error.contains(expected), "{input:?}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_a_crash() {
        assert!(printed(&"[".repeat(100_000)).is_err());
    }
}
