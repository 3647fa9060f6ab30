//! Names of machines.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};

use crate::BOTH;

fn all(what: impl ToSocketAddrs) -> io::Result<Vec<String>> {
    Ok(what.to_socket_addrs()?.map(|address| address.to_string()).collect())
}

pub fn numbers() -> io::Result<()> {
    assert_eq!(all("10.1.2.3:80")?, ["10.1.2.3:80"]);
    assert_eq!(all(("10.1.2.3", 80))?, ["10.1.2.3:80"]);
    assert_eq!(all(("::1", 7))?, ["[::1]:7"]);
    assert_eq!(all("[2001:db8::1]:7")?, ["[2001:db8::1]:7"]);
    assert_eq!(all("[fe80::1%1]:7")?, ["[fe80::1%1]:7"]);
    // These need the resolver.
    assert_eq!(all("127.1:80")?, ["127.0.0.1:80"]);
    assert_eq!(all(("0x7f.1", 80))?, ["127.0.0.1:80"]);
    assert_eq!(all(("fe80::1%1", 7))?, ["[fe80::1%1]:7"]);
    Ok(())
}

pub fn localhost() -> io::Result<()> {
    for name in ["localhost", "LOCALHOST"] {
        let addresses: Vec<SocketAddr> = (name, 80).to_socket_addrs()?.collect();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        assert!(addresses.iter().all(|address| address.port() == 80));
        assert!(addresses.contains(&(BOTH[0], 80).into()), "{addresses:?}");
        let mut distinct = addresses.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), addresses.len());
    }
    Ok(())
}

pub fn bind_and_connect() -> io::Result<()> {
    let listener = TcpListener::bind("localhost:0")?;
    let port = listener.local_addr()?.port();
    let client = TcpStream::connect(("localhost", port))?;
    let (server, from) = listener.accept()?;
    assert_eq!(client.local_addr()?, from);
    assert_eq!(server.local_addr()?.ip(), client.peer_addr()?.ip());
    // The first address that works counts.
    let closed: SocketAddr = (BOTH[0], 1).into();
    let both = [closed, listener.local_addr()?];
    assert_eq!(TcpStream::connect(&both[..])?.peer_addr()?, both[1]);
    Ok(())
}

pub fn nothing() -> io::Result<()> {
    for name in ["a..b", "with space", "", "no\u{df}such"] {
        let error = crate::fails((name, 80).to_socket_addrs(), uncategorized());
        let text = error.to_string();
        assert!(text.starts_with("failed to lookup address information: "), "{text}");
    }
    crate::fails("localhost".to_socket_addrs(), io::ErrorKind::InvalidInput);
    crate::fails("localhost:65536".to_socket_addrs(), io::ErrorKind::InvalidInput);
    crate::fails(("nul\0byte", 1).to_socket_addrs(), io::ErrorKind::InvalidInput);
    assert!("256.0.0.1".parse::<IpAddr>().is_err());
    Ok(())
}

/// The kind without a name.
fn uncategorized() -> io::ErrorKind {
    io::Error::from_raw_os_error(0).kind()
}
