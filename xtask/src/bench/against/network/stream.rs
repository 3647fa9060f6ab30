//! Many bytes through one connection, in each direction.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::super::super::{Subject, Unit};
use super::super::{Pair, Row};
use super::{served, server};
use crate::net::http::Client;

/// How much is sent.
const BYTES: u64 = 128 << 20;
/// Rounds of which the shortest counts.
const ROUNDS: usize = 3;

/// A direction's name in the tables, its time by that of Linux, and what it does.
type Direction = (&'static str, &'static str, fn(&mut Client) -> Result<()>);

const DIRECTIONS: [Direction; 2] = [
    (
        "a MiB from the machine to the host",
        "from the machine to the host: time, by that of the Linux guest",
        out,
    ),
    (
        "a MiB from the host to the machine",
        "from the host to the machine: time, by that of the Linux guest",
        into,
    ),
];

/// The time for a MiB, and its ratio, in both directions.
pub fn measure(pair: &Pair) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, by_linux, send) in DIRECTIONS {
        let times = pair.both(|subject| shortest(subject, send))?;
        rows.push(Row::new(name, Unit::Microseconds, times));
        rows.push(Row::new(by_linux, Unit::Times, [times[0] / times[1], 1.0]));
    }
    Ok(rows)
}

/// The shortest time for a MiB, in microseconds.
fn shortest(subject: &Subject, send: fn(&mut Client) -> Result<()>) -> Result<f64> {
    served(subject, 1, |lan, _| {
        lan.namespace.within(|| {
            let mut client = Client::connect(server())?;
            let mut best = f64::INFINITY;
            for _ in 0..ROUNDS {
                let start = Instant::now();
                send(&mut client)?;
                best = best.min(start.elapsed().as_secs_f64());
            }
            Ok(best * 1e6 / (BYTES >> 20) as f64)
        })
    })
}

fn out(client: &mut Client) -> Result<()> {
    let count = client.drain(&format!("/bytes/{BYTES}"))?;
    ensure!(count == BYTES, "{count} of {BYTES} bytes have arrived");
    Ok(())
}

fn into(client: &mut Client) -> Result<()> {
    let reply = client.post("/count", BYTES, |_, _| {})?;
    let count = String::from_utf8_lossy(&reply);
    ensure!(count.trim() == BYTES.to_string(), "{count} of {BYTES} bytes have arrived");
    Ok(())
}
