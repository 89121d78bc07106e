//! Tests of compressed responses, in every coding, and of the conditions.

use super::*;
use crate::testing::{Client, ClientResponse, Connection};
use std::io::Read as _;
use std::time::Duration;

/// The codings of all features, and a name for each.
fn codings() -> impl Iterator<Item = &'static str> {
    Encoder::CODINGS.iter().map(|coding| coding.name())
}

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
        "deflate" => flate2::read::ZlibDecoder::new(body).read_to_end(&mut plain),
        #[cfg(feature = "brotli")]
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
        #[cfg(feature = "zstd")]
        "zstd" => {
            zstd::stream::read::Decoder::new(body).and_then(|mut d| d.read_to_end(&mut plain))
        }
        other => panic!("{other}"),
    };
    read.expect("a complete body");
    plain
}

fn get<H: Handler>(app: &H, target: &str, accepted: &str) -> ClientResponse {
    let mut client = Client::new(app);
    client
        .get(target)
        .header("Accept-Encoding", accepted)
        .send()
}

/// Lines of text that is worth compressing.
fn text(bytes: usize) -> String {
    let lines = (0..).map(|n| format!("line {n} of {}\n", n * 7919 % 1000));
    let mut text = String::new();
    lines
        .take_while(|line| {
            text.push_str(line);
            text.len() < bytes
        })
        .for_each(drop);
    text.truncate(bytes);
    text
}

#[test]
fn complete_bodies_of_any_length_in_every_coding() {
    for len in [1_024, 4_096, 16_384, 16_385, 100_000] {
        let body = text(len);
        let sent = body.clone();
        let app = Compress::new(crate::from_fn(move |req, res| match req.path() {
            "/payload" => res.header("Content-Type", "text/plain").send(sent.clone()),
            "/pool" => {
                let sent = sent.clone();
                res.offload(req, move |_, res| res.text(sent))
            }
            "/write" => {
                let res = res.header("Content-Type", "application/json");
                res.write_with(|out| std::io::Write::write_all(out, sent.as_bytes()))
            }
            _ => res.text(&sent),
        }));
        for coding in codings() {
            for target in ["/", "/payload", "/pool", "/write"] {
                let response = get(&app, target, coding);
                let place = format!("{coding} {target} {len}");
                assert_eq!(response.header("content-encoding"), Some(coding), "{place}");
                assert_eq!(response.header("vary"), Some("Accept-Encoding"), "{place}");
                let sent = response.body().len().to_string();
                assert_eq!(response.header("content-length"), Some(&*sent), "{place}");
                assert!(response.body().len() < len / 2, "{place}");
                assert!(
                    decoded(coding, response.body()) == body.as_bytes(),
                    "{place}"
                );
            }
        }
    }
}

#[test]
fn which_responses_are_compressed() {
    let app = Compress::new(crate::from_fn(|req, res| {
        let mut res = res.header("ETag", "\"a\"");
        let mut status = 200;
        let mut kind = "text/html; charset=utf-8".to_owned();
        let mut len = 2_000;
        for (name, value) in req.query_pairs() {
            match &*name {
                "status" => status = value.parse().expect("a number"),
                "type" => kind = value.into_owned(),
                "len" => len = value.parse().expect("a number"),
                name => res = res.header(name, &*value),
            }
        }
        res.status(status)
            .header("Content-Type", kind)
            .body("x".repeat(len))
    }));
    for (query, expected) in [
        ("", true),
        ("type=application/json", true),
        ("type=application/problem%2Bjson", true),
        ("type=image/svg%2Bxml", true),
        ("status=404", true),
        ("status=500", true),
        ("Cache-Control=no-store,%20max-age=0", true),
        ("Accept-Ranges=none", true),
        ("len=1023", false),
        ("len=1048577", false),
        ("type=image/png", false),
        ("type=application/zip", false),
        ("type=", false),
        ("status=206", false),
        ("status=304", false),
        ("status=204", false),
        ("Content-Encoding=br", false),
        ("Content-Range=bytes%200-1/2", false),
        ("Accept-Ranges=bytes", false),
        ("Content-Digest=x", false),
        ("Cache-Control=max-age=0,NO-TRANSFORM", false),
    ] {
        let response = get(&app, &format!("/?{query}"), "gzip");
        let is_gzip = response.header("content-encoding") == Some("gzip");
        assert_eq!(is_gzip, expected, "{query}");
        // A 304 has the tag of the 200.
        let is_weak = expected || query == "status=304";
        let etag = if is_weak { "W/\"a\"" } else { "\"a\"" };
        assert_eq!(response.header("etag"), Some(etag), "{query}");
        if expected {
            assert_eq!(
                decoded("gzip", response.body()),
                "x".repeat(2_000).as_bytes()
            );
        }
    }
    let plain = get(&app, "/?Vary=Origin", "");
    assert_eq!(
        Vec::from_iter(plain.header_all("vary")),
        ["Origin", "Accept-Encoding"]
    );
    assert_eq!(plain.header("etag"), Some("\"a\""));
    assert_eq!(plain.text(), "x".repeat(2_000));
    let once = get(&app, "/?Vary=accept-encoding", "gzip");
    assert_eq!(Vec::from_iter(once.header_all("vary")), ["accept-encoding"]);
}

#[test]
fn the_client_chooses_the_coding() {
    let app = Compress::new(crate::from_fn(|_, res| res.text("x".repeat(2_000))));
    let bomb = ["gzip;q=0.5, "; 1_000].concat();
    for (accepted, expected) in [
        ("gzip;q=0", None),
        ("gzip;q=0, deflate", Some("deflate")),
        ("deflate;q=0.5, gzip;q=0.4", Some("deflate")),
        ("identity, gzip;q=0.5", None),
        ("x-gzip", Some("gzip")),
        ("snappy", None),
        ("gzip;q=nan, deflate", Some("deflate")),
        (bomb.as_str(), Some("gzip")),
    ] {
        let response = get(&app, "/", accepted);
        assert_eq!(response.header("content-encoding"), expected, "{accepted}");
    }
    let best = get(&app, "/", "gzip, deflate, br, zstd");
    assert_eq!(best.header("content-encoding"), codings().next());
}

#[test]
fn a_head_has_the_fields_of_a_get() {
    let app = Compress::new(crate::from_fn(|req, res| match req.path() {
        "/stream" => res.header("Content-Type", "text/plain").send_iter(["a"]),
        _ => res.text("x".repeat(2_000)),
    }));
    for target in ["/", "/stream"] {
        let mut client = Client::new(&app);
        let request = client
            .request("HEAD", target)
            .header("Accept-Encoding", "gzip");
        let response = request.send();
        assert_eq!(
            response.header("content-encoding"),
            Some("gzip"),
            "{target}"
        );
        assert_eq!(response.header("content-length"), None, "{target}");
        let plain = client.request("HEAD", target).send();
        assert_eq!(plain.header("content-encoding"), None, "{target}");
    }
}

#[test]
fn bodies_in_pieces_in_every_coding() {
    let app = Compress::new(crate::from_fn(|req, res| {
        let res = res.header("Content-Type", "text/plain");
        match req.path() {
            "/iter" => res.send_iter((0..20_000).map(|n| format!("{n}\n"))),
            "/exact" => res.send_reader(std::io::repeat(b'a').take(300_000), Some(300_000)),
            "/empty" => res.send_iter(Vec::<&str>::new()),
            _ => {
                let (done, mut body) = res.stream();
                std::thread::spawn(move || {
                    for n in 0..2_000 {
                        body.send(format!("{n}\n"))?;
                    }
                    body.finish()
                });
                done
            }
        }
    }));
    let lines = |count: u32| (0..count).map(|n| format!("{n}\n")).collect::<String>();
    for coding in codings() {
        for (target, expected) in [
            ("/iter", lines(20_000)),
            ("/exact", "a".repeat(300_000)),
            ("/empty", String::new()),
            ("/thread", lines(2_000)),
        ] {
            let response = get(&app, target, coding);
            assert_eq!(
                response.header("content-encoding"),
                Some(coding),
                "{target}"
            );
            let body = decoded(coding, response.body());
            assert!(body == expected.as_bytes(), "{coding} {target}");
        }
    }
}

/// What an incomplete chunked body in gzip has shown until now.
fn shown(received: &[u8]) -> String {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n");
    let mut bytes = received[end.expect("a head") + 4..].to_vec();
    let mut chunks = peregrine_protocol::h1::chunked::ChunkedDecoder::new(0, u64::MAX);
    chunks
        .decode(&mut bytes, &crate::Limits::default())
        .expect("chunks");
    let mut plain = vec![0; 10_000];
    let mut gzip = flate2::read::MultiGzDecoder::new(&bytes[chunks.body()]);
    let mut len = 0;
    while let Ok(read @ 1..) = gzip.read(&mut plain[len..]) {
        len += read;
    }
    String::from_utf8(plain[..len].to_vec()).expect("UTF-8")
}

#[test]
fn events_arrive_one_by_one() {
    let (give, given) = std::sync::mpsc::channel();
    let give = std::sync::Mutex::new(give);
    let app = Compress::new(crate::from_fn(move |_, res| {
        let (done, events) = res.header("Cache-Control", "no-cache").events();
        let give = give.lock().expect("no panic");
        give.send(events).expect("it is received");
        done
    }));
    let mut client = Connection::new(&app);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut events = given.recv().expect("a stream of events");
    for (data, expected) in [
        ("one", "data: one\n\n"),
        ("two", "data: one\n\ndata: two\n\n"),
    ] {
        events.send(data).expect("there is room");
        // A call without a command delivers what is in the mailbox.
        client.elapse(Duration::ZERO);
        assert_eq!(shown(client.received()), expected);
    }
    client.elapse(Duration::from_secs(16));
    assert!(
        shown(client.received()).ends_with("two\n\n:\n\n"),
        "a heartbeat"
    );

    let plain = Compress::new(crate::from_fn(|_, res| res.events().0));
    let mut client = Connection::new(&plain);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(
        !client
            .received()
            .windows(16)
            .any(|w| w == b"Content-Encoding")
    );
}

#[test]
fn the_streams_that_are_compressed_are_limited() {
    let config = CompressConfig::default().streams(1);
    let senders = std::sync::Mutex::new(Vec::new());
    let app = crate::from_fn(move |_, res| {
        let (done, body) = res.header("Content-Type", "text/plain").stream();
        senders.lock().expect("no panic").push(body);
        done
    });
    let app = Compress::with_config(app, config);
    let begin = || {
        let mut client = Connection::new(&app);
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        let is_gzip = client.received().windows(4).any(|four| four == b"gzip");
        (client, is_gzip)
    };
    let (first, is_gzip) = begin();
    assert!(is_gzip);
    assert!(!begin().1);
    drop(first);
    assert!(begin().1);
}

#[test]
fn a_body_that_is_too_short_is_not_complete() {
    let app = Compress::new(crate::from_fn(|_, res| {
        let res = res.header("Content-Type", "text/plain");
        res.send_reader(&b"short"[..], Some(6))
    }));
    let mut client = Connection::new(&app);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(client.is_closed());
    assert!(!client.received().ends_with(b"0\r\n\r\n"));
}

#[test]
fn failures_and_panics_are_not_compressed() {
    let app = Compress::new(crate::from_fn(|req, res| match req.path() {
        "/panic" => std::panic::resume_unwind(Box::new("as asked")),
        "/late" => res.offload(req, |_, _| -> Done {
            std::panic::resume_unwind(Box::new("as asked"))
        }),
        "/drop" => res.defer().0,
        "/field" => res.header("a", "\n").text("x".repeat(2_000)),
        _ => res.status(200).text("x".repeat(2_000)),
    }));
    for target in ["/panic", "/late", "/drop", "/field"] {
        let response = get(&app, target, "gzip");
        assert_eq!(response.status(), 500, "{target}");
        assert_eq!(response.header("content-encoding"), None, "{target}");
        assert!(response.text().starts_with("the server"), "{target}");
    }
    // Pipelined behind each other, with responses that are and are not compressed.
    let mut client = Connection::new(&app);
    let one = "GET / HTTP/1.1\r\nHost: a\r\n";
    client.send(format!("{one}\r\n{one}Accept-Encoding: gzip\r\n\r\n{one}\r\n").as_bytes());
    let received = client.take_received();
    let heads = received
        .windows(16)
        .filter(|w| w == b"HTTP/1.1 200 OK\r")
        .count();
    assert_eq!(heads, 3);
    assert!(received.ends_with("x".repeat(2_000).as_bytes()));
}

#[test]
fn filters_nest() {
    let app = Compress::new(Compress::new(crate::from_fn(|_, res| {
        res.text("x".repeat(2_000))
    })));
    let response = get(&app, "/", "gzip");
    assert_eq!(
        decoded("gzip", response.body()),
        "x".repeat(2_000).as_bytes()
    );
    assert_eq!(
        Vec::from_iter(response.header_all("content-encoding")),
        ["gzip"]
    );
}

#[test]
fn a_source_without_bytes_sends_nothing() {
    let pieces = (0..1_000).map(|n| if n == 10 { "now" } else { "" });
    let app = Compress::new(crate::from_fn(move |_, res| {
        let res = res.header("Content-Type", "text/plain");
        res.send_iter(pieces.clone())
    }));
    let mut client = Connection::new(&app);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    // A slow turn may end before the source has bytes.
    while shown(client.received()) != "now" {
        client.elapse(Duration::ZERO);
    }
    let before = client.received().len();
    client.elapse(Duration::from_secs(1));
    assert_eq!(client.received().len(), before);
}

#[test]
fn errors_that_handlers_return() {
    #[derive(Debug)]
    struct Long;
    impl std::fmt::Display for Long {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&"x".repeat(2_000))
        }
    }
    impl std::error::Error for Long {}
    impl crate::error::HandlerError for Long {
        fn status(&self) -> u16 {
            404
        }
    }
    let app = Compress::new(crate::from_fn(|req, res| -> Result<Done, Long> {
        let res = res.status(201).header("Content-Type", "image/png");
        match req.path() {
            "/defer" => drop(res.defer()),
            "/stream" => drop(res.stream()),
            "/body" => drop(res.text("x".repeat(5_000))),
            "/pool" => return Ok(res.offload(req, |_, _| Err::<Done, _>(Long))),
            _ => {}
        }
        Err(Long)
    }));
    for target in ["/", "/body", "/stream", "/pool", "/defer"] {
        let response = get(&app, target, "gzip");
        assert_eq!(response.status(), 404, "{target}");
        let text = match response.header("content-encoding") {
            Some(coding) => decoded(coding, response.body()),
            // A response that was deferred has taken the filter with it.
            None => response.body().to_vec(),
        };
        assert!(
            String::from_utf8_lossy(&text).contains(&"x".repeat(2_000)),
            "{target}"
        );
    }
}

#[test]
fn a_304_has_the_tag_and_the_vary_of_the_200() {
    let tagged = crate::Router::new()
        .get("/", |_, res| res.text("x".repeat(2_000)))
        .layer(crate::layers::ETags::new());
    let app = Compress::new(tagged);
    for accepted in ["gzip", ""] {
        let first = get(&app, "/", accepted);
        let tag = first.header("etag").expect("a tag");
        assert_eq!(tag.starts_with("W/"), accepted == "gzip", "{tag}");
        let mut client = Client::new(&app);
        let again = client
            .get("/")
            .header("Accept-Encoding", accepted)
            .header("If-None-Match", tag)
            .send();
        assert_eq!(
            (again.status(), again.body()),
            (304, &b""[..]),
            "{accepted}"
        );
        assert_eq!(again.header("etag"), Some(tag));
        assert_eq!(again.header("vary"), Some("Accept-Encoding"));
        assert_eq!(again.header("content-encoding"), None);
    }
}
