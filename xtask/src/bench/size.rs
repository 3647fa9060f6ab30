//! Bytes of files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Measurement, Subject, Unit};

/// The sizes of image and loader.
pub fn measure(subject: &Subject) -> Result<Vec<Measurement>> {
    Ok(vec![
        bytes("hello: image, stripped", &subject.vm.image)?,
        bytes("loader", &subject.vm.loader)?,
    ])
}

/// The size of the image of a program that ends when it panics.
pub fn measure_aborting(subject: &Subject) -> Result<Measurement> {
    bytes("hello with panic = \"abort\": image, stripped", &subject.vm.image)
}

/// The bytes of all that a machine is given to boot.
pub fn booted(subject: &Subject) -> Result<u64> {
    Ok(size(&subject.vm.loader)? + size(&subject.vm.image)?)
}

fn bytes(name: &'static str, path: &Path) -> Result<Measurement> {
    Ok(Measurement { name, value: size(path)? as f64, unit: Unit::Bytes })
}

fn size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(metadata.len())
}
