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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seconds;
    use crate::limits::Limits;

    /// The next request shall be the last one, and the client speaks HTTP/2: no request is refused.
    #[test]
    fn a_retired_connection_may_begin_with_the_preface() {
        let (limits, now) = (Limits::default(), Seconds::START);
        let mut http1 = Http1::new(now, true);
        http1.allow_http2();
        http1.retire();
        assert!(!http1.is_spare(now), "it has time for its first request");
        let mut input = Input::new();
        for (piece, next) in [
            (&HTTP2_PREFACE[..9], Next::Read),
            (&HTTP2_PREFACE[9..], Next::Http2),
        ] {
            input.space()[..piece.len()].copy_from_slice(piece);
            input.filled(piece.len());
            assert_eq!(http1.next(&mut input, &limits, now), next);
        }
    }
}
