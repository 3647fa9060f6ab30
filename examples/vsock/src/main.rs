//! Streams between a machine and its host, without a network: a server that sends back what it gets, and a client
//! that looks whether it does. Either runs in the machine or on a Linux host.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use skete_vsock::{VsockAddr, VsockListener, VsockStream};

const USAGE: &str = "\
usage: vsock [PORT [CONNECTIONS]]   sends back what it gets; ends after so many connections
       vsock CID:PORT [BYTES]       sends so many bytes, and looks whether they come back; CID 2 is the host";

/// The port when nobody says another.
const PORT: u32 = 1024;
/// How many bytes a client sends when nobody says so.
const BYTES: u64 = 1 << 20;
/// What is read or written at once.
const PART: usize = 64 << 10;
/// How long a client waits for the next bytes.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vsock: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let number = |word: &str| word.parse().map_err(|_| USAGE.to_owned());
    match words {
        [] => serve(PORT, None),
        [target] | [target, _] if target.contains(':') => {
            let (cid, port) = target.split_once(':').ok_or(USAGE)?;
            let bytes = words.get(1).map_or(Ok(BYTES), |word| word.parse());
            let bytes = bytes.map_err(|_| USAGE)?;
            ask(VsockAddr::new(number(cid)?, number(port)?), bytes)
        }
        [port] => serve(number(port)?, None),
        [port, count] => serve(number(port)?, Some(number(count)?)),
        _ => Err(USAGE.to_owned()),
    }
}

/// Sends back what comes, a thread a connection.
fn serve(port: u32, connections: Option<u32>) -> Result<(), String> {
    let told = |error: io::Error| format!("cannot serve on port {port}: {error}");
    let listener = VsockListener::bind_port(port).map_err(told)?;
    println!("vsock: serving on {}", listener.local_addr().map_err(told)?);
    let mut threads = Vec::new();
    for _ in 0..connections.unwrap_or(u32::MAX) {
        let (stream, peer) = listener.accept().map_err(told)?;
        let work = move || match send_back(stream) {
            Ok(count) => println!("vsock: {count} bytes for {peer}"),
            Err(error) => println!("vsock: {peer} has broken off: {error}"),
        };
        let thread = thread::Builder::new().spawn(work);
        let thread = thread.map_err(|error| format!("no thread for a connection: {error}"))?;
        // Those that are waited for at the end.
        if connections.is_some() {
            threads.push(thread);
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn send_back(mut stream: VsockStream) -> io::Result<u64> {
    let mut buffer = vec![0; PART];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(total),
            count => {
                stream.write_all(&buffer[..count])?;
                total += count as u64;
            }
        }
    }
}

/// Sends bytes that nobody can guess by chance, and compares what comes back.
fn ask(server: VsockAddr, bytes: u64) -> Result<(), String> {
    let told = |error: io::Error| format!("cannot talk to {server}: {error}");
    let mut stream = VsockStream::connect(server).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(told)?;
    let seed = u64::from(stream.local_addr().map_err(told)?.port()) | 1;
    let start = Instant::now();
    let mut way_out = stream.try_clone().map_err(told)?;
    let writer = thread::spawn(move || {
        let mut bytes_out = Bytes::new(seed, bytes);
        while let Some(part) = bytes_out.next_part() {
            way_out.write_all(part)?;
        }
        way_out.shutdown(Shutdown::Write)
    });
    let mut expected = Bytes::new(seed, bytes);
    let mut buffer = vec![0; PART];
    while let Some(part) = expected.next_part() {
        let buffer = &mut buffer[..part.len()];
        stream.read_exact(buffer).map_err(told)?;
        if buffer != part {
            return Err(format!("{server} sends back other bytes than it got"));
        }
    }
    let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("a panic")));
    written.map_err(told)?;
    if stream.read(&mut buffer).map_err(told)? != 0 {
        return Err(format!("{server} sends more than it got"));
    }
    let time = start.elapsed();
    println!("vsock: {bytes} bytes to {server} and back in {} ms", time.as_millis());
    Ok(())
}

/// A row of bytes that looks like no other (xorshift64, Marsaglia 2003), part by part.
struct Bytes {
    state: u64,
    left: u64,
    part: Vec<u8>,
}

impl Bytes {
    fn new(seed: u64, length: u64) -> Bytes {
        Bytes { state: seed, left: length, part: vec![0; PART] }
    }

    fn next_part(&mut self) -> Option<&[u8]> {
        if self.left == 0 {
            return None;
        }
        for word in self.part.as_chunks_mut::<8>().0 {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *word = self.state.to_le_bytes();
        }
        let length = self.left.min(PART as u64);
        self.left -= length;
        Some(&self.part[..length as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_many_as_asked_for_and_differ() {
        let row = |seed, length| {
            let mut bytes = Bytes::new(seed, length);
            let mut all = Vec::new();
            while let Some(part) = bytes.next_part() {
                all.extend_from_slice(part);
            }
            all
        };
        let first = row(7, PART as u64 + 5);
        assert_eq!(first.len(), PART + 5);
        assert_ne!(first[..PART], row(9, PART as u64));
        assert_ne!(first[..5], first[PART..]);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for words in [&["x"][..], &["2:x"], &["2:1", "x"], &["1", "2", "3"]] {
            assert_eq!(run(words), Err(USAGE.to_owned()), "{words:?}");
        }
    }
}
