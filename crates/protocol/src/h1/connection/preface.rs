//! The preface of HTTP/2, with which a connection may begin instead of a request.

use super::{Http1, Next};
use crate::h1::read_buf::Input;
use crate::http::HTTP2_PREFACE;

/// Whether a connection may begin with the preface of HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    Refused,
    /// Until there has been a request.
    Allowed,
    /// The same, and nothing else is spoken.
    Required,
    Complete,
}

impl Http1 {
    /// From now on a client may begin with the preface of HTTP/2 (RFC 9113 section 3.4) instead of a request.
    pub fn allow_http2(&mut self) {
        self.preface = Preface::Allowed;
    }

    /// From now on a client may speak HTTP/2 and nothing else; see [`Http1::begin_http2`].
    pub fn require_http2(&mut self) {
        self.preface = Preface::Required;
    }

    /// The first bytes are here. Whether they belong to HTTP/2 as a client may speak nothing else; the machine is not to
    /// be used any more then.
    #[inline]
    pub fn begin_http2(&mut self) -> bool {
        let is_required = self.preface == Preface::Required;
        if is_required {
            self.preface = Preface::Complete;
        }
        is_required
    }

    /// Whether [`Next::Http2`] has come.
    pub fn is_http2(&self) -> bool {
        self.preface == Preface::Complete
    }

    /// What comes of bytes that are no request, if they are the preface of HTTP/2 or its beginning.
    #[cold]
    pub(super) fn read_preface(&mut self, input: &Input) -> Option<Next> {
        let len = input.available().min(HTTP2_PREFACE.len());
        if self.preface == Preface::Refused
            || self.is_used()
            || input.unread()[..len] != HTTP2_PREFACE[..len]
        {
            return None;
        }
        if len < HTTP2_PREFACE.len() {
            return (!self.eof).then_some(Next::Read);
        }
        self.preface = Preface::Complete;
        Some(Next::Http2)
    }
}
