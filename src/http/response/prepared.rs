//! Responses that are built once and sent often: files and their parts.

use super::apart::joined;
use super::{Done, Response};
use crate::http::entity_tag;
use crate::shared::output::{FilePart, Output};
use peregrine_protocol::h1::response_encoder::end_head;
use peregrine_protocol::http::encode::{MAX_DIGITS, digits};
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::field_block;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use peregrine_protocol::payload::Payload;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "dir")]
impl Response<'_> {
    /// Sends a prepared response. In the common case that is two copies: the template that all responses
    /// share, and the bytes of this one.
    pub(crate) fn send_prepared(self, prepared: &PreparedResponse) -> Done {
        let Response { recorder, output } = self;
        if !recorder.is_usual() {
            return Response { recorder, output }
                .fields(&prepared.bytes[..prepared.fields])
                .send_pieces(prepared.len, |output| prepared.push(output));
        }
        let template = recorder.encoder.template(ResponseHead::OK.status);
        output.push_with(|out| {
            out.reserve(template.len() + prepared.bytes.len());
            out.extend_from_slice(template);
            out.extend_from_slice(&prepared.bytes);
        });
        prepared.push_large(output);
        recorder.done(prepared.len)
    }
}

impl Response<'_> {
    /// As [`Response::send_prepared`], with this number of seconds in the field `Age` (RFC 9111 section 5.1). The fields of
    /// `prepared` replace those that were set before; see [`joined`].
    pub(crate) fn send_prepared_of_age(self, prepared: &PreparedResponse, age: u64) -> Done {
        let mut room = [0; MAX_DIGITS];
        let age = digits(age, &mut room);
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
            out.extend_from_slice(age);
            out.extend_from_slice(back);
        });
        prepared.push_large(output);
        recorder.done(prepared.len)
    }

    #[cold]
    fn send_joined(mut self, prepared: &PreparedResponse, age: &[u8]) -> Done {
        let mut fields = joined(&self.take_fields(), prepared.fields());
        field_block::push(b"Age", age, &mut fields);
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

/// Fields and a body that are built once and sent often. Between them is the end of the head as in the common
/// case.
///
/// ```text
///   bytes:  | block of fields | end of the head | body, if short |
///           0               fields            short
/// ```
#[derive(Debug)]
pub(crate) struct PreparedResponse {
    bytes: Vec<u8>,
    fields: usize,
    /// Where the number of seconds of `Age` belongs, if there is such a field.
    age: usize,
    short: usize,
    /// The length of the body.
    len: u64,
    large: Large,
}

#[derive(Debug)]
enum Large {
    None,
    Memory(Payload),
    File(Arc<File>),
}

impl PreparedResponse {
    pub(crate) fn memory(fields: Vec<u8>, body: Payload) -> PreparedResponse {
        let len = body.len() as u64;
        match Output::is_large(&body) {
            true => PreparedResponse::new(fields, b"", len, Large::Memory(body)),
            false => PreparedResponse::new(fields, body.as_bytes(), len, Large::None),
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
    pub(crate) fn file(fields: Vec<u8>, file: Arc<File>, len: u64) -> PreparedResponse {
        PreparedResponse::new(fields, b"", len, Large::File(file))
    }

    fn new(block: Vec<u8>, short: &[u8], len: u64, large: Large) -> PreparedResponse {
        let (fields, mut bytes) = (block.len(), block);
        let size = BodySize::Known(len);
        end_head(
            &ResponseHead::OK,
            size,
            ResponseContext::default(),
            &mut bytes,
        );
        let end = bytes.len();
        bytes.extend_from_slice(short);
        bytes.shrink_to_fit();
        PreparedResponse {
            bytes,
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
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.large, Large::File(_))
    }

    /// Pushes a part of the body; `range` lies within it.
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
