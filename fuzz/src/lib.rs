//! What the fuzz targets do with their input: one driver each, which panics when it finds something wrong.

pub mod archive;
pub mod calls;
pub mod devices;
pub mod filesystem;
pub mod memory;
pub mod names;
pub mod seeds;
