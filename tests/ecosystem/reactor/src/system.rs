//! rustix: clocks, the process, random numbers, terminals, addresses.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::thread::{ClockId as SleepClock, NanosleepRelativeResult};
use rustix::time::{ClockId, Timespec, clock_gettime};

pub fn clocks() -> io::Result<()> {
    let before = clock_gettime(ClockId::Monotonic);
    let start = Instant::now();
    let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let slept = rustix::thread::nanosleep(&pause);
    assert!(matches!(slept, NanosleepRelativeResult::Ok));
    assert!(start.elapsed() >= Duration::from_millis(10));
    let after = clock_gettime(ClockId::Monotonic);
    assert!(after >= before + pause);
    let until = after + pause;
    rustix::thread::clock_nanosleep_absolute(SleepClock::Monotonic, &until)?;
    assert!(clock_gettime(ClockId::Monotonic) >= until);
    // A time that is over takes none.
    rustix::thread::clock_nanosleep_absolute(SleepClock::Monotonic, &before)?;
    assert!(clock_gettime(ClockId::Realtime).tv_sec > 1_700_000_000);
    rustix::thread::sched_yield();
    Ok(())
}

pub fn process() -> io::Result<()> {
    let number = rustix::process::getpid();
    assert_eq!(number.as_raw_nonzero().get() as u32, std::process::id());
    let directory = tempfile::tempdir()?;
    let before = rustix::process::getcwd(Vec::new())?;
    rustix::process::chdir(directory.path())?;
    let now = rustix::process::getcwd(Vec::new())?;
    assert_eq!(now.to_str().ok(), directory.path().canonicalize()?.to_str());
    std::fs::write("relative", "")?;
    rustix::fs::statat(rustix::fs::CWD, "relative", rustix::fs::AtFlags::empty())?;
    rustix::process::chdir(before)?;
    assert!(!std::path::Path::new("relative").exists());
    assert_eq!(rustix::process::chdir("/no/such"), Err(Errno::NOENT));
    assert_eq!(rustix::param::page_size(), 4096);
    Ok(())
}

pub fn random() -> io::Result<()> {
    let (mut one, mut other) = ([0; 32], [0; 32]);
    assert_eq!(getrandom(&mut one, GetRandomFlags::empty())?, 32);
    assert_eq!(getrandom(&mut other, GetRandomFlags::empty())?, 32);
    assert_ne!(one, other);
    Ok(())
}

pub fn terminals() -> io::Result<()> {
    use std::io::IsTerminal;
    let file = tempfile::tempfile()?;
    assert!(!rustix::termios::isatty(&file));
    assert_eq!(rustix::termios::isatty(rustix::stdio::stdout()), io::stdout().is_terminal());
    assert_eq!(rustix::termios::tcgetwinsize(&file), Err(Errno::NOTTY));
    assert_eq!(rustix::termios::tcgetattr(&file).err(), Some(Errno::NOTTY));
    if cfg!(target_os = "hermit") {
        assert_eq!(terminal_size::terminal_size(), None);
    }
    Ok(())
}

pub fn addresses() -> io::Result<()> {
    let four = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 80));
    let six: SocketAddr = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0, 3).into();
    for (address, family) in [(four, AddressFamily::INET), (six, AddressFamily::INET6)] {
        let any = SocketAddrAny::from(address);
        assert_eq!(any.address_family(), family);
        assert_eq!(SocketAddr::try_from(any)?, address);
    }
    let (_, writer) = io::pipe()?;
    assert_eq!(rustix::net::getsockname(&writer).err(), Some(Errno::NOTSOCK));
    Ok(())
}
