//! Starting other programs.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::Step;

/// Where `PATH` finds a program.
pub fn which(name: impl AsRef<Path>) -> Option<PathBuf> {
    use rustix::fs::{Access, access};
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name.as_ref()))
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

/// Runs a command to its end and gives its standard output; an error names the command and ends
/// with what it wrote.
pub fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", show(command)))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        bail!("`{}` failed ({status}): {}", show(command), said.trim());
    }
    String::from_utf8(stdout)
        .with_context(|| format!("`{}` wrote something that is not text", show(command)))
}

/// Runs a command on this process's own standard error; an error names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", show(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", show(command));
    }
    Ok(())
}

/// Runs a command to its end, shows the last line of its standard error as the step's state, and
/// gives its standard output. When it fails, all of its standard error is printed.
pub fn watched(command: &mut Command, step: &Step) -> Result<String> {
    let mut stdout = tempfile::tempfile().context("cannot make a temporary file")?;
    let writer = stdout.try_clone().context("cannot share a temporary file")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", show(command)))?;
    let mut said = Vec::new();
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines()) {
        let line = line.with_context(|| format!("cannot read what `{}` says", show(command)))?;
        step.at(line.trim());
        said.push(line);
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{}`", show(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}):\n{}", show(command), said.join("\n"));
    }
    let mut text = String::new();
    stdout.rewind()?;
    stdout.read_to_string(&mut text)?;
    Ok(text)
}

/// Waits for a child's end; `None` when it has not come after `limit`, and the child was killed.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processor time that a running process has used, in steps of 10 ms (`proc_pid_stat(5)`).
pub fn processor_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat =
        fs::read_to_string(&path).with_context(|| format!("process {pid} ended too early"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_millis(10 * ticks))
        .with_context(|| format!("{path} is not understood: {}", stat.trim()))
}

/// The hundredths of a second in user and system mode that `/proc/PID/stat` tells.
fn ticks(stat: &str) -> Option<u64> {
    // The name in parentheses may hold anything; the fields behind it are numbers.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    Some(number()? + number()?)
}

/// A command as one would type it.
pub fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The exit code with which a program ends that stands for another one: 1 for a signal.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

/// The cargo that runs this program, else the one in `PATH`, freed from what the caller's
/// environment would change in a build: other flags, another compiler, another target.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let build = name.starts_with("CARGO_BUILD_")
            || name.starts_with("CARGO_TARGET_")
            || name.starts_with("CARGO_PROFILE_")
            || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_UNSTABLE_");
        let flags = matches!(
            name,
            "RUSTFLAGS"
                | "CARGO_ENCODED_RUSTFLAGS"
                | "RUSTC"
                | "RUSTC_WRAPPER"
                | "RUSTC_WORKSPACE_WRAPPER"
        );
        if build || flags || name == "CARGO_MANIFEST_DIR" || name == "CARGO_MANIFEST_PATH" {
            cargo.env_remove(name);
        }
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) b 1 2) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert!(processor_time(std::process::id()).is_ok());
    }
}
