//! Sockets over the loopback interface.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::run;

const BOTH: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

async fn listen(ip: IpAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((ip, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn pair(ip: IpAddr) -> io::Result<(TcpStream, TcpStream)> {
    let (listener, address) = listen(ip).await?;
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    Ok((client?, server?.0))
}

pub fn echo() -> io::Result<()> {
    run(async {
        for ip in BOTH {
            let (mut client, server) = pair(ip).await?;
            let echoing = tokio::spawn(async move {
                let (mut reader, mut writer) = server.into_split();
                let count = tokio::io::copy(&mut reader, &mut writer).await?;
                writer.shutdown().await.map(|()| count)
            });
            let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 7) as u8).collect();
            let mut back = Vec::new();
            let (mut reader, mut writer) = client.split();
            let (written, read) = tokio::join!(
                async {
                    writer.write_all(&bytes).await?;
                    writer.shutdown().await
                },
                reader.read_to_end(&mut back)
            );
            written?;
            read?;
            assert!(back == bytes, "{} bytes came back", back.len());
            assert_eq!(echoing.await??, 1_000_000);
        }
        Ok(())
    })
}

pub fn many() -> io::Result<()> {
    run(async {
        let (listener, address) = listen(BOTH[0]).await?;
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    let (reader, mut writer) = stream.into_split();
                    let mut lines = BufReader::new(reader).lines();
                    while let Some(line) = lines.next_line().await? {
                        writer.write_all(format!("<{line}>\n").as_bytes()).await?;
                    }
                    io::Result::Ok(())
                });
            }
            #[expect(unreachable_code, reason = "it tells the type")]
            io::Result::Ok(())
        });
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..200 {
            clients.spawn(async move {
                let mut stream = BufReader::new(TcpStream::connect(address).await?);
                for round in 0..5 {
                    let text = format!("{number}.{round}");
                    stream.write_all(format!("{text}\n").as_bytes()).await?;
                    let mut line = String::new();
                    stream.read_line(&mut line).await?;
                    assert_eq!(line, format!("<{text}>\n"));
                }
                io::Result::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        server.abort();
        Ok(())
    })
}

pub fn errors() -> io::Result<()> {
    run(async {
        let (listener, address) = listen(BOTH[0]).await?;
        let error = TcpListener::bind(address).await.expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(listener);
        let error = TcpStream::connect(address).await.expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let (mut client, mut server) = pair(BOTH[1]).await?;
        server.set_zero_linger()?;
        drop(server);
        let error = client.read(&mut [0; 4]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        (client, server) = pair(BOTH[0]).await?;
        let late = timeout(Duration::from_millis(30), client.read(&mut [0; 4])).await;
        assert!(late.is_err());
        drop(server);
        assert_eq!(client.read(&mut [0; 4]).await?, 0);
        Ok(())
    })
}

pub fn readiness() -> io::Result<()> {
    run(async {
        let (client, server) = pair(BOTH[0]).await?;
        let error = client.try_read(&mut [0; 4]).expect_err("nothing to read");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        client.writable().await?;
        let mut sent = 0;
        let bytes = vec![1; 1 << 16];
        loop {
            match client.try_write(&bytes) {
                Ok(length) => sent += length,
                Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        let late = timeout(Duration::from_millis(30), client.writable()).await;
        assert!(late.is_err(), "there is no room");
        let mut left = sent;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            server.readable().await?;
            match server.try_read(&mut buffer) {
                Ok(length) => left -= length,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        client.writable().await?;
        assert_eq!(client.try_write(b"x")?, 1);
        let mut peeked = [0; 4];
        assert_eq!(server.peek(&mut peeked).await?, 1);
        assert_eq!(peeked[0], b'x');
        Ok(())
    })
}

pub fn options() -> io::Result<()> {
    run(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        assert!(socket.reuseaddr()?);
        socket.set_nodelay(true)?;
        socket.set_keepalive(true)?;
        assert!(socket.keepalive()?);
        socket.set_recv_buffer_size(10_000)?;
        assert!(socket.recv_buffer_size()? >= 10_000);
        socket.bind((BOTH[0], 0).into())?;
        let listener = socket.listen(10)?;
        let address = listener.local_addr()?;
        let stream = TcpSocket::new_v4()?.connect(address).await?;
        let (other, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        assert!(stream.nodelay()?);
        assert_eq!(stream.ttl()?, 64);
        assert!(stream.take_error()?.is_none());
        let plain = other.into_std()?;
        plain.set_nonblocking(false)?;
        drop(stream);
        assert_eq!(io::Read::read(&mut &plain, &mut [0; 4])?, 0);
        Ok(())
    })
}

pub fn datagrams() -> io::Result<()> {
    run(async {
        for ip in BOTH {
            let one = Arc::new(UdpSocket::bind((ip, 0)).await?);
            let two = UdpSocket::bind((ip, 0)).await?;
            let to = two.local_addr()?;
            let sender = one.clone();
            tokio::spawn(async move {
                for number in 0..50_u8 {
                    sender.send_to(&[number], to).await?;
                    tokio::task::yield_now().await;
                }
                io::Result::Ok(())
            });
            for number in 0..50_u8 {
                let mut buffer = [0; 8];
                let received = two.recv_from(&mut buffer).await?;
                assert_eq!(received, (1, one.local_addr()?));
                assert_eq!(buffer[0], number);
            }
            two.connect(one.local_addr()?).await?;
            two.send(b"back").await?;
            let mut buffer = [0; 8];
            assert_eq!(one.recv(&mut buffer).await?, 4);
        }
        Ok(())
    })
}

pub fn names() -> io::Result<()> {
    run(async {
        let found: Vec<_> = lookup_host("localhost:80").await?.collect();
        assert!(found.contains(&(BOTH[0], 80).into()), "{found:?}");
        assert!(lookup_host("a..b:80").await.is_err());
        let (listener, address) = listen(BOTH[0]).await?;
        TcpStream::connect(("localhost", address.port())).await?;
        listener.accept().await?;
        Ok(())
    })
}

/// A proxy in the middle: what is written to one side comes out at the other.
pub fn proxy() -> io::Result<()> {
    run(async {
        let (behind, target) = listen(BOTH[1]).await?;
        let (front, address) = listen(BOTH[0]).await?;
        let proxy = tokio::spawn(async move {
            let (mut client, _) = front.accept().await?;
            let mut server = TcpStream::connect(target).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
        let server = tokio::spawn(async move {
            let (mut stream, _) = behind.accept().await?;
            let mut question = String::new();
            stream.read_to_string(&mut question).await?;
            stream.write_all(question.to_uppercase().as_bytes()).await
        });
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"question").await?;
        client.shutdown().await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        assert_eq!(answer, "QUESTION");
        server.await??;
        assert_eq!(proxy.await??, (8, 8));
        Ok(())
    })
}
