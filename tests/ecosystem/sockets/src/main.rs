//! Sockets over the loopback interface by the crates that programs use instead of std: what is ready, when it
//! is told, and options.

mod events;
mod options;
mod posix;
mod readiness;
mod tasks;

use std::process::ExitCode;

use check::Check;
use check::loopback::{BOTH, listen, pair};

const CHECKS: &[Check] = &[
    ("mio: there and back", events::echo),
    ("mio: told once", events::edge),
    ("mio: a connection in the making", events::connect),
    ("mio: nobody listens", events::refused),
    ("mio: datagrams", events::datagrams),
    ("mio: the end", events::end),
    ("mio: woken by a thread", events::waker),
    ("mio: many at once", events::many),
    ("mio: one among many", events::one_among_many),
    ("polling: once", readiness::once),
    ("polling: as long as it is so", readiness::level),
    ("polling: writable, and no more", readiness::full),
    ("polling: the end and errors", readiness::end),
    ("socket2 0.6: streams", options::streams),
    ("socket2 0.5: streams", options::older),
    ("socket2: linger", options::linger),
    ("socket2: keep alive", options::keepalive),
    ("socket2: buffers", options::buffers),
    ("socket2: IPv6 alone", options::only_v6),
    ("socket2: short queues", options::backlog),
    ("socket2: datagrams", options::datagrams),
    ("socket2: time to connect", options::connect),
    ("socket2: a port for several", options::shared_port),
    ("rustix: streams", posix::streams),
    ("rustix: flags of a call", posix::flags),
    ("rustix: datagrams", posix::datagrams),
    ("rustix: options", posix::options),
    ("rustix: errors", posix::errors),
    ("smol: there and back", tasks::echo),
    ("smol: many at once", tasks::many),
    ("smol: datagrams", tasks::datagrams),
    ("smol: time is over", tasks::timeout),
    ("smol: names", tasks::names),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}
