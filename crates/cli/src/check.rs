//! `peregrine check`: asks a server whether it responds, for images without a shell.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// For each step.
const LIMIT: Duration = Duration::from_secs(5);

/// An error unless the server responds with a status below 500. A request for a password and a refusal count as well: a
/// server with TLS refuses a request without it.
pub(crate) fn check(mut addr: SocketAddr) -> io::Result<()> {
    // The address of a server that listens on all of them.
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut server = TcpStream::connect_timeout(&addr, LIMIT)?;
    server.set_read_timeout(Some(LIMIT))?;
    server.set_write_timeout(Some(LIMIT))?;
    server.write_all(
        format!("HEAD / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut line = [0; "HTTP/1.1 200".len()];
    server.read_exact(&mut line)?;
    match line.strip_prefix(b"HTTP/1.1 ") {
        Some([b'2'..=b'4', b'0'..=b'9', b'0'..=b'9']) => Ok(()),
        _ => Err(io::Error::other(format!(
            "{} from {addr}",
            String::from_utf8_lossy(&line)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_responds_is_well() {
        for (response, is_well) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("SSH-2.0-OpenSSH_9.2\r\n", false),
            ("HTTP/1.1 2", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let addr = listener.local_addr().expect("an address");
            let server = std::thread::spawn(move || {
                let (mut client, _) = listener.accept().expect("a client");
                let mut request = [0; 200];
                let _ = client.read(&mut request);
                client.write_all(response.as_bytes()).expect("written");
            });
            let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port());
            assert_eq!(check(any).is_ok(), is_well, "{response}");
            server.join().expect("no panic");
            assert!(check(addr).is_err(), "it is gone");
        }
    }
}
