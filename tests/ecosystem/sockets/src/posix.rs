//! rustix: the calls of POSIX.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};
use rustix::net::{
    accept, accept_with, bind, connect, getpeername, getsockname, listen, recv, recvfrom, send,
    sendto, shutdown, socket, socket_with,
};

use crate::BOTH;

fn families() -> [(AddressFamily, SocketAddr); 2] {
    [(AddressFamily::INET, (BOTH[0], 0).into()), (AddressFamily::INET6, (BOTH[1], 0).into())]
}

fn local(socket: &OwnedFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(getsockname(socket)?)?)
}

fn pair(family: AddressFamily, any: SocketAddr) -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = socket(family, SocketType::STREAM, None)?;
    bind(&listener, &any)?;
    listen(&listener, 2)?;
    let client = socket(family, SocketType::STREAM, None)?;
    connect(&client, &local(&listener)?)?;
    Ok((client, accept(&listener)?))
}

pub fn streams() -> io::Result<()> {
    for (family, any) in families() {
        let listener = socket_with(
            family,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        bind(&listener, &any)?;
        listen(&listener, 2)?;
        assert_eq!(accept(&listener).err(), Some(Errno::AGAIN));
        let client = socket(family, SocketType::STREAM, None)?;
        connect(&client, &local(&listener)?)?;
        let server = accept_with(&listener, SocketFlags::NONBLOCK)?;
        let mut buffer = [0; 8];
        assert_eq!(recv(&server, &mut buffer, RecvFlags::empty()).err(), Some(Errno::AGAIN));
        assert_eq!(send(&client, b"abc", SendFlags::NOSIGNAL)?, 3);
        let mut ready = [PollFd::new(&server, PollFlags::IN | PollFlags::OUT)];
        rustix::event::poll(&mut ready, None::<&Timespec>)?;
        assert!(ready[0].revents().contains(PollFlags::OUT));
        while recv(&server, &mut buffer, RecvFlags::empty()) == Err(Errno::AGAIN) {
            let mut ready = [PollFd::new(&server, PollFlags::IN)];
            rustix::event::poll(&mut ready, None::<&Timespec>)?;
        }
        assert_eq!(&buffer[..3], b"abc");
        assert_eq!(SocketAddr::try_from(getpeername(&server)?.expect("a peer"))?, local(&client)?);
        shutdown(&client, Shutdown::Write)?;
        let mut ready = [PollFd::new(&server, PollFlags::IN)];
        rustix::event::poll(&mut ready, None::<&Timespec>)?;
        assert_eq!(recv(&server, &mut buffer, RecvFlags::empty())?.0, 0);
        assert_eq!(rustix::io::write(&server, b"more")?, 4);
        assert_eq!(rustix::io::read(&client, &mut buffer)?, 4);
    }
    Ok(())
}

pub fn flags() -> io::Result<()> {
    for (family, any) in families() {
        let (client, server) = pair(family, any)?;
        let mut buffer = [0; 8];
        let error = recv(&server, &mut buffer, RecvFlags::DONTWAIT).err();
        assert_eq!(error, Some(Errno::AGAIN));
        let writing = std::thread::spawn(move || -> io::Result<OwnedFd> {
            for part in [&b"ab"[..], b"cd", b"efgh"] {
                send(&client, part, SendFlags::empty())?;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Ok(client)
        });
        assert_eq!(recv(&server, &mut buffer, RecvFlags::WAITALL)?.0, 8);
        assert_eq!(&buffer, b"abcdefgh");
        let client = writing.join().expect("the writer does not panic")?;
        send(&client, b"xyz", SendFlags::DONTWAIT)?;
        assert_eq!(recv(&server, &mut buffer[..2], RecvFlags::PEEK)?.0, 2);
        assert_eq!(recv(&server, &mut buffer[..3], RecvFlags::WAITALL)?.0, 3);
        drop(client);
        assert_eq!(recv(&server, &mut buffer, RecvFlags::WAITALL)?.0, 0);
    }
    Ok(())
}

pub fn datagrams() -> io::Result<()> {
    for (family, any) in families() {
        let one = socket(family, SocketType::DGRAM, None)?;
        let two = socket(family, SocketType::DGRAM, None)?;
        bind(&two, &any)?;
        let to = local(&two)?;
        assert_eq!(sendto(&one, b"abc", SendFlags::empty(), &to)?, 3);
        let mut buffer = [0; 8];
        let (length, _, from) = recvfrom(&two, &mut buffer, RecvFlags::empty())?;
        assert_eq!(length, 3);
        let from = SocketAddr::try_from(from.expect("a sender"))?;
        assert_eq!(from.port(), local(&one)?.port());
        // In parts, and yet one.
        connect(&one, &to)?;
        let parts = [io::IoSlice::new(b"one"), io::IoSlice::new(b"two")];
        assert_eq!(rustix::io::writev(&one, &parts)?, 6);
        let (mut first, mut second) = ([0; 4], [0; 4]);
        let mut places = [io::IoSliceMut::new(&mut first), io::IoSliceMut::new(&mut second)];
        assert_eq!(rustix::io::readv(&two, &mut places)?, 6);
        assert_eq!((&first, &second[..2]), (b"onet", &b"wo"[..]));
    }
    Ok(())
}

pub fn options() -> io::Result<()> {
    for (family, any) in families() {
        let (client, server) = pair(family, any)?;
        sockopt::set_tcp_nodelay(&client, true)?;
        assert!(sockopt::tcp_nodelay(&client)?);
        assert!(!sockopt::tcp_nodelay(&server)?);
        assert_eq!(sockopt::socket_type(&client)?, SocketType::STREAM);
        assert_eq!(sockopt::socket_error(&client)?, Ok(()));
        assert!(!sockopt::socket_acceptconn(&client)?);
        sockopt::set_socket_keepalive(&client, true)?;
        assert!(sockopt::socket_keepalive(&client)?);
        sockopt::set_tcp_keepidle(&client, std::time::Duration::from_secs(9))?;
        assert_eq!(sockopt::tcp_keepidle(&client)?.as_secs(), 9);
    }
    Ok(())
}

pub fn errors() -> io::Result<()> {
    let tcp = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let own: SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
    let other: SocketAddrV6 = "[::1]:0".parse().unwrap();
    assert_eq!(bind(&tcp, &other), Err(Errno::AFNOSUPPORT));
    bind(&tcp, &own)?;
    assert_eq!(bind(&tcp, &own), Err(Errno::INVAL));
    let error = send(&tcp, b"x", SendFlags::NOSIGNAL).err();
    assert_eq!(error, Some(Errno::PIPE));
    let error = recv(&tcp, &mut [0; 4], RecvFlags::empty()).err();
    assert_eq!(error, Some(Errno::NOTCONN));
    assert_eq!(getpeername(&tcp).err(), Some(Errno::NOTCONN));
    assert_eq!(shutdown(&tcp, Shutdown::Both), Err(Errno::NOTCONN));
    assert_eq!(accept(&tcp).err(), Some(Errno::INVAL));
    let udp = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    assert_eq!(listen(&udp, 1), Err(Errno::OPNOTSUPP));
    let closed: SocketAddrV4 = "127.0.0.1:1".parse().unwrap();
    assert_eq!(connect(&tcp, &closed), Err(Errno::CONNREFUSED));
    Ok(())
}
