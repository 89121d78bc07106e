//! `Flow`: what the sink of a request body does next.

/// What a [`BodySink`](crate::body::BodySink) wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flow {
    /// Receives further pieces.
    Continue,
    /// Nothing until [`Resumer::resume`](crate::body::Resumer::resume) is called: nothing more is read from the client, which soon
    /// cannot send any more. At most [`Limits::response_timeout`](crate::Limits::response_timeout).
    Pause,
    /// To answer now: [`BodySink::finish`](crate::body::BodySink::finish) is called at once, and the rest of the body is treated as
    /// with [`BodyPlan::Unread`](crate::BodyPlan::Unread).
    Respond,
}
