//! What clients send: field blocks and DATA.

use super::*;
use crate::field_section::head::{BadTrailers, Decoded};
use crate::h1::framing::BodyLength;
use crate::hpack::HpackError;

/// DATA frames with fewer bytes cost something, unless the stream has had more in earlier ones.
const TINY: u64 = 256;

fn protocol(text: &'static str) -> FrameError {
    FrameError::Connection(ErrorCode::PROTOCOL_ERROR, text)
}

fn malformed(stream: u32, text: &'static str) -> FrameError {
    FrameError::Stream(stream, ErrorCode::PROTOCOL_ERROR, text)
}

/// RFC 9113 section 4.3. A list that is far too large is no fault of the encoding.
fn undecodable(error: HpackError) -> FrameError {
    match error {
        HpackError::TooLarge => FrameError::Connection(
            ErrorCode::ENHANCE_YOUR_CALM,
            "a field list is far too large",
        ),
        _ => FrameError::Connection(ErrorCode::COMPRESSION_ERROR, "malformed field block"),
    }
}

impl<X: Part> Http2<X> {
    pub(super) fn begin_block(&mut self, id: u32, block: &[u8], is_last: bool, now: Seconds) {
        self.fragments.clear();
        self.fragments.extend_from_slice(block);
        self.block = Some(OpenBlock {
            stream: id,
            is_last,
            frames: 0,
            has_empty: block.is_empty(),
            since: now,
        });
    }

    /// RFC 9113 section 6.10.
    pub(super) fn continuation(
        &mut self,
        id: u32,
        fragment: &[u8],
        end_headers: bool,
        turn: &mut Turn<'_, X>,
    ) -> Result<Step, FrameError> {
        let Some(open) = &mut self.block else {
            return Err(protocol("CONTINUATION without a field block"));
        };
        open.frames += 1;
        let is_second_empty = fragment.is_empty() && open.has_empty;
        open.has_empty |= fragment.is_empty();
        let is_last = open.is_last;
        let len = self.fragments.len() + fragment.len();
        if open.frames > turn.http2.continuation_frames
            || is_second_empty
            || len > turn.limits.head_bytes
        {
            let text = "too many CONTINUATION frames, or too much in them";
            return Err(FrameError::Connection(ErrorCode::ENHANCE_YOUR_CALM, text));
        }
        self.fragments.extend_from_slice(fragment);
        if !end_headers {
            return Ok(Step::Again);
        }
        self.block = None;
        let fragments = core::mem::take(&mut self.fragments);
        self.field_block(id, &fragments, is_last, turn)
    }

    /// A complete block: the head of a request, or a trailer section.
    #[inline]
    pub(super) fn field_block(
        &mut self,
        id: u32,
        block: &[u8],
        is_last: bool,
        turn: &mut Turn<'_, X>,
    ) -> Result<Step, FrameError> {
        if id <= self.highest {
            return self.later_block(id, block, is_last, turn);
        }
        if id % 2 == 0 {
            return Err(protocol("a stream of a client has an even identifier"));
        }
        self.highest = id;
        let decoded = turn
            .head
            .decode_request(&mut self.decoder, block, turn.limits);
        let decoded = decoded.map_err(undecodable)?;
        if matches!(self.stopping, Stopping::Last(_)) {
            // The client knows that it is not handled (RFC 9113 section 6.8).
            return self.waste("HEADERS behind the last GOAWAY", turn);
        }
        if self.is_crowded(turn) {
            self.refuse(id, turn.out, turn.http2, turn.now);
            return Ok(Step::Again);
        }
        match decoded {
            Decoded::Request(framing) => self.request(id, framing, is_last, turn),
            Decoded::Malformed(text) => self.malformed_head(id, text, turn),
            Decoded::Refused(error) => {
                let text = "too many requests that are refused";
                self.bucket.spend(text, turn.http2, turn.now)?;
                self.current = Some(Current::new(id, turn.head, is_last));
                self.count_request(turn);
                Ok(Step::Tell(Next::Refused { stream: id, error }))
            }
        }
    }

    #[inline]
    fn request(
        &mut self,
        id: u32,
        mut framing: Framing,
        is_last: bool,
        turn: &mut Turn<'_, X>,
    ) -> Result<Step, FrameError> {
        let mut current = Current::new(id, turn.head, is_last);
        match framing.body {
            BodyLength::Exact(1..) if is_last => {
                return self.malformed_head(id, "no body, and Content-Length", turn);
            }
            BodyLength::Chunked if is_last => framing.body = BodyLength::Exact(0),
            BodyLength::Exact(len) => current.length = Some(len),
            BodyLength::Chunked => {}
        }
        self.current = Some(current);
        self.count_request(turn);
        let mode = ResponseContext {
            method: current.method,
            persistent: true,
            version: Version::Http2,
        };
        Ok(Step::Tell(Next::Request(RequestParts {
            stream: id,
            framing,
            mode,
        })))
    }

    /// RFC 9113 section 8.1.1.
    #[cold]
    fn malformed_head(
        &mut self,
        stream: u32,
        text: &'static str,
        turn: &mut Turn<'_, X>,
    ) -> Result<Step, FrameError> {
        self.send_reset(stream, ErrorCode::PROTOCOL_ERROR, turn.out, turn.now);
        self.events.push(Next::Malformed { stream, text });
        self.waste(text, turn)
    }

    /// One more request: the connection may have had enough of them.
    #[inline]
    fn count_request(&mut self, turn: &mut Turn<'_, X>) {
        self.requests = self.requests.saturating_add(1);
        let limits = turn.limits;
        if self.requests >= limits.requests_per_connection.max(1)
            || turn.now >= self.begun.after(limits.connection_age)
        {
            self.stop(turn.out, turn.now);
        }
    }

    /// There are as many streams as there may be, or as many bytes wait for windows. One response may be larger.
    #[inline]
    fn is_crowded(&self, turn: &Turn<'_, X>) -> bool {
        let (mut all, mut largest) = (0, 0);
        for stream in &self.streams {
            let held = stream.queue.held();
            (all, largest) = (all + held, held.max(largest));
        }
        self.streams.len() >= turn.http2.streams || all - largest > turn.limits.output_bytes
    }

    /// A block that opens no stream. It is decoded whatever it is for.
    #[cold]
    fn later_block(
        &mut self,
        id: u32,
        block: &[u8],
        is_last: bool,
        turn: &mut Turn<'_, X>,
    ) -> Result<Step, FrameError> {
        let trailers = turn
            .head
            .decode_trailers(&mut self.decoder, block, turn.limits);
        let trailers = trailers.map_err(undecodable)?;
        let Some(stream) = self.find(id) else {
            return match self.how_ended(id) {
                Some(Ended::Reset) => self.waste("HEADERS of streams that were reset", turn),
                Some(Ended::Closed) => Err(FrameError::Connection(
                    ErrorCode::STREAM_CLOSED,
                    "HEADERS of a stream that has ended",
                )),
                None => Err(protocol(
                    "the identifier of a stream is not larger than the last",
                )),
            };
        };
        if stream.is_received {
            let code = ErrorCode::STREAM_CLOSED;
            return Err(FrameError::Stream(id, code, "HEADERS behind END_STREAM"));
        }
        if !is_last {
            return Err(malformed(id, "a trailer section without END_STREAM"));
        }
        match trailers {
            Ok(()) => {}
            Err(BadTrailers::Malformed(text)) => return Err(malformed(id, text)),
            Err(BadTrailers::TooLarge) => {
                let (code, text) = (
                    ErrorCode::ENHANCE_YOUR_CALM,
                    "the trailer section is too large",
                );
                return Err(FrameError::Stream(id, code, text));
            }
        }
        if stream
            .length
            .is_some_and(|length| length != stream.received)
        {
            return Err(malformed(
                id,
                "the body is not as long as Content-Length says",
            ));
        }
        stream.is_received = true;
        Ok(Step::Tell(Next::Trailers { stream: id }))
    }

    /// RFC 9113 sections 6.1 and 6.9.
    #[inline]
    pub(super) fn data(
        &mut self,
        id: u32,
        data: Range<usize>,
        len: usize,
        is_last: bool,
        turn: &mut Turn<'_, X>,
    ) -> Result<Step, FrameError> {
        self.check_opened(id, "DATA of an idle stream")?;
        if !self.receive.receive(len as u32) {
            let text = "more DATA than the window of the connection";
            return Err(FrameError::Connection(ErrorCode::FLOW_CONTROL_ERROR, text));
        }
        let result = self.stream_data(id, data.len(), len, is_last, turn);
        // What no stream keeps is given back at once, padding above all.
        let kept = result.map_or(0, |_| data.len());
        if let Some(more) = self.receive.release((len - kept) as u32) {
            turn.out.push_with(|out| write::window_update(0, more, out));
        }
        Ok(match result? {
            true => Step::Tell(Next::Data {
                stream: id,
                piece: HEADER + data.start..HEADER + data.end,
                is_last,
            }),
            false => Step::Again,
        })
    }

    /// `n` bytes of a body, `len` with their padding. Whether the driver has to know.
    fn stream_data(
        &mut self,
        id: u32,
        n: usize,
        len: usize,
        is_last: bool,
        turn: &mut Turn<'_, X>,
    ) -> Result<bool, FrameError> {
        let (http2, now) = (turn.http2, turn.now);
        let closed = |text| FrameError::Stream(id, ErrorCode::STREAM_CLOSED, text);
        let Some(at) = self.position(id) else {
            return Err(match self.how_ended(id) {
                Some(Ended::Reset) => return self.late_data(id, n, is_last, turn),
                _ => closed("DATA of a stream that has ended"),
            });
        };
        let stream = &mut self.streams[at];
        if stream.is_received {
            return Err(closed("DATA behind END_STREAM"));
        }
        let received = stream.received + n as u64;
        let is_wrong = |length| received > length || is_last && received < length;
        if stream.length.is_some_and(is_wrong) {
            return Err(malformed(
                id,
                "the body is not as long as Content-Length says",
            ));
        }
        if !stream.receive.receive(len as u32) {
            let (code, text) = (ErrorCode::FLOW_CONTROL_ERROR, "more DATA than the window");
            return Err(FrameError::Stream(id, code, text));
        }
        stream.received = received;
        stream.frames += 1;
        stream.is_received = is_last;
        stream.count(n, turn.limits, now);
        let is_tiny = n < TINY as usize && received < TINY * stream.frames;
        if len > n {
            let more = stream.receive.release((len - n) as u32);
            if let Some(more) = more.filter(|_| !is_last) {
                turn.out
                    .push_with(|out| write::window_update(id, more, out));
            }
        }
        if is_tiny && !is_last {
            self.bucket
                .spend("too many DATA frames with little in them", http2, now)?;
        }
        Ok(n > 0 || is_last)
    }

    /// Streams behind the last GOAWAY count as reset.
    fn how_ended(&self, id: u32) -> Option<Ended> {
        match id > self.last_stream() {
            true => Some(Ended::Reset),
            false => self.ended.find(id),
        }
    }

    /// DATA of a stream that we have reset. Nothing may follow the end, so there is one for each reset.
    #[cold]
    fn late_data(
        &mut self,
        id: u32,
        n: usize,
        is_last: bool,
        turn: &mut Turn<'_, X>,
    ) -> Result<bool, FrameError> {
        let is_end = is_last && self.ended.has_end(id);
        if n < TINY as usize && !is_end {
            let text = "too many DATA frames of streams that were reset";
            self.bucket.spend(text, turn.http2, turn.now)?;
        }
        // It is nothing to the driver, and nothing is kept.
        self.receive.forget(n as u32);
        Ok(false)
    }

    fn waste(&mut self, text: &'static str, turn: &mut Turn<'_, X>) -> Result<Step, FrameError> {
        self.bucket.spend(text, turn.http2, turn.now)?;
        Ok(Step::Again)
    }

    /// `n` bytes of the body of a stream are of no interest: they are dropped. The client may send on the other
    /// streams what it would have sent, and no more on this one than its window allows.
    pub fn discard(&mut self, stream: u32, n: usize, now: Seconds) {
        if (self.current).is_some_and(|current| current.id == stream && !current.is_received) {
            self.settle(now);
        }
        let Some(stream) = self.find(stream) else {
            return;
        };
        let n = match core::mem::replace(&mut stream.is_unwanted, true) {
            // All that it has is dropped now.
            false => stream.receive.held(),
            true => u32::try_from(n).unwrap_or(u32::MAX),
        };
        self.receive.forget(n);
    }

    /// The driver takes nothing of the body of a stream for a while, or does again. Meanwhile its client is not slow.
    pub fn pause(&mut self, stream: u32, is_paused: bool, now: Seconds) {
        if let Some(stream) = self.find(stream) {
            stream.is_paused = is_paused;
            (stream.asked_since, stream.meter) = (now, None);
        }
    }

    /// `n` bytes of the body of a stream are taken. Nothing happens if the stream has ended.
    pub fn release(&mut self, stream: u32, n: usize, out: &mut WriteBuf<X>, now: Seconds) {
        self.release_to(stream, n, true, out, now);
    }

    /// Says that `n` bytes are taken, but gives the window of the stream back with the next [`Http2::release`] only.
    /// Until then the client sends no more on it than it may now.
    pub fn hold_back(&mut self, stream: u32, n: usize, out: &mut WriteBuf<X>, now: Seconds) {
        self.release_to(stream, n, false, out, now);
    }

    fn release_to(
        &mut self,
        stream: u32,
        n: usize,
        is_given: bool,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) {
        let Some(stream) = self.find(stream) else {
            return;
        };
        let n = u32::try_from(n)
            .unwrap_or(u32::MAX)
            .min(stream.receive.held());
        let was_held_up = !stream.may_go_on();
        let (id, is_received) = (stream.id, stream.is_received);
        let update = match is_given && !stream.has_room_for_rest() {
            true => stream.receive.release(n).filter(|_| !is_received),
            false => {
                stream.receive.forget(n);
                None
            }
        };
        if update.is_some() && was_held_up {
            // The client could send nothing: it has its time anew.
            (stream.asked_since, stream.meter) = (now, None);
        }
        let was_full = !self.receive.has_room();
        let all = self.receive.release(n);
        if was_full && all.is_some() {
            for stream in &mut self.streams {
                (stream.asked_since, stream.meter) = (now, None);
            }
        }
        out.push_with(|out| {
            for (id, more) in [(id, update), (0, all)] {
                if let Some(more) = more {
                    write::window_update(id, more, out);
                }
            }
        });
    }
}
