//! `cargo xtask init`: plain cargo builds and runs a crate with Skete.
//!
//! A few keys in the crate's `.cargo/config.toml` are all it takes. Each of them carries a comment
//! that marks it as ours, so that `--undo` takes back these and nothing else. Crates of the registry
//! that need a change before they build for our target are replaced there too (see [`patches`]).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use toml_edit::{DocumentMut, Item, Table, Value};

use crate::patches::{self, Patch};
use crate::sdk::{self, Sdk, TARGET};
use crate::{image, paths, process};

/// What marks a line as ours.
const MARK: &str = " # Skete: `cargo xtask init --undo` removes this";

/// Lets plain `cargo build`, `cargo run` and `cargo test` in a crate use Skete
///
/// Writes a few keys into the crate's .cargo/config.toml. The crate's manifest and source stay as
/// they are. Dependencies that do not build for Skete as released are replaced by changed ones, in
/// the same versions: run it again after the dependencies have changed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask init ../my-app
  cd ../my-app && cargo run && cargo test
  cargo xtask init --undo ../my-app")]
pub struct InitArgs {
    /// The crate's or workspace's directory
    dir: PathBuf,

    /// Take the keys out again
    #[arg(long)]
    undo: bool,
}

/// Runs `cargo xtask init`.
pub fn run(args: InitArgs) -> Result<()> {
    let dir = fs::canonicalize(&args.dir)
        .with_context(|| format!("there is no directory {}", args.dir.display()))?;
    if !args.undo && !dir.join("Cargo.toml").is_file() {
        bail!("{} has no Cargo.toml; name a crate's directory", args.dir.display());
    }
    if paths::root().starts_with(&dir) {
        bail!(
            "{} holds Skete itself, whose own build would use the new settings; name another crate",
            dir.display()
        );
    }
    let old = dir.join(".cargo/config");
    if old.is_file() {
        bail!(
            "cargo reads {} instead of config.toml; rename it to config.toml, then try again",
            old.display()
        );
    }
    let config = dir.join(".cargo/config.toml");
    if args.undo {
        return undo(&dir, &config);
    }
    let sdk = sdk::ensure()?;
    let text = match fs::read_to_string(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", config.display()));
        }
    };
    let left = || format!("{} is left as it is", config.display());
    // The graph is read without crates that were replaced before, for there may be newer ones.
    let plain =
        merge(&without_patches(&text).with_context(left)?, &settings(&sdk)).with_context(left)?;
    sdk::replace(&config, plain.as_bytes())?;
    let found = unlock(&dir, &text).and_then(|()| {
        let found = patches::for_program(&sdk, &dir, &image::target_dir(&dir)?)?;
        let merged = merge(&plain, &patch_settings(&found)).with_context(left)?;
        sdk::replace(&config, merged.as_bytes())?;
        if !found.is_empty() {
            // Writes them into Cargo.lock, so that `--locked` builds work too.
            patches::for_program(&sdk, &dir, &image::target_dir(&dir)?)?;
        }
        Ok(found)
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            match text.is_empty() {
                true => fs::remove_file(&config).with_context(left)?,
                false => sdk::replace(&config, text.as_bytes())?,
            }
            return Err(error);
        }
    };
    if !found.is_empty() {
        eprintln!(
            "skete: changed for Skete: {}; run `cargo xtask init` again after the dependencies have changed",
            patches::list(&found)
        );
    }
    eprintln!("skete: wrote {}; now run `cargo run` or `cargo test` there", config.display());
    Ok(())
}

fn undo(dir: &Path, config: &Path) -> Result<()> {
    let text =
        fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    let rest = remove(&text).with_context(|| format!("{} is left as it is", config.display()))?;
    match rest {
        None => bail!("{} has nothing of Skete in it", config.display()),
        Some(rest) if rest.trim().is_empty() => {
            fs::remove_file(config)
                .with_context(|| format!("cannot remove {}", config.display()))?;
            // Gone too if it was there for this file only.
            let _ = config.parent().map(fs::remove_dir);
            eprintln!("skete: removed {}", config.display());
        }
        Some(rest) => {
            sdk::replace(config, rest.as_bytes())?;
            eprintln!("skete: took Skete's lines out of {}", config.display());
        }
    }
    unlock(dir, &text)
}

/// Gives the crates that the configuration `text` replaced their place in Cargo.lock back.
fn unlock(dir: &Path, text: &str) -> Result<()> {
    let replaced = replaced(text)?;
    if replaced.is_empty() {
        return Ok(());
    }
    patches::lock::restore(&patches::lock::path(dir)?, &replaced)?;
    // cargo adds the checksums, without asking the registry for newer versions.
    let mut cargo = process::cargo();
    cargo.args(["metadata", "--format-version", "1"]).current_dir(dir);
    process::output(&mut cargo).map(drop)
}

/// One key of ours: its table, its name, its value.
type Setting = (Vec<&'static str>, String, Value);

/// The table of replaced crates.
const PATCH: [&str; 2] = ["patch", "crates-io"];

fn settings(sdk: &Sdk) -> Vec<Setting> {
    let path = |path: &Path| Value::from(path.to_string_lossy().as_ref());
    vec![
        (vec!["build"], "target".into(), TARGET.into()),
        (vec!["build"], "rustc".into(), path(&sdk.rustc)),
        (vec!["build"], "rustdoc".into(), path(&sdk.rustdoc)),
        (vec!["target", TARGET], "runner".into(), path(&sdk.runner)),
    ]
}

fn patch_settings(patches: &[Patch]) -> Vec<Setting> {
    let setting = |patch: &Patch| (PATCH.to_vec(), patch.key.clone(), patch.entry());
    patches.iter().map(setting).collect()
}

/// Adds our keys to a configuration; keys that are ours already get the new values. A key that
/// someone else has set is an error that shows the lines to add.
fn merge(text: &str, settings: &[Setting]) -> Result<String> {
    let mut document: DocumentMut = text.parse().context("it is not valid TOML")?;
    let refuse = |why: String| -> anyhow::Error {
        let mut lines = String::new();
        for (tables, key, value) in settings {
            lines.push_str(&format!(
                "  {}.{key} = {}\n",
                tables.join("."),
                value.to_string().trim()
            ));
        }
        anyhow::anyhow!("{why}. Skete needs these lines; add them by hand:\n{}", lines.trim_end())
    };
    let mut gap = if text.trim().is_empty() { "" } else { "\n" };
    for (tables, key, value) in settings {
        let mut table = document.as_table_mut();
        for (depth, name) in tables.iter().enumerate() {
            let last = depth + 1 == tables.len();
            let item = table.entry(name).or_insert_with(|| Item::Table(new_table(last, gap)));
            if last {
                gap = "\n";
            }
            table = match item {
                Item::Table(next) if !next.is_dotted() => next,
                _ => {
                    return Err(refuse(format!(
                        "`{name}` is not written as a table `[{}]`",
                        tables.join(".")
                    )));
                }
            };
        }
        match table.get(key) {
            Some(item) if !ours(item) => {
                return Err(refuse(format!("it sets `{}.{key}` already", tables.join("."))));
            }
            _ => {}
        }
        let mut value = value.clone();
        value.decor_mut().set_prefix(" ");
        value.decor_mut().set_suffix(MARK);
        table.insert(key, Item::Value(value));
    }
    Ok(document.to_string())
}

/// A table that is not there yet; the last one of a path gets a header with our mark.
fn new_table(last: bool, gap: &str) -> Table {
    let mut table = Table::new();
    table.set_implicit(!last);
    if last {
        table.decor_mut().set_prefix(gap);
        table.decor_mut().set_suffix(MARK);
    }
    table
}

/// Takes our keys and tables out of a configuration; `None` when there are none.
fn remove(text: &str) -> Result<Option<String>> {
    let mut document: DocumentMut = text.parse().context("it is not valid TOML")?;
    let found = remove_from(document.as_table_mut());
    Ok(found.then(|| document.to_string()))
}

/// Takes the crates that we replace out of a configuration.
fn without_patches(text: &str) -> Result<String> {
    let mut document: DocumentMut = text.parse().context("it is not valid TOML")?;
    if let Some(Item::Table(patch)) = document.get_mut(PATCH[0]) {
        remove_from(patch);
        if patch.is_empty() && patch.is_implicit() {
            document.remove(PATCH[0]);
        }
    }
    Ok(document.to_string())
}

/// The names and versions of the crates that a configuration replaces with ours.
fn replaced(text: &str) -> Result<Vec<(String, String)>> {
    let document: DocumentMut = text.parse().context("it is not valid TOML")?;
    let table = document.get(PATCH[0]).and_then(|item| item.get(PATCH[1]));
    let entries = table.and_then(Item::as_table_like).into_iter();
    let entries = entries.flat_map(|table| table.iter());
    let replaced = entries.filter(|(_, item)| ours(item)).filter_map(|(key, item)| {
        let name = item.get("package").and_then(Item::as_str).unwrap_or(key);
        let directory = Path::new(item.get("path")?.as_str()?).file_name()?.to_str()?;
        let version = directory.strip_prefix(name)?.strip_prefix('-')?;
        Some((name.to_owned(), version.to_owned()))
    });
    Ok(replaced.collect())
}

fn remove_from(table: &mut Table) -> bool {
    let mut found = false;
    let keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        match table.get_mut(&key) {
            Some(Item::Table(inner)) => {
                found |= remove_from(inner);
                let made = suffix(inner.decor()).contains(MARK.trim());
                if inner.is_empty() && (made || inner.is_implicit()) {
                    table.remove(&key);
                }
            }
            Some(item) if ours(item) => {
                table.remove(&key);
                found = true;
            }
            _ => {}
        }
    }
    found
}

fn ours(item: &Item) -> bool {
    item.as_value().is_some_and(|value| suffix(value.decor()).contains(MARK.trim()))
}

fn suffix(decor: &toml_edit::Decor) -> &str {
    decor.suffix().and_then(|text| text.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<Setting> {
        vec![
            (vec!["build"], "target".into(), TARGET.into()),
            (vec!["build"], "rustc".into(), "/sdk/bin/rustc".into()),
            (vec!["target", TARGET], "runner".into(), "/my sdk/bin/skete-run".into()),
        ]
    }

    fn crates() -> Result<Vec<Setting>> {
        let patch = |name: &str, version: &str, key: &str| -> Result<Patch> {
            Ok(Patch {
                name: name.into(),
                version: version.parse()?,
                path: format!("/my sdk/crates/{name}-{version}").into(),
                key: key.into(),
            })
        };
        Ok(patch_settings(&[
            patch("ring", "0.17.14", "ring")?,
            patch("socket2", "0.5.10", "socket2-0-5-10")?,
            patch("socket2", "0.6.5", "socket2-0-6-5")?,
        ]))
    }

    #[test]
    fn replaced_crates_come_and_go() -> Result<()> {
        for text in [
            "",
            "[patch.crates-io]\nserde = { path = \"../serde\" }\n",
            "[patch.\"https://example.org\"]\na = { path = \"a\" }\n\n[net]\nretry = 3\n",
        ] {
            let plain = merge(text, &ours())?;
            let merged = merge(&plain, &crates()?)?;
            let document: DocumentMut = merged.parse()?;
            let entry = &document["patch"]["crates-io"]["socket2-0-5-10"];
            assert_eq!(entry["package"].as_str(), Some("socket2"), "{merged}");
            assert_eq!(entry["path"].as_str(), Some("/my sdk/crates/socket2-0.5.10"), "{merged}");
            let names = [("ring", "0.17.14"), ("socket2", "0.5.10"), ("socket2", "0.6.5")];
            let names = names.map(|(name, version)| (name.to_owned(), version.to_owned()));
            assert_eq!(replaced(&merged)?, names);
            assert_eq!(replaced(&plain)?, []);
            assert_eq!(without_patches(&merged)?, plain, "{merged}");
            assert_eq!(without_patches(text)?, text);
            assert_eq!(remove(&merged)?.as_deref(), Some(text), "{merged}");
        }
        Ok(())
    }

    #[test]
    fn a_crate_that_someone_else_replaces_is_left_alone() -> Result<()> {
        let text = "[patch.crates-io]\nring = { path = \"../ring\" }\n";
        assert!(merge(text, &crates()?).is_err());
        assert_eq!(replaced(text)?, []);
        Ok(())
    }

    fn round_trip(text: &str) -> Result<String> {
        let merged = merge(text, &ours())?;
        let document: DocumentMut = merged.parse()?;
        assert_eq!(document["build"]["target"].as_str(), Some(TARGET), "{merged}");
        assert_eq!(
            document["target"][TARGET]["runner"].as_str(),
            Some("/my sdk/bin/skete-run"),
            "{merged}"
        );
        assert_eq!(merge(&merged, &ours())?, merged, "merging twice changes nothing");
        assert_eq!(remove(&merged)?.as_deref(), Some(text), "{merged}");
        Ok(merged)
    }

    #[test]
    fn a_new_file_holds_our_keys_only() -> Result<()> {
        round_trip("")?;
        Ok(())
    }

    #[test]
    fn everything_else_stays_byte_for_byte() -> Result<()> {
        let merged =
            round_trip("# mine\n[build]   # jobs\njobs = 2 # two\n\n[alias]\nr = \"run\"\n")?;
        assert!(merged.starts_with("# mine\n[build]   # jobs\njobs = 2 # two\n"), "{merged}");
        round_trip("[alias]\nr = \"run\"\n")?;
        round_trip("[target.x86_64-unknown-linux-gnu]\nlinker = \"clang\"\n")?;
        round_trip(
            "[target.x86_64-unknown-skete]\nrustflags = [\"-Copt-level=1\"]\n\n[net]\nretry = 3\n",
        )?;
        round_trip("[build]\n")?;
        round_trip("[profile.release]\nlto = true\n\n[target]\n\n# last words\n")?;
        Ok(())
    }

    #[test]
    fn a_key_of_someone_else_is_never_overwritten() {
        for text in [
            "[build]\ntarget = \"wasm32-wasip1\"\n",
            "[build]\nrustc = \"my-rustc\"\n",
            "[target.x86_64-unknown-skete]\nrunner = \"mine\"\n",
            "build = { jobs = 2 }\n",
            "build.jobs = 2\n",
        ] {
            let error =
                merge(text, &ours()).err().map(|error| error.to_string()).unwrap_or_default();
            for (_, _, value) in ours() {
                let value = value.to_string();
                assert!(error.contains(&value), "{text}: {error}");
            }
        }
        assert!(merge("[build\n", &ours()).is_err());
    }

    #[test]
    fn new_values_replace_our_own() -> Result<()> {
        let merged =
            merge(&merge("", &ours())?, &[(vec!["build"], "rustc".into(), "/new/rustc".into())])?;
        assert!(merged.contains("/new/rustc") && !merged.contains("/sdk/bin/rustc"));
        Ok(())
    }

    #[test]
    fn undo_finds_nothing_in_a_foreign_file() -> Result<()> {
        assert_eq!(remove("[build]\ntarget = \"x86_64-unknown-skete\"\n")?, None);
        Ok(())
    }
}
