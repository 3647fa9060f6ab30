//! Decides which packages to install. Facts go in, a plan comes out; nothing is touched here.

use std::collections::BTreeMap;

use crate::toolchain::{OLDEST, Release};

/// A program that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A compiler with its library source.
    Compiler,
    /// LLVM's linker.
    Linker,
    /// GNU objcopy.
    Objcopy,
    /// QEMU for x86-64.
    Qemu,
    /// Another program.
    Program {
        /// Its name.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
}

impl Need {
    /// What it is, for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Need::Compiler => "a Rust compiler with its library source",
            Need::Linker => "LLVM's linker (lld)",
            Need::Objcopy => "objcopy (binutils)",
            Need::Qemu => "QEMU for x86-64 (qemu-system-x86_64)",
            Need::Program { program, .. } => program,
        }
    }
}

/// How packages can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// This process is root.
    Root,
    /// sudo works without a password.
    Sudo,
    /// sudo asks for a password.
    SudoAsks,
    /// There is no sudo.
    None,
}

/// Everything that the decision rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What is missing.
    pub needs: Vec<Need>,
    /// The distribution release's code name.
    pub codename: String,
    /// Installed packages and their versions.
    pub installed: BTreeMap<String, String>,
    /// Packages that can be installed, and the version that would be.
    pub available: BTreeMap<String, String>,
    /// How packages can be installed.
    pub privilege: Privilege,
    /// Whether a person sits at a terminal.
    pub terminal: bool,
    /// Whether that person has agreed already.
    pub yes: bool,
}

/// What to do with the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Install at once.
    Install,
    /// Ask first.
    Ask,
    /// Only print the commands.
    Print,
}

/// Packages to install together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The suite to take them from (`apt-get -t`), where it is not the default one.
    pub suite: Option<String>,
    /// Their names.
    pub packages: Vec<String>,
}

/// What to install, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The packages.
    pub groups: Vec<Group>,
    /// What to do with them.
    pub action: Action,
}

impl Plan {
    /// All names, separated by commas.
    pub fn packages(&self) -> String {
        self.groups.iter().flat_map(|group| group.packages.clone()).collect::<Vec<_>>().join(", ")
    }
}

/// Makes the plan; the error is one line for a person.
pub fn plan(facts: &Facts) -> Result<Plan, String> {
    let mut packages = Vec::new();
    for need in &facts.needs {
        match need {
            Need::Compiler => packages.extend(compiler(facts)?),
            Need::Linker => packages.push(linker(facts)?),
            Need::Objcopy => packages.push("binutils".to_owned()),
            Need::Qemu => {}
            Need::Program { package, .. } => packages.push((*package).to_owned()),
        }
    }
    let mut groups = Vec::new();
    if !packages.is_empty() {
        groups.push(Group { suite: None, packages });
    }
    if facts.needs.contains(&Need::Qemu) {
        groups
            .push(Group { suite: qemu_suite(facts), packages: vec!["qemu-system-x86".to_owned()] });
    }
    let action = match (facts.privilege, facts.terminal, facts.yes) {
        (Privilege::None, ..) | (Privilege::SudoAsks, false, _) => Action::Print,
        (_, true, false) => Action::Ask,
        _ => Action::Install,
    };
    Ok(Plan { groups, action })
}

/// The newest compiler whose library source is of the same release. Distributions carry several:
/// `rustc`, the newer `rustc-web` of Debian's stable releases, `rustc-1.90` of Ubuntu.
fn compiler(facts: &Facts) -> Result<Vec<String>, String> {
    let mut best: Option<(Release, Vec<String>)> = None;
    for (name, version) in &facts.available {
        let Some(suffix) = name.strip_prefix("rustc") else {
            continue;
        };
        let source = match suffix {
            "" => "rust-src".to_owned(),
            "-web" => "rust-web-src".to_owned(),
            _ if suffix.starts_with("-1.") => format!("rust{suffix}-src"),
            _ => continue,
        };
        let source_version = facts.available.get(&source);
        let (Some(release), Some(source_release)) =
            (release(version), source_version.and_then(|text| release(text)))
        else {
            continue;
        };
        if release == source_release
            && release >= OLDEST
            && best.as_ref().is_none_or(|(other, _)| release > *other)
        {
            best = Some((release, vec![name.clone(), source]));
        }
    }
    best.map(|(_, packages)| packages).ok_or_else(|| {
        format!(
            "no package has a Rust compiler of {OLDEST} or newer with its library source; \
             install one with: rustup toolchain install nightly --component rust-src"
        )
    })
}

/// A package version, `1.96.0+dfsg1-1~deb12u2`, as a Rust release.
fn release(version: &str) -> Option<Release> {
    version.split_once(':').map_or(version, |(_, rest)| rest).parse().ok()
}

/// The newest LLVM linker.
fn linker(facts: &Facts) -> Result<String, String> {
    let versioned =
        facts.available.keys().filter_map(|name| name.strip_prefix("lld-")?.parse::<u32>().ok());
    match versioned.max() {
        Some(version) => Ok(format!("lld-{version}")),
        None if facts.available.contains_key("lld") => Ok("lld".to_owned()),
        None => Err("no package has LLVM's linker (lld); install it, then try again".to_owned()),
    }
}

/// QEMU's packages must all be of one version. When some are installed from backports already, the
/// rest has to come from there.
fn qemu_suite(facts: &Facts) -> Option<String> {
    let backports =
        |(name, version): (&String, &String)| name.starts_with("qemu-") && version.contains("~bpo");
    facts.installed.iter().any(backports).then(|| backports_suite(&facts.codename))
}

/// The name of a release's backports suite.
pub fn backports_suite(codename: &str) -> String {
    format!("{codename}-backports")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect()
    }

    fn bookworm() -> Facts {
        Facts {
            needs: vec![Need::Compiler, Need::Qemu],
            codename: "bookworm".into(),
            installed: BTreeMap::new(),
            available: versions(&[
                ("rustc", "1.63.0+dfsg1-2"),
                ("rust-src", "1.63.0+dfsg1-2"),
                ("rustc-web", "1.96.0+dfsg1-1~deb12u2"),
                ("rust-web-src", "1.96.0+dfsg1-1~deb12u2"),
                ("lld", "1:14.0-55.7~deb12u1"),
                ("lld-14", "1:14.0.6-12"),
                ("lld-22", "1:22.1.0-1~deb12u1"),
                ("qemu-system-x86", "1:7.2+dfsg-7+deb12u13"),
            ]),
            privilege: Privilege::Root,
            terminal: false,
            yes: false,
        }
    }

    fn group(suite: Option<&str>, packages: &[&str]) -> Group {
        Group {
            suite: suite.map(str::to_owned),
            packages: packages.iter().map(|name| name.to_string()).collect(),
        }
    }

    #[test]
    fn debian_takes_its_newest_compiler() {
        let plan = plan(&bookworm());
        let groups =
            vec![group(None, &["rustc-web", "rust-web-src"]), group(None, &["qemu-system-x86"])];
        assert_eq!(plan, Ok(Plan { groups, action: Action::Install }));
    }

    #[test]
    fn qemu_follows_the_packages_that_are_there() {
        let mut facts = bookworm();
        facts.needs = vec![Need::Qemu];
        facts.installed = versions(&[("qemu-utils", "1:10.0.2+ds-2+deb13u1~bpo12+1")]);
        let groups = vec![group(Some("bookworm-backports"), &["qemu-system-x86"])];
        assert_eq!(plan(&facts).map(|plan| plan.groups), Ok(groups));
        facts.installed = versions(&[("qemu-utils", "1:7.2+dfsg-7+deb12u13"), ("git", "1~bpo12")]);
        assert_eq!(plan(&facts).map(|plan| plan.groups[0].suite.clone()), Ok(None));
    }

    #[test]
    fn ubuntu_takes_a_versioned_compiler() {
        let mut facts = bookworm();
        facts.needs = vec![Need::Compiler, Need::Linker, Need::Objcopy];
        facts.available = versions(&[
            ("rustc", "1.93.1ubuntu1"),
            ("rust-src", "1.93.1ubuntu1"),
            ("rustc-1.96", "1.96.0+dfsg-0ubuntu1"),
            ("rust-1.96-src", "1.96.0+dfsg-0ubuntu1"),
            ("rustc-1.97", "1.97.0+dfsg-0ubuntu1"),
            ("rustc-1.98", "1.98.1+dfsg-0ubuntu1"),
            ("rust-1.98-src", "1.98.0+dfsg-0ubuntu1"),
            ("lld", "1:21"),
        ]);
        let groups = vec![group(None, &["rustc-1.96", "rust-1.96-src", "lld", "binutils"])];
        assert_eq!(plan(&facts).map(|plan| plan.groups), Ok(groups));
    }

    #[test]
    fn no_compiler_that_is_new_enough_is_an_error_that_says_what_to_do() {
        let mut facts = bookworm();
        facts.available.remove("rust-web-src");
        assert!(plan(&facts).is_err_and(|error| error.contains("rustup toolchain install")));
    }

    #[test]
    fn the_newest_linker_is_taken() {
        assert_eq!(linker(&bookworm()), Ok("lld-22".into()));
    }

    #[test]
    fn nobody_is_surprised() {
        use Privilege::{None, Root, Sudo, SudoAsks};
        let cases = [
            (Root, false, false, Action::Install),
            (Root, true, false, Action::Ask),
            (Root, true, true, Action::Install),
            (Sudo, false, false, Action::Install),
            (Sudo, true, false, Action::Ask),
            (SudoAsks, false, false, Action::Print),
            (SudoAsks, false, true, Action::Print),
            (SudoAsks, true, false, Action::Ask),
            (None, true, true, Action::Print),
            (None, false, false, Action::Print),
        ];
        for (privilege, terminal, yes, action) in cases {
            let facts = Facts { privilege, terminal, yes, ..bookworm() };
            assert_eq!(plan(&facts).map(|plan| plan.action), Ok(action), "{facts:?}");
        }
    }
}
