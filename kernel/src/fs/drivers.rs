//! Names below `/dev` that stand for devices of the machine. A kind of device is looked for when a name of it is used
//! for the first time, so that a machine which does not need its devices does not touch them.
//!
//! The drivers are in images whose link asks for them: the linker defines `skete_devices` as `sys_devices`
//! (decision 180).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::node::Kind;
use super::open::OpenFile;
use super::{Options, at};
use crate::debug::{Level, Line};
use crate::drivers::{block, console, entropy};
use crate::fd::Object;
use crate::sync::{Hook, Mutex};
use crate::{Error, Result};

/// A device of the machine, as a file.
pub trait Driver: Send + Sync {
    /// What its name stands for.
    fn kind(&self) -> Kind;

    /// Bytes that it holds.
    fn length(&self) -> u64 {
        0
    }

    /// Opens it. `file` is its node, opened, for all that the device has no part in.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    fn open(&'static self, file: Arc<OpenFile>, options: Options) -> Result<Arc<dyn Object>>;
}

impl fmt::Debug for dyn Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Driver")
    }
}

/// Devices of one kind.
struct Family {
    /// What their names begin with.
    name: &'static str,
    /// What is behind that.
    suffix: Suffix,
    /// What gives a machine one.
    option: &'static str,
    /// It was told of.
    told: AtomicBool,
}

const DIRECTORY: &[u8] = b"/dev";

/// How devices of a kind are told apart.
#[derive(Clone, Copy)]
enum Suffix {
    /// There is one.
    None,
    /// `0`, `1`, …
    Number,
    /// `a` to `z`, then `aa`, as Linux counts its disks.
    Letters,
}

/// Every kind.
static FAMILIES: [Family; 3] = [
    Family {
        name: "vd",
        suffix: Suffix::Letters,
        option: "--disk FILE (QEMU: -drive if=none,id=D,file=FILE,format=raw -device virtio-blk-pci,drive=D)",
        told: AtomicBool::new(false),
    },
    Family {
        name: "hwrng",
        suffix: Suffix::None,
        option: "--rng (QEMU: -device virtio-rng-pci)",
        told: AtomicBool::new(false),
    },
    Family {
        name: "hvc",
        suffix: Suffix::Number,
        option: "--channel PATH (QEMU: -device virtio-serial-pci,max_ports=1 -device virtconsole,chardev=C)",
        told: AtomicBool::new(false),
    },
];

/// Brings up all devices of a kind.
type Find = fn() -> Vec<&'static dyn Driver>;

type ComeUp = fn(&[u8]) -> bool;

/// What [`come_up`] does in an image with drivers.
static COME_UP: Hook<&'static ComeUp> = Hook::new();

/// How the devices of each kind are found.
static FIND: [Find; FAMILIES.len()] = [
    || devices(block::disks()),
    || {
        let mut sources = devices(entropy::sources());
        sources.truncate(1);
        sources
    },
    || devices(console::consoles()),
];

/// Lets names lead to devices: who names this function has the drivers in the image.
pub fn allow() {
    static LOOK_FOR: ComeUp = look_for;
    COME_UP.set(&LOOK_FOR);
}

/// What the image's link asks for.
#[cfg(any(target_os = "none", skete_lint_arch))]
mod asked {
    // 0 when the linker was not told what the symbol is.
    core::arch::global_asm!(
        ".pushsection .rodata.skete_devices_wanted, \"a\"",
        ".weak skete_devices",
        ".balign 8",
        "skete_devices_wanted: .quad skete_devices",
        ".popsection",
    );

    /// Leads to [`super::allow`].
    pub fn for_devices() -> Option<extern "C" fn()> {
        unsafe extern "C" {
            static skete_devices_wanted: Option<extern "C" fn()>;
        }
        // SAFETY: defined above, and constant: null, or the address of `sys_devices`.
        unsafe { skete_devices_wanted }
    }
}

/// Which of them have been looked for, and how many there are.
static FOUND: Mutex<[Option<usize>; FAMILIES.len()]> = Mutex::new([None; FAMILIES.len()]);

fn devices<D: Driver>(found: Vec<&'static D>) -> Vec<&'static dyn Driver> {
    found.into_iter().map(|device| device as &dyn Driver).collect()
}

impl Suffix {
    /// Adds the one of the device with this number.
    fn add(self, number: usize, name: &mut Vec<u8>) {
        let (first, base) = match self {
            Suffix::None => return,
            Suffix::Number => (b'0', 10),
            Suffix::Letters => (b'a', 26),
        };
        if number >= base {
            // There is no digit for nothing among letters.
            let more = number / base - usize::from(base == 26);
            self.add(more, name);
        }
        name.push(first + (number % base) as u8);
    }

    /// Whether these bytes are one.
    fn is(self, bytes: &[u8]) -> bool {
        match self {
            Suffix::None => bytes.is_empty(),
            Suffix::Number => !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit),
            Suffix::Letters => !bytes.is_empty() && bytes.iter().all(u8::is_ascii_lowercase),
        }
    }
}

/// The kind whose devices have names like this.
fn family(name: &[u8]) -> Option<usize> {
    FAMILIES.iter().position(|family| {
        name.strip_prefix(family.name.as_bytes()).is_some_and(|suffix| family.suffix.is(suffix))
    })
}

/// Sees to it that a device which a path leads to is there. True when the path is that of a device, whether or not
/// it is there.
pub fn come_up(path: &[u8]) -> bool {
    #[cfg(any(target_os = "none", skete_lint_arch))]
    if COME_UP.get().is_none()
        && let Some(allow) = asked::for_devices()
    {
        allow();
    }
    COME_UP.get().unwrap_or(&(tell_of_none as ComeUp))(path)
}

/// [`come_up`] in an image without drivers.
fn tell_of_none(path: &[u8]) -> bool {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let name = path.strip_prefix(b"/dev/").and_then(family);
    if name.is_some() && !TOLD.swap(true, Relaxed) {
        Line::new()
            .text("skete: no way to ")
            .bytes(path)
            .text(": the image holds no drivers for devices; link it with --defsym=skete_devices=sys_devices")
            .end();
    }
    name.is_some()
}

/// [`come_up`] in an image with drivers: looks for the devices that a path's last name is about, or for all when it
/// is `/dev`, or a symbolic link that leads to nothing yet.
fn look_for(path: &[u8]) -> bool {
    let look_for_all = || (0..FAMILIES.len()).for_each(|number| _ = look(number));
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if path == DIRECTORY {
        look_for_all();
        return false;
    }
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let (directory, name) = path.split_at(slash.map_or(0, |slash| slash + 1));
    if let Some(number) = family(name) {
        // Its directory may be `/dev` by another name.
        let count = look(number);
        let ours = directory.strip_suffix(b"/") == Some(DIRECTORY);
        if ours && count == 0 {
            tell(&FAMILIES[number], path);
        }
        return ours;
    }
    let kind = at(path, |tree, path| Ok(tree.find_link(path)?.kind()));
    if kind == Ok(Kind::Link) && at(path, |tree, path| tree.find(path).map(drop)).is_err() {
        look_for_all();
    }
    false
}

/// Brings up the devices of a kind, the first time, and gives them names. Tells how many there are.
fn look(number: usize) -> usize {
    let mut found = FOUND.lock();
    if let Some(count) = found[number] {
        return count;
    }
    let family = &FAMILIES[number];
    let devices = FIND[number]();
    found[number] = Some(devices.len());
    for (number, device) in devices.iter().enumerate() {
        let mut path = Vec::from(DIRECTORY);
        path.push(b'/');
        path.extend_from_slice(family.name.as_bytes());
        family.suffix.add(number, &mut path);
        // A name that the program has given away stays what it is.
        let named = at(&path, |tree, path| tree.add_driver(path, *device));
        if let Err(Error::NoSpace) = named {
            Line::log(Level::Error, |line| {
                line.text("memory is short for the name of ").bytes(&path);
            });
        }
    }
    devices.len()
}

/// Says what is missing, for the first path of each kind.
fn tell(family: &Family, path: &[u8]) {
    if family.told.swap(true, Relaxed) {
        return;
    }
    Line::log(Level::Warn, |line| {
        line.text("there is no ")
            .bytes(path)
            .text(": the machine has no such device; give it one with ")
            .text(family.option);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_linux() {
        let name = |suffix: Suffix, number| {
            let mut name = Vec::new();
            suffix.add(number, &mut name);
            assert!(suffix.is(&name));
            String::from_utf8(name).unwrap()
        };
        for (number, letters) in [(0, "a"), (25, "z"), (26, "aa"), (52, "ba"), (702, "aaa")] {
            assert_eq!(name(Suffix::Letters, number), letters);
        }
        assert_eq!(name(Suffix::Number, 0), "0");
        assert_eq!(name(Suffix::Number, 123), "123");
        assert_eq!(name(Suffix::None, 0), "");
    }

    #[test]
    fn other_names_are_no_devices() {
        for (name, number) in [("vda", 0), ("vdab", 0), ("hwrng", 1), ("hvc0", 2), ("hvc12", 2)] {
            assert_eq!(family(name.as_bytes()), Some(number), "{name}");
        }
        for name in ["", "vd", "vd0", "vda1", "vdA", "hwrng0", "hvc", "hvca", "null"] {
            assert_eq!(family(name.as_bytes()), None, "{name}");
        }
    }

    /// A missing device is missing, and no file is made in its place.
    #[test]
    fn what_is_not_there_is_not_made() {
        let create = Options { write: true, create: true, ..Options::default() };
        let exclusive = Options { exclusive: true, ..create };
        for options in [create, exclusive] {
            let result = crate::fs::open(b"/dev/vda", options);
            assert_eq!(result.err(), Some(Error::NotFound));
        }
        assert!(crate::fs::open(b"/dev/vda1", create).is_ok());
        assert!(crate::fs::open(b"/tmp/vda", create).is_ok());
    }
}
