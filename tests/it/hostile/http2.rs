//! What hostile clients of HTTP/2 send: the rows of the table of attacks, as in the tests of the protocol crate.

use super::script::{End, Script, Takes, Then};
use super::scripts::script;
use crate::support::Stream;
use peregrine_protocol::h2::frame::{Frame, FrameHeader, HEADER, PREFACE};
use std::io::{Read, Write};
use std::sync::OnceLock;

/// Enough to use up what a client may have done for nothing.
const MANY: u32 = 2000;
/// ENHANCE_YOUR_CALM and SETTINGS_TIMEOUT (RFC 9113 section 7).
const CALM: End = End::Code(11);
const SETTINGS_TIMEOUT: End = End::Code(4);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn id(n: u32) -> u32 {
    2 * n + 1
}

/// HEADERS with the method of this index of the static table, a path, and more of the block.
fn head(n: u32, flags: u8, method: u8, path: &str, more: &[u8]) -> Vec<u8> {
    let mut block = vec![method, 0x86, 0x01, 1, b'a', 0x04, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(more);
    frame(1, flags | 4, id(n), &block)
}

fn get(n: u32) -> Vec<u8> {
    head(n, 1, 0x82, "/", &[])
}

/// A POST whose body follows.
fn post(n: u32) -> Vec<u8> {
    head(n, 0, 0x83, "/echo", &[])
}

fn reset(n: u32) -> Vec<u8> {
    frame(3, 0, id(n), &[0, 0, 0, 8])
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(8, 0, stream, &by.to_be_bytes())
}

fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let value = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(4, 0, 0, &values.iter().flat_map(value).collect::<Vec<_>>())
}

/// The preface, these settings, and the acknowledgement of those of the server.
fn opening(values: &[(u16, u32)]) -> Vec<u8> {
    [PREFACE.to_vec(), settings(values), frame(4, 1, 0, b"")].concat()
}

/// Each part in turn, many times.
fn many(part: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..MANY).flat_map(part).collect()
}

fn ends(bytes: Vec<u8>) -> Script {
    let first = [opening(&[]), bytes].concat();
    script(first, Then::Waits, Takes::All, CALM)
}

/// Sent without end.
fn floods(first: Vec<u8>, again: Vec<u8>) -> Script {
    let first = [opening(&[]), first].concat();
    script(first, Then::Floods(again.into()), Takes::All, CALM)
}

/// So many requests that are not harmful once they are bounded: each gets a response.
fn bounded(answers: u32, values: &[(u16, u32)], bytes: Vec<u8>) -> Script {
    let first = [opening(values), bytes].concat();
    let expects = End::Answered(answers);
    script(first, Then::HalfCloses, Takes::All, expects)
}

fn some(part: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..50).flat_map(part).collect()
}

/// A block that enters `entry` into the table, and refers to it.
fn bomb(n: u32, entry: &[u8], index: u8, count: usize) -> Vec<u8> {
    head(n, 1, 0x82, "/", &[entry, &vec![index; count]].concat())
}

fn rows() -> Vec<Script> {
    let large = [&[0x40, 1, b'x', 0x7f, 0x81, 0x1e][..], &[b'v'; 3968]].concat();
    let values = [(6, 1); 2000];
    let huffman = [&[0, 1, b'x', 0xff, 0x81, 0x0e][..], &[7; 1920]].concat();
    let continuations = frame(9, 0, 1, &[0x01, 1, b'a']);
    let hundred = |n: u32| n * 100..n * 100 + 100;
    vec![
        // 1: rapid reset. 2: resets that the server is made to send. 4: more streams than there may be.
        ends(many(|n| [get(n), reset(n)].concat())),
        ends(many(|n| [post(n), reset(n)].concat())),
        ends(many(|n| [post(n), update(id(n), 0)].concat())),
        ends(many(|n| [post(n), update(id(n), (1 << 31) - 1)].concat())),
        ends(many(post)),
        // 3: no room for the fields of responses.
        bounded(50, &[(6, 1)], some(get)),
        // 5 and 6: CONTINUATION.
        floods(frame(1, 1, 1, &[0x82]), continuations),
        floods(frame(1, 1, 1, &[0x82]), frame(9, 0, 1, b"")),
        // 7 and 8: bombs of header compression.
        ends([bomb(0, &large, 0xbe, 9000), bomb(1, &large, 0xbe, 9000)].concat()),
        bounded(50, &[], some(|n| bomb(n, &[0x40, 1, b'x', 0], 0xbe, 400))),
        bounded(50, &[], some(|n| bomb(n, &[0x60, 0], 0xbe, 400))),
        // 10 and 11: PING and SETTINGS.
        floods(vec![], frame(6, 0, 0, &[0; 8]).repeat(100)),
        floods(vec![], settings(&[]).repeat(100)),
        ends(settings(&values)),
        // 13: sizes of tables.
        bounded(50, &[(1, u32::MAX)], some(get)),
        ends(many(|n| [settings(&[(1, n % 2 * 4096)]), get(n)].concat())),
        // 14: priorities.
        floods(vec![], frame(2, 0, 1, &[0, 0, 0, 3, 1]).repeat(100)),
        floods(vec![], frame(16, 0, 0, b"\0\0\0\x01u=1").repeat(100)),
        // 15: DATA behind the end. 16: a name of no bytes.
        ends(many(|n| [get(n), frame(0, 1, id(n), b"x")].concat())),
        ends(many(|n| head(n, 1, 0x82, "/", &[0, 0, 1, b'x']))),
        // 17 and 18: DATA with nothing in it, with a byte, with padding.
        floods(post(0), frame(0, 0, 1, b"").repeat(100)),
        floods(post(0), frame(0, 0, 1, b"x").repeat(100)),
        floods(post(0), frame(0, 8, 1, &[&[255][..], &[0; 255]].concat())),
        // 19: WINDOW_UPDATE. 20: blocks of streams that are refused. 21: one name, many times.
        floods(vec![], update(0, 1).repeat(100)),
        ends(many(|n| head(n, 0, 0x83, "/echo", &huffman))),
        bounded(
            50,
            &[],
            some(|n| bomb(n, &[0x40, 1, b'n', 1, b'v'], 0xbe, 90)),
        ),
        // 22: requests that are refused. 23: a field within a value.
        ends(many(|n| bomb(n, &[0x40, 1, b'x', 0], 0xbe, 120))),
        ends(many(|n| {
            head(n, 1, 0x82, "/", &[0, 1, b'x', 3, b'a', b'\n', b'b'])
        })),
        // 25: all streams are reset, again and again.
        ends(
            (0..20)
                .flat_map(|n| hundred(n).map(post).chain(hundred(n).map(reset)))
                .flatten()
                .collect(),
        ),
    ]
}

/// All of them in turns, or the one that `HTTP2_ROW` names by its place, counted from 0.
pub(crate) fn http2_rows(i: usize) -> Script {
    static ROWS: OnceLock<Vec<Script>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| {
        let mut rows = rows();
        if let Ok(row) = std::env::var("HTTP2_ROW") {
            let at = row.parse().expect("the place of a row");
            rows = vec![rows.swap_remove(at)];
        }
        rows
    });
    rows[i % rows.len()].clone()
}

/// Large responses, and windows that stay closed or are opened by a byte (rows 9 and 12).
pub(crate) fn http2_windows(i: usize) -> Script {
    const PATHS: [&str; 4] = ["/memory", "/file", "/drawn", "/pushed"];
    const OPEN: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    let ask = |window: u32, count: u32| {
        let ask = (0..count).flat_map(|n| head(n, 1, 0x82, PATHS[(i + n as usize) % 4], &[]));
        let open = update(0, (1 << 31) - 1 - 65_535);
        [opening(&[(4, window)]), open, ask.collect()].concat()
    };
    match i % 4 {
        0 => script(ask(0, 100), Then::Waits, Takes::All, End::Somehow),
        1 => script(ask(0, 100), Then::Dribbles(OPEN), Takes::All, End::Somehow),
        2 => script(ask(1 << 30, 100), Then::Waits, Takes::Nothing, End::Cut),
        // What the server has set is never acknowledged.
        _ => {
            let first = [PREFACE.to_vec(), settings(&[])].concat();
            script(first, Then::Waits, Takes::All, SETTINGS_TIMEOUT)
        }
    }
}

/// A client that behaves.
pub(crate) struct Polite {
    stream: Stream,
    /// Requests until now.
    count: u32,
}

impl Polite {
    pub(crate) fn connect(mut stream: Stream) -> Polite {
        let limit = Some(crate::support::PATIENCE);
        stream.set_read_timeout(limit).expect("an open socket");
        stream.write_all(&opening(&[])).expect("sent");
        Polite { stream, count: 0 }
    }

    /// Asks for all of these at once. The bodies of the responses, in order of the requests.
    pub(crate) fn get(&mut self, paths: &[String]) -> Vec<String> {
        let first = self.count;
        let asked: Vec<u8> = paths
            .iter()
            .zip(first..)
            .flat_map(|(path, n)| head(n, 1, 0x82, path, &[]))
            .collect();
        self.count += paths.len() as u32;
        self.stream.write_all(&asked).expect("sent");
        let mut bodies = vec![Vec::new(); paths.len()];
        let mut left = paths.len();
        while left > 0 {
            let mut header = [0; HEADER];
            self.stream.read_exact(&mut header).expect("a frame");
            let header = FrameHeader::parse(&header);
            let mut payload = vec![0; header.len];
            self.stream.read_exact(&mut payload).expect("a frame");
            match header.frame(&payload).expect("a valid frame") {
                Frame::Data {
                    stream,
                    data,
                    end_stream,
                    ..
                } => {
                    bodies[(stream / 2 - first) as usize].extend_from_slice(&payload[data]);
                    left -= usize::from(end_stream);
                    let more = payload.len() as u32;
                    if more > 0 {
                        self.stream.write_all(&update(0, more)).expect("sent");
                    }
                }
                Frame::Reset { .. } | Frame::GoAway { .. } => panic!("a request is refused"),
                _ => {}
            }
        }
        let text = |body| String::from_utf8(body).expect("text");
        bodies.into_iter().map(text).collect()
    }
}
