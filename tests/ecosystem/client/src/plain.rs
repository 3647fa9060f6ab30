//! Requests without TLS, to a server on the loopback interface.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::{build, run};

async fn start() -> io::Result<(SocketAddr, Arc<AtomicUsize>)> {
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/words", post(|Json(words): Json<Vec<String>>| async move { Json(words.len()) }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/old", get(|| async { Redirect::permanent("/") }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(30)).await }))
        .layer(DefaultBodyLimit::disable());
    let mut listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        // As `axum::serve` does, but it counts.
        loop {
            let (stream, _) = axum::serve::Listener::accept(&mut listener).await;
            counted.fetch_add(1, Ordering::Relaxed);
            let router = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let stream = hyper_util::rt::TokioIo::new(stream);
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new())
                    .serve_connection(stream, router)
                    .await
                    .map_err(|error| eprintln!("{error}"))
            });
        }
    });
    Ok((address, connections))
}

pub fn requests() -> io::Result<()> {
    run(async {
        let (address, connections) = start().await?;
        let client = build()?;
        let url = |path: &str| format!("http://{address}{path}");
        for _ in 0..20 {
            let reply = client.get(url("/")).send().await?;
            assert_eq!(reply.status(), 200);
            assert_eq!(reply.text().await?, "hello");
        }
        let words = ["one", "two", "three"];
        let reply = client.post(url("/words")).json(&words).send().await?;
        assert_eq!(reply.json::<usize>().await?, 3);
        let reply = client.get(url("/old")).send().await?;
        assert_eq!(reply.url().path(), "/");
        assert_eq!(client.get(url("/none")).send().await?.status(), 404);
        assert_eq!(connections.load(Ordering::Relaxed), 1, "it stays");
        Ok(())
    })
}

pub fn large() -> io::Result<()> {
    run(async {
        let (address, _) = start().await?;
        let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 3) as u8).collect();
        let request = build()?.post(format!("http://{address}/echo"));
        let reply = request.body(body.clone()).send().await?;
        assert!(reply.bytes().await? == body, "another body came back");
        Ok(())
    })
}

pub fn by_name() -> io::Result<()> {
    run(async {
        let (address, _) = start().await?;
        let url = format!("http://localhost:{}/", address.port());
        assert_eq!(build()?.get(url).send().await?.text().await?, "hello");
        let error = build()?.get("http://a..b/").send().await.err();
        assert!(error.is_some_and(|error| error.is_builder() || error.is_connect()));
        Ok(())
    })
}

pub fn timeout() -> io::Result<()> {
    run(async {
        let (address, _) = start().await?;
        let request = build()?.get(format!("http://{address}/slow"));
        let request = request.timeout(Duration::from_millis(100));
        let error = request.send().await.expect_err("it takes longer");
        assert!(error.is_timeout(), "{error:?}");
        Ok(())
    })
}
