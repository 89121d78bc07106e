//! Responses: heads, complete bodies, pieces and ends.

use super::*;
use crate::field_section::name::is_of_connection;
use crate::http::encode;
use crate::http::response::{BodySize, Content, ResponseHead};
use crate::payload::Payload;

/// A longer body goes out by and by, so that it does not lie in the output as a whole.
const DIRECT: usize = 64 << 10;

impl<X: Part> Http2<X> {
    /// What a response needs to know of its request, and the window of its stream. `None`: it has ended.
    #[inline]
    fn request_of(&self, stream: u32) -> Option<(Method, i64)> {
        match &self.current {
            Some(current) if current.id == stream => Some((current.method, self.first_send)),
            _ => {
                let stream = &self.streams[self.position(stream)?];
                (!stream.is_answered).then_some((stream.method, stream.send))
            }
        }
    }

    /// Gives a complete response. `fields` are blocks of fields, sent in this order; the first one should be what
    /// all responses have. Fields about the connection are left out, and `content-length` is added. False if the stream has ended, or has had its response.
    ///
    /// If all of the body may be sent now, it goes to the output, and nothing is allocated. Otherwise the stream
    /// keeps it.
    #[inline]
    pub fn respond(
        &mut self,
        stream: u32,
        head: &ResponseHead,
        fields: &[&[u8]],
        body: Payload,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> bool {
        let Some((method, window)) = self.request_of(stream) else {
            return false;
        };
        let len = body.len();
        let has_body = Content::of(method, head.status) == Content::Sent && len > 0;
        let size = BodySize::Known(len as u64);
        self.head(stream, method, head, fields, size, !has_body, out);
        let is_free = !self.may_send && !self.has_backlog;
        if !has_body {
            self.response_sent(stream, out, now);
        } else if is_free && len <= DIRECT && len as i64 <= window.min(self.send) {
            self.send_all(stream, body, out);
            self.response_sent(stream, out, now);
        } else if let Some(kept) = self.answered(stream, now) {
            kept.queue.push_payload(body);
            self.kept_whole(stream, now);
        }
        if head.close {
            self.stop(out, now);
        }
        true
    }

    /// Gives a complete response that has been written: `response` begins with a block of fields of this length, and
    /// the body follows, if it is sent. It is empty afterwards. `common` are the fields that all responses have.
    /// Otherwise as [`Http2::respond`].
    #[inline]
    #[allow(
        clippy::too_many_arguments,
        reason = "they are what a response is made of"
    )]
    pub fn respond_with(
        &mut self,
        stream: u32,
        head: &ResponseHead,
        common: &[u8],
        (fields, size): (usize, BodySize),
        response: &mut WriteBuf<X>,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> bool {
        let Some((method, window)) = self.request_of(stream) else {
            response.clear();
            return false;
        };
        let len = response.len() - fields as u64;
        let is_free = !self.may_send && !self.has_backlog;
        {
            let (own, body) = response.row().split_at(fields);
            self.head(stream, method, head, &[common, own], size, len == 0, out);
            let is_direct = is_free && response.is_row() && len <= DIRECT as u64;
            if len == 0 {
                // They watch the head.
                response
                    .take_watchers()
                    .for_each(|watcher| out.push_watcher(watcher));
                self.response_sent(stream, out, now);
            } else if is_direct && len as i64 <= window.min(self.send) {
                self.send_bytes(stream, body, out);
                self.response_sent(stream, out, now);
            } else if let Some(kept) = self.answered(stream, now) {
                kept.queue.append(response.detach(), fields);
                self.kept_whole(stream, now);
            }
        }
        response.clear();
        if head.close {
            self.stop(out, now);
        }
        true
    }

    /// Begins a response whose body comes in pieces. True if a body follows, by [`Http2::send`] and
    /// [`Http2::finish`]; `None` if the stream has ended, or has had its response.
    pub fn begin(
        &mut self,
        stream: u32,
        head: &ResponseHead,
        fields: &[&[u8]],
        size: BodySize,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> Option<bool> {
        let (method, _) = self.request_of(stream)?;
        let is_sent = Content::of(method, head.status) == Content::Sent;
        self.head(stream, method, head, fields, size, !is_sent, out);
        match is_sent {
            true => drop(self.answered(stream, now)),
            false => self.response_sent(stream, out, now),
        }
        if head.close {
            self.stop(out, now);
        }
        Some(is_sent)
    }

    /// Appends to the body of a response that has begun what `push` appends. Returns how many bytes wait;
    /// `None` if the stream has ended.
    pub fn send(
        &mut self,
        stream: u32,
        now: Seconds,
        push: impl FnOnce(&mut WriteBuf<X>),
    ) -> Option<u64> {
        let stream = self.find(stream).filter(|stream| !stream.is_finished)?;
        if stream.queue.is_empty() {
            stream.stall = Stall::new(now);
        }
        push(&mut stream.queue);
        let len = stream.queue.len();
        self.may_send = true;
        Some(len)
    }

    /// The body of a response is complete. `trailers` is a block of fields. False if the stream has ended.
    pub fn finish(&mut self, stream: u32, trailers: &[u8]) -> bool {
        let is_open = |stream: &&mut Stream<X>| stream.is_answered && !stream.is_finished;
        let Some(stream) = self.find(stream).filter(is_open) else {
            return false;
        };
        stream.is_finished = true;
        stream.trailers.extend_from_slice(trailers);
        self.may_send = true;
        true
    }

    /// Sends an interim response (RFC 9110 section 15.2), such as 100 or 103. False if the stream has ended, or
    /// has had its response.
    pub fn interim(
        &mut self,
        stream: u32,
        status: u16,
        fields: &[&[u8]],
        out: &mut WriteBuf<X>,
    ) -> bool {
        debug_assert!((100..200).contains(&status) && status != 101);
        let is_open = self.request_of(stream).is_some();
        if is_open {
            self.block(stream, Some(status), fields, None, false, out);
        }
        is_open
    }

    /// Ends a stream (RFC 9113 section 6.4). Nothing happens if it has ended.
    pub fn reset(&mut self, stream: u32, code: ErrorCode, out: &mut WriteBuf<X>, now: Seconds) {
        let is_current = self.current.is_some_and(|current| current.id == stream);
        if is_current || self.position(stream).is_some() {
            if is_current {
                self.current = None;
            }
            self.send_reset(stream, code, out, now);
        }
    }

    /// Ends a stream, and returns the bytes of its response that are lost.
    pub(super) fn send_reset(
        &mut self,
        stream: u32,
        code: ErrorCode,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> u64 {
        let unsent = self.remove(stream, Ended::Reset, now);
        self.counts.resets_sent += 1;
        out.push_with(|out| write::reset(stream, code, out));
        unsent.unwrap_or(0)
    }

    /// Ends a stream for a reason of the connection, which the driver learns. `fault`: of the client.
    #[cold]
    pub(super) fn reset_and_tell(
        &mut self,
        stream: u32,
        code: ErrorCode,
        fault: Option<&'static str>,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) {
        let unsent = self.send_reset(stream, code, out, now);
        self.events.push(Next::Reset {
            stream,
            code,
            unsent,
            fault,
        });
    }

    /// Refuses a request of which nothing has been done: the client may send it again (RFC 9113 section 8.7).
    #[cold]
    pub fn refuse(
        &mut self,
        stream: u32,
        out: &mut WriteBuf<X>,
        http2: &Http2Limits,
        now: Seconds,
    ) {
        if self.current.is_some_and(|current| current.id == stream) {
            self.current = None;
        }
        self.remove(stream, Ended::Reset, now);
        self.counts.refused += 1;
        out.push_with(|out| write::reset(stream, ErrorCode::REFUSED_STREAM, out));
        let spent = self.bucket.spend("too many streams", http2, now);
        if let Err(FrameError::Connection(code, text)) = spent {
            self.fail(code, text, out);
        }
    }

    /// All of a response waits for the windows. What is missing of the request is of no interest.
    fn kept_whole(&mut self, id: u32, now: Seconds) {
        self.may_send = true;
        let Some(stream) = self.find(id) else {
            return;
        };
        stream.is_finished = true;
        if !stream.is_received {
            self.discard(id, 0, now);
        }
    }

    /// The stream, which is made now if there is none yet, as one whose head has been written.
    fn answered(&mut self, id: u32, now: Seconds) -> Option<&mut Stream<X>> {
        if self.current.is_some_and(|current| current.id == id) {
            self.settle(now);
        }
        let stream = self.find(id)?;
        stream.is_answered = true;
        stream.stall = Stall::new(now);
        Some(stream)
    }

    /// HEADERS with a response.
    #[allow(clippy::too_many_arguments, reason = "they are what a head is made of")]
    fn head(
        &mut self,
        stream: u32,
        method: Method,
        head: &ResponseHead,
        fields: &[&[u8]],
        size: BodySize,
        end: bool,
        out: &mut WriteBuf<X>,
    ) {
        let length = Content::of(method, head.status).length(size);
        self.block(stream, Some(head.status), fields, length, end, out);
    }

    /// HEADERS.
    #[inline]
    pub(super) fn block(
        &mut self,
        stream: u32,
        status: Option<u16>,
        fields: &[&[u8]],
        length: Option<u64>,
        end: bool,
        out: &mut WriteBuf<X>,
    ) {
        let encoder = &mut self.encoder;
        out.push_with(|out| {
            write::headers(stream, end, MAX_PAYLOAD, out, |out| {
                encoder.begin(out);
                if let Some(status) = status {
                    encoder.status(status, out);
                }
                for block in fields {
                    encoder.block(block, is_of_connection, out);
                }
                if let Some(length) = length {
                    let mut room = [0; encode::MAX_DIGITS];
                    encoder.content_length(encode::digits(length, &mut room), out);
                }
            });
        });
    }

    /// All of a body that the windows allow.
    #[inline]
    fn send_all(&mut self, stream: u32, body: Payload, out: &mut WriteBuf<X>) {
        let len = body.len();
        if len > MAX_PAYLOAD {
            return self.send_bytes(stream, body.as_bytes(), out);
        }
        self.send -= len as i64;
        out.push_with(|out| write::data(len, true, stream, out));
        out.push_payload(body);
        self.free_updates = self.free_updates.saturating_add(2);
    }

    /// The same, of bytes that are copied.
    #[inline]
    fn send_bytes(&mut self, stream: u32, body: &[u8], out: &mut WriteBuf<X>) {
        self.send -= body.len() as i64;
        let count = body.len().div_ceil(MAX_PAYLOAD);
        for (i, piece) in body.chunks(MAX_PAYLOAD).enumerate() {
            out.push_with(|out| {
                write::data(piece.len(), i + 1 == count, stream, out);
                out.extend_from_slice(piece);
            });
        }
        self.free_updates = self.free_updates.saturating_add(2 * count as u32);
    }

    /// END_STREAM of ours is in the output. If the request is not complete, the client need not send the rest
    /// (RFC 9113 section 8.1).
    #[inline]
    pub(super) fn response_sent(&mut self, id: u32, out: &mut WriteBuf<X>, now: Seconds) {
        let is_received = match self.current {
            Some(current) if current.id == id => {
                self.current = None;
                current.is_received
            }
            _ => self.find(id).is_none_or(|stream| stream.is_received),
        };
        self.idle_since = now;
        match is_received {
            true => _ = self.remove(id, Ended::Closed, now),
            false => {
                self.remove(id, Ended::Reset, now);
                out.push_with(|out| write::reset(id, ErrorCode::NO_ERROR, out));
            }
        }
    }
}
