//! The steps, by room of the standard library.

pub mod collections;
pub mod environment;
pub mod files;
pub mod math;
pub mod memory;
pub mod net;
pub mod panics;
pub mod process;
pub mod stdio;
pub mod sync;
pub mod text;
pub mod threads;
pub mod time;
