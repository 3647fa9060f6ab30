//! The forbidden things.

use std::alloc::{Layout, alloc, dealloc};
use std::arch::asm;
use std::fs::File;
use std::hint::black_box;
use std::process::{self, ExitCode};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What it is called, what it is, and the thing itself, which gets the number on the command line.
/// It gives an exit status when it is survived.
type Doing = (&'static str, &'static str, fn(i64) -> ExitCode);

/// Everything that can be asked for.
pub const ALL: &[Doing] = &[
    ("stack-overflow", "recurse without end", |_| survived(recurse(0))),
    ("stack-overflow-in-thread", "the same in another thread", |_| {
        let deep = thread::Builder::new().name("deep".to_owned()).spawn(|| recurse(0));
        survived(deep.map(thread::JoinHandle::join))
    }),
    ("large-frame", "a stack frame larger than the stack", |_| survived(large_frame())),
    ("null-read", "read address 0", |_| survived(read(0))),
    ("null-write", "write address 0", |_| survived(write(0))),
    ("null-field-read", "read a little above address 0", |_| survived(read(0x800))),
    ("null-call", "call address 0", |_| survived(call(0))),
    ("wild-read", "read an address that nothing is at", |_| survived(read(0x1234_5678_9000))),
    ("wild-write", "write an address that nothing is at", |_| survived(write(0x1234_5678_9000))),
    ("write-to-code", "write into a function", |_| {
        survived(write(recurse as fn(u64) -> u64 as usize))
    }),
    ("write-to-rodata", "write into a constant", |_| survived(write((&raw const CONSTANT).addr()))),
    ("jump-to-data", "call a variable", |_| survived(call((&raw const DATA).addr()))),
    ("exec-rodata", "call a constant", |_| survived(call((&raw const CONSTANT).addr()))),
    ("exec-heap", "call memory from the heap", |_| {
        survived(call(black_box(vec![RETURN; 64]).as_ptr().addr()))
    }),
    ("exec-stack", "call memory on the stack", |_| {
        let code = black_box([RETURN; 64]);
        survived(call(code.as_ptr().addr()))
    }),
    ("heap-exhaustion", "allocate without end", |_| exhaust()),
    ("huge-allocation", "allocate half of the address space", |_| {
        survived(black_box(Vec::<u8>::with_capacity(isize::MAX as usize)).len())
    }),
    ("try-reserve", "more memory than there is, asked for carefully", |_| try_reserve()),
    ("invalid-opcode", "an instruction that does not exist", |_| {
        // SAFETY: sound in the sense that the instruction is defined to trap and nothing else.
        unsafe { asm!("ud2") };
        survived(())
    }),
    ("divide", "divide by zero in hardware", |_| survived(divide(7, black_box(0)))),
    ("divide-overflow", "a quotient that does not fit", |_| {
        survived(divide(7 << 32, black_box(1)))
    }),
    ("general-protection", "read a non-canonical address", |_| {
        survived(read(0x8000_0000_0000_0000))
    }),
    ("unaligned", "an aligned vector load from an odd address", |_| survived(load_aligned())),
    ("breakpoint", "a breakpoint without a debugger", |_| {
        // SAFETY: it traps; a debugger's breakpoint changes no state.
        unsafe { asm!("int3") };
        survived(())
    }),
    ("float-exception", "an unmasked floating-point exception", |_| {
        float_exception();
        survived(())
    }),
    ("threads", "that many threads at a time", threads),
    ("panic", "panic in main", |_| panic!("main has had enough")),
    ("panic-in-thread", "panic in another thread, join it", |_| panic_in_thread()),
    ("panic-while-panicking", "panic in the panic hook", |_| {
        std::panic::set_hook(Box::new(|_| panic!("again")));
        panic!("once");
    }),
    ("index", "index out of bounds", |_| {
        let list = black_box(vec![1, 2, 3]);
        survived(list[black_box(3)])
    }),
    ("unwrap", "unwrap an error", |_| survived("x".parse::<u8>().unwrap())),
    ("exit", "exit with that status", |status| process::exit(status as i32)),
    ("exit-in-thread", "exit with that status from another thread", |status| {
        let _ = thread::spawn(move || process::exit(status as i32)).join();
        ExitCode::FAILURE
    }),
    ("return", "return that status from main", |status| ExitCode::from(status as u8)),
    ("leave-threads", "return from main while another thread runs", |_| {
        thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
        ExitCode::SUCCESS
    }),
    ("sleep", "sleep that many seconds", |seconds| {
        thread::sleep(Duration::from_secs(seconds.unsigned_abs()));
        println!("slept");
        ExitCode::SUCCESS
    }),
    ("spin", "never end", |_| {
        println!("spinning");
        loop {
            std::hint::spin_loop();
        }
    }),
    ("abort", "abort the process", |_| process::abort()),
    ("deadlock", "lock a mutex twice", |_| {
        let lock = Mutex::new(1);
        let first = lock.lock();
        survived((lock.lock().is_ok(), first.is_ok()))
    }),
    ("file-lock-forever", "lock a file twice", |_| {
        let open = || File::create(std::env::temp_dir().join("locked")).expect("a file");
        let (first, second) = (open(), open());
        first.lock().expect("the first lock");
        survived((second.lock(), first))
    }),
    ("join-forever", "join a thread that waits forever", |_| {
        survived(
            thread::spawn(|| {
                loop {
                    thread::park();
                }
            })
            .join(),
        )
    }),
];

/// The machine code of `ret`.
const RETURN: u8 = 0xc3;
static CONSTANT: [u8; 64] = [RETURN; 64];
static mut DATA: [u8; 64] = [RETURN; 64];

/// The end of a thing that should not have been possible.
fn survived<T>(value: T) -> ExitCode {
    black_box(value);
    println!("survived");
    ExitCode::from(3)
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + frame[31]
}

#[inline(never)]
fn large_frame() -> u8 {
    let mut frame = [0_u8; 1 << 30];
    black_box(&mut frame)[black_box(77)]
}

fn read(address: usize) -> u8 {
    // SAFETY: none; being stopped here is what is tested.
    unsafe { asm_read(address) }
}

/// A plain load that the compiler knows nothing of.
unsafe fn asm_read(address: usize) -> u8 {
    let value: u8;
    // SAFETY: it reads one byte; whether that is allowed is what is tested.
    unsafe {
        asm!("mov {}, byte ptr [{}]", out(reg_byte) value, in(reg) address, options(nostack, readonly))
    };
    value
}

/// Writes one byte; gives the address back.
fn write(address: usize) -> usize {
    // SAFETY: none; being stopped here is what is tested.
    unsafe { asm!("mov byte ptr [{}], 0x55", in(reg) address, options(nostack)) };
    address
}

/// Calls a function; gives the address back.
fn call(address: usize) -> usize {
    // SAFETY: none; being stopped here is what is tested. Were it not stopped, a `ret` is what it
    // finds.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) };
    address
}

/// Divides by `divisor` with the processor's 64-by-32-bit instruction.
fn divide(dividend: u64, divisor: u32) -> u32 {
    let quotient;
    // SAFETY: it changes the named registers only, or traps.
    unsafe {
        asm!("div {:e}", in(reg) divisor, inout("eax") dividend as u32 => quotient,
            inout("edx") (dividend >> 32) as u32 => _, options(nostack, nomem));
    }
    quotient
}

fn load_aligned() -> usize {
    let bytes = black_box([0_u8; 48]);
    let odd = bytes.as_ptr().addr() | 1;
    // SAFETY: the 16 bytes from `odd` on lie within `bytes`; the trap is what is tested.
    unsafe { asm!("movaps xmm0, [{}]", in(reg) odd, out("xmm0") _, options(nostack, readonly)) };
    odd
}

/// Divides by zero on the x87 after unmasking that exception. (Not every emulator knows those of
/// SSE.)
fn float_exception() {
    let control = 0x037b_u16;
    // SAFETY: the x87 keeps its new control word, but nothing runs after the trap.
    unsafe {
        asm!("fldcw [{}]", "fld1", "fldz", "fdivp", "fwait", "fstp st(0)", "fninit",
            in(reg) &raw const control, out("st(0)") _, out("st(1)") _, out("st(2)") _,
            out("st(3)") _, out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack));
    }
}

/// Allocates and uses memory until there is none, at most 4 GiB.
fn exhaust() -> ExitCode {
    let mut blocks = Vec::new();
    for _ in 0..4_096 {
        blocks.push(black_box(vec![1_u8; 1 << 20]));
    }
    survived(blocks)
}

fn try_reserve() -> ExitCode {
    let mut huge = Vec::<u8>::new();
    let Err(error) = huge.try_reserve(isize::MAX as usize) else {
        return survived(huge.capacity());
    };
    println!("refused: {error}");
    let Ok(layout) = Layout::from_size_align(1 << 46, 1 << 12) else {
        return ExitCode::FAILURE;
    };
    // SAFETY: the layout's size is not zero.
    let block = unsafe { alloc(layout) };
    if !block.is_null() {
        // SAFETY: allocated just now with this layout.
        unsafe { dealloc(block, layout) };
        return survived(block);
    }
    println!("refused: {layout:?}");
    ExitCode::SUCCESS
}

/// Starts threads that all live at the same time. Too many is an error, not the end.
fn threads(count: i64) -> ExitCode {
    let gate = Arc::new((Mutex::new((false, 0_i64)), Condvar::new()));
    let mut handles = Vec::new();
    let mut refused = None;
    for _ in 0..count {
        let gate = Arc::clone(&gate);
        let thread = thread::Builder::new().stack_size(16 << 10).spawn(move || {
            let (lock, opened) = &*gate;
            let Ok(state) = lock.lock() else { return };
            if let Ok(mut state) = opened.wait_while(state, |(open, _)| !*open) {
                state.1 += 1;
            }
        });
        match thread {
            Ok(thread) => handles.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let (lock, opened) = &*gate;
    if let Ok(mut state) = lock.lock() {
        state.0 = true;
    }
    opened.notify_all();
    let started = handles.len() as i64;
    let joined =
        handles.into_iter().map(thread::JoinHandle::join).filter(Result::is_ok).count() as i64;
    let ran = lock.lock().map_or(0, |state| state.1);
    match refused {
        None => println!("all {started} threads ran"),
        Some(error) => println!("{started} threads ran, the next one was refused: {error}"),
    }
    if (joined, ran) == (started, started) && started > 0 {
        ExitCode::SUCCESS
    } else {
        println!("but {joined} were joined and {ran} did their work");
        ExitCode::FAILURE
    }
}

fn panic_in_thread() -> ExitCode {
    let thread = thread::Builder::new().name("unlucky".to_owned()).spawn(|| {
        if black_box(true) {
            panic!("this thread has had enough");
        }
    });
    match thread.map(thread::JoinHandle::join) {
        Ok(Err(payload)) => {
            println!("joined: {:?}", payload.downcast_ref::<&str>());
            ExitCode::SUCCESS
        }
        other => survived(other),
    }
}
