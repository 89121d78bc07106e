//! `LogError`: why a log of topics has not appended or read. Errors of handlers know it.

use std::fmt;

/// Why a log has not appended or read.
///
/// As the error of a handler it is 503 for [`LogError::Full`], [`LogError::Topics`] and [`LogError::Unavailable`], which pass; 413
/// for [`LogError::TooLarge`]; 500 for all others, which are of the program.
///
/// ```
/// use peregrine::history::LogError;
///
/// assert_eq!(LogError::Full.to_string(), "too much waits for the log");
///
/// let app = peregrine::from_fn(|req, res| match req.path() {
///     "/box" => Err(peregrine::error::BoxError::from(LogError::Unavailable)),
///     _ => Ok(res.text("published")),
/// });
/// assert_eq!(peregrine::testing::get(&app, "/box").status(), 503);
/// # use peregrine::error::HandlerError;
/// # let statuses = [LogError::Full, LogError::Topics, LogError::TooLarge, LogError::TopicName].map(|error| error.status());
/// # assert_eq!(statuses, [503, 503, 413, 500]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogError {
    /// Too many bytes, or clients ([`HistoryLimits::waiting`](crate::history::HistoryLimits::waiting)), wait for the log. Try later.
    Full,
    /// The message is longer than [`HistoryLimits::message_bytes`](crate::history::HistoryLimits::message_bytes).
    TooLarge,
    /// The name of the topic is longer than [`HistoryLimits::topic_bytes`](crate::history::HistoryLimits::topic_bytes), or than
    /// `WsLimits::topic_bytes` of the connection.
    TopicName,
    /// There are as many topics as [`HistoryLimits::topics`](crate::history::HistoryLimits::topics) allows.
    Topics,
    /// The WebSocket has as many topics as its `WsLimits::topics` allows.
    ClientTopics,
    /// The WebSocket has closed.
    ClientClosed,
    /// The log cannot be reached, or has stopped.
    Unavailable,
    /// A function that formats messages has published one.
    WithinFormat,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogError::Full => "too much waits for the log",
            LogError::TooLarge => "the message is too long",
            LogError::TopicName => "the name of the topic is too long",
            LogError::Topics => "there are too many topics",
            LogError::ClientTopics => "the connection has too many topics",
            LogError::ClientClosed => "the connection has closed",
            LogError::Unavailable => "the log cannot be reached",
            LogError::WithinFormat => "a function that formats messages cannot publish",
        })
    }
}

impl std::error::Error for LogError {}
