//! Drivers: one file a kind of device.

pub mod block;
mod bytes;
pub mod console;
pub mod entropy;
pub mod net;
mod patience;
#[cfg(test)]
mod tests;
pub mod vsock;
