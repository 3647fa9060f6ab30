//! axum over the loopback interface.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{router, runtime};

struct Service {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Service {
    async fn start(router: Router) -> io::Result<Service> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(async { _ = stopped.await }).await
        });
        Ok(Service { address, stop, task })
    }

    async fn end(self) -> io::Result<()> {
        _ = self.stop.send(());
        self.task.await?
    }
}

/// Runs a future with a limit of time.
fn run(future: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    runtime()?.block_on(async {
        match tokio::time::timeout(Duration::from_secs(60), future).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}

/// A connection of a client that writes HTTP by hand.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> io::Result<Client> {
        Ok(Client(BufReader::new(TcpStream::connect(address).await?)))
    }

    async fn ask(&mut self, path: &str) -> io::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
        self.0.write_all(request.as_bytes()).await?;
        let (status, length) = self.head().await?;
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The status and the length of the body, if it is told before.
    async fn head(&mut self) -> io::Result<(u16, Option<usize>)> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut length = None;
        loop {
            line.clear();
            self.0.read_line(&mut line).await?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().ok();
            }
        }
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, length))
    }
}

pub fn keep_alive() -> io::Result<()> {
    run(async {
        let service = Service::start(router()).await?;
        let mut client = Client::connect(service.address).await?;
        for number in 0..50 {
            let reply = client.ask(&format!("/double/{number}")).await?;
            assert_eq!(reply, (200, (number * 2).to_string()));
        }
        assert_eq!(client.ask("/nothing").await?.0, 404);
        assert_eq!(client.ask("/").await?, (200, "hello".to_owned()));
        drop(client);
        service.end().await
    })
}

pub fn many() -> io::Result<()> {
    run(async {
        let service = Service::start(router()).await?;
        let address = service.address;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..50 {
            clients.spawn(async move {
                let mut client = Client::connect(address).await?;
                let mut seen = Vec::new();
                for _ in 0..4 {
                    seen.push(client.ask("/visits").await?.1);
                }
                io::Result::Ok(seen)
            });
        }
        let mut seen = Vec::new();
        for client in clients.join_all().await {
            for text in client? {
                seen.push(text.parse::<u64>().map_err(io::Error::other)?);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        service.end().await
    })
}

/// A body whose parts come one after the other.
pub fn stream() -> io::Result<()> {
    run(async {
        let parts = || async {
            let parts = futures_util::stream::unfold(0, |number| async move {
                if number == 5 {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((Ok::<_, Infallible>(format!("part {number}\n")), number + 1))
            });
            Body::from_stream(parts)
        };
        let service = Service::start(Router::new().route("/", get(parts))).await?;
        let mut client = Client::connect(service.address).await?;
        let request = "GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        client.0.write_all(request.as_bytes()).await?;
        assert_eq!(client.head().await?, (200, None));
        let mut body = String::new();
        client.0.read_to_string(&mut body).await?;
        let chunk = |number| format!("7\r\npart {number}\n\r\n");
        let expected: String = (0..5).map(chunk).collect();
        assert_eq!(body, expected + "0\r\n\r\n");
        service.end().await
    })
}

pub fn large() -> io::Result<()> {
    run(async {
        let echo = post(|body: Bytes| async move { body }).layer(DefaultBodyLimit::disable());
        let service = Service::start(Router::new().route("/", echo)).await?;
        let client = Client::connect(service.address).await?;
        let body: Vec<u8> = (0..2_000_000_u32).map(|i| (i / 5) as u8).collect();
        let (mut reader, mut writer) = tokio::io::split(client.0);
        let sent = body.clone();
        let sending = tokio::spawn(async move {
            let head =
                format!("POST / HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n\r\n", sent.len());
            writer.write_all(head.as_bytes()).await?;
            writer.write_all(&sent).await?;
            writer.flush().await.map(|()| writer)
        });
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            let mut byte = [0];
            while byte[0] != b'\n' {
                reader.read_exact(&mut byte).await?;
                line.push(char::from(byte[0]));
            }
        }
        let mut back = vec![0; body.len()];
        reader.read_exact(&mut back).await?;
        assert!(back == body, "another body came back");
        drop((sending.await??, reader));
        service.end().await
    })
}

/// A request that is being served is served to the end; then nobody listens.
pub fn graceful() -> io::Result<()> {
    run(async {
        let slow = get(|| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            "done"
        });
        let service = Service::start(Router::new().route("/", slow)).await?;
        let address = service.address;
        let mut client = Client::connect(address).await?;
        let asking = tokio::spawn(async move { client.ask("/").await });
        tokio::time::sleep(Duration::from_millis(30)).await;
        service.end().await?;
        assert_eq!(asking.await??, (200, "done".to_owned()));
        let error = TcpStream::connect(address).await.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    })
}
