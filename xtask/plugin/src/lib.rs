//! Counts the instructions that a guest executes in QEMU, exactly.
//!
//!     qemu-system-x86_64 -plugin libskete_icount.so,out=FILE,mark=0x200040:_start,ranges=FILE …
//!
//! Every instruction adds one to a counter by inline code. The counters are noted when a marked
//! instruction is executed for the first time, and after the last write to an I/O port, as the
//! mark `exit`: that write ends the machine, and what the guest still does until QEMU stops it is
//! a matter of chance. The report has one line for each mark, `mark NAME TOTAL`, and for each
//! range with a count at that mark `range MARK COUNT NAME`; words are separated by tabs.
//!
//! Under `-icount shift=0,sleep=off` and one virtual CPU the numbers are the same in every run.

mod api;
mod settings;

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt::Write as _;
use std::fs;
use std::sync::{Mutex, OnceLock, PoisonError};

use api::{Block, Counter, Id, Instruction, Scoreboard};
use settings::Settings;

/// Tells QEMU which version of the interface the plugin speaks.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = api::VERSION;

/// The plugin's state from installation to QEMU's end.
struct Counts {
    settings: Settings,
    scoreboard: *mut Scoreboard,
    /// For each mark, the counters at its first execution: instructions outside of all ranges,
    /// then one counter for each range.
    seen: Mutex<Vec<Option<Vec<u64>>>>,
    /// The counters after the last write to an I/O port.
    end: Mutex<Vec<u64>>,
}

// SAFETY: the scoreboard is used only through QEMU's functions, which may be called from any
// virtual CPU's thread.
unsafe impl Send for Counts {}
// SAFETY: as above.
unsafe impl Sync for Counts {}

static COUNTS: OnceLock<Counts> = OnceLock::new();

impl Counts {
    /// The counter of a range, or of what is outside of all ranges.
    fn counter(&self, range: Option<usize>) -> Counter {
        let index = range.map_or(0, |range| range + 1);
        Counter { scoreboard: self.scoreboard, offset: index * size_of::<u64>() }
    }

    fn snapshot(&self) -> Vec<u64> {
        let ranges = (0..self.settings.ranges.len()).map(Some);
        std::iter::once(None)
            .chain(ranges)
            // SAFETY: the counter lies within the scoreboard that was made for all of them.
            .map(|range| unsafe { api::qemu_plugin_u64_sum(self.counter(range)) })
            .collect()
    }

    /// Puts the counting code at an instruction.
    fn instrument(&self, instruction: *mut Instruction) {
        // SAFETY: the instruction belongs to the block that QEMU is translating right now.
        let address = unsafe { api::qemu_plugin_insn_vaddr(instruction) };
        for (index, _) in
            self.settings.marks.iter().enumerate().filter(|(_, mark)| mark.address == address)
        {
            // Asked for before the counting, so that a mark's own instruction comes after it.
            let data = std::ptr::without_provenance_mut(index);
            // SAFETY: as above; the callback takes the number as data and no pointer.
            unsafe {
                api::qemu_plugin_register_vcpu_insn_exec_cb(
                    instruction,
                    at_mark,
                    api::NO_REGISTERS,
                    data,
                );
            }
        }
        let counter = self.counter(self.settings.range_of(address));
        // SAFETY: as above; the counter lies within the scoreboard.
        unsafe {
            api::qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
                instruction,
                api::ADD_U64,
                counter,
                1,
            );
        }
        if writes_port(instruction) {
            // Asked for after the counting, so that the write itself is in.
            // SAFETY: as above.
            unsafe {
                api::qemu_plugin_register_vcpu_insn_exec_cb(
                    instruction,
                    at_port_write,
                    api::NO_REGISTERS,
                    std::ptr::null_mut(),
                );
            }
        }
    }

    fn report(&self, seen: &[Option<Vec<u64>>], end: &[u64]) -> String {
        let mut text = String::new();
        let names = self.settings.marks.iter().map(|mark| mark.name.as_str());
        let marks = names.zip(seen).filter_map(|(name, seen)| Some((name, seen.as_deref()?)));
        for (mark, counts) in marks.chain([("exit", end)]) {
            let total: u64 = counts.iter().sum();
            let _ = writeln!(text, "mark\t{mark}\t{total}");
            for (range, count) in self.settings.ranges.iter().zip(counts.iter().skip(1)) {
                if *count > 0 {
                    let _ = writeln!(text, "range\t{mark}\t{count}\t{}", range.name);
                }
            }
        }
        text
    }
}

extern "C" fn at_translation(_id: Id, block: *mut Block) {
    let Some(counts) = COUNTS.get() else { return };
    // SAFETY: QEMU passes the block that it is translating right now.
    for index in 0..unsafe { api::qemu_plugin_tb_n_insns(block) } {
        // SAFETY: the index is below the number of instructions.
        counts.instrument(unsafe { api::qemu_plugin_tb_get_insn(block, index) });
    }
}

extern "C" fn at_mark(_cpu: c_uint, data: *mut c_void) {
    let Some(counts) = COUNTS.get() else { return };
    let mut seen = counts.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place @ None) = seen.get_mut(data.addr()) {
        *place = Some(counts.snapshot());
    }
}

extern "C" fn at_port_write(_cpu: c_uint, _data: *mut c_void) {
    let Some(counts) = COUNTS.get() else { return };
    *counts.end.lock().unwrap_or_else(PoisonError::into_inner) = counts.snapshot();
}

extern "C" fn at_exit(_id: Id, _data: *mut c_void) {
    let Some(counts) = COUNTS.get() else { return };
    let seen = counts.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let end = counts.end.lock().unwrap_or_else(PoisonError::into_inner);
    let out = &counts.settings.out;
    if let Err(error) = fs::write(out, counts.report(&seen, &end)) {
        complain(&format!("cannot write {}: {error}", out.display()));
    }
}

/// Whether an instruction is `out` (Intel SDM volume 2, OUT).
fn writes_port(instruction: *const Instruction) -> bool {
    let mut bytes = [0u8; 4];
    // SAFETY: the instruction belongs to the block that QEMU is translating right now, and no more
    // than the array's length is written to it.
    let size =
        unsafe { api::qemu_plugin_insn_data(instruction, bytes.as_mut_ptr().cast(), bytes.len()) };
    let code = bytes.get(..size).unwrap_or(&bytes);
    const OPERAND_SIZE: u8 = 0x66;
    let code = code.strip_prefix(&[OPERAND_SIZE]).unwrap_or(code);
    matches!(code, [0xe6 | 0xe7 | 0xee | 0xef, ..])
}

/// Writes a line to standard error: QEMU's plugin log is off by default.
fn complain(text: &str) {
    eprintln!("skete-icount: {text}");
    if let Ok(text) = CString::new(format!("skete-icount: {text}\n")) {
        // SAFETY: the string ends with a zero.
        unsafe { api::qemu_plugin_outs(text.as_ptr()) };
    }
}

/// Called by QEMU once, when it loads the plugin. `arguments` are `count` strings.
///
/// # Safety
/// `arguments` must be an array of `count` zero-terminated strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    _information: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    let arguments: Vec<_> = (0..count)
        // SAFETY: the caller passes this many strings.
        .map(|index| unsafe { CStr::from_ptr(*arguments.add(index)) }.to_string_lossy())
        .collect();
    let settings = match Settings::parse(arguments.iter().map(AsRef::as_ref)) {
        Ok(settings) => settings,
        Err(error) => {
            complain(&error);
            return 1;
        }
    };
    let size = (settings.ranges.len() + 1) * size_of::<u64>();
    let seen = Mutex::new(vec![None; settings.marks.len()]);
    // SAFETY: installation is when scoreboards may be made.
    let scoreboard = unsafe { api::qemu_plugin_scoreboard_new(size) };
    if COUNTS.set(Counts { settings, scoreboard, seen, end: Mutex::default() }).is_err() {
        complain("load the plugin only once");
        return 1;
    }
    // SAFETY: the identifier is QEMU's own; the callbacks live as long as the plugin.
    unsafe {
        api::qemu_plugin_register_vcpu_tb_trans_cb(id, at_translation);
        api::qemu_plugin_register_atexit_cb(id, at_exit, std::ptr::null_mut());
    }
    0
}
