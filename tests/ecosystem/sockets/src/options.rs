//! socket2: sockets step by step, and their options.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::BOTH;

fn domain(ip: std::net::IpAddr) -> Domain {
    Domain::for_address((ip, 0).into())
}

fn address(socket: &Socket) -> io::Result<SocketAddr> {
    Ok(socket.local_addr()?.as_socket().expect("an IP address"))
}

pub fn streams() -> io::Result<()> {
    for ip in BOTH {
        let listener = Socket::new(domain(ip), Type::STREAM, Some(Protocol::TCP))?;
        assert_eq!(listener.r#type()?, Type::STREAM);
        listener.set_reuse_address(true)?;
        assert!(listener.reuse_address()?);
        listener.bind(&SocketAddr::from((ip, 0)).into())?;
        listener.listen(5)?;
        let client = Socket::new(domain(ip), Type::STREAM, None)?;
        let fresh = client.local_addr()?.as_socket().expect("an IP address");
        assert!(fresh.ip().is_unspecified() && fresh.port() == 0);
        client.connect(&listener.local_addr()?)?;
        let (server, from) = listener.accept()?;
        assert_eq!(from.as_socket(), Some(address(&client)?));
        assert_eq!(client.send(b"abc")?, 3);
        let mut buffer = [MaybeUninit::uninit(); 8];
        assert_eq!(server.peek(&mut buffer)?, 3);
        assert_eq!(server.recv(&mut buffer)?, 3);
        assert!(server.recv_out_of_band(&mut buffer).is_err());
        client.set_nonblocking(true)?;
        assert!(client.nonblocking()?);
        assert_eq!(client.recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        let copy = server.try_clone()?;
        copy.shutdown(std::net::Shutdown::Both)?;
        // A second connection on the same socket there is not.
        let error = client.connect(&listener.local_addr()?).unwrap_err();
        assert_eq!(error.to_string(), "Transport endpoint is already connected (os error 106)");
    }
    Ok(())
}

pub fn older() -> io::Result<()> {
    use socket2_05::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((BOTH[1], 0)).into())?;
    listener.listen(5)?;
    let client = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    client.connect(&listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    assert!(client.nodelay()?);
    let (mut client, mut server) = (TcpStream::from(client), TcpStream::from(server));
    client.write_all(b"x")?;
    assert_eq!(server.read(&mut [0; 4])?, 1);
    Ok(())
}

pub fn linger() -> io::Result<()> {
    let (client, mut server) = crate::pair(BOTH[0])?;
    let socket = SockRef::from(&client);
    assert_eq!(socket.linger()?, None);
    socket.set_linger(Some(Duration::from_secs(3)))?;
    assert_eq!(socket.linger()?, Some(Duration::from_secs(3)));
    // No time at all: the connection is reset.
    socket.set_linger(Some(Duration::ZERO))?;
    assert_eq!(socket.linger()?, Some(Duration::ZERO));
    drop(client);
    let error = server.read(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // Some time: what was written arrives.
    let (mut client, mut server) = crate::pair(BOTH[0])?;
    SockRef::from(&client).set_linger(Some(Duration::from_secs(20)))?;
    client.write_all(&[7; 10_000])?;
    drop(client);
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes)?;
    assert_eq!(bytes, [7; 10_000]);
    Ok(())
}

pub fn keepalive() -> io::Result<()> {
    let (client, _server) = crate::pair(BOTH[0])?;
    let socket = SockRef::from(&client);
    assert!(!socket.keepalive()?);
    socket.set_keepalive(true)?;
    assert!(socket.keepalive()?);
    let times = TcpKeepalive::new().with_time(Duration::from_secs(30));
    socket.set_tcp_keepalive(&times)?;
    assert_eq!(socket.tcp_keepalive_time()?, Duration::from_secs(30));
    Ok(())
}

pub fn buffers() -> io::Result<()> {
    let (client, _server) = crate::pair(BOTH[0])?;
    let socket = SockRef::from(&client);
    assert!(socket.recv_buffer_size()? >= 4096);
    assert!(socket.send_buffer_size()? >= 4096);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(10_000)?;
    assert!(socket.recv_buffer_size()? >= 10_000);
    socket.set_send_buffer_size(10_000)?;
    assert!(socket.send_buffer_size()? >= 10_000);
    Ok(())
}

pub fn only_v6() -> io::Result<()> {
    let alone = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    alone.set_only_v6(true)?;
    assert!(alone.only_v6()?);
    alone.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    alone.listen(5)?;
    let port = address(&alone)?.port();
    let error = TcpStream::connect((BOTH[0], port)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    // IPv4 may have the same port.
    let other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    TcpStream::connect((BOTH[0], port))?;
    other.accept()?;
    TcpStream::connect((BOTH[1], port))?;
    alone.accept()?;
    Ok(())
}

pub fn backlog() -> io::Result<()> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((BOTH[0], 0)).into())?;
    listener.listen(1)?;
    let address = address(&listener)?;
    let mut clients = Vec::new();
    let error = loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!((1..=3).contains(&clients.len()), "{}", clients.len());
    Ok(())
}

pub fn datagrams() -> io::Result<()> {
    for ip in BOTH {
        let one = Socket::new(domain(ip), Type::DGRAM, Some(Protocol::UDP))?;
        assert_eq!(one.r#type()?, Type::DGRAM);
        let two = UdpSocket::bind((ip, 0))?;
        // Not bound, and yet it sends: it then has a port.
        one.send_to(b"abc", &two.local_addr()?.into())?;
        let (length, from) = two.recv_from(&mut [0; 8])?;
        assert_eq!((length, from.port()), (3, address(&one)?.port()));
        two.send_to(b"defg", from)?;
        let mut buffer = [MaybeUninit::uninit(); 8];
        let (length, from) = one.recv_from(&mut buffer)?;
        assert_eq!((length, from.as_socket()), (4, Some(two.local_addr()?)));
        if ip.is_ipv4() {
            one.set_multicast_ttl_v4(5)?;
            assert_eq!(one.multicast_ttl_v4()?, 5);
            one.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
            assert_eq!(one.multicast_if_v4()?, Ipv4Addr::LOCALHOST);
        } else {
            one.set_unicast_hops_v6(9)?;
            assert_eq!(one.unicast_hops_v6()?, 9);
            one.set_multicast_hops_v6(6)?;
            assert_eq!(one.multicast_hops_v6()?, 6);
            one.set_multicast_if_v6(1)?;
            assert_eq!(one.multicast_if_v6()?, 1);
        }
    }
    Ok(())
}

pub fn connect() -> io::Result<()> {
    let (listener, address) = crate::listen(BOTH[1])?;
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    let long = Duration::from_secs(20);
    socket.connect_timeout(&address.into(), long)?;
    drop(listener);
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    let start = Instant::now();
    let error = socket.connect_timeout(&address.into(), long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(start.elapsed() < long);
    Ok(())
}

/// Sockets that share a port get a share of the connections and datagrams each.
pub fn shared_port() -> io::Result<()> {
    const MANY: usize = 60;
    let open = |kind, at: SocketAddr| -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, kind, None)?;
        socket.set_reuse_port(true)?;
        assert!(socket.reuse_port()?);
        socket.bind(&at.into())?;
        Ok(socket)
    };
    let one = open(Type::STREAM, (BOTH[0], 0).into())?;
    let at = address(&one)?;
    let two = open(Type::STREAM, at)?;
    // Who does not say so does not get it.
    let error = TcpListener::bind(at).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    for listener in [&one, &two] {
        listener.listen(MANY as i32)?;
        listener.set_nonblocking(true)?;
    }
    let clients = (0..MANY).map(|_| TcpStream::connect(at));
    let clients = clients.collect::<io::Result<Vec<_>>>()?;
    let taken = [&one, &two].map(|listener| std::iter::from_fn(|| listener.accept().ok()).count());
    assert_eq!(taken[0] + taken[1], clients.len());
    assert!(taken.iter().all(|count| *count >= 5), "{taken:?}");

    let one = open(Type::DGRAM, (BOTH[0], 0).into())?;
    let at = address(&one)?;
    let two = open(Type::DGRAM, at)?;
    for _ in 0..MANY {
        let client = UdpSocket::bind((BOTH[0], 0))?;
        client.send_to(b"one", at)?;
        client.send_to(b"two", at)?;
    }
    let mut taken = [0; 2];
    for (socket, count) in [&one, &two].into_iter().zip(&mut taken) {
        socket.set_nonblocking(true)?;
        let mut buffer = [MaybeUninit::uninit(); 8];
        while let Ok((3, from)) = socket.recv_from(&mut buffer) {
            // A client's datagrams stay together.
            assert_eq!(socket.recv_from(&mut buffer)?.1, from);
            *count += 1;
        }
    }
    assert_eq!(taken[0] + taken[1], MANY);
    assert!(taken.iter().all(|count| *count >= 5), "{taken:?}");
    Ok(())
}
