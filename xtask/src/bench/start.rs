//! The monitor's own instructions in user space, from its start to the guest's first one.
//!
//! The plugin counts those in the monitor's code, wherever the nested Linux has put it: without randomness that is
//! the same place in each boot. A first boot tells where.

use std::fs;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

use super::Subject;
use super::instructions::{Count, Counter, Range};
use crate::linux::nested::{Check, Nested, Release};
use crate::monitor;

/// What happens in the monitor, and the function that begins it; the last one is the guest's entry.
const PHASES: [(&str, &str); 8] = [
    ("– C library, Rust's runtime", "_start"),
    ("– options, KVM opened", "skete::main"),
    ("– image checked and loaded, console, mounts", "skete_hypervisor::image::open"),
    ("– machine and processors made", "skete_hypervisor::machine::make"),
    ("– Landlock", "skete_hypervisor::jail::confine_files"),
    ("– boot information, device tree, threads", "skete_hypervisor::boot::write"),
    ("– seccomp", "skete_hypervisor::jail::confine_calls"),
    ("the guest", ""),
];
/// What the plugin calls the guest's entry.
const ENTRY: &str = "entry";
/// What it calls the monitor's code.
const CODE: &str = "skete";

/// The phases with their instructions.
pub fn phases(subject: &Subject) -> Result<Vec<(&'static str, u64)>> {
    let program = fs::read(monitor::build_with_symbols()?).context("cannot read the monitor")?;
    let file = object::File::parse(&*program).context("the monitor is no ELF file")?;
    let image = fs::read(&subject.vm.image).context("cannot read the image")?;
    let entry = object::File::parse(&*image)?.entry();
    let base = base(&program, &image)?;
    let address = |name: &str| -> Result<u64> {
        let mut symbols = file.symbols();
        let found = symbols.find(|symbol| {
            let symbol = symbol.name().unwrap_or_default();
            let plain = format!("{:#}", rustc_demangle::demangle(symbol));
            // Of a generic function, the only one there is.
            plain == name || plain.starts_with(&format!("{name}::<"))
        });
        let found = found.with_context(|| format!("the monitor has no function {name}"))?;
        Ok(base + found.address())
    };
    let mut marks = vec![(ENTRY, entry)];
    for (_, function) in &PHASES[..PHASES.len() - 1] {
        marks.push((function, address(function)?));
    }
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let ranges = code.map(|section| Range {
        start: base + section.address(),
        end: base + section.address() + section.size(),
        name: CODE.to_owned(),
    });
    let ranges = ranges.collect::<Vec<_>>();

    let count = Count::new()?;
    let arguments = Counter::build()?.arguments(&count, &marks, &ranges)?;
    let nested = nested()?.with(FIXED, arguments.into());
    let run = Check::new("run", monitor::with_path("skete run hello"));
    let done = nested.run(&[("skete", &program), ("hello", &image)], &[run], "skete-start")?;
    if done[0].status != Some(0) {
        bail!("{}", String::from_utf8_lossy(&done[0].stderr));
    }
    let report = count.report()?;
    let total = |mark: &str| report.in_ranges(mark).get(CODE).copied().unwrap_or(0);
    let ends = PHASES[1..].iter().map(|(_, function)| match *function {
        "" => total(ENTRY),
        function => total(function),
    });
    let rows = PHASES
        .iter()
        .zip(ends)
        .map(|((name, function), end)| (*name, end.saturating_sub(total(function))));
    Ok(rows.collect())
}

/// Everything at the same place in each boot.
const FIXED: &str = "norandmaps";

fn nested() -> Result<Nested> {
    Nested::ensure(Release::Stable)
}

/// Where Linux puts the monitor.
fn base(program: &[u8], image: &[u8]) -> Result<u64> {
    let line = "skete run hello --gdb 1234 & sleep 1; cat /proc/$!/maps; kill -9 $!";
    let look = Check::new("look", monitor::with_path(line));
    let files = [("skete", program), ("hello", image)];
    let done = nested()?.with(FIXED, Vec::new()).run(&files, &[look], "skete-start")?;
    let maps = String::from_utf8_lossy(&done[0].stdout).into_owned();
    let first = maps.lines().find(|line| line.ends_with("/skete"));
    let start = first.and_then(|line| line.split('-').next());
    let start = start.and_then(|start| u64::from_str_radix(start, 16).ok());
    start.with_context(|| format!("the monitor's place is not known: {maps}"))
}
