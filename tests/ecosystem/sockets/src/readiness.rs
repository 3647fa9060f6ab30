//! polling: what is ready, told once or as long as it is so.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use crate::BOTH;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

fn keys(poller: &Poller, time: Duration) -> io::Result<Vec<Event>> {
    let mut events = Events::new();
    poller.wait(&mut events, Some(time))?;
    Ok(events.iter().collect())
}

pub fn once() -> io::Result<()> {
    for ip in BOTH {
        let poller = Poller::new()?;
        let (mut sender, receiver) = crate::pair(ip)?;
        // SAFETY: it is taken out again below, before it is closed.
        unsafe { poller.add(&receiver, Event::readable(3))? };
        assert!(keys(&poller, SHORT)?.is_empty());
        sender.write_all(b"x")?;
        let told = keys(&poller, LONG)?;
        assert_eq!((told.len(), told[0].key, told[0].readable), (1, 3, true));
        assert!(keys(&poller, SHORT)?.is_empty(), "told twice");
        poller.modify(&receiver, Event::readable(4))?;
        assert_eq!(keys(&poller, LONG)?[0].key, 4);
        poller.delete(&receiver)?;
    }
    Ok(())
}

pub fn level() -> io::Result<()> {
    let poller = Poller::new()?;
    assert!(poller.supports_level());
    let (mut sender, mut receiver) = crate::pair(BOTH[0])?;
    // SAFETY: it is taken out again below, before it is closed.
    unsafe { poller.add_with_mode(&receiver, Event::readable(1), PollMode::Level)? };
    sender.write_all(b"ab")?;
    for _ in 0..3 {
        assert_eq!(keys(&poller, LONG)?.len(), 1);
    }
    assert_eq!(receiver.read(&mut [0; 8])?, 2);
    assert!(keys(&poller, SHORT)?.is_empty());
    poller.delete(&receiver)?;
    Ok(())
}

pub fn full() -> io::Result<()> {
    let poller = Poller::new()?;
    let (mut sender, mut receiver) = crate::pair(BOTH[1])?;
    sender.set_nonblocking(true)?;
    // SAFETY: it is taken out again below, before it is closed.
    unsafe { poller.add_with_mode(&sender, Event::writable(1), PollMode::Level)? };
    let mut sent = 0;
    let buffer = vec![0; 1 << 16];
    loop {
        match sender.write(&buffer) {
            Ok(length) => sent += length,
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(keys(&poller, SHORT)?.is_empty(), "no room");
    let mut left = sent;
    let mut taken = vec![0; 1 << 16];
    while left > 0 {
        left -= receiver.read(&mut taken)?;
    }
    let told = keys(&poller, LONG)?;
    assert!(told.len() == 1 && told[0].writable);
    poller.delete(&sender)?;
    Ok(())
}

pub fn end() -> io::Result<()> {
    let poller = Poller::new()?;
    let (client, mut server) = crate::pair(BOTH[0])?;
    // SAFETY: it is taken out again below, before it is closed.
    unsafe { poller.add(&server, Event::readable(1))? };
    client.shutdown(Shutdown::Write)?;
    assert!(keys(&poller, LONG)?[0].readable);
    assert_eq!(server.read(&mut [0; 4])?, 0);
    // A reset is told to both sides of interest.
    server.write_all(b"nobody reads this")?;
    client.peek(&mut [0])?;
    drop(client);
    poller.modify(&server, Event::all(2))?;
    let told = keys(&poller, LONG)?;
    assert!(told[0].readable && told[0].writable, "{told:?}");
    poller.delete(&server)?;
    let (listener, address) = crate::listen(BOTH[0])?;
    // SAFETY: as above.
    unsafe { poller.add(&listener, Event::readable(5))? };
    assert!(keys(&poller, SHORT)?.is_empty());
    let _client = std::net::TcpStream::connect(address)?;
    assert_eq!(keys(&poller, LONG)?[0].key, 5);
    poller.delete(&listener)?;
    Ok(())
}
