//! `ResponseRecorder`: the state of the response that is being built.

use super::always::Always;
use super::{Done, Response};
use crate::http::access_entry::PendingEntry;
#[cfg(feature = "websocket")]
use crate::http::deferred::handshake::Handshake;
use crate::http::deferred::pending::StreamIds;
use crate::http::deferred::responder::Begun;
use crate::http::deferred::streamed_body::StreamedBody;
use crate::http::deferred::worker_handle::{DeferredResponse, WorkerCommand, WorkerHandle};
use crate::http::response::error::ResponseError;
use crate::http::response::filter::ResponseFilter;
use crate::shared::id::{ConnId, RequestId};
use crate::shared::output::{Mark, Output};
use crate::shared::panic_guard::drop_quietly;
use peregrine_protocol::h1::response_encoder::{
    OpenHead, ResponseEncoder, ResponseFraming, end_head,
};
#[cfg(feature = "http2")]
use peregrine_protocol::http::Version;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::response::{BodySize, Content, ResponseHead};
use std::io;
use std::sync::Arc;

/// The state of the response that is being built. The driver has one recorder for all its connections, so a
/// [`Response`] is two references, which are passed by value in registers. A deferred response has its own
/// recorder: it is recorded on the thread that makes it, and encoded on the thread of the connection.
pub(crate) struct ResponseRecorder {
    pub(crate) encoder: ResponseEncoder,
    pub(super) mode: ResponseContext,
    /// The position at which the response begins.
    pub(super) mark: Mark,
    pub(super) head: ResponseHead,
    /// Bytes of the template in the output before the fields. 0 before the first field, [`RECORDED`] without
    /// a template.
    pub(super) begun: usize,
    /// The fields that may be set, as [`marks`](peregrine_protocol::http::fields::mark).
    pub(super) marks: u64,
    /// For a response that is recorded: the length of its block of fields, and what follows it.
    pub(super) recorded: (usize, BodySize),
    /// What changes the response before it is encoded, the outermost first.
    pub(super) filters: Vec<Box<dyn ResponseFilter>>,
    pub(super) state: ResponseState,
    pub(super) fault: Option<ResponseError>,
    /// A body that follows.
    pub(super) body: Option<Box<StreamedBody>>,
    /// The log entry of a response that is not complete when the handler returns.
    pub(crate) log: Option<Box<PendingEntry>>,
    /// The handshake that waits for a decision, if the response is deferred for that.
    #[cfg(feature = "websocket")]
    pub(crate) handshake: Option<Box<Handshake>>,
    /// What stays if another response replaces this one.
    pub(crate) always: Option<Box<Always>>,
    /// The pattern of the route that has responded, for a log around the router.
    pub(super) route: Option<&'static str>,
    /// The same, for a span. A log takes the other one.
    #[cfg(feature = "tracing")]
    pub(crate) traced_route: Option<&'static str>,
    pub(crate) handle: Arc<WorkerHandle>,
    pub(super) request: RequestRef,
    /// The identifier of the request, if its response comes later or is streamed.
    pub(crate) id: Option<RequestId>,
    pub(crate) ids: StreamIds,
}

/// See [`ResponseRecorder::begun`].
const RECORDED: usize = usize::MAX;

/// The request that the response is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestRef {
    /// The current connection.
    Turn(ConnId),
    Late(RequestId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseState {
    Open,
    Complete,
    /// The head is complete, and the body follows.
    Streamed,
    Deferred,
    /// The response was sent to its connection already.
    Posted,
}

impl ResponseRecorder {
    pub(crate) fn new(server_name: Option<&str>, handle: Arc<WorkerHandle>) -> ResponseRecorder {
        let request = RequestRef::Turn(ConnId::default());
        ResponseRecorder::with(ResponseEncoder::new(server_name), handle, request)
    }

    /// A recorder for a deferred response.
    pub(crate) fn late(handle: Arc<WorkerHandle>, id: RequestId) -> ResponseRecorder {
        ResponseRecorder::with(ResponseEncoder::none(), handle, RequestRef::Late(id))
    }

    fn with(
        encoder: ResponseEncoder,
        handle: Arc<WorkerHandle>,
        request: RequestRef,
    ) -> ResponseRecorder {
        ResponseRecorder {
            encoder,
            mark: Mark::default(),
            mode: ResponseContext::default(),
            head: ResponseHead::OK,
            begun: 0,
            marks: 0,
            recorded: (0, BodySize::Unknown),
            filters: Vec::new(),
            state: ResponseState::Open,
            fault: None,
            body: None,
            log: None,
            #[cfg(feature = "websocket")]
            handshake: None,
            always: None,
            route: None,
            #[cfg(feature = "tracing")]
            traced_route: None,
            handle,
            request,
            id: None,
            ids: StreamIds::default(),
        }
    }

    /// A panic has ended the turn of a connection: drops the unfinished response. No identifier is assigned
    /// twice.
    #[cold]
    pub(crate) fn recover(&mut self) {
        let handle = self.handle.clone();
        let mut new = ResponseRecorder::with(ResponseEncoder::none(), handle, self.request);
        std::mem::swap(&mut new.encoder, &mut self.encoder);
        new.encoder.reset();
        self.leave_id();
        std::mem::swap(&mut new.ids, &mut self.ids);
        drop_quietly(std::mem::replace(self, new));
    }

    /// The current connection.
    #[inline]
    pub(crate) fn set_conn(&mut self, conn: ConnId) {
        self.request = RequestRef::Turn(conn);
    }

    /// The connection of the last [`ResponseRecorder::set_conn`].
    pub(crate) fn conn(&self) -> ConnId {
        match self.request {
            RequestRef::Turn(conn) => conn,
            RequestRef::Late(id) => id.conn,
        }
    }

    /// Registers the request of this connection as pending: from now on other threads may respond.
    pub(super) fn enter(&mut self, conn: ConnId) -> RequestId {
        let id = self.handle.enter(conn, &mut self.ids);
        debug_assert!(self.id.is_none(), "two responses to one request");
        self.id = Some(id);
        id
    }

    /// The request is not pending any more.
    pub(crate) fn leave(&mut self, id: RequestId) {
        self.handle.leave(id, &mut self.ids);
    }

    #[cold]
    fn leave_id(&mut self) {
        if let Some(id) = self.id.take() {
            self.leave(id);
        }
    }

    /// Begins a response at the end of the output.
    #[inline]
    pub(crate) fn response<'a>(
        &'a mut self,
        mode: ResponseContext,
        output: &'a mut Output,
    ) -> Response<'a> {
        self.mode = mode;
        self.mark = output.mark();
        self.head = ResponseHead::OK;
        self.begun = 0;
        self.state = ResponseState::Open;
        debug_assert!(self.filters.is_empty(), "filters of another response");
        if self.always.is_some() {
            self.end_always();
        }
        Response {
            recorder: self,
            output,
        }
    }

    /// Begins a response in the version of the request. From HTTP/2 on it is recorded: `output` gets its fields and its
    /// body, and [`ResponseRecorder::recorded`] has the rest.
    pub(crate) fn response_for<'a>(
        &'a mut self,
        mode: ResponseContext,
        output: &'a mut Output,
    ) -> Response<'a> {
        #[cfg(feature = "http2")]
        if mode.version >= Version::Http2 {
            return self.recorded_response(mode, output);
        }
        self.response(mode, output)
    }

    /// Begins a response that is recorded, at the end of `output`.
    #[cfg(feature = "http2")]
    #[inline]
    pub(crate) fn recorded_response<'a>(
        &'a mut self,
        mode: ResponseContext,
        output: &'a mut Output,
    ) -> Response<'a> {
        let response = self.response(mode, output);
        response.recorder.begun = RECORDED;
        response
    }

    /// The head of the response that is recorded, the length of its block of fields, and the size of its body.
    #[cfg(feature = "http2")]
    #[inline]
    pub(crate) fn recorded(&self) -> (ResponseHead, usize, BodySize) {
        (self.head, self.recorded.0, self.recorded.1)
    }

    /// Begins a response that was deferred, in an empty `output`.
    pub(crate) fn late_response<'a>(
        &'a mut self,
        mode: ResponseContext,
        begun: &mut Begun,
        output: &'a mut Output,
    ) -> Response<'a> {
        self.mode = mode;
        self.mark = output.mark();
        self.begun = RECORDED;
        self.head = begun.head;
        self.filters = std::mem::take(&mut begun.filters);
        self.always = begun.always.take();
        self.push_fields(&begun.fields, output);
        Response {
            recorder: self,
            output,
        }
    }

    /// The response is encoded later: on the thread of its connection, by the protocol of it, or when its filters have
    /// seen it.
    #[inline]
    pub(super) fn is_recorded(&self) -> bool {
        self.begun == RECORDED
    }

    /// From now on the response is recorded. The output has only its fields.
    pub(super) fn record_from_now(&mut self) {
        self.begun = RECORDED;
    }

    /// The response is made on another thread than that of its connection.
    #[inline]
    pub(super) fn is_late(&self) -> bool {
        matches!(self.request, RequestRef::Late(_))
    }

    /// Whether the response has no field and the default status, and is for a GET of HTTP/1.1 on a persistent
    /// connection.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.begun == 0 && self.head == ResponseHead::OK && self.mode == ResponseContext::default()
    }

    #[cold]
    pub(super) fn fail(&mut self, error: ResponseError) {
        self.fault.get_or_insert(error);
    }

    #[inline]
    pub(super) fn set_status(&mut self, status: u16, output: &mut Output) {
        if !ResponseEncoder::is_status(status) {
            return self.fail(ResponseError::Status(status));
        }
        if self.begun > 0 {
            self.replace_template(status, output);
        }
        self.head.status = status;
    }

    /// Writes the template, before the first field.
    #[inline(always)]
    pub(super) fn begin(&mut self, output: &mut Output) {
        if self.begun == 0 {
            self.put_template(output);
        }
    }

    #[inline(never)]
    fn put_template(&mut self, output: &mut Output) {
        let template = self.encoder.template(self.head.status);
        output.push(template);
        self.begun = template.len();
    }

    /// Replaces the template by that of another status.
    #[cold]
    fn replace_template(&mut self, status: u16, output: &mut Output) {
        if status != self.head.status && !self.is_recorded() {
            let template = self.encoder.template(status);
            output.replace(self.mark, 0..self.begun, template);
            self.begun = template.len();
        }
    }

    /// The position of the fields, counted from the mark.
    pub(super) fn fields_from(&self) -> usize {
        match self.is_recorded() {
            true => 0,
            false => self.begun,
        }
    }

    /// Ends the head for a body of `size`. True if the body is sent.
    #[inline(always)]
    pub(super) fn end_head(&mut self, size: BodySize, output: &mut Output) -> bool {
        match self.is_recorded() {
            true => self.record(size, output),
            false => self.encode_end(size, output).coding.is_some(),
        }
    }

    /// The head without its end is complete; the body follows.
    #[cold]
    #[inline(never)]
    pub(super) fn record(&mut self, size: BodySize, output: &Output) -> bool {
        self.recorded = (output.len_since(self.mark) as usize, size);
        self.content() == Content::Sent
    }

    #[inline(always)]
    pub(super) fn encode_end(&mut self, size: BodySize, output: &mut Output) -> ResponseFraming {
        self.begin(output);
        output.push_with(|out| end_head(&self.head, size, self.mode, out))
    }

    /// Ends the head for a body that is written next. The caller then calls [`ResponseRecorder::fill_head`].
    pub(super) fn open_head(&mut self, output: &mut Output) -> Option<OpenHead> {
        if self.is_recorded() {
            self.record(BodySize::Unknown, output);
            return None;
        }
        self.begin(output);
        Some(output.push_with(|out| OpenHead::end(&self.head, self.mode, out)))
    }

    /// The body is written and has `len` bytes. True if it is sent.
    pub(super) fn fill_head(
        &mut self,
        open: Option<OpenHead>,
        len: u64,
        output: &mut Output,
    ) -> bool {
        let Some(open) = open else {
            self.recorded.1 = BodySize::Known(len);
            return self.content() == Content::Sent;
        };
        let response = output.since(self.mark);
        let head = response.len() - len as usize;
        if !open.fill(len, &mut response[..head]) {
            self.fail(ResponseError::Write(io::ErrorKind::FileTooLarge.into()));
        }
        open.is_sent()
    }

    fn content(&self) -> Content {
        Content::of(self.mode.method, self.head.status)
    }

    /// Whether the body follows the head.
    pub(super) fn is_body_sent(&self) -> bool {
        self.content() == Content::Sent
    }

    #[inline]
    pub(super) fn done(&mut self, body_bytes: u64) -> Done {
        self.state = ResponseState::Complete;
        Done {
            status: self.head.status,
            is_deferred: false,
            body_bytes,
            has_length: true,
        }
    }

    /// Whether the response is complete, and if so, whether it announces the end of the connection.
    #[inline]
    pub(crate) fn is_complete(&self) -> Option<bool> {
        let is_complete = self.state == ResponseState::Complete && self.fault.is_none();
        is_complete.then_some(self.head.close || !self.mode.persistent)
    }

    /// The status of the response.
    #[inline]
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// The rest of a response that is not complete, if it is known already, or why there is none.
    #[cold]
    pub(crate) fn later(&mut self) -> Result<Option<Box<StreamedBody>>, ResponseError> {
        match (self.fault.take(), self.state) {
            (Some(fault), _) => Err(fault),
            (None, ResponseState::Streamed | ResponseState::Deferred) => Ok(self.body.take()),
            (None, _) => Err(ResponseError::Missing),
        }
    }

    /// Posts a deferred response, whose body has `body_bytes` bytes, to its connection.
    pub(crate) fn post_late(&mut self, body_bytes: u64, output: &mut Output) {
        let RequestRef::Late(id) = self.request else {
            return;
        };
        let command = match (self.fault.take(), self.state) {
            (None, ResponseState::Complete | ResponseState::Streamed) => {
                let body_bytes = self.filter_late(body_bytes, output);
                self.state = ResponseState::Posted;
                let late = DeferredResponse {
                    head: self.head,
                    fields: self.recorded.0,
                    size: self.recorded.1,
                    body_bytes,
                    bytes: output.detach(),
                    body: self.body.take(),
                };
                WorkerCommand::Respond(id, late)
            }
            // The response was deferred again. The next responder sends it.
            (None, ResponseState::Deferred | ResponseState::Posted) => return,
            (None, ResponseState::Open) => {
                WorkerCommand::Fail(id, ResponseError::Missing, self.always.take())
            }
            (Some(fault), _) => WorkerCommand::Fail(id, fault, self.always.take()),
        };
        output.clear();
        self.handle.post(command);
    }

    /// Writes a deferred response. Returns the rest of it, or else whether it ends the connection.
    pub(crate) fn deliver(
        &mut self,
        late: DeferredResponse,
        mode: ResponseContext,
        output: &mut Output,
    ) -> Result<Box<StreamedBody>, bool> {
        #[cfg(feature = "http2")]
        if mode.version >= Version::Http2 {
            (self.head, self.recorded) = (late.head, (late.fields, late.size));
            output.append(late.bytes, 0);
            return late.body.ok_or(late.head.close);
        }
        let framing = output.push_with(|out| {
            let fields = late.bytes.row(late.fields);
            self.encoder.head(&late.head, fields, late.size, mode, out)
        });
        output.append(late.bytes, late.fields);
        let mut body = late.body.ok_or(framing.close)?;
        body.begin(framing);
        Ok(body)
    }

    /// Whether the response is complete, with this status, and `most` bytes at the most.
    #[cold]
    pub(crate) fn is_complete_with(&self, status: u16, most: u64, output: &Output) -> bool {
        self.is_complete().is_some()
            && self.head.status == status
            && output.len_since(self.mark) <= most
    }

    /// Discards the response.
    #[cold]
    pub(crate) fn take_back(&mut self, output: &mut Output) {
        self.leave_id();
        self.fault = None;
        self.body = None;
        #[cfg(feature = "websocket")]
        drop_quietly(self.handshake.take());
        output.truncate(self.mark);
    }
}
