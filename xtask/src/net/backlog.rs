//! The queues of connections at published ports.
//!
//! QEMU's user network listens with a queue of one: of connections that come at once, this host drops most, and
//! their clients try again a second later, or two. `listen` may be called again for a socket that listens, by
//! whoever has it.

use std::fs;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{getsockname, listen, sockopt};
use rustix::process::{Pid, PidfdGetfdFlags, pidfd_getfd};

/// Connections that wait to be taken; the host may have a lower limit.
const LENGTH: i32 = 4096;
/// How long QEMU is given to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Lengthens the queues of a process, whose `pidfd` is given, at `ports`, as soon as it listens there. A host that does
/// not let us changes nothing.
pub fn lengthen(pid: Pid, pidfd: &OwnedFd, mut ports: Vec<SocketAddrV4>) {
    let end = Instant::now() + PATIENCE;
    while !ports.is_empty() && Instant::now() < end {
        thread::sleep(PAUSE);
        for number in sockets(pid) {
            match pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()) {
                Ok(socket) => {
                    if let Some(place) = listens_at(&socket, &ports)
                        && listen(&socket, LENGTH).is_ok()
                    {
                        ports.swap_remove(place);
                    }
                }
                Err(Errno::PERM | Errno::NOSYS | Errno::SRCH) => return,
                // Closed since.
                Err(_) => {}
            }
        }
    }
}

/// The descriptors of a process that are sockets.
fn sockets(pid: Pid) -> impl Iterator<Item = i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    entries.into_iter().flatten().flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        target.to_str()?.starts_with("socket:").then_some(number)
    })
}

/// Which of `ports` a socket listens at.
fn listens_at(socket: impl AsFd, ports: &[SocketAddrV4]) -> Option<usize> {
    if !sockopt::socket_acceptconn(&socket).ok()? {
        return None;
    }
    let own = SocketAddrV4::try_from(getsockname(&socket).ok()?).ok()?;
    ports.iter().position(|port| *port == own)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use rustix::net::{AddressFamily, SocketType, bind, socket};
    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn connections_find_room_in_a_queue_that_was_lengthened() -> anyhow::Result<()> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        listen(&socket, 1)?;
        let own = SocketAddrV4::try_from(getsockname(&socket)?)?;
        let connect =
            || TcpStream::connect_timeout(&SocketAddr::V4(own), Duration::from_millis(300));
        let mut streams = Vec::new();
        // Nobody accepts.
        while let Ok(stream) = connect() {
            streams.push(stream);
            assert!(streams.len() < 10, "the queue is not short");
        }
        let pid = rustix::process::getpid();
        lengthen(pid, &pidfd_open(pid, PidfdFlags::empty())?, vec![own]);
        for _ in 0..20 {
            streams.push(connect()?);
        }
        Ok(())
    }
}
