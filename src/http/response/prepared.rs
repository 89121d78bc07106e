//! Responses that are built once and sent often: files and their parts.

use super::{Done, Response};
use crate::shared::output::{FilePart, Output};
use peregrine_protocol::h1::response_encoder::end_head;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use peregrine_protocol::payload::Payload;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

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
            short: end,
            len,
            large,
        }
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
