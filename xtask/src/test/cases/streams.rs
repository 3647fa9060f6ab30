//! Standard streams, arguments, environment.

use std::fmt::Write as _;

use super::super::case::{Case, Guest};
use super::super::expect::Expect;
use super::{everywhere, guest};

pub fn all() -> Vec<Case> {
    let stdio = |args: &[&str]| Guest::new("stdio").args(args);
    let mut cases = vec![ten_megabytes()];

    // Every byte, and those that mean something on the serial line between.
    let bytes =
        (0..1 << 18).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>();
    cases.push(guest(
        "stdio/cat-256K",
        stdio(&["cat"]).stdin(bytes.clone()),
        Expect::status(0).stdout(bytes).stderr("262144 bytes\n"),
    ));
    let all_bytes = (0..=255).collect::<Vec<u8>>();
    cases.extend(everywhere(
        "stdio/cat",
        &stdio(&["cat"]).stdin(all_bytes.repeat(3)),
        &Expect::status(0).stdout(all_bytes.repeat(3)).stderr("768 bytes\n"),
    ));
    cases.push(guest(
        "stdio/bytes",
        stdio(&["bytes"]),
        Expect::status(0).stdout(all_bytes).stderr(""),
    ));
    cases.push(guest(
        "stdio/empty-input",
        stdio(&["cat"]).stdin(""),
        Expect::status(0).stdout("").stderr("0 bytes\n"),
    ));
    cases.push(guest(
        "stdio/closed-input",
        stdio(&["cat"]),
        Expect::status(0).stdout("").stderr("0 bytes\n"),
    ));
    cases.push(guest(
        "stdio/lines",
        stdio(&["lines"]).stdin("one\n\ntwo\r\nno line break"),
        Expect::status(0).stdout("0: one\n1: \n2: two\n3: no line break\n").stderr(""),
    ));
    cases.push(guest(
        "stdio/unread-input",
        stdio(&["nothing"]).stdin(vec![b'x'; 100_000]),
        Expect::status(0).stdout("").stderr(""),
    ));
    cases.push(guest(
        "stdio/both",
        stdio(&["both"]),
        Expect::status(0)
            .stdout("output 0\noutput 1\noutput 2\n")
            .stderr("error 0\nerror 1\nerror 2\n"),
    ));
    cases.push(guest(
        "stdio/unflushed",
        stdio(&["unflushed"]),
        Expect::status(0).stdout("no line break").stderr(""),
    ));
    let mut numbers = String::new();
    for number in 0..50_000 {
        let _ = writeln!(numbers, "{number}");
    }
    cases.push(guest(
        "stdio/large-output",
        stdio(&["numbers", "50000"]),
        Expect::status(0).stdout(numbers).stderr(""),
    ));
    cases.push(guest(
        "stdio/wrong-command",
        stdio(&["sideways"]),
        Expect::status(1).stdout("").err("usage: stdio"),
    ));
    cases.extend(arguments());
    cases
}

/// Words that a careless hand would split, join or unquote.
const ODD: [&str; 12] = [
    "plain",
    "two words",
    "",
    "--",
    "-x=1",
    "\"quoted\"",
    "back\\slash\\",
    "'single'",
    "größe 世界 😀",
    "line\nbreak\ttab",
    "$HOME `ls` %s {} ; | & > <",
    " ends with a quote\" ",
];

fn arguments() -> Vec<Case> {
    let mut words = vec!["arguments"];
    words.extend(ODD);
    let mut printed = "\"stdio\"\n".to_owned();
    for word in &words {
        let _ = writeln!(printed, "{word:?}");
    }
    let mut variables =
        ODD.iter().enumerate().map(|(i, word)| (format!("KEY_{i:02}"), (*word).to_owned()));
    let mut environment = Guest::new("stdio").args(&["environment"]);
    environment.env = variables.by_ref().collect();
    environment.env.push(("WITH".to_owned(), "a=b=c".to_owned()));
    let mut listed = String::new();
    for (key, value) in &environment.env {
        let _ = writeln!(listed, "{key:?} = {value:?}");
    }
    let many = (0..500).map(|i| format!("argument-{i}")).collect::<Vec<_>>();
    let mut many_printed = "\"stdio\"\n\"arguments\"\n".to_owned();
    for word in &many {
        let _ = writeln!(many_printed, "{word:?}");
    }
    let mut many_words = vec!["arguments"];
    many_words.extend(many.iter().map(String::as_str));
    vec![
        guest(
            "stdio/odd-arguments",
            Guest::new("stdio").args(&words),
            Expect::status(0).stdout(printed).stderr(""),
        ),
        guest("stdio/odd-environment", environment, Expect::status(0).stdout(listed).stderr("")),
        guest(
            "stdio/no-environment",
            Guest::new("stdio").args(&["environment"]),
            Expect::status(0).stdout("").stderr(""),
        ),
        guest(
            "stdio/many-arguments",
            Guest::new("stdio").args(&many_words),
            Expect::status(0).stdout(many_printed).stderr(""),
        ),
    ]
}

/// 10 MB through the serial line, known by their hash.
fn ten_megabytes() -> Case {
    let bytes = (0..10_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect::<Vec<_>>();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in &bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut what = Guest::new("stdio").args(&["hash"]).stdin(bytes);
    what.timeout *= 2;
    guest(
        "stdio/ten-megabytes",
        what,
        Expect::status(0).stdout(format!("10000000 bytes, hash {hash:016x}\n")).stderr(""),
    )
}
