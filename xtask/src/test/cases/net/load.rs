//! Many connections: beside each other, one after the other, slow ones, and ones whose peer is gone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::super::super::case::{Bench, Case, Guest, Steps};
use super::{ask, machine, serve, server, url};
use crate::net::http::{self, Client};
use crate::net::lan::Lan;
use crate::qemu::Machine;

/// How long a peer of these tests may be silent.
const SILENCE: Duration = Duration::from_secs(60);

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 7] = [
        ("net/tap/wrk", |bench, mark| wrk(bench, mark, 3)),
        ("net/tap/wrk-two-queues", two_queues),
        ("net/tap/ab", |bench, mark| ab(bench, mark, 1000)),
        ("net/tap/at-once", |bench, mark| at_once(bench, mark, 250)),
        ("net/tap/one-by-one", |bench, mark| one_by_one(bench, mark, 2000)),
        ("net/tap/slow-readers", |bench, mark| slow_readers(bench, mark, 40)),
        ("net/tap/half-open", |bench, mark| half_open(bench, mark, 100)),
    ];
    cases.map(|(name, steps)| Case::steps(name, steps)).into()
}

/// A server in a network with this host, on a machine with little memory.
fn httpd(
    bench: &Bench,
    mark: &str,
    guest: Guest,
    action: impl FnOnce(&Lan) -> Result<()>,
) -> Result<()> {
    let lan = Lan::new(guest.machine, guest.smp)?;
    let vm = lan.machine(machine(bench, guest, mark)?);
    serve(vm, |_| {
        action(&lan)?;
        // After all that it answers as before.
        let body = lan.namespace.within(|| http::once(server(), "/"))?;
        ensure!(body == b"Hello, world!\n", "{:?}", String::from_utf8_lossy(&body));
        Ok(())
    })
}

fn small() -> Guest {
    Guest::new("httpd").memory(24 << 20)
}

/// Fails when `wrk` tells of an error.
fn judged(mut wrk: Command, seconds: u64) -> Result<()> {
    wrk.args(["--connections", "16", "--threads", "1", "--timeout", "10s", "--duration"])
        .arg(format!("{seconds}s"))
        .arg(url("/"));
    let told = ask(&mut wrk)?;
    let sound = !told.contains("Socket errors") && !told.contains("Non-2xx");
    let requests = told.lines().find_map(|line| line.trim().split_once(" requests in"));
    let requests: u64 = requests.context("wrk tells nothing")?.0.parse()?;
    ensure!(sound && requests > 20 * seconds, "{told}");
    Ok(())
}

/// 16 connections that ask without a pause.
pub fn wrk(bench: &Bench, mark: &str, seconds: u64) -> Result<()> {
    httpd(bench, mark, small(), |lan| judged(lan.command("wrk"), seconds))
}

/// The same on two processors, each with a pair of queues.
fn two_queues(bench: &Bench, mark: &str) -> Result<()> {
    let guest = Guest::new("httpd").on(Machine::Q35).smp(2);
    httpd(bench, mark, guest, |lan| judged(lan.command("wrk"), 3))
}

/// Connections for each request, and kept ones, by a client of HTTP/1.0.
pub fn ab(bench: &Bench, mark: &str, count: u32) -> Result<()> {
    httpd(bench, mark, small(), |lan| {
        for keep in [&[][..], &["-k"]] {
            let told = ask(lan
                .command("ab")
                .args(["-q", "-s", "60", "-c", "8", "-n", &count.to_string()])
                .args(keep)
                .arg(url("/")))?;
            let line = |start: &str| {
                let mut lines = told.lines();
                let line = lines.find_map(|line| line.strip_prefix(start))?;
                line.trim().parse::<u32>().ok()
            };
            ensure!(
                line("Complete requests:") == Some(count)
                    && line("Failed requests:") == Some(0)
                    && (keep.is_empty() || line("Keep-Alive requests:") == Some(count)),
                "{told}"
            );
        }
        Ok(())
    })
}

/// Many connections are open at once, and each is served.
pub fn at_once(bench: &Bench, mark: &str, count: usize) -> Result<()> {
    // Each has a thread in the machine, with a stack and buffers.
    let guest = Guest::new("httpd").memory((32 << 20) + ((count as u64) << 18));
    httpd(bench, mark, guest, |lan| {
        lan.namespace.within(|| {
            let mut clients = (0..count)
                .map(|number| {
                    let client = Client::connect(server());
                    client.with_context(|| format!("{number} of {count} are open"))
                })
                .collect::<Result<Vec<_>>>()?;
            for _ in 0..2 {
                for (number, client) in clients.iter_mut().enumerate() {
                    let body = client.get("/", false);
                    let body = body.with_context(|| format!("connection {number} of {count}"))?;
                    ensure!(body == b"Hello, world!\n");
                }
            }
            Ok(())
        })
    })
}

/// Many connections one after the other: nothing is left of each.
pub fn one_by_one(bench: &Bench, mark: &str, count: usize) -> Result<()> {
    // What is left of each connection would fill the memory.
    httpd(bench, mark, small(), |lan| {
        // The host's ports would be used up by those that have just ended.
        lan.namespace.setting("ipv4/ip_local_port_range", "1024 65000")?;
        lan.namespace.setting("ipv4/tcp_tw_reuse", "1")?;
        lan.namespace.within(|| {
            for number in 0..count {
                let body = http::once(server(), "/");
                let body = body.with_context(|| format!("connection {number} of {count}"))?;
                ensure!(body == b"Hello, world!\n");
            }
            Ok(())
        })
    })
}

/// Readers that do not read hold nobody else up, and get everything in the end.
pub fn slow_readers(bench: &Bench, mark: &str, count: usize) -> Result<()> {
    const SIZE: u64 = 400_000;
    let guest = Guest::new("httpd").memory(64 << 20);
    httpd(bench, mark, guest, |lan| {
        lan.namespace.within(|| {
            let mut slow = (0..count)
                .map(|_| {
                    let stream = TcpStream::connect_timeout(&server(), SILENCE)?;
                    stream.set_read_timeout(Some(SILENCE))?;
                    (&stream)
                        .write_all(format!("GET /bytes/{SIZE} HTTP/1.1\r\n\r\n").as_bytes())?;
                    Ok(stream)
                })
                .collect::<Result<Vec<_>>>()?;
            for _ in 0..20 {
                ensure!(http::once(server(), "/")? == b"Hello, world!\n");
                thread::sleep(Duration::from_millis(50));
            }
            for (number, stream) in slow.iter_mut().enumerate() {
                drain(stream, SIZE).with_context(|| format!("slow reader {number} of {count}"))?;
            }
            Ok(())
        })
    })
}

/// Reads a reply with a body of this length, in small pieces.
fn drain(stream: &mut TcpStream, size: u64) -> Result<()> {
    let mut reader = BufReader::with_capacity(2000, stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "there is no reply");
    }
    let count = std::io::copy(&mut reader.take(size), &mut std::io::sink())?;
    ensure!(count == size, "{count} of {size} bytes have come");
    Ok(())
}

/// Peers that vanish without a word while they are connected: others are served all the time.
pub fn half_open(bench: &Bench, mark: &str, count: usize) -> Result<()> {
    let guest = Guest::new("httpd").memory((32 << 20) + ((count as u64) << 18));
    httpd(bench, mark, guest, |lan| {
        lan.namespace.ip("addr add 10.0.0.9/24 dev tap")?;
        let open = lan.namespace.within(|| vanishing(count))?;
        // From now on nothing that they send arrives, nor what is sent to them.
        lan.namespace.ip("addr del 10.0.0.9/24 dev tap")?;
        let asked = lan.namespace.within(|| {
            for _ in 0..20 {
                ensure!(http::once(server(), "/")? == b"Hello, world!\n");
            }
            Ok(())
        });
        drop(open);
        asked
    })
}

/// Connections from 10.0.0.9, some of them in the middle of a reply.
fn vanishing(count: usize) -> Result<Vec<TcpStream>> {
    let from: SocketAddr = "10.0.0.9:0".parse()?;
    let one = |number: usize| -> Result<TcpStream> {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &from)?;
        connect(&socket, &server())?;
        let mut stream = TcpStream::from(socket);
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"GET / HT")?,
            _ => stream.write_all(b"GET /bytes/1000000 HTTP/1.1\r\n\r\n")?,
        }
        Ok(stream)
    };
    (0..count)
        .map(|number| one(number).map_err(|error| anyhow!("connection {number}: {error}")))
        .collect()
}
