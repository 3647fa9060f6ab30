//! What must not be possible, and how it ends.

use super::super::case::{Case, Guest};
use super::super::expect::Expect;
use super::{everywhere, guest};

/// A fault's exit status.
const FAULT: i32 = 139;
/// The exit status after a call of `abort`.
const ABORT: i32 = 134;
/// The exit status after a panic in `main`.
const PANIC: i32 = 101;
/// The exit status when nothing can ever run again.
const STUCK: i32 = 71;

/// Faults that the processor reports, and the words that the kernel finds for them.
const CAUSES: [(&str, &str); 22] = [
    ("stack-overflow", "stack overflow"),
    ("stack-overflow-in-thread", "stack overflow"),
    ("large-frame", "stack overflow"),
    ("null-read", "null pointer"),
    ("null-write", "null pointer"),
    ("null-field-read", "null pointer"),
    ("null-call", "null pointer"),
    ("wild-read", "unmapped memory"),
    ("wild-write", "unmapped memory"),
    ("write-to-code", "write to read-only memory"),
    ("write-to-rodata", "write to read-only memory"),
    ("jump-to-data", "execute non-executable memory"),
    ("exec-rodata", "execute non-executable memory"),
    ("exec-heap", "execute non-executable memory"),
    ("exec-stack", "execute non-executable memory"),
    ("invalid-opcode", "invalid opcode"),
    ("divide", "divide error"),
    ("divide-overflow", "divide error"),
    ("general-protection", "general protection"),
    ("unaligned", "general protection"),
    ("breakpoint", "breakpoint"),
    ("float-exception", "float"),
];

/// What the report of every fault holds beside its cause.
const REPORTED: [&str; 7] =
    ["skete: ", " at 0x", " in thread ", "rip", "rsp", "stack backtrace:", " - fault::"];

pub fn all() -> Vec<Case> {
    let fault = |args: &[&str]| Guest::new("fault").args(args);
    let mut cases = Vec::new();
    for (doing, cause) in CAUSES {
        let mut expect = Expect::status(FAULT).stdout("").err(cause);
        for part in REPORTED {
            expect = expect.err(part);
        }
        if matches!(doing, "null-read" | "stack-overflow") {
            cases.extend(everywhere(&format!("fault/{doing}"), &fault(&[doing]), &expect));
        } else {
            cases.push(guest(&format!("fault/{doing}"), fault(&[doing]), expect));
        }
    }
    cases.push(guest(
        "fault/thread-is-named",
        fault(&["stack-overflow-in-thread"]),
        Expect::status(FAULT).err("stack overflow").err("in thread 2 (deep)"),
    ));
    cases.extend(everywhere(
        "fault/heap-exhaustion",
        &fault(&["heap-exhaustion"]),
        &Expect::status(ABORT).stdout("").err("memory allocation of 1048576 bytes failed"),
    ));
    cases.push(guest(
        "fault/huge-allocation",
        fault(&["huge-allocation"]),
        Expect::status(ABORT)
            .stdout("")
            .err("memory allocation of 9223372036854775807 bytes failed"),
    ));
    cases.push(guest(
        "fault/try-reserve",
        fault(&["try-reserve"]),
        Expect::status(0).out("refused: memory allocation failed").out_not("survived").stderr(""),
    ));
    cases.push(guest(
        "fault/10000-threads-too-many",
        fault(&["threads", "10000"]),
        Expect::status(0).out(" threads ran, the next one was refused: ").stderr(""),
    ));
    cases.push(guest(
        "fault/10000-threads",
        fault(&["threads", "10000"]).memory(1 << 30),
        Expect::status(0).stdout("all 10000 threads ran\n").stderr(""),
    ));
    cases.extend(panics());
    cases.push(guest("fault/abort", fault(&["abort"]), Expect::status(ABORT).stdout("")));
    for doing in ["deadlock", "file-lock-forever", "join-forever"] {
        cases.push(guest(
            &format!("fault/{doing}"),
            fault(&[doing]),
            Expect::status(STUCK).stdout("").err("skete: deadlock: "),
        ));
    }
    cases.push(guest(
        "fault/leave-threads",
        fault(&["leave-threads"]),
        Expect::status(0).stdout("").stderr(""),
    ));
    cases.push(guest("fault/none", fault(&[]), Expect::status(2).stdout("").err("usage: fault")));
    cases
}

fn panics() -> Vec<Case> {
    let fault = |doing: &str| Guest::new("fault").args(&[doing]);
    let mut cases = everywhere(
        "fault/panic",
        &fault("panic"),
        &Expect::status(PANIC)
            .stdout("")
            .err("thread 'main'")
            .err("panicked at fault/src/doings.rs")
            .err("main has had enough"),
    );
    cases.extend([
        guest(
            "fault/index",
            fault("index"),
            Expect::status(PANIC)
                .stdout("")
                .err("index out of bounds: the len is 3 but the index is 3"),
        ),
        guest(
            "fault/unwrap",
            fault("unwrap"),
            Expect::status(PANIC).stdout("").err("ParseIntError"),
        ),
        guest(
            "fault/panic-in-thread",
            fault("panic-in-thread"),
            Expect::status(0)
                .out("joined: Some(\"this thread has had enough\")")
                .err("thread 'unlucky'")
                .err("this thread has had enough"),
        ),
        guest(
            "fault/panic-while-panicking",
            fault("panic-while-panicking"),
            Expect::status(ABORT).stdout("").err("thread panicked while processing panic"),
        ),
    ]);
    cases
}
