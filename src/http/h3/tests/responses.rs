//! Responses that come later or in pieces.

use super::*;
use crate::sse::Event;
use std::thread;

#[test]
fn deferred_responses_in_any_order() {
    let (app, left) = deferring();
    let mut client = Http3::new(&app);
    let streams = ["/a", "/b", "/c"].map(|path| client.get(path));
    let [a, b, c] = [(); 3].map(|()| left.take());
    c.send(|res| res.text("third")).expect("pending");
    a.send(|res| res.status(201).text("first"))
        .expect("pending");
    drop(b);
    let failed = "the server could not respond to this request\n";
    for (stream, status, body) in [
        (streams[0], 201, "first"),
        (streams[1], 500, failed),
        (streams[2], 200, "third"),
    ] {
        assert!(client.wait_for(stream, LONG));
        let response = client.response(stream);
        assert_eq!(response.status, status);
        assert_eq!(String::from_utf8_lossy(&response.body), body);
        assert_eq!(response.field("x-early").is_some(), status != 500);
    }
    assert_eq!(client.closed, None);
}

#[test]
fn a_reset_ends_a_deferred_response_and_nothing_else() {
    let (app, left) = deferring();
    let mut client = Http3::new(&app);
    let (a, b) = (client.get("/a"), client.get("/b"));
    let [first, second] = [(); 2].map(|()| left.take());
    assert!(!first.is_gone());
    client.cancel(a);
    assert!(first.is_gone() && !second.is_gone());
    let _ = first.send(|res| res.text("lost"));
    second.send(|res| res.text("comes")).expect("pending");
    assert!(client.wait_for(b, LONG));
    assert_eq!(client.response(b).body, b"comes");
    assert_eq!(client.response(a).status, 0);
    assert_eq!(client.counters().http3_resets_received, 1);
}

#[test]
fn offloaded_requests_have_their_head_and_body() {
    let app = from_fn(|req, res| {
        res.offload(req, |req, res| {
            res.body([req.path().as_bytes(), req.body()].concat())
        })
    });
    let mut client = Http3::new(&app);
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
    let mut client = Http3::new(&app);
    let stream = client.get("/");
    client.elapse(299);
    assert_eq!(client.response(stream).status, 0);
    client.elapse(3);
    assert_eq!(client.response(stream).status, 503);
    assert_eq!(client.counters().response_timeouts, 1);
    assert!(left.take().is_gone());
    assert_eq!(client.closed, None);
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
    let mut client = Http3::new(&app);
    let paths = ["/stream", "/exact", "/short", "/iter", "/reader", "/empty"];
    let [stream, exact, short, iter, reader, empty] = paths.map(|path| client.get(path));
    for id in [stream, exact, short, iter, reader, empty] {
        assert!(client.wait_for(id, LONG));
    }
    let response = client.response(stream);
    assert_eq!(response.body, b"one two three");
    let trailer = ("checksum".to_owned(), "abc".to_owned());
    assert_eq!(response.trailers, [trailer]);
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
    let mut client = Http3::new(&app);
    let (a, b) = (client.get("/a"), client.get("/b"));
    let (mut sender, _other) = (left.take(), left.take());
    sender
        .send(Event::new().data("hello"))
        .expect("the client is there");
    client.run();
    assert_eq!(client.response(a).body, b"data: hello\n\n");
    let content_type = client.response(a).field("content-type");
    assert_eq!(content_type, Some("text/event-stream"));
    client.elapse(16);
    assert_eq!(client.response(a).body, b"data: hello\n\n:\n\n");
    assert_eq!(client.response(b).body, b":\n\n");
    client.cancel(b);
    client.stop();
    assert!(client.response(a).is_complete);
    client.elapse(3);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));
    assert!(sender.send(Event::new().data("more")).is_err());
}

/// One of them waits for its window, and the others do not wait for it.
#[test]
fn windows_hold_back_what_is_sent() {
    let app = from_fn(|req, res| match req.path() {
        "/large" => res.body(vec![b'x'; 100_000]),
        "/shared" => res.send(vec![b'y'; 100_000]),
        "/iter" => res.send_iter((0..100).map(|_| vec![b'z'; 1000])),
        _ => res.text("small"),
    });
    for path in ["/large", "/shared", "/iter"] {
        let mut client = with_window(&app, 1000);
        let (large, small) = (client.get(path), client.get("/"));
        client.read(small);
        assert!(client.response(small).is_complete, "{path}");
        client.read(large);
        let first = client.response(large).body.len();
        assert!((800..1000).contains(&first), "{path} {first}");
        let mut reads = 0;
        while !client.response(large).is_complete {
            client.read(large);
            reads += 1;
        }
        // Each opens the window again.
        assert!((90..300).contains(&reads), "{path} {reads}");
        assert_eq!(client.response(large).body.len(), 100_000, "{path}");
    }
}

#[test]
fn a_client_that_opens_no_window_loses_its_stream() {
    let app = from_fn(|req, res| match req.path() {
        "/" => res.body(vec![b'x'; 100_000]),
        _ => res.text("small"),
    });
    let mut client = with_window(&app, 1000);
    let stream = client.get("/");
    for _ in 0..32 {
        client.elapse(1);
        // It is busy with other streams.
        let other = client.get("/small");
        client.read(other);
        assert!(client.response(other).is_complete);
    }
    client.read(stream);
    assert_eq!(client.response(stream).reset, Some(CANCELLED));
    let counters = client.counters();
    assert_eq!(
        (counters.http3_resets_sent, counters.write_timeouts),
        (1, 1)
    );
    // And if it does nothing else.
    let stream = client.get("/");
    client.elapse(33);
    client.read(stream);
    assert_eq!(client.response(stream).reset, Some(CANCELLED));
    assert_eq!(client.closed, None);
}

#[test]
fn files_go_out_in_pieces() {
    let file = std::fs::File::open("Cargo.lock").expect("readable");
    let len = file.metadata().expect("readable").len();
    let file = Arc::new(file);
    let app = from_fn(move |req, res| match req.path() {
        "/short" => res.send_file(file.clone(), 0..len + 1),
        _ => res.send_file(file.clone(), 0..len),
    });
    let expected = std::fs::read("Cargo.lock").expect("readable");
    for window in [1 << 20, 5000] {
        let mut client = with_window(&app, window);
        let stream = client.get("/");
        while !client.response(stream).is_complete {
            assert_eq!(client.response(stream).reset, None);
            client.read(stream);
        }
        assert!(client.response(stream).body == expected, "{window}");
    }
    // It is shorter than its head says.
    let mut client = Http3::new(&app);
    let stream = client.get("/short");
    assert_eq!(client.response(stream).reset, Some(INTERNAL_ERROR));
    assert_eq!(client.closed, None);
}

/// While they share the connection, the most urgent response goes first, whichever is there first.
#[test]
fn urgent_responses_come_first() {
    let (app, left) = deferring();
    let mut client = Http3::new(&app);
    let [lazy, usual, urgent] = ["u=7", "u=3, i", "u=0"].map(|priority| {
        let fields = [("priority", priority)];
        client.request("GET", "/", &fields, b"")
    });
    for responder in left.all() {
        let body = vec![b'x'; 3 << 20];
        responder.send(|res| res.body(body)).expect("pending");
    }
    client.run();
    assert_eq!(client.finished, [urgent, usual, lazy]);
    // PRIORITY_UPDATE on the control stream, before the response is there.
    let streams = [(); 2].map(|()| client.get("/"));
    let update = [
        &[0x80, 0x0f, 0x07, 0x00, 4][..],
        &[streams[1] as u8],
        b"u=1",
    ];
    client.send_raw(2, &update.concat(), false);
    for responder in left.all() {
        let body = vec![b'x'; 3 << 20];
        responder.send(|res| res.body(body)).expect("pending");
    }
    client.run();
    assert_eq!(client.finished[3..], [streams[1], streams[0]]);
    assert_eq!(client.closed, None);
}
