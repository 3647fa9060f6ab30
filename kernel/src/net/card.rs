use core::num::NonZeroU16;
#[derive(Debug)]
pub enum Transmitter {}
#[derive(Debug, Clone, Copy)]
pub struct Offloads {
    pub checksum: bool,
    pub tcpv4: bool,
    pub tcpv6: bool,
}
impl Transmitter {
    pub fn mtu(&self) -> u16 {
        match *self {}
    }
    pub fn offloads(&self) -> Offloads {
        match *self {}
    }
    pub fn can_transmit(&mut self) -> bool {
        match *self {}
    }
    pub fn flush(&mut self) {
        match *self {}
    }
    pub fn transmit<R>(
        &mut self,
        _: usize,
        _: Option<NonZeroU16>,
        _: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        match *self {}
    }
}
