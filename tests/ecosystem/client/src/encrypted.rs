//! Requests with TLS, to a server on the loopback interface whose certificate was made for it.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{build, builder, run};

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?} ", request.version());
    let mut reply = version.into_bytes();
    if let Ok(body) = request.into_body().collect().await {
        reply.extend(body.to_bytes());
    }
    Ok(Response::new(Full::new(reply.into())))
}

/// A server that speaks these protocols inside TLS; and its certificate.
async fn start(protocols: &[&str]) -> io::Result<(SocketAddr, CertificateDer<'static>)> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.map_err(io::Error::other)?;
    let certificate = made.cert.der().clone();
    let key =
        PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate goes away.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(echo))
                    .await;
            });
        }
    });
    Ok((address, certificate))
}

pub fn requests() -> io::Result<()> {
    run(async {
        for (protocols, version) in
            [(&["http/1.1"][..], "HTTP/1.1 "), (&["h2", "http/1.1"], "HTTP/2.0 ")]
        {
            let (address, certificate) = start(protocols).await?;
            let root = reqwest::Certificate::from_der(&certificate)?;
            let client = builder().add_root_certificate(root).build()?;
            let url = format!("https://localhost:{}/", address.port());
            for size in [0, 1, 1000, 500_000] {
                let body = "x".repeat(size);
                let reply = client.post(&url).body(body.clone()).send().await?;
                let text = reply.text().await?;
                assert!(text == version.to_owned() + &body, "{size}: {} bytes", text.len());
            }
        }
        Ok(())
    })
}

/// A certificate that nobody vouches for is refused, and the error says so.
pub fn unknown() -> io::Result<()> {
    run(async {
        let (address, _) = start(&["http/1.1"]).await?;
        let url = format!("https://localhost:{}/", address.port());
        let error = build()?.get(url).send().await.expect_err("nobody vouches");
        let mut cause: &dyn Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        assert!(cause.to_string().contains("UnknownIssuer"), "{error:?}");
        Ok(())
    })
}
