//! Sends bytes to a server that sends back what it gets, `exchange ADDRESS:PORT COUNT`, and compares.

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

/// The bytes of the stream, a piece at a time. No part of a frame looks like another.
fn piece(number: usize) -> Vec<u8> {
    (0..1 << 16).map(|at| ((number << 16 | at).wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let server = arguments.next().ok_or("the server's address is missing")?;
    let pieces: usize = arguments.next().ok_or("the count is missing")?.parse()?;
    let mut stream = TcpStream::connect(&server)?;
    let mut sender = stream.try_clone()?;
    let sent = thread::spawn(move || {
        (0..pieces)
            .try_for_each(|number| sender.write_all(&piece(number)))
            .and_then(|()| sender.shutdown(Shutdown::Write))
    });
    let mut buffer = vec![0; 1 << 16];
    for number in 0..pieces {
        stream.read_exact(&mut buffer)?;
        assert!(buffer == piece(number), "piece {number} has come back changed");
    }
    assert_eq!(stream.read(&mut buffer)?, 0, "more has come back than was sent");
    sent.join().map_err(|_| "the sender has panicked")??;
    println!("{pieces} pieces have come back");
    Ok(())
}
