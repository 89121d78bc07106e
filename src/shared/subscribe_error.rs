//! Why a connection cannot subscribe to a topic.

/// Why a connection was not subscribed to a topic.
///
/// ```
/// use peregrine::sse::SubscribeError;
///
/// assert_eq!(SubscribeError::Topics.to_string(), "the connection has too many topics");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The connection is closing.
    Closed,
    /// The connection has as many topics as its limits allow.
    Topics,
    /// The name of the topic is longer than the limits of the connection allow.
    TopicName,
}

impl std::fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SubscribeError::Closed => "the connection is closing",
            SubscribeError::Topics => "the connection has too many topics",
            SubscribeError::TopicName => "the name of the topic is too long",
        })
    }
}

impl std::error::Error for SubscribeError {}
