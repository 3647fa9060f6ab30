//! Programs with a network, asked by real clients on this host.
//!
//! Counts are small here, so that all of this takes a few minutes; `cargo xtask stress --net` does the same
//! with large ones.

pub mod hostile;
mod load;
pub mod stress;
mod tap;
mod through;
mod user;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::case::{Bench, Case, Guest, Image};
use crate::net::lan;
use crate::net::random::Random;
use crate::net::wire::Wire;
use crate::process;
use crate::qemu::Vm;
use crate::service::Service;

/// The port of the examples' servers.
const PORT: u16 = 8080;
/// What they say when they serve.
const READY: &str = "serving on";
/// How long a machine of these tests may run.
const LIMIT: Duration = Duration::from_secs(600);

pub fn all() -> Vec<Case> {
    let cases = [hostile::all(), load::all(), tap::all(), through::all(), user::all()];
    cases.into_iter().flatten().collect()
}

/// Where the machine in a [`Lan`](lan::Lan) serves.
fn server() -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 0, 0, 2]), PORT)
}

/// The page `path` of that server.
fn url(path: &str) -> String {
    format!("http://{}{path}", server())
}

/// The machine of a guest, without cards.
fn machine(bench: &Bench, guest: Guest, mark: &str) -> Result<Vm> {
    let Image::Program(name) = guest.image else {
        anyhow::bail!("only programs of the repository serve");
    };
    let guest = Guest { timeout: LIMIT, ..guest };
    Ok(guest.vm(&bench.sdk, bench.image(name)?, mark))
}

/// The machine with a card at the end of a wire.
fn wired(wire: &Wire, vm: Vm) -> Vm {
    Vm {
        cards: vec![wire.card()],
        network: vec![format!("ip={}/{}", lan::GUEST, lan::PREFIX), "gw=10.0.0.1".to_owned()],
        ..vm
    }
}

/// Boots a machine, does something once it serves, and fails when it complains or has ended by then.
fn serve(vm: Vm, action: impl FnOnce(&Service) -> Result<()>) -> Result<()> {
    let service = Service::start(vm, READY)?;
    let done = action(&service);
    let checked = service.check();
    match (done, checked) {
        (Err(error), Err(complaint)) => Err(error.context(complaint)),
        (done, checked) => done.and(checked),
    }
}

/// Runs a client and gives what it writes, without the last line's end.
fn ask(client: &mut Command) -> Result<String> {
    process::output(client).map(|text| text.trim_end().to_owned())
}

/// curl, quiet but for errors, with a limit in seconds.
fn curl(mut curl: Command, limit: u32) -> Command {
    curl.args(["--silent", "--show-error", "--fail", "--max-time"]).arg(limit.to_string());
    curl
}

/// Moves `size` bytes in both directions with curl, and compares them: what comes is known, of what goes
/// the machine tells the digest.
fn both_ways(client: impl Fn() -> Command, base: &str, size: usize, limit: u32) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (down, up) = (directory.path().join("down"), directory.path().join("up"));
    ask(curl(client(), limit).arg("--output").arg(&down).arg(format!("{base}/bytes/{size}")))?;
    compare(&down, size).context("what the machine has sent is wrong")?;
    fs::write(&up, random(size))?;
    let told = ask(curl(client(), limit)
        .arg("--data-binary")
        .arg(format!("@{}", up.display()))
        .arg(format!("{base}/sha256")))?;
    let digest = digest(&up)?;
    ensure!(told == digest, "of {size} bytes the machine tells the digest {told}, not {digest}");
    Ok(())
}

fn random(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Random::new(size as u64).fill(&mut bytes);
    bytes
}

fn digest(file: &Path) -> Result<String> {
    let text = process::output(Command::new("sha256sum").arg(file))?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// Compares a file with the bytes that `httpd` sends (`examples/httpd/src/pattern.rs`).
fn compare(file: &Path, size: usize) -> Result<()> {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = fs::read(file)?;
    ensure!(bytes.len() == size, "{} bytes came, not {size}", bytes.len());
    let mut word = 0_u64;
    for (place, piece) in bytes.chunks(8).enumerate() {
        word = word.wrapping_add(STEP);
        ensure!(
            *piece == word.to_le_bytes()[..piece.len()],
            "the bytes from {} on are {piece:02x?}, not {:02x?}",
            8 * place,
            word.to_le_bytes()
        );
    }
    Ok(())
}
