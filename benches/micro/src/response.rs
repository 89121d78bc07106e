//! Responses, from a handler's calls to the bytes that are sent.

use crate::Benches;
use http::{Response, header};
use peregrine::internals::Responses;
use std::hint::black_box;
use std::io::Write;

const TEXT: &str = "Hello, World!";

/// The date. All responses of a group have one; servers keep it for a second.
const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

const TAG: &str = "\"5f2c-62a1b3c4d5e6f\"";

pub(crate) fn add(benches: &mut Benches) {
    let group = "response, 13 B of text";
    benches.add(group, "peregrine", ours(|responses| text(responses)));
    benches.add(group, "http, field by field", into_vec(http_text));
    benches.add(group, "write!", into_vec(written_text));
    let group = "response, 1 KiB and 4 fields";
    benches.add(group, "peregrine", ours(|responses| page(responses)));
    benches.add(group, "http, field by field", into_vec(http_page));
    benches.add(group, "write!", into_vec(written_page));
}

fn ours(respond: impl Fn(&mut Responses) -> &[u8]) -> impl FnMut() {
    let mut responses = Responses::default();
    move || {
        black_box(respond(&mut responses));
    }
}

fn into_vec(write: impl Fn(&mut Vec<u8>)) -> impl FnMut() {
    let mut out = Vec::new();
    move || {
        out.clear();
        write(&mut out);
        black_box(&out);
    }
}

fn text(responses: &mut Responses) -> &[u8] {
    responses.respond(|res| res.text(black_box(TEXT)))
}

fn page(responses: &mut Responses) -> &[u8] {
    responses.respond(|res| {
        res.header("Content-Type", "text/html; charset=utf-8")
            .header("Cache-Control", "no-cache")
            .header("ETag", black_box(TAG))
            .header("Vary", "Accept-Encoding")
            .body(black_box([b'x'; 1024]))
    })
}

fn http_text(out: &mut Vec<u8>) {
    let response = Response::builder()
        .header(header::SERVER, "peregrine")
        .header(header::DATE, black_box(DATE))
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(black_box(TEXT));
    put(response.expect("a good one"), out);
}

fn http_page(out: &mut Vec<u8>) {
    let response = Response::builder()
        .header(header::SERVER, "peregrine")
        .header(header::DATE, black_box(DATE))
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::ETAG, black_box(TAG))
        .header(header::VARY, "Accept-Encoding")
        .body(black_box([b'x'; 1024]));
    put(response.expect("a good one"), out);
}

/// As a server on top of `http` has to.
fn put(response: Response<impl AsRef<[u8]>>, out: &mut Vec<u8>) {
    let (parts, body) = response.into_parts();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let body = body.as_ref();
    write!(out, "content-length: {}\r\n\r\n", body.len()).expect("a Vec takes it");
    out.extend_from_slice(body);
}

fn written_text(out: &mut Vec<u8>) {
    let (date, text) = black_box((DATE, TEXT));
    let len = text.len();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nServer: peregrine\r\nDate: {date}\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\r\n{text}"
    )
    .expect("a Vec takes it");
}

fn written_page(out: &mut Vec<u8>) {
    let (date, tag, body) = black_box((DATE, TAG, [b'x'; 1024]));
    let len = body.len();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nServer: peregrine\r\nDate: {date}\r\n\
         Content-Type: text/html; charset=utf-8\r\nCache-Control: no-cache\r\nETag: {tag}\r\n\
         Vary: Accept-Encoding\r\nContent-Length: {len}\r\n\r\n"
    )
    .expect("a Vec takes it");
    out.extend_from_slice(&body);
}
