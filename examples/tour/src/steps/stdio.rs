//! Standard input, output and error.

use std::io::{self, IsTerminal, Read, Write};

use crate::report::{Report, Trouble, fine};

pub fn walk(report: &mut Report, read_stdin: bool) {
    report.room("standard streams");
    report.step("write and flush standard output", || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(b"  (a line on standard output)\n")?;
        stdout.flush()?;
        fine()
    });
    report.step("write standard error", || {
        io::stderr().write_all(b"  (a line on standard error)\n")?;
        fine()
    });
    report.step("is it a terminal", || {
        let words = |terminal| {
            if terminal { "a terminal" } else { "no terminal" }
        };
        Ok(format!(
            "input: {}, output: {}",
            words(io::stdin().is_terminal()),
            words(io::stdout().is_terminal())
        ))
    });
    report.step("read standard input to its end", || {
        if !read_stdin {
            return Err(Trouble::NotAskedFor("give --stdin".to_owned()));
        }
        let mut input = Vec::new();
        let length = io::stdin().read_to_end(&mut input)?;
        Ok(format!("{length} bytes"))
    });
}
