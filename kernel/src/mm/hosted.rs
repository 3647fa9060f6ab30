//! Frames on a host: the system's allocator stands in for physical memory.

pub use super::blocks::FRAME;
