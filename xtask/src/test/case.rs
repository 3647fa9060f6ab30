//! A case: something that is run, and what must come of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::cases::tools::Tool;
use super::expect::{Expect, Got};
use crate::image::{self, BuildOptions};
use crate::paths;
use crate::qemu::{Bytes, Machine, Vm};
use crate::root::Root;
use crate::sdk::Sdk;

/// How long a case may take when it says nothing else. Generous: the host may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What the cases share: the SDK and the images that are built from the repository's programs.
pub struct Bench {
    /// The SDK.
    pub sdk: Sdk,
    own: Own,
    images: BTreeMap<String, PathBuf>,
}

impl Bench {
    /// Builds all examples and test programs.
    pub fn new(sdk: Sdk, own: Own) -> Result<Bench> {
        let options = BuildOptions { quiet: true, ..BuildOptions::default() };
        let mut images = BTreeMap::new();
        for room in ["examples", "tests/programs"] {
            for path in image::build_all(&sdk, &paths::root().join(room), &options)? {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                images.insert(name, path);
            }
        }
        Ok(Bench { sdk, own, images })
    }

    /// This very program, as it was when the tests began.
    pub fn xtask(&self) -> &Path {
        &self.own.path
    }

    /// The image of a program of the repository.
    pub fn image(&self, program: &str) -> Result<&Path> {
        self.images
            .get(program)
            .map(PathBuf::as_path)
            .with_context(|| format!("no program is called {program}"))
    }
}

/// A second name for this very program, for the cases that run it as a user would: the first one
/// points to another file as soon as somebody builds xtask again.
pub struct Own {
    path: PathBuf,
    _directory: TempDir,
}

impl Own {
    /// Makes the name; it is gone when this is dropped.
    pub fn new() -> Result<Own> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let generated = paths::generated();
        fs::create_dir_all(&generated)?;
        let directory = tempfile::Builder::new().prefix("test-").tempdir_in(generated)?;
        let path = directory.path().join("xtask");
        // On another file system it is a copy, with the time by which the SDK knows it.
        if fs::hard_link(&program, &path).is_err() {
            let copied = || -> std::io::Result<()> {
                fs::copy(&program, &path)?;
                let time = fs::metadata(&program)?.modified()?;
                fs::File::open(&path)?.set_modified(time)
            };
            copied().with_context(|| format!("cannot copy {}", program.display()))?;
        }
        Ok(Own { path, _directory: directory })
    }
}

/// Something that is run, and what must come of it.
pub struct Case {
    /// Its name, a path.
    pub name: String,
    /// What is run.
    pub doing: Doing,
}

/// What a case runs.
pub enum Doing {
    /// Boots an image.
    Guest(Box<Guest>, Expect),
    /// Runs this very program, or cargo, as a user would.
    Tool(Tool, Expect),
    /// Anything else.
    Steps(Steps),
}

/// What a case does when it is more than one run. Each virtual machine that it starts bears the mark
/// as its name.
pub type Steps = fn(&Bench, mark: &str) -> Result<()>;

impl Case {
    /// A case that does more than one run.
    pub fn steps(name: impl Into<String>, steps: Steps) -> Case {
        Case { name: name.into(), doing: Doing::Steps(steps) }
    }

    /// Whether it measures something that others would disturb.
    pub fn alone(&self) -> bool {
        self.name.starts_with("alone/")
    }

    /// Whether it needs programs that speak with machines: curl, wrk, dnsmasq and so on.
    pub fn needs_clients(&self) -> bool {
        self.needs_namespace() || self.name.starts_with("net/user/")
    }

    /// Whether it needs a network namespace of its own.
    pub fn needs_namespace(&self) -> bool {
        self.name.starts_with("net/tap/")
    }

    /// The kind of machine that it boots, if it is bound to one.
    pub fn machine(&self) -> Option<Machine> {
        match &self.doing {
            Doing::Guest(guest, _) => Some(guest.machine),
            _ => None,
        }
    }

    /// Runs the case. The error is what a person needs to see. `mark` is unique to this run of it.
    pub fn run(&self, bench: &Bench, mark: &str) -> Result<()> {
        match &self.doing {
            Doing::Guest(guest, expect) => expect.judge(&guest.run(bench, mark)?),
            Doing::Tool(tool, expect) => expect.judge(&tool.run(bench, mark)?),
            Doing::Steps(steps) => steps(bench, mark),
        }
    }
}

/// A program to boot.
#[derive(Clone)]
pub struct Guest {
    /// The program's name, or the maker of another file.
    pub image: Image,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Its standard input; none: end of file at once.
    pub stdin: Option<Vec<u8>>,
    /// The machine's memory in bytes.
    pub memory: u64,
    /// How many processors the machine has.
    pub smp: u32,
    /// The kind of machine.
    pub machine: Machine,
    /// When to end it.
    pub timeout: Duration,
    /// The kernel's log level.
    pub log: Option<String>,
    /// Its initial file tree.
    pub root: Option<PathBuf>,
    /// A file for the loader's second module, as it is.
    pub raw_root: Option<PathBuf>,
    /// More arguments for QEMU.
    pub qemu: Vec<String>,
}

/// Where a guest's image comes from.
#[derive(Clone, Copy)]
pub enum Image {
    /// A program of the repository.
    Program(&'static str),
    /// A program of the repository that is built when the case runs.
    Built(&'static str),
    /// A file made from the image of `hello`.
    Made(Make),
}

/// Makes another file from the image of `hello`.
pub type Make = fn(hello: &[u8]) -> Result<Vec<u8>>;

impl Guest {
    /// A program in a machine with the default settings.
    pub fn new(program: &'static str) -> Guest {
        Guest {
            image: Image::Program(program),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            memory: 64 << 20,
            smp: 1,
            machine: Machine::Microvm,
            timeout: TIMEOUT,
            log: None,
            root: None,
            raw_root: None,
            qemu: Vec::new(),
        }
    }

    /// A program that is built when the case runs.
    pub fn built(program: &'static str) -> Guest {
        Guest { image: Image::Built(program), ..Guest::new(program) }
    }

    /// Another image than a program's.
    pub fn made(make: Make) -> Guest {
        Guest { image: Image::Made(make), ..Guest::new("hello") }
    }

    /// With these arguments.
    pub fn args(mut self, args: &[&str]) -> Guest {
        self.args = args.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With this much memory.
    pub fn memory(mut self, bytes: u64) -> Guest {
        self.memory = bytes;
        self
    }

    /// With so many processors.
    pub fn smp(mut self, processors: u32) -> Guest {
        self.smp = processors;
        self
    }

    /// With this standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Guest {
        self.stdin = Some(bytes.into());
        self
    }

    /// With these files.
    pub fn root(mut self, root: &Path) -> Guest {
        self.root = Some(root.to_owned());
        self
    }

    /// On this kind of machine.
    pub fn on(mut self, machine: Machine) -> Guest {
        self.machine = machine;
        self
    }

    /// The machine that boots `image`.
    pub fn vm(&self, sdk: &Sdk, image: &Path, mark: &str) -> Vm {
        let mut vm = Vm::new(sdk, image);
        vm.machine = self.machine;
        vm.memory = Bytes(self.memory);
        vm.smp = self.smp;
        vm.timeout = Some(self.timeout);
        vm.args.clone_from(&self.args);
        vm.env.clone_from(&self.env);
        vm.log.clone_from(&self.log);
        vm.root = match (&self.root, &self.raw_root) {
            (Some(root), _) => Some(Root::Pack(root.clone())),
            (None, Some(file)) => Some(Root::File(file.clone())),
            (None, None) => None,
        };
        vm.qemu_args = ["-name", mark].into_iter().map(Into::into).collect();
        vm.qemu_args.extend(self.qemu.iter().map(Into::into));
        vm
    }

    /// Boots it and collects what comes of it.
    pub fn run(&self, bench: &Bench, mark: &str) -> Result<Got> {
        match self.image {
            Image::Program(name) => self.boot(&bench.sdk, bench.image(name)?, mark),
            Image::Built(name) => {
                let options = BuildOptions { quiet: true, ..BuildOptions::default() };
                let image = image::build_with(&bench.sdk, name, &options)?;
                self.boot(&bench.sdk, &image, mark)
            }
            Image::Made(make) => {
                let bytes = make(&fs::read(bench.image("hello")?)?)?;
                let file =
                    tempfile::NamedTempFile::new().context("cannot make a file for the image")?;
                fs::write(file.path(), bytes)?;
                self.boot(&bench.sdk, file.path(), mark)
            }
        }
    }

    /// Boots `image` with these settings.
    pub fn boot(&self, sdk: &Sdk, image: &Path, mark: &str) -> Result<Got> {
        let outcome = self.vm(sdk, image, mark).capture(self.stdin.as_deref())?;
        Ok(Got {
            command: self.command(image),
            status: outcome.status,
            stdout: outcome.stdout,
            stderr: outcome.stderr,
            timed_out: outcome.timed_out,
        })
    }

    /// A command that does the same by hand.
    fn command(&self, image: &Path) -> String {
        let what = match self.image {
            Image::Program(name) | Image::Built(name) => name.to_owned(),
            Image::Made(_) => image.display().to_string(),
        };
        let machine = format!("{:?}", self.machine).to_lowercase();
        let mut command =
            format!("cargo xtask run {what} --machine {machine} --memory {}K", self.memory >> 10);
        if self.smp != 1 {
            let _ = write!(command, " --smp {}", self.smp);
        }
        if let Some(root) = self.root.as_ref().or(self.raw_root.as_ref()) {
            let _ = write!(command, " --root {root:?}");
        }
        for word in &self.qemu {
            let _ = write!(command, " --qemu={word}");
        }
        for (key, value) in &self.env {
            let _ = write!(command, " --env {:?}", format!("{key}={value}"));
        }
        if !self.args.is_empty() {
            command.push_str(" --");
            for word in &self.args {
                let _ = if word.contains(char::is_whitespace) {
                    write!(command, " {word:?}")
                } else {
                    write!(command, " {word}")
                };
            }
        }
        if let Some(stdin) = &self.stdin {
            let _ = write!(command, " < {} bytes", stdin.len());
        }
        command
    }
}
