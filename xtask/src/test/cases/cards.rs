//! Network cards with all kinds of properties: the driver agrees with each on what both can do, and streams
//! come through unchanged in both directions.

use std::io::{ErrorKind, copy};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::Expect;
use crate::qemu::Machine;

/// Where QEMU's own network has this host.
const HOST: &str = "10.0.2.2";
/// Pieces of 64 KiB that are exchanged: the rings go round several times.
const PIECES: usize = 24;

pub fn all() -> Vec<Case> {
    let cases: [(&str, Steps); 14] = [
        ("mmio", |bench, mark| exchange(bench, mark, small(Machine::Microvm), "virtio-net-device")),
        ("mmio-packed", |bench, mark| {
            let device = "virtio-net-device,packed=on";
            exchange(bench, mark, small(Machine::Microvm).smp(2), device)
        }),
        ("mmio-plain", |bench, mark| {
            let device = "virtio-net-device,mrg_rxbuf=off,event_idx=off,indirect_desc=off";
            exchange(bench, mark, small(Machine::Microvm), device)
        }),
        ("mmio-legacy", mmio_legacy),
        ("pci", |bench, mark| exchange(bench, mark, small(Machine::Pc), "virtio-net-pci")),
        ("pci-packed", |bench, mark| {
            let device = "virtio-net-pci,packed=on";
            exchange(bench, mark, small(Machine::Q35).smp(2), device)
        }),
        ("pci-line", |bench, mark| {
            let device = "virtio-net-pci,vectors=0";
            exchange(bench, mark, small(Machine::Pc), device)
        }),
        ("pci-line-packed", |bench, mark| {
            let device = "virtio-net-pci,vectors=0,packed=on,event_idx=off";
            exchange(bench, mark, small(Machine::Q35), device)
        }),
        ("pci-one-message", |bench, mark| {
            let device = "virtio-net-pci,vectors=1";
            exchange(bench, mark, small(Machine::Q35), device)
        }),
        ("pci-modern", |bench, mark| {
            let device = "virtio-net-pci,disable-legacy=on,mrg_rxbuf=off,host_mtu=1400";
            exchange(bench, mark, small(Machine::Pc), device)
        }),
        ("pci-jumbo", |bench, mark| {
            let device = "virtio-net-pci,host_mtu=9000,mrg_rxbuf=off";
            exchange(bench, mark, Guest::new("exchange").on(Machine::Q35), device)
        }),
        ("pci-behind-a-bridge", |bench, mark| {
            let mut guest = small(Machine::Q35);
            guest.qemu = ["-device", "pcie-root-port,id=root1"].map(Into::into).into();
            exchange(bench, mark, guest, "virtio-net-pci,bus=root1")
        }),
        // This firmware gives no addresses to what is on the bus.
        ("pci-without-addresses", |bench, mark| {
            let mut guest = small(Machine::Pc);
            guest.qemu = ["-bios", "qboot.rom"].map(Into::into).into();
            exchange(bench, mark, guest, "virtio-net-pci")
        }),
        ("pci-legacy", pci_legacy),
    ];
    cases.map(|(name, steps)| Case::steps(format!("guest/card/{name}"), steps)).into()
}

/// A machine with as little memory as a server needs.
fn small(machine: Machine) -> Guest {
    Guest::new("exchange").on(machine).memory(8 << 20)
}

/// The guest with a card.
fn with_card(mut guest: Guest, device: &str) -> Guest {
    let words = [
        "-netdev".to_owned(),
        "user,id=card".to_owned(),
        "-device".to_owned(),
        format!("{device},netdev=card"),
    ];
    guest.qemu.extend(words);
    guest
}

/// Lets the program send to a server of this process, which sends back all that it gets.
fn exchange(bench: &Bench, mark: &str, guest: Guest, device: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let server = format!("{HOST}:{}", listener.local_addr()?.port());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let echo = scope.spawn(|| echo(&listener, &over));
        let guest = with_card(guest.args(&[&server, &PIECES.to_string()]), device);
        let got = guest.run(bench, mark);
        over.store(true, Ordering::Relaxed);
        let expect =
            Expect::status(0).stdout(format!("{PIECES} pieces have come back\n")).stderr("");
        // What the guest says tells more than what its server saw.
        expect.judge(&got?)?;
        echo.join().expect("the server's thread does not panic")
    })
}

/// Sends back what comes over the first connection.
fn echo(listener: &TcpListener, over: &AtomicBool) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                copy(&mut &stream, &mut &stream)?;
                stream.shutdown(Shutdown::Write)?;
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A card that is refused, and why.
fn refused(bench: &Bench, mark: &str, guest: Guest, device: &str, why: &str) -> Result<()> {
    let guest = with_card(guest.args(&[&format!("{HOST}:9"), "1"]), device);
    let expect = Expect::status(1).stdout("").err(why);
    expect.judge(&guest.run(bench, mark)?)
}

fn mmio_legacy(bench: &Bench, mark: &str) -> Result<()> {
    let mut guest = small(Machine::Microvm);
    guest.qemu = ["-global", "virtio-mmio.force-legacy=on"].map(Into::into).into();
    let why = "skete: virtio-mmio device at 0xfeb00e00 is not used: it speaks only the protocol before virtio 1.0";
    refused(bench, mark, guest, "virtio-net-device", why)
}

fn pci_legacy(bench: &Bench, mark: &str) -> Result<()> {
    let why = "is not used: it speaks only the protocol before virtio 1.0 (QEMU: leave out disable-modern=on)";
    let device = "virtio-net-pci,disable-modern=on,disable-legacy=off";
    refused(bench, mark, small(Machine::Pc), device, why)
}
