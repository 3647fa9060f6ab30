//! The least memory in which a program still runs.

use anyhow::{Result, bail};

use super::{Measurement, Subject, Unit};
use crate::qemu::{Bytes, Machine, Vm};

/// What the search starts from: less has no room for a loader at 1 MiB.
const LEAST: u64 = 2 << 20;
/// What every program of the bench must run with.
const MOST: u64 = 64 << 20;
/// How exact the answer is.
const STEP: u64 = 64 << 10;

/// The least memory on the smallest machine and on the classic one.
pub fn measure(subject: &Subject, expected: &[u8]) -> Result<Vec<Measurement>> {
    let machines = [
        ("hello: least memory, microvm", Machine::Microvm),
        ("hello: least memory, pc", Machine::Pc),
    ];
    machines
        .into_iter()
        .map(|(name, machine)| {
            let runs = |memory| {
                let vm = Vm {
                    machine,
                    memory: Bytes(memory),
                    ..subject.vm()
                };
                let outcome = vm.capture(None)?;
                Ok(outcome.status == Some(0) && outcome.stdout == expected)
            };
            let bytes = least(runs)?;
            Ok(Measurement {
                name,
                value: bytes as f64 / f64::from(1 << 20),
                unit: Unit::Mebibytes,
            })
        })
        .collect()
}

/// Searches by halves for the least memory with which `runs` says yes.
fn least(runs: impl Fn(u64) -> Result<bool>) -> Result<u64> {
    if !runs(MOST)? {
        bail!("the program does not run with {} MiB of memory", MOST >> 20);
    }
    let (mut low, mut high) = (LEAST / STEP, MOST / STEP);
    while low < high {
        let middle = low.midpoint(high);
        if runs(middle * STEP)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(high * STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_found() -> Result<()> {
        for border in [LEAST, LEAST + STEP, 5 << 20, MOST] {
            assert_eq!(least(|memory| Ok(memory >= border))?, border);
        }
        assert!(least(|_| Ok(false)).is_err());
        Ok(())
    }
}
