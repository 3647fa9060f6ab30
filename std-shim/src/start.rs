//! The entry point, and the way into `main`.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::naked_asm;
use core::ffi::{c_char, c_int};
use core::ptr;

use hermit_entry::boot_info::RawBootInfo;
use skete_kernel::{arch, boot};

unsafe extern "C" {
    /// std's own entry: sets arguments and environment up, calls `main`, exits with its status.
    fn runtime_entry(argc: c_int, argv: *const *const c_char, env: *const *const c_char) -> !;
}

/// Where the loader jumps to (`hermit_entry::Entry`). The loader's stack lies in memory that will be
/// given to others, so the kernel starts on one of its own.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start(info: &'static RawBootInfo, processor: u32) -> ! {
    naked_asm!(
        // Others than the first have no stack, and wait to be started by the kernel.
        "test esi, esi",
        "jz 2f",
        "3: cli",
        "hlt",
        "jmp 3b",
        "2:",
        "lea rsp, [rip + {stack} + {size}]",
        "xor ebp, ebp",
        "call {start}",
        stack = sym arch::gdt::BOOT_STACK,
        size = const arch::gdt::STACK_SIZE,
        start = sym start,
    )
}

unsafe extern "C" fn start(info: &'static RawBootInfo) -> ! {
    // SAFETY: called once, by the loader's jump to `_start`.
    unsafe { boot::start(info, run_main) }
}

/// A null-terminated array of C strings that lives as long as the machine.
fn c_array(strings: &[String]) -> (c_int, *const *const c_char) {
    let count = strings.len() as c_int;
    let pointers = strings
        .iter()
        // A NUL cannot come over a command line; a string with one would end there.
        .map(|string| {
            CString::new(string.as_str())
                .map_or(c"".as_ptr(), |string| string.into_raw().cast_const())
        })
        .chain([ptr::null()])
        .collect::<Vec<_>>();
    (count, pointers.leak().as_ptr())
}

extern "C" fn run_main(_: usize) -> ! {
    let program = boot::program();
    let (argc, argv) = c_array(&program.arguments);
    let (_, environment) = c_array(&program.environment);
    // SAFETY: both arrays are null-terminated and live for ever.
    unsafe { runtime_entry(argc, argv, environment) }
}
