//! Passes connections on to a server. It can break them, or hold all bytes without an end of the connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) struct Gate {
    addr: String,
    /// What clients send, and what the server sends.
    is_held: [Arc<AtomicBool>; 2],
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Gate {
    pub(crate) fn to(server: &str) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let gate = Gate {
            addr: listener.local_addr().expect("an address").to_string(),
            is_held: Default::default(),
            open: Arc::default(),
        };
        let (server, is_held, open) = (server.to_owned(), gate.is_held.clone(), gate.open.clone());
        // It ends with the process of the test.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else {
                    continue;
                };
                let both = [&client, &server].map(|stream| stream.try_clone().expect("a handle"));
                let [from_client, from_server] = both;
                open.lock().expect("no panic").extend([
                    client.try_clone().expect("a handle"),
                    server.try_clone().expect("a handle"),
                ]);
                let [to_server, to_client] = is_held.clone();
                for (from, to, is_held) in [
                    (from_client, server, to_server),
                    (from_server, client, to_client),
                ] {
                    thread::spawn(move || pass(from, to, &is_held));
                }
            }
        });
        gate
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.clone()
    }

    /// Bytes of a connection that was held are never passed on.
    pub(crate) fn hold(&self, is_held: bool) {
        for flag in &self.is_held {
            flag.store(is_held, Ordering::SeqCst);
        }
    }

    /// Commands reach the server, and their replies are held.
    pub(crate) fn hold_replies(&self) {
        self.is_held[1].store(true, Ordering::SeqCst);
    }

    /// Whether a client has come since connections were broken.
    pub(crate) fn has_client(&self) -> bool {
        !self.open.lock().expect("no panic").is_empty()
    }

    pub(crate) fn break_all(&self) {
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_held: &AtomicBool) {
    from.set_read_timeout(Some(Duration::from_millis(5)))
        .expect("a socket");
    let (mut buf, mut was_held) = ([0; 4096], false);
    loop {
        was_held |= is_held.load(Ordering::SeqCst);
        let read = from.read(&mut buf);
        // It may have waited since before the call of `hold`.
        was_held |= is_held.load(Ordering::SeqCst);
        match read {
            Ok(0) => break,
            Ok(_) if was_held => {}
            Ok(count) => {
                if to.write_all(&buf[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // The end of a connection that was held is not passed on either.
    if !was_held {
        let _ = to.shutdown(Shutdown::Both);
    }
}
