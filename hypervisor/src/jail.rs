//! The monitor's jail: when everything is open, it gives up what it does not need any more.
//!
//! Landlock takes away all files but those below the mounts, and the network. Each thread then has a list of
//! system calls (seccomp) that it may make: a processor's answers hypercalls, the first one's waits for events.
//! A call that is not on the list ends the process. No list has a call that makes code, a thread or a process, or
//! that reaches another process.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use vmm_sys_util::signal::register_signal_handler;

use crate::options::Options;

/// A system call, and what its second argument has to be if that matters.
pub type Call = (libc::c_long, Option<u64>);

/// System calls by their names, with what the second argument has to be in brackets.
macro_rules! calls {
    (@) => { None };
    (@ $request:literal) => { Some($request) };
    ($($name:ident $(($request:literal))?)+) => { &[$((libc::$name, calls!(@ $($request)?))),+] };
}
pub(crate) use calls;

/// What every thread needs: memory of its own, locks, output, and an end.
const ALWAYS: &[Call] = calls! {
    SYS_read SYS_write SYS_writev SYS_pwrite64 SYS_ftruncate SYS_close SYS_futex SYS_poll SYS_ppoll SYS_munmap
    SYS_mremap SYS_madvise SYS_mincore SYS_brk SYS_getrandom SYS_clock_gettime SYS_getrusage SYS_sched_yield
    SYS_rt_sigprocmask SYS_rt_sigaction SYS_rt_sigreturn SYS_rt_sigtimedwait SYS_rt_sigpending SYS_sigaltstack
    SYS_restart_syscall SYS_gettid SYS_getpid SYS_exit SYS_exit_group
    SYS_fcntl(1030) // F_DUPFD_CLOEXEC: others make a file's events another process's signals
};

/// What a processor's calls about files lead to.
const FILES: &[Call] = calls! {
    SYS_openat2 SYS_fstat SYS_newfstatat SYS_statx SYS_lseek SYS_getdents64 SYS_unlinkat SYS_mkdirat
    SYS_renameat2 SYS_linkat SYS_symlinkat SYS_readlinkat SYS_fchmod SYS_utimensat SYS_fsync
};

/// The calls to KVM that a processor's thread makes (Linux, `include/uapi/linux/kvm.h`).
pub const PROCESSOR: &[Call] = calls! {
    SYS_ioctl(0xae80)      // KVM_RUN
    SYS_ioctl(0x8090_ae81) // KVM_GET_REGS
    SYS_ioctl(0x8138_ae83) // KVM_GET_SREGS
    SYS_ioctl(0x4048_ae9b) // KVM_SET_GUEST_DEBUG
    SYS_ioctl(0xaead)      // KVM_KVMCLOCK_CTRL
};

/// What a debugger's connection takes, and what it looks at and changes.
pub const DEBUGGER: &[Call] = calls! {
    SYS_accept4 SYS_setsockopt SYS_recvfrom SYS_sendto
    SYS_ioctl(0x5421)      // FIONBIO
    SYS_ioctl(0x8090_ae81) // KVM_GET_REGS
    SYS_ioctl(0x4090_ae82) // KVM_SET_REGS
    SYS_ioctl(0x8138_ae83) // KVM_GET_SREGS
    SYS_ioctl(0xc018_ae85) // KVM_TRANSLATE
    SYS_ioctl(0x81a0_ae8c) // KVM_GET_FPU
    SYS_ioctl(0x41a0_ae8d) // KVM_SET_FPU
};

/// Takes away this thread's files and network, and those of the threads that it starts. `mounts` are the
/// directories that stay, with whether they may be written to; in those of `names`, a file may be removed. A kernel
/// without Landlock is no error: the list of system calls still holds.
#[inline(never)] // Instructions are counted from here on.
pub fn confine_files<'a>(
    mounts: impl Iterator<Item = (BorrowedFd<'a>, bool)>,
    names: impl Iterator<Item = BorrowedFd<'a>>,
) -> Result<()> {
    let abi = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    for (directory, writable) in mounts {
        let access = if writable {
            AccessFs::from_all(abi) & !AccessFs::Execute
        } else {
            AccessFs::ReadFile | AccessFs::ReadDir
        };
        rules = rules.add_rule(PathBeneath::new(directory, access))?;
    }
    for directory in names {
        rules = rules.add_rule(PathBeneath::new(directory, AccessFs::RemoveFile))?;
    }
    rules
        .restrict_self()
        .context("the monitor cannot be confined (Landlock); --no-jail leaves that out")?;
    Ok(())
}

/// The calls that a run makes with these options: `files` for processors, that with names at the end for all.
pub fn asked_for(options: &Options, files: bool) -> Vec<Call> {
    let mut calls = Vec::new();
    if files && !options.mounts.is_empty() {
        calls.extend(FILES);
    }
    if !options.channels.is_empty() {
        calls.push((libc::SYS_unlinkat, None));
    }
    calls
}

/// Leaves this thread the system calls that every thread needs, its own, and some more.
pub fn confine_calls(own: &[Call], more: &[Call]) -> Result<()> {
    let filter = filter(&[ALWAYS, own, more].concat())?;
    report_violations()?;
    seccompiler::apply_filter(&filter)
        .context("the monitor cannot be confined (seccomp); --no-jail leaves that out")
}

fn filter(calls: &[Call]) -> Result<BpfProgram> {
    let argument = |number, operation, value| {
        let condition = SeccompCondition::new(number, SeccompCmpArgLen::Dword, operation, value)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for &(number, request) in calls {
        let request = request.map(|request| argument(1, SeccompCmpOp::Eq, request));
        rules.entry(number).or_default().extend(request.transpose()?);
    }
    // Memory, but no code; signals, but to this process only.
    let no_code = argument(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
    rules.insert(libc::SYS_mmap, vec![no_code.clone()]);
    rules.insert(libc::SYS_mprotect, vec![no_code]);
    let own = argument(0, SeccompCmpOp::Eq, std::process::id().into())?;
    rules.insert(libc::SYS_tgkill, vec![own]);
    let filter =
        SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}

/// Lets a call that is not allowed end the process with a line that names it.
fn report_violations() -> Result<()> {
    extern "C" fn report(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        /// Where the call's number is in the information (`struct siginfo`, `_sigsys._syscall`).
        const NUMBER: usize = 24;
        // SAFETY: the kernel hands over the information of a SIGSYS; a signal handler may write and exit.
        unsafe {
            let number = info.cast::<u8>().add(NUMBER).cast::<i32>().read_unaligned();
            let mut text = *b"skete: the jail does not allow the monitor's system call 0000 (a bug; --no-jail goes round it)\n";
            let digits = text.iter().position(|byte| *byte == b'0').unwrap_or(0);
            for (place, power) in [1000, 100, 10, 1].into_iter().enumerate() {
                text[digits + place] = b'0' + (number / power % 10) as u8;
            }
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::_exit(1);
        }
    }
    register_signal_handler(libc::SIGSYS, report).context("cannot handle a signal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs another test of this program as a process of its own.
    fn child(name: &str) -> std::process::Output {
        let program = std::env::current_exe().unwrap();
        Command::new(program).args(["--ignored", "--exact", "--nocapture", name]).output().unwrap()
    }

    #[test]
    fn a_call_that_is_not_allowed_ends_the_process() {
        let output = child("jail::tests::breaks_out_by_a_call");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("does not allow the monitor's system call 0041"), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }

    #[test]
    #[ignore = "ends its process"]
    fn breaks_out_by_a_call() {
        confine_files(std::iter::empty(), std::iter::empty()).unwrap();
        confine_calls(PROCESSOR, FILES).unwrap();
        // SAFETY: makes a socket, or ends the process.
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    }

    #[test]
    fn code_cannot_be_made() {
        let output = child("jail::tests::makes_code");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("does not allow the monitor's system call 0009"), "{said}");
    }

    #[test]
    #[ignore = "ends its process"]
    fn makes_code() {
        confine_files(std::iter::empty(), std::iter::empty()).unwrap();
        confine_calls(&[], &[]).unwrap();
        let access = libc::PROT_READ | libc::PROT_EXEC;
        // SAFETY: a new mapping, or the process's end.
        unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                access,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
    }

    #[test]
    #[ignore = "confines its process"]
    fn has_memory() {
        // Its own, as a thread has it that is not the first one.
        let grown = std::thread::spawn(|| {
            confine_calls(&[], &[]).unwrap();
            (0..100_u8).map(|number| vec![number; 60_000]).collect::<Vec<_>>()
        });
        assert_eq!(grown.join().unwrap().concat().len(), 6_000_000);
    }

    #[test]
    fn memory_can_be_had() {
        let output = child("jail::tests::has_memory");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    #[ignore = "ends its process"]
    fn signals_another_process() {
        confine_calls(&[], &[]).unwrap();
        // SAFETY: asks whether the first process could be signalled, or ends this one.
        unsafe { libc::syscall(libc::SYS_tgkill, 1, 1, 0) };
    }

    #[test]
    fn other_processes_get_no_signal() {
        let output = child("jail::tests::signals_another_process");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("does not allow the monitor's system call 0234"), "{said}");
    }

    #[test]
    #[ignore = "ends its process"]
    fn lets_a_file_signal_another_process() {
        confine_calls(&[], &[]).unwrap();
        // SAFETY: another handle of standard input; then whom its events signal, or the process's end.
        unsafe {
            assert!(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 0) >= 0);
            libc::fcntl(0, libc::F_SETOWN, 1)
        };
    }

    #[test]
    fn other_processes_get_no_signal_of_files() {
        let output = child("jail::tests::lets_a_file_signal_another_process");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("does not allow the monitor's system call 0072"), "{said}");
    }

    #[test]
    fn only_mounts_can_be_opened() {
        if std::fs::read_to_string("/sys/kernel/security/lsm")
            .is_ok_and(|lsm| !lsm.contains("landlock"))
        {
            eprintln!("this kernel has no Landlock");
            return;
        }
        let output = child("jail::tests::opens_files");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    #[ignore = "confines its process"]
    fn opens_files() {
        use std::os::fd::AsFd;
        let inside = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(inside.path()).unwrap();
        confine_files([(directory.as_fd(), true)].into_iter(), std::iter::empty()).unwrap();
        std::fs::write(inside.path().join("new"), "x").unwrap();
        let confined = Ruleset::default().handle_access(AccessFs::Execute).is_ok();
        let opened = std::fs::read("/etc/passwd");
        assert!(!confined || opened.is_err() || !has_landlock(), "{opened:?}");
    }

    /// Whether the running kernel has Landlock (`landlock_create_ruleset(2)`).
    fn has_landlock() -> bool {
        // SAFETY: asks for the version.
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) > 0 }
    }
}
