//! QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg): how many processors there are.

use x86_64::instructions::port::Port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
/// The item that has the device's signature.
const SIGNATURE: u16 = 0;
/// The item that has the number of processors.
const PROCESSORS: u16 = 5;

/// How many processors the machine has; `None` without the device.
pub fn processors() -> Option<u64> {
    (read(SIGNATURE) == *b"QEMU").then(|| u64::from(u32::from_le_bytes(read(PROCESSORS)) as u16))
}

/// The first bytes of an item. Ports without a device give ones.
fn read(item: u16) -> [u8; 4] {
    // SAFETY: the ports belong to this device, whose items may be read at will, or to none.
    unsafe {
        Port::new(SELECTOR).write(item);
        let mut data = Port::<u8>::new(DATA);
        [(); 4].map(|()| data.read())
    }
}
