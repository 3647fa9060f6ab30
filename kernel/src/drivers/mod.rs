//! Drivers: one file a kind of device.

pub mod net;
