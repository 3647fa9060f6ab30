//! What the processor says about itself, as Linux tells it in `/proc/cpuinfo`.

use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

use crate::text::Text;

/// The names that Linux gives to the bits of a register, from bit 0 on; `-` for those without one
/// (Linux, `arch/x86/include/asm/cpufeatures.h`).
type Names = &'static str;

const LEAF_1_EDX: Names = "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - \
    dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe";
const LEAF_1_ECX: Names = "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - \
    pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor";
const LEAF_7_EBX: Names = "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a \
    avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni \
    avx512bw avx512vl";
const LEAF_7_ECX: Names = "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni \
    avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd";
const LEAF_7_EDX: Names = "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - serialize \
    - tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 - - flush_l1d arch_capabilities";
const LEAF_7_1_EAX: Names = "- - - - avx_vnni avx512_bf16";
const LEAF_D_1_EAX: Names = "xsaveopt xsavec xgetbv1 xsaves";
const EXTENDED_1_EDX: Names = "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow";
const EXTENDED_1_ECX: Names = "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs \
    xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx";
const EXTENDED_7_EDX: Names = "- - - - - - - - nonstop_tsc";

const EXTENDED: u32 = 0x8000_0000;

/// A leaf of CPUID; zeros when the processor does not have it.
fn leaf(number: u32, part: u32) -> CpuidResult {
    if number > __cpuid(number & EXTENDED).eax {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    __cpuid_count(number, part)
}

fn flags(text: &mut Text) {
    let (one, seven, extended) = (leaf(1, 0), leaf(7, 0), leaf(EXTENDED | 1, 0));
    for (bits, names) in [
        (one.edx, LEAF_1_EDX),
        (extended.edx, EXTENDED_1_EDX),
        (leaf(EXTENDED | 7, 0).edx, EXTENDED_7_EDX),
        (one.ecx, LEAF_1_ECX),
        (extended.ecx, EXTENDED_1_ECX),
        (seven.ebx, LEAF_7_EBX),
        (leaf(7, 1).eax, LEAF_7_1_EAX),
        (leaf(0xd, 1).eax, LEAF_D_1_EAX),
        (seven.ecx, LEAF_7_ECX),
        (seven.edx, LEAF_7_EDX),
    ] {
        for (bit, name) in names.split_ascii_whitespace().enumerate() {
            if bits & 1 << bit != 0 && name != "-" {
                text.text(" ").text(name);
            }
        }
    }
}

/// Writes what Linux would write for the processor with this number, of so many; `hertz` is how fast its
/// time-stamp counter runs.
pub fn describe(text: &mut Text, number: u64, count: u64, hertz: u64) {
    let line = |text: &mut Text, name: &str, value: u64| {
        text.text(name).text(": ").number(value).text("\n");
    };
    let (zero, one) = (leaf(0, 0), leaf(1, 0));
    // SDM volume 2, CPUID, "Version Information"; AMD uses the same fields.
    let (base_family, base_model) = (one.eax >> 8 & 0xf, one.eax >> 4 & 0xf);
    let family = match base_family {
        0xf => 0xf + (one.eax >> 20 & 0xff),
        family => family,
    };
    let model = match base_family {
        6 | 0xf => base_model | one.eax >> 12 & 0xf0,
        _ => base_model,
    };
    line(text, "processor\t", number);
    text.text("vendor_id\t: ");
    for register in [zero.ebx, zero.edx, zero.ecx] {
        text.bytes(&register.to_le_bytes());
    }
    text.text("\n");
    line(text, "cpu family\t", family.into());
    line(text, "model\t\t", model.into());
    text.text("model name\t: ");
    let mut name = [0; 48];
    for (part, bytes) in name.chunks_exact_mut(16).enumerate() {
        let brand = leaf(EXTENDED | (2 + part as u32), 0);
        let registers = [brand.eax, brand.ebx, brand.ecx, brand.edx];
        for (register, bytes) in registers.iter().zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&register.to_le_bytes());
        }
    }
    let end = name.iter().position(|byte| *byte == 0);
    text.bytes(name[..end.unwrap_or(name.len())].trim_ascii());
    text.text("\n");
    line(text, "stepping\t", (one.eax & 0xf).into());
    text.text("cpu MHz\t\t: ").number(hertz / 1_000_000);
    text.text(".").padded(hertz / 1000 % 1000, 3, b'0').text("\n");
    line(text, "physical id\t", 0);
    line(text, "siblings\t", count);
    line(text, "core id\t\t", number);
    line(text, "cpu cores\t", count);
    line(text, "apicid\t\t", (one.ebx >> 24).into());
    text.text("fpu\t\t: yes\nfpu_exception\t: yes\n");
    line(text, "cpuid level\t", zero.eax.into());
    text.text("wp\t\t: yes\nflags\t\t:");
    flags(text);
    text.text("\n");
    line(text, "clflush size\t", (one.ebx >> 5 & 0x7f8).into());
    line(text, "cache_alignment\t", (one.ebx >> 5 & 0x7f8).into());
    let sizes = leaf(EXTENDED | 8, 0).eax;
    text.text("address sizes\t: ").number((sizes & 0xff).into());
    text.text(" bits physical, ").number((sizes >> 8 & 0xff).into());
    text.text(" bits virtual\npower management:\n\n");
}
