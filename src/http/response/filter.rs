//! Response filters: what changes a response after its handler and before it is encoded.
//!
//! While a filter waits, the response is recorded as fields and body, without a version of HTTP. It goes with
//! a response that is deferred. So a filter sees every response of its handler: those that are complete at
//! once, those that come from another thread, and those with a body in pieces.

use crate::http::deferred::streamed_body::StreamedBody;
use crate::shared::output::{Mark, Output};
use peregrine_protocol::http::response::{BodySize, ResponseHead};

/// Changes a response, or keeps a copy of it.
pub(crate) trait ResponseFilter: Send {
    /// Called once with a response that has no fault. Never called for a response that failed.
    fn apply(self: Box<Self>, response: &mut RecordedResponse<'_>);
}

/// A response before it is encoded.
pub(crate) struct RecordedResponse<'a> {
    pub(crate) head: &'a mut ResponseHead,
    pub(super) output: &'a mut Output,
    /// The block of fields begins here, and the body follows it.
    pub(super) mark: Mark,
    pub(super) fields: usize,
    pub(crate) size: BodySize,
    /// Whether the body is sent: it is not in a response to HEAD.
    pub(crate) is_sent: bool,
    /// It replaces one that a handler has begun, and has the fields that stay ([`Response::header_always`]).
    ///
    /// [`Response::header_always`]: crate::Response::header_always
    pub(crate) is_replacement: bool,
    /// The body comes in pieces.
    pub(crate) streamed: Option<&'a mut StreamedBody>,
}

impl RecordedResponse<'_> {
    /// The block of fields.
    pub(crate) fn fields(&mut self) -> &[u8] {
        &self.output.since(self.mark)[..self.fields]
    }

    /// The bytes of a body that is complete and in memory, in pieces.
    pub(crate) fn body(&self) -> Option<Vec<&[u8]>> {
        match self.streamed {
            Some(_) => None,
            None => self.output.memory_since(self.mark, self.fields),
        }
    }

    /// Replaces the fields.
    pub(crate) fn set_fields(&mut self, fields: &[u8]) {
        self.output.replace(self.mark, 0..self.fields, fields);
        self.fields = fields.len();
    }

    /// Replaces the fields and the body.
    pub(crate) fn replace(&mut self, fields: &[u8], body: Vec<u8>) {
        self.output.truncate(self.mark);
        self.output.push(fields);
        self.fields = fields.len();
        self.size = BodySize::Known(body.len() as u64);
        self.output.push_payload(body.into());
    }
}
