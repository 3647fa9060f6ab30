//! Registers, held by busy threads that are preempted and moved between processors.

use std::arch::asm;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use check::Numbers;

use crate::processors;
use crate::run::Run;

/// 16 vector registers of 32 bytes.
type Vectors = [u64; 64];

/// Bits of MXCSR with all exceptions masked (Intel SDM 1, 10.2.3); rounding is in bits 13 and 14.
static MXCSR: u32 = 0x1f80;
/// The x87 control word as `fninit` leaves it (Intel SDM 1, 8.1.5); rounding is in bits 10 and 11.
static CONTROL: u16 = 0x037f;

/// Loads all vector registers with `$load`, goes round, and stores them.
macro_rules! hold_vectors {
    ($load:literal, $register:literal, $size:literal, $end:literal, $before:expr, $after:expr, $spins:expr) => {{
        let (mut r12, mut r13) = ($spins ^ 0x5555, !$spins);
        asm!(
            ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            concat!($load, " ", $register, "\\i, [{before} + ", $size, "*\\i]"),
            ".endr",
            "2:",
            "dec {spins}",
            "jnz 2b",
            ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            concat!($load, " [{after} + ", $size, "*\\i], ", $register, "\\i"),
            ".endr",
            $end,
            before = in(reg) $before.as_ptr(),
            after = in(reg) $after.as_mut_ptr(),
            spins = inout(reg) $spins => _,
            inout("r12") r12, inout("r13") r13,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack),
        );
        assert_eq!((r12, r13), ($spins ^ 0x5555, !$spins), "general registers were changed");
    }};
}

fn sse(numbers: &mut Numbers, spins: u64) {
    let before: Vectors = std::array::from_fn(|_| numbers.below(usize::MAX) as u64);
    let mut after = [0; 64];
    // SAFETY: 16 times 16 bytes are loaded from `before` and stored to `after`, which are longer; it names
    // what it changes.
    unsafe { hold_vectors!("movups", "xmm", "16", "", before, after, spins) };
    assert_eq!(before[..32], after[..32], "vector registers were changed");
}

fn avx(numbers: &mut Numbers, spins: u64) {
    let before: Vectors = std::array::from_fn(|_| numbers.below(usize::MAX) as u64);
    let mut after = [0; 64];
    // SAFETY: the caller has looked for AVX; 16 times 32 bytes are loaded from `before` and stored to
    // `after`, which are as long; it names what it changes.
    unsafe { hold_vectors!("vmovups", "ymm", "32", "vzeroupper", before, after, spins) };
    assert_eq!(before, after, "vector registers were changed");
}

/// Holds both control words and numbers on the x87 stack.
fn control(numbers: &mut Numbers, spins: u64) {
    let rounding = numbers.below(4) as u16;
    let (mxcsr, word) = (MXCSR | u32::from(rounding) << 13, CONTROL & !0xc00 | rounding << 10);
    let values: [u64; 2] = std::array::from_fn(|_| numbers.below(1 << 50) as u64);
    let (mut seen_mxcsr, mut seen_word, mut seen) = (0_u32, 0_u16, [0_u64; 2]);
    // SAFETY: it loads from and stores to the variables named; both control words are put back to their
    // defaults and the x87 stack is left empty.
    unsafe {
        asm!(
            "ldmxcsr [{mxcsr}]",
            "fldcw [{word}]",
            "fild qword ptr [{values}]",
            "fild qword ptr [{values} + 8]",
            "2:",
            "dec {spins}",
            "jnz 2b",
            "stmxcsr [{seen_mxcsr}]",
            "fnstcw [{seen_word}]",
            "fistp qword ptr [{seen} + 8]",
            "fistp qword ptr [{seen}]",
            "ldmxcsr [{plain_mxcsr}]",
            "fldcw [{plain_word}]",
            mxcsr = in(reg) &raw const mxcsr,
            word = in(reg) &raw const word,
            values = in(reg) values.as_ptr(),
            seen_mxcsr = in(reg) &raw mut seen_mxcsr,
            seen_word = in(reg) &raw mut seen_word,
            seen = in(reg) seen.as_mut_ptr(),
            plain_mxcsr = in(reg) &raw const MXCSR,
            plain_word = in(reg) &raw const CONTROL,
            spins = inout(reg) spins => _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack),
        );
    }
    assert_eq!((seen_mxcsr, seen_word), (mxcsr, word), "a control word was changed");
    assert_eq!(seen, values, "the x87 stack was changed");
}

/// Gives the processor away.
extern "C" fn leave() {
    thread::yield_now();
}

/// Gives the processor away for a while.
extern "C" fn sleep() {
    thread::sleep(Duration::from_micros(50));
}

/// Holds what a call has to keep: the callee-saved registers and both control words (System V ABI, 3.2.1).
fn across_call(numbers: &mut Numbers, call: extern "C" fn()) {
    let rounding = numbers.below(4) as u16;
    let (mxcsr, word) = (MXCSR | u32::from(rounding) << 13, CONTROL & !0xc00 | rounding << 10);
    let (mut seen_mxcsr, mut seen_word) = (0_u32, 0_u16);
    let kept: [u64; 4] = std::array::from_fn(|_| numbers.below(usize::MAX) as u64);
    let [mut r12, mut r13, mut r14, mut r15] = kept;
    // SAFETY: `call` computes with integers only, which the rounding does not concern; what it may change is
    // named; both control words are put back to their defaults. The stack is aligned by the compiler, since
    // the block may use it.
    unsafe {
        asm!(
            "ldmxcsr [{mxcsr}]",
            "fldcw [{word}]",
            "call rax",
            mxcsr = in(reg) &raw const mxcsr,
            word = in(reg) &raw const word,
            inout("rax") call => _,
            inout("r12") r12, inout("r13") r13, inout("r14") r14, inout("r15") r15,
            clobber_abi("C"),
        );
        asm!(
            "stmxcsr [{seen_mxcsr}]",
            "fnstcw [{seen_word}]",
            "ldmxcsr [{plain_mxcsr}]",
            "fldcw [{plain_word}]",
            seen_mxcsr = in(reg) &raw mut seen_mxcsr,
            seen_word = in(reg) &raw mut seen_word,
            plain_mxcsr = in(reg) &raw const MXCSR,
            plain_word = in(reg) &raw const CONTROL,
            options(nostack),
        );
    }
    assert_eq!((seen_mxcsr, seen_word), (mxcsr, word), "a control word was changed by a call");
    assert_eq!([r12, r13, r14, r15], kept, "callee-saved registers were changed by a call");
}

pub fn registers(run: &Run) -> String {
    let has_avx = is_x86_feature_detected!("avx");
    let (holds, moves) = (AtomicU64::new(0), AtomicU64::new(0));
    run.crew(|crew| {
        for number in 0..run.processors() + 3 {
            let (mut numbers, holds, moves) = (run.numbers(number), &holds, &moves);
            crew.spawn("holder", move |worker| {
                while !run.over() {
                    // From a moment to longer than a time slice.
                    let bits = if numbers.below(12) == 0 { 23 } else { 14 };
                    let spins = 1_u64 << (4 + numbers.below(bits - 3));
                    let before = processors::current();
                    match numbers.below(6) {
                        0 | 1 if has_avx => avx(&mut numbers, spins),
                        0..3 => sse(&mut numbers, spins),
                        3 => control(&mut numbers, spins),
                        4 => across_call(&mut numbers, leave),
                        _ => across_call(&mut numbers, sleep),
                    }
                    moves.fetch_add(u64::from(processors::current() != before), Relaxed);
                    holds.fetch_add(1, Relaxed);
                    worker.step();
                }
            });
        }
    });
    let vectors = if has_avx { "AVX" } else { "no AVX" };
    format!(
        "{} times held ({vectors}), {} moves in between",
        holds.into_inner(),
        moves.into_inner()
    )
}
