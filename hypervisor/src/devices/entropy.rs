//! A source of random numbers (section 5.4): the host's own.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

use super::parts::Parts;
use super::queue::{Active, Chain, Device, Model, Worker};
use crate::memory::Memory;

const ENTROPY: u32 = 4;
/// The most bytes that a request gets. A driver asks again for more.
const MOST: usize = 4096;

struct Source;

/// A source.
pub fn source() -> Device {
    let model = Model {
        id: ENTROPY,
        features: 0,
        configuration: Vec::new(),
        queues: 1,
        share: |_, _, _| vec![0],
    };
    (model, vec![Box::new(Source)])
}

/// Fills a request's buffers.
fn fill(memory: &Memory, request: &Chain) -> u32 {
    let Some(to) = Parts::of(memory, request.clone().writable()) else {
        return 0;
    };
    let mut bytes = [0; MOST];
    let wanted = to.len().min(MOST);
    let got = getrandom(&mut bytes[..wanted], GetRandomFlags::empty());
    got.map_or(0, |length| to.copy_from(&bytes[..length]) as u32)
}

impl Worker for Source {
    fn run(&mut self, active: &mut Active) -> io::Result<()> {
        loop {
            active.serve(0, |memory, request| fill(memory, &request))?;
            if active.wait(None)?.is_none() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::super::tests::{Driver, Part};
    use super::*;

    #[test]
    fn requests_are_filled() -> Result<()> {
        let mut driver = Driver::new(source(), 0)?;
        let first = driver.request(0, &[Part::Write(32), Part::Write(32)])?;
        let second = driver.request(0, &[Part::Write(64)])?;
        assert_eq!((first.len(), second.len()), (64, 64));
        assert!(first != second && first[..32] != first[32..]);
        // No more than a request gets; nothing that is not in the memory, or not to be written.
        assert_eq!(driver.request(0, &[Part::Write(0x3000)])?.len(), MOST);
        assert_eq!(driver.request(0, &[Part::Raw(2 << 20, 64, 2)])?.len(), 0);
        assert_eq!(driver.request(0, &[Part::Read(&[7; 64])])?.len(), 0);
        Ok(())
    }
}
