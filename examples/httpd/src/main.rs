//! An HTTP/1.1 server with nothing but std: a thread a connection, keep-alive, bodies of any length.
//!
//! `GET /` says hello; `GET /bytes/N` sends N bytes that tell their place (see [`pattern`]); `POST /echo`
//! sends back what it gets, `POST /sha256` tells its digest, `POST /count` its length. Connections that stay
//! silent for [`SILENCE`] are closed, and no more than [`MOST`] are open at once.

mod connection;
mod pattern;
mod request;
mod sha256;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use connection::{Connection, Limit};

/// How long a peer may be silent, or may take nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How many connections are served at once; further ones are told so and closed.
const MOST: usize = 4096;
/// A connection needs its buffers and a few calls.
const STACK: usize = 64 << 10;
/// How long to wait when there is no room for another connection.
const PAUSE: Duration = Duration::from_millis(10);

const USAGE: &str = "usage: httpd [[ADDRESS:]PORT] [--requests N]

  PORT, ADDRESS  where to listen; 0.0.0.0:8080 when absent
  --requests N   end after so many requests";

fn main() -> ExitCode {
    let mut address = "0.0.0.0:8080".to_owned();
    let mut requests = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--requests" {
            let Some(number) = words.next().and_then(|number| number.parse().ok()) else {
                return refuse("--requests takes a number");
            };
            requests = Some(number);
        } else if word.starts_with('-') {
            return refuse(&format!("there is no option {word}"));
        } else if word.contains(':') {
            address = word;
        } else {
            address = format!("0.0.0.0:{word}");
        }
    }
    // Not a name: so the image holds nothing that looks names up.
    let Ok(address) = address.parse::<SocketAddr>() else {
        return refuse(&format!("{address} is neither an address with a port nor a port"));
    };
    let listener = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("httpd: cannot listen on {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    match listener.local_addr() {
        Ok(local) => println!("httpd: serving on http://{local}/"),
        Err(error) => eprintln!("httpd: {error}"),
    }
    serve(&listener, Limit::new(requests))
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("httpd: {why}\n{USAGE}");
    ExitCode::from(2)
}

/// Takes connections for ever, or until the limit's last request ends the process.
fn serve(listener: &TcpListener, limit: Limit) -> ExitCode {
    let limit = Arc::new(limit);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The peer was faster than we, or there is no room just now: others are still waiting.
            Err(error) => {
                eprintln!("httpd: cannot accept: {error}");
                thread::sleep(PAUSE);
                continue;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MOST {
            open.fetch_sub(1, Ordering::Relaxed);
            turn_away(stream);
            continue;
        }
        let guard = Open(Arc::clone(&open));
        let limit = Arc::clone(&limit);
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _guard = guard;
            // A peer that breaks off is no news.
            let _ = Connection::new(stream, SILENCE)
                .and_then(|mut connection| connection.serve(&limit));
        });
        if let Err(error) = thread {
            // The stream went with the closure: it is closed.
            eprintln!("httpd: no thread for a connection: {error}");
            thread::sleep(PAUSE);
        }
    }
}

/// One of the open connections.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn turn_away(mut stream: TcpStream) {
    const REPLY: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(REPLY);
}
