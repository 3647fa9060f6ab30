//! Shows its stack, as its argument says. The functions' names and lines are what the tests look for.

use std::backtrace::Backtrace;
use std::hint::black_box;
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    let doing = std::env::args().nth(1).unwrap_or_default();
    outer(&doing, 2);
    ExitCode::SUCCESS
}

/// Calls itself `depth` times, so that the stack has as many frames of it and one more.
#[inline(never)]
fn outer(doing: &str, depth: u32) {
    if depth == 0 {
        inlined(doing);
    } else {
        outer(doing, depth - 1);
    }
    black_box(depth);
}

#[inline(always)]
fn inlined(doing: &str) {
    generic::<u8>(doing);
    black_box(());
}

#[inline(never)]
fn generic<T: Default>(doing: &str) {
    black_box(T::default());
    match doing {
        "capture" => println!("{}", Backtrace::force_capture()),
        "status" => println!("{:?}", Backtrace::capture().status()),
        "panic" => panic!("shown with its stack"),
        "caught" => {
            let caught = std::panic::catch_unwind(|| inlined("panic"));
            println!("caught: {}", caught.is_err());
        }
        "thread" => {
            let thread = thread::Builder::new().name("unlucky".to_owned());
            let joined = thread.spawn(|| outer("panic", 1)).map(thread::JoinHandle::join);
            println!("joined: {}", joined.is_ok_and(|joined| joined.is_err()));
        }
        // The kernel reads where the pointer says, and faults: its frames come before ours.
        #[cfg(target_os = "hermit")]
        "kernel" => {
            unsafe extern "C" {
                fn sys_clock_gettime(clock: u64, time: *mut [u64; 2]) -> i32;
            }
            // SAFETY: none: this is the wrong pointer that the test is about.
            let answer =
                unsafe { sys_clock_gettime(1, black_box(std::ptr::without_provenance_mut(16))) };
            println!("survived: {answer}");
        }
        "recursion" => recurse(black_box(1_000_000_000)),
        _ => eprintln!("usage: backtrace capture|status|panic|caught|thread|kernel|recursion"),
    }
}

#[expect(unconditional_recursion, reason = "the fault that is shown")]
fn recurse(depth: u32) {
    recurse(black_box(depth + 1));
    black_box(depth);
}
