//! A program of the host's that talks to a guest:
//!
//!     connect PATH LINES              to the socket of a channel (`skete run --channel PATH`): what standard input
//!                                     holds is sent, and so many lines of what comes back are printed
//!     connect ADDRESS:PORT SIZE...    datagrams of so many bytes, to a guest that sends them back, from a socket
//!                                     each and all at the same time

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How often a datagram is sent before it counts as lost: the guest may not have come up yet.
const TRIES: usize = 100;
/// How long to wait for an answer.
const PAUSE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let done = match words.as_slice() {
        [address, sizes @ ..] if address.parse::<SocketAddr>().is_ok() => datagrams(address, sizes),
        [path, lines] => number(lines).and_then(|lines| talk(path, lines)),
        _ => Err(io::Error::other("usage: connect PATH LINES, or connect ADDRESS:PORT SIZE...")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("connect: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(word: &str) -> io::Result<usize> {
    word.parse().map_err(|_| io::Error::other(format!("{word} is no number")))
}

fn talk(path: &str, lines: usize) -> io::Result<()> {
    let mut socket = UnixStream::connect(path)?;
    let answers = BufReader::new(socket.try_clone()?);
    let sender = thread::spawn(move || {
        io::copy(&mut io::stdin().lock(), &mut socket)?;
        socket.shutdown(Shutdown::Write)
    });
    let mut output = io::stdout().lock();
    for line in answers.split(b'\n').take(lines) {
        output.write_all(&line?)?;
        output.write_all(b"\n")?;
    }
    sender.join().map_err(|_| io::Error::other("the sender has failed"))?
}

fn datagrams(address: &str, sizes: &[String]) -> io::Result<()> {
    let mut clients = Vec::new();
    for (place, size) in sizes.iter().enumerate() {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        // From now on only what comes from there.
        socket.connect(address)?;
        socket.set_read_timeout(Some(PAUSE))?;
        // Each one's bytes are its own.
        let sent = (place..place + number(size)?).map(|byte| byte as u8).collect::<Vec<_>>();
        let _ = socket.send(&sent);
        clients.push((socket, sent));
    }
    for (socket, sent) in &clients {
        let mut answer = vec![0; 1 << 16];
        let mut tries = 1;
        let length = loop {
            match socket.recv(&mut answer) {
                Ok(length) => break length,
                Err(error) if tries == TRIES => return Err(error),
                // Nobody listens yet.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => thread::sleep(PAUSE),
                Err(_) => {}
            }
            tries += 1;
            let _ = socket.send(sent);
        };
        if answer[..length] != sent[..] {
            return Err(io::Error::other(format!("{length} other bytes for {}", sent.len())));
        }
        println!("{length} bytes came back");
    }
    Ok(())
}
