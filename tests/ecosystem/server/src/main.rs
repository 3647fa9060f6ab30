//! Servers of the web: axum's routes, extractors and replies, asked from inside and over the loopback
//! interface, and hyper itself.

mod direct;
mod serving;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, State};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use check::Check;
use tower::ServiceExt;

const CHECKS: &[Check] = &[
    ("routes and replies", routes),
    ("many requests beside each other", many),
    ("axum: connections that stay", serving::keep_alive),
    ("axum: many clients", serving::many),
    ("axum: a stream", serving::stream),
    ("axum: a large body", serving::large),
    ("axum: the end of service", serving::graceful),
    ("hyper: HTTP/1.1", direct::http1),
    ("hyper: HTTP/2", direct::http2),
    ("hyper: nonsense", direct::nonsense),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

fn router() -> Router {
    let visits = Arc::new(AtomicU64::new(0));
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/double/{number}",
            get(|Path(number): Path<u32>| async move { (number * 2).to_string() }),
        )
        .route("/echo", post(|Json(words): Json<Vec<String>>| async move { Json(words) }))
        .route(
            "/visits",
            get(|State(visits): State<Arc<AtomicU64>>| async move {
                visits.fetch_add(1, Ordering::Relaxed).to_string()
            }),
        )
        .route(
            "/query",
            get(|Query(pairs): Query<Vec<(String, String)>>| async move { format!("{pairs:?}") }),
        )
        .with_state(visits)
}

async fn ask(router: Router, request: Request<Body>) -> io::Result<(StatusCode, String)> {
    let reply = router.oneshot(request).await.map_err(io::Error::other)?;
    let status = reply.status();
    let body = to_bytes(reply.into_body(), 1 << 20).await.map_err(io::Error::other)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn request(path: &str) -> io::Result<Request<Body>> {
    Request::get(path).body(Body::empty()).map_err(io::Error::other)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn routes() -> io::Result<()> {
    runtime()?.block_on(async {
        for (path, status, body) in [
            ("/", 200, "hello"),
            ("/double/21", 200, "42"),
            ("/nothing", 404, ""),
            ("/query?a=1&b=x%20y", 200, r#"[("a", "1"), ("b", "x y")]"#),
        ] {
            let reply = ask(router(), request(path)?).await?;
            assert_eq!((reply.0.as_u16(), reply.1.as_str()), (status, body), "{path}");
        }
        let (status, _) = ask(router(), request("/double/many")?).await?;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let words = r#"["one","two"]"#;
        let echo = Request::post("/echo")
            .header("content-type", "application/json")
            .body(Body::from(words))
            .map_err(io::Error::other)?;
        assert_eq!(ask(router(), echo).await?, (StatusCode::OK, words.to_owned()));
        Ok(())
    })
}

fn many() -> io::Result<()> {
    runtime()?.block_on(async {
        let router = router();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let router = router.clone();
            tasks.spawn(async move { ask(router, request("/visits")?).await });
        }
        let mut seen: Vec<u64> = Vec::new();
        for reply in tasks.join_all().await {
            seen.push(reply?.1.parse().map_err(io::Error::other)?);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        Ok(())
    })
}
