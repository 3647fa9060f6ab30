//! Peers that mean no good: scans, floods, made-up frames. Memory stays bounded, and the service answers
//! afterwards.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::super::case::{Bench, Case, Guest, Steps};
use super::{PORT, ask, machine, serve, server, url, wired};
use crate::net::frames::{self, Ends, Frames};
use crate::net::http;
use crate::net::lan::{self, Lan};
use crate::net::namespace::Namespace;
use crate::net::random::Random;
use crate::net::wire::{Impairment, Injector, Wire};
use crate::qemu::Machine;

/// Enough for the server, and little enough to see what is not given back.
const MEMORY: u64 = 24 << 20;
/// How long the machine may take nothing before it counts as stuck.
const STUCK: Duration = Duration::from_secs(20);

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 3] = [
        ("net/tap/port-scan", port_scan),
        ("net/tap/syn-flood", |bench, mark| syn_flood(bench, mark, 10_000)),
        ("net/tap/made-up-frames", |bench, mark| made_up_frames(bench, mark, 40_000, 1)),
    ];
    cases.map(|(name, steps)| Case::steps(name, steps)).into()
}

/// Every port but one refuses at once.
fn port_scan(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Microvm, 1)?;
    let guest = Guest::new("httpd").memory(MEMORY);
    serve(lan.machine(machine(bench, guest, mark)?), |_| {
        lan.namespace.within(|| {
            let mut open = Vec::new();
            for port in (1..2000).chain([PORT]).chain(60_000..60_100) {
                let address = SocketAddr::new(server().ip(), port);
                match TcpStream::connect_timeout(&address, Duration::from_secs(10)) {
                    Ok(_) => open.push(port),
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                    Err(error) => return Err(error).with_context(|| format!("port {port}")),
                }
            }
            ensure!(open == [PORT], "these ports are open: {open:?}");
            answers()
        })
    })
}

/// The service answers.
fn answers() -> Result<()> {
    let body = http::once(server(), "/").context("the service does not answer afterwards")?;
    ensure!(body == b"Hello, world!\n", "{:?}", String::from_utf8_lossy(&body));
    Ok(())
}

/// A machine on a wire of our own, with the hardware addresses of both ends.
fn on_wire(
    bench: &Bench,
    mark: &str,
    action: impl FnOnce(&Namespace, &Injector, Ends) -> Result<()>,
) -> Result<()> {
    let namespace = Namespace::new()?;
    let tap = namespace.plain_tap("tap", lan::HOST)?;
    let wire = Wire::new(tap, Impairment::default(), 1)?;
    let shown = ask(namespace.command("ip").args(["-brief", "link", "show", "tap"]))?;
    let from_mac = shown.split_whitespace().find_map(mac);
    let ends = Ends {
        from_mac: from_mac.with_context(|| format!("no hardware address in `{shown}`"))?,
        to_mac: wire.card().mac,
        from: Ipv4Addr::new(10, 0, 0, 1),
        to: Ipv4Addr::new(10, 0, 0, 2),
        port: PORT,
    };
    let guest = Guest::new("httpd").memory(MEMORY);
    let vm = wired(&wire, machine(bench, guest, mark)?);
    serve(vm, |_| {
        namespace.within(answers)?;
        action(&namespace, &wire.injector()?, ends)?;
        namespace.within(answers)
    })
}

/// A hardware address as `ip` shows it.
fn mac(word: &str) -> Option<[u8; 6]> {
    let bytes = word.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// First segments of connections from addresses that there are not: some in the machine's own network, so
/// that it asks for their hardware addresses, most beyond the router. All the time others are served.
pub fn syn_flood(bench: &Bench, mark: &str, count: usize) -> Result<()> {
    on_wire(bench, mark, |namespace, injector, ends| {
        let mut random = Random::new(count as u64);
        let start = Instant::now();
        for number in 0..count {
            let from = match random.below(8) {
                0 => Ipv4Addr::new(10, 0, 0, 10 + random.below(240) as u8),
                _ => Ipv4Addr::from(0x1400_0000 | random.number() as u32 & 0x00ff_ffff),
            };
            let (port, sequence) = (1024 + random.below(60_000) as u16, random.number() as u32);
            let frame = frames::syn(&Ends { from, ..ends }, port, sequence)?;
            ensure!(
                injector.send(&frame, STUCK)?,
                "after {number} of {count} segments the machine takes no more"
            );
            if number % (count / 4).max(1) == 0 {
                namespace
                    .within(answers)
                    .with_context(|| format!("in the flood, after {number} segments"))?;
            }
        }
        let rate = count as f64 / start.elapsed().as_secs_f64();
        namespace
            .within(answers)
            .with_context(|| format!("after {count} segments, {rate:.0} in a second"))
    })
}

/// Random and damaged frames.
pub fn made_up_frames(bench: &Bench, mark: &str, count: usize, seed: u64) -> Result<()> {
    on_wire(bench, mark, |namespace, injector, ends| {
        let mut frames = Frames::new(ends, seed);
        for number in 0..count {
            ensure!(
                injector.send(&frames.frame()?, STUCK)?,
                "after {number} of {count} frames (seed {seed}) the machine takes no more"
            );
        }
        // A frame may have told it that the host is elsewhere: what the host says itself counts again.
        namespace.ip("neigh flush all")?;
        let end = Instant::now() + Duration::from_secs(90);
        while let Err(error) = namespace.within(answers) {
            ensure!(Instant::now() < end, "seed {seed}: {error:#}");
            let _ = ask(namespace.command("ping").args(["-c", "1", "-W", "1", lan::GUEST]));
            thread::sleep(Duration::from_millis(200));
        }
        let told =
            ask(namespace.command("curl").args(["--silent", "--max-time", "20", &url("/")]))?;
        ensure!(told == "Hello, world!", "{told}");
        Ok(())
    })
}
