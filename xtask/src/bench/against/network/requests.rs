//! Guest instructions of requests: of 2 N requests less those of N, so that what is done once drops out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};

use super::super::super::instructions::{Counter, EXIT, MARKS};
use super::super::super::{Subject, Unit};
use super::super::{Pair, Row};
use super::server;
use crate::net::http::{self, Client};
use crate::net::lan::Lan;
use crate::qemu::Vm;

/// How many requests are counted: often enough that a few timer interrupts do not show.
const COUNT: u64 = 300;

/// How a client asks.
#[derive(Clone, Copy)]
enum Way {
    NewConnection,
    KeepAlive,
}

/// Instructions of a request on a connection of its own, and on one that is kept.
pub fn measure(counter: &Counter, pair: &Pair) -> Result<Vec<Row>> {
    let rows = [
        ("an HTTP request on a new connection", Way::NewConnection),
        ("an HTTP request, keep-alive", Way::KeepAlive),
    ];
    let rows = rows.map(|(name, way)| {
        let values = pair.both(|subject| {
            let [once, twice] = [COUNT, 2 * COUNT].map(|count| total(counter, subject, way, count));
            Ok((twice? - once?) / COUNT as f64)
        })?;
        Ok(Row::new(name, Unit::Instructions, values))
    });
    rows.into_iter().collect()
}

/// The instructions of a machine that answers so many requests and ends.
fn total(counter: &Counter, subject: &Subject, way: Way, count: u64) -> Result<f64> {
    let report = asked(counter, subject, count, &[], |address, hope| {
        match way {
            Way::NewConnection => {
                let mut first = Client::connect_soon(address, hope)?;
                first.get("/", true)?;
                first.closed()?;
                for _ in 1..count {
                    http::once(address, "/")?;
                }
            }
            Way::KeepAlive => {
                let mut client = Client::connect_soon(address, hope)?;
                for _ in 0..count {
                    client.get("/", false)?;
                }
                client.closed()?;
            }
        }
        Ok(())
    })?;
    Ok(report.total(EXIT)? as f64)
}

/// Instructions until the first reply is handed to the stack, on Skete from the kernel's entry, on Linux
/// from the machine's start, since its kernel has no symbol here.
pub fn first(counter: &Counter, pair: &Pair) -> Result<Row> {
    let one = |subject: &Subject, marks: &[&str]| {
        asked(counter, subject, 1, marks, |address, hope| {
            let mut client = Client::connect_soon(address, hope)?;
            client.get("/", true)?;
            client.closed()
        })
    };
    // The first thing that the program does behind its last reply.
    let skete = one(&pair.skete, &[MARKS[0], "sys_shutdown"]).context("on Skete")?;
    let linux = one(&pair.linux, &["shutdown"]).context("on Linux")?;
    let values = [skete.total("sys_shutdown")? - skete.total(MARKS[0])?, linux.total("shutdown")?];
    Ok(Row::new(
        "kernel entry to the first HTTP reply, static address",
        Unit::Instructions,
        values.map(|value| value as f64),
    ))
}

/// Counts the instructions of a machine whose program ends after `count` requests, while `client` asks.
fn asked(
    counter: &Counter,
    subject: &Subject,
    count: u64,
    marks: &[&str],
    client: impl FnOnce(SocketAddr, &AtomicBool) -> Result<()> + Send,
) -> Result<super::super::super::instructions::Report> {
    let vm = subject.vm();
    let lan = Lan::new(vm.machine, 1)?;
    let vm = Vm { args: vec!["--requests".to_owned(), count.to_string()], ..lan.connect(vm) };
    let hope = AtomicBool::new(true);
    thread::scope(|scope| {
        let (namespace, hope) = (&lan.namespace, &hope);
        let asking = scope.spawn(move || namespace.within(|| client(server(), hope)));
        let report = counter.run(vm, &subject.image, marks, &[]);
        hope.store(false, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| anyhow!("the client has panicked"))?;
        // The machine's own error says more.
        let report = report?;
        asked.context("the server does not answer as it should")?;
        Ok(report)
    })
}
