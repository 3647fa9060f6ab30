//! Finds a Rust compiler together with the source of its own standard library.
//!
//! The two must be of the same release: a library is written for exactly one compiler.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::{paths, process};

/// The oldest release whose standard library Skete's changes fit.
pub const OLDEST: Release = Release { minor: 96, patch: 0 };

/// A Rust release, `1.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}.{}", self.minor, self.patch)
    }
}

impl FromStr for Release {
    type Err = anyhow::Error;

    /// Reads `1.96.0`, also with something behind it, as `1.97.0-nightly`.
    fn from_str(text: &str) -> Result<Release> {
        let numbers = text.split(['-', '+', '~', ' ']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        match (parts.next(), parts.next(), parts.next().unwrap_or(Some(0))) {
            (Some(Some(1)), Some(Some(minor)), Some(patch)) => Ok(Release { minor, patch }),
            _ => bail!("`{text}` is not a Rust release"),
        }
    }
}

/// A compiler and the library source that belongs to it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler's program.
    pub rustc: PathBuf,
    /// All of `rustc -vV`.
    pub version: String,
    /// The compiler's release.
    pub release: Release,
    /// Whether it is a nightly compiler, which takes unstable options as it is.
    pub nightly: bool,
    /// The machine that the compiler runs on, as a target triple.
    pub host: String,
    /// The compiler's own sysroot.
    pub sysroot: PathBuf,
    /// The directory `library` of the source.
    pub library: PathBuf,
}

/// Why a compiler cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not say who it is.
    NoCompiler,
    /// Its library source is not installed.
    NoLibrary,
    /// The library source is of another release.
    Mismatch {
        /// The compiler's release.
        compiler: String,
        /// The library's release.
        library: String,
        /// Where the library lies.
        path: PathBuf,
    },
    /// It is too old.
    TooOld(Release),
}

/// What a search gave.
pub struct Search {
    /// The first toolchain that can be used.
    pub found: Option<Toolchain>,
    /// The compilers that cannot be used, and why.
    pub refused: Vec<(PathBuf, Refusal)>,
}

impl Search {
    /// One line for a person: why there is no usable compiler.
    pub fn explain(&self) -> String {
        let mismatch = self.refused.iter().find(|(_, why)| matches!(why, Refusal::Mismatch { .. }));
        match mismatch
            .or_else(|| self.refused.iter().find(|(_, why)| matches!(why, Refusal::TooOld(_))))
        {
            Some((rustc, Refusal::Mismatch { compiler, library, path })) => format!(
                "{} is Rust {compiler}, but the library source in {} is of {library}; install both of the same release",
                rustc.display(),
                path.display()
            ),
            Some((rustc, Refusal::TooOld(release))) => {
                format!(
                    "{} is Rust {release}, older than {OLDEST}; install a newer one",
                    rustc.display()
                )
            }
            _ => "there is no Rust compiler with its library source (component `rust-src`)"
                .to_owned(),
        }
    }
}

/// Looks for compilers: rustup's for this directory first, then the others of rustup, then the
/// distribution's.
pub fn search() -> Search {
    let mut seen = BTreeSet::new();
    let mut refused = Vec::new();
    for rustc in candidates() {
        let Ok(mut toolchain) = inspect(&rustc) else {
            refused.push((rustc, Refusal::NoCompiler));
            continue;
        };
        if !seen.insert(toolchain.sysroot.clone()) {
            continue;
        }
        match check(&toolchain) {
            Ok(library) => {
                toolchain.library = library;
                return Search { found: Some(toolchain), refused };
            }
            Err(why) => refused.push((toolchain.rustc, why)),
        }
    }
    Search { found: None, refused }
}

/// The compiler that the user has chosen.
pub fn chosen() -> Option<PathBuf> {
    std::env::var_os("SKETE_RUSTC").map(PathBuf::from)
}

fn candidates() -> Vec<PathBuf> {
    // An explicit choice is the only one.
    if let Some(rustc) = chosen() {
        return vec![rustc];
    }
    let mut found = Vec::new();
    let active =
        Command::new("rustup").args(["which", "rustc"]).current_dir(paths::root()).output();
    if let Ok(output) = active
        && output.status.success()
    {
        found.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    for name in ["nightly", "stable"] {
        let Some(home) = &home else { break };
        let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let rustc = home.join("toolchains").join(format!("{name}-{host}")).join("bin/rustc");
        found.extend(rustc.is_file().then_some(rustc));
    }
    // The distribution's: the plain name, then versioned names, the newest first.
    let mut system = Vec::new();
    for dir in ["/usr/bin", "/usr/local/bin"] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(version) = name.to_str().and_then(|name| name.strip_prefix("rustc")) else {
                continue;
            };
            let release = match version.strip_prefix('-') {
                None if version.is_empty() => Release { minor: u32::MAX, patch: 0 },
                Some(number) => match number.parse::<Release>() {
                    Ok(release) => release,
                    Err(_) => continue,
                },
                None => continue,
            };
            system.push((release, entry.path()));
        }
    }
    system.sort();
    found.extend(system.into_iter().rev().map(|(_, path)| path));
    found
}

/// Asks a compiler who it is. The library is not looked for yet.
fn inspect(rustc: &Path) -> Result<Toolchain> {
    let version = process::output(Command::new(rustc).arg("-vV"))?;
    let field = |name: &str| {
        let line = version.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).with_context(|| format!("`{} -vV` gives no `{name}`", rustc.display()))
    };
    let release = field("release:")?;
    let sysroot = process::output(Command::new(rustc).args(["--print", "sysroot"]))?;
    Ok(Toolchain {
        rustc: rustc.to_path_buf(),
        release: release.parse()?,
        nightly: release.contains("nightly") || release.contains("dev"),
        host: field("host:")?.to_owned(),
        sysroot: PathBuf::from(sysroot.trim()),
        library: PathBuf::new(),
        version,
    })
}

/// Every toolchain of this machine that can be used.
#[cfg(test)]
pub fn usable() -> Vec<Toolchain> {
    let candidates = candidates().into_iter().filter_map(|rustc| inspect(&rustc).ok());
    candidates
        .filter_map(|toolchain| {
            let library = check(&toolchain).ok()?;
            Some(Toolchain { library, ..toolchain })
        })
        .collect()
}

/// The library that belongs to a compiler, or why there is none.
fn check(toolchain: &Toolchain) -> Result<PathBuf, Refusal> {
    if toolchain.release < OLDEST {
        return Err(Refusal::TooOld(toolchain.release));
    }
    let source = toolchain.sysroot.join("lib/rustlib/src/rust");
    let library = source.join("library");
    if !library.join("std/src/lib.rs").is_file() {
        return Err(Refusal::NoLibrary);
    }
    Evidence::gather(&source).fits(toolchain.release).map_err(|found| Refusal::Mismatch {
        compiler: toolchain.release.to_string(),
        library: found,
        path: library.clone(),
    })?;
    Ok(library)
}

/// What a library's source says about its release.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    /// The release that the source's directory names.
    named: Option<Release>,
    /// The highest release in which one of its features became stable.
    since: Option<Release>,
    /// Whether features wait for the release that a nightly becomes.
    nightly: bool,
}

impl Evidence {
    fn gather(source: &Path) -> Evidence {
        // Debian unpacks the source to a directory that names its release.
        let named = fs::canonicalize(source).ok().and_then(|dir| {
            dir.file_name()?.to_str()?.strip_prefix("rustc-")?.parse::<Release>().ok()
        });
        let mut evidence = Evidence { named, ..Evidence::default() };
        for entry in
            WalkDir::new(source.join("library/core/src")).follow_links(true).into_iter().flatten()
        {
            if entry.path().extension().is_some_and(|extension| extension == "rs")
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                evidence.read(&text);
            }
        }
        evidence
    }

    fn read(&mut self, text: &str) {
        // Other attributes name releases of the future.
        let attributes =
            text.split("stable(feature = ").skip(1).filter_map(|piece| piece.split(')').next());
        for since in attributes
            .filter_map(|attribute| attribute.split("since = \"").nth(1)?.split('"').next())
        {
            self.nightly |= since == "CURRENT_RUSTC_VERSION";
            self.since = self.since.max(since.parse().ok());
        }
    }

    /// Whether the library is of the compiler's release; the error is the library's.
    fn fits(self, compiler: Release) -> Result<(), String> {
        if let Some(named) = self.named
            && named != compiler
        {
            return Err(named.to_string());
        }
        match self.since {
            Some(since) if since.minor == compiler.minor => Ok(()),
            Some(since) if since.minor + 1 == compiler.minor && self.nightly => Ok(()),
            Some(since) => Err(format!("1.{}", since.minor)),
            None => Err("an unknown release".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(minor: u32) -> Release {
        Release { minor, patch: 0 }
    }

    #[test]
    fn releases_are_read() -> Result<()> {
        assert_eq!("1.96.0".parse::<Release>()?, release(96));
        assert_eq!("1.97.0-nightly".parse::<Release>()?, release(97));
        assert_eq!("1.85".parse::<Release>()?, release(85));
        assert_eq!("1.96.1+dfsg1-1~deb12u2".parse::<Release>()?, Release { minor: 96, patch: 1 });
        assert!("2.0.0".parse::<Release>().is_err());
        assert!("CURRENT_RUSTC_VERSION".parse::<Release>().is_err());
        assert!(release(96) < Release { minor: 96, patch: 1 });
        Ok(())
    }

    #[test]
    fn a_library_must_be_of_the_compilers_release() {
        let library = |named: Option<u32>, since: Option<u32>, nightly| Evidence {
            named: named.map(release),
            since: since.map(release),
            nightly,
        };
        assert_eq!(library(Some(96), Some(96), false).fits(release(96)), Ok(()));
        assert_eq!(library(None, Some(96), true).fits(release(97)), Ok(()));
        assert_eq!(library(None, Some(96), false).fits(release(97)), Err("1.96".into()));
        assert_eq!(library(Some(96), Some(96), false).fits(release(97)), Err("1.96.0".into()));
        assert_eq!(library(None, Some(95), true).fits(release(97)), Err("1.95".into()));
        assert_eq!(library(None, Some(96), false).fits(release(95)), Err("1.96".into()));
        assert!(library(None, None, false).fits(release(95)).is_err());
    }

    #[test]
    fn the_highest_stable_feature_tells_the_release() {
        let mut evidence = Evidence::default();
        evidence.read(r#"#[stable(feature = "a", since = "1.9.0")] #[stable(feature = "b", since = "1.96.0")]
            #[deprecated(since = "1.99.0", note = "soon")] #[unstable(feature = "c", issue = "1")]"#);
        assert_eq!((evidence.since, evidence.nightly), (Some(release(96)), false));
        evidence.read(r#"#[stable(feature = "c", since = "CURRENT_RUSTC_VERSION")]"#);
        assert_eq!((evidence.since, evidence.nightly), (Some(release(96)), true));
    }

    #[test]
    fn a_mismatch_is_explained_before_anything_else() {
        let mismatch = Refusal::Mismatch {
            compiler: "1.97.0".into(),
            library: "1.96.0".into(),
            path: "/src/library".into(),
        };
        let refused = vec![("/a/rustc".into(), Refusal::NoLibrary), ("/b/rustc".into(), mismatch)];
        let text = Search { found: None, refused }.explain();
        assert_eq!(
            text,
            "/b/rustc is Rust 1.97.0, but the library source in /src/library is of 1.96.0; install both of the same release"
        );
    }
}
