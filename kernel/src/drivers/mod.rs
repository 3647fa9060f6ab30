//! Drivers: one file a kind of device.

pub mod block;
pub mod net;
