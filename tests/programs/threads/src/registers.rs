//! Vector and floating-point registers, held by several busy threads at a time.

use std::arch::asm;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How long each check lasts: many time slices.
const DURATION: Duration = Duration::from_millis(200);
/// How often a thread goes round between two looks at its registers.
const SPINS: u64 = 100_000;

/// Runs `hold` in four threads, each with a number of its own, again and again.
fn in_threads(hold: impl Fn(u64) + Sync) {
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 1..=4 {
            let hold = &hold;
            scope.spawn(move || {
                while start.elapsed() < DURATION {
                    hold(number);
                }
            });
        }
    });
}

pub fn sse() -> io::Result<()> {
    in_threads(|number| {
        let before: [u64; 8] = std::array::from_fn(|i| number * 1_000_003 + i as u64);
        let mut after = [0_u64; 8];
        // SAFETY: it loads from `before`, stores to `after`, both 64 bytes long, and changes only
        // the registers that it names.
        unsafe {
            asm!(
                "movups xmm0, [{before}]",
                "movups xmm5, [{before} + 16]",
                "movups xmm10, [{before} + 32]",
                "movups xmm15, [{before} + 48]",
                "2:",
                "dec {spins}",
                "jnz 2b",
                "movups [{after}], xmm0",
                "movups [{after} + 16], xmm5",
                "movups [{after} + 32], xmm10",
                "movups [{after} + 48], xmm15",
                before = in(reg) before.as_ptr(),
                after = in(reg) after.as_mut_ptr(),
                spins = inout(reg) SPINS => _,
                out("xmm0") _, out("xmm5") _, out("xmm10") _, out("xmm15") _,
                options(nostack),
            );
        }
        assert_eq!(before, after);
    });
    Ok(())
}

pub fn avx() -> io::Result<()> {
    if !is_x86_feature_detected!("avx") {
        println!("        (this processor has no AVX)");
        return Ok(());
    }
    in_threads(|number| {
        let before: [u64; 8] = std::array::from_fn(|i| number * 7_000_001 + i as u64);
        let mut after = [0_u64; 8];
        // SAFETY: AVX was detected; it loads from `before`, stores to `after`, both 64 bytes long,
        // and changes only the registers that it names.
        unsafe {
            asm!(
                "vmovups ymm1, [{before}]",
                "vmovups ymm14, [{before} + 32]",
                "2:",
                "dec {spins}",
                "jnz 2b",
                "vmovups [{after}], ymm1",
                "vmovups [{after} + 32], ymm14",
                "vzeroupper",
                before = in(reg) before.as_ptr(),
                after = in(reg) after.as_mut_ptr(),
                spins = inout(reg) SPINS => _,
                out("ymm1") _, out("ymm14") _,
                options(nostack),
            );
        }
        assert_eq!(before, after);
    });
    Ok(())
}

pub fn control() -> io::Result<()> {
    in_threads(|number| {
        // Rounding control in MXCSR (bits 13 and 14), and a number on the x87 stack.
        let mxcsr = 0x1f80 | ((number as u32 & 3) << 13);
        let plain = 0x1f80_u32;
        let (mut seen, mut on_stack) = (0_u32, 0_u64);
        // SAFETY: MXCSR is put back to its default and the x87 stack is left empty; it stores to
        // the two variables and changes only the registers that it names.
        unsafe {
            asm!(
                "ldmxcsr [{mxcsr}]",
                "fild qword ptr [{number}]",
                "2:",
                "dec {spins}",
                "jnz 2b",
                "stmxcsr [{seen}]",
                "fistp qword ptr [{on_stack}]",
                "ldmxcsr [{plain}]",
                mxcsr = in(reg) &raw const mxcsr,
                number = in(reg) &raw const number,
                seen = in(reg) &raw mut seen,
                on_stack = in(reg) &raw mut on_stack,
                plain = in(reg) &raw const plain,
                spins = inout(reg) SPINS => _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                options(nostack),
            );
        }
        assert_eq!((seen, on_stack), (mxcsr, number));
    });
    Ok(())
}
