//! Bytes of files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Measurement, Subject, Unit};

/// The sizes of image and loader.
pub fn measure(subject: &Subject) -> Result<Vec<Measurement>> {
    Ok(vec![
        bytes("hello: image, stripped", &subject.stripped)?,
        bytes("loader", &subject.sdk.loader)?,
    ])
}

/// The size of the image of a program that ends when it panics.
pub fn measure_aborting(subject: &Subject) -> Result<Measurement> {
    bytes(
        "hello with panic = \"abort\": image, stripped",
        &subject.stripped,
    )
}

fn bytes(name: &'static str, path: &Path) -> Result<Measurement> {
    let size = fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .len();
    Ok(Measurement {
        name,
        value: size as f64,
        unit: Unit::Bytes,
    })
}
