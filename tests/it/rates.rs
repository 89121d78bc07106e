//! How often one address may connect, and how many requests it may make.

use super::connections::THREADS;
use super::proxies::connect_from;
use super::support::{Asked, Client, own_addr, workers};
use crate::support::acceptors;
use peregrine::config::{AddressRate, ForwardedFields};
use peregrine::error::ErrorContext;
use peregrine::server::Running;
use peregrine::testing::Connection;
use peregrine::{Config, Done, Handler, Request, Response, Server, from_fn};
use std::net::SocketAddr;
use std::time::Duration;

const ONE: [u8; 4] = [127, 0, 0, 9];
const OTHER: [u8; 4] = [127, 0, 0, 10];
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// So many, and more only after a time that no test takes.
const fn only(count: u32) -> AddressRate {
    AddressRate::new(count, Duration::from_secs(3600))
}

fn start(config: Config, proxied: bool) -> (Running, SocketAddr) {
    let server = Server::from_fn(|req, res| res.body(req.body()));
    let mut server = server.config(config).bind(own_addr());
    if proxied {
        server = server.proxy_protocol();
    }
    let running = server.start().expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    (running, addr)
}

/// The status of the response to `sent`; `None` if the connection ends without one.
fn status(client: &mut Client, sent: &str) -> Option<u16> {
    use std::io::Write;
    // It may be closed already.
    let _ = client.stream.write_all(sent.as_bytes());
    let answer = client.try_answer(Asked::Other).ok().flatten()?;
    Some(answer.status)
}

#[test]
fn connections_above_the_rate_are_closed() {
    for (count, accept_threads) in THREADS {
        let config = workers(count)
            .accept_threads(acceptors(accept_threads))
            .trusted_proxies([])
            .connection_rate(only(3));
        let (server, addr) = start(config, false);
        for _ in 0..3 {
            assert_eq!(status(&mut connect_from(ONE, addr), GET), Some(200));
        }
        for _ in 0..20 {
            assert_eq!(status(&mut connect_from(ONE, addr), GET), None);
        }
        assert_eq!(status(&mut connect_from(OTHER, addr), GET), Some(200));
        let counters = server.counters();
        assert_eq!(
            (counters.turned_away, counters.turned_away_by_rate),
            (20, 20)
        );
        assert_eq!(counters.turned_away_by_address, 0);
        assert_eq!((counters.accepted, counters.refused), (4, 0));
    }
}

/// Trusted proxies may do both as often as they want, and so may programs of this machine by default.
#[test]
fn trusted_proxies_have_no_rate() {
    let config = workers(1).connection_rate(only(0)).request_rate(only(0));
    let (_server, addr) = start(config, false);
    for _ in 0..5 {
        let mut client = connect_from(ONE, addr);
        assert!((0..5).all(|_| status(&mut client, GET) == Some(200)));
    }
}

/// Behind a balancer with a PROXY header, and behind a proxy with a field, each client has its own rate.
#[test]
fn clients_behind_proxies_have_a_rate_each() {
    let balanced = |client: &str| format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n{GET}");
    let config = || workers(1).trusted_proxies(["127.0.0.9".parse().expect("a network")]);
    let (server, addr) = start(config().connection_rate(only(2)), true);
    let connect = |client| status(&mut connect_from(ONE, addr), &balanced(client));
    assert_eq!([connect("192.0.2.1"), connect("192.0.2.1")], [Some(200); 2]);
    assert_eq!(
        [connect("192.0.2.1"), connect("192.0.2.2")],
        [None, Some(200)]
    );
    assert_eq!(server.counters().turned_away_by_rate, 1);

    let (server, addr) = start(config().request_rate(only(2)), true);
    let ask = |client| status(&mut connect_from(ONE, addr), &balanced(client));
    assert_eq!([ask("192.0.2.1"), ask("192.0.2.1")], [Some(200); 2]);
    assert_eq!([ask("192.0.2.1"), ask("192.0.2.2")], [Some(429), Some(200)]);
    assert_eq!(server.counters().refused_by_rate, 1);

    let x = ForwardedFields::X {
        proto: false,
        host: false,
    };
    let (_server, addr) = start(config().forwarded(x).request_rate(only(2)), false);
    // One connection of the proxy for all of its clients, which goes on.
    let mut proxy = connect_from(ONE, addr);
    let mut ask = |clients: &str| {
        let fields = format!("X-Forwarded-For: {clients}\r\n");
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        status(&mut proxy, &request)
    };
    // What a client writes itself stands in front.
    assert_eq!(
        [ask("192.0.2.1"), ask("6.6.6.6, 192.0.2.1")],
        [Some(200); 2]
    );
    assert_eq!(
        [ask("192.0.2.1"), ask("7.7.7.7, 192.0.2.1")],
        [Some(429); 2]
    );
    assert_eq!([ask("192.0.2.2"), ask("unknown")], [Some(200); 2]);
    // A client that is no proxy is counted by its own address, whatever it writes.
    let mut other = connect_from(OTHER, addr);
    let forged = |n| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.{n}\r\n\r\n");
    let statuses = [1, 2, 3].map(|n| status(&mut other, &forged(n)));
    assert_eq!(statuses, [Some(200), Some(200), Some(429)]);
}

#[test]
fn requests_above_the_rate_get_429() {
    for count in [1, 2] {
        let config = workers(count).trusted_proxies([]).request_rate(only(4));
        let (server, addr) = start(config, false);
        // Over all its connections.
        let mut clients = [(); 2].map(|()| connect_from(ONE, addr));
        for i in 0..4 {
            assert_eq!(status(&mut clients[i % 2], GET), Some(200));
        }
        for i in 0..8 {
            let client = &mut clients[i % 2];
            client.send(GET);
            let answer = client.answer(Asked::Other);
            assert_eq!((answer.status, answer.closes()), (429, false));
            let wait: u32 = answer
                .get("retry-after")
                .expect("a time")
                .parse()
                .expect("seconds");
            assert!((1..=900).contains(&wait), "{wait}");
            assert_eq!(answer.text(), "too many requests\n");
        }
        assert_eq!(status(&mut connect_from(OTHER, addr), GET), Some(200));
        let counters = server.counters();
        assert_eq!((counters.refused, counters.refused_by_rate), (8, 8));
        assert_eq!((counters.requests, counters.responses_4xx), (5, 8));
    }
}

#[test]
fn a_rate_without_a_time_is_refused() {
    let rate = AddressRate::new(1, Duration::ZERO);
    for config in [
        workers(1).connection_rate(rate),
        workers(1).request_rate(rate),
    ] {
        let server = Server::from_fn(|_, res| res.text("hi")).config(config);
        let error = server.bind(own_addr()).start().expect_err("no time");
        assert!(error.to_string().contains("_rate has \"0ns\""), "{error}");
    }
}

/// A host that is not served counts, too: with HTTP/2 the connection goes on after 421.
#[cfg(feature = "http2")]
#[test]
fn requests_for_other_hosts_have_the_same_rate() {
    use peregrine::testing::Http2;
    let app = from_fn(|_: &Request<'_>, res: Response<'_>| res.text("hi"));
    let (config, peer) = rated(only(2));
    let config = config.allowed_hosts(["other.example"]);
    let mut client = Http2::with_config(&app, &config, peer);
    let ids = [(); 4].map(|()| client.get("/"));
    let statuses = ids.map(|id| client.response(id).status);
    assert_eq!(statuses, [421, 421, 429, 429]);
}

/// For connections in memory.
fn rated(rate: AddressRate) -> (Config, SocketAddr) {
    let peer = SocketAddr::from(([192, 0, 2, 1], 1));
    (Config::default().request_rate(rate), peer)
}

fn in_memory<H: Handler>(handler: &H, rate: AddressRate) -> Connection<'_, H> {
    let (config, peer) = rated(rate);
    Connection::with_config(handler, &config, peer)
}

#[test]
fn a_request_counts_once_whatever_its_body() {
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| res.body(req.body()));
    let post = |framing: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}")
    };
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n"),
        ("Content-Length: 0", ""),
    ] {
        let request = post(framing, body);
        let mut client = in_memory(&app, only(2));
        client.send(request.repeat(4).as_bytes());
        let received = String::from_utf8_lossy(client.received()).into_owned();
        let count = |text| received.matches(text).count();
        let counts = (count("HTTP/1.1 200 "), count("HTTP/1.1 429 "));
        // A chunked body that is not read may be of any length, so the connection ends.
        let ended = framing.starts_with("Transfer");
        assert_eq!(
            counts,
            (2, if ended { 1 } else { 2 }),
            "{framing} {received}"
        );
        assert_eq!(count("Connection: close\r\n") > 0, ended, "{received}");
    }
    // A body that is not sent before a 100, and one that is too long to be discarded.
    for (framing, body) in [
        ("Content-Length: 5\r\nExpect: 100-continue", ""),
        ("Content-Length: 999999", "x"),
    ] {
        let mut client = in_memory(&app, only(0));
        client.send(post(framing, body).as_bytes());
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert!(
            received.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
            "{received}"
        );
        assert!(received.contains("Connection: close\r\n"), "{received}");
    }
}

#[test]
fn handlers_shape_the_response_to_too_many_requests() {
    struct Shapes;
    impl Handler for Shapes {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("hi")
        }

        fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
            let path = error.request().expect("a request").path();
            res.body(format!("refused: {path}"))
        }
    }
    let mut client = in_memory(&Shapes, only(0));
    client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let received = String::from_utf8_lossy(client.received()).into_owned();
    assert!(received.starts_with("HTTP/1.1 429 "), "{received}");
    // Without a rate that ever comes back, the time is that of one request.
    assert!(received.contains("\r\nRetry-After: "), "{received}");
    assert!(received.ends_with("\r\n\r\nrefused: /a"), "{received}");
}

#[cfg(feature = "http2")]
#[test]
fn a_stream_above_the_rate_gets_429_and_the_connection_goes_on() {
    use peregrine::testing::Http2;
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| res.body(req.body()));
    let (config, peer) = rated(only(2));
    let mut client = Http2::with_config(&app, &config, peer);
    let ids = [(); 4].map(|()| client.get("/"));
    let statuses = ids.map(|id| client.response(id).status);
    assert_eq!(statuses, [200, 200, 429, 429]);
    let refused = client.response(ids[3]);
    assert!(refused.field("retry-after").is_some() && refused.is_complete);
    assert!(client.goaways().is_empty());
}
