//! `cargo xtask init`: plain cargo builds and runs a crate with Skete.
//!
//! A few keys in the crate's `.cargo/config.toml` are all it takes. Each of them carries a comment
//! that marks it as ours, so that `--undo` takes back these and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use toml_edit::{DocumentMut, Item, Table, Value};

use crate::paths;
use crate::sdk::{self, Sdk, TARGET};

/// What marks a line as ours.
const MARK: &str = " # Skete: `cargo xtask init --undo` removes this";

/// Lets plain `cargo build`, `cargo run` and `cargo test` in a crate use Skete
///
/// Writes a few keys into the crate's .cargo/config.toml. The crate's manifest and source stay as
/// they are.
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
        bail!(
            "{} has no Cargo.toml; name a crate's directory",
            args.dir.display()
        );
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
        return undo(&config);
    }
    let sdk = sdk::ensure()?;
    let text = match fs::read_to_string(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", config.display()));
        }
    };
    let merged = merge(&text, &settings(&sdk))
        .with_context(|| format!("{} is left as it is", config.display()))?;
    sdk::replace(&config, merged.as_bytes())?;
    eprintln!(
        "skete: wrote {}; now run `cargo run` or `cargo test` there",
        config.display()
    );
    Ok(())
}

fn undo(config: &Path) -> Result<()> {
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
    Ok(())
}

/// One key of ours: its table, its name, its value.
type Setting = (Vec<&'static str>, &'static str, String);

fn settings(sdk: &Sdk) -> Vec<Setting> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    vec![
        (vec!["build"], "target", TARGET.to_owned()),
        (vec!["build"], "rustc", path(&sdk.rustc)),
        (vec!["build"], "rustdoc", path(&sdk.rustdoc)),
        (vec!["target", TARGET], "runner", path(&sdk.runner)),
    ]
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
                Value::from(value.as_str())
            ));
        }
        anyhow::anyhow!(
            "{why}. Skete needs these lines; add them by hand:\n{}",
            lines.trim_end()
        )
    };
    let mut gap = if text.trim().is_empty() { "" } else { "\n" };
    for (tables, key, value) in settings {
        let mut table = document.as_table_mut();
        for (depth, name) in tables.iter().enumerate() {
            let last = depth + 1 == tables.len();
            let item = table
                .entry(name)
                .or_insert_with(|| Item::Table(new_table(last, gap)));
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
                return Err(refuse(format!(
                    "it sets `{}.{key}` already",
                    tables.join(".")
                )));
            }
            _ => {}
        }
        let mut value = Value::from(value.as_str());
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
    item.as_value()
        .is_some_and(|value| suffix(value.decor()).contains(MARK.trim()))
}

fn suffix(decor: &toml_edit::Decor) -> &str {
    decor
        .suffix()
        .and_then(|text| text.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<Setting> {
        vec![
            (vec!["build"], "target", TARGET.into()),
            (vec!["build"], "rustc", "/sdk/bin/rustc".into()),
            (
                vec!["target", TARGET],
                "runner",
                "/my sdk/bin/skete-run".into(),
            ),
        ]
    }

    fn round_trip(text: &str) -> Result<String> {
        let merged = merge(text, &ours())?;
        let document: DocumentMut = merged.parse()?;
        assert_eq!(
            document["build"]["target"].as_str(),
            Some(TARGET),
            "{merged}"
        );
        assert_eq!(
            document["target"][TARGET]["runner"].as_str(),
            Some("/my sdk/bin/skete-run"),
            "{merged}"
        );
        assert_eq!(
            merge(&merged, &ours())?,
            merged,
            "merging twice changes nothing"
        );
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
        assert!(
            merged.starts_with("# mine\n[build]   # jobs\njobs = 2 # two\n"),
            "{merged}"
        );
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
            let error = merge(text, &ours())
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            for (_, _, value) in ours() {
                assert!(error.contains(&value), "{text}: {error}");
            }
        }
        assert!(merge("[build\n", &ours()).is_err());
    }

    #[test]
    fn new_values_replace_our_own() -> Result<()> {
        let merged = merge(
            &merge("", &ours())?,
            &[(vec!["build"], "rustc", "/new/rustc".into())],
        )?;
        assert!(merged.contains("/new/rustc") && !merged.contains("/sdk/bin/rustc"));
        Ok(())
    }

    #[test]
    fn undo_finds_nothing_in_a_foreign_file() -> Result<()> {
        assert_eq!(
            remove("[build]\ntarget = \"x86_64-unknown-skete\"\n")?,
            None
        );
        Ok(())
    }
}
