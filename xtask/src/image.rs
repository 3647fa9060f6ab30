//! Images: a program is an example's name, a crate's directory, or an image built before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use skete_names::Keep;

use crate::hash::Key;
use crate::patches::{self, Patch};
use crate::root::{baked, hermit};
use crate::sdk::{self, Sdk, TARGET};
use crate::{paths, process, root};

/// Where programs of the repository lie, which are built by their names alone.
pub const ROOMS: [&str; 3] = ["examples", "tests/programs", "tests/ecosystem"];

/// Builds a program into an image; prints the image's path as the last line
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask build hello
  cargo xtask build ../my-app --debug
  cargo xtask build ../my-app --bin server --features tls
  cargo xtask build ../my-app --root ../my-files
  cargo xtask build ../my-app --root ../my-files --format hermit
  cargo xtask build hello --config 'profile.release.lto=\"fat\"' --config 'profile.release.opt-level=\"z\"'")]
pub struct BuildArgs {
    /// An example's name, or the path to a crate
    what: String,

    #[command(flatten)]
    profile: ProfileArgs,

    /// Write a stripped copy and print that one's path: without symbols, but with the names that
    /// backtraces show, or without these as well
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "symbols"
    )]
    strip: Option<Strip>,

    /// Put these files into the image: a directory, or a tar archive (.tar, .tar.gz)
    #[arg(long, value_name = "DIR", env = baked::VARIABLE)]
    root: Option<PathBuf>,

    /// The image's format
    #[arg(long, value_enum, default_value = "elf")]
    format: Format,
}

/// An image's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An ELF file, with the files of --root inside
    Elf,
    /// Hermit's: a compressed archive of program, configuration and files (hermit.toml in --root, if there
    /// is one, says how it is started)
    Hermit,
}

/// What a stripped image goes without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strip {
    /// Symbols and debug information; the table of names stays.
    Symbols,
    /// The table of names too: backtraces show addresses.
    All,
}

/// How a program is compiled, on the command line.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Build")]
pub struct ProfileArgs {
    /// Build with the profile `dev` instead of `release`
    #[arg(long, conflicts_with = "profile")]
    debug: bool,

    /// Build with this cargo profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// The program to build, where a crate has several
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,

    /// The crate's features, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    features: Vec<String>,

    /// A setting for cargo, as `cargo --config` takes it
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
}

impl ProfileArgs {
    /// The options that these arguments mean.
    pub fn options(&self) -> BuildOptions {
        let profile = match (&self.profile, self.debug) {
            (Some(name), _) => Profile::Custom(name.clone()),
            (None, true) => Profile::Debug,
            (None, false) => Profile::Release,
        };
        BuildOptions {
            profile,
            quiet: false,
            config: self.config.clone(),
            features: self.features.clone(),
            bin: self.bin.clone(),
            root: None,
        }
    }
}

/// A cargo profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// `release`
    #[default]
    Release,
    /// `dev`
    Debug,
    /// One of the crate's own.
    Custom(String),
}

/// How a program is compiled.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// The cargo profile.
    pub profile: Profile,
    /// Whether cargo shows only warnings and errors.
    pub quiet: bool,
    /// Settings for cargo, `KEY=VALUE`.
    pub config: Vec<String>,
    /// The crate's features.
    pub features: Vec<String>,
    /// The program to build, where a crate has several.
    pub bin: Option<String>,
    /// The initial file tree in the image: a directory or an archive.
    pub root: Option<PathBuf>,
}

/// Runs `cargo xtask build`.
pub fn run(args: BuildArgs) -> Result<()> {
    let root = args.root.map(|root| {
        root::check(&root)?;
        fs::canonicalize(&root).with_context(|| format!("cannot find {}", root.display()))
    });
    let root = root.transpose()?;
    let options = BuildOptions {
        root: root.clone().filter(|_| args.format == Format::Elf),
        ..args.profile.options()
    };
    let image = build(&args.what, &options)?;
    let image = match args.strip {
        Some(strip) => self::strip(&image, strip)?,
        None => image,
    };
    let image = match args.format {
        Format::Elf => image,
        Format::Hermit => hermit::write(&image, root.as_deref())?,
    };
    println!("{}", image.display());
    Ok(())
}

/// Builds a program, after setting up what is missing, and gives the path of its image, an ELF
/// file with symbols. `what` is an example's name, a directory with a Cargo.toml, or an image.
pub fn build(what: &str, options: &BuildOptions) -> Result<PathBuf> {
    check(what)?;
    build_with(&sdk::ensure()?, what, options)
}

/// Whether `what` names something that can be built or run: known at once, before anything is set
/// up for it.
pub fn check(what: &str) -> Result<()> {
    Source::find(what).map(drop)
}

/// [`build`] with an SDK that is up to date.
pub fn build_with(sdk: &Sdk, what: &str, options: &BuildOptions) -> Result<PathBuf> {
    let source = match Source::find(what)? {
        Source::Image(image) => return Ok(image),
        source => source,
    };
    let mut images = build_source(sdk, &source, options)?;
    match images.len() {
        1 => Ok(images.remove(0)),
        0 => bail!(
            "{what} has no program to build, only a library; add src/main.rs or name another crate"
        ),
        _ => {
            let names =
                images.iter().filter_map(|path| path.file_stem()?.to_str()).collect::<Vec<_>>();
            bail!("{what} has several programs; choose one with --bin: {}", names.join(", "))
        }
    }
}

/// Builds every program of a crate or a workspace and gives the paths of all their images.
pub fn build_all(sdk: &Sdk, directory: &Path, options: &BuildOptions) -> Result<Vec<PathBuf>> {
    build_source(sdk, &Source::Crate(directory.to_path_buf()), options)
}

/// Writes a stripped copy beside an image and gives its path.
pub fn strip(image: &Path, strip: Strip) -> Result<PathBuf> {
    let (suffix, keep) = match strip {
        Strip::Symbols => (".stripped", Keep::Names),
        Strip::All => (".bare", Keep::Nothing),
    };
    let mut name = image.file_name().context("an image without a name")?.to_owned();
    name.push(suffix);
    let stripped = image.with_file_name(name);
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let bytes = skete_names::strip(&bytes, keep)
        .with_context(|| format!("{} cannot be stripped", image.display()))?;
    sdk::replace(&stripped, &bytes)?;
    Ok(stripped)
}

/// What a user's word means.
enum Source {
    /// A crate or workspace.
    Crate(PathBuf),
    /// A package of a workspace of ours.
    Package(PathBuf, String),
    /// An image.
    Image(PathBuf),
}

impl Source {
    fn find(what: &str) -> Result<Source> {
        let path = Path::new(what);
        let plain = !what.contains('/');
        if plain {
            for room in ROOMS.map(|room| paths::root().join(room)) {
                if room.join(what).join("Cargo.toml").is_file() {
                    return Ok(match room.join("Cargo.toml").is_file() {
                        true => Source::Package(room, what.to_owned()),
                        false => Source::Crate(room.join(what)),
                    });
                }
            }
        }
        if path.is_dir() {
            return match path.join("Cargo.toml").is_file() {
                true => Ok(Source::Crate(path.to_path_buf())),
                false => {
                    bail!("{what} is a directory without a Cargo.toml; name a crate's directory")
                }
            };
        }
        if path.file_name().is_some_and(|name| name == "Cargo.toml") && path.is_file() {
            return Ok(Source::Crate(path.parent().unwrap_or(path).to_path_buf()));
        }
        if path.exists() {
            return Ok(Source::Image(path.to_path_buf()));
        }
        if plain {
            bail!("there is no example `{what}`; there are: {}", examples().join(", "));
        }
        bail!("there is nothing at {what}; name an example, a crate's directory or an image")
    }
}

/// The names of the examples.
fn examples() -> Vec<String> {
    let entries = fs::read_dir(paths::root().join(ROOMS[0])).into_iter().flatten().flatten();
    let crates = entries.filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut names: Vec<String> =
        crates.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn build_source(sdk: &Sdk, source: &Source, options: &BuildOptions) -> Result<Vec<PathBuf>> {
    let (directory, package) = match source {
        Source::Crate(directory) => (directory, None),
        Source::Package(workspace, package) => (workspace, Some(package)),
        Source::Image(image) => return Ok(vec![image.clone()]),
    };
    let directory = fs::canonicalize(directory)
        .with_context(|| format!("cannot find {}", directory.display()))?;
    let target_dir = target_dir(&directory)?;
    let mut lock = patches::lock::Kept::begin(&directory, &target_dir)?;
    let patches = patches::for_program(sdk, &directory, &target_dir)?;
    lock.keep(&patches)?;
    let mut cargo = process::cargo();
    cargo.args(["build", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    match &options.profile {
        Profile::Release => cargo.arg("--release"),
        Profile::Debug => &mut cargo,
        Profile::Custom(name) => cargo.args(["--profile", name]),
    };
    cargo.args(package.iter().flat_map(|name| ["--package", name]));
    match &options.bin {
        Some(name) => cargo.args(["--bin", name]),
        None => cargo.arg("--bins"),
    };
    if options.quiet {
        cargo.arg("--quiet");
    }
    if !options.features.is_empty() {
        cargo.args(["--features", &options.features.join(",")]);
    }
    cargo.args(options.config.iter().flat_map(|setting| ["--config", setting]));
    cargo
        .args(patches.iter().flat_map(Patch::arguments))
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(&directory)
        .env("RUSTC", &sdk.rustc)
        .env_remove(baked::VARIABLE)
        .envs(options.root.iter().map(|root| (baked::VARIABLE, root)))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo.output().context("cannot start cargo")?;
    lock.put_back()?;
    if !output.status.success() {
        bail!(
            "{} does not build",
            package.cloned().unwrap_or_else(|| directory.display().to_string())
        );
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs =
        artifacts.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    Ok(programs.collect())
}

/// Programs are built below our own directory; crates of one workspace share a place.
pub fn target_dir(directory: &Path) -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .current_dir(directory);
    let manifest = PathBuf::from(process::output(&mut cargo)?.trim());
    let workspace = manifest.parent().unwrap_or(directory);
    let name = workspace.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let key = Key::new("programs").text(&workspace.to_string_lossy()).finish();
    Ok(paths::generated().join("programs").join(format!("{name}-{}", &key[..8])))
}
