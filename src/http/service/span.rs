//! Spans of the `tracing` crate: one for each request that a handler sees. Without the feature nothing is left of it.

use super::Service;
use crate::http::request::Request;
#[cfg(feature = "tracing")]
use tracing::Span;
#[cfg(feature = "tracing")]
use tracing::field::Empty;
#[cfg(feature = "tracing")]
use tracing::span::EnteredSpan;

/// The span of a request, entered while its handler runs.
#[cfg(feature = "tracing")]
pub(crate) struct RequestSpan(EnteredSpan);

#[cfg(not(feature = "tracing"))]
pub(crate) struct RequestSpan;

#[cfg(feature = "tracing")]
impl<P> Service<P> {
    /// The handler of this request is about to be called.
    pub(crate) fn begin_span(&mut self, request: &Request<'_>) -> RequestSpan {
        let span = tracing::info_span!(
            target: "peregrine::request",
            "request",
            "http.request.method" = request.method(),
            "url.path" = request.path(),
            "http.route" = Empty,
            "http.response.status_code" = Empty,
            trace_id = Empty,
            parent_id = Empty,
        );
        if span.is_disabled() {
            return RequestSpan(Span::none().entered());
        }
        if let Some(trace) = request.trace_parent() {
            span.record("trace_id", trace.trace_id());
            span.record("parent_id", trace.parent_id());
        }
        self.recorder.traced_route = None;
        self.span = span.clone();
        RequestSpan(span.entered())
    }

    /// The handler has returned, and its response is complete or is kept for later.
    pub(crate) fn end_span(&mut self, span: RequestSpan) {
        if !span.0.is_disabled() {
            let status = self.recorder.status();
            record_status(&std::mem::replace(&mut self.span, Span::none()), status);
            if let Some(route) = self.recorder.traced_route {
                span.0.record("http.route", route);
            }
        }
    }

    /// The response comes later: its status is recorded then.
    pub(super) fn keep_span(&mut self) -> Span {
        std::mem::replace(&mut self.span, Span::none())
    }
}

#[cfg(feature = "tracing")]
pub(super) fn record_status(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
}

#[cfg(not(feature = "tracing"))]
impl<P> Service<P> {
    #[inline(always)]
    pub(crate) fn begin_span(&mut self, _: &Request<'_>) -> RequestSpan {
        RequestSpan
    }

    #[inline(always)]
    pub(crate) fn end_span(&mut self, _: RequestSpan) {}
}
