//! Archives and Hermit images that cannot be used: one clear line, and a status that says so.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::Expect;

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 4] = [
        ("root/damaged/archives", archives),
        ("root/damaged/unused", unused),
        ("root/damaged/compressed", compressed),
        ("root/damaged/hermit-images", hermit_images),
    ];
    cases.map(|(name, steps)| Case::steps(name, steps)).into()
}

/// An archive of entries whose names stand in the headers as they are.
fn archive(entries: &[(EntryType, &[u8], &[u8])]) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        builder.append(&header, *content)?;
    }
    Ok(builder.into_inner()?)
}

/// Changes a header, and puts its checksum right again.
fn patched(mut archive: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    archive[offset..offset + bytes.len()].copy_from_slice(bytes);
    let start = offset / 512 * 512;
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(&archive[start..start + 512]);
    header.set_cksum();
    archive[start..start + 512].copy_from_slice(header.as_bytes());
    archive
}

/// Boots `guest` with each file as its root, or as its image.
fn each(
    cases: Vec<(&str, Vec<u8>)>,
    status: i32,
    start: &str,
    run: impl Fn(&std::path::Path) -> Result<super::super::expect::Got>,
) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    for (what, bytes) in cases {
        fs::write(file.path(), bytes)?;
        Expect::status(status)
            .stdout("")
            .err_line(start)
            .err(what)
            .judge(&run(file.path())?)
            .with_context(|| what.to_owned())?;
    }
    Ok(())
}

fn archives(bench: &Bench, mark: &str) -> Result<()> {
    use EntryType::{Directory, Fifo, Link, Regular};
    let two = || archive(&[(Regular, b"a", b"first"), (Regular, b"b", b"second")]);
    let mut flipped = two()?;
    flipped[1024 + 3] ^= 1;
    let cases = vec![
        ("it does not begin with a tar header", b"no archive\n".repeat(100)),
        ("the header's checksum is wrong (byte 1024)", flipped),
        (
            "the content reaches past the end of the archive (byte 1024, `b`)",
            patched(two()?, 1024 + 124, b"00007777777\0"),
        ),
        (
            "a number in the header cannot be read (byte 0, `a`)",
            patched(two()?, 124, b"not a number"),
        ),
        ("it breaks off without an end (byte 2048)", two()?[..2048].to_vec()),
        (
            "the content reaches past the end of the archive (byte 1024, `b`)",
            two()?[..1600].to_vec(),
        ),
        ("something follows behind its end (byte 2048)", [two()?, two()?].concat()),
        (
            "the name leads out of the tree with `..` (byte 0, `a/../../b`)",
            archive(&[(Regular, b"a/../../b", b"")])?,
        ),
        (
            "the name is absolute (byte 0, `/etc/passwd`)",
            archive(&[(Regular, b"/etc/passwd", b"")])?,
        ),
        (
            "a directory is needed where an earlier entry is none (byte 1024, `a/b`)",
            archive(&[(Regular, b"a", b"1"), (Regular, b"a/b", b"2")])?,
        ),
        (
            "a directory is needed where an earlier entry is none (byte 1024, `a`)",
            archive(&[(Regular, b"a", b"1"), (Directory, b"a", b"")])?,
        ),
        (
            "the name occurs twice (byte 1024, `./a`)",
            archive(&[(Regular, b"a", b"1"), (Regular, b"./a", b"2")])?,
        ),
        (
            "a directory or a device has this name already (byte 0, `dev/null`)",
            archive(&[(Regular, b"dev/null", b"")])?,
        ),
        (
            "the hard link's target is no file of an earlier entry",
            patched(archive(&[(Link, b"a", b"")])?, 157, b"b"),
        ),
        (
            "it is a pipe, which a root cannot hold (byte 0, `p\u{fffd}`)",
            archive(&[(Fifo, b"p\xef\xbf\xbd", b"")])?,
        ),
    ];
    each(cases, 72, "skete: the root archive cannot be used: ", |file| {
        let mut guest = Guest::new("root").args(&["list", "/"]);
        guest.raw_root = Some(file.to_owned());
        guest.run(bench, mark)
    })
}

/// A program that uses no file has no use for a root.
fn unused(bench: &Bench, mark: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "no archive")?;
    let mut guest = Guest::new("hello");
    guest.raw_root = Some(file.path().to_owned());
    Expect::status(0).stdout("Hello, world!\n").stderr("").judge(&guest.run(bench, mark)?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

/// What the loader itself has to unpack.
fn compressed(bench: &Bench, mark: &str) -> Result<()> {
    let fine = gzip(&archive(&[(EntryType::Regular, b"a", &[7; 100_000])])?)?;
    let end = fine.len();
    let changed = |at: usize, bits: u8| {
        let mut bytes = fine.clone();
        bytes[at] ^= bits;
        bytes
    };
    let cases = vec![
        ("", fine[..end / 2].to_vec()),
        ("it breaks off", fine[..12].to_vec()),
        ("its header has unknown flags", changed(3, 0x80)),
        ("its checksum is wrong", changed(end - 7, 1)),
        ("its length is not the one that it states", changed(end - 3, 1)),
        ("something follows behind the compressed data", [&fine[..], &fine[..]].concat()),
    ];
    each(cases, 1, "skete-loader: the compressed root archive ", |file| {
        let mut guest = Guest::new("root").args(&["list", "/"]);
        guest.raw_root = Some(file.to_owned());
        guest.run(bench, mark)
    })
}

fn hermit_images(bench: &Bench, mark: &str) -> Result<()> {
    let hello = fs::read(bench.image("hello")?)?;
    let config = "version = \"1\"\nkernel = \"k\"\n[input]\nkernel_args = []\napp_args = []\n[requirements]\ncpus = 1\n";
    let image = |config: &str, kernel: &[u8]| {
        let entries = [
            (EntryType::Regular, &b"hermit.toml"[..], config.as_bytes()),
            (EntryType::Regular, b"k", kernel),
        ];
        gzip(&archive(&entries)?)
    };
    let with = |old: &str, new: &str| image(&config.replace(old, new), &hello);
    let fine = with("", "")?;
    let got = {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), &fine)?;
        Guest::new("hello").boot(&bench.sdk, file.path(), mark)?
    };
    Expect::status(0).stdout("Hello, world!\n").judge(&got)?;
    let mut broken = archive(&[(EntryType::Regular, b"hermit.toml", config.as_bytes())])?;
    broken[5] ^= 1;
    let cases = vec![
        (
            // What stands where the length should be may be any number.
            "the compressed image ",
            fine[..fine.len() / 2].to_vec(),
        ),
        ("the compressed image is damaged", fine[..18].to_vec()),
        (
            "the archive in the image is damaged (it does not begin with a tar header, byte 0)",
            gzip(&broken)?,
        ),
        (
            "hermit.toml cannot be used (the image does not have one)",
            gzip(&archive(&[(EntryType::Regular, b"k", &hello)])?)?,
        ),
        ("no file of the name that its hermit.toml gives as `kernel`", with("\"k\"", "\"other\"")?),
        ("its `version` is not \"1\"", with("\"1\"", "\"2\"")?),
        ("it lacks `version`", with("version = \"1\"", "")?),
        ("it lacks `kernel`", with("kernel = \"k\"", "")?),
        ("it lacks `app_args` in `[input]`", with("app_args = []", "")?),
        ("a value in it has the wrong type", with("\"k\"", "1")?),
        ("it is not valid TOML", with("\"k\"", "\"k")?),
        ("it is not UTF-8", gzip(&archive(&[(EntryType::Regular, b"hermit.toml", b"\xff")])?)?),
        ("the image asks for 1048576 KiB of memory", with("cpus = 1", "memory = \"1 GiB\"")?),
        ("the image asks for 4 processors, the machine has 1", with("cpus = 1", "cpus = 4")?),
        ("the image is not an ELF file", image(config, b"no program")?),
        ("the image is damaged", image(config, &hello[..5000])?),
    ];
    each(cases, 1, "skete-loader: ", |file| Guest::new("hello").boot(&bench.sdk, file, mark))
}
