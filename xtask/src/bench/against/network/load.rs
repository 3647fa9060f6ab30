//! Many requests from 16 connections at once, by `wrk`.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::super::{Subject, Unit};
use super::super::Row;
use super::{READY, Subjects, number, published, served, server};
use crate::process;
use crate::qemu::Vm;
use crate::service::Service;

/// Rounds of which the best counts: a busy host can only make them worse.
const ROUNDS: usize = 3;

/// What `wrk` tells.
#[derive(Debug, PartialEq)]
struct Told {
    /// Requests in a second.
    rate: f64,
    /// The longest time to a reply, in microseconds.
    worst: f64,
    /// Connections, reads and writes that failed, replies that came too late or were none.
    errors: f64,
}

/// Rows about rates and latencies.
pub fn measure(subjects: &Subjects) -> Result<Vec<Row>> {
    let rate = |smp| -> Result<[f64; 2]> {
        let mut best = [0.0_f64; 2];
        for _ in 0..ROUNDS {
            let told = subjects.lan.both(|subject| by_tap(subject, smp))?;
            for (best, told) in best.iter_mut().zip(told) {
                *best = best.max(told.rate);
            }
        }
        Ok(best)
    };
    let (one, two) = (rate(1)?, rate(2)?);
    let slow = subjects.user.both(by_user)?;
    Ok(vec![
        Row::new(
            "a request of 16 connections, TAP, one processor",
            Unit::Microseconds,
            one.map(|rate| 1e6 / rate),
        ),
        Row::new(
            "16 connections, TAP, one processor: time, by that of the Linux guest",
            Unit::Times,
            [one[1] / one[0], 1.0],
        ),
        Row::new(
            "16 connections, TAP: time on two processors, by that on one",
            Unit::Times,
            [one[0] / two[0], one[1] / two[1]],
        ),
        Row::new(
            "16 connections for 30 s, user network: worst latency",
            Unit::Microseconds,
            slow.each_ref().map(|told| told.worst),
        ),
        Row::new(
            "16 connections for 30 s, user network: errors and time-outs",
            Unit::Failures,
            slow.map(|told| told.errors),
        ),
    ])
}

fn by_tap(subject: &Subject, smp: u32) -> Result<Told> {
    served(subject, smp, |lan, _| wrk(lan.command("wrk"), server(), 4))
}

fn by_user(subject: &Subject) -> Result<Told> {
    let (vm, address) = published(subject.vm())?;
    let service = Service::start(Vm { smp: 1, ..vm }, READY)?;
    let told = wrk(Command::new("wrk"), address, 30)?;
    service.check()?;
    service.stop()?;
    Ok(told)
}

fn wrk(mut wrk: Command, address: SocketAddr, seconds: u32) -> Result<Told> {
    wrk.args(["--connections", "16", "--threads", "1", "--duration"])
        .arg(format!("{seconds}s"))
        .arg(format!("http://{address}/"));
    let text = process::output(&mut wrk)?;
    parse(&text).with_context(|| format!("wrk is not understood:\n{text}"))
}

fn parse(text: &str) -> Result<Told> {
    let line = |start: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix(start))
    };
    let rate = number(line("Requests/sec:").context("no rate")?.trim())?;
    let latency = line("Latency").context("no latency")?;
    let worst = latency.split_whitespace().nth(2).context("no worst latency")?;
    let socket = line("Socket errors:").unwrap_or_default();
    let other = line("Non-2xx or 3xx responses:").unwrap_or_default();
    let counts = socket.split([',', ' ']).chain([other.trim()]);
    let errors = counts.filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(Told { rate, worst: microseconds(worst)?, errors })
}

/// A time as `wrk` writes it.
fn microseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)] {
        if let Some(digits) = text.strip_suffix(unit)
            && let Ok(value) = digits.parse::<f64>()
        {
            return Ok(value * factor);
        }
    }
    anyhow::bail!("`{text}` is no time")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Running 2s test @ http://10.0.0.2:8080/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   149.52us  192.22us  11.12ms   98.83%
    Req/Sec    69.74k     9.56k   81.92k    61.90%
  145326 requests in 2.10s, 14.83MB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
Requests/sec:  69198.39
Transfer/sec:      7.06MB
";

    #[test]
    fn what_wrk_tells_is_read() -> Result<()> {
        let told = Told { rate: 69198.39, worst: 11_120.0, errors: 7.0 };
        assert_eq!(parse(TEXT)?, told);
        let clean = TEXT.lines().filter(|line| !line.contains("err") && !line.contains("Non"));
        assert_eq!(parse(&clean.collect::<Vec<_>>().join("\n"))?.errors, 0.0);
        assert!(parse("unable to connect").is_err());
        Ok(())
    }

    #[test]
    fn times_are_read_in_their_unit() -> Result<()> {
        assert_eq!(microseconds("20.00us")?, 20.0);
        assert_eq!(microseconds("1.50s")?, 1_500_000.0);
        assert!(microseconds("soon").is_err());
        Ok(())
    }
}
