//! The monitor's jail: when everything is open, it gives up what it does not need any more.
//!
//! Landlock takes away all files but those below the mounts, and the network. Each thread then has a list of
//! system calls (seccomp) that it may make: a processor's answers hypercalls, the first one's waits for events.
//! A call that is not on the list ends the process.

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

use crate::options::Options;

/// A system call, and what its second argument has to be if that matters.
pub type Call = (libc::c_long, Option<u64>);

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs a processor of the guest's, and answers its calls.
    Processor,
    /// Waits for signals and input.
    Watcher,
    /// Serves a device.
    Device,
}

/// What every thread needs: memory of its own, locks, output, and an end.
const ALWAYS: [libc::c_long; 30] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_ftruncate,
    libc::SYS_close,
    libc::SYS_futex,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_brk,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_getrusage,
    libc::SYS_sched_yield,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
];

/// What a processor's calls about files lead to.
const FILES: [libc::c_long; 15] = [
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_fchmod,
    libc::SYS_utimensat,
    libc::SYS_fsync,
];

/// What the thread takes that ends an orderly run, which the first one starts.
const THREADS: [libc::c_long; 7] = [
    libc::SYS_clone3,
    libc::SYS_clone,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_prctl,
    libc::SYS_mprotect,
];

/// The calls to KVM that a processor's thread makes (Linux, `include/uapi/linux/kvm.h`).
const KVM_CALLS: [u64; 5] = [
    0xae80,      // KVM_RUN
    0x8090_ae81, // KVM_GET_REGS
    0x8138_ae83, // KVM_GET_SREGS
    0x4048_ae9b, // KVM_SET_GUEST_DEBUG
    0xaead,      // KVM_KVMCLOCK_CTRL
];

/// Takes away this thread's files and network, and those of the threads that it starts. `mounts` are the
/// directories that stay, with whether they may be written to; in those of `names`, a file may be removed.
///
/// # Errors
///
/// When the kernel has Landlock but does not take the rules. One without it is no error: the list of
/// system calls still holds.
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
pub fn calls(options: &Options, files: bool) -> Vec<Call> {
    let files = if files && !options.mounts.is_empty() { &FILES[..] } else { &[] };
    let names = if options.channels.is_empty() { &[] } else { &[libc::SYS_unlinkat][..] };
    let calls = files.iter().chain(names);
    calls.map(|number| (*number, None)).collect()
}

/// Leaves this thread the system calls of its role, and some more.
///
/// # Errors
///
/// When the kernel does not take the list.
pub fn confine_calls(role: Role, more: &[Call]) -> Result<()> {
    let filter = filter(role, more)?;
    report_violations()?;
    seccompiler::apply_filter(&filter)
        .context("the monitor cannot be confined (seccomp); --no-jail leaves that out")
}

fn filter(role: Role, more: &[Call]) -> Result<BpfProgram> {
    let mut calls = ALWAYS.map(|number| (number, None)).to_vec();
    calls.extend(more);
    match role {
        Role::Processor => {
            calls.extend(KVM_CALLS.map(|request| (libc::SYS_ioctl, Some(request))));
        }
        Role::Watcher => calls.extend(THREADS.map(|number| (number, None))),
        Role::Device => {}
    }
    let argument = |number, operation, value| {
        let condition = SeccompCondition::new(number, SeccompCmpArgLen::Dword, operation, value)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (number, request) in calls {
        let request = request.map(|request| argument(1, SeccompCmpOp::Eq, request));
        rules.entry(number).or_default().extend(request.transpose()?);
    }
    // Memory, but no code.
    let no_code = argument(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
    rules.insert(libc::SYS_mmap, vec![no_code]);
    let filter =
        SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}

/// Lets a call that is not allowed end the process with a line that names it.
fn report_violations() -> Result<()> {
    extern "C" fn report(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
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
    // SAFETY: the handler has the form that SA_SIGINFO asks for, and does what handlers may do.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = report as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
    };
    if done != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot handle a signal");
    }
    Ok(())
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
        confine_calls(Role::Processor, &FILES.map(|number| (number, None))).unwrap();
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
        confine_calls(Role::Watcher, &[]).unwrap();
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
