//! Well-known crates whose own tests are run (`conformance/corpus.toml`).
//!
//! Their sources come from the registry, as cargo has checked them, and are laid out as the members
//! of one workspace with one lock file, so that they share what they depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use toml_edit::{DocumentMut, Item, value};
use walkdir::WalkDir;

use super::machine::Needs;
use super::programs::{self, Program};
use super::show::Show;
use crate::hash::Key;
use crate::progress::Step;
use crate::qemu::Bytes;
use crate::sdk::Sdk;
use crate::{patches, paths, process, sysroot};

/// Where the list lies in the repository.
const FILE: &str = "conformance/corpus.toml";

/// Where the versions of everything that the crates depend on lie.
const LOCK: &str = "conformance/corpus.lock";

/// Cargo's settings for the workspace of the crates.
const SETTINGS: &str = ".cargo/config.toml";

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct List {
    /// Dependencies of benchmarks and the like, which no test needs; taken out of every manifest.
    without: Vec<String>,
    /// Dependencies that are optimized: without that, and in emulation, they exceed the tests' time limits.
    #[serde(default)]
    optimized: Vec<String>,
    #[serde(rename = "crate")]
    crates: Vec<Entry>,
}

/// One crate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// Its name in the registry.
    pub name: String,
    /// The exact version.
    pub version: String,
    /// What it is an example of.
    pub category: String,
    /// Features to turn on.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether its own default features stay on.
    #[serde(default = "yes")]
    pub default_features: bool,
    /// Test programs that are left out, and why.
    #[serde(default)]
    pub left_out: BTreeMap<String, String>,
    /// More dependencies to take out, which only what is left out or turned off needs.
    #[serde(default)]
    pub without: Vec<String>,
    /// The machine's memory in MiB, when it is more than usual.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Whether its tests read files of its own, so that the machine gets them.
    #[serde(default)]
    pub files: bool,
    /// Whether its servers listen on every address, so that the machine gets a network card.
    #[serde(default)]
    pub card: bool,
    /// Whether it belongs to the short set.
    #[serde(default)]
    pub short: bool,
}

fn yes() -> bool {
    true
}

/// The whole corpus.
#[derive(Debug)]
pub struct Corpus {
    list: List,
}

impl Corpus {
    /// Reads the list.
    pub fn read() -> Result<Corpus> {
        let path = paths::root().join(FILE);
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {FILE}"))?;
        Corpus::parse(&text).with_context(|| format!("{FILE} is wrong"))
    }

    /// Reads the list from its text.
    pub fn parse(text: &str) -> Result<Corpus> {
        let list: List = toml::from_str(text)?;
        let mut names = BTreeSet::new();
        for entry in &list.crates {
            ensure!(names.insert(&entry.name), "`{}` is there twice", entry.name);
            if let Some((target, _)) = entry.left_out.iter().find(|(_, why)| why.is_empty()) {
                bail!("`{}` leaves out {target} without a reason", entry.name);
            }
        }
        Ok(Corpus { list })
    }

    /// The crates, in their order.
    pub fn crates(&self) -> &[Entry] {
        &self.list.crates
    }

    /// Fetches the crates and lays them out.
    pub fn prepare(&self, sdk: &Sdk, resolve: bool, show: &Show) -> Result<Workspace> {
        let generated = paths::generated().join("conformance");
        let root = generated.join("corpus");
        let text = fs::read_to_string(paths::root().join(FILE))?;
        let key = Key::new("corpus").text(include_str!("corpus.rs")).text(&text).finish();
        let stamp = generated.join("corpus.key");
        if !fs::read_to_string(&stamp).is_ok_and(|old| old == key) || !root.is_dir() {
            let step = show.step("fetching the corpus of crates");
            let _ = fs::remove_file(&stamp);
            let sources = self.fetch(&generated.join("fetch"), &step)?;
            self.lay_out(&root, &sources)?;
            fs::write(&stamp, &key).context("cannot mark the corpus as whole")?;
            step.done();
        }
        // The lock file is about the crates as they are released.
        let _ = fs::remove_file(root.join(SETTINGS));
        lock(&root, resolve)?;
        let target_dir = generated.join("build/corpus");
        self.replace_crates(sdk, &root, &target_dir)?;
        Ok(Workspace { root, target_dir })
    }

    /// Has cargo fetch and check the crates; gives the directory of each, by name.
    fn fetch(&self, directory: &Path, step: &Step) -> Result<BTreeMap<String, PathBuf>> {
        let mut manifest = String::from(
            "[package]\nname = \"fetch\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n",
        );
        for entry in &self.list.crates {
            manifest.push_str(&format!(
                "{} = {{ version = \"={}\", default-features = false }}\n",
                entry.name, entry.version
            ));
        }
        fs::create_dir_all(directory.join("src"))?;
        fs::write(directory.join("src/lib.rs"), "")?;
        fs::write(directory.join("Cargo.toml"), manifest)?;
        let mut cargo = process::cargo();
        cargo.args(["metadata", "--format-version", "1"]).current_dir(directory);
        let metadata: serde_json::Value =
            serde_json::from_str(&process::watched(&mut cargo, step)?)?;
        let mut sources = BTreeMap::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let wanted = self.list.crates.iter().find(|entry| {
                package["name"] == entry.name.as_str()
                    && package["version"] == entry.version.as_str()
            });
            if let (Some(entry), Some(path)) = (wanted, package["manifest_path"].as_str()) {
                let directory = Path::new(path).parent().unwrap_or(Path::new(path));
                sources.insert(entry.name.clone(), directory.to_path_buf());
            }
        }
        Ok(sources)
    }

    /// Has the workspace use the crates that Skete changes, as every program does. One that is a
    /// member itself takes the changed source, and so do the crates that depend on it.
    fn replace_crates(&self, sdk: &Sdk, root: &Path, target_dir: &Path) -> Result<()> {
        let mut settings = DocumentMut::new();
        settings["patch"] = toml_edit::table();
        settings["patch"]["crates-io"] = toml_edit::table();
        for mut patch in patches::for_program(sdk, root, target_dir)? {
            let version = patch.version.to_string();
            let member = self
                .list
                .crates
                .iter()
                .find(|entry| entry.name == patch.name && entry.version == version);
            if let Some(entry) = member {
                let directory = root.join(&entry.name);
                copy(&patch.path, &directory)
                    .with_context(|| format!("cannot copy {}", patch.path.display()))?;
                entry.adapt_files(&directory, &self.list.without)?;
                patch.path = directory;
            }
            settings["patch"]["crates-io"][&patch.key] = value(patch.entry());
        }
        crate::sdk::replace(&root.join(SETTINGS), settings.to_string().as_bytes())
    }

    /// Makes a workspace of the crates.
    fn lay_out(&self, root: &Path, sources: &BTreeMap<String, PathBuf>) -> Result<()> {
        if root.exists() {
            fs::remove_dir_all(root)
                .with_context(|| format!("cannot remove {}", root.display()))?;
        }
        let mut members = toml_edit::Array::new();
        for entry in &self.list.crates {
            let source = sources
                .get(&entry.name)
                .with_context(|| format!("cargo did not fetch {}", entry.name))?;
            let to = root.join(&entry.name);
            copy(source, &to).with_context(|| format!("cannot copy {}", source.display()))?;
            entry.adapt_files(&to, &self.list.without)?;
            members.push(&entry.name);
        }
        let mut manifest = DocumentMut::new();
        manifest["workspace"] = toml_edit::table();
        manifest["workspace"]["resolver"] = value("2");
        manifest["workspace"]["members"] = value(members);
        for name in &self.list.optimized {
            manifest["profile"]["dev"]["package"][name]["opt-level"] = value(3);
        }
        fs::write(root.join("Cargo.toml"), manifest.to_string())?;
        Ok(())
    }
}

impl Entry {
    /// Adapts the crate in a directory.
    fn adapt_files(&self, directory: &Path, without: &[String]) -> Result<()> {
        let path = directory.join("Cargo.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest =
            text.parse().with_context(|| format!("{} is no manifest", path.display()))?;
        self.remove_unlisted(directory, &manifest)?;
        let manifest = self.adapt(manifest, without);
        fs::write(&path, manifest.to_string())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes the files of the test programs that are left out and that cargo finds by itself,
    /// because the manifest does not list them.
    fn remove_unlisted(&self, directory: &Path, manifest: &DocumentMut) -> Result<()> {
        let tests = manifest.get("test").and_then(Item::as_array_of_tables);
        let listed = |target: &str| {
            let mut tests = tests.into_iter().flatten();
            tests.any(|test| test.get("name").and_then(Item::as_str) == Some(target))
        };
        for target in self.left_out.keys().filter(|&target| target != "lib") {
            if listed(target) {
                continue;
            }
            let file = directory.join("tests").join(format!("{target}.rs"));
            fs::remove_file(&file).with_context(|| {
                format!("{FILE} leaves out `{target}`, which `{}` does not have", self.name)
            })?;
        }
        Ok(())
    }

    /// The crate's manifest for the workspace: without what is left out, without benchmarks.
    fn adapt(&self, mut manifest: DocumentMut, without: &[String]) -> DocumentMut {
        for key in ["workspace", "profile", "patch", "bench", "example", "badges"] {
            manifest.remove(key);
        }
        if let Some(package) = manifest["package"].as_table_mut() {
            for key in ["autobenches", "autoexamples"] {
                package[key] = value(false);
            }
            package.remove("workspace");
        }
        let unwanted = |name: &str| without.iter().chain(&self.without).any(|no| no == name);
        let strip = |item: Option<&mut Item>, widen: bool| {
            if let Some(table) = item.and_then(Item::as_table_like_mut) {
                let names = table.iter().map(|(name, _)| name.to_owned());
                for name in names.filter(|name| unwanted(name)).collect::<Vec<_>>() {
                    table.remove(&name);
                }
                // One lock file for all: a version that one crate insists on may not suit another.
                for (_, dependency) in table.iter_mut().filter(|_| widen) {
                    if let Some(version) = dependency.get_mut("version")
                        && let Some(exact) = version.as_str().and_then(|it| it.strip_prefix('='))
                    {
                        *version = value(exact.trim());
                    }
                }
            }
        };
        strip(manifest.get_mut("dependencies"), false);
        strip(manifest.get_mut("dev-dependencies"), true);
        if let Some(targets) = manifest.get_mut("target").and_then(Item::as_table_mut) {
            for (_, target) in targets.iter_mut() {
                strip(target.get_mut("dev-dependencies"), true);
            }
        }
        if let Some(features) = manifest["features"].as_table_mut() {
            for (_, means) in features.iter_mut() {
                if let Some(means) = means.as_array_mut() {
                    means.retain(|word| {
                        let word = word.as_str().unwrap_or_default();
                        let name = word.strip_prefix("dep:").unwrap_or(word);
                        !unwanted(name.split(['/', '?']).next().unwrap_or_default())
                    });
                }
            }
        }
        if let Some(tests) = manifest["test"].as_array_of_tables_mut() {
            tests.retain(|test| {
                let name = test.get("name").and_then(Item::as_str).unwrap_or_default();
                !self.left_out.contains_key(name)
            });
        }
        if self.left_out.contains_key("lib") {
            manifest["lib"]["test"] = value(false);
        }
        manifest
    }

    /// The machine's memory.
    fn memory(&self, usual: Bytes) -> Bytes {
        self.memory.map_or(usual, |size| Bytes(size << 20))
    }
}

/// The crates, laid out.
pub struct Workspace {
    root: PathBuf,
    target_dir: PathBuf,
}

/// Puts the lock file in its place, or makes it anew from the newest versions (`resolve`).
fn lock(root: &Path, resolve: bool) -> Result<()> {
    let kept = paths::root().join(LOCK);
    let lock = root.join("Cargo.lock");
    let mut cargo = process::cargo();
    cargo.args(["metadata", "--format-version", "1"]).current_dir(root);
    if resolve {
        let _ = fs::remove_file(&lock);
        process::output(&mut cargo)?;
        return crate::sdk::replace(&kept, &fs::read(&lock)?);
    }
    let text =
        fs::read(&kept).with_context(|| format!("cannot read {LOCK}; `--resolve` makes it"))?;
    crate::sdk::replace(&lock, &text)?;
    process::output(cargo.arg("--locked"))
        .with_context(|| format!("{LOCK} does not fit {FILE}; `--resolve` makes it anew"))?;
    Ok(())
}

impl Workspace {
    /// What a crate's tests need; `usual` is the memory when it asks for no more.
    pub fn needs(&self, entry: &Entry, usual: Bytes) -> Needs {
        Needs {
            memory: entry.memory(usual),
            files: entry.files.then(|| self.root.join(&entry.name)),
            card: entry.card,
        }
    }

    /// Builds the test programs of a crate.
    pub fn build(&self, sdk: &Sdk, entry: &Entry, show: &Show) -> Result<Vec<Program>> {
        let step = show.step(format!("building the tests of {}", entry.name));
        let mut cargo = programs::cargo(sdk, "test");
        cargo.args(["--no-run", "--tests"]);
        if !entry.default_features {
            cargo.arg("--no-default-features");
        }
        if !entry.features.is_empty() {
            cargo.args(["--features", &entry.features.join(",")]);
        }
        cargo.arg("--target-dir").arg(&self.target_dir).current_dir(self.root.join(&entry.name));
        let programs = programs::build(&mut cargo, &step)?;
        step.done();
        Ok(programs)
    }
}

fn copy(source: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(source) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(source)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else if entry.file_name() != "Cargo.lock" {
            sysroot::copy_file(entry.path(), &target)?;
        }
    }
    // A crate's own settings are for its own machine.
    let _ = fs::remove_dir_all(to.join(".cargo"));
    for name in ["rust-toolchain", "rust-toolchain.toml"] {
        let _ = fs::remove_file(to.join(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Result<Entry> {
        let list = format!(
            "without = [\"criterion\"]\n[[crate]]\nname = \"c\"\nversion = \"1.0.0\"\ncategory = \"text\"\n{text}"
        );
        Ok(Corpus::parse(&list)?.list.crates.remove(0))
    }

    #[test]
    fn a_manifest_loses_benchmarks_and_what_is_left_out() -> Result<()> {
        let entry =
            entry("without = [\"trybuild\"]\n[crate.left-out]\nui = \"needs a compiler\"\n")?;
        let manifest = r#"
[package]
name = "c"

[lib]
path = "src/lib.rs"

[[test]]
name = "ui"

[[test]]
name = "it"

[[bench]]
name = "b"

[dev-dependencies.criterion]
version = "1"

[dev-dependencies.trybuild]
version = "1"

[dev-dependencies.rand]
version = "1"

[target."cfg(unix)".dev-dependencies.criterion]
version = "1"
"#;
        let adapted = entry.adapt(manifest.parse()?, &["criterion".to_owned()]);
        let adapted: toml::Table = toml::from_str(&adapted.to_string())?;
        let dependencies = adapted["dev-dependencies"].as_table();
        let names = dependencies.into_iter().flat_map(|table| table.keys());
        assert_eq!(names.collect::<Vec<_>>(), ["rand"]);
        assert_eq!(adapted["test"].as_array().map(Vec::len), Some(1));
        assert!(!adapted.contains_key("bench"));
        assert!(!adapted.to_string().contains("criterion"));
        assert!(adapted["lib"].get("test").is_none());
        Ok(())
    }

    #[test]
    fn what_is_left_out_is_gone_whether_the_manifest_lists_it_or_not() -> Result<()> {
        let entry = entry("[crate.left-out]\nlisted = \"slow\"\nfound = \"slow\"\n")?;
        let dir = tempfile::tempdir()?;
        let manifest = dir.path().join("Cargo.toml");
        let text = "[package]\nname = \"c\"\n[[test]]\nname = \"listed\"\npath = \"x.rs\"\n";
        fs::write(&manifest, text)?;
        let missing = entry.adapt_files(dir.path(), &[]).unwrap_err().to_string();
        assert!(missing.contains("`found`"), "{missing}");
        let file = dir.path().join("tests/found.rs");
        fs::create_dir(dir.path().join("tests"))?;
        fs::write(&file, "")?;
        entry.adapt_files(dir.path(), &[])?;
        assert!(!file.exists());
        assert!(!fs::read_to_string(manifest)?.contains("listed"));
        Ok(())
    }

    #[test]
    fn nothing_is_left_out_without_a_reason() {
        assert!(entry("[crate.left-out]\nui = \"\"\n").is_err());
        assert!(entry("[crate.left-out]\nui = \"slow\"\n").is_ok());
        assert!(entry("versoin = \"1\"\n").is_err());
    }

    #[test]
    fn the_repositorys_list_is_right() -> Result<()> {
        let corpus = Corpus::read()?;
        assert!(corpus.crates().len() >= 40);
        Ok(())
    }
}
