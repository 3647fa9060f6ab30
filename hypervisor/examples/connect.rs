//! A program of the host's that talks to a guest: what standard input holds is sent, and so many lines of what comes
//! back are printed.
//!
//!     connect PATH LINES      to the socket of a channel (`skete run --channel PATH`)

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let done = match words.as_slice() {
        [path, lines] => match lines.parse() {
            Ok(lines) => talk(path, lines),
            Err(_) => Err(io::Error::other(format!("{lines} is no number of lines"))),
        },
        _ => Err(io::Error::other("usage: connect PATH LINES")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("connect: {error}");
            ExitCode::FAILURE
        }
    }
}

fn talk(path: &str, lines: usize) -> io::Result<()> {
    let mut socket = UnixStream::connect(path)?;
    let answers = BufReader::new(socket.try_clone()?);
    let sender = std::thread::spawn(move || {
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
