//! mio: events on sockets, told once for each change.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::BOTH;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

/// Waits until there is an event for the token that fits.
fn wait(
    poll: &mut Poll,
    token: Token,
    fits: impl Fn(&mio::event::Event) -> bool,
) -> io::Result<()> {
    let mut events = Events::with_capacity(16);
    for _ in 0..100 {
        poll.poll(&mut events, Some(LONG))?;
        assert!(!events.is_empty(), "nothing happened to {token:?}");
        if events.iter().any(|event| event.token() == token && fits(event)) {
            return Ok(());
        }
    }
    panic!("a hundred other events");
}

/// The next event, if it comes soon.
fn soon(poll: &mut Poll) -> io::Result<Option<Token>> {
    let mut events = Events::with_capacity(16);
    poll.poll(&mut events, Some(SHORT))?;
    Ok(events.iter().map(mio::event::Event::token).next())
}

pub fn echo() -> io::Result<()> {
    const LISTENER: Token = Token(0);
    const CLIENT: Token = Token(1);
    const SERVER: Token = Token(2);
    for ip in BOTH {
        let mut poll = Poll::new()?;
        let mut listener = TcpListener::bind((ip, 0).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        poll.registry().register(&mut client, CLIENT, Interest::READABLE | Interest::WRITABLE)?;
        wait(&mut poll, LISTENER, |event| event.is_readable())?;
        let (mut server, from) = listener.accept()?;
        assert_eq!(from, client.local_addr()?);
        poll.registry().register(&mut server, SERVER, Interest::READABLE | Interest::WRITABLE)?;
        assert_eq!(client.write(b"there")?, 5);
        let mut buffer = [0; 16];
        loop {
            wait(&mut poll, SERVER, |event| event.is_readable())?;
            match server.read(&mut buffer) {
                Ok(length) => break assert_eq!(&buffer[..length], b"there"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(server.write(b"back")?, 4);
        loop {
            match client.read(&mut buffer) {
                Ok(length) => break assert_eq!(&buffer[..length], b"back"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            wait(&mut poll, CLIENT, |event| event.is_readable())?;
        }
    }
    Ok(())
}

/// An event is told once, until what it told of was taken.
pub fn edge() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let (mut sender, receiver) = crate::pair(BOTH[0])?;
    receiver.set_nonblocking(true)?;
    let mut receiver = TcpStream::from_std(receiver);
    poll.registry().register(&mut receiver, Token(7), Interest::READABLE)?;
    assert_eq!(soon(&mut poll)?, None);
    sender.write_all(b"ab")?;
    wait(&mut poll, Token(7), |event| event.is_readable())?;
    assert_eq!(soon(&mut poll)?, None, "told twice");
    let mut buffer = [0; 16];
    assert_eq!(receiver.read(&mut buffer)?, 2);
    assert_eq!(receiver.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    sender.write_all(b"c")?;
    wait(&mut poll, Token(7), |event| event.is_readable())?;
    // To register anew tells anew.
    poll.registry().reregister(&mut receiver, Token(8), Interest::READABLE)?;
    wait(&mut poll, Token(8), |event| event.is_readable())?;
    poll.registry().deregister(&mut receiver)?;
    sender.write_all(b"d")?;
    assert_eq!(soon(&mut poll)?, None);
    Ok(())
}

pub fn connect() -> io::Result<()> {
    for ip in BOTH {
        let mut poll = Poll::new()?;
        let (_listener, address) = crate::listen(ip)?;
        let mut client = TcpStream::connect(address)?;
        poll.registry().register(&mut client, Token(1), Interest::WRITABLE)?;
        wait(&mut poll, Token(1), |event| event.is_writable())?;
        assert!(client.take_error()?.is_none());
        assert_eq!(client.peer_addr()?, address);
    }
    Ok(())
}

pub fn refused() -> io::Result<()> {
    for ip in BOTH {
        let mut poll = Poll::new()?;
        let (listener, address) = crate::listen(ip)?;
        drop(listener);
        let mut client = match TcpStream::connect(address) {
            Ok(client) => client,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                continue;
            }
        };
        poll.registry().register(&mut client, Token(1), Interest::READABLE | Interest::WRITABLE)?;
        wait(&mut poll, Token(1), |event| event.is_writable())?;
        let error = client.take_error()?.expect("an error");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    Ok(())
}

pub fn datagrams() -> io::Result<()> {
    for ip in BOTH {
        let mut poll = Poll::new()?;
        let mut one = UdpSocket::bind((ip, 0).into())?;
        let mut two = UdpSocket::bind((ip, 0).into())?;
        poll.registry().register(&mut one, Token(1), Interest::WRITABLE)?;
        poll.registry().register(&mut two, Token(2), Interest::READABLE)?;
        wait(&mut poll, Token(1), |event| event.is_writable())?;
        one.send_to(b"datagram", two.local_addr()?)?;
        wait(&mut poll, Token(2), |event| event.is_readable())?;
        let mut buffer = [0; 16];
        assert_eq!(two.recv_from(&mut buffer)?, (8, one.local_addr()?));
        let error = two.recv_from(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    Ok(())
}

pub fn end() -> io::Result<()> {
    for ip in BOTH {
        let mut poll = Poll::new()?;
        let (client, server) = crate::pair(ip)?;
        server.set_nonblocking(true)?;
        let mut server = TcpStream::from_std(server);
        poll.registry().register(&mut server, Token(1), Interest::READABLE)?;
        client.shutdown(Shutdown::Write)?;
        // Told apart from bytes, so that nobody has to read to learn of it.
        wait(&mut poll, Token(1), |event| {
            event.is_readable() && event.is_read_closed() && !event.is_write_closed()
        })?;
        assert_eq!(server.read(&mut [0; 4])?, 0);
        // Both directions shut: told to those who did not ask for it.
        poll.registry().reregister(&mut server, Token(2), Interest::WRITABLE)?;
        wait(&mut poll, Token(2), |event| event.is_writable())?;
        server.shutdown(Shutdown::Both)?;
        poll.registry().reregister(&mut server, Token(3), Interest::READABLE)?;
        wait(&mut poll, Token(3), |event| event.is_read_closed())?;
    }
    Ok(())
}

pub fn waker() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), Token(9))?;
    let thread = std::thread::spawn(move || {
        std::thread::sleep(SHORT);
        waker.wake().map(|()| waker)
    });
    wait(&mut poll, Token(9), |event| event.is_readable())?;
    let waker = thread.join().expect("the thread does not panic")?;
    assert_eq!(soon(&mut poll)?, None);
    waker.wake()?;
    waker.wake()?;
    assert_eq!(soon(&mut poll)?, Some(Token(9)));
    assert_eq!(soon(&mut poll)?, None);
    Ok(())
}

/// A server for fifty connections in one thread.
pub fn many() -> io::Result<()> {
    const MANY: usize = 50;
    const EACH: usize = 20_000;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind((BOTH[0], 0).into())?;
    let address = listener.local_addr()?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let clients = std::thread::spawn(move || -> io::Result<()> {
        let mut streams = Vec::new();
        for _ in 0..MANY {
            streams.push(std::net::TcpStream::connect(address)?);
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&[number as u8; EACH])?;
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut answer = [0; 1];
            stream.read_exact(&mut answer)?;
            assert_eq!(usize::from(answer[0]), number);
        }
        Ok(())
    });
    let mut events = Events::with_capacity(8);
    let mut streams = BTreeMap::new();
    let (mut next, mut done) = (1, 0);
    while done < MANY {
        poll.poll(&mut events, Some(LONG))?;
        assert!(!events.is_empty(), "{done} of {MANY} after {LONG:?}");
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    streams.insert(token, (stream, 0));
                }
                continue;
            }
            let Some((stream, received)) = streams.get_mut(&event.token()) else {
                continue;
            };
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => *received += length,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
                if *received == EACH {
                    stream.write_all(&buffer[..1])?;
                    done += 1;
                }
            }
        }
    }
    clients.join().expect("the clients do not panic")
}

/// Each of many connections that were idle is told of, and no other.
pub fn one_among_many() -> io::Result<()> {
    const MANY: usize = 300;
    let mut poll = Poll::new()?;
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for number in 0..MANY {
        let (client, server) = crate::pair(BOTH[number % 2])?;
        server.set_nonblocking(true)?;
        let mut server = TcpStream::from_std(server);
        poll.registry().register(&mut server, Token(number), Interest::READABLE)?;
        clients.push(client);
        servers.push(server);
    }
    assert_eq!(soon(&mut poll)?, None);
    for number in (0..MANY).rev() {
        clients[number].write_all(b"x")?;
        let mut events = Events::with_capacity(16);
        poll.poll(&mut events, Some(LONG))?;
        let told: Vec<_> = events.iter().map(mio::event::Event::token).collect();
        assert_eq!(told, [Token(number)]);
        let mut buffer = [0; 4];
        assert_eq!(servers[number].read(&mut buffer)?, 1);
        let error = servers[number].read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    drop(clients);
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < MANY {
        let mut events = Events::with_capacity(MANY);
        poll.poll(&mut events, Some(LONG))?;
        assert!(!events.is_empty(), "{} of {MANY} ends are told", ended.len());
        for event in &events {
            assert!(event.is_read_closed());
            ended.insert(event.token());
        }
    }
    Ok(())
}
