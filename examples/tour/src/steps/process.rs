//! This process and others.

use std::io::{self, Read, Write};
use std::process::{self, Command, ExitCode};

use crate::report::{Report, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("processes");
    report.step("own process number", || {
        ensure_eq!(process::id(), process::id());
        ensure!(process::id() != 0);
        Ok(process::id().to_string())
    });
    report.step("exit codes", || {
        ensure!(ExitCode::SUCCESS != ExitCode::FAILURE);
        ensure_eq!(ExitCode::from(3), ExitCode::from(3));
        fine()
    });
    report.step("start a program", || {
        let status = Command::new("true").status()?;
        ensure!(status.success());
        fine()
    });
    report.step("pipe", || {
        let (mut reader, mut writer) = io::pipe()?;
        writer.write_all(b"through")?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        ensure_eq!(text, "through");
        fine()
    });
}
