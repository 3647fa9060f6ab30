//! Sends back what it gets (RFC 862): over TCP a thread a connection, over UDP each datagram.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The most that a UDP datagram holds.
const DATAGRAM: usize = 64 << 10;
/// How long to wait when there is no room for another connection.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let address = match std::env::args().nth(1) {
        None => "0.0.0.0:8080".to_owned(),
        Some(address) if address.contains(':') => address,
        Some(port) => format!("0.0.0.0:{port}"),
    };
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: cannot serve on {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let socket = UdpSocket::bind(listener.local_addr()?)?;
    println!("echo: serving on {} (TCP and UDP)", listener.local_addr()?);
    thread::Builder::new().name("udp".to_owned()).spawn(move || datagrams(&socket))?;
    loop {
        let taken = listener.accept().and_then(|(stream, _)| {
            // A peer that breaks off is no news.
            thread::Builder::new().spawn(move || drop(stream_back(stream)))
        });
        if let Err(error) = taken {
            eprintln!("echo: no room for a connection: {error}");
            thread::sleep(PAUSE);
        }
    }
}

fn stream_back(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

fn datagrams(socket: &UdpSocket) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An error belongs to one peer, who has gone; the others are still there.
        if let Ok((count, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], peer);
        }
    }
}
