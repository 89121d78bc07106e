//! A client that sends any bytes, and checks all that comes back.

use super::super::connection::{Http2, Next, RequestParts};
use super::super::frame::{FrameHeader, HEADER, MAX_PAYLOAD, PREFACE};
use super::super::head::HeadBuf;
use super::super::limits::Http2Limits;
use crate::Seconds;
use crate::h1::framing::BodyLength;
use crate::h1::read_buf::Input;
use crate::hpack::Decoder;
use crate::http::response::ResponseHead;
use crate::limits::Limits;
use crate::payload::Payload;
use crate::write_buf::{MAX_SLICES, WriteBuf};
use std::collections::HashMap;

/// What the server does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// It answers at once, with no body.
    Empty,
    /// It answers `ok` when the request is complete.
    Echo,
    /// The same, with 100,000 bytes.
    Large,
    /// It does not answer, and takes all bodies.
    Hold,
    #[cfg(test)]
    /// It does not answer, and takes nothing.
    Ignore,
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Ping(bool, Vec<u8>),
    Headers(u32, Vec<(String, String)>, bool),
    Data(u32, Vec<u8>, bool),
    Reset(u32, u32),
    GoAway(u32, u32),
    WindowUpdate(u32, u32),
}

pub(crate) struct Client {
    pub(crate) conn: Http2,
    pub(crate) head: HeadBuf,
    pub(crate) out: WriteBuf,
    pub(crate) limits: Limits,
    pub(crate) http2: Http2Limits,
    pub(crate) now: Seconds,
    pub(crate) events: Vec<Next>,
    /// The same, with heads and bodies.
    pub(crate) told: Vec<String>,
    driver: Driver,
    input: Input,
    decoder: Decoder,
    sent: Vec<u8>,
    /// What was sent of a frame that is not complete.
    unnoted: Vec<u8>,
    /// What the server may send: of the connection under 0.
    windows: HashMap<u32, i64>,
    first_window: i64,
    /// Streams on which the server has sent END_STREAM or RST_STREAM.
    ended: Vec<u32>,
    is_over: bool,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn values(payload: &[u8]) -> Vec<(u16, u32)> {
    let value = |entry: &[u8]| {
        let id = u16::from_be_bytes([entry[0], entry[1]]);
        (
            id,
            u32::from_be_bytes(entry[2..].try_into().expect("four bytes")),
        )
    };
    payload.chunks(6).map(value).collect()
}

pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let entry = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<u8> = values.iter().flat_map(entry).collect();
    frame(4, 0, 0, &payload)
}

#[cfg(test)]
/// HEADERS with END_HEADERS and these flags; fields as they are.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            crate::hpack::integer::encode(text.len() as u64, 7, 0, &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(1, flags | 4, stream, &block)
}

#[cfg(test)]
/// A request without a body if `flags` have END_STREAM.
pub(crate) fn request(stream: u32, flags: u8, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/"),
    ];
    fields.extend_from_slice(more);
    headers(stream, flags, &fields)
}

#[cfg(test)]
/// A GET without a body: four bytes and a name.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[0x82, 0x86, 0x84, 0x01, 1, b'a'])
}

impl Client {
    /// Nothing has been sent.
    pub(crate) fn raw(driver: Driver) -> Client {
        let http2 = Http2Limits::default();
        Client::with(driver, http2)
    }

    pub(crate) fn with(driver: Driver, http2: Http2Limits) -> Client {
        Client {
            conn: Http2::new(Seconds::START, &http2),
            head: HeadBuf::new(),
            out: WriteBuf::default(),
            limits: Limits::default(),
            http2,
            now: Seconds::START,
            events: Vec::new(),
            told: Vec::new(),
            driver,
            input: Input::new(),
            decoder: Decoder::new(),
            sent: Vec::new(),
            unnoted: Vec::new(),
            windows: HashMap::from([(0, 65_535)]),
            first_window: 65_535,
            ended: Vec::new(),
            is_over: false,
        }
    }

    #[cfg(test)]
    /// Preface and SETTINGS are exchanged.
    pub(crate) fn open(driver: Driver) -> Client {
        let mut client = Client::raw(driver);
        client.shake_hands(&[]);
        client
    }

    #[cfg(test)]
    pub(crate) fn shake_hands(&mut self, values: &[(u16, u32)]) {
        self.send(PREFACE);
        self.send(&settings(values));
        self.send(&frame(4, 1, 0, &[]));
        self.take();
    }

    /// Sends bytes, and lets the server do what is to be done.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.note_windows(bytes);
        let mut rest = bytes;
        loop {
            let space = self.input.space();
            let n = rest.len().min(space.len());
            space[..n].copy_from_slice(&rest[..n]);
            self.input.filled(n);
            rest = &rest[n..];
            self.turn();
            if rest.is_empty() || self.is_over {
                return;
            }
        }
    }

    /// Calls `next` until there is nothing to do.
    pub(crate) fn turn(&mut self) {
        while !self.is_over {
            let (input, head, out) = (&mut self.input, &mut self.head, &mut self.out);
            let next = self
                .conn
                .next(input, head, out, &self.limits, &self.http2, self.now);
            assert!(self.conn.streams() <= self.http2.streams.max(1));
            assert!(self.conn.held() <= 4 << 20, "{} bytes", self.conn.held());
            match next {
                Next::Read => break,
                Next::Close(_) => self.is_over = true,
                _ => {}
            }
            self.act(&next);
            self.events.push(next);
        }
        self.look();
    }

    /// What the driver does.
    fn act(&mut self, next: &Next) {
        let told = match next {
            Next::Request(RequestParts {
                stream, framing, ..
            }) => {
                let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                let field = |(name, value)| format!("{}: {}", text(name), text(value));
                let fields: Vec<_> = self.head.fields().map(field).collect();
                let told = format!("request {stream} {framing:?} {fields:?}");
                if framing.body == BodyLength::Exact(0) || self.driver == Driver::Empty {
                    self.answer(*stream);
                }
                told
            }
            Next::Refused { stream, error } => {
                self.refuse(*stream, error.status());
                format!("refused {stream} {error}")
            }
            Next::Data {
                stream,
                piece,
                is_last,
            } => {
                let told = self.input.unread()[piece.clone()]
                    .escape_ascii()
                    .to_string();
                if self.takes_bodies() {
                    self.conn
                        .release(*stream, piece.len(), &mut self.out, self.now);
                }
                if *is_last {
                    self.answer(*stream);
                }
                format!("data {stream} {told} {is_last}")
            }
            Next::Trailers { stream } => {
                let told = format!("trailers {stream} {}", self.head.fields().count());
                self.answer(*stream);
                told
            }
            Next::Reset { stream, code, .. } => format!("reset {stream} {code:?}"),
            Next::Malformed { stream, .. } => format!("malformed {stream}"),
            other => format!("{other:?}"),
        };
        self.told.push(told);
    }

    fn refuse(&mut self, stream: u32, status: u16) {
        let head = ResponseHead {
            status,
            ..ResponseHead::OK
        };
        let body = Payload::Static(b"");
        self.conn
            .respond(stream, &head, &[], body, &mut self.out, self.now);
    }

    fn takes_bodies(&self) -> bool {
        #[cfg(test)]
        if self.driver == Driver::Ignore {
            return false;
        }
        true
    }

    fn answer(&mut self, stream: u32) {
        let body = match self.driver {
            Driver::Empty => Payload::Static(b""),
            Driver::Echo => Payload::Static(b"ok"),
            Driver::Large => Payload::Owned(vec![b'x'; 100_000]),
            _ => return,
        };
        let head = ResponseHead::OK;
        self.conn
            .respond(stream, &head, &[], body, &mut self.out, self.now);
    }

    /// Takes what the server has written.
    fn look(&mut self) {
        while !self.out.is_empty() {
            let mut slices = [&b""[..]; MAX_SLICES];
            let count = self.out.gather(&mut slices, |slice| slice);
            let bytes = slices[..count].concat();
            self.out.advance(bytes.len());
            self.sent.extend_from_slice(&bytes);
        }
    }

    /// The frames of the server since the last call. Panics for one that breaks a rule.
    pub(crate) fn take(&mut self) -> Vec<Seen> {
        self.look();
        let sent = core::mem::take(&mut self.sent);
        let (mut rest, mut seen) = (&sent[..], Vec::new());
        while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
            let len = FrameHeader::parse(header).len;
            assert!(len <= MAX_PAYLOAD, "a frame of {len} bytes");
            let (payload, behind) = behind.split_at(len);
            seen.push(self.judge(header, payload));
            rest = behind;
        }
        assert!(rest.is_empty(), "half a frame");
        seen
    }

    fn judge(&mut self, header: &[u8; HEADER], payload: &[u8]) -> Seen {
        let number =
            |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        let (kind, flags) = (header[3], header[4]);
        let stream = u32::from_be_bytes(header[5..].try_into().expect("four bytes"));
        let end = flags & 1 == 1;
        if stream > 0 && matches!(kind, 0 | 1 | 8) {
            assert!(
                !self.ended.contains(&stream),
                "{kind} on stream {stream}, which has ended"
            );
        }
        match kind {
            0 => {
                let first = self.first_window;
                let window = self.windows.entry(stream).or_insert(first);
                *window -= payload.len() as i64;
                assert!(
                    payload.is_empty() || *window >= 0,
                    "beyond the window of {stream}"
                );
                let all = self.windows.get_mut(&0).expect("a window");
                *all -= payload.len() as i64;
                assert!(
                    payload.is_empty() || *all >= 0,
                    "beyond the window of the connection"
                );
                self.ended.extend(end.then_some(stream));
                Seen::Data(stream, payload.to_vec(), end)
            }
            1 => {
                assert_eq!(
                    flags & !1,
                    4,
                    "padding, a priority, or a block that is not complete"
                );
                self.ended.extend(end.then_some(stream));
                Seen::Headers(stream, self.fields(payload), end)
            }
            3 => {
                assert!(stream > 0 && payload.len() == 4);
                self.ended.push(stream);
                Seen::Reset(stream, number(0))
            }
            4 if end => Seen::SettingsAck,
            4 => Seen::Settings(values(payload)),
            6 => Seen::Ping(end, payload.to_vec()),
            7 => Seen::GoAway(number(0), number(4)),
            8 => Seen::WindowUpdate(stream, number(0)),
            kind => panic!("a frame of type {kind}"),
        }
    }

    fn fields(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let (mut out, mut fields) = (Vec::new(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let result = self
            .decoder
            .decode(block, usize::MAX / 4, &mut out, |out, field| {
                assert!(field.is_valid, "a malformed field");
                let (name, value) = (&out[field.start..field.value], &out[field.value..field.end]);
                fields.push((text(name), text(value)));
            });
        result.expect("a block");
        fields
    }

    /// What frames that have been sent as a whole say about the windows. The server may be at an earlier frame:
    /// windows that shrink are not believed.
    fn note_windows(&mut self, bytes: &[u8]) {
        self.unnoted.extend_from_slice(bytes);
        let noted = core::mem::take(&mut self.unnoted);
        let mut rest = match noted.strip_prefix(PREFACE) {
            Some(rest) => rest,
            None if PREFACE.starts_with(&noted) => b"",
            None => &noted[..],
        };
        while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
            let len = FrameHeader::parse(header).len;
            let Some((payload, behind)) = behind.split_at_checked(len) else {
                break;
            };
            rest = behind;
            let stream = u32::from_be_bytes(header[5..].try_into().expect("four bytes"));
            match (header[3], payload) {
                (8, [a, b, c, d]) => {
                    let more = i64::from(u32::from_be_bytes([*a, *b, *c, *d]) & 0x7fff_ffff);
                    let first = self.first_window;
                    *self.windows.entry(stream).or_insert(first) += more;
                }
                (4, values) => {
                    for entry in values.chunks_exact(6).filter(|entry| entry[..2] == [0, 4]) {
                        let size = u32::from_be_bytes(entry[2..].try_into().expect("four"));
                        let change = (i64::from(size) - self.first_window).max(0);
                        let of_streams = self.windows.iter_mut().filter(|window| *window.0 > 0);
                        of_streams.for_each(|window| *window.1 += change);
                        self.first_window += change;
                    }
                }
                _ => {}
            }
        }
        self.unnoted = match PREFACE.starts_with(&noted) {
            true => noted,
            false => rest.to_vec(),
        };
    }
}
