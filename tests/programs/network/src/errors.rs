//! What goes wrong with connections, with the kind and the text that Linux has.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::{BOTH, fails, listen, pair};

pub fn in_use() -> io::Result<()> {
    for ip in BOTH {
        let (_listener, address) = listen(ip)?;
        let error = fails(TcpListener::bind(address), ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), "Address already in use (os error 98)");
        // Streams and datagrams have ports of their own.
        let socket = UdpSocket::bind(address)?;
        fails(UdpSocket::bind(address), ErrorKind::AddrInUse);
        drop(socket);
        UdpSocket::bind(address)?;
    }
    // One for all addresses is in the way of one for a single address.
    let (_listener, address) = listen(Ipv4Addr::UNSPECIFIED.into())?;
    fails(TcpListener::bind((BOTH[0], address.port())), ErrorKind::AddrInUse);
    let (_listener, address) = listen(Ipv6Addr::UNSPECIFIED.into())?;
    fails(TcpListener::bind((BOTH[0], address.port())), ErrorKind::AddrInUse);
    Ok(())
}

pub fn foreign() -> io::Result<()> {
    let foreign = (Ipv4Addr::new(192, 0, 2, 77), 0);
    let error = fails(TcpListener::bind(foreign), ErrorKind::AddrNotAvailable);
    assert_eq!(error.to_string(), "Cannot assign requested address (os error 99)");
    fails(UdpSocket::bind(foreign), ErrorKind::AddrNotAvailable);
    let foreign = ("2001:db8::77".parse::<Ipv6Addr>().unwrap(), 0);
    fails(TcpListener::bind(foreign), ErrorKind::AddrNotAvailable);
    Ok(())
}

pub fn refused() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        drop(listener);
        let error = fails(TcpStream::connect(address), ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), "Connection refused (os error 111)");
        let second = Duration::from_secs(1);
        let error =
            fails(TcpStream::connect_timeout(&address, second), ErrorKind::ConnectionRefused);
        assert_eq!(error.raw_os_error(), Some(111));
        // A port that is only bound for datagrams listens to nobody, either.
        let socket = UdpSocket::bind(address)?;
        fails(TcpStream::connect(address), ErrorKind::ConnectionRefused);
        drop(socket);
    }
    Ok(())
}

pub fn reset() -> io::Result<()> {
    for ip in BOTH {
        let (mut client, server) = pair(ip)?;
        client.write_all(b"nobody reads this")?;
        // Until it is there.
        server.peek(&mut [0])?;
        drop(server);
        let error = fails(client.read(&mut [0; 8]), ErrorKind::ConnectionReset);
        assert_eq!(error.to_string(), "Connection reset by peer (os error 104)");
        // The error is told once; then there is nothing.
        assert_eq!(client.read(&mut [0; 8])?, 0);
        fails(client.write(b"x"), ErrorKind::BrokenPipe);
    }
    Ok(())
}

pub fn broken_pipe() -> io::Result<()> {
    for ip in BOTH {
        let (mut client, server) = pair(ip)?;
        drop(server);
        // The first may go out; its answer is a reset.
        let error = loop {
            match client.write_all(b"x") {
                Ok(()) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => break error,
            }
        };
        let kind = error.kind();
        let expected = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(expected.contains(&kind), "{error}");
        fails(client.write(b"x"), ErrorKind::BrokenPipe);
    }
    Ok(())
}

pub fn listener_gone() -> io::Result<()> {
    let (listener, address) = listen(BOTH[0])?;
    let mut waiting = TcpStream::connect(address)?;
    drop(listener);
    fails(waiting.read(&mut [0; 8]), ErrorKind::ConnectionReset);
    fails(TcpStream::connect(address), ErrorKind::ConnectionRefused);
    Ok(())
}

pub fn not_connected() -> io::Result<()> {
    let socket = UdpSocket::bind((BOTH[0], 0))?;
    let error = fails(socket.peer_addr(), ErrorKind::NotConnected);
    assert_eq!(error.to_string(), "Transport endpoint is not connected (os error 107)");
    let (mut client, server) = pair(BOTH[0])?;
    client.write_all(b"nobody reads this")?;
    server.peek(&mut [0])?;
    drop(server);
    fails(client.read(&mut [0; 8]), ErrorKind::ConnectionReset);
    fails(client.peer_addr(), ErrorKind::NotConnected);
    fails(client.shutdown(Shutdown::Both), ErrorKind::NotConnected);
    Ok(())
}

pub fn not_a_socket() -> io::Result<()> {
    let (reader, _writer) = io::pipe()?;
    let stream = TcpStream::from(OwnedFd::from(reader));
    for result in [
        stream.peek(&mut [0]).map(drop),
        stream.local_addr().map(drop),
        stream.shutdown(Shutdown::Both),
        stream.set_nodelay(true),
    ] {
        let error = result.expect_err("a pipe is no socket");
        assert_eq!(error.to_string(), "Socket operation on non-socket (os error 88)");
    }
    // A listener is a socket, but no stream.
    let (listener, _) = listen(BOTH[0])?;
    let stream = TcpStream::from(listener.as_fd().try_clone_to_owned()?);
    fails(stream.peek(&mut [0]), ErrorKind::NotConnected);
    let socket = UdpSocket::bind((BOTH[0], 0))?;
    let listener = TcpListener::from(OwnedFd::from(socket));
    let error = listener.accept().expect_err("datagrams connect nobody");
    assert_eq!(error.to_string(), "Operation not supported (os error 95)");
    Ok(())
}
