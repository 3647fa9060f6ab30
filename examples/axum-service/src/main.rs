//! A web service with tokio and axum.
//!
//! | request | reply |
//! | --- | --- |
//! | `GET /` | a line |
//! | `POST /sum` with a JSON list of numbers | `{"count": …, "sum": …}` |
//! | `GET /ticks?count=N&ms=M` | N lines, one every M ms, as they come |
//! | `POST /bytes` | the number of bytes, read as they come |
//! | `POST /shutdown` | takes no more connections, answers what is under way, and ends |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Notify;

#[tokio::main]
async fn main() -> ExitCode {
    let address = match std::env::args().nth(1) {
        None => "0.0.0.0:8080".to_owned(),
        Some(address) if address.contains(':') => address,
        Some(port) => format!("0.0.0.0:{port}"),
    };
    match serve(&address).await {
        Ok(()) => {
            println!("axum-service: ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("axum-service: cannot serve on {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let local: SocketAddr = listener.local_addr()?;
    println!("axum-service: serving on http://{local}/");
    let end = Arc::new(Notify::new());
    let service = router(Arc::clone(&end));
    axum::serve(listener, service).with_graceful_shutdown(async move { end.notified().await }).await
}

fn router(end: Arc<Notify>) -> Router {
    Router::new()
        .route("/", get(|| async { "Hello, world!\n" }))
        .route("/sum", post(sum))
        .route("/ticks", get(ticks))
        .route("/bytes", post(bytes))
        .route("/shutdown", post(shutdown))
        .with_state(end)
}

#[derive(Serialize)]
struct Sum {
    count: usize,
    sum: f64,
}

async fn sum(Json(numbers): Json<Vec<f64>>) -> Json<Sum> {
    Json(Sum { count: numbers.len(), sum: numbers.iter().sum() })
}

#[derive(Deserialize)]
struct Ticks {
    count: u32,
    ms: u64,
}

async fn ticks(Query(ticks): Query<Ticks>) -> Body {
    let lines = stream::iter(0..ticks.count).then(move |number| async move {
        tokio::time::sleep(Duration::from_millis(ticks.ms)).await;
        Ok::<_, Infallible>(format!("tick {number}\n"))
    });
    Body::from_stream(lines)
}

async fn bytes(body: Body) -> Result<String, StatusCode> {
    let mut pieces = body.into_data_stream();
    let mut count = 0_u64;
    while let Some(piece) = pieces.next().await {
        count += piece.map_err(|_| StatusCode::BAD_REQUEST)?.len() as u64;
    }
    Ok(format!("{count}\n"))
}

async fn shutdown(State(end): State<Arc<Notify>>) -> &'static str {
    end.notify_one();
    "ending\n"
}
