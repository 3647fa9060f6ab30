//! QEMU's firmware configuration device: files that the runner gives to the machine (QEMU,
//! docs/specs/fw_cfg.rst). Bytes are fetched by DMA, straight into the reader's buffer.

use x86_64::instructions::port::Port;

use super::paging;
use crate::mm::blocks::FRAME;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
/// The address of a request, big-endian: the high half here, the low half, which starts it, behind.
const DMA: u16 = 0x514;

const SIGNATURE: u16 = 0x0000;
const FEATURES: u16 = 0x0001;
const PROCESSORS: u16 = 0x0005;
const DIRECTORY: u16 = 0x0019;
const FEATURE_DMA: u32 = 1 << 1;

const ERROR: u32 = 1 << 0;
const READ: u32 = 1 << 1;
const SELECT: u32 = 1 << 3;

/// A file of the device. It is read from its start to its end, by one reader.
#[derive(Debug)]
pub struct File {
    key: u16,
    left: usize,
    selected: bool,
}

/// A request, in big-endian numbers.
#[repr(C, align(16))]
struct Request {
    control: u32,
    length: u32,
    address: u64,
}

fn select(key: u16) {
    // SAFETY: the device's selector; where there is no such device, the write goes nowhere.
    unsafe { Port::new(SELECTOR).write(key) };
}

fn bytes<const N: usize>() -> [u8; N] {
    // SAFETY: reading the data port moves on in the selected item; without a device it gives all ones.
    [(); N].map(|()| unsafe { Port::<u8>::new(DATA).read() })
}

fn is_there() -> bool {
    select(SIGNATURE);
    &bytes::<4>() == b"QEMU"
}

/// How many processors the machine has started with. `None` when it has no such device.
#[must_use]
pub fn processors() -> Option<u32> {
    is_there().then(|| {
        select(PROCESSORS);
        u16::from_le_bytes(bytes()).into()
    })
}

impl File {
    /// The file with this name. `None` when the machine has no such device, or the device no such file.
    #[must_use]
    pub fn open(name: &str) -> Option<File> {
        if !is_there() {
            return None;
        }
        select(FEATURES);
        if u32::from_le_bytes(bytes()) & FEATURE_DMA == 0 {
            return None;
        }
        select(DIRECTORY);
        let count = u32::from_be_bytes(bytes());
        (0..count).find_map(|_| {
            let size = u32::from_be_bytes(bytes());
            let [high, low, _, _] = bytes();
            let entry: [u8; 56] = bytes();
            let length = entry.iter().position(|byte| *byte == 0).unwrap_or(entry.len());
            (&entry[..length] == name.as_bytes()).then_some(File {
                key: u16::from_be_bytes([high, low]),
                left: size as usize,
                selected: false,
            })
        })
    }

    /// Reads the next bytes; 0 is the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let length = buffer.len().min(self.left);
        let mut done = 0;
        while done < length {
            let place = &mut buffer[done..length];
            let part = place.len().min(FRAME - place.as_ptr() as usize % FRAME);
            // The page may not have been touched yet.
            place[0] = 0;
            let Some(physical) = paging::translate(place.as_ptr() as usize) else {
                break;
            };
            if !self.fetch(physical, part) {
                break;
            }
            done += part;
        }
        self.left -= done;
        done
    }

    fn fetch(&mut self, physical: usize, length: usize) -> bool {
        let mut control = READ;
        if !self.selected {
            control |= u32::from(self.key) << 16 | SELECT;
            self.selected = true;
        }
        let mut request = Request {
            control: control.to_be(),
            length: (length as u32).to_be(),
            address: (physical as u64).to_be(),
        };
        let Some(address) = paging::translate(&raw const request as usize) else {
            return false;
        };
        // SAFETY: the device reads the request, which its alignment keeps on one page, and writes
        // `length` bytes of the reader's page, all before the second write returns; then it clears
        // the control word, or sets its error bit.
        unsafe {
            Port::<u32>::new(DMA).write(((address as u64 >> 32) as u32).to_be());
            Port::<u32>::new(DMA + 4).write((address as u32).to_be());
            let control = &raw mut request.control;
            loop {
                match u32::from_be(control.read_volatile()) {
                    0 => return true,
                    state if state & ERROR != 0 => return false,
                    _ => core::hint::spin_loop(),
                }
            }
        }
    }
}
