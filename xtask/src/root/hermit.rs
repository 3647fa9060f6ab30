//! Hermit's image format: a compressed tar archive with a configuration, the kernel, and files.
//!
//! The crate `hermit-entry` describes it (`hermit_entry::config`); loaders that follow it boot such an
//! image too.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use tar::Builder;

use super::pack;

/// The configuration's name in the archive.
const CONFIG: &str = "hermit.toml";
/// The configuration for a root that has none.
const DEFAULT: &str = "\
version = \"1\"
kernel = \"kernel.elf\"

[input]
kernel_args = []
app_args = []
";

/// What is needed of a configuration here. The loader reads the rest.
#[derive(Deserialize)]
struct Config {
    version: String,
    kernel: String,
}

/// Writes the Hermit image of an ELF image beside it, with the files of `root`, and gives its path. A root
/// may have a `hermit.toml` of its own, which then says how the program is started.
pub fn write(image: &Path, root: Option<&Path>) -> Result<PathBuf> {
    let to = image.with_added_extension("hermit");
    write_to(image, root, &to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to)
}

fn write_to(image: &Path, root: Option<&Path>, to: &Path) -> Result<()> {
    // In full, or not at all.
    let directory = to.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory)?;
    let compressed = GzEncoder::new(BufWriter::new(file), Compression::default());
    let mut archive = Builder::new(compressed);
    let kernel = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let (files, own) = match root {
        Some(root) => Files::open(root)?,
        None => (Files::None, None),
    };
    let text = own.as_deref().unwrap_or(DEFAULT);
    let config: Config =
        toml::from_str(text).with_context(|| format!("cannot read the root's {CONFIG}"))?;
    if config.version != "1" {
        bail!("the root's {CONFIG} has version {:?}; the only one is \"1\"", config.version);
    }
    let name = config.kernel.trim_start_matches('/');
    if name.is_empty() || Path::new(name).components().any(|part| part.as_os_str() == "..") {
        bail!("the root's {CONFIG} has no usable name for the kernel: {name:?}");
    }
    if files.has(name) {
        bail!(
            "the root has a file {name}, which is to be the image's kernel: give one of them another name"
        );
    }
    if own.is_none() {
        pack::bytes(&mut archive, CONFIG, DEFAULT.as_bytes())?;
    }
    pack::bytes(&mut archive, name, &kernel)?;
    match files {
        Files::None => {}
        Files::Directory(root) => pack::directory(root, &mut archive)?,
        Files::Archive { bytes, end } => archive.get_mut().write_all(&bytes[..end])?,
    }
    let file = archive.into_inner()?.finish()?.into_inner()?;
    file.as_file().sync_data()?;
    let mode = File::open(image)?.metadata()?.permissions();
    file.as_file().set_permissions(mode)?;
    file.persist(to)?;
    Ok(())
}

/// Where an image's files come from.
enum Files<'a> {
    None,
    Directory(&'a Path),
    /// An archive, and where its end mark begins.
    Archive {
        bytes: Vec<u8>,
        end: usize,
    },
}

impl<'a> Files<'a> {
    /// Opens a root; gives its configuration as well, if it has one.
    fn open(root: &'a Path) -> Result<(Files<'a>, Option<String>)> {
        super::check(root)?;
        if root.is_dir() {
            let config = root.join(CONFIG);
            let text = match config.exists() {
                true => Some(fs::read_to_string(&config)),
                false => None,
            };
            let text =
                text.transpose().with_context(|| format!("cannot read {}", config.display()))?;
            return Ok((Files::Directory(root), text));
        }
        let mut bytes = Vec::new();
        super::open(root)?.read_to_end(&mut bytes)?;
        let mut entries = skete_archive::entries(&bytes);
        // Its damage, if there was any, has been told.
        let end = match entries.by_ref().all(|entry| entry.is_ok()) {
            true => entries.end().unwrap_or_default(),
            false => bail!("the root {} has changed", root.display()),
        };
        let config = skete_archive::find(&bytes, CONFIG.as_bytes()).ok().flatten();
        let text = config.map(|text| String::from_utf8(text.to_vec())).transpose();
        let text = text.with_context(|| format!("the root's {CONFIG} is not UTF-8"))?;
        Ok((Files::Archive { bytes, end }, text))
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Files::None => false,
            Files::Directory(root) => root.join(name).symlink_metadata().is_ok(),
            Files::Archive { bytes, .. } => {
                matches!(skete_archive::find(bytes, name.as_bytes()), Ok(Some(_)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use hermit_entry::config::{Config, parse_tar};

    fn unpacked(image: &Path) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(image)?).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Hermit's own reader finds what was put in, whichever way the files come.
    #[test]
    fn hermit_s_own_reader_reads_it() -> Result<()> {
        let place = tempfile::tempdir()?;
        let image = place.path().join("app");
        fs::write(&image, "\x7fELF and so on")?;
        let root = place.path().join("root");
        fs::create_dir_all(root.join("etc"))?;
        fs::write(root.join("etc/motd"), "hello")?;
        fs::write(root.join("n".repeat(200)), "long")?;
        let own = DEFAULT
            .replace("kernel.elf", "boot/app")
            .replace("app_args = []", "app_args = [\"a b\"]");

        let plain = unpacked(&write(&image, None)?)?;
        assert_eq!(parse_tar(&plain).map_err(anyhow::Error::msg)?.raw_kernel, b"\x7fELF and so on");
        let with_files = unpacked(&write(&image, Some(&root))?)?;
        assert!(parse_tar(&with_files).is_ok());
        assert_eq!(
            skete_archive::find(&with_files, b"etc/motd").ok().flatten(),
            Some(&b"hello"[..])
        );

        fs::write(root.join(CONFIG), own)?;
        let archive = place.path().join("root.tar");
        super::super::write(&root, File::create(&archive)?)?;
        for root in [&root, &archive] {
            let bytes = unpacked(&write(&image, Some(root))?)?;
            let parsed = parse_tar(&bytes).map_err(anyhow::Error::msg)?;
            let Config::V1 { input, kernel, .. } = parsed.config;
            assert_eq!((&*kernel, &input.app_args[..]), ("boot/app", &["a b".into()][..]));
            assert_eq!(parsed.raw_kernel, b"\x7fELF and so on");
            let long = skete_archive::find(&bytes, "n".repeat(200).as_bytes());
            assert_eq!(long.ok().flatten(), Some(&b"long"[..]));
        }

        // The same files give the same image.
        let first = fs::read(write(&image, Some(&root))?)?;
        assert_eq!(fs::read(write(&image, Some(&root))?)?, first);

        fs::create_dir(root.join("boot"))?;
        fs::write(root.join("boot/app"), "in the way")?;
        let error = write(&image, Some(&root)).err().context("an error")?;
        assert!(format!("{error:#}").contains("boot/app"), "{error:#}");
        Ok(())
    }
}
