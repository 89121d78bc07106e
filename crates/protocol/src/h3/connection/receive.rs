//! Request streams: frames and heads.

use super::*;
use crate::field_section::head::Decoded;
use crate::h1::framing::BodyLength;
use crate::h3::frame::{FrameHeader, kind, unexpected};
use crate::h3::stream::{OpenFrame, Phase};
use crate::http::{Method, Version};
use crate::qpack::{Decoder, QpackError};

/// The first ignored frames of a stream cost nothing, if they have at most so many bytes.
const FREE_IGNORED: (u32, u64) = (2, 1024);

/// Ignored frames cost one for each of so many bytes.
const IGNORED_BYTES: u64 = 4096;

/// RFC 9204 sections 2.2.3 and 7.4.
pub(super) fn undecodable(error: QpackError) -> Fault {
    let code = ErrorCode::QPACK_DECOMPRESSION_FAILED;
    match error {
        QpackError::Integer => Fault::Stream(code, "an integer is too large"),
        QpackError::Dynamic => Fault::Connection(code, "there is no dynamic table"),
        _ => Fault::Connection(code, "malformed field section"),
    }
}

/// What an ignored frame costs.
pub(super) fn cost_of_ignored(len: u64) -> u32 {
    u32::try_from(1 + len / IGNORED_BYTES).unwrap_or(u32::MAX)
}

impl Http3 {
    #[inline]
    pub(super) fn request_stream(
        &mut self,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let id = input.stream;
        match self.position(id) {
            Some(at) => self.known_stream(at, input, turn),
            None if self.requests_begun.is_new(id) => self.new_stream(input, turn),
            None => {
                // Its response was complete before the request was.
                input.drop_all();
                Ok(Step::More)
            }
        }
    }

    #[inline]
    fn new_stream(
        &mut self,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let id = input.stream;
        if !self.requests_begun.begin(id, turn.http3.streams) {
            return Err(Fault::Connection(
                ErrorCode::H3_ID_ERROR,
                "more streams than QUIC allows",
            ));
        }
        if let Some(text) = self.reason_to_reject(id, turn.http3) {
            return self.reject(text, input, turn);
        }
        let rest = input.rest();
        let whole = FrameHeader::parse(rest).and_then(|(header, at)| {
            let end = at.checked_add(usize::try_from(header.len).ok()?)?;
            let section = rest.get(at..end)?;
            (header.kind == kind::HEADERS).then_some((section, end))
        });
        match whole {
            Some((section, end)) if section.len() <= turn.limits.head_bytes => {
                input.at += end;
                self.head(id, section, input, turn)
            }
            _ => {
                self.insert(Stream::new(id, turn.now));
                Ok(Step::Again)
            }
        }
    }

    /// There are as many streams as there may be, or the client knows that this one is not handled.
    #[inline]
    fn reason_to_reject(&self, id: u64, http3: &Http3Limits) -> Option<&'static str> {
        match self.stopping {
            Stopping::Last(first, _) if id >= first => Some("a request behind the last GOAWAY"),
            _ if self.streams.len() >= http3.streams => Some("too many streams"),
            _ => None,
        }
    }

    /// Nothing is done for a request: the client may send it again (RFC 9114 section 4.1.1).
    #[cold]
    fn reject(
        &mut self,
        text: &'static str,
        input: &mut StreamBytes<'_>,
        turn: &Turn<'_>,
    ) -> Result<Step, Fault> {
        input.drop_all();
        self.remove(input.stream, turn.now);
        self.counts.rejected += 1;
        self.events.push(Next::Reset {
            stream: input.stream,
            code: ErrorCode::H3_REQUEST_REJECTED,
            fault: Some(text),
        });
        self.spend(1, text, turn.http3, turn.now)?;
        Ok(Step::Again)
    }

    /// The head of a request is complete.
    #[inline]
    fn head(
        &mut self,
        id: u64,
        section: &[u8],
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let decoded = turn
            .head
            .decode_request(&mut Decoder, section, turn.limits)
            .map_err(undecodable)?;
        match decoded {
            Decoded::Request(framing) => self.request(id, framing, input, turn),
            Decoded::Malformed(text) => self.malformed_head(text, input, turn),
            Decoded::Refused(error) => {
                let method = turn.head.head.kind;
                self.refused(id, method, error, input, turn)
            }
        }
    }

    #[inline]
    fn request(
        &mut self,
        id: u64,
        mut framing: Framing,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let is_last = input.is_end();
        let mut length = None;
        match framing.body {
            BodyLength::Exact(1..) if is_last => {
                return self.malformed_head("no body, and Content-Length", input, turn);
            }
            BodyLength::Chunked if is_last => framing.body = BodyLength::Exact(0),
            BodyLength::Exact(len) => length = Some(len),
            BodyLength::Chunked => {}
        }
        if is_last {
            input.take_end();
        }
        let method = turn.head.head.kind;
        match self.find(id) {
            // The head has come in pieces.
            Some(stream) => {
                stream.method = method;
                stream.length = length;
                stream.since = turn.now;
                stream.phase = if is_last {
                    Phase::Received
                } else {
                    Phase::Body
                };
            }
            None => {
                self.current = Some(Current {
                    id,
                    method,
                    is_received: is_last,
                    is_unwanted: false,
                    length,
                });
            }
        }
        self.count_request(turn);
        let mode = ResponseContext {
            method,
            persistent: true,
            version: Version::Http3,
        };
        Ok(Step::Tell(Next::Request(RequestParts {
            stream: id,
            framing,
            mode,
            priority: self.priority_of(id, turn.head.priority),
        })))
    }

    /// RFC 9114 section 4.1.2.
    #[cold]
    fn malformed_head(
        &mut self,
        text: &'static str,
        input: &mut StreamBytes<'_>,
        turn: &Turn<'_>,
    ) -> Result<Step, Fault> {
        let stream = input.stream;
        input.drop_all();
        self.remove(stream, turn.now);
        self.counts.resets_sent += 1;
        self.events.push(Next::Malformed { stream, text });
        self.spend(1, text, turn.http3, turn.now)?;
        Ok(Step::Again)
    }

    /// A request that is answered with an error.
    #[cold]
    fn refused(
        &mut self,
        id: u64,
        method: Method,
        error: ProtocolError,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let text = "too many requests that are refused";
        self.spend(1, text, turn.http3, turn.now)?;
        let is_received = input.is_end();
        input.drop_all();
        self.remove(id, turn.now);
        self.current = Some(Current {
            id,
            method,
            is_received,
            is_unwanted: true,
            length: None,
        });
        self.count_request(turn);
        Ok(Step::Tell(Next::Refused { stream: id, error }))
    }

    /// One more request: the connection may have had enough of them.
    #[inline]
    fn count_request(&mut self, turn: &Turn<'_>) {
        self.requests = self.requests.saturating_add(1);
        let limits = turn.limits;
        if self.requests >= limits.requests_per_connection.max(1)
            || turn.now >= self.begun.after(limits.connection_age)
        {
            self.stop(turn.now);
        }
    }

    fn known_stream(
        &mut self,
        at: usize,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let stream = &mut self.streams[at];
        if !stream.is_receiving() {
            if input.is_last {
                stream.phase = Phase::Received;
            }
            input.drop_all();
            return Ok(Step::More);
        }
        match stream.frame {
            OpenFrame::None => self.frame_header(at, input, turn),
            _ if input.rest().is_empty() => Err(Fault::Connection(
                ErrorCode::H3_FRAME_ERROR,
                "the stream ends within a frame",
            )),
            OpenFrame::Headers(left) => self.part_of_section(at, left, input, turn),
            OpenFrame::Data(left) => self.part_of_data(at, left, input, turn),
            OpenFrame::Ignored(left) => {
                let n = left.min(input.rest().len() as u64);
                input.at += n as usize;
                stream.frame = match left - n {
                    0 => OpenFrame::None,
                    left => OpenFrame::Ignored(left),
                };
                Ok(Step::Again)
            }
        }
    }

    fn frame_header(
        &mut self,
        at: usize,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        if input.rest().is_empty() {
            return self.end(at, input);
        }
        let (n, header) = self.streams[at].reader.read(input.rest());
        input.at += n;
        let Some(header) = header else {
            return Ok(Step::Again);
        };
        match header.kind {
            kind::DATA => self.begin_data(at, header.len, turn),
            kind::HEADERS => self.begin_section(at, header.len, input, turn),
            kind::CANCEL_PUSH
            | kind::SETTINGS
            | kind::GOAWAY
            | kind::MAX_PUSH_ID
            | kind::PRIORITY_UPDATE
            | kind::PRIORITY_UPDATE_OF_PUSH => {
                Err(unexpected("a frame of the control stream in a request"))
            }
            kind::PUSH_PROMISE => Err(unexpected("PUSH_PROMISE of a client")),
            other if kind::is_of_http2(other) => Err(unexpected("a frame of HTTP/2")),
            _ => self.ignore(at, header.len, turn),
        }
    }

    /// RFC 9114 section 9.
    #[cold]
    fn ignore(&mut self, at: usize, len: u64, turn: &Turn<'_>) -> Result<Step, Fault> {
        let stream = &mut self.streams[at];
        stream.ignored = stream.ignored.saturating_add(1);
        let is_free = stream.ignored <= FREE_IGNORED.0 && len <= FREE_IGNORED.1;
        if len > 0 {
            stream.frame = OpenFrame::Ignored(len);
        }
        if !is_free {
            let text = "too many frames that are ignored";
            self.spend(cost_of_ignored(len), text, turn.http3, turn.now)?;
        }
        Ok(Step::Again)
    }

    /// RFC 9114 section 7.2.2.
    fn begin_section(
        &mut self,
        at: usize,
        len: u64,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let stream = &mut self.streams[at];
        let is_large = len > turn.limits.head_bytes as u64;
        match stream.phase {
            Phase::Head if is_large => {
                let id = stream.id;
                let error = ProtocolError::HeadTooLarge;
                return self.refused(id, Method::Other, error, input, turn);
            }
            Phase::Body if stream.is_tunnel => return Err(unexpected("HEADERS in a tunnel")),
            Phase::Body if is_large => {
                let text = "the trailer section is too large";
                return Err(Fault::Stream(ErrorCode::H3_EXCESSIVE_LOAD, text));
            }
            // There is nothing to wait for.
            Phase::Head | Phase::Body if len == 0 => {
                return self.part_of_section(at, 0, input, turn);
            }
            Phase::Head | Phase::Body => stream.frame = OpenFrame::Headers(len as usize),
            _ => return Err(unexpected("HEADERS behind a trailer section")),
        }
        Ok(Step::Again)
    }

    fn part_of_section(
        &mut self,
        at: usize,
        left: usize,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let stream = &mut self.streams[at];
        let part = &input.rest()[..left.min(input.rest().len())];
        input.at += part.len();
        let (id, is_head) = (stream.id, stream.phase == Phase::Head);
        if part.len() < left {
            stream.frame = OpenFrame::Headers(left - part.len());
            stream.section.extend_from_slice(part);
            self.partial += part.len();
            if self.partial > turn.http3.partial_head_bytes {
                let text = "too many field sections that are not complete";
                return match is_head {
                    true => self.reject(text, input, turn),
                    false => Err(Fault::Stream(ErrorCode::H3_EXCESSIVE_LOAD, text)),
                };
            }
            return Ok(Step::Again);
        }
        stream.frame = OpenFrame::None;
        let mut section = core::mem::take(&mut stream.section);
        self.partial -= section.len();
        let section = match section.is_empty() {
            true => part,
            false => {
                section.extend_from_slice(part);
                &section[..]
            }
        };
        match is_head {
            true => self.head(id, section, input, turn),
            false => self.trailers(at, section, input, turn),
        }
    }
}
