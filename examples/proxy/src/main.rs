//! Hands TCP connections and datagrams on to another address: between two networks, each with a card of its own,
//! or within one.
//!
//! Each direction of a connection has a thread. What one side closes for writing is closed for writing on the other.

mod datagrams;

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How long to wait when there is no room for another connection.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (listen, target) = match &words[..] {
        [target] => ("0.0.0.0:8080".to_owned(), target),
        [listen, target] if listen.contains(':') => (listen.clone(), target),
        [port, target] => (format!("0.0.0.0:{port}"), target),
        _ => {
            eprintln!("usage: proxy [[ADDRESS:]PORT] TARGET:PORT");
            return ExitCode::from(2);
        }
    };
    match serve(&listen, target) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: cannot serve on {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listen: &str, target: &str) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let socket = UdpSocket::bind(listener.local_addr()?)?;
    let far = target.to_owned();
    thread::Builder::new().spawn(move || {
        let error = datagrams::serve(socket, &far);
        eprintln!("proxy: datagrams are handed on no longer: {error}");
    })?;
    println!("proxy: serving on {} for {target}", listener.local_addr()?);
    loop {
        let target = target.to_owned();
        let taken = listener.accept().and_then(|(client, peer)| {
            thread::Builder::new().spawn(move || {
                if let Err(error) = pass(client, &target) {
                    eprintln!("proxy: {peer} to {target}: {error}");
                }
            })
        });
        if let Err(error) = taken {
            eprintln!("proxy: no room for a connection: {error}");
            thread::sleep(PAUSE);
        }
    }
}

/// Connects a client with the target until both have closed.
fn pass(client: TcpStream, target: &str) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::Builder::new().spawn(move || one_way(from, to))?;
    let down = one_way(server, client);
    let up = up.join().unwrap_or_else(|_| Err(io::Error::other("a direction has panicked")));
    up.and(down)
}

/// Copies until `from` sends no more, and tells `to` so. When `to` takes no more, `from` is told.
fn one_way(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    if copied.is_err() {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
    copied.map(drop)
}
