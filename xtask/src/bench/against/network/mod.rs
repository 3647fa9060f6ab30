//! `cargo xtask bench --net`: the example `httpd` on Skete and on Linux, in the same machine with the same
//! network card, asked by clients on this host.

mod idle;
mod load;
mod memory;
mod requests;
mod stream;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::super::Subject;
use super::super::instructions::Counter;
use super::{Pair, Row, Systems, document, show_and_write};
use crate::linux::{Linux, MEMORY, Program};
use crate::net::card::{Backend, Card};
use crate::net::lan::{self, Lan};
use crate::net::namespace::Namespace;
use crate::net::publish::Publish;
use crate::progress::Step;
use crate::qemu::{Machine, Vm};
use crate::service::Service;
use crate::{packages, sdk};

/// The port that `httpd` listens on.
const PORT: u16 = 8080;
/// What `httpd` writes when it serves.
const READY: &str = "serving on";
/// The machine's address in QEMU's own network.
const USER: &str = "10.0.2.15";

/// The program on both systems, with an address of their own.
struct Subjects {
    /// In a network with this host, by TAP.
    lan: Pair,
    /// In QEMU's own network.
    user: Pair,
}

/// Runs `cargo xtask bench --net` with this kernel, or the distribution's.
pub fn run(kernel: Option<&Path>, json: bool) -> Result<()> {
    if let Some(obstacle) = Namespace::obstacle() {
        bail!("`cargo xtask bench --net` {obstacle}");
    }
    packages::ensure_network(false)?;
    let systems = Systems { sdk: sdk::ensure()?, linux: Linux::ensure(kernel)? };
    let sections = measure(&systems)?;
    show_and_write(&systems, sections, json, document::Kind::Network)
}

fn measure(systems: &Systems) -> Result<Vec<(&'static str, Vec<Row>)>> {
    let step = Step::new("building httpd for Skete and Linux");
    let counter = Counter::build()?;
    let subjects = Subjects::build(systems)?;
    step.done();
    let step = Step::new("counting the instructions of requests");
    let mut requests = requests::measure(&counter, &subjects.lan)?;
    requests.push(requests::first(&counter, &subjects.lan)?);
    step.done();
    let step = Step::new("asking with wrk");
    let load = load::measure(&subjects)?;
    step.done();
    let step = Step::new("sending streams");
    let streams = stream::measure(&subjects.lan)?;
    step.done();
    let step = Step::new("looking for the least memory, and idling");
    let mut rest = Vec::from(memory::sizes(systems, &subjects.user)?);
    rest.push(memory::measure(&subjects.user)?);
    rest.push(idle::measure(&subjects.lan)?);
    step.done();
    Ok(vec![
        ("Instructions", requests),
        ("Requests", load),
        ("Streams", streams),
        ("Size, memory, idling", rest),
    ])
}

impl Subjects {
    fn build(systems: &Systems) -> Result<Subjects> {
        let skete = Subject::build("httpd")?;
        let program = Program::build(&systems.sdk, "httpd")?;
        let pair = |address: &str, prefix: u8| -> Result<Pair> {
            let address = format!("{address}/{prefix}");
            let linux = systems.linux.networked(&systems.sdk, &program, &address)?;
            let machine = |vm: Vm| Vm {
                machine: Machine::Pc,
                memory: MEMORY,
                timeout: Some(super::LIMIT),
                ..vm
            };
            Ok(Pair {
                skete: Subject {
                    image: skete.image.clone(),
                    vm: Vm { network: vec![format!("ip={address}")], ..machine(skete.vm()) },
                },
                linux: Subject { image: program.symbols.clone(), vm: machine(linux) },
            })
        };
        Ok(Subjects { lan: pair(lan::GUEST, lan::PREFIX)?, user: pair(USER, 24)? })
    }
}

/// Where the server is, as seen from [`Lan`]'s host side.
fn server() -> SocketAddr {
    let address = lan::GUEST.parse().unwrap_or(IpAddr::from([10, 0, 0, 2]));
    SocketAddr::new(address, PORT)
}

/// Boots a subject's program in a network with this host, and does something once it serves.
fn served<T>(
    subject: &Subject,
    smp: u32,
    action: impl FnOnce(&Lan, &Service) -> Result<T>,
) -> Result<T> {
    let vm = subject.vm();
    let lan = Lan::new(vm.machine, smp)?;
    let service = Service::start(Vm { smp, ..lan.connect(vm) }, READY)?;
    let done = action(&lan, &service)?;
    service.check()?;
    service.stop()?;
    Ok(done)
}

/// Puts a subject's machine into QEMU's own network; gives the address at which its server is reached.
fn published(vm: Vm) -> Result<(Vm, SocketAddr)> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let SocketAddr::V4(host) = free else {
        bail!("{free} is not an address of IPv4");
    };
    let publish = Publish { host, guest: PORT, udp: false };
    let backend = Backend::User { publish: vec![publish], guest: None };
    let vm = Vm { cards: vec![Card::new(0, backend)], ..vm };
    Ok((vm, free))
}

/// A number of a tool's output.
fn number(text: &str) -> Result<f64> {
    text.parse().with_context(|| format!("`{text}` is no number"))
}
