//! Drivers: one file a kind of device.

pub mod block;
pub mod console;
pub mod entropy;
pub mod net;
mod patience;
