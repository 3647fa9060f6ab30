//! Backtraces: who called, and what that is named.

use core::ffi::c_void;

use skete_kernel::debug::backtrace::{self, Callers, Style};

/// A function that an address lies in, as std's `backtrace` takes it.
#[repr(C)]
struct Symbol {
    name: *const u8,
    name_length: usize,
    file: *const u8,
    file_length: usize,
    line: u32,
    column: u32,
}

/// Steps to the caller: reads the return address beside a frame pointer, and replaces the frame pointer
/// by that of the caller. Gives 0 at the end of the stack. Not part of hermit-abi.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_backtrace_step(frame_pointer: *mut usize) -> usize {
    // SAFETY: the caller passes a variable of its own.
    let frame_pointer = unsafe { &mut *frame_pointer };
    let mut callers = Callers { frame_pointer: *frame_pointer };
    let address = callers.next().unwrap_or(0);
    *frame_pointer = callers.frame_pointer;
    address
}

/// Calls `each` for every function that `address` lies in, the innermost of inlined ones first. Texts
/// are valid during the call. Not part of hermit-abi.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_symbolize(
    address: usize,
    each: unsafe extern "C" fn(*mut c_void, *const Symbol),
    context: *mut c_void,
) {
    let Some(mut symbols) = backtrace::symbols(address) else {
        return;
    };
    while let Some(symbol) = symbols.next() {
        let symbol = Symbol {
            name: symbol.name.as_ptr(),
            name_length: symbol.name.len(),
            file: symbol.file.as_ptr(),
            file_length: symbol.file.len(),
            line: symbol.line,
            column: symbol.column,
        };
        // SAFETY: the caller's function, with the caller's context.
        unsafe { each(context, &raw const symbol) };
    }
}

/// Writes the calls that led to the caller's caller, whose frame pointer is given, in std's format: all
/// of them with addresses when `full` is not 0, else what lies between std's own. Not part of hermit-abi.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_backtrace_print(
    frame_pointer: usize,
    full: i32,
    write: unsafe extern "C" fn(*mut c_void, *const u8, usize),
    context: *mut c_void,
) {
    let style = if full == 0 { Style::Short } else { Style::Full };
    let callers = Callers { frame_pointer };
    backtrace::print(None, callers, style, &mut |bytes| {
        // SAFETY: the caller's function, with the caller's context.
        unsafe { write(context, bytes.as_ptr(), bytes.len()) }
    });
}
