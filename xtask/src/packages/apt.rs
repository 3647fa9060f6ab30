//! apt, with a package index of our own below `target/`: the machine's own index, sources and
//! settings stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::files_with;
use super::plan::{Plan, backports_suite};
use crate::progress::Step;
use crate::{paths, process};

/// What the machine runs.
pub struct System {
    /// The distribution: `debian`, `ubuntu`, …
    pub id: String,
    /// Its release's code name.
    pub codename: String,
}

impl System {
    /// Reads `/etc/os-release`.
    pub fn read() -> Result<System> {
        let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        System::parse(&text).context("/etc/os-release names no VERSION_CODENAME")
    }

    fn parse(text: &str) -> Option<System> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(line.trim_matches('"').to_owned())
        };
        Some(System { id: field("ID")?, codename: field("VERSION_CODENAME")? })
    }
}

/// Installed packages and their versions.
pub fn installed() -> Result<BTreeMap<String, String>> {
    let format = "${db:Status-Status} ${Package} ${Version}\n";
    let list =
        process::output(Command::new("dpkg-query").args(["--show", "--showformat", format]))?;
    let installed = list.lines().filter_map(|line| line.strip_prefix("installed "));
    Ok(installed
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| (name.into(), version.into()))
        .collect())
}

/// A package index of our own. Whoever has it is the only one, for apt refuses to work beside itself.
pub struct Index {
    dir: PathBuf,
    _lock: fs::File,
}

impl Index {
    /// Copies the machine's package sources, adds backports to Debian's where they are absent, and
    /// fetches the lists.
    pub fn open(system: &System) -> Result<Index> {
        let dir = paths::generated().join("apt");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock =
            fs::File::create(dir.join("lock")).context("cannot create the index's lock file")?;
        lock.lock().context("cannot lock the index of packages")?;
        let index = Index { dir, _lock: lock };
        let sources = index.dir.join("sources");
        if sources.exists() {
            fs::remove_dir_all(&sources)
                .with_context(|| format!("cannot renew {}", sources.display()))?;
        }
        for dir in ["sources", "lists/partial", "cache/archives/partial"] {
            let dir = index.dir.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let mut files = files_with(Path::new("/etc/apt/sources.list.d"), &["list", "sources"]);
        let single = PathBuf::from("/etc/apt/sources.list");
        files.extend(single.is_file().then_some(single));
        let mut texts = String::new();
        for file in files {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let mut name = file.file_name().unwrap_or_default().to_owned();
            if name == "sources.list" {
                name = "machine.list".into();
            }
            fs::write(sources.join(name), &text)?;
            texts.push_str(&text);
            texts.push('\n');
        }
        if system.id == "debian" && !texts.contains(&backports_suite(&system.codename)) {
            fs::write(
                sources.join("skete-backports.sources"),
                backports_source(&texts, &system.codename),
            )?;
        }
        let step = Step::new("fetching the lists of packages");
        let mut update = index.apt("apt-get");
        update.arg("update");
        // A source of someone else's that cannot be reached is no reason to stop.
        match process::output(&mut update) {
            Ok(_) => step.done(),
            Err(error) => eprintln!("skete: {error:#}"),
        }
        Ok(index)
    }

    /// The packages that matter here and the version that would be installed of each.
    pub fn available(&self) -> Result<BTreeMap<String, String>> {
        let names = process::output(self.apt("apt-cache").arg("pkgnames"))?;
        let wanted = |name: &&str| {
            let compiler =
                name.starts_with("rustc") || name.starts_with("rust-") && name.ends_with("src");
            let linker = name.strip_prefix("lld").is_some_and(|rest| {
                rest.is_empty()
                    || rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok())
            });
            compiler || linker || *name == "qemu-system-x86"
        };
        let names: Vec<&str> = names.lines().filter(wanted).collect();
        if names.is_empty() {
            bail!(
                "the lists of packages could not be fetched; is there a connection to the package server?"
            );
        }
        let policy =
            process::output(self.apt("apt-cache").arg("policy").args(&names).env("LC_ALL", "C"))?;
        Ok(candidates(&policy))
    }

    /// Downloads, into `directory`, the package whose name starts with `prefix` and that the first
    /// known one of `names` depends on; gives its file. Nothing is installed. With `suite` the newest
    /// one of that suite is taken.
    pub fn download(
        &self,
        names: &[&str],
        prefix: &str,
        suite: Option<&str>,
        directory: &Path,
    ) -> Result<PathBuf> {
        let depends = |name: &&str| {
            let mut depends = self.apt("apt-cache");
            if let Some(suite) = suite {
                depends.args(["-o", &format!("APT::Default-Release={suite}")]);
            }
            process::output(depends.args(["depends", "--important", name])).ok()
        };
        let Some(depends) = names.iter().find_map(depends) else {
            bail!("the lists of packages hold no {}", names.join(" or "));
        };
        let wanted = dependency(&depends, prefix).with_context(|| {
            format!(
                "the package {} depends on no {prefix}*",
                depends.lines().next().unwrap_or_default()
            )
        })?;
        self.fetch(wanted, directory)
    }

    /// Downloads a package into `directory`, which holds no other; gives its file. Nothing is installed.
    pub fn fetch(&self, package: &str, directory: &Path) -> Result<PathBuf> {
        let mut download = self.apt("apt-get");
        process::output(download.args(["download", package]).current_dir(directory))?;
        let mut files = files_with(directory, &["deb"]);
        files.pop().with_context(|| format!("apt-get downloaded no file for the package {package}"))
    }

    /// The commands that install a plan's packages; each needs root.
    pub fn commands(&self, plan: &Plan) -> Vec<Command> {
        let command = |group: &super::plan::Group| {
            let mut install = self.apt("apt-get");
            install.env("DEBIAN_FRONTEND", "noninteractive");
            install.args(["install", "--yes", "--no-install-recommends", "--no-remove"]);
            if let Some(suite) = &group.suite {
                install.args(["--target-release", suite]);
            }
            install.args(&group.packages);
            install
        };
        plan.groups.iter().map(command).collect()
    }

    /// Gives the index back to the user after sudo has written to it.
    pub fn own(&self) -> Result<()> {
        let owner = format!(
            "{}:{}",
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw()
        );
        process::run(Command::new("sudo").args(["chown", "-R", &owner]).arg(&self.dir))
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let dir = |name: &str| self.dir.join(name).display().to_string();
        for option in [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={}", dir("sources")),
            format!("Dir::State::lists={}", dir("lists")),
            format!("Dir::Cache={}", dir("cache")),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=2".to_owned(),
            "Acquire::http::Timeout=20".to_owned(),
            "Dpkg::Use-Pty=0".to_owned(),
        ] {
            apt.args(["-o", &option]);
        }
        apt
    }
}

/// An entry for the backports of a Debian release, from the server that the machine takes the
/// release itself from.
fn backports_source(sources: &str, codename: &str) -> String {
    let mut uri = "http://deb.debian.org/debian".to_owned();
    let mut key = "/usr/share/keyrings/debian-archive-keyring.gpg".to_owned();
    for stanza in sources.split("\n\n") {
        let field = |name: &str| {
            let line =
                stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim().to_owned())
        };
        if field("Suites").is_some_and(|suites| suites.split(' ').any(|suite| suite == codename)) {
            uri = field("URIs").unwrap_or(uri);
            key = field("Signed-By").filter(|key| key.starts_with('/')).unwrap_or(key);
            break;
        }
    }
    let suite = backports_suite(codename);
    format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {key}\n")
}

/// Finds a name in the output of `apt-cache depends`.
fn dependency<'a>(depends: &'a str, prefix: &str) -> Option<&'a str> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with(prefix))
}

/// Reads the output of `apt-cache policy`.
fn candidates(policy: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut package = "";
    for line in policy.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            found.insert(package.to_owned(), version.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\nVERSION_ID=\"12\"\n";
        let system = System::parse(text);
        assert_eq!(
            system.map(|system| (system.id, system.codename)),
            Some(("debian".into(), "bookworm".into()))
        );
        assert!(System::parse("ID=arch\n").is_none());
    }

    #[test]
    fn candidates_are_read() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n     \
                      1.96.0 500\n        500 http://deb.debian.org/debian-security bookworm-security/main\n\
                      rustc-none:\n  Installed: (none)\n  Candidate: (none)\n";
        let found = candidates(policy);
        assert_eq!(found.get("rustc-web").map(String::as_str), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn dependencies_are_found() {
        let depends = "linux-image-cloud-amd64\n  Depends: kmod\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(dependency(depends, "linux-image-"), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency(depends, "qemu"), None);
    }

    #[test]
    fn backports_come_from_the_machines_own_server() {
        let sources = "Types: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n\n\
                       Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nSigned-By: /k.gpg\n";
        let source = backports_source(sources, "bookworm");
        assert!(
            source.contains("URIs: http://mirror.example/debian\nSuites: bookworm-backports\n")
        );
        assert!(source.contains("Signed-By: /k.gpg"));
        assert!(
            backports_source("", "trixie")
                .contains("http://deb.debian.org/debian\nSuites: trixie-backports")
        );
    }
}
