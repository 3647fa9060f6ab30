//! Checks raw devices below `/dev`. Each argument is one check, of the form `KIND=PATH`:
//!
//! - `disk`: a disk of a few MiB that may be written to. Its checksums before and after are told as cksum(1) tells
//!   them, so that the host can compare;
//! - `constant`: a disk that may not be written to;
//! - `speed`: a disk that is written and read from its beginning to its end, and how long that takes;
//! - `missing`: a device that is not there;
//! - `random`: random numbers;
//! - `echo`: a channel, whose lines are sent back until one of them is `end`.

mod disk;
mod sum;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::process::ExitCode;

const USAGE: &str = "usage: devices {disk|constant|speed|missing|random|echo}=PATH...";

fn main() -> ExitCode {
    let mut any = false;
    for word in std::env::args().skip(1) {
        let check = word.split_once('=').and_then(|(kind, path)| {
            let check: fn(&str) -> io::Result<()> = match kind {
                "disk" => disk::check,
                "constant" => disk::check_constant,
                "speed" => disk::time,
                "missing" => missing,
                "random" => random,
                "echo" => echo,
                _ => return None,
            };
            Some((check, path))
        });
        let Some((check, path)) = check else {
            eprintln!("devices: `{word}` is no check\n{USAGE}");
            return ExitCode::FAILURE;
        };
        if let Err(error) = check(path) {
            eprintln!("devices: {word}: {error} ({:?})", error.kind());
            return ExitCode::FAILURE;
        }
        println!("ok {word}");
        any = true;
    }
    if any {
        return ExitCode::SUCCESS;
    }
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}

/// A path that leads to nothing makes nothing either.
fn missing(path: &str) -> io::Result<()> {
    let mut create = OpenOptions::new();
    create.write(true).create(true);
    for result in
        [File::open(path).map(drop), create.open(path).map(drop), std::fs::metadata(path).map(drop)]
    {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    }
    Ok(())
}

fn random(path: &str) -> io::Result<()> {
    let mut file = File::open(path)?;
    let (mut one, mut other) = (vec![0; 10_000], vec![0; 10_000]);
    file.read_exact(&mut one)?;
    file.read_exact(&mut other)?;
    assert!(one != other);
    for numbers in [one, other] {
        // Of 10,000 bytes each of the 256 comes 39 times; 0 as often as 100 times does not happen.
        let zeros = numbers.iter().filter(|number| **number == 0).count();
        assert!(zeros < 100, "{zeros} zeros");
    }
    Ok(())
}

fn echo(path: &str) -> io::Result<()> {
    let mut channel = OpenOptions::new().read(true).write(true).open(path)?;
    let mut lines = BufReader::new(channel.try_clone()?);
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        channel.write_all(&line)?;
        if line == b"end\n" {
            return Ok(());
        }
    }
}
