//! The 32-bit entry, the first page tables, and the jump into the image.
//!
//! QEMU enters in 32-bit protected mode without paging (Multiboot Specification 0.6.96, section
//! 3.2). The entry builds five page tables: the first GiB in pages of 2 MiB, once identically and
//! once at 0x4000_0000_0000, and switches to long mode (Intel SDM volume 3, section 11.8.5).
//! `loader.ld` places the tables, and a stack of 32 KiB of which the image gets all.

use core::arch::{asm, global_asm};
use core::ops::Range;

use hermit_entry::boot_info::RawBootInfo;
use skete_loader::multiboot;

global_asm!(
    r#"
.section .multiboot, "a"
.balign 4
multiboot_header:
    .long 0x1badb002
    .long 0x00010003              // modules on pages, memory map, addresses follow
    .long -(0x1badb002 + 0x00010003)
    .long multiboot_header
    .long loader_start
    .long loader_load_end
    .long loader_end
    .long loader_entry

.section .text.loader_entry, "ax"
.code32
.global loader_entry
loader_entry:
    cli
    cld
    mov esp, offset boot_stack_end
    mov esi, ebx
    cmp eax, {magic}
    mov ebx, offset not_multiboot
    jne give_up

    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    mov ebx, offset no_long_mode
    jb give_up
    mov eax, 0x80000001
    cpuid
    mov ebx, offset no_long_mode
    bt edx, 29
    jnc give_up

    // Page-map level 4: entry 0 identical, entry 128 at 0x4000_0000_0000.
    mov edi, offset page_tables
    lea eax, [edi + 0x1003]
    mov [edi], eax
    lea eax, [edi + 0x3003]
    mov [edi + 128 * 8], eax
    // One directory each.
    lea eax, [edi + 0x2003]
    mov [edi + 0x1000], eax
    lea eax, [edi + 0x4003]
    mov [edi + 0x3000], eax
    // Present, writable, 2 MiB.
    xor ecx, ecx
    mov eax, 0x83
2:
    mov [edi + ecx * 8 + 0x2000], eax
    mov [edi + ecx * 8 + 0x4000], eax
    add eax, 0x200000
    inc ecx
    cmp ecx, 512
    jne 2b

    mov cr3, edi
    mov eax, cr4
    or eax, 1 << 5                // PAE
    mov cr4, eax
    mov ecx, 0xc0000080           // EFER
    rdmsr
    or eax, 1 << 8                // LME
    wrmsr
    mov eax, cr0
    or eax, (1 << 31) | 1         // PG, PE
    mov cr0, eax
    lgdt [descriptor_table_pointer]
    mov eax, offset long_mode
    push 0x08
    push eax
    retf

// Writes the string at ebx to COM1 and ends the machine with status 1.
give_up:
    mov dx, 0x3f8
3:
    mov al, [ebx]
    test al, al
    jz 4f
    out dx, al
    inc ebx
    jmp 3b
4:
    mov eax, 1
    mov dx, 0xf4
    out dx, eax
5:
    hlt
    jmp 5b

.code64
long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    lea rsp, [rip + boot_stack_end]
    mov edi, esi
    call {start}
    ud2

.section .rodata.loader_entry, "a"
.balign 8
descriptor_table:
    .quad 0
    .quad 0x00af9b000000ffff      // 64-bit code
    .quad 0x00cf93000000ffff      // data
descriptor_table_pointer:
    .short 23
    .long descriptor_table
not_multiboot:
    .asciz "skete-loader: not started by a multiboot boot loader: use `qemu-system-x86_64 -kernel LOADER -initrd IMAGE`\n"
no_long_mode:
    .asciz "skete-loader: the CPU has no 64-bit mode: use `-cpu max` or a 64-bit model\n"
"#,
    magic = const multiboot::MAGIC,
    start = sym super::start,
);

unsafe extern "C" {
    safe static loader_start: u8;
    safe static loader_end: u8;
    static mut page_tables: [u64; 5 * 512];
}

/// The loader's own memory: code, data, tables and stack.
pub fn extent() -> Range<u64> {
    &raw const loader_start as u64..&raw const loader_end as u64
}

/// Replaces the mapping of the 2 MiB with number `index` in the identically mapped GiB.
///
/// # Safety
/// `entry` must be a valid page directory entry, and nothing may depend on what it replaces.
pub unsafe fn set_table(index: usize, entry: u64) {
    const DIRECTORY: usize = 2 * 512;
    assert!(index < 512);
    let tables = &raw mut page_tables;
    // SAFETY: the index is within the third of the five tables; the caller vouches for the rest.
    unsafe { (&raw mut (*tables)[DIRECTORY + index]).write_volatile(entry) };
}

/// Makes changed mappings visible to the CPU.
pub fn flush() {
    x86_64::instructions::tlb::flush_all();
}

/// Calls an image's entry point on a fresh stack, as CPU 0.
///
/// # Safety
/// `entry` must be mapped code of type [`hermit_entry::Entry`], and `boot_info` must stay valid.
pub unsafe fn enter(entry: u64, boot_info: *const RawBootInfo) -> ! {
    // SAFETY: nothing on the old stack is used again, and the caller vouches for the entry point.
    unsafe {
        asm!(
            "lea rsp, [rip + boot_stack_end]",
            "xor ebp, ebp",
            "call rax",
            "ud2",
            in("rax") entry,
            in("rdi") boot_info,
            in("esi") 0u32,
            options(noreturn),
        )
    }
}
