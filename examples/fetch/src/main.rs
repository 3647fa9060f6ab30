//! Fetches from a web server, over HTTP or HTTPS. TLS is rustls with a provider in Rust alone; the
//! certificates that are trusted are those of Mozilla's programme, which are in the image, or those of a file.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Fetches a page and writes it to standard output
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The page, http:// or https://
    url: String,
    /// Send this with POST
    #[arg(long, value_name = "TEXT")]
    post: Option<String>,
    /// Trust the certificates of this file (PEM) instead of those in the program
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Write the reply's status and headers to standard error
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetch: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls_rustcrypto::provider()))
        .root_certs(roots(arguments)?)
        .build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(arguments.timeout)))
        .build()
        .into();
    let reply = match &arguments.post {
        Some(text) => agent.post(&arguments.url).send(text),
        None => agent.get(&arguments.url).call(),
    };
    let reply = reply.with_context(|| arguments.url.clone())?;
    let status = reply.status();
    if arguments.verbose {
        eprintln!("{:?} {status}", reply.version());
        for (name, value) in reply.headers() {
            eprintln!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let mut stdout = io::stdout().lock();
    let mut body = reply.into_body().into_reader();
    io::copy(&mut body, &mut stdout).context("the reply breaks off")?;
    stdout.flush()?;
    if !status.is_success() {
        bail!("{}: {status}", arguments.url);
    }
    Ok(())
}

/// The certificates that are trusted.
fn roots(arguments: &Arguments) -> Result<RootCerts> {
    let Some(file) = &arguments.ca else {
        return Ok(RootCerts::WebPki);
    };
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .map(|certificate| Ok(Certificate::from_der(&certificate?).to_owned()))
        .collect::<Result<Vec<_>, rustls::pki_types::pem::Error>>()
        .with_context(|| format!("{} holds no certificates", file.display()))?;
    if certificates.is_empty() {
        bail!("{} holds no certificates", file.display());
    }
    Ok(RootCerts::from(certificates))
}
