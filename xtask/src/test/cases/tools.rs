//! `cargo xtask` as a user meets it.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::super::case::{Bench, Case, Doing};
use super::super::expect::{Expect, Got};
use super::super::leftovers;
use crate::{paths, process};

/// A program to run as a user would.
#[derive(Clone, Debug)]
pub struct Tool {
    program: Program,
    args: Vec<String>,
    directory: PathBuf,
    env: Vec<(&'static str, String)>,
    stdin: Vec<u8>,
    timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Program {
    /// This very program.
    Xtask,
    /// cargo.
    Cargo,
    /// A shell's script, in which `"$@"` is this very program with the arguments.
    Shell(&'static str),
}

impl Tool {
    fn new(program: Program, args: &[&str]) -> Tool {
        Tool {
            program,
            args: args.iter().map(|&word| word.to_owned()).collect(),
            directory: paths::root().to_owned(),
            env: Vec::new(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(300),
        }
    }

    /// This very program.
    pub fn xtask(args: &[&str]) -> Tool {
        Tool::new(Program::Xtask, args)
    }

    /// cargo as a user has it in their own directory.
    pub fn cargo(args: &[&str]) -> Tool {
        Tool::new(Program::Cargo, args)
    }

    /// In this directory instead of the repository's.
    pub fn within(mut self, directory: impl Into<PathBuf>) -> Tool {
        self.directory = directory.into();
        self
    }

    /// With this variable in its environment.
    pub fn env(mut self, name: &'static str, value: &str) -> Tool {
        self.env.push((name, value.to_owned()));
        self
    }

    /// Ended after this time.
    pub fn timeout(mut self, timeout: Duration) -> Tool {
        self.timeout = timeout;
        self
    }

    /// With this on its standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Tool {
        self.stdin = bytes.into();
        self
    }

    /// The command, with `mark` in the environment of all that it starts.
    fn command(&self, bench: &Bench, mark: &str) -> Result<Command> {
        let own = bench.xtask();
        let mut command = match self.program {
            Program::Xtask => Command::new(own),
            Program::Cargo => plain_cargo(),
            Program::Shell(script) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(script).arg("sh").arg(own);
                shell
            }
        };
        command
            .args(self.args.iter().map(OsString::from))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory);
        command.env(leftovers::VARIABLE, mark);
        Ok(command)
    }

    fn show(&self) -> String {
        let words = self.args.iter().map(|word| match word.contains(char::is_whitespace) {
            true => format!("{word:?}"),
            false => word.clone(),
        });
        let words = words.collect::<Vec<_>>().join(" ");
        let env = self.env.iter().map(|(name, value)| format!("{name}={value:?} "));
        let env = env.collect::<String>();
        match self.program {
            Program::Xtask => format!("{env}cargo xtask {words}"),
            Program::Cargo => format!("(cd {} && {env}cargo {words})", self.directory.display()),
            Program::Shell(script) => format!("sh -c '{script}' sh cargo xtask {words}"),
        }
    }

    /// Runs it to its end.
    pub fn run(&self, bench: &Bench, mark: &str) -> Result<Got> {
        let mut stdin = tempfile::tempfile()?;
        stdin.write_all(&self.stdin)?;
        stdin.seek(SeekFrom::Start(0))?;
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut command = self.command(bench, mark)?;
        command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let mut child =
            command.spawn().with_context(|| format!("cannot start `{}`", self.show()))?;
        let status = wait(&mut child, self.timeout)?;
        let read = |file: &mut fs::File| -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        Ok(Got {
            command: self.show(),
            status,
            stdout: read(&mut stdout)?,
            stderr: read(&mut stderr)?,
            timed_out: status.is_none(),
        })
    }
}

/// Waits for a child's end and gives its exit status as a shell does; `None` after `timeout`, when
/// the child is killed.
fn wait(child: &mut Child, timeout: Duration) -> Result<Option<i32>> {
    let status = process::wait(child, timeout)?;
    let code =
        |status: ExitStatus| status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(status.and_then(code))
}

/// The cargo that a user's `cargo` is in a directory of theirs: without the variables by which
/// rustup and cargo tell this process that it was started by a toolchain of the repository.
fn plain_cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR"];
        let of_cargo =
            name.starts_with("CARGO") && !kept.iter().any(|start| name.starts_with(start));
        let of_rustc = name.starts_with("RUSTC") || name.ends_with("RUSTFLAGS");
        if of_cargo || of_rustc || matches!(name, "RUSTUP_TOOLCHAIN" | "RUST_BACKTRACE") {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn tool(name: &str, tool: Tool, expect: Expect) -> Case {
    Case { name: format!("tool/{name}"), doing: Doing::Tool(tool, expect) }
}

pub fn all() -> Vec<Case> {
    let xtask = |name: &str, args: &[&str], expect: Expect| tool(name, Tool::xtask(args), expect);
    let mut cases = Vec::new();
    for verb in ["setup", "build", "run", "test", "bench", "size", "init", "lint", "fuzz", "clean"]
    {
        cases.push(xtask(
            &format!("help-{verb}"),
            &[verb, "--help"],
            Expect::status(0).out(&format!("Usage: cargo xtask {verb}")).stderr(""),
        ));
    }
    let wrong = |what: &str| Expect::status(2).stdout("").err(what);
    cases.extend([
        xtask("no-verb", &[], wrong("Usage: cargo xtask")),
        xtask("unknown-verb", &["fly"], wrong("unrecognized subcommand 'fly'")),
        xtask("fuzz-targets", &["fuzz"], Expect::status(0).out("filesystem\n")),
        xtask(
            "fuzz-unknown",
            &["fuzz", "toaster"],
            Expect::status(1).stdout("").err_line("no fuzz target `toaster`"),
        ),
        xtask("unknown-option", &["run", "hello", "--sideways"], wrong("--sideways")),
        xtask(
            "wrong-memory",
            &["run", "hello", "--memory", "lots"],
            wrong("`lots` is not an amount of memory"),
        ),
        xtask("wrong-machine", &["run", "hello", "--machine", "toaster"], wrong("toaster")),
        xtask("wrong-timeout", &["run", "hello", "--timeout", "soon"], wrong("--timeout")),
        xtask("no-processor", &["run", "hello", "--smp", "0"], wrong("0 is not in 1..=255")),
        xtask(
            "unknown-example",
            &["run", "no-such-example"],
            Expect::status(1)
                .stdout("")
                .err_line("error: there is no example `no-such-example`; there are: axum-service"),
        ),
        xtask(
            "missing-image",
            &["run", "no/such/image"],
            Expect::status(1).stdout("").err_line("error: there is nothing at no/such/image"),
        ),
        xtask(
            "directory-without-crate",
            &["run", "./docs"],
            Expect::status(1).stdout("").err_line("is a directory without a Cargo.toml"),
        ),
        xtask(
            "not-an-image",
            &["run", "README.md"],
            Expect::status(1).stdout("").err_line("the image is not an ELF file"),
        ),
        xtask("run", &["run", "hello"], Expect::status(0).stdout("Hello, world!\n").stderr("")),
        xtask("build", &["build", "hello"], Expect::status(0).out("/hello\n")),
        xtask("size", &["size", "hello"], Expect::status(0).out("std").out("kernel: sched")),
        xtask("setup-again", &["setup"], Expect::status(0).out("target/skete/sdk\n").stderr("")),
        tool(
            "standard-input",
            Tool::xtask(&["run", "json"]).stdin("{\"b\":1,\"a\":2}"),
            Expect::status(0).stdout("{\n  \"a\": 2,\n  \"b\": 1\n}\n").stderr(""),
        ),
        tool(
            "closed-standard-input",
            Tool::new(Program::Shell("exec \"$@\" <&-"), &["run", "stdio", "--", "cat"]),
            Expect::status(0).stdout("").stderr("0 bytes\n"),
        ),
        tool(
            "reader-goes-away",
            Tool::new(
                Program::Shell("\"$@\" | head -n 1"),
                &["run", "stdio", "--", "numbers", "1000000000"],
            ),
            Expect::status(0).stdout("0\n"),
        ),
        tool(
            "reader-of-size-is-gone",
            Tool::new(Program::Shell("{ \"$@\"; echo status $? >&2; } | true"), &["size", "hello"]),
            Expect::status(0).stdout("").err("status 141").err_not("panicked"),
        ),
        // `script` runs a command on a terminal of its own.
        tool(
            "terminals",
            Tool::new(
                Program::Shell("script -qec \"$*\" /dev/null </dev/null"),
                &["run", "pipes", "--", "terminals"],
            ),
            Expect::status(0).out("[true, true, true]"),
        ),
        tool(
            "no-terminals",
            Tool::xtask(&["run", "pipes", "--", "terminals"]),
            Expect::status(0).stdout("[false, false, false]\n"),
        ),
        xtask(
            "timeout",
            &["run", "fault", "--timeout", "2", "--", "spin"],
            Expect::status(124).stdout("spinning\n").err_line("ran longer than 2 s"),
        ),
        Case::steps("tool/interrupt", interrupt),
    ]);
    let quiet = |status: i32| Expect::status(status).stdout("").stderr("");
    for (status, expect) in [
        ("0", quiet(0)),
        ("1", quiet(1)),
        ("128", quiet(128)),
        ("255", quiet(255)),
        ("300", quiet(300 - 256)),
        ("-1", quiet(255)),
        // Success would be a lie.
        ("256", Expect::status(1).stdout("").err_line("status is 256")),
    ] {
        let args = ["run", "fault", "--", "exit", status];
        cases.push(xtask(&format!("exit-{status}"), &args, expect));
    }
    cases
}

/// Ctrl-C ends the tool by that signal, and QEMU with it (the pool looks for what is left).
fn interrupt(bench: &Bench, mark: &str) -> Result<()> {
    let image = bench.image("fault")?.to_string_lossy().into_owned();
    // Who is started in the background of a script ignores the signal, and so would the tool.
    let heeds = Program::Shell("exec env --default-signal=INT \"$@\"");
    let mut command = Tool::new(heeds, &["run", &image, "--", "spin"]).command(bench, mark)?;
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    // The program says when it has begun.
    let mut word = [0; 8];
    // It stays open: a runner whose output nobody reads ends by itself.
    let mut stdout = child.stdout.take().context("no standard output")?;
    let begun = stdout.read_exact(&mut word);
    let qemu = leftovers::marked(mark).len();
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )?;
    let status = wait(&mut child, Duration::from_secs(20))?;
    begun.context("the program did not begin")?;
    ensure!(&word == b"spinning", "the program says {:?}", String::from_utf8_lossy(&word));
    ensure!(qemu >= 2, "only {qemu} processes were running");
    match status {
        Some(130) => Ok(()),
        Some(status) => bail!("the exit status is {status}, not 130 (ended by SIGINT)"),
        None => bail!("it did not end within 20 s"),
    }
}
