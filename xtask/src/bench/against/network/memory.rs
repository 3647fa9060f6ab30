//! What a server needs: bytes that are booted, and memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::super::memory::{IMAGES, Search};
use super::super::super::{Subject, Unit};
use super::super::{Pair, Row, Systems};
use super::{READY, published};
use crate::net::http;
use crate::qemu::{Bytes, Machine, Vm};
use crate::service::Service;

/// How often a server with little memory is asked, one after the other.
const REQUESTS: usize = 20;
/// A machine that does not serve by then has too little memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// For kernels of Linux.
const KERNELS: Search = Search { least: 16 << 20, most: 256 << 20, step: 1 << 20 };

/// Settings of who wants a small image.
const SMALL: [&str; 4] = [
    r#"profile.release.panic="abort""#,
    r#"profile.release.opt-level="s""#,
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
];

/// The bytes of the stripped image, with default settings and [`SMALL`] ones, and of a kernel with its archive.
pub fn sizes(systems: &Systems, pair: &Pair) -> Result<[Row; 2]> {
    let bytes = |path: &std::path::Path| -> Result<f64> {
        let size = fs::metadata(path).with_context(|| format!("no {}", path.display()))?;
        Ok(size.len() as f64)
    };
    let linux = &pair.linux.vm;
    let linux = bytes(&linux.image)? + bytes(systems.linux.kernel())?;
    let usual = bytes(&pair.skete.vm.image)?;
    let small = bytes(&Subject::build_with("httpd", &SMALL)?.vm.image)?;
    Ok([
        Row::new("httpd: image, stripped", Unit::Bytes, [usual, linux]),
        Row::new("httpd built for size: image, stripped", Unit::Bytes, [small, linux]),
    ])
}

/// The least memory with which requests are answered: in a microvm, and on Linux on a PC.
pub fn measure(pair: &Pair) -> Result<Row> {
    let least = |search: Search, subject: &Subject, machine: Machine| {
        search.find(|memory| {
            let vm = Vm { machine, memory: Bytes(memory), ..subject.vm() };
            Ok(serves(vm))
        })
    };
    let values = [
        least(IMAGES, &pair.skete, Machine::Microvm).context("on Skete")?,
        least(KERNELS, &pair.linux, Machine::Pc).context("on Linux")?,
    ];
    Ok(Row::new(
        "httpd: least memory",
        Unit::Mebibytes,
        values.map(|bytes| bytes as f64 / f64::from(1 << 20)),
    ))
}

/// Whether a machine answers requests.
fn serves(vm: Vm) -> bool {
    let served = || -> Result<()> {
        let (vm, address) = published(vm)?;
        let service = Service::boot(vm)?;
        service.wait_for(READY, PATIENCE)?;
        for _ in 0..REQUESTS {
            http::once(address, "/")?;
        }
        service.check()
    };
    served().is_ok()
}
