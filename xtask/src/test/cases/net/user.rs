//! Machines in QEMU's own network, which needs no rights.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::super::case::{Bench, Case, Guest, Steps};
use super::super::{MACHINES, machine_name};
use super::{PORT, READY, ask, both_ways, curl, machine, serve};
use crate::net::card::{Backend, Card};
use crate::net::publish::Publish;
use crate::process;
use crate::qemu::{Machine, Vm};
use crate::service::Service;

pub fn all() -> Vec<Case> {
    let machines: [(&str, Steps); 3] = [
        ("microvm", |bench, mark| curls(bench, mark, Machine::Microvm, 1)),
        ("pc", |bench, mark| curls(bench, mark, Machine::Pc, 2)),
        ("q35", |bench, mark| curls(bench, mark, Machine::Q35, 1)),
    ];
    debug_assert_eq!(machines.map(|(name, _)| name), MACHINES.map(machine_name));
    let machines =
        machines.map(|(name, steps)| Case::steps(format!("net/user/curl/{name}"), steps));
    let others: [(&str, Steps); 4] = [
        ("net/user/echo", echo),
        ("net/user/axum", axum),
        ("net/user/https", https),
        ("net/user/no-card", no_card),
    ];
    let others = others.map(|(name, steps)| Case::steps(name, steps));
    machines.into_iter().chain(others).collect()
}

/// Puts a machine into QEMU's own network and hands a port of this host on to its server.
fn published(vm: Vm, udp: bool) -> Result<(Vm, SocketAddr)> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mapping = format!("{}:{PORT}", free.port());
    let mut publish: Vec<Publish> = vec![mapping.parse().map_err(anyhow::Error::msg)?];
    if udp {
        publish.push(format!("{mapping}/udp").parse().map_err(anyhow::Error::msg)?);
    }
    let backend = Backend::User { publish, guest: None };
    let vm = Vm { cards: vec![Card::new(0, backend)], ..vm };
    Ok((vm, free))
}

/// Replies of every kind, on one connection and on several.
fn curls(bench: &Bench, mark: &str, on: Machine, smp: u32) -> Result<()> {
    let guest = Guest::new("httpd").on(on).smp(smp);
    let (vm, address) = published(machine(bench, guest, mark)?, false)?;
    serve(vm, |_| {
        let base = format!("http://{address}");
        let curl = || curl(Command::new("curl"), 60);
        ensure!(ask(curl().arg(&base))? == "Hello, world!");
        // The second request goes over the first one's connection.
        let twice = ask(curl().args(["--write-out", "%{num_connects}\n", &base, &base]))?;
        ensure!(
            twice == "Hello, world!\n1\nHello, world!\n0",
            "connections for two requests: {twice}"
        );
        ensure!(ask(curl().args(["--head", &base]))?.contains("Content-Length: 14"));
        both_ways(|| Command::new("curl"), &base, 3_000_001, 60)?;
        // From a pipe, so that curl does not know the length and sends chunks.
        let directory = tempfile::tempdir()?;
        let sent = directory.path().join("sent");
        fs::write(&sent, super::random(300_001))?;
        let echoed = directory.path().join("echoed");
        let told = curl()
            .args(["--upload-file", "-", "--header", "Expect:", "--output"])
            .arg(&echoed)
            .arg(format!("{base}/echo"))
            .stdin(fs::File::open(&sent)?)
            .output()?;
        ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        ensure!(
            super::digest(&echoed)? == super::digest(&sent)?,
            "what was sent in chunks does not come back"
        );
        let missing = Command::new("curl")
            .args(["--silent", "--max-time", "60", "--write-out", "%{http_code}"])
            .arg(format!("{base}/nothing"))
            .output()?;
        ensure!(missing.stdout == b"404", "{:?}", String::from_utf8_lossy(&missing.stdout));
        Ok(())
    })
}

/// Datagrams and a stream come back as they were.
fn echo(bench: &Bench, mark: &str) -> Result<()> {
    let (vm, address) = published(machine(bench, Guest::new("echo"), mark)?, true)?;
    serve(vm, |_| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let sent = super::random(500_000);
        let mut back = Vec::new();
        thread::scope(|scope| -> Result<()> {
            let mut writer = stream.try_clone()?;
            let sent = &sent;
            let writing = scope.spawn(move || -> std::io::Result<()> {
                writer.write_all(sent)?;
                // The other direction stays open.
                writer.shutdown(std::net::Shutdown::Write)
            });
            stream.read_to_end(&mut back)?;
            writing.join().map_err(|_| anyhow::anyhow!("the writer has panicked"))??;
            Ok(())
        })?;
        ensure!(back == sent, "{} of {} bytes came back, or others", back.len(), sent.len());
        // Behind the stream, before which the machine may have no address yet.
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut buffer = [0; 2048];
        for length in (0..1400).step_by(35) {
            let sent = super::random(length);
            socket.send(&sent)?;
            let count = socket.recv(&mut buffer).with_context(|| format!("{length} bytes"))?;
            ensure!(
                buffer[..count] == sent[..],
                "a datagram of {length} bytes came back as {count}"
            );
        }
        Ok(())
    })
}

/// JSON, a reply in pieces, and an end that lets a request under way finish.
fn axum(bench: &Bench, mark: &str) -> Result<()> {
    let guest = Guest::new("axum-service").smp(2);
    let (vm, address) = published(machine(bench, guest, mark)?, false)?;
    let service = Service::start(vm, READY)?;
    let base = format!("http://{address}");
    let curl = || curl(Command::new("curl"), 60);
    let sum = ask(curl().args(["--json", "[1, 2.5, 3]"]).arg(format!("{base}/sum")))?;
    ensure!(sum == r#"{"count":3,"sum":6.5}"#, "{sum}");
    let start = Instant::now();
    let ticks = ask(curl().arg("--no-buffer").arg(format!("{base}/ticks?count=5&ms=100")))?;
    ensure!(ticks.lines().count() == 5 && ticks.ends_with("tick 4"), "{ticks}");
    ensure!(start.elapsed() >= Duration::from_millis(500), "the ticks came early");
    let count = ask(curl()
        .args(["--data-binary", "@-"])
        .arg(format!("{base}/bytes"))
        .stdin(Stdio::null()))?;
    ensure!(count == "0", "{count}");
    let under_way =
        curl().arg(format!("{base}/ticks?count=10&ms=100")).stdout(Stdio::piped()).spawn()?;
    thread::sleep(Duration::from_millis(300));
    ensure!(ask(curl().args(["--request", "POST"]).arg(format!("{base}/shutdown")))? == "ending");
    let ended = under_way.wait_with_output()?;
    ensure!(ended.stdout.ends_with(b"tick 9\n"), "the request under way was cut off");
    let end = service.join_by_itself(Duration::from_secs(30))?;
    ensure!(
        end.status == Some(0) && end.stdout.ends_with("ended\n") && end.stderr.is_empty(),
        "it ended with {:?}: {}",
        end.status,
        end.stderr
    );
    Ok(())
}

/// A server of OpenSSL's that ends with this.
struct Tls(Child);

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// HTTPS to a server of OpenSSL's, with certificates from a file, and without the right ones.
fn https(bench: &Bench, mark: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "10.0.2.2")?;
    let page = super::random(100_000);
    fs::write(directory.path().join("page"), &page)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Command::new("openssl")
            .args(["s_server", "-quiet", "-WWW", version, "-accept"])
            .arg(format!("127.0.0.1:{port}"))
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let _server = Tls(server);
        wait_for_port(port)?;
        let url = format!("https://10.0.2.2:{port}/page");
        let fetch = |arguments: &[&str]| -> Result<_> {
            let mut guest = Guest::new("fetch").memory(128 << 20).args(arguments);
            guest.root = Some(directory.path().to_owned());
            let vm = machine(bench, guest, mark)?;
            published(vm, false)?.0.capture(None)
        };
        let good = fetch(&["--ca", "/ca.pem", &url])?;
        let said = String::from_utf8_lossy(&good.stderr).into_owned();
        ensure!(good.status == Some(0), "{version}: {said}");
        ensure!(good.stdout == page, "{version}: {} bytes came", good.stdout.len());
        let bad = fetch(&[&url])?;
        let said = String::from_utf8_lossy(&bad.stderr).into_owned();
        ensure!(
            bad.status == Some(1) && said.contains("UnknownIssuer") && said.lines().count() == 1,
            "{version}: a certificate that nobody trusts gives {:?}: {said}",
            bad.status
        );
    }
    Ok(())
}

/// An authority and a server's certificate for an address.
pub fn certificates(directory: &Path, address: &str) -> Result<()> {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let openssl = |words: &[&str]| {
        process::output(Command::new("openssl").args(words).current_dir(directory)).map(drop)
    };
    let authority =
        ["req", "-x509", "-days", "2", "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&authority[..], &key].concat())?;
    let request = ["req", "-subj", "/CN=server", "-keyout", "key.pem", "-out", "request.pem"];
    openssl(&[&request[..], &key].concat())?;
    let names = format!("subjectAltName=IP:{address}\n");
    fs::write(directory.join("names"), names)?;
    openssl(&[
        "x509",
        "-req",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "cert.pem",
    ])
}

fn wait_for_port(port: u16) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(Instant::now() < end, "nothing listens on port {port}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Without a card, what would need one fails, and the message names the option.
fn no_card(bench: &Bench, mark: &str) -> Result<()> {
    let guest = Guest::new("fetch").memory(128 << 20).args(&["http://10.0.2.2/"]);
    let end = machine(bench, guest, mark)?.capture(None)?;
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    ensure!(
        end.status == Some(1) && said.contains("--net user"),
        "without a card the program ends with {:?}: {said}",
        end.status
    );
    Ok(())
}
