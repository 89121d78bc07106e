//! Header compression, and a request with its response: HTTP/2 beside HTTP/3. What HPACK could take from its dynamic table is
//! there for the responses, and not for the browser.

use crate::Benches;
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::h2::connection::{Http2, Next};
use peregrine_protocol::h2::frame::{MAX_PAYLOAD, PREFACE, write};
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::h2::limits::Http2Limits;
use peregrine_protocol::h3::connection::{Http3, Next as Next3, StreamBytes};
use peregrine_protocol::h3::{self, limits::Http3Limits};
use peregrine_protocol::http::response::ResponseHead;
use peregrine_protocol::limits::Limits;
use peregrine_protocol::payload::Payload;
use peregrine_protocol::write_buf::WriteBuf;
use peregrine_protocol::{Seconds, hpack, qpack};
use std::hint::black_box;

const LIMIT: usize = 16 << 10;

/// What a browser sends first.
const BROWSER: [(&str, &str); 12] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "www.example.com"),
    (":path", "/articles/2026/11/some-article?page=2"),
    ("sec-ch-ua-mobile", "?0"),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    ("sec-fetch-site", "same-origin"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("cookie", "session=0123456789abcdef0123456789abcdef"),
];

const RESPONSE: [(&str, &str); 3] = [
    ("Server", "peregrine"),
    ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("Content-Type", "text/html; charset=utf-8"),
];

const COMMON: &[u8] = b"Server: peregrine\r\nContent-Type: text/plain\r\n";
const BODY: &[u8] = b"Hello, World!";

pub(crate) fn add(benches: &mut Benches) {
    decode(benches);
    encode(benches);
    serve(benches);
}

fn decode(benches: &mut Benches) {
    let group = "fields of a browser, decoded";
    let (mut encoder, mut block) = (hpack::Encoder::new(), Vec::new());
    // No table: each run is the first request of a connection.
    encoder.set_max(0);
    encoder.begin(&mut block);
    let (three, mut section) = (qpack::Encoder::new(), Vec::new());
    three.begin(&mut section);
    for (name, value) in BROWSER {
        encoder.field(name.as_bytes(), value.as_bytes(), &mut block);
        three.field(name.as_bytes(), value.as_bytes(), &mut section);
    }
    let (mut decoder, mut out) = (hpack::Decoder::new(), Vec::new());
    benches.add(group, "HPACK", move || {
        out.clear();
        let take = |_: &mut Vec<u8>, field| _ = black_box(field);
        let size = decoder.decode(black_box(&block), LIMIT, &mut out, take);
        black_box(size.expect("a block"));
    });
    let mut out = Vec::new();
    benches.add(group, "QPACK", move || {
        out.clear();
        let take = |_: &mut Vec<u8>, field| _ = black_box(field);
        let size = qpack::Decoder.decode(black_box(&section), LIMIT, &mut out, take);
        black_box(size.expect("a field section"));
    });
}

fn encode(benches: &mut Benches) {
    let group = "fields of a response, encoded";
    let (mut encoder, mut out) = (hpack::Encoder::new(), Vec::new());
    benches.add(group, "HPACK", move || {
        out.clear();
        encoder.begin(&mut out);
        encoder.status(200, &mut out);
        for (name, value) in black_box(RESPONSE) {
            encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        encoder.content_length(b"1270", &mut out);
        black_box(&out);
    });
    let (encoder, mut out) = (qpack::Encoder::new(), Vec::new());
    benches.add(group, "QPACK", move || {
        out.clear();
        encoder.begin(&mut out);
        encoder.status(200, &mut out);
        for (name, value) in black_box(RESPONSE) {
            encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        encoder.content_length(b"1270", &mut out);
        black_box(&out);
    });
}

fn serve(benches: &mut Benches) {
    let (group, now) = ("a GET with its response", Seconds::START);
    let (limits, http2, http3) = (
        Limits::default(),
        Http2Limits::default(),
        Http3Limits::default(),
    );
    let (mut connection, mut input) = (Http2::new(now, &http2), Input::new());
    let (mut head, mut out) = (HeadBuf::new(), <WriteBuf>::default());
    let (mut hello, mut stream) = (PREFACE.to_vec(), 1);
    write::settings(&[], &mut hello);
    let mut received = Vec::new();
    benches.add(group, "HTTP/2", move || {
        received.clear();
        received.append(&mut hello);
        write::headers(stream, true, MAX_PAYLOAD, &mut received, |block| {
            block.extend_from_slice(b"\x82\x86\x84\x01\x09localhost");
        });
        stream += 2;
        input.space()[..received.len()].copy_from_slice(&received);
        input.filled(received.len());
        while let Next::Request(request) =
            connection.next(&mut input, &mut head, &mut out, &limits, &http2, now)
        {
            let (ok, body) = (ResponseHead::OK, Payload::Static(BODY));
            connection.respond(request.stream, &ok, &[COMMON], body, &mut out, now);
        }
        black_box(&out);
        out.clear();
        // The window of the connection, which a client gives back.
        write::window_update(0, BODY.len() as u32, &mut hello);
    });

    let mut connection = Http3::new(now, &limits, &http3);
    let (mut head, mut out) = (HeadBuf::new(), <WriteBuf>::default());
    let (mut encoder, mut stream) = (qpack::Encoder::new(), 0);
    let mut received = Vec::new();
    h3::frame::write::headers(&mut received, |section| {
        section.extend_from_slice(b"\0\0\xd1\xd7\xc1\x50\x09localhost");
    });
    benches.add(group, "HTTP/3", move || {
        let mut input = StreamBytes::new(stream, black_box(&received), true);
        stream += 4;
        while let Next3::Request(request) =
            connection.next(&mut input, &mut head, &limits, &http3, now)
        {
            let (ok, body) = (ResponseHead::OK, Payload::Static(BODY));
            let (id, fields) = (request.stream, &[COMMON]);
            connection.respond(id, &ok, fields, body, &mut encoder, &mut out, now);
        }
        black_box(&out);
        out.clear();
    });
}
