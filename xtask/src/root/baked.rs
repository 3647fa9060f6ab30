//! An initial file tree inside an image: an object with the archive, linked to the program.

use std::ffi::OsString;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use tempfile::TempDir;
use walkdir::WalkDir;

/// The environment variable that names the directory, or the archive, for the compiler's wrapper.
pub const VARIABLE: &str = "SKETE_BUILD_ROOT";

/// The symbols at the archive's start and end, by which the kernel finds it.
const SYMBOLS: [&str; 2] = ["skete_root_start", "skete_root_end"];

/// What a program is linked with for its initial file tree.
#[derive(Default)]
pub struct Baked {
    /// The variable's value.
    path: Option<String>,
    /// The directory of the object, which is gone when this is dropped.
    object: Option<TempDir>,
}

impl Baked {
    /// Makes the object that the environment asks for, if it asks for one.
    pub fn from_environment() -> Result<Baked> {
        let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
            return Ok(Baked::default());
        };
        let path = path
            .into_string()
            .map_err(|path| anyhow!("{VARIABLE}={} is not UTF-8", path.display()))?;
        super::check(Path::new(&path)).context(VARIABLE)?;
        let directory = tempfile::tempdir().context("cannot make a directory for the root")?;
        write_object(Path::new(&path), &directory.path().join("root.o"))?;
        Ok(Baked { path: Some(path), object: Some(directory) })
    }

    /// The compiler's arguments.
    pub fn arguments(&self) -> Option<OsString> {
        let mut argument = OsString::from("-Clink-arg=");
        argument.push(self.object.as_ref()?.path().join("root.o"));
        Some(argument)
    }

    /// Files and directories that the object was made from. A name that a dependency file cannot express
    /// becomes one that is not there: cargo then links every time.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let Some(path) = &self.path else {
            return Vec::new();
        };
        // A directory's time changes when a name comes or goes.
        WalkDir::new(path)
            .into_iter()
            .filter_map(|entry| entry.ok())
            .filter(|entry| !entry.path_is_symlink() || entry.depth() == 0)
            .map(|entry| std::path::absolute(entry.path()).unwrap_or(entry.into_path()))
            .map(|path| match path.to_str() {
                Some(text) if !text.contains(['\n', '\r', '\\']) => path,
                _ => PathBuf::from("/a name that no dependency file can express"),
            })
            .collect()
    }

    /// The line of a dependency file that makes cargo link again when the variable changes.
    pub fn variable_line(&self) -> String {
        match &self.path {
            Some(path) => {
                let path = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
                format!("# env-dep:{VARIABLE}={path}\n")
            }
            None => format!("# env-dep:{VARIABLE}\n"),
        }
    }
}

/// Writes an object that has the archive as a read-only section. The linker drops it from a program that
/// opens no file.
fn write_object(root: &Path, to: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    super::write(root, &mut bytes)?;
    let length = bytes.len() as u64;
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let segment = object.segment_name(StandardSegment::Data).to_vec();
    let section = object.add_section(segment, b"skete_root".to_vec(), SectionKind::ReadOnlyData);
    object.set_section_data(section, bytes, 64);
    for (name, value) in SYMBOLS.into_iter().zip([0, length]) {
        object.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value,
            size: 0,
            kind: SymbolKind::Data,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
    }
    let file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    object
        .write_stream(BufWriter::new(file))
        .map_err(|error| anyhow!("cannot write {}: {error}", to.display()))
}
