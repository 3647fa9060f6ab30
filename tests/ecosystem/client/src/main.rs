//! A client of the web with reqwest and rustls. Without a network it says so, and does not hang.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use check::Check;

const CHECKS: &[Check] = &[
    ("certificates and ciphers are there", client),
    ("nobody answers", nobody),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

fn build() -> io::Result<reqwest::Client> {
    reqwest::Client::builder()
        .use_rustls_tls()
        .connect_timeout(Duration::from_secs(5))
        .no_proxy()
        .build()
        .map_err(io::Error::other)
}

fn client() -> io::Result<()> {
    let request = build()?
        .post("https://example.org/path?a=1")
        .json(&["one", "two"])
        .build()
        .map_err(io::Error::other)?;
    assert_eq!(request.url().query(), Some("a=1"));
    assert_eq!(request.headers()["content-type"], "application/json");
    Ok(())
}

/// A request that cannot be answered ends with an error that has a cause.
fn nobody() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let result = build()?.get("https://127.0.0.1:1/").send().await;
        let Err(error) = result else {
            return Err(io::Error::other("somebody answers"));
        };
        assert!(error.is_connect(), "{error:?}");
        assert!(error.source().is_some(), "{error:?}");
        Ok(())
    })
}
