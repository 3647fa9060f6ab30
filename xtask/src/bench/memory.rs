//! The least memory in which a program still runs.

use anyhow::{Result, bail};

use super::{Measurement, Subject, Unit};
use crate::qemu::{Bytes, Machine, Vm};

/// Where the least memory is looked for, in bytes.
pub struct Search {
    /// The least that is tried.
    pub least: u64,
    /// With this it must run.
    pub most: u64,
    /// How exact the answer is.
    pub step: u64,
}

/// For images: less has no room for a loader at 1 MiB.
pub const IMAGES: Search = Search { least: 2 << 20, most: 64 << 20, step: 64 << 10 };

/// The least memory on the smallest machine and on the classic one.
pub fn measure(subject: &Subject, expected: &[u8]) -> Result<Vec<Measurement>> {
    let machines = [
        ("hello: least memory, microvm", Machine::Microvm),
        ("hello: least memory, pc", Machine::Pc),
    ];
    machines
        .into_iter()
        .map(|(name, machine)| {
            let vm = Vm { machine, ..subject.vm() };
            Ok(Measurement { name, value: IMAGES.mebibytes(&vm, expected)?, unit: Unit::Mebibytes })
        })
        .collect()
}

impl Search {
    /// The least memory with which a machine's program writes what is expected.
    pub fn mebibytes(&self, vm: &Vm, expected: &[u8]) -> Result<f64> {
        let bytes = self.find(|memory| {
            let vm = Vm { memory: Bytes(memory), ..vm.clone() };
            let outcome = vm.capture(None)?;
            Ok(outcome.status == Some(0) && outcome.stdout == expected)
        })?;
        Ok(bytes as f64 / f64::from(1 << 20))
    }

    /// Searches by halves for the least memory with which `runs` says yes.
    pub fn find(&self, runs: impl Fn(u64) -> Result<bool>) -> Result<u64> {
        if !runs(self.most)? {
            bail!("the program does not run with {} MiB of memory", self.most >> 20);
        }
        let (mut low, mut high) = (self.least / self.step, self.most / self.step);
        while low < high {
            let middle = low.midpoint(high);
            if runs(middle * self.step)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(high * self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_found() -> Result<()> {
        let Search { least, most, step } = IMAGES;
        for border in [least, least + step, 5 << 20, most] {
            assert_eq!(IMAGES.find(|memory| Ok(memory >= border))?, border);
        }
        assert!(IMAGES.find(|_| Ok(false)).is_err());
        Ok(())
    }
}
