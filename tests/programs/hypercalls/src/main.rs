//! Attacks the monitor that it runs on with hypercalls that are wrong: `hypercalls ATTACK`.
//!
//! What a monitor may answer with an error ends with status 0 and the line `survived`; what it has no place to
//! answer ends the machine.

use std::arch::asm;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

/// Ports of uhyve's interface, version 2.
const PRINT: u16 = 0x1030;
const READ_INPUT: u16 = 0x1050;
const WRITE: u16 = 0x1100;
const OPEN: u16 = 0x1110;
const CLOSE: u16 = 0x1120;
const READ: u16 = 0x1130;
const SEEK: u16 = 0x1140;
const UNLINK: u16 = 0x1150;
const ENTRIES: u16 = 0x1160;
const STAT: u16 = 0x1170;
const FSTAT: u16 = 0x1180;
const MKDIR: u16 = 0x1190;
const FILES: [u16; 10] = [WRITE, OPEN, CLOSE, READ, SEEK, UNLINK, ENTRIES, STAT, FSTAT, MKDIR];

/// Where the kernel maps physical memory as a whole.
const DIRECT_MAP: u64 = 0x4000_0000_0000;
/// `EFAULT`
const FAULT: i64 = -14;

/// Addresses that are nobody's: beyond the memory, in the gap for devices, at the very end.
const WRONG: [u64; 6] = [1 << 40, 0xc000_0000, 0xffff_f000, u64::MAX, u64::MAX - 7, 1 << 63];

fn call(port: u16, argument: u64) {
    // SAFETY: the monitor writes to the parameters and what they point to, which are this program's, or to
    // nothing at all. That it does is what is tested.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") argument as u32, in("rdi") argument) };
}

/// Eight words in the heap, which is in one piece in physical memory.
fn words() -> (&'static mut [AtomicU64; 8], u64) {
    let words = Box::leak(Box::new([const { AtomicU64::new(0) }; 8]));
    let address = black_box(&raw const *words) as u64;
    (words, address - DIRECT_MAP)
}

/// Parameters of `FileRead` and `FileWrite`: length, result, buffer, descriptor.
fn transfer(port: u16, descriptor: i32, buffer: u64, length: u64) -> i64 {
    let (words, address) = words();
    words[0].store(length, Relaxed);
    words[1].store(0x5555, Relaxed);
    words[2].store(buffer, Relaxed);
    words[3].store(u64::from(descriptor as u32), Relaxed);
    call(port, address);
    words[1].load(Relaxed) as i64
}

fn buffers() -> ExitCode {
    for buffer in WRONG {
        for length in [1, 4096, 1 << 32, u64::MAX] {
            let got = transfer(WRITE, 1, buffer, length);
            assert_eq!(got, FAULT, "write {buffer:#x} {length:#x}");
            for descriptor in [0, 3, -1, i32::MIN, i32::MAX] {
                for port in [READ, WRITE] {
                    let got = transfer(port, descriptor, buffer, length);
                    assert!((-200..0).contains(&got), "{port:#x} {descriptor} {buffer:#x}: {got}");
                }
            }
        }
    }
    // Begins inside and ends outside.
    assert_eq!(transfer(WRITE, 1, 0x1000, 1 << 40), FAULT);
    assert_eq!(transfer(WRITE, 1, 0x1000, u64::MAX - 0xfff), FAULT);
    survived()
}

fn texts() -> ExitCode {
    let (words, address) = words();
    for port in [OPEN, UNLINK, STAT, MKDIR] {
        for name in WRONG {
            words.iter().for_each(|word| word.store(u64::MAX, Relaxed));
            words[0].store(name, Relaxed);
            call(port, address);
        }
    }
    // A name without an end.
    let long = vec![b'/'; 1 << 20].leak();
    words[0].store(black_box(long.as_ptr()) as u64 - DIRECT_MAP, Relaxed);
    words[2].store(0x5555, Relaxed);
    call(OPEN, address);
    survived()
}

fn parameters(address: u64) -> ExitCode {
    call(OPEN, address);
    println!("the monitor has gone on");
    ExitCode::FAILURE
}

fn unknown() -> ExitCode {
    /// Those that end the machine, or print, or copy texts to where they are told.
    const LEFT_OUT: [u16; 7] = [0x540, 0x780, 0x800, 0x880, 0x1010, 0x1020, PRINT];
    for port in (0x400..0x2000).filter(|port| !LEFT_OUT.contains(port)) {
        let (words, address) = words();
        words.iter().for_each(|word| word.store(u64::from(port), Relaxed));
        call(port, address);
    }
    survived()
}

/// Another processor changes the parameters while the monitor reads them.
fn race() -> ExitCode {
    static ON: AtomicBool = AtomicBool::new(true);
    let (words, address) = words();
    let words = &*words;
    let inner = black_box(words.as_ptr()) as u64 - DIRECT_MAP;
    words[0].store(8, Relaxed);
    words[2].store(inner, Relaxed);
    words[3].store(u64::MAX, Relaxed);
    let changer = thread::spawn(move || {
        let mut turn = 0;
        while ON.load(Relaxed) {
            turn += 1;
            words[0].store(if turn % 3 == 0 { u64::MAX } else { 8 }, Relaxed);
            words[2].store(if turn % 2 == 0 { WRONG[turn % 6] } else { inner }, Relaxed);
        }
    });
    for turn in 0..300 {
        call(FILES[turn % FILES.len()], address);
        call(READ_INPUT, address);
    }
    ON.store(false, Relaxed);
    let _ = changer.join();
    survived()
}

fn results() -> ExitCode {
    // Every word of the parameters has any value at all.
    let (words, address) = words();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for turn in 0..500 {
        for word in words.iter() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.store(if state & 3 == 0 { state } else { state & 0xffff }, Relaxed);
        }
        words[3].store(u64::MAX, Relaxed);
        // A buffer of its own, or none: the monitor must write nowhere else.
        words[2].store(if turn % 2 == 0 { 1 << 40 } else { u64::MAX }, Relaxed);
        words[1].store(1 << 41, Relaxed);
        words[0].store(u64::MAX, Relaxed);
        call(FILES[turn % FILES.len()], address);
    }
    survived()
}

/// Leaves the processor without a way to handle a fault, and faults.
fn triple_fault() -> ExitCode {
    let nothing = [0u8; 10];
    // SAFETY: never comes back.
    unsafe { asm!("cli", "lidt [{}]", "int3", in(reg) &raw const nothing) };
    ExitCode::FAILURE
}

fn survived() -> ExitCode {
    println!("survived");
    ExitCode::SUCCESS
}

/// Reads memory that is not there, by an instruction that KVM does not know how to do in a processor's place.
#[inline(never)]
fn no_memory() -> ExitCode {
    #[repr(align(4096))]
    struct Table([u64; 512]);
    /// An entry of level 4 that the kernel does not use.
    const FREE: u64 = 200;
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    let table = |first| Box::leak(Box::new(Table([first; 512])));
    let entry = |table: &Table| (&raw const table.0 as u64 - DIRECT_MAP) | PRESENT_WRITABLE;
    let lower = table(0xd000_0000 | LARGE | PRESENT_WRITABLE);
    let upper = table(entry(lower));
    let root: u64;
    // SAFETY: the program runs where it may do that; the entry that is written is free.
    unsafe {
        asm!("mov {}, cr3", out(reg) root);
        let level4 = (DIRECT_MAP + (root & !0xfff)) as *mut u64;
        level4.add(FREE as usize).write_volatile(entry(upper));
        asm!("paddq xmm0, [{}]", in(reg) FREE << 39, out("xmm0") _);
    }
    survived()
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("buffers") => buffers(),
        Some("texts") => texts(),
        Some("parameters") => parameters(1 << 40),
        Some("parameters-in-the-gap") => parameters(0xc000_0000),
        Some("parameters-wrapped") => parameters(u64::MAX - 3),
        Some("unknown") => unknown(),
        Some("race") => race(),
        Some("results") => results(),
        Some("triple-fault") => triple_fault(),
        Some("no-memory") => no_memory(),
        _ => {
            eprintln!(
                "usage: hypercalls buffers|texts|parameters|parameters-in-the-gap|parameters-wrapped|unknown|race|results|triple-fault|no-memory"
            );
            ExitCode::from(2)
        }
    }
}
