//! What a machine costs the host while its server waits for connections.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::super::{Subject, Unit};
use super::super::{Pair, Row};
use super::{READY, server};
use crate::net::http;
use crate::net::lan::Lan;
use crate::process;
use crate::qemu::Vm;
use crate::service::Service;

/// How long it is watched.
const TIME: Duration = Duration::from_secs(10);

/// The share of a host's processor, on two processors.
pub fn measure(pair: &Pair) -> Result<Row> {
    let values = pair.both(share)?;
    Ok(Row::new("httpd idle for 10 s, two processors: a host's processor", Unit::Percent, values))
}

fn share(subject: &Subject) -> Result<f64> {
    let vm = subject.vm();
    let lan = Lan::new(vm.machine, 2)?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = directory.path().join("pid");
    let mut vm = Vm { smp: 2, ..lan.connect(vm) };
    vm.qemu_args.extend(["-pidfile".into(), file.clone().into()]);
    let service = Service::start(vm, READY)?;
    // Everything has come up once, and has calmed down.
    lan.namespace.within(|| http::once(server(), "/"))?;
    thread::sleep(Duration::from_secs(2));
    let process = fs::read_to_string(&file).context("QEMU wrote no process number")?;
    let process = process.trim().parse().context("QEMU wrote no process number")?;
    let (start, before) = (Instant::now(), process::processor_time(process)?);
    thread::sleep(TIME);
    let used = process::processor_time(process)?.saturating_sub(before);
    let share = 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64();
    service.check()?;
    service.stop()?;
    Ok(share)
}
