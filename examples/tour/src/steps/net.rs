//! Addresses and sockets, on the loopback interface only.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
};
use std::thread;
use std::time::Duration;

use crate::report::{Report, Trouble, expect_error, failed, fine};
use crate::{ensure, ensure_eq};

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

pub fn walk(report: &mut Report) {
    report.room("network");
    report.step("parse and print addresses", || {
        ensure_eq!("10.0.2.15:80".parse(), Ok(SocketAddr::from(([10, 0, 2, 15], 80))));
        ensure_eq!("::1".parse(), Ok(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        ensure_eq!(
            "[2001:DB8:0:0::1%3]:8".parse::<SocketAddr>().map(|a| a.to_string()),
            Ok("[2001:db8::1%3]:8".to_owned())
        );
        ensure!("256.0.0.1".parse::<IpAddr>().is_err());
        fine()
    });
    report.step("addresses without a resolver", || {
        let addresses = ("127.0.0.1", 7).to_socket_addrs()?.collect::<Vec<_>>();
        ensure_eq!(addresses, [SocketAddr::from(([127, 0, 0, 1], 7))]);
        fine()
    });
    report.step("resolve localhost", || {
        let mut addresses = match "localhost:80".to_socket_addrs() {
            Ok(addresses) => addresses,
            // Without sockets there is nothing that could ask a name server.
            Err(error) if sockets_are_unsupported() => {
                return Err(Trouble::Unsupported(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        ensure!(addresses.any(|address| address.ip().is_loopback() && address.port() == 80));
        fine()
    });
    report.step("TCP: listen, connect, echo", || {
        let listener = TcpListener::bind(LOOPBACK)?;
        let address = listener.local_addr()?;
        let server = thread::spawn(move || -> io::Result<u64> {
            let (mut stream, _) = listener.accept()?;
            let mut back = stream.try_clone()?;
            io::copy(&mut stream, &mut back)
        });
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(b"there and back")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure_eq!(answer, "there and back");
        let echoed = server.join().map_err(|_| failed("the server panicked"))??;
        ensure_eq!(echoed, 14);
        fine()
    });
    report.step("TCP: nobody listens", || {
        let address = TcpListener::bind(LOOPBACK)?.local_addr()?;
        expect_error(TcpStream::connect(address), ErrorKind::ConnectionRefused)?;
        fine()
    });
    report.step("UDP: send and receive", || {
        let (one, two) = (UdpSocket::bind(LOOPBACK)?, UdpSocket::bind(LOOPBACK)?);
        one.send_to(b"datagram", two.local_addr()?)?;
        let mut buffer = [0; 32];
        let (length, from) = two.recv_from(&mut buffer)?;
        ensure_eq!((&buffer[..length], from), (&b"datagram"[..], one.local_addr()?));
        fine()
    });
    report.step("UDP: receive with a timeout", || {
        let socket = UdpSocket::bind(LOOPBACK)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        match socket.recv(&mut [0; 8]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                fine()
            }
            other => Err(failed(format!("{other:?} instead of a timeout"))),
        }
    });
}

fn sockets_are_unsupported() -> bool {
    UdpSocket::bind(LOOPBACK).is_err_and(|error| error.kind() == ErrorKind::Unsupported)
}
