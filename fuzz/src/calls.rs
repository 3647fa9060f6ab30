//! The monitor's handlers of hypercalls: whatever a guest has in its memory and asks for, it gets an answer or is
//! ended, and nothing outside its memory and its mount changes.

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use skete_hypervisor::calls::{Call, Context, Flow};
use skete_hypervisor::console::Console;
use skete_hypervisor::files::Files;
use skete_hypervisor::memory::Memory;
use skete_hypervisor::options::{Mount, Options};

/// The guest's memory.
const MEMORY: u64 = 2 << 20;
/// Where parameters and texts are put.
const PLACES: u64 = 0x1000;

/// One thing that a guest does.
#[derive(Arbitrary, Debug)]
enum Step {
    /// Writes a word of a kind that parameters have.
    Write(u8, Word),
    /// Writes a path.
    Path(u8, Name),
    /// Calls.
    Call(u8, Argument),
    /// Calls by any port.
    Port(u16, u64),
}

/// A word of parameters.
#[derive(Arbitrary, Debug)]
enum Word {
    Small(u8),
    Place(u8),
    Descriptors(u8, u8),
    NearEnd(u8),
    /// An entry of a page table: a page's number and the low bits.
    Entry(u16, u8),
    Any(u64),
}

/// A path in the guest.
#[derive(Arbitrary, Debug)]
enum Name {
    Known(u8),
    Any(Vec<u8>),
}

/// The argument of a call.
#[derive(Arbitrary, Debug)]
enum Argument {
    Place(u8),
    NearEnd(u8),
    Any(u64),
}

/// Known calls, of both versions.
const PORTS: [u16; 28] = [
    0x400, 0x440, 0x480, 0x500, 0x580, 0x740, 0x780, 0x800, 0x840, 0x880, 0x1020, 0x1030, 0x1040,
    0x1050, 0x1100, 0x1110, 0x1120, 0x1130, 0x1140, 0x1150, 0x1160, 0x1170, 0x1180, 0x1190, 0x1200,
    0x1210, 0x1010, 0x1f00,
];

const PATHS: [&[u8]; 8] = [
    b"/data/file\0",
    b"/data/new\0",
    b"/data\0",
    b"/data/../secret\0",
    b"/data/out\0",
    b"/etc/passwd\0",
    b"/data/d/e\0",
    b"",
];

fn place(number: u8) -> u64 {
    PLACES + u64::from(number) * 8
}

/// Does what the bytes mean.
///
/// # Panics
///
/// When something outside the guest's memory and its mount has changed.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let place_of_host = tempfile::tempdir().expect("a directory");
    let inside = place_of_host.path().join("inside");
    fs::create_dir(&inside).expect("a directory");
    fs::write(inside.join("file"), "some content").expect("a file");
    fs::write(place_of_host.path().join("secret"), "secret").expect("a file");
    std::os::unix::fs::symlink("../secret", inside.join("out")).expect("a link");
    let context = context(&inside);
    // Enough for every path of the code, and bounded in time.
    for _ in 0..200 {
        let Ok(step) = Step::arbitrary(&mut input) else {
            break;
        };
        if do_step(&context, step) {
            break;
        }
        if input.is_empty() {
            break;
        }
    }
    let secret = fs::read(place_of_host.path().join("secret")).expect("the file outside");
    assert_eq!(secret, b"secret", "a file outside the mount has changed");
    let names = fs::read_dir(place_of_host.path()).expect("the directory outside").count();
    assert_eq!(names, 2, "something was made outside the mount");
}

fn context(inside: &Path) -> Context {
    let mut options = Options::new("image".into());
    options.arguments = vec!["an argument".into()];
    options.environment = vec![("KEY".into(), "value".into())];
    options.mounts = vec![Mount { host: inside.into(), guest: "/data".into(), read_only: false }];
    Context {
        memory: Memory::new(MEMORY, false).expect("memory"),
        console: Console::new(Some(Path::new("/dev/null"))).expect("a console"),
        files: Files::new(&options.mounts).expect("the mount"),
        options,
    }
}

/// True when the guest has ended.
fn do_step(context: &Context, step: Step) -> bool {
    let call = match step {
        Step::Write(at, word) => {
            let word = match word {
                Word::Small(number) => number.into(),
                Word::Place(number) => place(number),
                Word::Descriptors(low, high) => u64::from(low % 8) | u64::from(high) << 32,
                Word::NearEnd(back) => MEMORY - u64::from(back),
                Word::Entry(page, bits) => u64::from(page) << 12 | u64::from(bits),
                Word::Any(word) => word,
            };
            context.memory.write(&word.to_le_bytes(), place(at)).expect("a place in memory");
            return false;
        }
        Step::Path(at, path) => {
            let bytes = match &path {
                Name::Known(number) => PATHS[usize::from(*number) % PATHS.len()],
                Name::Any(bytes) => &bytes[..bytes.len().min(4096)],
            };
            context.memory.write(bytes, place(at)).expect("a place in memory");
            return false;
        }
        Step::Call(number, argument) => {
            let port = PORTS[usize::from(number) % PORTS.len()];
            let argument = match argument {
                Argument::Place(number) => place(number),
                Argument::NearEnd(back) => MEMORY - u64::from(back),
                Argument::Any(argument) => argument,
            };
            Call { port, argument, value: argument as u32 }
        }
        Step::Port(port, argument) => Call { port, argument, value: argument as u32 },
    };
    // The page tables are what else has been put there.
    !matches!(context.handle(call, &|| PLACES), None | Some(Flow::Continue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_calls_do_no_harm() {
        for seed in 1..400_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let bytes = (0..600).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 24) as u8
            });
            run(&bytes.collect::<Vec<_>>());
        }
    }
}
