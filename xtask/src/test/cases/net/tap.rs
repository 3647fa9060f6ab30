//! Machines on a TAP device in a network namespace of their own.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::super::super::case::{Bench, Case, Guest, Steps};
use super::{READY, ask, both_ways, curl, machine, serve, server, url};
use crate::net::card::{Backend, Card};
use crate::net::lan::{self, Lan};
use crate::net::namespace::Namespace;
use crate::net::wire::{Impairment, Wire};
use crate::qemu::{Machine, Vm};
use crate::service::Service;

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 9] = [
        ("net/tap/curl", curls),
        ("net/tap/ping", ping),
        ("net/tap/dhcp-and-dns", dhcp_and_dns),
        ("net/tap/routers-and-dns", routers_and_dns),
        ("net/tap/proxy", proxy),
        ("net/tap/no-dhcp", no_dhcp),
        ("net/tap/run", run),
        ("net/tap/bad-wire", |bench, mark| bad_wire(bench, mark, 1 << 20)),
        ("net/tap/pcap", pcap),
    ];
    cases.map(|(name, steps)| Case::steps(name, steps)).into()
}

/// Many bytes in both directions.
fn curls(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Q35, 1)?;
    let guest = Guest::new("httpd").on(Machine::Q35);
    serve(lan.machine(machine(bench, guest, mark)?), |_| {
        ensure!(ask(curl(lan.command("curl"), 20).arg(url("/")))? == "Hello, world!");
        both_ways(|| lan.command("curl"), &url(""), 20_000_003, 120)
    })
}

/// Echo requests of IPv4 and IPv6, of any size that fits.
fn ping(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Microvm, 1)?;
    let vm = lan.machine(machine(bench, Guest::new("echo"), mark)?);
    let mac = vm.cards.first().context("no card")?.mac;
    // The link-local address of RFC 4291, appendix A.
    let local = format!(
        "fe80::{:x}:{:x}ff:fe{:02x}:{:x}%tap",
        u16::from_be_bytes([mac[0] ^ 2, mac[1]]),
        mac[2],
        mac[3],
        u16::from_be_bytes([mac[4], mac[5]])
    );
    serve(vm, |_| {
        for (address, size) in
            [(lan::GUEST, "56"), (lan::GUEST, "1472"), (&local, "56"), (&local, "1452")]
        {
            let mut ping = lan.command("ping");
            ping.args(["-q", "-c", "20", "-i", "0.05", "-W", "5", "-s", size, address]);
            let said = ask(&mut ping).with_context(|| format!("{address}, {size} bytes"))?;
            ensure!(said.contains(" 0% packet loss"), "{address}, {size} bytes: {said}");
            ensure!(!said.contains("duplicates"), "{address}, {size} bytes: {said}");
        }
        Ok(())
    })
}

/// A process that ends with this.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// dnsmasq on the host's side: names, and what `gives` says for machines.
fn dnsmasq(lan: &Lan, directory: &std::path::Path, gives: &[&str]) -> Result<Ended> {
    let mut dnsmasq = lan.command("dnsmasq");
    dnsmasq
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ])
        .args(["--interface=tap", "--bind-interfaces", "--local=/test/", "--pid-file"])
        .args(gives)
        .args(["--address=/four.test/10.9.8.7", "--host-record=both.test,10.9.8.6,fd00::9"])
        .arg(format!("--dhcp-leasefile={}", directory.join("leases").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // It must not outlive this test, whatever happens to this process.
    let child = Ended(dnsmasq.spawn().context("cannot start dnsmasq")?);
    let end = Instant::now() + Duration::from_secs(10);
    while lan.namespace.within(|| Ok(TcpStream::connect("10.0.0.1:53")?)).is_err() {
        ensure!(Instant::now() < end, "dnsmasq does not answer");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

/// An address from a DHCP server, and names from the name server that it tells; `dig` through the machine.
fn dhcp_and_dns(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Microvm, 1)?;
    let directory = tempfile::tempdir()?;
    let range = ["--dhcp-range=10.0.0.50,10.0.0.60,1h", "--dhcp-authoritative"];
    let _dnsmasq = dnsmasq(&lan, directory.path(), &range)?;
    let guest = Guest::new("resolve").args(&["four.test", "both.test", "10.1.2.3", "localhost"]);
    let end = lan.connect(machine(bench, guest, mark)?).capture(None)?;
    let (said, complained) = (
        String::from_utf8_lossy(&end.stdout).into_owned(),
        String::from_utf8_lossy(&end.stderr).into_owned(),
    );
    ensure!(end.status == Some(0), "{complained}");
    for line in [
        "four.test: 10.9.8.7\n",
        "both.test: 10.9.8.6 fd00::9\n",
        "10.1.2.3: 10.1.2.3\n",
        "localhost: 127.0.0.1",
    ] {
        ensure!(said.contains(line), "`{}` is not in:\n{said}", line.trim_end());
    }
    let leases = fs::read_to_string(directory.path().join("leases"))?;
    ensure!(leases.contains(" 10.0.0.5") || leases.contains(" 10.0.0.60 "), "no lease: {leases}");
    let guest = Guest::new("resolve").args(&["nothing.test"]);
    let end = lan.connect(machine(bench, guest, mark)?).capture(None)?;
    ensure!(
        end.status == Some(1) && end.stdout.is_empty(),
        "a name that there is not gives {:?}: {}",
        end.status,
        String::from_utf8_lossy(&end.stdout)
    );
    // The machine hands a client's questions on.
    let guest = Guest::new("proxy").args(&["53", "10.0.0.1:53"]);
    serve(lan.machine(machine(bench, guest, mark)?), |_| {
        for by in ["+tcp", "+notcp"].repeat(20) {
            let dig = [by, "+short", "+time=10", "+tries=1", "@10.0.0.2"];
            let answer = ask(lan.command("dig").args(dig).arg("four.test"))?;
            ensure!(answer == "10.9.8.7", "dig {by} gets `{answer}`");
        }
        Ok(())
    })
}

/// A network without DHCP: a router's advertisements give the address and name the name server (RFC 8106).
fn routers_and_dns(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Microvm, 1)?;
    let directory = tempfile::tempdir()?;
    let routers = ["--enable-ra", "--dhcp-range=fd00::,ra-only"];
    let _dnsmasq = dnsmasq(&lan, directory.path(), &routers)?;
    let guest = Guest::new("resolve").args(&["four.test", "both.test"]);
    let vm = Vm {
        // One line says that there is no DHCP.
        log: Some("info".to_owned()),
        ..lan.connect(machine(bench, guest, mark)?)
    };
    let end = vm.capture(None)?;
    let (said, told) = (
        String::from_utf8_lossy(&end.stdout).into_owned(),
        String::from_utf8_lossy(&end.stderr).into_owned(),
    );
    ensure!(
        end.status == Some(0) && said == "four.test: 10.9.8.7\nboth.test: 10.9.8.6 fd00::9\n",
        "{said}{told}"
    );
    ensure!(
        told.lines().any(|line| line.contains(" fd00::")
            && line.contains(" dns ")
            && line.contains("(router)")),
        "no line tells what the router has told: {told}"
    );
    Ok(())
}

/// Two cards, each in a network of its own: what comes in on one is handed on by the other.
fn proxy(bench: &Bench, mark: &str) -> Result<()> {
    let near = Lan::new(Machine::Q35, 1)?;
    let far = Namespace::new()?;
    let tap = far.tap("far", 1, "10.1.0.1/24")?;
    let listener = far.within(|| Ok(TcpListener::bind("10.1.0.1:9000")?))?;
    listener.set_nonblocking(true)?;
    let guest = Guest::new("proxy").on(Machine::Q35).args(&["10.1.0.1:9000"]);
    let mut vm = near.machine(machine(bench, guest, mark)?);
    vm.cards.push(Card::new(1, Backend::Tap(Arc::new(tap))));
    vm.network.push("ip1=10.1.0.2/24".to_owned());
    let sent = super::random(2_000_000);
    serve(vm, |_| {
        thread::scope(|scope| {
            let serving = scope.spawn(|| -> Result<()> {
                let end = Instant::now() + Duration::from_secs(60);
                let mut stream = loop {
                    match listener.accept() {
                        Ok((stream, _)) => break stream,
                        Err(error) if error.kind() != ErrorKind::WouldBlock => {
                            return Err(error.into());
                        }
                        Err(_) => ensure!(Instant::now() < end, "the machine does not connect"),
                    }
                    thread::sleep(Duration::from_millis(10));
                };
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes)?;
                stream.write_all(&bytes)?;
                Ok(())
            });
            let back = near.namespace.within(|| {
                let mut stream = TcpStream::connect(server())?;
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                stream.write_all(&sent)?;
                stream.shutdown(Shutdown::Write)?;
                let mut back = Vec::new();
                stream.read_to_end(&mut back)?;
                Ok(back)
            })?;
            ensure!(back == sent, "{} of {} bytes came back, or others", back.len(), sent.len());
            serving.join().map_err(|_| anyhow!("the server has panicked"))?
        })
    })
}

/// Nobody gives the machine an address: a client's connection is an error in bounded time.
fn no_dhcp(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Microvm, 1)?;
    let guest =
        Guest::new("fetch").memory(128 << 20).args(&["--timeout", "60", "http://10.0.0.1/"]);
    let start = Instant::now();
    let end = lan.connect(machine(bench, guest, mark)?).capture(None)?;
    ensure!(
        end.status == Some(1) && start.elapsed() < Duration::from_secs(50),
        "without an address the program ends with {:?} after {:?}",
        end.status,
        start.elapsed()
    );
    Ok(())
}

/// `cargo xtask run --net tap` gives both ends an address, and leaves nothing behind.
fn run(bench: &Bench, mark: &str) -> Result<()> {
    let namespace = Namespace::new()?;
    let mut command = namespace.command(&bench.xtask().to_string_lossy());
    command
        .args(["run", "httpd", "--net", "tap", "--qemu=-name", &format!("--qemu={mark}")])
        .env(super::super::super::leftovers::VARIABLE, mark)
        .current_dir(crate::paths::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = Ended(command.spawn()?);
    let mut stdout = child.0.stdout.take().context("no standard output")?;
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(READY) {
        let mut byte = [0];
        ensure!(stdout.read(&mut byte)? == 1, "it ended without serving");
        said.push(byte[0]);
    }
    let body = ask(curl(namespace.command("curl"), 20).arg("http://10.78.0.2:8080/"))?;
    ensure!(body == "Hello, world!", "{body}");
    drop(child);
    let end = Instant::now() + Duration::from_secs(5);
    while ask(namespace.command("ip").arg("link"))?.contains("skete") {
        ensure!(Instant::now() < end, "the TAP device is still there");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A wire that loses one frame in a hundred, doubles and disorders others, and takes 20 ms.
pub fn bad_wire(bench: &Bench, mark: &str, size: usize) -> Result<()> {
    let namespace = Namespace::new()?;
    let tap = namespace.plain_tap("tap", lan::HOST)?;
    let impairment = Impairment {
        loss: 0.01,
        duplication: 0.01,
        reordering: 0.02,
        // There and back again: 20 ms.
        delay: Duration::from_millis(10),
    };
    let wire = Wire::new(tap, impairment, 1)?;
    let limit = 120 + (size >> 16) as u32;
    let mut vm = super::wired(&wire, machine(bench, Guest::new("httpd"), mark)?);
    vm.timeout = Some(Duration::from_secs(60 + 2 * u64::from(limit)));
    serve(vm, |_| {
        both_ways(|| namespace.command("curl"), &url(""), size, limit)
            .with_context(|| format!("the wire: {:?}", wire.counts()))
    })
}

/// `--pcap` writes frames that `tcpdump` would read: the file's head, and frames with both addresses.
fn pcap(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Microvm, 1)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("frames");
    let mut vm: Vm = lan.machine(machine(bench, Guest::new("httpd"), mark)?);
    vm.cards.iter_mut().for_each(|card| card.pcap = Some(file.clone()));
    let service = Service::start(vm, READY)?;
    ask(curl(lan.command("curl"), 20).arg(url("/")))?;
    service.stop()?;
    let bytes = fs::read(&file)?;
    // libpcap's format: magic number, and link type 1 (Ethernet) at offset 20.
    ensure!(bytes.len() > 500, "only {} bytes were written", bytes.len());
    ensure!(bytes[..4] == 0xa1b2_c3d4_u32.to_ne_bytes() && bytes[20] == 1);
    let hello = b"Hello, world!";
    ensure!(bytes.windows(hello.len()).any(|part| part == hello), "the reply is not in the file");
    Ok(())
}
