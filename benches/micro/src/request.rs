//! Requests: their heads, their bodies, and all that is done with them.

use crate::Benches;
use peregrine::config::AddressRate;
use peregrine::testing::Connection;
use peregrine::{Config, Handler, Limits, OwnedRequest, Request, Response};
use peregrine_protocol::h1::{chunked::ChunkedDecoder, framing::decide, head::Head};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};

const MINIMAL: &str = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";

const BROWSER: &str = "GET /articles/2024/07/a-long-title?utm_source=feed&page=2 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.org/articles/2024/07/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=1720000000\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Priority: u=0, i\r\n\r\n";

const QUERY: &str = "GET /?name=Ada&from=London&year=1815&note=first+of%20all&empty=&flag HTTP/1.1\r\n\
    Host: a\r\n\r\n";

pub(crate) fn add(benches: &mut Benches) {
    for (group, head) in heads() {
        benches.add(group, "with framing", framing(changing(&head)));
        benches.add(group, "peregrine", peregrine(changing(&head)));
        benches.add(
            group,
            "the last fields again",
            framing([head.clone(), head.clone()]),
        );
        benches.add(group, "httparse", httparse(head));
    }
    for (name, size) in [("64 KiB in 4 KiB", 4 << 10), ("64 KiB in 64 B", 64)] {
        benches.add("chunked", name, chunked(size));
    }
    benches.add("chunked", "copy alone", copy());
    for (group, head) in [("served, minimal", MINIMAL), ("served, browser", BROWSER)] {
        benches.add(group, "16 at once", served(head, 16));
        benches.add(group, "one", served(head, 1));
    }
    benches.add("served, minimal", "one, with a rate of its address", rated(MINIMAL));
    benches.add("query", "six pairs", query());
}

fn heads() -> [(&'static str, String); 3] {
    let cookie = format!("Cookie: id={}\r\n\r\n", "0123456789abcdef".repeat(128));
    let with_cookie = BROWSER.trim_end().to_owned() + "\r\n" + &cookie;
    [
        ("head, minimal", MINIMAL.to_owned()),
        ("head, browser", BROWSER.to_owned()),
        ("head, 2 KiB cookie", with_cookie),
    ]
}

/// Two heads in turns, so that none has the fields of the last one, which would not be parsed.
fn changing(text: &str) -> [String; 2] {
    let longer = text.replace("\r\n\r\n", "x\r\n\r\n");
    [text.to_owned(), longer]
}

fn peregrine(mut texts: [String; 2]) -> impl FnMut() {
    let (mut head, limits) = (Head::default(), Limits::default());
    move || {
        texts.swap(0, 1);
        head.reset();
        let complete = head.parse(black_box(texts[0].as_bytes()), &limits);
        assert_eq!(complete, Ok(true));
        black_box(&head);
    }
}

fn framing(mut texts: [String; 2]) -> impl FnMut() {
    let (mut head, limits) = (Head::default(), Limits::default());
    move || {
        texts.swap(0, 1);
        head.reset();
        let bytes = black_box(texts[0].as_bytes());
        let complete = head.parse(bytes, &limits);
        assert_eq!(complete, Ok(true));
        let framing = black_box(decide(&mut head, bytes));
        assert!(framing.is_ok_and(|framing| framing.body.within(limits.body_bytes as u64).is_ok()));
    }
}

fn httparse(text: String) -> impl FnMut() {
    move || {
        // Its quickest way: a table that is not cleared.
        let mut fields = [const { MaybeUninit::uninit() }; 64];
        let mut request = httparse::Request::new(&mut []);
        let bytes = black_box(text.as_bytes());
        let status = request.parse_with_uninit_headers(bytes, &mut fields);
        assert_eq!(status, Ok(httparse::Status::Complete(bytes.len())));
        black_box(&request);
    }
}

const BODY: usize = 64 << 10;

/// It decodes in place, so each time begins with a copy.
fn chunked(size: usize) -> impl FnMut() {
    let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    let encoded = chunk.repeat(BODY / size) + "0\r\n\r\n";
    let (mut bytes, limits) = (Vec::new(), Limits::default());
    move || {
        bytes.clear();
        bytes.extend_from_slice(encoded.as_bytes());
        let mut decoder = ChunkedDecoder::new(0, limits.body_bytes as u64);
        assert_eq!(decoder.decode(black_box(&mut bytes), &limits), Ok(true));
        assert_eq!(decoder.body().len(), BODY);
    }
}

fn copy() -> impl FnMut() {
    let (body, mut bytes) = (vec![b'x'; BODY], Vec::new());
    move || {
        bytes.clear();
        bytes.extend_from_slice(&body);
        black_box(&mut bytes);
    }
}

/// From received bytes to bytes to be sent; per pipeline, not per request.
fn served(head: &str, pipelined: usize) -> impl FnMut() {
    let app = peregrine::from_fn(|_: &Request<'_>, res: Response<'_>| res.text("Hello, World!"));
    // Lives as long as the program, as the connection borrows it.
    let connection = Connection::new(Box::leak(Box::new(app)));
    serving(connection, head.repeat(pipelined))
}

/// The same, of a client whose address has a rate of requests.
fn rated(head: &str) -> impl FnMut() {
    let app = peregrine::from_fn(|_: &Request<'_>, res: Response<'_>| res.text("Hello, World!"));
    let config = Config::default().request_rate(AddressRate::per_second(u32::MAX));
    let peer = ([192, 0, 2, 1], 1).into();
    let connection = Connection::with_config(Box::leak(Box::new(app)), &config, peer);
    serving(connection, head.to_owned())
}

fn serving<H: Handler>(mut connection: Connection<'static, H>, bytes: String) -> impl FnMut() {
    move || {
        connection.send(black_box(bytes.as_bytes()));
        black_box(connection.take_received());
    }
}

fn query() -> impl FnMut() {
    let request = owned(QUERY);
    move || {
        let request = black_box(&request).as_request();
        let sum: usize = request
            .query_pairs()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        black_box(sum);
    }
}

/// The request as a handler sees it, kept.
fn owned(text: &str) -> OwnedRequest {
    let slot: Arc<Mutex<Option<OwnedRequest>>> = Arc::default();
    let app = peregrine::from_fn({
        let slot = slot.clone();
        move |req: &Request<'_>, res: Response<'_>| {
            *slot.lock().expect("no panic") = Some(req.to_owned_request());
            res.body("")
        }
    });
    Connection::new(&app).send(text.as_bytes());
    let kept = slot.lock().expect("no panic").take();
    kept.expect("a request that is accepted")
}
