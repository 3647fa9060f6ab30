//! tokio: both schedulers, timers, channels, locks, files, sockets, blocking work, streams in memory, signals
//! and processes as far as there are any.

mod channels;
mod files;
mod network;
mod system;
mod tasks;
mod timers;

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use check::Check;
use tokio::runtime::{Builder, Runtime};

const CHECKS: &[Check] = &[
    ("tasks: spawn and join", tasks::spawn),
    ("tasks: one thread", tasks::one_thread),
    ("tasks: abort and panic", tasks::abort_and_panic),
    ("tasks: blocking work", tasks::blocking),
    ("tasks: local set", tasks::local),
    ("tasks: ten thousand", tasks::ten_thousand),
    ("timers: never early", timers::never_early),
    ("timers: interval", timers::interval),
    ("timers: timeout and select", timers::timeout_and_select),
    ("timers: many short sleeps", timers::short),
    ("channels: mpsc", channels::mpsc),
    ("channels: oneshot, broadcast, watch", channels::others),
    ("channels: locks", channels::locks),
    ("channels: from other threads", channels::other_threads),
    ("files: write, read, list", files::files),
    ("files: lines and seeks", files::lines),
    ("files: streams in memory", files::memory),
    ("network: there and back", network::echo),
    ("network: many at once", network::many),
    ("network: errors", network::errors),
    ("network: what is ready", network::readiness),
    ("network: options", network::options),
    ("network: datagrams", network::datagrams),
    ("network: names", network::names),
    ("network: a proxy", network::proxy),
    ("system: Ctrl-C does not come", system::ctrl_c),
    ("system: processes", system::processes),
    ("system: idle without work", system::idle),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(3).enable_all().build()
}

/// Runs a future on a runtime with several threads, with a limit of time.
fn run(future: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    runtime()?.block_on(async {
        match tokio::time::timeout(Duration::from_secs(60), future).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}
