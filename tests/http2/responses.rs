//! Responses that come later or in pieces.

use super::client::Client;
use super::{LONG, Left, deferring};
use peregrine::sse::Event;
use peregrine::testing::Http2;
use peregrine::{Config, Limits, Server, from_fn};
use std::thread;
use std::time::Duration;

const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;

#[path = "../it/support/kinds.rs"]
mod kinds;

/// A response that was prepared is the response from which it was made.
#[test]
fn prepared_responses_of_each_kind() {
    let app = kinds::app(|res| res.header("vary", "y"));
    let mut client = Http2::new(&app);
    // One that closes has no second response.
    for (kind, _) in kinds::KINDS.iter().filter(|kind| kind.0 != "close") {
        for method in ["GET", "HEAD", "POST"] {
            let ask = |client: &mut Http2<'_, _>, way| {
                let stream = client.request(method, &format!("/{way}/{kind}"), &[], b"");
                assert!(client.wait_for(stream, LONG));
                client.response(stream).clone()
            };
            let expected = ask(&mut client, "direct");
            assert!(expected.is_complete && expected.status > 0, "{expected:?}");
            assert_eq!(ask(&mut client, "prepared"), expected, "{method} {kind}");
            assert_eq!(ask(&mut client, "later"), expected, "{method} {kind}");
        }
    }
}

#[test]
fn prepared_responses_over_a_socket() {
    let server = Server::new(kinds::app(|res| res));
    let server = server.config(Config::default().workers(1));
    let server = server.bind("127.0.0.1:0").start().expect("a server");
    let mut client = Client::connect(server.local_addr().expect("an address"));
    for (kind, len) in [("body", 5), ("large", 20_000), ("404", 5)] {
        let stream = client.get(&format!("/prepared/{kind}"));
        assert_eq!(client.body(stream).len(), len, "{kind}");
    }
}

#[test]
fn deferred_responses_in_any_order() {
    let (app, left) = deferring();
    let mut client = Http2::new(&app);
    let streams = ["/a", "/b", "/c"].map(|path| client.get(path));
    let [a, b, c] = [(); 3].map(|()| left.take());
    c.send(|res| res.text("third")).expect("pending");
    a.send(|res| res.status(201).text("first"))
        .expect("pending");
    assert!(client.wait(LONG));
    drop(b);
    for (stream, status, body) in [
        (streams[0], 201, "first"),
        (
            streams[1],
            500,
            "the server could not respond to this request\n",
        ),
        (streams[2], 200, "third"),
    ] {
        assert!(client.wait_for(stream, LONG));
        let response = client.response(stream);
        assert_eq!(response.status, status);
        assert_eq!(String::from_utf8_lossy(&response.body), body);
        assert_eq!(response.field("x-early").is_some(), status != 500);
    }
    assert!(!client.is_closed());
}

#[test]
fn a_reset_ends_a_deferred_response_and_nothing_else() {
    let (app, left) = deferring();
    let mut client = Http2::new(&app);
    let (a, b) = (client.get("/a"), client.get("/b"));
    let [first, second] = [(); 2].map(|()| left.take());
    assert!(!first.is_gone());
    client.reset(a, CANCEL);
    assert!(first.is_gone() && !second.is_gone());
    let _ = first.send(|res| res.text("lost"));
    second.send(|res| res.text("comes")).expect("pending");
    assert!(client.wait_for(b, LONG));
    assert_eq!(client.response(b).body, b"comes");
    assert_eq!(client.response(a).status, 0);
    assert_eq!(client.counters().http2_resets_received, 1);
}

#[test]
fn offloaded_requests_have_their_head_and_body() {
    let app = from_fn(|req, res| {
        res.offload(req, |req, res| {
            res.body([req.path().as_bytes(), req.body()].concat())
        })
    });
    let mut client = Http2::new(&app);
    let a = client.get("/a");
    let b = client.request("POST", "/b", &[], b" with a body");
    for (stream, body) in [(a, "/a"), (b, "/b with a body")] {
        assert!(client.wait_for(stream, LONG));
        assert_eq!(String::from_utf8_lossy(&client.response(stream).body), body);
    }
}

#[test]
fn a_late_response_has_its_time() {
    let (app, left) = deferring();
    let mut client = Http2::new(&app);
    let stream = client.get("/");
    client.elapse(Duration::from_secs(299));
    assert_eq!(client.response(stream).status, 0);
    client.elapse(Duration::from_secs(3));
    assert_eq!(client.response(stream).status, 503);
    assert_eq!(client.counters().response_timeouts, 1);
    assert!(left.take().is_gone() && !client.is_closed());
}

#[test]
fn streamed_bodies_with_and_without_a_length_and_trailers() {
    let app = from_fn(|req, res| match req.path() {
        "/stream" => {
            let (done, mut body) = res.stream();
            thread::spawn(move || {
                for piece in ["one ", "two ", "three"] {
                    body.send(piece).expect("the client is there");
                }
                body.trailer("checksum", "abc").expect("a valid trailer");
                body.finish().expect("the client is there");
            });
            done
        }
        "/exact" | "/short" => {
            let (done, mut body) = res.stream_exact(6);
            let is_short = req.path() == "/short";
            thread::spawn(move || {
                body.send("abc").expect("the client is there");
                if !is_short {
                    body.send("def").expect("the client is there");
                }
                body.finish().expect("the worker is there");
            });
            done
        }
        "/iter" => res.send_iter((0..1000).map(|i| format!("{i:04}"))),
        "/reader" => {
            let zeros = std::io::Read::take(std::io::repeat(b'0'), 1 << 20);
            res.send_reader(zeros, Some(1 << 20))
        }
        _ => res.send_iter(std::iter::empty::<&'static str>()),
    });
    let mut client = Http2::new(&app);
    let paths = ["/stream", "/exact", "/short", "/iter", "/reader", "/empty"];
    let [stream, exact, short, iter, reader, empty] = paths.map(|path| client.get(path));
    for id in [stream, exact, short, iter, reader, empty] {
        assert!(client.wait_for(id, LONG));
    }
    let response = client.response(stream);
    assert_eq!(response.body, b"one two three");
    assert_eq!(
        response.trailers,
        [("checksum".to_owned(), "abc".to_owned())]
    );
    assert_eq!(response.field("content-length"), None);
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(client.response(exact).field("content-length"), Some("6"));
    assert_eq!(client.response(exact).body, b"abcdef");
    assert_eq!(client.response(short).reset, Some(INTERNAL_ERROR));
    assert!(!client.response(short).is_complete);
    assert_eq!(client.response(iter).body.len(), 4000);
    assert_eq!(client.response(reader).body.len(), 1 << 20);
    let response = client.response(empty);
    assert!(response.body.is_empty() && response.is_complete);
}

#[test]
fn events_have_heartbeats_and_end_with_the_server() {
    let left = Left::new();
    let put = left.also();
    let app = from_fn(move |_, res| {
        let (done, sender) = res.events();
        put.put(sender);
        done
    });
    let mut client = Http2::new(&app);
    let (a, b) = (client.get("/a"), client.get("/b"));
    let (mut sender, _other) = (left.take(), left.take());
    sender
        .send(Event::new().data("hello"))
        .expect("the client is there");
    assert!(client.wait(LONG));
    assert_eq!(client.response(a).body, b"data: hello\n\n");
    assert_eq!(
        client.response(a).field("content-type"),
        Some("text/event-stream")
    );
    client.elapse(Duration::from_secs(16));
    assert_eq!(client.response(a).body, b"data: hello\n\n:\n\n");
    assert_eq!(client.response(b).body, b":\n\n");
    client.reset(b, CANCEL);
    client.stop();
    assert!(client.response(a).is_complete);
    assert!(client.is_closed());
    assert!(sender.send(Event::new().data("more")).is_err());
}

#[test]
fn windows_hold_back_what_is_sent() {
    let app = from_fn(|req, res| match req.path() {
        "/large" => res.body(vec![b'x'; 100_000]),
        "/shared" => res.send(vec![b'y'; 100_000]),
        "/iter" => res.send_iter((0..100).map(|_| vec![b'z'; 1000])),
        _ => res.text("small"),
    });
    for path in ["/large", "/shared", "/iter"] {
        let mut client = Http2::with_window(&app, Limits::default(), 1000);
        let (large, small) = (client.get(path), client.get("/"));
        assert_eq!(client.response(large).body.len(), 1000, "{path}");
        assert!(client.response(small).is_complete, "{path}");
        client.window_update(large, 50_000);
        assert_eq!(client.response(large).body.len(), 51_000, "{path}");
        client.window_update(large, 1 << 20);
        let response = client.response(large);
        assert!(response.is_complete, "{path}");
        assert_eq!(response.body.len(), 100_000, "{path}");
    }
}

#[test]
fn a_client_that_opens_no_window_loses_its_stream() {
    let app = from_fn(|_, res| res.body(vec![b'x'; 100_000]));
    let mut client = Http2::with_window(&app, Limits::default(), 1000);
    let stream = client.get("/");
    for _ in 0..32 {
        client.elapse(Duration::from_secs(1));
    }
    assert_eq!(client.response(stream).reset, Some(CANCEL));
    assert_eq!(client.counters().http2_resets_sent, 1);
    assert!(!client.is_closed());
}

#[test]
fn files_go_out_in_frames() {
    let file = std::fs::File::open("Cargo.lock").expect("readable");
    let len = file.metadata().expect("readable").len();
    let file = std::sync::Arc::new(file);
    let app = from_fn(move |_, res| res.send_file(file.clone(), 0..len));
    let expected = std::fs::read("Cargo.lock").expect("readable");
    for window in [1 << 30, 5000] {
        let mut client = Http2::with_window(&app, Limits::default(), window);
        let stream = client.get("/");
        while !client.response(stream).is_complete {
            assert_eq!(client.response(stream).reset, None);
            assert!(!client.is_closed());
            client.window_update(stream, 7777);
        }
        assert!(client.response(stream).body == expected, "{window}");
    }
}
