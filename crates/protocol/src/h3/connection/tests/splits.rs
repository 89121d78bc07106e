//! Streams in any pieces and in any order.

use super::*;

/// A body with all kinds of frames between its parts, and what a driver is told of it.
fn upload() -> (Vec<u8>, Vec<&'static str>) {
    let frames = [
        with_header(0x21, b"ignored"),
        request("POST", &[("content-length", "11"), ("a", "b")]),
        with_header(0, b"hello"),
        with_header(0x21 + 0x1f, b""),
        with_header(0, b""),
        with_header(0, b" world"),
        headers(&[("digest", "x"), ("b", "")]),
        with_header(0x21, b"ignored"),
    ];
    let told = vec![
        "request 0 Framing { body: Exact(11), persistent: true, expects_continue: false } [\"host: a\", \"content-length: 11\", \"a: b\"]",
        "data 0: hello world",
        "trailers 0 2",
    ];
    (frames.concat(), told)
}

#[test]
fn every_split() {
    let (bytes, wanted) = upload();
    for (first, second) in (0..=bytes.len()).flat_map(|i| [(i, i), (i, bytes.len().min(i + 3))]) {
        let mut client = Client::open(Driver::Echo);
        client.send(0, &bytes[..first], false);
        client.send(0, &bytes[first..second], false);
        client.send(0, &bytes[second..], true);
        assert_eq!(client.told(), wanted, "split at {first} and {second}");
        assert_eq!(client.take(0).len(), 2);
        assert!(client.conn.is_idle());
        assert_eq!(client.conn.partial, 0);
    }
}

#[test]
fn byte_by_byte() {
    let (bytes, wanted) = upload();
    for is_at_once in [true, false] {
        let mut client = Client::open(Driver::Echo);
        for (i, byte) in bytes.iter().enumerate() {
            client.send(0, &[*byte], is_at_once && i + 1 == bytes.len());
        }
        client.send(0, b"", true);
        assert_eq!(client.told(), wanted);
    }
}

/// What is behind the end of a frame is of the next one, and what is behind a request is of its body.
#[test]
fn trailing_bytes() {
    let mut client = Client::open(Driver::Hold);
    client.send(0, &[&get()[..], b"\0\x05hel"].concat(), false);
    client.send(0, b"lo\0\x01", false);
    client.send(0, b"!", false);
    client.send(0, b"", true);
    let told = client.told();
    assert_eq!(told[1..], ["data 0: hello! the end"]);
    assert!(told[0].starts_with("request 0 Framing { body: Chunked"));
}

/// Pieces of many streams between each other, the highest stream first.
#[test]
fn streams_between_each_other() {
    let (bytes, wanted) = upload();
    let mut client = Client::open(Driver::Echo);
    for at in 0..bytes.len() {
        for stream in (0..20).rev() {
            client.send(4 * stream, &bytes[at..=at], at + 1 == bytes.len());
        }
    }
    for stream in 0..20 {
        let own = |told: &str| told.replacen(" 0", &format!(" {}", 4 * stream), 1);
        let told = client.told();
        let of = |text: &&String| text.split([' ', ':']).nth(1) == Some(&(4 * stream).to_string());
        let told: Vec<_> = told.iter().filter(of).collect();
        assert_eq!(told[0], &own(wanted[0]), "{stream}");
        assert_eq!(told.last(), Some(&&own(wanted[2])), "{stream}");
        assert_eq!(client.take(4 * stream).len(), 2);
    }
    assert!(client.conn.is_idle());
}

/// A request that is answered at once leaves nothing: the machine is as large as before.
#[test]
fn requests_that_are_answered_at_once() {
    let mut client = Client::open(Driver::Echo);
    let before = client.conn.held();
    for i in 0..1000 {
        client.send(4 * i, &get(), true);
        assert_eq!(client.take(4 * i).len(), 2);
    }
    assert_eq!(client.conn.held(), before);
    assert!(client.conn.is_idle());
}
