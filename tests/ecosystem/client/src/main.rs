//! A client of the web with reqwest and rustls, over the loopback interface.

mod encrypted;
mod plain;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use check::Check;

const CHECKS: &[Check] = &[
    ("certificates and ciphers are there", client),
    ("requests on one connection", plain::requests),
    ("a large body both ways", plain::large),
    ("by name", plain::by_name),
    ("a reply that does not come", plain::timeout),
    ("TLS with HTTP/1.1 and HTTP/2", encrypted::requests),
    ("TLS with a certificate of nobody's", encrypted::unknown),
    ("nobody answers", nobody),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

/// Runs a future on a runtime with several threads, with a limit of time.
fn run(future: impl Future<Output = Result<(), Box<dyn Error>>>) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match tokio::time::timeout(Duration::from_secs(90), future).await {
            Ok(result) => result.map_err(|error| io::Error::other(format!("{error:?}"))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().use_rustls_tls().connect_timeout(Duration::from_secs(5)).no_proxy()
}

fn build() -> io::Result<reqwest::Client> {
    builder().build().map_err(io::Error::other)
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
    run(async {
        let result = build()?.get("https://127.0.0.1:1/").send().await;
        let error = result.expect_err("nobody answers");
        assert!(error.is_connect(), "{error:?}");
        let mut cause: &dyn Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let text = cause.to_string();
        assert_eq!(text, "Connection refused (os error 111)");
        Ok(())
    })
}
