//! Places for connections: what one address may have of them, and what connections may take that last.

use super::access_log::{Kept, rest};
use super::connections::{THREADS, config};
use super::support::{Asked, Client, Stream, ended, start, wait_until};
use peregrine::{Config, Done, Request, Response, from_fn};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};

const GET: &str = "GET /in HTTP/1.1\r\nHost: a\r\n\r\n";

/// Connects from this address, which is one of the loopback's.
pub(crate) fn tcp_from(own: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((own, 0)).into())
        .expect("an address");
    socket.connect(&addr.into()).expect("a connection");
    socket.into()
}

fn connect_from(own: [u8; 4], addr: SocketAddr) -> Client {
    Client::over_stream(Stream::over(tcp_from(own, addr)))
}

/// A client that has been served; `None` if it was turned away, by 503 or by an end.
fn served_from(own: [u8; 4], addr: SocketAddr) -> Option<Client> {
    let mut client = connect_from(own, addr);
    // It may be closed already.
    let _ = client.stream.write_all(GET.as_bytes());
    let answer = client.try_answer(Asked::Other).ok().flatten()?;
    if answer.status == 503 {
        assert_eq!(answer.get("retry-after"), Some("1"));
        assert!(answer.closes());
        return None;
    }
    assert_eq!(answer.status, 200);
    Some(client)
}

/// With this limit on connections for each address, the loopback included.
fn counted(most: usize, threads: (usize, usize)) -> Config {
    config(1000, threads)
        .connections_per_address(most)
        .trusted_proxies(Vec::new())
}

fn path(req: &Request<'_>, res: Response<'_>) -> Done {
    assert_ne!(req.path(), "/panic", "as a handler does");
    res.text(req.path())
}

const ONE: [u8; 4] = [127, 0, 0, 9];
const OTHER: [u8; 4] = [127, 0, 0, 10];

#[test]
fn the_connections_of_one_address_are_limited() {
    const MOST: usize = 4;
    for threads in THREADS {
        let (server, addr) = start(from_fn(path), counted(MOST, threads));
        let in_place = || served_from(ONE, addr).expect("there is room");
        let mut clients: Vec<_> = (0..MOST).map(|_| in_place()).collect();
        for _ in 0..20 {
            assert!(served_from(ONE, addr).is_none(), "one too many");
        }
        assert!(served_from(OTHER, addr).is_some(), "another address");
        let counters = server.counters();
        assert_eq!(counters.turned_away_by_address, 20);
        assert_eq!(counters.turned_away, 20);
        assert_eq!(counters.accepted, MOST as u64 + 1);
        for client in &mut clients {
            assert_eq!(client.get("/still").text(), "/still");
        }
        clients.pop();
        wait_until("its place is free", || {
            served_from(ONE, addr)
                .map(|client| clients.push(client))
                .is_some()
        });
        assert!(served_from(ONE, addr).is_none(), "one too many");
    }
}

/// A way in which a connection ends.
type End = (&'static str, fn(Client));

/// Whichever way a connection ends, its place is free.
#[test]
fn every_end_frees_a_place() {
    let ends: [End; 8] = [
        ("after an answer", drop),
        ("by a reset", Client::reset),
        ("by a last request", |mut client| {
            client.send("GET / HTTP/1.0\r\n\r\n");
            assert_eq!(client.answer(Asked::Other).status, 200);
            client.expect_end();
        }),
        ("by a bad request", |mut client| {
            client.send("bad\r\n\r\n");
            assert_eq!(client.answer(Asked::Other).status, 400);
        }),
        ("within a head", |mut client| client.send("GET / HT")),
        ("by a panic", |mut client| {
            client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.answer(Asked::Other).status, 500);
        }),
        ("within a body", |mut client| {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
        }),
        ("with an answer unread", |mut client| client.send(GET)),
    ];
    for threads in &THREADS[..2] {
        let (_server, addr) = start(from_fn(path), counted(1, *threads));
        for (how, end) in ends {
            for _ in 0..3 {
                wait_until(how, || served_from(ONE, addr).map(end).is_some());
            }
        }
    }
}

/// A proxy in `Config::trusted_proxies` opens as many connections as it wants.
#[test]
fn trusted_proxies_are_not_counted() {
    let mut config = counted(1, THREADS[0]);
    config.trusted_proxies.push(IpAddr::from(OTHER).into());
    let (_server, addr) = start(from_fn(path), config);
    let proxy: Vec<_> = (0..20).map(|_| served_from(OTHER, addr)).collect();
    assert!(proxy.iter().all(Option::is_some));
    let _one = served_from(ONE, addr).expect("there is room");
    assert!(served_from(ONE, addr).is_none());
}

/// An eighth of the places is not for them.
#[test]
fn streams_of_events_leave_places_for_requests() {
    use std::sync::Mutex;
    let streams = Mutex::new(Vec::new());
    let handle = move |req: &Request<'_>, res: Response<'_>| -> Done {
        let mut streams = streams.lock().expect("no panic");
        match req.path() {
            "/events" => {
                let (done, events) = res.events();
                streams.push(events);
                done
            }
            "/later" => {
                let (done, responder) = res.defer();
                let _ = responder.send(|res| {
                    let (done, events) = res.events();
                    streams.push(events);
                    done
                });
                done
            }
            path => res.text(path),
        }
    };
    let (_server, addr) = start(from_fn(handle), config(16, THREADS[0]));
    let ask = |path: &str| {
        let mut client = Client::connect(addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let mut clients: Vec<_> = (0..14).map(|i| ask(["/events", "/later"][i % 2])).collect();
    for client in &mut clients {
        assert_eq!(client.head().0.status, 200);
    }
    for path in ["/events", "/later"] {
        let mut late = ask(path);
        let answer = late.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (503, true));
        assert_eq!(answer.get("retry-after"), Some("1"));
        late.expect_end();
    }
    assert_eq!(ask("/plain").answer(Asked::Other).text(), "/plain");
    clients.pop();
    wait_until("a place is free", || ask("/events").head().0.status == 200);
}

/// A stream of events that has no place has a line for its 503, and leaves nothing behind.
#[test]
fn streams_that_have_no_place_have_lines() {
    let streams = std::sync::Mutex::new(Vec::new());
    let handle = move |req: &Request<'_>, res: Response<'_>| -> Done {
        let keep = |(done, events)| {
            streams.lock().expect("no panic").push(events);
            done
        };
        match req.path() {
            "/events" => keep(res.events()),
            "/later" => {
                let (done, responder) = res.defer();
                let _ = responder.send(|res| keep(res.events()));
                done
            }
            "/drawn" => res.send_iter(["ab", "cde"]),
            _ => res.text("hi"),
        }
    };
    let kept = Kept::default();
    let log = peregrine::access_log::LogWriter::new(kept.clone()).expect("a thread");
    let app = peregrine::access_log::AccessLog::new(from_fn(handle), log);
    let (server, addr) = start(app, config(8, THREADS[0]));
    let connect = |path: &str| {
        let mut client = Client::connect(addr);
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n"
        ));
        client
    };
    let mut pages: Vec<_> = (0..7).map(|_| connect("/events")).collect();
    for page in &mut pages {
        assert_eq!(page.head().0.status, 200);
    }
    let mut expected = Vec::new();
    for path in ["/events", "/later", "/events", "/later"] {
        let mut client = connect(path);
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.status, 503);
        client.expect_end();
        let len = answer.body.len();
        expected.push(format!(r#""GET {path} HTTP/1.1" 503 {len} "-" "b""#));
        wait_until("the line is there", || {
            kept.lines_so_far().len() == expected.len()
        });
    }
    assert_eq!(connect("/drawn").answer(Asked::Other).text(), "abcde");
    expected.push(r#""GET /drawn HTTP/1.1" 200 5 "-" "b""#.into());
    wait_until("the line is there", || {
        kept.lines_so_far().len() == expected.len()
    });
    server.stop();
    ended(server);
    expected.resize(
        expected.len() + 7,
        r#""GET /events HTTP/1.1" 200 - "-" "b""#.into(),
    );
    let lines = kept.lines();
    let lines: Vec<_> = lines.iter().map(|line| rest(line)).collect();
    assert_eq!(lines, expected);
}

#[cfg(feature = "websocket")]
mod ws {
    use super::super::support::{Asked, Client, wait_until};
    use super::super::ws_sockets::{bench, config};
    use super::{End, ONE, connect_from};
    use std::io::{Read, Write};
    use std::net::SocketAddr;

    const HANDSHAKE: &str = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    /// A WebSocket, if it was accepted.
    fn open(mut client: Client) -> Option<Client> {
        let _ = client.stream.write_all(HANDSHAKE.as_bytes());
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            client.stream.read_exact(&mut byte).ok()?;
            head.extend_from_slice(&byte);
        }
        head.starts_with(b"HTTP/1.1 101 ").then_some(client)
    }

    fn open_from_one(addr: SocketAddr) -> Option<Client> {
        open(connect_from(ONE, addr))
    }

    /// An eighth of the places is not for them.
    #[test]
    fn websockets_leave_places_for_requests() {
        let mut config = config(1);
        config.connections = 16;
        let bench = bench(config);
        let mut sockets: Vec<_> = (0..14).map(|_| bench.connect("/echo")).collect();
        bench.wait_for(14);
        let mut late = Client::connect(bench.addr);
        late.send(HANDSHAKE);
        let answer = late.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (503, false));
        assert_eq!(answer.get("retry-after"), Some("1"));
        // It is served as before, and so are others.
        assert_eq!(late.get("/").status, 200);
        assert_eq!(Client::connect(bench.addr).get("/").status, 200);
        sockets.pop();
        wait_until("a place is free", || {
            open(Client::connect(bench.addr)).is_some()
        });
    }

    /// A WebSocket is counted for its address until it ends, whichever way.
    #[test]
    fn every_end_of_a_websocket_frees_a_place() {
        let mut config = config(1);
        config.connections_per_address = Some(1);
        config.trusted_proxies.clear();
        let bench = bench(config);
        let ends: [End; 4] = [
            ("by the client", drop),
            ("by a reset", Client::reset),
            ("by a close frame", |mut client| {
                client.send(b"\x88\x80\0\0\0\0")
            }),
            ("by an unmasked frame", |mut client| {
                client.send(b"\x81\x02hi")
            }),
        ];
        for (how, end) in ends {
            for _ in 0..3 {
                wait_until(how, || {
                    let client = open_from_one(bench.addr);
                    if client.is_some() {
                        assert!(open_from_one(bench.addr).is_none(), "one too many");
                    }
                    client.map(end).is_some()
                });
            }
        }
    }
}
