//! Waiting, not waiting, and waiting for a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::{BOTH, fails, join, listen, pair};

const SHORT: Duration = Duration::from_millis(50);
/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(20);

pub fn nonblocking() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        listener.set_nonblocking(true)?;
        let error = fails(listener.accept(), ErrorKind::WouldBlock);
        assert_eq!(error.to_string(), "Resource temporarily unavailable (os error 11)");
        let mut client = TcpStream::connect(address)?;
        listener.set_nonblocking(false)?;
        let (mut server, _) = listener.accept()?;
        server.set_nonblocking(true)?;
        let mut buffer = vec![0; 1 << 16];
        fails(server.read(&mut buffer), ErrorKind::WouldBlock);
        fails(server.peek(&mut buffer), ErrorKind::WouldBlock);
        let mut sent = 0;
        let error = loop {
            match server.write(&buffer) {
                Ok(length) => sent += length,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(sent >= 1 << 12, "{sent} bytes of room");
        // The other side still waits.
        drop(server);
        let mut received = 0;
        loop {
            match client.read(&mut buffer)? {
                0 => break,
                length => received += length,
            }
        }
        assert_eq!(received, sent);
    }
    Ok(())
}

pub fn read_timeout() -> io::Result<()> {
    for ip in BOTH {
        let (mut client, mut server) = pair(ip)?;
        server.set_read_timeout(Some(SHORT))?;
        let start = Instant::now();
        fails(server.read(&mut [0; 4]), ErrorKind::WouldBlock);
        let took = start.elapsed();
        assert!(took >= SHORT && took < LONG, "{took:?}");
        fails(server.peek(&mut [0; 4]), ErrorKind::WouldBlock);
        client.write_all(b"x")?;
        assert_eq!(server.read(&mut [0; 4])?, 1);
        server.set_read_timeout(None)?;
        let late = thread::spawn(move || {
            thread::sleep(SHORT);
            client.write_all(b"late").map(|()| client)
        });
        let mut text = [0; 4];
        server.read_exact(&mut text)?;
        assert_eq!(&text, b"late");
        join(late)?;
    }
    Ok(())
}

pub fn write_timeout() -> io::Result<()> {
    let (client, mut server) = pair(BOTH[0])?;
    server.set_write_timeout(Some(SHORT))?;
    let buffer = vec![0; 1 << 18];
    let start = Instant::now();
    let error = loop {
        if let Err(error) = server.write(&buffer) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= SHORT);
    drop(client);
    Ok(())
}

pub fn connect_timeout() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        let mut client = TcpStream::connect_timeout(&address, LONG)?;
        let (mut server, _) = listener.accept()?;
        // It waits again afterwards.
        let late = thread::spawn(move || {
            thread::sleep(SHORT);
            server.write_all(b"late")
        });
        assert_eq!(client.read(&mut [0; 8])?, 4);
        join(late)?;
        fails(TcpStream::connect_timeout(&address, Duration::ZERO), ErrorKind::InvalidInput);
    }
    Ok(())
}

pub fn accept() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        let start = Instant::now();
        let accepting = thread::spawn(move || listener.accept());
        thread::sleep(SHORT);
        let client = TcpStream::connect(address)?;
        let (_, from) = join(accepting)?;
        assert!(start.elapsed() >= SHORT);
        assert_eq!(from, client.local_addr()?);
    }
    Ok(())
}

pub fn woken() -> io::Result<()> {
    for ip in BOTH {
        let (client, server) = pair(ip)?;
        // By the other side.
        let mut reader = server.try_clone()?;
        let reading = thread::spawn(move || reader.read(&mut [0; 4]));
        thread::sleep(SHORT);
        client.shutdown(Shutdown::Write)?;
        assert_eq!(join(reading)?, 0);
        // By this side.
        let mut reader = client.try_clone()?;
        let reading = thread::spawn(move || reader.read(&mut [0; 4]));
        thread::sleep(SHORT);
        client.shutdown(Shutdown::Both)?;
        assert_eq!(join(reading)?, 0);
        // A writer that waits for room, by a reset.
        let (client, server) = pair(ip)?;
        let mut writer = server.try_clone()?;
        let writing = thread::spawn(move || writer.write_all(&vec![0; 64 << 20]));
        client.peek(&mut [0])?;
        thread::sleep(SHORT);
        drop(client);
        let kind = join(writing).expect_err("nobody reads").kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
        drop(server);
    }
    Ok(())
}

pub fn backlog() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        let mut clients = Vec::new();
        for number in 0..100_u8 {
            let mut client = TcpStream::connect(address)?;
            client.write_all(&[number])?;
            clients.push(client);
        }
        // In the order in which they came, with what was sent meanwhile.
        for (number, client) in clients.iter().enumerate() {
            let (mut server, from) = listener.accept()?;
            assert_eq!(from, client.local_addr()?);
            let mut byte = [0];
            server.read_exact(&mut byte)?;
            assert_eq!(usize::from(byte[0]), number);
        }
    }
    Ok(())
}

/// std asks for a queue of 128; what comes beyond waits, and does not get in.
pub fn backlog_full() -> io::Result<()> {
    let (listener, address) = listen(BOTH[0])?;
    let attempt = |address: &SocketAddr| TcpStream::connect_timeout(address, SHORT * 4);
    let mut clients = Vec::new();
    let error = loop {
        match attempt(&address) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() < 1000, "the queue has no end");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!((128..=130).contains(&clients.len()), "{}", clients.len());
    // Each one that is taken makes room for another.
    listener.accept()?;
    listener.accept()?;
    let late = TcpStream::connect_timeout(&address, LONG)?;
    let late = late.local_addr()?;
    listener.set_nonblocking(true)?;
    let mut found = false;
    while let Ok((_, from)) = listener.accept() {
        found |= from == late;
    }
    assert!(found, "the one that came late");
    Ok(())
}
