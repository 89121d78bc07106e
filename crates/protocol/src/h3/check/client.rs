//! A client that sends anything, and checks all that comes back.

use super::super::connection::{CloseReason, Http3, Next, RequestParts, Sent, StreamBytes};
use super::super::frame::{FrameHeader, kind, stream_type};
use super::super::head::HeadBuf;
use super::super::limits::Http3Limits;
use super::super::varint;
use crate::Seconds;
use crate::h1::framing::BodyLength;
use crate::http::response::{BodySize, ResponseHead};
use crate::limits::Limits;
use crate::payload::Payload;
use crate::qpack::{Decoder, Encoder};
use crate::write_buf::{MAX_SLICES, WriteBuf};
use std::collections::BTreeMap;

/// What the server does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// It answers at once, with no body.
    Empty,
    /// It answers `ok` when the request is complete.
    Echo,
    /// The same, in two pieces with trailers.
    Pieces,
    /// It does not answer.
    Hold,
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Headers(Vec<(String, String)>),
    Data(Vec<u8>),
}

/// What the server has sent on the stream of a request.
#[derive(Debug, Default)]
struct Stream {
    sent: Vec<u8>,
    is_complete: bool,
    /// Neither side reads or sends any more.
    is_over: bool,
}

pub(crate) struct Client {
    pub(crate) conn: Http3,
    pub(crate) head: HeadBuf,
    pub(crate) limits: Limits,
    pub(crate) http3: Http3Limits,
    pub(crate) now: Seconds,
    pub(crate) events: Vec<Next>,
    pub(crate) encoder: Encoder,
    told: Vec<String>,
    driver: Driver,
    streams: BTreeMap<u64, Stream>,
    is_over: bool,
}

#[cfg(test)]
/// A frame.
pub(crate) fn with_header(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::encode(kind, &mut bytes);
    varint::encode(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
/// A control stream with SETTINGS, and frames behind that.
pub(crate) fn control(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0, 4, 0];
    frames
        .iter()
        .for_each(|frame| bytes.extend_from_slice(frame));
    bytes
}

#[cfg(test)]
/// HEADERS; fields as they are.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        crate::field_section::integer::encode(name.len() as u64, 3, 0x20, &mut section);
        section.extend_from_slice(name.as_bytes());
        crate::field_section::integer::encode(value.len() as u64, 7, 0, &mut section);
        section.extend_from_slice(value.as_bytes());
    }
    with_header(1, &section)
}

#[cfg(test)]
/// HEADERS of a request.
pub(crate) fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/"),
    ];
    fields.extend_from_slice(more);
    headers(&fields)
}

#[cfg(test)]
/// HEADERS of a GET: indexes and a name.
pub(crate) fn get() -> Vec<u8> {
    with_header(1, b"\0\0\xd1\xd7\xc1\x50\x01a")
}

impl Client {
    /// Nothing has been sent.
    pub(crate) fn raw(driver: Driver) -> Client {
        let (limits, http3) = (Limits::default(), Http3Limits::default());
        Client {
            conn: Http3::new(Seconds::START, &limits, &http3),
            head: HeadBuf::new(),
            limits,
            http3,
            now: Seconds::START,
            events: Vec::new(),
            encoder: Encoder::new(),
            told: Vec::new(),
            driver,
            streams: BTreeMap::new(),
            is_over: false,
        }
    }

    /// The connection begins, with limits that were changed.
    pub(crate) fn renew(&mut self) {
        self.conn = Http3::new(self.now, &self.limits, &self.http3);
    }

    #[cfg(test)]
    /// The client has sent SETTINGS.
    pub(crate) fn open(driver: Driver) -> Client {
        let mut client = Client::raw(driver);
        client.send(2, &control(&[]), false);
        client
    }

    /// Sends a piece of a stream, and lets the server do what is to be done.
    pub(crate) fn send(&mut self, stream: u64, bytes: &[u8], is_last: bool) {
        if self.streams.get(&stream).is_some_and(|one| one.is_over) {
            return;
        }
        let mut input = StreamBytes::new(stream, bytes, is_last);
        while !self.is_over {
            let (limits, http3) = (&self.limits, &self.http3);
            let next = self
                .conn
                .next(&mut input, &mut self.head, limits, http3, self.now);
            if next == Next::Read {
                break;
            }
            self.act(next, bytes);
        }
        assert!(self.conn.streams() <= self.http3.streams.max(1) + 1);
        let most = 2 * self.http3.partial_head_bytes + (64 << 10);
        assert!(self.conn.held() <= most, "{} bytes", self.conn.held());
    }

    /// Does what is to be done without a piece.
    pub(crate) fn poll(&mut self) {
        while !self.is_over {
            match self.conn.poll(&self.limits, self.now) {
                Next::Read => break,
                next => self.act(next, b""),
            }
        }
    }

    pub(crate) fn reset(&mut self, stream: u64) {
        self.conn.reset(stream, &self.http3, self.now);
        self.poll();
    }

    pub(crate) fn stopped(&mut self, stream: u64) {
        self.conn.stopped(stream, &self.http3, self.now);
        self.poll();
    }

    pub(crate) fn stop(&mut self) {
        self.conn.stop(self.now);
        self.poll();
    }

    /// Time passes, second by second.
    pub(crate) fn later(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = Seconds::of(u64::from(self.now.count()) + 1);
            if self.conn.deadline(&self.limits) <= self.now {
                self.conn.expire(&self.limits, &self.http3, self.now);
                self.poll();
            }
        }
    }

    /// What the driver does.
    fn act(&mut self, next: Next, bytes: &[u8]) {
        let over = match next {
            Next::Malformed { stream, .. }
            | Next::Reset { stream, .. }
            | Next::Stop { stream, .. } => Some(stream),
            _ => None,
        };
        if let Some(stream) = over {
            let stream = self.streams.entry(stream).or_default();
            assert!(!stream.is_over && !stream.is_complete);
            stream.is_over = true;
        }
        self.is_over = matches!(next, Next::Close(_));
        match &next {
            Next::Request(RequestParts {
                stream, framing, ..
            }) => {
                let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                let field = |(name, value)| format!("{}: {}", text(name), text(value));
                let fields: Vec<_> = self.head.fields().map(field).collect();
                self.told
                    .push(format!("request {stream} {framing:?} {fields:?}"));
                if framing.body == BodyLength::Exact(0) || self.driver == Driver::Empty {
                    self.answer(*stream);
                }
            }
            Next::Refused { stream, error } => {
                self.told.push(format!("refused {stream} {error}"));
                self.refuse(*stream, error.status());
            }
            Next::Data {
                stream,
                piece,
                is_last,
            } => {
                self.tell_data(*stream, &bytes[piece.clone()], *is_last);
                if *is_last {
                    self.answer(*stream);
                }
            }
            Next::Trailers { stream } => {
                let count = self.head.fields().count();
                self.told.push(format!("trailers {stream} {count}"));
                self.answer(*stream);
            }
            other => self.told.push(format!("{other:?}")),
        }
        self.events.push(next);
    }

    /// Pieces of one body are told as one.
    fn tell_data(&mut self, stream: u64, piece: &[u8], is_last: bool) {
        let told = format!("data {stream}: {}", piece.escape_ascii());
        let begun = format!("data {stream}: ");
        match self.told.last_mut() {
            Some(last) if last.starts_with(&begun) && !last.ends_with(" the end") => {
                last.push_str(&told[begun.len()..]);
            }
            _ => self.told.push(told),
        }
        if is_last {
            self.told.last_mut().expect("a piece").push_str(" the end");
        }
    }

    /// Runs a command whose buffer is that of a stream.
    pub(crate) fn command(
        &mut self,
        stream: u64,
        command: impl FnOnce(&mut Http3, &mut Encoder, &mut WriteBuf, Seconds) -> Sent,
    ) -> Sent {
        let mut out = WriteBuf::default();
        let sent = command(&mut self.conn, &mut self.encoder, &mut out, self.now);
        let kept = self.streams.entry(stream).or_default();
        assert!(out.is_empty() || !kept.is_complete && !kept.is_over);
        while !out.is_empty() {
            let mut slices = [&b""[..]; MAX_SLICES];
            let count = out.gather(&mut slices, |slice| slice);
            let bytes = slices[..count].concat();
            out.advance(bytes.len());
            kept.sent.extend_from_slice(&bytes);
        }
        if let Sent::Complete { stop } = sent {
            kept.is_complete = true;
            kept.is_over = stop;
        }
        sent
    }

    fn refuse(&mut self, stream: u64, status: u16) {
        let head = ResponseHead {
            status,
            ..ResponseHead::OK
        };
        self.command(stream, |conn, encoder, out, now| {
            conn.respond(stream, &head, &[], Payload::Static(b""), encoder, out, now)
        });
    }

    fn answer(&mut self, stream: u64) {
        let (body, pieces) = match self.driver {
            Driver::Empty => (&b""[..], false),
            Driver::Echo => (&b"ok"[..], false),
            Driver::Pieces => (&b"ok"[..], true),
            Driver::Hold => return,
        };
        let (head, fields): (_, &[&[u8]]) = (ResponseHead::OK, &[b"Server: x\r\n"]);
        if !pieces {
            self.command(stream, |conn, encoder, out, now| {
                conn.respond(
                    stream,
                    &head,
                    fields,
                    Payload::Static(body),
                    encoder,
                    out,
                    now,
                )
            });
            return;
        }
        let size = BodySize::Unknown;
        let sent = self.command(stream, |conn, encoder, out, now| {
            conn.begin(stream, &head, fields, size, encoder, out, now)
        });
        if sent == Sent::Head {
            self.command(stream, |conn, encoder, out, now| {
                assert!(conn.data(stream, body.len() as u64, out));
                out.push(body);
                conn.finish(stream, b"A: b\r\n", encoder, out, now)
            });
        }
    }

    /// The frames of the server on a stream. Panics for one that breaks a rule.
    pub(crate) fn take(&mut self, stream: u64) -> Vec<Seen> {
        let sent = self.streams.get(&stream).map_or(&b""[..], |one| &one.sent);
        let (mut rest, mut seen) = (sent, Vec::new());
        while let Some((header, len)) = FrameHeader::parse(rest) {
            let (payload, behind) = rest[len..].split_at(header.len as usize);
            seen.push(match header.kind {
                kind::DATA => Seen::Data(payload.to_vec()),
                kind::HEADERS => Seen::Headers(fields(payload)),
                kind => panic!("a frame of type {kind:#x}"),
            });
            rest = behind;
        }
        assert!(rest.is_empty(), "half a frame");
        seen
    }

    /// All that was sent is well-formed (RFC 9114 section 4.1).
    pub(crate) fn check_all(&mut self) {
        let mut frames = self.control_frames();
        assert_eq!(frames.remove(0).0, kind::SETTINGS);
        let is_goaway = |frame: &(u64, Vec<u8>)| frame.0 == kind::GOAWAY;
        assert!(frames.iter().all(is_goaway));
        let ids: Vec<_> = frames
            .iter()
            .map(|frame| varint::decode(&frame.1))
            .collect();
        assert!(ids.iter().rev().is_sorted());
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            let mut has_head = false;
            for (i, frame) in self.take(stream).into_iter().enumerate() {
                match frame {
                    Seen::Headers(fields) if i == 0 => {
                        assert_eq!(fields[0].0, ":status");
                        has_head = true;
                    }
                    Seen::Headers(fields) => {
                        assert!(fields.iter().all(|field| !field.0.starts_with(':')));
                    }
                    Seen::Data(_) => assert!(has_head),
                }
            }
        }
    }

    /// The frames of the control stream of the server.
    pub(crate) fn control_frames(&mut self) -> Vec<(u64, Vec<u8>)> {
        let sent = self.conn.control();
        let (kind, mut at) = varint::decode(sent).expect("a type");
        assert_eq!(kind, stream_type::CONTROL);
        let mut frames = Vec::new();
        while let Some((header, len)) = FrameHeader::parse(&sent[at..]) {
            let end = at + len + header.len as usize;
            frames.push((header.kind, sent[at + len..end].to_vec()));
            at = end;
        }
        assert_eq!(at, sent.len(), "half a frame");
        frames
    }

    /// What the driver was told, with heads and bodies.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.clone()
    }

    pub(crate) fn close(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            Next::Close(close) => Some(close.reason),
            _ => None,
        })
    }
}

fn fields(section: &[u8]) -> Vec<(String, String)> {
    let (mut out, mut fields) = (Vec::new(), Vec::new());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let result = Decoder.decode(section, usize::MAX, &mut out, |out, field| {
        assert!(field.is_valid, "a malformed field");
        let (name, value) = (&out[field.start..field.value], &out[field.value..field.end]);
        fields.push((text(name), text(value)));
    });
    result.expect("a field section");
    fields
}
