//! Responses that are built once and sent often.

use super::apart::joined;
use super::error::ResponseError;
use super::recorder::ResponseState;
use super::{Done, Response, ResponseRecorder};
use crate::http::deferred::worker_handle::WorkerHandle;
use crate::http::entity_tag;
use crate::shared::output::{FilePart, Output};
use peregrine_protocol::h1::response_encoder::end_head;
use peregrine_protocol::http::encode::{MAX_DIGITS, decimal};
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::field_block;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use peregrine_protocol::payload::Payload;
use std::fs::File;
#[cfg(feature = "dir")]
use std::ops::Range;
use std::sync::Arc;

impl Response<'_> {
    /// Sends a response that was built once, for example when the program has started: its status, its header fields and its body.
    /// It is the cheapest way to respond. The client gets what the closure of [`PreparedResponse::new`] would have sent.
    ///
    /// Fields and a status that were set before stay, as they do for that closure: a field of the prepared response that has
    /// one value replaces an earlier one, others add up, and a prepared status of 200 leaves another one that was set before.
    ///
    /// ```
    /// use peregrine::{PreparedResponse, Router};
    ///
    /// # fn main() -> Result<(), peregrine::error::ResponseError> {
    /// let robots = PreparedResponse::new(|res| res.text("User-agent: *\nDisallow: /admin\n"))?;
    /// let app = Router::new().get("/robots.txt", move |_, res| res.send_prepared(&robots));
    /// # let response = peregrine::testing::get(&app, "/robots.txt");
    /// # assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    /// # assert_eq!(response.text(), "User-agent: *\nDisallow: /admin\n");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("cached", "constant", "static"))]
    #[inline]
    pub fn send_prepared(self, prepared: &PreparedResponse) -> Done {
        match self.recorder.is_usual() {
            true => self.send_usual(prepared),
            false => self.set_fields(prepared.fields()).send_unusual(prepared),
        }
    }

    /// As [`Response::send_prepared`], but a field that is set already replaces that of the prepared response.
    #[cfg(feature = "dir")]
    pub(crate) fn send_prepared_below(self, prepared: &PreparedResponse) -> Done {
        match self.recorder.is_usual() {
            true => self.send_usual(prepared),
            false => self.fields(prepared.fields()).send_unusual(prepared),
        }
    }

    /// Two copies: the template that all responses share, and the bytes of this one.
    #[inline(always)]
    fn send_usual(self, prepared: &PreparedResponse) -> Done {
        let Response { recorder, output } = self;
        recorder.head = prepared.head;
        let template = recorder.encoder.template(prepared.head.status);
        output.push_with(|out| {
            out.reserve(template.len() + prepared.bytes.len());
            out.extend_from_slice(template);
            out.extend_from_slice(&prepared.bytes);
        });
        prepared.push_large(output);
        recorder.done(prepared.len)
    }

    /// What follows the fields: for HEAD, HTTP/1.0, HTTP/2, a response with other fields, a filter.
    #[inline(never)]
    fn send_unusual(self, prepared: &PreparedResponse) -> Done {
        let Response { recorder, output } = self;
        let head = &prepared.head;
        if head.status != ResponseHead::OK.status {
            recorder.set_status(head.status, output);
        }
        recorder.head.close |= head.close;
        recorder.head.upgrade |= head.upgrade;
        Response { recorder, output }.send_pieces(prepared.len, |output| prepared.push(output))
    }

    /// As [`Response::send_prepared`], with this number of seconds in the field `Age` (RFC 9111 section 5.1). The fields of
    /// `prepared` replace those that were set before; see [`joined`].
    #[inline]
    pub(crate) fn send_prepared_of_age(self, prepared: &PreparedResponse, age: u64) -> Done {
        if !self.recorder.is_usual() {
            return self.send_joined(prepared, age);
        }
        let Response { recorder, output } = self;
        let template = recorder.encoder.template(ResponseHead::OK.status);
        let (front, back) = prepared.bytes.split_at(prepared.age);
        output.push_with(|out| {
            out.reserve(template.len() + prepared.bytes.len() + MAX_DIGITS);
            out.extend_from_slice(template);
            out.extend_from_slice(front);
            decimal(age, out);
            out.extend_from_slice(back);
        });
        prepared.push_large(output);
        recorder.done(prepared.len)
    }

    #[cold]
    fn send_joined(mut self, prepared: &PreparedResponse, age: u64) -> Done {
        let mut own = prepared.fields().to_vec();
        field_block::push(b"Age", age.to_string().as_bytes(), &mut own);
        let fields = joined(&self.take_fields(), &own);
        self.with_fields(&fields)
            .send_pieces(prepared.len, |output| prepared.push(output))
    }

    /// Sends 304 with the fields of a 200 that do not describe its body.
    pub(crate) fn send_not_modified(mut self, prepared: &PreparedResponse) -> Done {
        self = self.status(304);
        let own = entity_tag::not_modified_fields(prepared.fields());
        let fields = joined(&self.take_fields(), &own);
        self.with_fields(&fields).body("")
    }
}

/// A response that is built once and sent often: by [`Response::send_prepared`], to any clients, in every version of HTTP, from
/// any threads at once. A body of 16 KiB or more is shared by all of them, and shorter ones are copied.
///
/// What belongs to a request is added when it is sent: `Date`, `Connection`, the fields of layers and of the listener, compression, and
/// whether the body is sent at all (HEAD).
///
/// ```text
///   bytes:  | block of fields | end of the head | body, if short |
///           0               fields            short
/// ```
#[derive(Clone, Debug)]
pub struct PreparedResponse {
    /// The end of the head is that of the usual case.
    bytes: Vec<u8>,
    head: ResponseHead,
    fields: usize,
    /// Where the number of seconds of `Age` belongs, if there is such a field.
    age: usize,
    short: usize,
    /// The length of the body.
    len: u64,
    large: Large,
}

#[derive(Clone, Debug)]
enum Large {
    None,
    Memory(Payload),
    File(Arc<File>),
}

impl PreparedResponse {
    /// Keeps the response that `respond` gives, which it calls once, on this thread. It may use all methods of [`Response`] for
    /// responses that are complete in memory: with a status, header fields, cookies, text, JSON. [`Response::timeout`] has no effect,
    /// and a field of [`Response::header_always`] is an ordinary one: errors do not have it.
    ///
    /// # Errors
    ///
    /// Those for which a client would get 500, such as a control byte in a header field. [`ResponseError::Missing`] if the response
    /// is not complete when `respond` returns (because it is deferred, offloaded or streamed), or if its body is a file.
    ///
    /// ```
    /// use peregrine::PreparedResponse;
    ///
    /// let gone = PreparedResponse::new(|res| res.status(410).header("Cache-Control", "max-age=60").text("gone\n"));
    /// assert!(gone.is_ok());
    /// assert!(PreparedResponse::new(|res| res.header("X-Name", "a\nb").body("")).is_err());
    /// ```
    pub fn new(
        respond: impl FnOnce(Response<'_>) -> Done,
    ) -> Result<PreparedResponse, ResponseError> {
        let mut recorder = ResponseRecorder::new(None, WorkerHandle::of_no_worker());
        let mut output = Output::default();
        let mut response = recorder.response(ResponseContext::default(), &mut output);
        response.recorder.record_from_now();
        let _done: Done = respond(response.reborrow());
        if let Some(fault) = recorder.fault.take() {
            return Err(fault);
        }
        // There is no pool: what was offloaded got the response of a busy server.
        let is_offloaded = recorder.handle.pool.counters().snapshot().jobs_refused > 0;
        let fields = recorder.recorded.0;
        match output.memory_since(recorder.mark, fields) {
            Some(body) if recorder.state == ResponseState::Complete && !is_offloaded => {
                // What responses share belongs to the program: it counts for no client that does not read it.
                let body = Arc::<[u8]>::from(body.concat());
                let fields = output.since(recorder.mark)[..fields].to_vec();
                Ok(PreparedResponse::of_head(
                    recorder.head,
                    fields,
                    body.into(),
                ))
            }
            _ => {
                // A responder that it has left finds no client.
                recorder.take_back(&mut output);
                Err(ResponseError::Missing)
            }
        }
    }

    /// A response of status 200.
    pub(crate) fn memory(fields: Vec<u8>, body: Payload) -> PreparedResponse {
        PreparedResponse::of_head(ResponseHead::OK, fields, body)
    }

    fn of_head(head: ResponseHead, fields: Vec<u8>, body: Payload) -> PreparedResponse {
        let len = body.len() as u64;
        match (Output::is_large(&body), body) {
            (false, body) => {
                PreparedResponse::build(head, fields, body.as_bytes(), len, Large::None)
            }
            // An owned one would be copied for each response.
            (true, Payload::Owned(body)) => {
                let shared = Payload::SharedVec(Arc::new(body));
                PreparedResponse::build(head, fields, b"", len, Large::Memory(shared))
            }
            (true, body) => PreparedResponse::build(head, fields, b"", len, Large::Memory(body)),
        }
    }

    /// As [`PreparedResponse::memory`], for [`Response::send_prepared_of_age`].
    pub(crate) fn of_age(mut fields: Vec<u8>, body: Payload) -> PreparedResponse {
        let own = fields.len();
        field_block::push(b"Age", b"", &mut fields);
        let prepared = PreparedResponse::memory(fields, body);
        PreparedResponse {
            age: prepared.fields - b"\r\n".len(),
            fields: own,
            ..prepared
        }
    }

    /// The first `len` bytes of a file.
    #[cfg(feature = "dir")]
    pub(crate) fn file(fields: Vec<u8>, file: Arc<File>, len: u64) -> PreparedResponse {
        PreparedResponse::build(ResponseHead::OK, fields, b"", len, Large::File(file))
    }

    fn build(
        head: ResponseHead,
        block: Vec<u8>,
        short: &[u8],
        len: u64,
        large: Large,
    ) -> PreparedResponse {
        let (fields, mut bytes) = (block.len(), block);
        let size = BodySize::Known(len);
        end_head(&head, size, ResponseContext::default(), &mut bytes);
        let end = bytes.len();
        bytes.extend_from_slice(short);
        bytes.shrink_to_fit();
        PreparedResponse {
            bytes,
            head,
            fields,
            age: fields,
            short: end,
            len,
            large,
        }
    }

    /// The block of fields.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.bytes[..self.fields]
    }

    fn short(&self) -> &[u8] {
        &self.bytes[self.short..]
    }

    /// Bytes of the body.
    #[cfg(feature = "dir")]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes that it holds in memory.
    pub(crate) fn weight(&self) -> usize {
        let large = match &self.large {
            Large::Memory(payload) => payload.len(),
            Large::None | Large::File(_) => 0,
        };
        self.bytes.capacity() + large
    }

    /// The file, if the body is not in memory.
    #[cfg(feature = "dir")]
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.large, Large::File(_))
    }

    /// Pushes a part of the body; `range` lies within it.
    #[cfg(feature = "dir")]
    pub(crate) fn push_range(&self, range: Range<u64>, output: &mut Output) {
        let part = range.start as usize..range.end as usize;
        match &self.large {
            Large::None => output.push(&self.short()[part]),
            Large::Memory(payload) => output.push(&payload.as_bytes()[part]),
            Large::File(file) => output.push_segment(
                FilePart {
                    file: file.clone(),
                    offset: range.start,
                },
                range.end - range.start,
            ),
        }
    }

    /// Pushes the body.
    pub(crate) fn push(&self, output: &mut Output) {
        output.push(self.short());
        self.push_large(output);
    }

    #[inline]
    fn push_large(&self, output: &mut Output) {
        if !matches!(self.large, Large::None) {
            self.push_by_reference(output);
        }
    }

    #[inline(never)]
    fn push_by_reference(&self, output: &mut Output) {
        match &self.large {
            Large::None => {}
            Large::Memory(payload) => output.push_payload(payload.clone()),
            Large::File(file) => output.push_segment(
                FilePart {
                    file: file.clone(),
                    offset: 0,
                },
                self.len,
            ),
        }
    }
}
