//! Checks sockets over the loopback interface: everything in `std::net`, for IPv4 and IPv6.

mod datagrams;
mod errors;
mod names;
mod options;
mod streams;
mod transfer;
mod waiting;

use std::process::ExitCode;
use std::{io, thread};

use check::Check;
use check::loopback::{BOTH, listen, pair};

const CHECKS: &[Check] = &[
    ("names: numbers", names::numbers),
    ("names: localhost", names::localhost),
    ("names: bind and connect by name", names::bind_and_connect),
    ("names: no such name", names::nothing),
    ("streams: bind to any port", streams::any_port),
    ("streams: there and back", streams::echo),
    ("streams: both sides know both addresses", streams::addresses),
    ("streams: every address of the loopback network", streams::loopback_network),
    ("streams: to no address in particular", streams::unspecified),
    ("streams: one listener for both families", streams::both_families),
    ("streams: the end of one direction", streams::half_close),
    ("streams: nothing more to read", streams::shut_read),
    ("streams: look without taking", streams::peek),
    ("streams: in parts", streams::vectored),
    ("streams: copies of a descriptor", streams::copies),
    ("streams: as descriptors", streams::descriptors),
    ("streams: listen again at once", streams::again),
    ("streams: connect to oneself", streams::same_thread),
    ("streams: connections as an iterator", streams::incoming),
    ("streams: shown", streams::debug),
    ("errors: the address is in use", errors::in_use),
    ("errors: not an own address", errors::foreign),
    ("errors: nobody listens", errors::refused),
    ("errors: the other side throws data away", errors::reset),
    ("errors: write to nobody", errors::broken_pipe),
    ("errors: a listener that goes away", errors::listener_gone),
    ("errors: not connected", errors::not_connected),
    ("errors: not a socket", errors::not_a_socket),
    ("waiting: no connection, no data, no room", waiting::nonblocking),
    ("waiting: time to read", waiting::read_timeout),
    ("waiting: time to write", waiting::write_timeout),
    ("waiting: time to connect", waiting::connect_timeout),
    ("waiting: accept in another thread", waiting::accept),
    ("waiting: woken by an end", waiting::woken),
    ("waiting: connections before they are accepted", waiting::backlog),
    ("waiting: no room for more connections", waiting::backlog_full),
    ("transfer: megabytes both ways", transfer::both_ways),
    ("transfer: every size", transfer::sizes),
    ("transfer: a slow reader", transfer::slow_reader),
    ("transfer: many connections at once", transfer::many_at_once),
    ("transfer: many connections in a row", transfer::many_in_a_row),
    ("transfer: several threads, one connection", transfer::shared),
    ("datagrams: there and back", datagrams::echo),
    ("datagrams: one is one", datagrams::boundaries),
    ("datagrams: longer than the buffer", datagrams::truncated),
    ("datagrams: of no length", datagrams::empty),
    ("datagrams: the longest", datagrams::longest),
    ("datagrams: look without taking", datagrams::peek),
    ("datagrams: from the peer alone", datagrams::connected),
    ("datagrams: nobody there", datagrams::unreachable),
    ("datagrams: to nobody", datagrams::no_destination),
    ("datagrams: time to read", datagrams::timeout),
    ("datagrams: without waiting", datagrams::nonblocking),
    ("datagrams: more than there is room for", datagrams::overflow),
    ("datagrams: copies of a descriptor", datagrams::copies),
    ("datagrams: to everybody", datagrams::broadcast),
    ("datagrams: to a group of IPv4", datagrams::group_v4),
    ("datagrams: to a group of IPv6", datagrams::group_v6),
    ("options: of streams", options::streams),
    ("options: of listeners", options::listeners),
    ("options: of datagrams", options::datagrams),
    ("options: times", options::times),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

/// Waits for a thread.
fn join<T>(thread: thread::JoinHandle<T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Asserts that something failed, in this way.
#[track_caller]
fn fails<T>(result: io::Result<T>, kind: io::ErrorKind) -> io::Error {
    match result {
        Ok(_) => panic!("{kind:?} expected"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error
        }
    }
}
