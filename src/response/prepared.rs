//! Answers that are made once and given often, and answers in pieces.

use super::{Done, Response};
use crate::conn::{
    output::{FilePart, Output},
    payload::Payload,
};
use crate::protocol::{Method, encode};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

impl Response<'_> {
    /// Answers with `len` bytes that `push` pushes.
    pub(crate) fn send_pieces(mut self, len: u64, push: impl FnOnce(&mut Output)) -> Done {
        let sent = self.end_head(len);
        if sent {
            push(self.output);
        }
        self.done(if sent { len } else { 0 })
    }

    /// Answers 200 with what was prepared. In the common case that is two copies: the head that all
    /// answers share, and this one's.
    pub(crate) fn send_prepared(self, prepared: &Prepared) -> Done {
        let wire = &prepared.wire;
        let plain = self.wire.mode.method == Method::Other && self.connection_line().is_empty();
        if !plain || self.wire.begun > 0 || self.wire.status != 200 {
            let rest = prepared.lines;
            let body = (rest + prepared.end)..wire.len();
            return self
                .lines(&wire[..rest])
                .send_pieces(prepared.len, |output| {
                    output.push(&wire[body]);
                    prepared.push_large(output);
                });
        }
        let head = self.wire.heads.head(200);
        self.output.push_with(|out| {
            out.reserve(head.len() + wire.len());
            out.extend_from_slice(head);
            out.extend_from_slice(wire);
        });
        prepared.push_large(self.output);
        self.done(prepared.len)
    }
}

/// An answer with status 200, made once and given often.
///
/// ```text
///   wire:  | header lines | Content-Length, empty line | body, if short |
///          0            lines                      lines + end
/// ```
#[derive(Debug)]
pub(crate) struct Prepared {
    wire: Vec<u8>,
    lines: usize,
    end: usize,
    /// Of the body.
    len: u64,
    large: Large,
}

#[derive(Debug)]
enum Large {
    None,
    Memory(Payload),
    File(Arc<File>),
}

impl Prepared {
    /// `lines` are header lines, each with its CRLF, without `Content-Length`.
    pub(crate) fn memory(lines: &[u8], body: Payload) -> Prepared {
        let mut prepared = Prepared::head(lines, body.len() as u64);
        match Output::is_large(&body) {
            true => prepared.large = Large::Memory(body),
            false => prepared.wire.extend_from_slice(body.as_bytes()),
        }
        prepared.wire.shrink_to_fit();
        prepared
    }

    /// The first `len` bytes of a file.
    pub(crate) fn file(lines: &[u8], file: Arc<File>, len: u64) -> Prepared {
        let mut prepared = Prepared::head(lines, len);
        prepared.large = Large::File(file);
        prepared
    }

    fn head(lines: &[u8], len: u64) -> Prepared {
        let mut wire = lines.to_vec();
        wire.extend_from_slice(b"Content-Length: ");
        encode::decimal(len, &mut wire);
        wire.extend_from_slice(b"\r\n\r\n");
        Prepared {
            end: wire.len() - lines.len(),
            lines: lines.len(),
            wire,
            len,
            large: Large::None,
        }
    }

    /// Bytes of the body.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// What it holds in memory.
    pub(crate) fn weight(&self) -> usize {
        let large = match &self.large {
            Large::Memory(payload) => payload.len(),
            Large::None | Large::File(_) => 0,
        };
        self.wire.capacity() + large
    }

    /// The file, if the body is not in memory.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.large, Large::File(_))
    }

    /// Pushes a part of the body; `range` lies within it.
    pub(crate) fn push_range(&self, range: Range<u64>, output: &mut Output) {
        let part = range.start as usize..range.end as usize;
        match &self.large {
            Large::None => output.push(&self.wire[self.lines + self.end..][part]),
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
