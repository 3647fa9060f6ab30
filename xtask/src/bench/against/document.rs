//! `docs/benchmarks.md` and `docs/benchmarks-network.md`: the tables of both systems, and how they came about.

use std::fmt::Write as _;
use std::process::Command;
use std::thread;

use anyhow::Result;

use super::{Section, Systems};
use crate::linux::Linux;
use crate::qemu::QEMU;
use crate::sdk::{self, Manifest};
use crate::{paths, process};

/// One of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Programs by themselves.
    Programs,
    /// A server, asked from outside.
    Network,
}

impl Kind {
    /// Where it lies in the repository.
    fn file(self) -> &'static str {
        match self {
            Kind::Programs => "docs/benchmarks.md",
            Kind::Network => "docs/benchmarks-network.md",
        }
    }
}

/// What the numbers were measured with.
struct With {
    qemu: String,
    linux: String,
    rustc: String,
    /// The host's processors.
    processors: usize,
}

/// Writes the document from a complete run.
pub fn write(systems: &Systems, sections: &[Section], kind: Kind) -> Result<()> {
    let version = |program: &mut Command| -> Result<String> {
        let text = process::output(program.arg("--version"))?;
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let rustc = Manifest::read(&systems.sdk.root)?.rustc;
    let with = With {
        qemu: version(&mut Command::new(QEMU))?,
        linux: systems.linux.version().to_owned(),
        rustc: version(&mut Command::new(rustc))?,
        processors: thread::available_parallelism()?.get(),
    };
    let text = match kind {
        Kind::Programs => text(&with, sections),
        Kind::Network => network(&with, sections),
    };
    sdk::replace(&paths::root().join(kind.file()), text.as_bytes())
}

/// The document. The same results give the same text.
fn text(with: &With, sections: &[Section]) -> String {
    let mut text = String::from(
        "# Skete beside Linux\n\n\
         The same Rust programs on Skete and on Linux, in the same virtual machine. This file is written by\n\n    \
         cargo xtask bench --against linux\n\n\
         which measures everything again. A number alone is not good or bad; these stand beside what one would\n\
         run otherwise. Less is better in every row but that which counts processors. The goals are those of\n\
         `SPECIFICATION.md`; they are for Skete.\n",
    );
    tables(&mut text, sections);
    let _ = write!(
        text,
        "\n## How it is measured\n\n\
         - **Machine**: QEMU's `pc` without default devices, accelerator TCG, processor `max`, 256 MiB of memory,\n  \
         a serial line, the ports of `docs/boot-protocol.md`: the same command for both but for what is booted\n  \
         (`-kernel`, `-initrd`, `-append`). One processor, or two in the section about them.\n  \
         {qemu}; the host lets it use {processors}.\n\
         - **Skete**: the loader, and the program's stripped image.\n\
         - **Linux**: the distribution's kernel for virtual machines, {linux}, and an initramfs, not compressed, that holds\n  \
         `/dev/console` and the program as `/init`: process 1, and the only one. The program is a static\n  \
         executable with glibc, made from the same source by the same compiler ({rustc}) in release mode. The\n  \
         kernel's options, chosen for speed: `{options}`.\n\
         - **Instructions** are the guest's, of firmware, kernel and program together, counted by a QEMU plugin.\n  \
         For `hello` the clock is the count itself (`-icount shift=0,sleep=off`), so that every run gives the same\n  \
         number; what of Skete's is the image's own, without firmware and loader, is a row of `SPECIFICATION.md`.\n  \
         Operations are done thousands of times by `tests/programs/operations`; the count is from its first mark to\n  \
         its second.\n\
         - **Wall time** is kept only as a ratio of two times of this run. `hello`: the median of five pairs. The\n  \
         rest are the shortest of three boots, by `tests/programs/operations` and `tests/programs/scaling`. The\n  \
         host's own Linux runs the same static executable twenty times. A host whose processors are busy otherwise makes the\n  \
         ratios for two processors worse, on both systems.\n\
         - **Least memory**: the smallest `-m` with which `hello` writes its line and ends with status 0, in steps of\n  \
         64 KiB for Skete and of 1 MiB for Linux.\n\
         - **Idle**: the processor time that QEMU uses while the program sleeps, by the time that passes, after every\n  \
         processor has worked once.\n\
         - **Sleep** is told by the program, and is the one absolute time here: the host's own delays are in it.\n",
        qemu = with.qemu,
        processors = with.processors,
        linux = with.linux,
        rustc = with.rustc,
        options = Linux::options(),
    );
    text
}

/// Writes a table for each section.
fn tables(text: &mut String, sections: &[Section]) {
    for section in sections {
        let _ = write!(
            text,
            "\n## {}\n\n| what | Skete | Linux | Linux by Skete | goal, at most | verdict |\n\
             | --- | ---: | ---: | ---: | ---: | --- |\n",
            section.title
        );
        for judged in &section.rows {
            let [skete, linux] = judged.row.texts();
            let _ = writeln!(
                text,
                "| {} | {skete} | {linux} | {} | {} | {} |",
                judged.row.name,
                ratio(judged.row.values),
                judged.goal(),
                judged.verdict()
            );
        }
    }
}

/// The document about a server. The same results give the same text.
fn network(with: &With, sections: &[Section]) -> String {
    let mut text = String::from(
        "# A server on Skete beside one on Linux\n\n\
         The example `httpd` on Skete and on Linux, in the same virtual machine with the same network card, asked by\n\
         clients on the host. This file is written by\n\n    \
         cargo xtask bench --net\n\n\
         which measures everything again. Less is better in every row. The goals are those of `SPECIFICATION.md`; they\n\
         are for Skete.\n",
    );
    tables(&mut text, sections);
    let _ = write!(
        text,
        "\n## How it is measured\n\n\
         - **Machine**: as in [benchmarks.md](benchmarks.md), with a virtio network card on PCI. Both have a static address.\n  \
         {qemu}; the host lets it use {processors}, which the clients use too.\n\
         - **Skete** and **Linux**: as there, the same source and the same compiler. Linux ({linux}) has its modules\n  \
         for virtio in the initramfs, loads them and sets the address before `main`.\n\
         - **TAP**: the host's side is in a network namespace of its own. The card may leave checksums and segments to\n  \
         the host, and has a pair of queues for each processor.\n\
         - **Instructions** are the guest's, counted by a QEMU plugin: of 600 requests less those of 300, one after the\n  \
         other, each with a connection of its own or all on one. So each one finds the machine asleep, and pays\n  \
         for its interrupts and wake-ups alone. The first reply is counted until the program has handed it over, on Linux\n  \
         from the machine's start.\n\
         - **Requests**: `wrk` with 16 connections that are kept, one thread; the best of three rounds of four seconds.\n  \
         The worst latency and the failures are those of one run of 30 s through QEMU's own network.\n\
         - **Streams**: 128 MiB through one connection, the shortest of three; the machine makes the bytes that\n  \
         it sends, and counts those that it receives.\n\
         - **Least memory**: the smallest `-m` with which 20 requests are answered, in steps of 64 KiB for Skete on a\n  \
         microvm and of 1 MiB for Linux on a PC. **Idle**: the processor time that QEMU uses in ten seconds in which\n  \
         nobody asks.\n\n\
         Programs were compiled by {rustc}.\n",
        qemu = with.qemu,
        processors = with.processors,
        linux = with.linux,
        rustc = with.rustc,
    );
    text
}

/// How many times Skete's number fits into that of Linux.
fn ratio([skete, linux]: [f64; 2]) -> String {
    let ratio = linux / skete;
    match ratio {
        _ if !ratio.is_finite() => "–".to_owned(),
        _ if ratio >= 100.0 => format!("{ratio:.0} ×"),
        _ => format!("{ratio:.2} ×"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Unit;
    use super::super::{Judged, Row};
    use super::*;

    #[test]
    fn the_document_has_a_line_for_each_row() {
        let with = With {
            qemu: "QEMU 1".to_owned(),
            linux: "6.1 #1".to_owned(),
            rustc: "rustc 1".to_owned(),
            processors: 4,
        };
        let row = Row::new("hello: bytes", Unit::Bytes, [2_000.0, 500_000.0]);
        let rows = vec![Judged { row, goal: None }];
        let sections = [Section { title: "Size", rows }];
        let text = text(&with, &sections);
        let line = "\n| hello: bytes | 2,000 bytes | 500,000 bytes | 250 × | – | – |\n";
        assert!(text.contains(line), "{text}");
        for part in ["\n## Size\n", "QEMU 1; the host lets it use 4.", "6.1 #1", "panic=-1"] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn ratios_are_short() {
        assert_eq!(ratio([2.0, 5.0]), "2.50 ×");
        assert_eq!(ratio([1.0, 1234.5]), "1234 ×");
        assert_eq!(ratio([0.0, 1.0]), "–");
    }
}
