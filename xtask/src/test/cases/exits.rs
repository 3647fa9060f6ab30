//! Exit statuses.

use anyhow::{Context, Result};

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::Expect;
use super::{everywhere, guest};

pub fn all() -> Vec<Case> {
    let exit = |doing: &str, status: &str| Guest::new("fault").args(&[doing, status]);
    let quiet = |status: i32| Expect::status(status).stdout("").stderr("");
    // 256 boots: eight cases of 32, so that they can run beside each other.
    let ranges: [(&str, Steps); 8] = [
        ("exit/0-to-31", |bench, mark| range(bench, mark, 0)),
        ("exit/32-to-63", |bench, mark| range(bench, mark, 32)),
        ("exit/64-to-95", |bench, mark| range(bench, mark, 64)),
        ("exit/96-to-127", |bench, mark| range(bench, mark, 96)),
        ("exit/128-to-159", |bench, mark| range(bench, mark, 128)),
        ("exit/160-to-191", |bench, mark| range(bench, mark, 160)),
        ("exit/192-to-223", |bench, mark| range(bench, mark, 192)),
        ("exit/224-to-255", |bench, mark| range(bench, mark, 224)),
    ];
    let cases = ranges.map(|(name, steps)| Case::steps(name, steps));
    let mut cases = Vec::from(cases);
    // The virtual machine carries all 32 bits; it is the runner that makes eight of them.
    for status in [256, 300, -1, i32::MAX, i32::MIN] {
        cases.push(guest(
            &format!("exit/{status}"),
            exit("exit", &status.to_string()),
            quiet(status),
        ));
    }
    cases.extend(everywhere("exit/42", &exit("exit", "42"), &quiet(42)));
    cases.push(guest("exit/return-0", exit("return", "0"), quiet(0)));
    cases.push(guest("exit/return-200", exit("return", "200"), quiet(200)));
    cases.push(guest("exit/in-thread-9", exit("exit-in-thread", "9"), quiet(9)));
    cases
}

fn range(bench: &Bench, mark: &str, first: i32) -> Result<()> {
    for status in first..first + 32 {
        let guest = Guest::new("fault").args(&["exit", &status.to_string()]);
        let expect = Expect::status(status).stdout("").stderr("");
        expect.judge(&guest.run(bench, mark)?).with_context(|| format!("exit({status})"))?;
    }
    Ok(())
}
