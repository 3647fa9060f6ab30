//! hyper without a framework: both sides of a connection.

use std::convert::Infallible;
use std::io;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::runtime;

/// The path, and the body backwards.
async fn serve(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut reply = request.uri().path().as_bytes().to_vec();
    if let Ok(body) = request.into_body().collect().await {
        reply.extend(body.to_bytes().iter().rev());
    }
    Ok(Response::new(Full::new(reply.into())))
}

fn question(path: &str, body: &str) -> io::Result<Request<Full<Bytes>>> {
    Request::post(path)
        .header("host", "here")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .map_err(io::Error::other)
}

async fn text(reply: Response<Incoming>) -> io::Result<String> {
    let body = reply.into_body().collect().await.map_err(io::Error::other)?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    Ok((client, listener.accept().await?.0))
}

pub fn http1() -> io::Result<()> {
    runtime()?.block_on(async {
        let (client, server) = pair().await?;
        let serving = tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(server), service_fn(serve)),
        );
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
            .await
            .map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        for number in 0..20 {
            let path = format!("/{number}");
            // The last reply can be here before the connection's task is ready for another request.
            sender.ready().await.map_err(io::Error::other)?;
            let reply = sender.send_request(question(&path, "abc")?).await;
            let reply = reply.map_err(io::Error::other)?;
            assert_eq!(reply.version(), Version::HTTP_11);
            assert_eq!(text(reply).await?, path + "cba");
        }
        drop(sender);
        connection.await?.map_err(io::Error::other)?;
        serving.await?.map_err(io::Error::other)
    })
}

pub fn http2() -> io::Result<()> {
    runtime()?.block_on(async {
        let (client, server) = pair().await?;
        let serving = tokio::spawn(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(server), service_fn(serve)),
        );
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
                .await
                .map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..50 {
            let mut sender = sender.clone();
            asking.spawn(async move {
                let path = format!("/{number}");
                let body = "ab".repeat(5_000);
                let reply = sender.send_request(question(&path, &body)?).await;
                let reply = reply.map_err(io::Error::other)?;
                assert_eq!(reply.version(), Version::HTTP_2);
                assert_eq!(text(reply).await?, path + &"ba".repeat(5_000));
                io::Result::Ok(())
            });
        }
        for asked in asking.join_all().await {
            asked?;
        }
        drop(sender);
        connection.await?.map_err(io::Error::other)?;
        serving.await?.map_err(io::Error::other)
    })
}

/// What is not HTTP is refused, and the connection ends.
pub fn nonsense() -> io::Result<()> {
    runtime()?.block_on(async {
        let (mut client, server) = pair().await?;
        let serving = tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(server), service_fn(serve)),
        );
        client.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await?;
        let mut reply = String::new();
        client.read_to_string(&mut reply).await?;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
        assert!(serving.await?.is_err_and(|error| error.is_parse()));
        Ok(())
    })
}
