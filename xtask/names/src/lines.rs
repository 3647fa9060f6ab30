//! The lines of an image, by its debug information.

use std::path::Path;

use addr2line::Loader;
use anyhow::{Context, Result};
use object::{Object, ObjectSection, SectionKind};

use crate::table::{Place, Table};

/// Puts file and line of every instruction into the table, as far as the image knows them. Files
/// below the current directory, which is the workspace's when cargo links, are named from there.
pub fn collect(path: &Path, image: &[u8], base: u64, table: &mut Table) -> Result<()> {
    let file = object::File::parse(image)?;
    if file.section_by_name(".debug_line").is_none() {
        return Ok(());
    }
    let dwarf = Loader::new(path)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("cannot read the debug information")?;
    let directory = std::env::current_dir().unwrap_or_default();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let end = section.address() + section.size();
        let rows = dwarf.find_location_range(section.address(), end);
        let rows = rows.map_err(|error| anyhow::anyhow!("{error}"))?;
        // The end of the last line, behind which is none until the next one.
        let mut last = None;
        for (start, size, _) in rows {
            if last.is_some_and(|last| last < start) {
                table.line((last.unwrap_or(start) - base) as u32, &[]);
            }
            table.line((start - base) as u32, &places(&dwarf, start, &directory));
            last = Some(start + size);
        }
        if let Some(last) = last {
            table.line((last - base) as u32, &[]);
        }
    }
    Ok(())
}

/// The places that an instruction belongs to, the innermost of inlined functions first.
fn places(dwarf: &Loader, address: u64, directory: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    let Ok(mut frames) = dwarf.find_frames(address) else {
        return places;
    };
    while let Ok(Some(frame)) = frames.next() {
        let Some(function) = &frame.function else {
            // A line without a function: the symbol's name says more.
            return Vec::new();
        };
        let name = function.demangle().map(|name| name.into_owned());
        let location = frame.location.as_ref();
        places.push(Place {
            function: name.unwrap_or_default(),
            file: named_from(directory, location.and_then(|location| location.file)),
            line: location.and_then(|location| location.line).unwrap_or(0),
            column: location.and_then(|location| location.column).unwrap_or(0),
        });
    }
    places
}

fn named_from(directory: &Path, file: Option<&str>) -> String {
    let file = file.unwrap_or_default();
    match Path::new(file).strip_prefix(directory) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => file.to_owned(),
    }
}
