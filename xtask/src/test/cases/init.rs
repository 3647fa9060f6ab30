//! `cargo xtask init` in a crate that knows nothing of Skete, then plain cargo there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::super::case::{Bench, Case, Steps};
use super::super::expect::Expect;
use super::tools::Tool;
use crate::paths;

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 5] = [
        ("init/plain-cargo", plain_cargo),
        ("init/crates-and-tests", crates_and_tests),
        ("init/changed-crates", changed_crates),
        ("init/merges", merges),
        ("init/refuses", refuses),
    ];
    cases.map(|(name, steps)| Case::steps(name, steps)).into()
}

/// A crate with a program, a failing and a passing test.
fn write_crate(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory.join("src"))?;
    fs::write(
        directory.join("Cargo.toml"),
        "[package]\nname = \"stranger\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    fs::write(
        directory.join("src/main.rs"),
        r#"fn main() {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    println!("{} on {}: {words:?}", std::env::consts::ARCH, if cfg!(target_env = "skete") { "skete" } else { "the host" });
    if words.len() == 1 {
        std::process::exit(7);
    }
}

#[test]
fn passes() {
    assert!(cfg!(target_env = "skete"));
}

#[test]
#[ignore = "is to fail"]
fn fails() {
    assert_eq!(1 + 1, 3);
}
"#,
    )?;
    Ok(())
}

fn init(bench: &Bench, mark: &str, directory: &Path, more: &[&str], expect: Expect) -> Result<()> {
    let path = directory.to_str().context("a path that is not text")?;
    let mut args = vec!["init", path];
    args.extend(more);
    expect.judge(&Tool::xtask(&args).run(bench, mark)?)
}

fn cargo(bench: &Bench, mark: &str, directory: &Path, args: &[&str], expect: Expect) -> Result<()> {
    expect.judge(&Tool::cargo(args).within(directory).run(bench, mark)?)
}

fn plain_cargo(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    write_crate(directory)?;
    let before = fs::read(directory.join("Cargo.toml"))?;
    init(bench, mark, directory, &[], Expect::status(0))?;
    cargo(bench, mark, directory, &["build"], Expect::status(0))?;
    let said = Expect::status(0).stdout("x86_64 on skete: [\"two words\", \"--flag\"]\n");
    cargo(bench, mark, directory, &["run", "--quiet", "--", "two words", "--flag"], said)?;
    cargo(
        bench,
        mark,
        directory,
        &["run", "--release", "--quiet", "--", "x"],
        Expect::status(7).out("on skete"),
    )?;
    cargo(
        bench,
        mark,
        directory,
        &["test"],
        Expect::status(0).out("1 passed; 0 failed; 1 ignored"),
    )?;
    let failure = Expect::status(101).out("test fails ... FAILED").out("test result: FAILED");
    // Without unwinding the first failing test ends the program.
    let failure = if unwinds(bench, mark, directory)? {
        failure
    } else {
        Expect::status(134).out("test fails ... ")
    };
    cargo(bench, mark, directory, &["test", "--", "--include-ignored"], failure)?;

    // Once more changes nothing; `--undo` takes everything back.
    init(bench, mark, directory, &[], Expect::status(0))?;
    init(bench, mark, directory, &["--undo"], Expect::status(0))?;
    ensure!(!directory.join(".cargo").exists(), "`init --undo` has left .cargo behind");
    ensure!(fs::read(directory.join("Cargo.toml"))? == before, "Cargo.toml was changed");
    cargo(
        bench,
        mark,
        directory,
        &["run", "--quiet"],
        Expect::status(0).stdout("x86_64 on the host: []\n"),
    )
}

/// Whether panics unwind on the target.
fn unwinds(bench: &Bench, mark: &str, directory: &Path) -> Result<bool> {
    let got = Tool::cargo(&["rustc", "--quiet", "--", "--print", "cfg"])
        .within(directory)
        .run(bench, mark)?;
    Ok(String::from_utf8_lossy(&got.stdout).contains("panic=\"unwind\""))
}

/// An example with dependencies, copied to a place of its own: its tests run in a virtual machine.
fn crates_and_tests(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let examples = paths::root().join("examples");
    for entry in walkdir::WalkDir::new(&examples)
        .into_iter()
        .filter_entry(|entry| entry.file_name() != "target")
    {
        let entry = entry?;
        let to = directory.join(entry.path().strip_prefix(&examples)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    // A crate of the repository's stays where it is.
    let manifest = directory.join("vsock/Cargo.toml");
    let vsock = format!("path = \"{}\"", paths::root().join("vsock").display());
    let text = fs::read_to_string(&manifest)?.replace("path = \"../../vsock\"", &vsock);
    fs::write(manifest, text)?;
    init(bench, mark, directory, &[], Expect::status(0))?;
    let all_pass = Expect::status(0)
        .out("test tests::numbers_keep_their_digits ... ok")
        .out("test primes::tests::segment_borders_lose_nothing ... ok")
        .out("test report::tests::every_end_is_counted_once ... ok")
        .out_not("FAILED");
    // Those without tests and with many dependencies are built elsewhere.
    let words = ["--exclude", "axum-service", "--exclude", "fetch"];
    let words = [&["test", "--release", "--workspace"], &words[..]].concat();
    cargo(bench, mark, directory, &words, all_pass)
}

/// Dependencies that do not build as released: replaced by `init` and by `build`, named when they are
/// not, and the lock file is as before in the end.
fn changed_crates(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    write_crate(directory)?;
    let path = directory.to_str().context("a path that is not text")?;
    let manifest = fs::read_to_string(directory.join("Cargo.toml"))?;
    let dependencies = "[dependencies]\npage_size = \"0.6\"\nwait-timeout = \"0.2\"\n";
    fs::write(directory.join("Cargo.toml"), format!("{manifest}\n{dependencies}"))?;
    fs::write(
        directory.join("src/main.rs"),
        r#"use std::process::Command;
use std::time::Duration;
use wait_timeout::ChildExt;

fn main() {
    let child = Command::new("/no/such/program").spawn();
    let ended = child.and_then(|mut child| child.wait_timeout(Duration::from_secs(1)));
    println!("{} {}", page_size::get_granularity(), ended.is_err());
}
"#,
    )?;
    let quiet = |args: &[&str]| cargo(bench, mark, directory, args, Expect::status(0));
    quiet(&["generate-lockfile", "--quiet"])?;
    let lock = || fs::read_to_string(directory.join("Cargo.lock"));
    let before = lock()?;

    // Built as it is, the crates are replaced for this build only.
    let said = Expect::status(0).stdout("4096 true\n");
    said.judge(&Tool::xtask(&["run", path]).run(bench, mark)?)?;
    ensure!(lock()? == before, "`build` has changed Cargo.lock");

    let named = Expect::status(0).err("page_size 0.6.0, wait-timeout 0.2");
    init(bench, mark, directory, &[], named.clone())?;
    cargo(bench, mark, directory, &["run", "--quiet", "--locked"], said.clone())?;
    // Build scripts and procedural macros use the same source on the host.
    quiet(&["build", "--quiet", "--locked", "--target", "x86_64-unknown-linux-gnu"])?;

    // A crate that is not replaced, as after an update of the dependencies.
    let config = directory.join(".cargo/config.toml");
    let whole = fs::read_to_string(&config)?;
    let without: String =
        whole.split_inclusive('\n').filter(|line| !line.starts_with("wait-timeout")).collect();
    ensure!(without != whole, "wait-timeout is not replaced:\n{whole}");
    fs::write(&config, without)?;
    let advice = Expect::status(101)
        .err("wait-timeout 0.2")
        .err("does not work on x86_64-unknown-skete as released")
        .err("cargo xtask init");
    cargo(bench, mark, directory, &["build", "--quiet"], advice)?;
    init(bench, mark, directory, &[], named)?;
    cargo(bench, mark, directory, &["run", "--quiet"], said)?;

    init(bench, mark, directory, &["--undo"], Expect::status(0))?;
    let after = lock()?;
    ensure!(after == before, "`init --undo` has left another Cargo.lock:\n{after}");
    Ok(())
}

/// Settings that are there already stay.
fn merges(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    write_crate(directory)?;
    fs::create_dir(directory.join(".cargo"))?;
    let config = directory.join(".cargo/config.toml");
    let before = "# of mine\n[alias]\nb = \"build\"\n\n[net]\nretry = 3\n";
    fs::write(&config, before)?;
    init(bench, mark, directory, &[], Expect::status(0))?;
    let merged = fs::read_to_string(&config)?;
    ensure!(
        merged.contains("# of mine") && merged.contains("retry = 3"),
        "something was lost:\n{merged}"
    );
    cargo(bench, mark, directory, &["b", "--quiet"], Expect::status(0))?;
    init(bench, mark, directory, &["--undo"], Expect::status(0))?;
    let after = fs::read_to_string(&config)?;
    ensure!(after == before, "`init --undo` has left this:\n{after}");
    Ok(())
}

/// Settings that contradict are left alone and named.
fn refuses(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    init(bench, mark, &directory.join("none"), &[], Expect::status(1).stdout("").err("none"))?;
    init(bench, mark, directory, &[], Expect::status(1).stdout("").err("Cargo.toml"))?;
    write_crate(directory)?;
    fs::create_dir(directory.join(".cargo"))?;
    let config = directory.join(".cargo/config.toml");
    let before = "[build]\ntarget = \"wasm32-wasip1\"\n";
    fs::write(&config, before)?;
    init(bench, mark, directory, &[], Expect::status(1).err("target"))?;
    ensure!(fs::read_to_string(&config)? == before, "the configuration was changed");
    Ok(())
}
