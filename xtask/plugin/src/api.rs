//! QEMU's plugin interface, version 4 (QEMU 9.2 and later), as far as this plugin uses it.
//!
//! QEMU's header is not packaged everywhere; the declarations follow `qemu-plugin.h` of QEMU 10.0.

use std::ffi::{c_char, c_int, c_uint, c_void};

/// The interface version that this plugin is written for.
pub const VERSION: c_int = 4;

/// Names a loaded plugin.
pub type Id = u64;

/// A block of guest code that QEMU is translating.
#[repr(C)]
pub struct Block {
    _opaque: [u8; 0],
}

/// One instruction of a block.
#[repr(C)]
pub struct Instruction {
    _opaque: [u8; 0],
}

/// Memory of which each virtual CPU has its own piece.
#[repr(C)]
pub struct Scoreboard {
    _opaque: [u8; 0],
}

/// A 64-bit number in each piece of a scoreboard.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Counter {
    /// The scoreboard.
    pub scoreboard: *mut Scoreboard,
    /// Where the number lies in a piece, in bytes.
    pub offset: usize,
}

/// Operation of inline code: add.
pub const ADD_U64: c_uint = 0;
/// A callback that does not look at registers.
pub const NO_REGISTERS: c_uint = 0;

unsafe extern "C" {
    /// Asks to be called for every block that is translated.
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, callback: extern "C" fn(Id, *mut Block));
    /// Asks to be called when QEMU ends.
    pub fn qemu_plugin_register_atexit_cb(
        id: Id,
        callback: extern "C" fn(Id, *mut c_void),
        data: *mut c_void,
    );
    /// How many instructions a block has.
    pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    /// An instruction of a block; valid until the translation callback returns.
    pub fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    /// An instruction's virtual address.
    pub fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    /// Copies an instruction's bytes, at most `size`; gives how many they are.
    pub fn qemu_plugin_insn_data(
        instruction: *const Instruction,
        bytes: *mut c_void,
        size: usize,
    ) -> usize;
    /// Asks for inline code each time that an instruction is executed.
    pub fn qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        instruction: *mut Instruction,
        operation: c_uint,
        counter: Counter,
        operand: u64,
    );
    /// Asks to be called each time that an instruction is executed.
    pub fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        callback: extern "C" fn(c_uint, *mut c_void),
        flags: c_uint,
        data: *mut c_void,
    );
    /// Makes a scoreboard with pieces of a size in bytes, all zero.
    pub fn qemu_plugin_scoreboard_new(size: usize) -> *mut Scoreboard;
    /// The sum of a number over all virtual CPUs.
    pub fn qemu_plugin_u64_sum(counter: Counter) -> u64;
    /// Writes a zero-terminated string to QEMU's plugin log.
    pub fn qemu_plugin_outs(text: *const c_char);
}
