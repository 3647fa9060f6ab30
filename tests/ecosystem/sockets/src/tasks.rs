//! smol and async-io: sockets whose tasks wait.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use async_io::{Async, Timer};
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use crate::BOTH;

pub fn echo() -> io::Result<()> {
    smol::block_on(async {
        for ip in BOTH {
            let listener = Async::<TcpListener>::bind((ip, 0))?;
            let address = listener.get_ref().local_addr()?;
            let server = smol::spawn(async move {
                let (stream, _) = listener.accept().await?;
                smol::io::copy(&stream, &stream).await
            });
            let mut stream = Async::<TcpStream>::connect(address).await?;
            let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i / 3) as u8).collect();
            let mut reader =
                smol::net::TcpStream::from(stream.get_ref().try_clone().and_then(Async::new)?);
            let expected = bytes.clone();
            let reading = smol::spawn(async move {
                let mut back = vec![0; expected.len()];
                reader.read_exact(&mut back).await?;
                io::Result::Ok(back == expected)
            });
            stream.write_all(&bytes).await?;
            assert!(reading.await?, "other bytes came back");
            stream.get_ref().shutdown(std::net::Shutdown::Write)?;
            assert_eq!(server.await?, 200_000);
        }
        Ok(())
    })
}

pub fn many() -> io::Result<()> {
    smol::block_on(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = smol::spawn(async move {
            for _ in 0..100 {
                let (mut stream, _) = listener.accept().await?;
                smol::spawn(async move {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await?;
                    Timer::after(Duration::from_millis(5)).await;
                    stream.write_all(&[byte[0] + 1]).await
                })
                .detach();
            }
            io::Result::Ok(())
        });
        let mut clients = Vec::new();
        for number in 0..100 {
            clients.push(smol::spawn(async move {
                let mut stream = smol::net::TcpStream::connect(address).await?;
                stream.write_all(&[number]).await?;
                let mut byte = [0];
                stream.read_exact(&mut byte).await?;
                assert_eq!(byte[0], number + 1);
                io::Result::Ok(())
            }));
        }
        for client in clients {
            client.await?;
        }
        server.await
    })
}

pub fn datagrams() -> io::Result<()> {
    smol::block_on(async {
        let one = Async::<UdpSocket>::bind(([127, 0, 0, 1], 0))?;
        let two = Async::<UdpSocket>::bind(([127, 0, 0, 1], 0))?;
        let to = two.get_ref().local_addr()?;
        let receiving = smol::spawn(async move {
            let mut buffer = [0; 16];
            let (length, from) = two.recv_from(&mut buffer).await?;
            io::Result::Ok((buffer[..length].to_vec(), from))
        });
        Timer::after(Duration::from_millis(20)).await;
        one.send_to(b"datagram", to).await?;
        let (bytes, from) = receiving.await?;
        assert_eq!(bytes, b"datagram");
        assert_eq!(from, one.get_ref().local_addr()?);
        Ok(())
    })
}

pub fn timeout() -> io::Result<()> {
    smol::block_on(async {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
        let accepting = async { listener.accept().await.map(drop) };
        let over = async {
            Timer::after(Duration::from_millis(30)).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let error = accepting.or(over).await.expect_err("nobody connects");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let address = listener.get_ref().local_addr()?;
        drop(listener);
        let error = Async::<TcpStream>::connect(address).await.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    })
}

pub fn names() -> io::Result<()> {
    smol::block_on(async {
        let found = smol::net::resolve("localhost:80").await?;
        assert!(found.iter().any(|address| address.ip() == BOTH[0]), "{found:?}");
        assert!(smol::net::resolve("a..b:80").await.is_err());
        Ok(())
    })
}
