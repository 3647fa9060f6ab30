//! Bytes in numbers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use check::Numbers;

use crate::{BOTH, join, listen, pair};

/// FNV-1a of what passes.
struct Hash(u64);

impl Hash {
    fn new() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Writes so many bytes in pieces of all sizes, and the end; gives their hash.
fn send(stream: &mut TcpStream, seed: u64, total: usize) -> io::Result<u64> {
    let mut numbers = Numbers::new(seed);
    let mut hash = Hash::new();
    let mut left = total;
    let mut piece = vec![0; 100_000];
    while left > 0 {
        let length = (1 + numbers.below(piece.len())).min(left);
        piece[..length].fill_with(|| numbers.below(256) as u8);
        stream.write_all(&piece[..length])?;
        hash.add(&piece[..length]);
        left -= length;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(hash.0)
}

/// Reads to the end in pieces of all sizes; gives the hash and the number of bytes.
fn receive(stream: &mut TcpStream, seed: u64) -> io::Result<(u64, usize)> {
    let mut numbers = Numbers::new(seed);
    let mut hash = Hash::new();
    let mut total = 0;
    let mut piece = vec![0; 70_000];
    loop {
        let length = 1 + numbers.below(piece.len());
        match stream.read(&mut piece[..length])? {
            0 => return Ok((hash.0, total)),
            length => {
                hash.add(&piece[..length]);
                total += length;
            }
        }
    }
}

pub fn both_ways() -> io::Result<()> {
    const TOTAL: usize = 4_000_003;
    for ip in BOTH {
        let (client, server) = pair(ip)?;
        let mut threads = Vec::new();
        for (seed, stream) in [(1, client), (2, server)] {
            let (mut out, mut back) = (stream.try_clone()?, stream);
            threads
                .push(thread::spawn(move || send(&mut out, seed, TOTAL).map(|hash| (hash, TOTAL))));
            threads.push(thread::spawn(move || receive(&mut back, seed + 10)));
        }
        let results: Vec<(u64, usize)> =
            threads.into_iter().map(join).collect::<io::Result<_>>()?;
        assert_eq!(results[0], results[3], "from client to server");
        assert_eq!(results[2], results[1], "from server to client");
        assert_ne!(results[0].0, results[2].0);
    }
    Ok(())
}

pub fn sizes() -> io::Result<()> {
    for ip in BOTH {
        let (mut client, mut server) = pair(ip)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i * 7 / 3) as u8).collect();
        let mut back = vec![0; bytes.len()];
        for size in [
            1, 2, 3, 535, 536, 1219, 1220, 1440, 1459, 1460, 1461, 4096, 16384, 65483, 65535,
            65536, 70_000,
        ] {
            // Half of them may be in the buffers of both sides at once.
            let writing = thread::spawn({
                let (mut client, bytes) = (client.try_clone()?, bytes[..size].to_vec());
                move || client.write_all(&bytes)
            });
            server.read_exact(&mut back[..size])?;
            assert!(back[..size] == bytes[..size], "{size} bytes are others");
            join(writing)?;
            server.write_all(&back[..1])?;
            client.read_exact(&mut back[..1])?;
        }
    }
    Ok(())
}

/// The window closes and opens.
pub fn slow_reader() -> io::Result<()> {
    let (mut client, mut server) = pair(BOTH[0])?;
    let sending = thread::spawn(move || send(&mut client, 5, 1_500_000));
    let mut hash = Hash::new();
    let mut piece = vec![0; 150_000];
    let mut total = 0;
    loop {
        thread::sleep(Duration::from_millis(10));
        match server.read(&mut piece)? {
            0 => break,
            length => {
                hash.add(&piece[..length]);
                total += length;
            }
        }
    }
    assert_eq!(total, 1_500_000);
    assert_eq!(join(sending)?, hash.0);
    Ok(())
}

pub fn many_at_once() -> io::Result<()> {
    const MANY: usize = 100;
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        let server = thread::spawn(move || -> io::Result<()> {
            let mut threads = Vec::new();
            for stream in listener.incoming().take(MANY) {
                let mut stream = stream?;
                threads.push(thread::spawn(move || -> io::Result<u64> {
                    let mut back = stream.try_clone()?;
                    io::copy(&mut stream, &mut back)
                }));
            }
            for thread in threads {
                assert_eq!(join(thread)?, 1000);
            }
            Ok(())
        });
        let mut clients: Vec<TcpStream> =
            (0..MANY).map(|_| TcpStream::connect(address)).collect::<io::Result<_>>()?;
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(&[number as u8; 1000])?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut answer = [0; 1000];
            client.read_exact(&mut answer)?;
            assert_eq!(answer, [number as u8; 1000]);
        }
        drop(clients);
        join(server)?;
    }
    Ok(())
}

pub fn many_in_a_row() -> io::Result<()> {
    fn one(address: (IpAddr, u16), number: u32) -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&number.to_le_bytes())?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        assert_eq!(u32::from_le_bytes(answer), number + 1);
        Ok(())
    }
    for ip in BOTH {
        let (listener, address) = listen(ip)?;
        const MANY: u32 = 500;
        let server = thread::spawn(move || -> io::Result<()> {
            for stream in listener.incoming().take(MANY as usize) {
                let mut stream = stream?;
                let mut number = [0; 4];
                stream.read_exact(&mut number)?;
                stream.write_all(&(u32::from_le_bytes(number) + 1).to_le_bytes())?;
            }
            Ok(())
        });
        for number in 0..MANY {
            one((ip, address.port()), number)?;
        }
        join(server)?;
    }
    Ok(())
}

/// Two threads write and two read; every byte arrives once.
pub fn shared() -> io::Result<()> {
    const EACH: usize = 200_000;
    let (client, server) = pair(BOTH[1])?;
    let mut writers = Vec::new();
    for letter in *b"ab" {
        let mut client = client.try_clone()?;
        writers.push(thread::spawn(move || {
            (0..EACH / 100).try_for_each(|_| client.write_all(&[letter; 100]))
        }));
    }
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut server = server.try_clone()?;
        readers.push(thread::spawn(move || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            server.read_to_end(&mut bytes)?;
            Ok(bytes)
        }));
    }
    for writer in writers {
        join(writer)?;
    }
    client.shutdown(Shutdown::Write)?;
    let mut bytes = Vec::new();
    for reader in readers {
        bytes.extend(join(reader)?);
    }
    let count = |letter| bytes.iter().filter(|byte| **byte == letter).count();
    assert_eq!((count(b'a'), count(b'b')), (EACH, EACH));
    Ok(())
}
