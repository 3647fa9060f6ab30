//! Servers of this host behind a machine that hands on (`examples/proxy`), asked by their own clients.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::super::case::{Bench, Case, Guest, Steps};
use super::tap::Ended;
use super::{READY, machine, serve, user};
use crate::net::lan::{GUEST, Lan};
use crate::qemu::Machine;
use crate::service::Service;

/// How long a server may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 2] =
        [("net/through/iperf3", iperf3), ("net/through/openssl", openssl)];
    cases.map(|(name, steps)| Case::steps(name, steps)).into()
}

/// Starts a server on this host's side of the network.
fn start(server: &mut Command) -> Result<Ended> {
    let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().map(Ended).context("cannot start a server")
}

/// Does something until it succeeds, or for too long: the server may not listen yet.
fn soon<T>(mut action: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match action() {
            Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(100)),
            result => return result,
        }
    }
}

/// TCP in both directions, several connections at once, and datagrams, as iperf3 counts them.
fn iperf3(bench: &Bench, mark: &str) -> Result<()> {
    const SIZE: u64 = 8 << 20;
    let lan = Lan::new(Machine::Microvm, 1)?;
    let _server = start(lan.command("iperf3").args(["-s", "-B", "10.0.0.1"]))?;
    let guest = Guest::new("proxy").args(&["5201", "10.0.0.1:5201"]);
    let size = SIZE.to_string();
    let measure = |words: &[&str]| -> Result<serde_json::Value> {
        let mut client = lan.command("iperf3");
        client
            .args(["-c", GUEST, "--json", "--connect-timeout", "5000"])
            // Little is under way at the end, which it does not wait for.
            .args(["-w", "128K"])
            .args(words);
        // iperf3 tells its errors in the same form.
        let output = client.output().context("cannot start iperf3")?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        if let Some(error) = told["error"].as_str() {
            bail!("iperf3 {words:?}: {error}");
        }
        Ok(told)
    };
    // It tells of connections that iperf3 resets, as it ends all of them.
    let service = Service::start(lan.machine(machine(bench, guest, mark)?), READY)?;
    soon(|| measure(&["-n", "1"]))?;
    for words in [&["-n", &size][..], &["-n", &size, "-R"], &["-n", &size, "-P", "4"]] {
        let told = measure(words)?;
        let bytes = |what: &str| told["end"][what]["bytes"].as_u64().unwrap_or(0);
        let (sent, received) = (bytes("sum_sent"), bytes("sum_received"));
        ensure!(
            sent >= SIZE && received >= SIZE / 2,
            "iperf3 {words:?}: {sent} bytes were sent and {received} have arrived, of {SIZE}"
        );
    }
    let told = measure(&["-u", "-b", "2M", "-l", "1000", "-n", "500000"])?;
    let count = |what: &str| told["end"]["sum"][what].as_u64();
    let (packets, lost) = (count("packets"), count("lost_packets"));
    ensure!(
        packets >= Some(500) && lost.is_some_and(|lost| lost <= 5),
        "iperf3 with datagrams: {packets:?}, {lost:?} of them lost"
    );
    service.stop().map(drop)
}

/// A connection by TLS from `openssl s_client` to `openssl s_server`.
fn openssl(bench: &Bench, mark: &str) -> Result<()> {
    let lan = Lan::new(Machine::Microvm, 1)?;
    let directory = tempfile::tempdir()?;
    user::certificates(directory.path(), GUEST)?;
    let _server = start(
        lan.command("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", "10.0.0.1:4433"])
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(directory.path()),
    )?;
    let guest = Guest::new("proxy").args(&["4433", "10.0.0.1:4433"]);
    serve(lan.machine(machine(bench, guest, mark)?), |_| {
        soon(|| {
            let mut client = lan
                .command("openssl")
                .args(["s_client", "-quiet", "-connect", "10.0.0.2:4433"])
                .args(["-CAfile", "ca.pem", "-verify_return_error"])
                .args(["-verify_ip", GUEST])
                .current_dir(directory.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut stdin = client.stdin.take().context("no standard input")?;
            stdin.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            // It stays open until the server has ended the connection.
            let output = client.wait_with_output()?;
            drop(stdin);
            let said = String::from_utf8_lossy(&output.stdout);
            ensure!(
                output.status.success() && said.starts_with("HTTP/1.0 200"),
                "{said}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(())
        })
    })
}
