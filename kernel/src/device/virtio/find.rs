//! Where virtio devices are.

use alloc::boxed::Box;
use alloc::vec::Vec;

use virtio::Id;

use super::mmio::{Found, Mmio};
use super::options::{self, Place};
use super::transport::Transport;
use super::{pci, refuse};
use crate::arch::acpi;
use crate::boot;
use crate::debug::Line;

/// QEMU's microvm has places for devices from here on (QEMU, hw/i386/microvm.c).
const MICROVM: usize = 0xfeb0_0000;
const MICROVM_STEP: usize = 512;

/// Their number and the line of the first. It depends on whether there is ACPI, and a second I/O APIC.
fn microvm() -> (usize, u32) {
    match acpi::io_apics() {
        None => (8, 5),
        Some(controllers) if controllers.len() < 2 => (8, 16),
        Some(_) => (24, 24),
    }
}

/// A place that the command line tells of. A value that is none is told of, and left out.
fn place(value: &str) -> Option<Place> {
    let place = options::parse(value);
    if place.is_none() {
        Line::new()
            .text("skete: `")
            .text(value)
            .text("` is no device for virtio_mmio.device=, which wants SIZE@BASE:LINE")
            .end();
    }
    place
}

/// Places that may have a device, in the order in which the devices were added.
fn places() -> Vec<Place> {
    let told: Vec<Place> = boot::options(options::NAME).filter_map(place).collect();
    if !told.is_empty() || crate::arch::pci::is_there() {
        return told;
    }
    let (count, line) = microvm();
    // QEMU fills them from the last to the first.
    (0..count)
        .rev()
        .map(|number| Place { base: MICROVM + number * MICROVM_STEP, line: line + number as u32 })
        .collect()
}

/// Every device of this kind that can be used. One that cannot is told of.
#[must_use]
pub fn find(kind: Id) -> Vec<&'static dyn Transport> {
    let mut found: Vec<&'static dyn Transport> = Vec::new();
    for place in places() {
        match Mmio::at(place, kind) {
            Found::Nothing => {}
            Found::Device(device) => found.push(Box::leak(Box::new(device))),
            Found::Refused(device, why) => refuse(&device, why),
        }
    }
    if crate::arch::pci::is_there() {
        pci::find(kind, &mut found);
    }
    found
}
