//! Programs that start with files: from a directory, from an archive, from the image itself.

#[path = "../../../../tests/programs/root/src/list.rs"]
mod list;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::Expect;
use super::machine_name;
use super::tools::Tool;
use crate::image::{self, BuildOptions, Profile};
use crate::process;
use crate::qemu::Machine;
use crate::root::{self, hermit};

const MIB: u64 = 1 << 20;

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 11] = [
        ("root/at-boot/microvm", |bench, mark| at_boot(bench, mark, Machine::Microvm)),
        ("root/at-boot/pc", |bench, mark| at_boot(bench, mark, Machine::Pc)),
        ("root/at-boot/q35", |bench, mark| at_boot(bench, mark, Machine::Q35)),
        ("root/changes", changes),
        ("root/archives", archives),
        ("root/in-the-image", in_the_image),
        ("root/hermit-image", hermit_image),
        ("root/layers", layers),
        ("root/large", large),
        ("root/plain-cargo", plain_cargo),
        ("root/tools", tools),
    ];
    cases.map(|(name, steps)| Case::steps(name, steps)).into()
}

/// A directory whose name QEMU would cut, with everything that a root can hold.
pub fn tree() -> Result<(TempDir, PathBuf)> {
    let place = tempfile::tempdir()?;
    let root = place.path().join("a root, with \"odd\" name");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_007);
    let write = |name: &Path, content: &[u8]| -> Result<()> {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(&path, content)?;
        File::options().write(true).open(&path)?.set_modified(old)?;
        Ok(())
    };
    write(Path::new("a"), b"the first file\n")?;
    write(Path::new("b"), b"the second file\n")?;
    write(Path::new("empty"), b"")?;
    write(Path::new("block"), &[7; 512])?;
    write(Path::new("etc/deep/er/still/name with spaces, comma"), b"x")?;
    write(Path::new("umläute/größe"), "Größe".as_bytes())?;
    write(Path::new(std::ffi::OsStr::from_bytes(b"not \xff text")), b"bytes")?;
    write(&Path::new(&"d".repeat(200)).join("n".repeat(255)), b"long names")?;
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    write(Path::new("large"), &large)?;
    write(Path::new("read-only"), b"no writing")?;
    fs::set_permissions(root.join("read-only"), fs::Permissions::from_mode(0o444))?;
    fs::create_dir(root.join("nothing in it"))?;
    // The system's own directories may be there.
    fs::create_dir(root.join("tmp"))?;
    fs::create_dir(root.join("dev"))?;
    fs::hard_link(root.join("large"), root.join("zzz the same"))?;
    symlink("a", root.join("link"))?;
    symlink("../nowhere", root.join("etc/dangling"))?;
    symlink("t".repeat(300), root.join("long link"))?;
    Ok((place, root))
}

/// What `root list` says about a directory here.
fn listing(directory: &Path) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    list::all(directory, &mut lines)?;
    ensure!(!lines.is_empty(), "there is nothing to be listed");
    Ok(lines)
}

fn lists() -> Guest {
    Guest::new("root").args(&["list", "/"])
}

fn at_boot(bench: &Bench, mark: &str, machine: Machine) -> Result<()> {
    let (_place, root) = tree()?;
    Expect::status(0)
        .stdout(listing(&root)?)
        .stderr("")
        .judge(&lists().on(machine).root(&root).run(bench, mark)?)
        .with_context(|| machine_name(machine))
}

fn changes(bench: &Bench, mark: &str) -> Result<()> {
    let (_place, root) = tree()?;
    Expect::status(0)
        .stdout("all changes are there\n")
        .stderr("")
        .judge(&Guest::new("root").args(&["change", "/"]).root(&root).run(bench, mark)?)
}

/// Archives of other programs, and an empty one.
fn archives(bench: &Bench, mark: &str) -> Result<()> {
    let (place, root) = tree()?;
    let expected = listing(&root)?;
    let archive = place.path().join("root.tar");
    for format in ["gnu", "pax", "posix", "oldgnu"] {
        process::run(
            Command::new("tar")
                .arg(format!("--format={format}"))
                .arg("-C")
                .arg(&root)
                .arg("-cf")
                .arg(&archive)
                .arg("."),
        )?;
        Expect::status(0)
            .stdout(expected.clone())
            .stderr("")
            .judge(&lists().root(&archive).run(bench, mark)?)
            .with_context(|| format!("tar --format={format}"))?;
    }
    process::run(Command::new("gzip").arg("--keep").arg(&archive))?;
    let compressed = place.path().join("root.tar.gz");
    Expect::status(0)
        .stdout(expected.clone())
        .stderr("")
        .judge(&lists().root(&compressed).run(bench, mark)?)
        .context("root.tar.gz")?;
    // Without the runner's help: the loader unpacks it.
    let mut by_hand = lists();
    by_hand.raw_root = Some(compressed);
    Expect::status(0)
        .stdout(expected)
        .stderr("")
        .judge(&by_hand.run(bench, mark)?)
        .context("root.tar.gz, unpacked by the loader")?;
    fs::write(&archive, [0; 1024])?;
    Expect::status(0)
        .stdout("")
        .stderr("")
        .judge(&lists().root(&archive).run(bench, mark)?)
        .context("an archive without entries")
}

/// A program with files inside, built so that no other build is disturbed.
fn with_files(bench: &Bench, root: &Path) -> Result<PathBuf> {
    let profile = "test-root";
    image::build_with(
        &bench.sdk,
        "root",
        &BuildOptions {
            profile: Profile::Custom(profile.to_owned()),
            quiet: true,
            config: vec![format!("profile.{profile}.inherits=\"release\"")],
            root: Some(root.to_owned()),
            ..BuildOptions::default()
        },
    )
}

fn in_the_image(bench: &Bench, mark: &str) -> Result<()> {
    let (place, root) = tree()?;
    let image = place.path().join("image");
    fs::copy(with_files(bench, &root)?, &image)?;
    Expect::status(0)
        .stdout(listing(&root)?)
        .stderr("")
        .judge(&lists().boot(&bench.sdk, &image, mark)?)?;
    Expect::status(0)
        .out("all changes are there")
        .judge(&Guest::new("root").args(&["change", "/"]).boot(&bench.sdk, &image, mark)?)
}

fn hermit_image(bench: &Bench, mark: &str) -> Result<()> {
    let (place, root) = tree()?;
    let config = "version = \"1\"\nkernel = \"the kernel\"\n[input]\nkernel_args = []\n\
                  app_args = [\"list\", \"/\"]\nenv_vars = [\"A=1\"]\n\
                  [requirements]\nmemory = \"64 MiB\"\ncpus = 1\n";
    fs::write(root.join("hermit.toml"), config)?;
    let elf = place.path().join("image");
    fs::copy(bench.image("root")?, &elf)?;
    let image = hermit::write(&elf, Some(&root))?;
    // The kernel's file is in the tree, too; it has no time.
    fs::copy(&elf, root.join("the kernel"))?;
    File::open(root.join("the kernel"))?.set_modified(SystemTime::UNIX_EPOCH)?;
    let expected = listing(&root)?;
    for machine in [Machine::Microvm, Machine::Pc] {
        let guest = Guest::new("root").on(machine);
        Expect::status(0)
            .stdout(expected.clone())
            .stderr("")
            .judge(&guest.boot(&bench.sdk, &image, mark)?)?;
    }
    // Arguments of the command line replace those of the image.
    Expect::status(0)
        .stdout("all changes are there\n")
        .judge(&Guest::new("root").args(&["change", "/"]).boot(&bench.sdk, &image, mark)?)?;
    // Without a root it is the program alone.
    let image = hermit::write(bench.image("hello")?, None)?;
    Expect::status(0)
        .stdout("Hello, world!\n")
        .stderr("")
        .judge(&Guest::new("hello").boot(&bench.sdk, &image, mark)?)
}

/// Files at boot lie over those of the image, which lie over those linked to the program.
fn layers(bench: &Bench, mark: &str) -> Result<()> {
    let place = tempfile::tempdir()?;
    let both = place.path().join("both");
    let layer = |name: &str, files: &[(&str, &str)]| -> Result<PathBuf> {
        let layer = place.path().join(name);
        for root in [&layer, &both] {
            for (file, content) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap_or(root))?;
                fs::write(&path, content)?;
                File::open(&path)?.set_modified(SystemTime::UNIX_EPOCH)?;
            }
        }
        for root in [&layer, &both] {
            File::open(root.join("d"))?.set_modified(SystemTime::UNIX_EPOCH)?;
        }
        Ok(layer)
    };
    let linked = layer("linked", &[("d/1", "linked"), ("d/2", "linked"), ("d/3", "linked")])?;
    let elf = place.path().join("image");
    fs::copy(with_files(bench, &linked)?, &elf)?;
    let inside = layer("inside", &[("d/2", "inside"), ("d/3", "inside"), ("d/4", "inside")])?;
    let at_boot = layer("at boot", &[("d/3", "at boot"), ("d/5", "at boot")])?;
    let image = hermit::write(&elf, Some(&inside))?;
    let got = lists().root(&at_boot).boot(&bench.sdk, &image, mark)?;
    let expected = String::from_utf8(listing(&both)?)?;
    Expect::status(0).stderr("").judge(&got)?;
    let listed = String::from_utf8_lossy(&got.stdout);
    let of_layers = listed.lines().filter(|line| line.contains(" d"));
    ensure!(of_layers.eq(expected.lines()), "the layers give\n{listed}instead of\n{expected}");
    Ok(())
}

/// 200 MiB in a machine that has no room for a second copy; and too much for a machine.
fn large(bench: &Bench, mark: &str) -> Result<()> {
    let place = tempfile::tempdir()?;
    let root = place.path();
    let mut file = File::create(root.join("large"))?;
    for megabyte in 0..200_u32 {
        let block = megabyte.to_le_bytes().repeat(1 << 18);
        file.write_all(&block)?;
    }
    drop(file);
    fs::write(root.join("small"), "small")?;
    let guest = lists().root(root);
    Expect::status(0)
        .stdout(listing(root)?)
        .stderr("")
        .judge(&guest.clone().memory(240 * MIB).run(bench, mark)?)?;
    Expect::status(1)
        .stdout("")
        .err_line("the root archive does not fit")
        .judge(&guest.memory(128 * MIB).run(bench, mark)?)
}

/// Plain cargo in a crate of its own: the runner's root, and one in the image, which is made again when a
/// file changes, comes or goes.
fn plain_cargo(bench: &Bench, mark: &str) -> Result<()> {
    let place = tempfile::tempdir()?;
    let directory = place.path().join("stranger");
    fs::create_dir_all(directory.join("src"))?;
    fs::write(
        directory.join("Cargo.toml"),
        "[package]\nname = \"stranger\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    fs::write(
        directory.join("src/main.rs"),
        "fn main() {\n    println!(\"{:?}\", std::fs::read_to_string(\"/greeting\").ok());\n}\n",
    )?;
    let path = directory.to_str().context("a path that is not text")?;
    Expect::status(0).judge(&Tool::xtask(&["init", path]).run(bench, mark)?)?;
    let root = place.path().join("files");
    fs::create_dir(&root)?;
    let greeting = root.join("greeting");
    let cargo = || Tool::cargo(&["run", "--quiet"]).within(&directory);
    let value = root.to_str().context("a path that is not text")?;
    let says = |tool: Tool, said: &str| -> Result<()> {
        Expect::status(0).stdout(format!("{said}\n")).judge(&tool.run(bench, mark)?)
    };
    // cargo sees a change by its time, which may have no more than a whole second.
    let write = |content: &str, seconds: u64| -> Result<()> {
        fs::write(&greeting, content)?;
        let time = SystemTime::now() + Duration::from_secs(seconds);
        File::open(&greeting)?.set_modified(time)?;
        Ok(())
    };
    says(cargo(), "None")?;
    write("hello", 0)?;
    says(cargo().env("SKETE_ROOT", value), "Some(\"hello\")")?;
    says(cargo(), "None")?;
    says(cargo().env("SKETE_BUILD_ROOT", value), "Some(\"hello\")")?;
    write("hello again", 2)?;
    says(cargo().env("SKETE_BUILD_ROOT", value), "Some(\"hello again\")")?;
    fs::remove_file(&greeting)?;
    says(cargo().env("SKETE_BUILD_ROOT", value), "None")?;
    says(cargo(), "None")?;
    Expect::status(101)
        .err("SKETE_BUILD_ROOT")
        .err("nowhere")
        .judge(&cargo().env("SKETE_BUILD_ROOT", "/nowhere").run(bench, mark)?)
}

/// What cannot be a root is refused before anything starts.
fn tools(bench: &Bench, mark: &str) -> Result<()> {
    let place = tempfile::tempdir()?;
    let path = |name: &str| -> Result<String> {
        let path = place.path().join(name);
        Ok(path.to_str().context("a path that is not text")?.to_owned())
    };
    let run = |root: &str| Tool::xtask(&["run", "hello", "--root", root]).run(bench, mark);
    let refused = |what: &str| Expect::status(1).stdout("").err(what);
    refused("cannot find the root").judge(&run(&path("none")?)?)?;
    fs::write(path("text")?, "no archive")?;
    refused("it does not begin with a tar header").judge(&run(&path("text")?)?)?;
    fs::write(path("gz")?, b"\x1f\x8b\x08 and so on")?;
    refused("cannot decompress the root").judge(&run(&path("gz")?)?)?;
    refused("neither a directory nor an archive").judge(&run("/dev/null")?)?;
    fs::create_dir(path("dir")?)?;
    std::os::unix::net::UnixListener::bind(path("dir/socket")?)?;
    let socket = run(&path("dir")?)?;
    refused("socket is a socket, which a root cannot hold").judge(&socket)?;
    // `build` gives an image in each format.
    fs::remove_file(path("dir/socket")?)?;
    fs::write(path("dir/file")?, "content")?;
    let build = ["build", "hello", "--root", &path("dir")?, "--format", "hermit"];
    Expect::status(0).out("hello.hermit\n").judge(&Tool::xtask(&build).run(bench, mark)?)?;
    let mut archive = Vec::new();
    root::write(place.path().join("dir").as_path(), &mut archive)?;
    ensure!(
        skete_archive::find(&archive, b"file").ok().flatten() == Some(b"content"),
        "the archive lacks the file"
    );
    Ok(())
}
