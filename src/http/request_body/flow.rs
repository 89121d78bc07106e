//! `Flow`: what the sink of a request body does next.

/// What a [`BodySink`](crate::body::BodySink) does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flow {
    /// Receives further pieces.
    Continue,
    /// Pauses until [`Resumer::resume`](crate::body::Resumer::resume) is called. Nothing more is read from
    /// the client, so the client soon has to wait too. A pause is at most
    /// [`Limits::response_timeout`](crate::Limits::response_timeout) long.
    Pause,
    /// Responds now: [`BodySink::finish`](crate::body::BodySink::finish) is called at once, and the rest of
    /// the body is treated as with [`BodyPlan::Unread`](crate::BodyPlan::Unread). The request has no trailers then
    /// ([`Request::trailers`](crate::Request::trailers)), even if they have come.
    Respond,
}
