//! The options of `cargo xtask run` for networks: what they refuse, and that machines with cards boot.

use std::net::TcpListener;

use anyhow::Result;

use super::super::case::{Bench, Case, Doing};
use super::super::expect::Expect;
use super::tools::Tool;

pub fn all() -> Vec<Case> {
    let refused = |status, what: &str| Expect::status(status).stdout("").err(what);
    let hello = || Expect::status(0).stdout("Hello, world!\n").stderr("");
    let words: [(&str, &[&str], Expect); 11] = [
        ("user", &["--net", "user"], hello()),
        ("user-pc", &["--net=user", "--machine=pc"], hello()),
        ("two-cards", &["--net=user", "--net=user", "--machine=q35"], hello()),
        ("kind", &["--net", "wifi"], refused(2, "there are: user, tap, tap=NAME, none")),
        (
            "no-such-tap",
            &["--net", "tap=no-such-tap"],
            refused(1, "there is no network interface `no-such-tap`"),
        ),
        ("not-a-tap", &["--net", "tap=lo"], refused(1, "`lo` is not a TAP device")),
        (
            "publish-without-user",
            &["--net", "none", "--publish", "8080:80"],
            refused(1, "--publish needs --net user"),
        ),
        ("publish-malformed", &["--publish", "80"], refused(2, "write it like 8080:80")),
        (
            "publish-twice",
            &["--publish", "48080:80", "--publish", "48080:81"],
            refused(1, "port 48080 is published twice"),
        ),
        (
            "pcap-nowhere",
            &["--net", "user", "--pcap", "/no/such/directory/frames"],
            refused(1, "--pcap: no file can be written at /no/such/directory/frames"),
        ),
        ("address", &["--net", "user", "--ip", "10.0.2.15"], refused(2, "10.0.0.2/24")),
    ];
    let cases = words.into_iter().map(|(name, options, expect)| Case {
        name: format!("net/options/{name}"),
        doing: Doing::Tool(Tool::xtask(&[&["run", "hello"], options].concat()), expect),
    });
    let port = Case::steps("net/options/publish-in-use", port_in_use);
    cases.chain([port]).collect()
}

/// A port that another program has is named.
fn port_in_use(bench: &Bench, mark: &str) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let tool = Tool::xtask(&["run", "hello", "--publish", &format!("{port}:80")]);
    let said = format!("port {port} of 127.0.0.1 is in use by another program");
    Expect::status(1).stdout("").err_line(&said).judge(&tool.run(bench, mark)?)
}
