//! Connections as they should be.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::thread;

use crate::{BOTH, join, listen, pair};

pub fn any_port() -> io::Result<()> {
    for ip in BOTH {
        let ((one, a), (two, b)) = (listen(ip)?, listen(ip)?);
        assert!(a.port() >= 1024 && b.port() >= 1024 && a != b, "{a} {b}");
        assert_eq!((a.ip(), b.ip()), (ip, ip));
        drop((one, two));
    }
    Ok(())
}

pub fn echo() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        let server = thread::spawn(move || -> io::Result<u64> {
            let (mut stream, _) = listener.accept()?;
            let mut back = stream.try_clone()?;
            io::copy(&mut stream, &mut back)
        });
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"there and back")?;
        let mut answer = [0; 14];
        stream.read_exact(&mut answer)?;
        assert_eq!(&answer, b"there and back");
        stream.shutdown(Shutdown::Write)?;
        assert_eq!(stream.read(&mut answer)?, 0);
        assert_eq!(join(server)?, 14);
    }
    Ok(())
}

pub fn addresses() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        let client = TcpStream::connect(address)?;
        let (server, from) = listener.accept()?;
        assert_eq!(client.peer_addr()?, address);
        assert_eq!(server.local_addr()?, address);
        assert_eq!(client.local_addr()?, from);
        assert_eq!(server.peer_addr()?, from);
        assert_eq!(from.ip(), ip);
        assert_ne!(from.port(), 0);
    }
    Ok(())
}

pub fn loopback_network() -> io::Result<()> {
    let ip = IpAddr::from([127, 1, 2, 3]);
    let (listener, address) = listen(ip)?;
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    assert_eq!(server.local_addr()?.ip(), ip);
    assert!(client.local_addr()?.ip().is_loopback());
    Ok(())
}

pub fn unspecified() -> io::Result<()> {
    for (any, own) in
        [(IpAddr::V4(Ipv4Addr::UNSPECIFIED), BOTH[0]), (IpAddr::V6(Ipv6Addr::UNSPECIFIED), BOTH[1])]
    {
        let (listener, address) = listen(any)?;
        assert_eq!(address.ip(), any);
        let client = TcpStream::connect((any, address.port()))?;
        let (server, from) = listener.accept()?;
        assert_eq!(client.peer_addr()?.ip(), own);
        assert_eq!((server.local_addr()?.ip(), from.ip()), (own, own));
        let client = TcpStream::connect((own, address.port()))?;
        assert_eq!(listener.accept()?.1, client.local_addr()?);
    }
    Ok(())
}

pub fn both_families() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    for ip in BOTH {
        let mut client = TcpStream::connect((ip, port))?;
        let (mut server, from) = listener.accept()?;
        let expected = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        assert_eq!(from.ip(), expected);
        assert_eq!(from.port(), client.local_addr()?.port());
        assert_eq!(server.local_addr()?.ip(), expected);
        server.write_all(b"x")?;
        assert_eq!(client.read(&mut [0; 4])?, 1);
    }
    Ok(())
}

pub fn half_close() -> io::Result<()> {
    for ip in BOTH {
        let (mut client, mut server) = pair(ip)?;
        client.write_all(b"question")?;
        client.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        server.read_to_string(&mut text)?;
        assert_eq!(text, "question");
        crate::fails(client.write(b"more"), io::ErrorKind::BrokenPipe);
        server.write_all(b"answer")?;
        drop(server);
        text.clear();
        client.read_to_string(&mut text)?;
        assert_eq!(text, "answer");
    }
    Ok(())
}

pub fn shut_read() -> io::Result<()> {
    let (mut client, mut server) = pair(BOTH[0])?;
    server.shutdown(Shutdown::Read)?;
    assert_eq!(server.read(&mut [0; 4])?, 0);
    // The other direction is as it was.
    server.write_all(b"x")?;
    assert_eq!(client.read(&mut [0; 4])?, 1);
    Ok(())
}

pub fn peek() -> io::Result<()> {
    for ip in BOTH {
        let (mut client, mut server) = pair(ip)?;
        client.write_all(b"some bytes")?;
        client.shutdown(Shutdown::Write)?;
        let mut buffer = [0; 16];
        assert_eq!(server.peek(&mut buffer[..4])?, 4);
        assert_eq!(&buffer[..4], b"some");
        assert_eq!(server.peek(&mut buffer)?, 10);
        server.read_exact(&mut buffer[..10])?;
        assert_eq!(&buffer[..10], b"some bytes");
        assert_eq!(server.peek(&mut buffer)?, 0);
        assert_eq!(server.read(&mut buffer)?, 0);
    }
    Ok(())
}

pub fn vectored() -> io::Result<()> {
    let (mut client, mut server) = pair(BOTH[1])?;
    let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"three")];
    assert_eq!(client.write_vectored(&parts)?, 8);
    client.shutdown(Shutdown::Write)?;
    let (mut first, mut second) = ([0; 2], [0; 8]);
    let mut places = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(server.read_vectored(&mut places)?, 8);
    assert_eq!((&first, &second[..6]), (b"on", &b"ethree"[..]));
    assert_eq!(server.read_vectored(&mut [IoSliceMut::new(&mut second)])?, 0);
    Ok(())
}

pub fn copies() -> io::Result<()> {
    let (mut client, server) = pair(BOTH[0])?;
    let mut copy = server.try_clone()?;
    drop(server);
    client.write_all(b"x")?;
    assert_eq!(copy.read(&mut [0; 4])?, 1);
    // What one copy shuts is shut for all.
    let other = copy.try_clone()?;
    other.shutdown(Shutdown::Write)?;
    assert_eq!(client.read(&mut [0; 4])?, 0);
    drop((copy, other));
    let (listener, address) = listen(BOTH[0])?;
    let second = listener.try_clone()?;
    drop(listener);
    let _client = TcpStream::connect(address)?;
    second.accept()?;
    Ok(())
}

pub fn descriptors() -> io::Result<()> {
    let (mut client, server) = pair(BOTH[0])?;
    let number = server.as_raw_fd();
    assert!(number > 2);
    let owned = OwnedFd::from(server);
    assert_eq!(owned.as_raw_fd(), number);
    let copy = owned.as_fd().try_clone_to_owned()?;
    assert_ne!(copy.as_raw_fd(), number);
    let mut server = TcpStream::from(owned);
    server.write_all(b"x")?;
    assert_eq!(client.read(&mut [0; 4])?, 1);
    let raw = server.into_raw_fd();
    // SAFETY: the descriptor is open, and nobody else's.
    let mut server = unsafe { TcpStream::from_raw_fd(raw) };
    // A file reads from sockets, too.
    let mut file = std::fs::File::from(copy);
    client.write_all(b"ab")?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    assert_eq!(&byte, b"a");
    server.read_exact(&mut byte)?;
    assert_eq!(&byte, b"b");
    file.write_all(b"c")?;
    client.read_exact(&mut byte)?;
    assert_eq!(&byte, b"c");
    Ok(())
}

pub fn again() -> io::Result<()> {
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        let mut client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        // This side closes first, so it is the one that remembers the connection.
        drop((server, listener));
        assert_eq!(client.read(&mut [0; 4])?, 0);
        drop(client);
        let listener = TcpListener::bind(address)?;
        let _client = TcpStream::connect(address)?;
        listener.accept()?;
    }
    Ok(())
}

pub fn same_thread() -> io::Result<()> {
    let (listener, address) = listen(BOTH[0])?;
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"early")?;
    let (mut server, _) = listener.accept()?;
    let mut text = [0; 5];
    server.read_exact(&mut text)?;
    assert_eq!(&text, b"early");
    Ok(())
}

pub fn incoming() -> io::Result<()> {
    let (listener, address) = listen(BOTH[1])?;
    let clients = thread::spawn(move || {
        (0..5).try_for_each(|number: u8| TcpStream::connect(address)?.write_all(&[number]))
    });
    let mut seen = Vec::new();
    for stream in listener.incoming().take(5) {
        stream?.read_to_end(&mut seen)?;
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    join(clients)
}

pub fn debug() -> io::Result<()> {
    let (client, server) = pair(BOTH[0])?;
    let (own, peer) = (client.local_addr()?, client.peer_addr()?);
    let number = client.as_raw_fd();
    let expected = format!("TcpStream {{ addr: {own}, peer: {peer}, fd: {number} }}");
    assert_eq!(format!("{client:?}"), expected);
    drop(server);
    Ok(())
}
