//! Programs that do what they would do on the host.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::Expect;
use super::{everywhere, guest};
use crate::qemu::Machine;

const MIB: u64 = 1 << 20;

pub fn all() -> Vec<Case> {
    let walk = Expect::status(0).out(" 0 failed").stderr("");
    let mut cases = Vec::new();
    cases.extend(everywhere("guest/memory", &Guest::new("memory"), &walk));
    cases.extend(everywhere("guest/threads", &Guest::new("threads"), &walk));
    for program in ["memory", "threads"] {
        cases.push(guest(
            &format!("guest/{program}/smp4"),
            Guest::new(program).smp(4),
            walk.clone(),
        ));
    }
    cases.extend(everywhere("guest/files", &Guest::new("files").memory(96 * MIB), &walk));
    for machine in super::MACHINES {
        let name = format!("guest/network/{}", super::machine_name(machine));
        let network = Guest::new("network").memory(128 * MIB).on(machine);
        cases.push(guest(&name, super::with_card(network), walk.clone()));
    }
    let network = Guest::new("network").memory(128 * MIB).smp(4);
    cases.push(guest("guest/network/smp4", super::with_card(network), walk.clone()));
    cases.push(guest("guest/pipes", Guest::new("pipes"), walk.clone()));
    cases.extend(clock());
    cases.extend(everywhere(
        "guest/tour",
        &Guest::new("tour").args(&["--stdin"]).stdin("some input"),
        &Expect::status(0).out(" 0 failed").out("ok (10 bytes)").err("a line on standard error"),
    ));
    cases.extend(everywhere(
        "guest/sieve",
        &Guest::new("sieve").args(&["2000000", "--threads", "3"]),
        &Expect::status(0).out("148933 primes below 2000000\n3 threads, ").stderr(""),
    ));
    cases.push(guest(
        "guest/processors/without-memory",
        Guest::new("sieve").args(&["1000", "--threads", "2"]).smp(64).memory(3 * MIB),
        Expect::status(0)
            .out("168 primes below 1000\n2 threads, ")
            .err(" processors stay off: memory is short"),
    ));
    cases.extend(hello());
    cases.extend(json());
    cases
}

fn hello() -> Vec<Case> {
    let greeting = Expect::status(0).stdout("Hello, world!\n").stderr("");
    let mut cases = everywhere("guest/hello", &Guest::new("hello"), &greeting);
    for (name, size, machine) in [
        ("4M/microvm", 4 * MIB, Machine::Microvm),
        ("4M/pc", 4 * MIB, Machine::Pc),
        ("odd/microvm", 7 * MIB + 4096 * 3, Machine::Microvm),
        ("2G/q35", 2048 * MIB, Machine::Q35),
        ("3G/microvm", 3 * 1024 * MIB, Machine::Microvm),
        // Above the hole below 4 GiB.
        ("6G/pc", 6 * 1024 * MIB, Machine::Pc),
        ("16G/microvm", 16 * 1024 * MIB, Machine::Microvm),
    ] {
        let what = Guest::new("hello").memory(size).on(machine);
        cases.push(guest(&format!("guest/hello-in-{name}"), what, greeting.clone()));
    }
    cases.push(guest(
        "guest/hello-with-log",
        Guest { log: Some("debug".to_owned()), ..Guest::new("hello") },
        Expect::status(0).stdout("Hello, world!\n").err("skete"),
    ));
    cases.push(guest(
        "guest/hello-with-default-devices",
        Guest {
            qemu: vec!["-device".to_owned(), "VGA".to_owned()],
            ..Guest::new("hello").on(Machine::Pc)
        },
        greeting,
    ));
    cases
}

fn json() -> Vec<Case> {
    let run = |name: &str, stdin: &str, expect: Expect| {
        guest(&format!("guest/json-{name}"), Guest::new("json").stdin(stdin), expect)
    };
    vec![
        large_json(),
        run(
            "sorts",
            r#"{"b": [1.10, "é"], "a": {"d": null, "c": 12345678901234567890123}}"#,
            Expect::status(0)
                .stdout(
                    "{\n  \"a\": {\n    \"c\": 12345678901234567890123,\n    \"d\": null\n  },\n  \
                     \"b\": [\n    1.10,\n    \"é\"\n  ]\n}\n",
                )
                .stderr(""),
        ),
        run("broken", "{\"a\": }", Expect::status(1).stdout("").err_line("line 1 column 7")),
        run("empty", "", Expect::status(1).stdout("").err_line("standard input is empty")),
        guest(
            "guest/json-wrong-option",
            Guest::new("json").args(&["--sideways"]),
            Expect::status(2).stdout("").err("--sideways"),
        ),
        guest(
            "guest/json-help",
            Guest::new("json").args(&["--help"]),
            Expect::status(0).out("Usage: json"),
        ),
    ]
}

/// About a megabyte of JSON, against what serde_json makes of it here.
fn large_json() -> Case {
    let entries = (0..9_000_u32).map(|i| {
        let number = i.wrapping_mul(2_654_435_761);
        let value = serde_json::json!({
            "number": number,
            "list": [i, null, true, "größe"],
            "a name with \"quotes\"": { "z": format!("text {number:x}\n"), "a": -1.5 },
        });
        (format!("key {number:010}"), value)
    });
    // Written in the order of `entries`; a `serde_json::Map` is sorted.
    let mut text = String::from("{");
    let mut sorted = serde_json::Map::new();
    for (key, value) in entries {
        let comma = if sorted.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{key:?}:{value}");
        sorted.insert(key, value);
    }
    text.push('}');
    let expected = format!("{:#}\n", serde_json::Value::Object(sorted));
    guest(
        "guest/json-megabyte",
        Guest::new("json").stdin(text),
        Expect::status(0).stdout(expected).stderr(""),
    )
}

/// The wall clock has to be the host's, so these cases are made when they run.
fn clock() -> Vec<Case> {
    fn on(machine: Machine, bench: &Bench, mark: &str) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().to_string();
        let guest = Guest::new("clock").args(&[&now]).on(machine);
        Expect::status(0)
            .out("agrees with the host's")
            .out(" 0 failed")
            .stderr("")
            .judge(&guest.run(bench, mark)?)
    }
    let steps: [(&str, Steps); 3] = [
        ("guest/clock/microvm", |bench, mark| on(Machine::Microvm, bench, mark)),
        ("guest/clock/pc", |bench, mark| on(Machine::Pc, bench, mark)),
        ("guest/clock/q35", |bench, mark| on(Machine::Q35, bench, mark)),
    ];
    let mut cases = Vec::from(steps.map(|(name, steps)| Case::steps(name, steps)));
    // A processor that does not vouch for its time-stamp counter, and no hypervisor that does.
    let unsteady = Guest {
        qemu: ["-cpu", "max,-hypervisor"].map(str::to_owned).into(),
        log: Some("warn".to_owned()),
        ..Guest::new("clock").on(Machine::Pc)
    };
    let hpet = Expect::status(0).out(" 0 failed").err("the clock is the HPET");
    cases.push(guest("guest/clock/hpet", unsteady, hpet));
    cases
}
