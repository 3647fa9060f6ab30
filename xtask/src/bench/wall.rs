//! Wall time, relative to an image that does nothing: absolute times depend on the host.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Measurement, Subject, Unit, said};
use crate::qemu::Vm;

/// How many pairs of runs make a series; odd, so that one of them is the median.
const PAIRS: usize = 11;
/// How many series there are.
const SERIES: usize = 3;

/// The image's time in a microvm by that of an empty one: the median of pairs of runs, so that
/// what else the host does meets both alike; the lowest of several, because it can only slow them.
pub fn measure(subject: &Subject) -> Result<Measurement> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let path = directory.path().join("empty");
    fs::write(&path, empty()).with_context(|| format!("cannot write {}", path.display()))?;
    let image = subject.vm();
    let empty = Vm { loader: path, ..subject.vm() };
    // The first pair fills the host's caches.
    pair(&image, &empty)?;
    let mut lowest = f64::INFINITY;
    for _ in 0..SERIES {
        lowest = lowest.min(median(&image, &empty, PAIRS)?);
    }
    Ok(Measurement {
        name: "hello: wall time in a microvm, by that of an empty image",
        value: lowest,
        unit: Unit::Times,
    })
}

/// The median of so many pairs of runs: the first machine's time by the second one's.
pub fn median(one: &Vm, other: &Vm, pairs: usize) -> Result<f64> {
    let mut ratios = (0..pairs).map(|_| pair(one, other)).collect::<Result<Vec<f64>>>()?;
    ratios.sort_by(f64::total_cmp);
    ratios.get(pairs / 2).copied().context("no pair of runs was asked for")
}

/// Runs both machines and gives the first one's time by the second one's.
fn pair(image: &Vm, empty: &Vm) -> Result<f64> {
    let [image, empty] = [time(image)?, time(empty)?];
    Ok(image.as_secs_f64() / empty.as_secs_f64())
}

fn time(vm: &Vm) -> Result<Duration> {
    let outcome = vm.capture(None)?;
    if outcome.status != Some(0) {
        bail!("a run for time has failed: {}", said(&outcome));
    }
    Ok(outcome.wall)
}

/// The smallest program that QEMU boots: a multiboot header (Multiboot Specification 0.6.96,
/// section 3.1) and code that gives status 0 as `docs/boot-protocol.md` says.
fn empty() -> Vec<u8> {
    const BASE: u32 = 0x10_0000;
    const MAGIC: u32 = 0x1bad_b002;
    const ADDRESSES: u32 = 1 << 16;
    #[rustfmt::skip]
    let code = [
        0x31, 0xc0,                   // xor eax, eax
        0xe6, 0xea, 0xe6, 0xea,       // out 0xea, al; out 0xea, al
        0xe6, 0xea, 0xe6, 0xea,       // out 0xea, al; out 0xea, al
        0xe6, 0xf4,                   // out 0xf4, al
        0xfa,                         // cli
        0xf4,                         // hlt
        0xeb, 0xfd,                   // jmp to the hlt
    ];
    let header_size = 32;
    let end = BASE + header_size + u32::try_from(code.len()).unwrap_or_default();
    let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(ADDRESSES);
    let header = [MAGIC, ADDRESSES, checksum, BASE, BASE, end, end, BASE + header_size];
    let mut image: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(code);
    // QEMU looks for the header in the first 8 KiB and wants them all.
    image.resize(8192, 0);
    image
}
