//! Shows the addresses of names, as std's `ToSocketAddrs` finds them.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        eprintln!("usage: resolve NAME...");
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match (name.as_str(), 0).to_socket_addrs() {
            Ok(addresses) => {
                // Some systems tell an address once for each kind of socket.
                let addresses: BTreeSet<_> = addresses.map(|address| address.ip()).collect();
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                println!("{name}: {}", addresses.join(" "));
            }
            Err(error) => {
                eprintln!("resolve: {name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
