//! Server-sent events (WHATWG HTML section 9.2) on top of a streamed body.

use super::body_sender::{BodySender, SendError, TrySendError};
use super::leave::Leave;
use peregrine_protocol::payload::Payload;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// One server-sent event: its data, name, id and retry time.
///
/// ```
/// use peregrine::sse::Event;
/// use std::time::Duration;
///
/// let event = Event::new().event("price").id("17").data("EUR 3.50\nUSD 4.10");
/// let first = Event::new().retry(Duration::from_secs(1)).data("welcome");
/// let plain = Event::from("no name, no id");
/// # let _ = (event, first, plain);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "send it"]
pub struct Event {
    /// The fields, each with its line end.
    lines: Vec<u8>,
    /// One of the fields cannot be sent.
    is_bad: bool,
}

impl Event {
    /// An event without fields. It has no effect.
    pub fn new() -> Event {
        Event::default()
    }

    /// Adds data. Each line becomes one field; LF, CR and CRLF end a line. The page gets the lines joined by
    /// LF.
    ///
    /// A second call adds more lines. A page gets only events that have data.
    pub fn data(mut self, text: impl AsRef<str>) -> Event {
        let mut rest = text.as_ref().as_bytes();
        loop {
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
            let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
            self.line("data", line);
            rest = match behind {
                [] => return self,
                [b'\r', b'\n', behind @ ..] | [_, behind @ ..] => behind,
            };
        }
    }

    /// Sets the name of the event. The page gets it by `addEventListener`, not by `onmessage`. If the name
    /// has a line break, the send fails with [`SendError::Event`].
    pub fn event(mut self, name: impl AsRef<str>) -> Event {
        let name = name.as_ref();
        self.is_bad |= name.contains(['\r', '\n']);
        self.line("event", name.as_bytes());
        self
    }

    /// Sets the id of the event. A client whose connection broke sends it when it connects again:
    /// [`Request::last_event_id`](crate::Request::last_event_id). If the id has a line break or NUL, the send
    /// fails with [`SendError::Event`].
    pub fn id(mut self, id: impl AsRef<str>) -> Event {
        let id = id.as_ref();
        self.is_bad |= id.contains(['\r', '\n', '\0']);
        self.line("id", id.as_bytes());
        self
    }

    /// Sets how long the client waits before it connects again, in whole milliseconds. Without this, browsers
    /// wait a few seconds.
    pub fn retry(mut self, after: Duration) -> Event {
        self.line("retry", after.as_millis().to_string().as_bytes());
        self
    }

    fn line(&mut self, field: &str, value: &[u8]) {
        self.lines.reserve(field.len() + value.len() + 4);
        self.lines.extend_from_slice(field.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.push(b'\n');
    }

    /// The bytes of the event, with the empty line that ends it.
    fn into_payload(mut self) -> Result<Payload, SendError> {
        if self.is_bad {
            return Err(SendError::Event);
        }
        self.lines.push(b'\n');
        Ok(self.lines.into())
    }

    /// The bytes of the event, shared by many streams.
    pub(crate) fn into_shared(self) -> Result<Payload, SendError> {
        self.into_payload().map(|payload| match payload {
            Payload::Owned(lines) => Payload::SharedVec(Arc::new(lines)),
            other => other,
        })
    }

    /// The event with the bytes from [`Event::into_payload`].
    fn from_payload(payload: Payload) -> Event {
        let mut lines = match payload {
            Payload::Owned(lines) => lines,
            other => other.as_bytes().to_vec(),
        };
        lines.pop();
        Event {
            lines,
            is_bad: false,
        }
    }
}

impl From<&str> for Event {
    fn from(data: &str) -> Event {
        Event::new().data(data)
    }
}

impl From<String> for Event {
    fn from(data: String) -> Event {
        Event::new().data(data)
    }
}

/// Sends server-sent events to the `EventSource` of a page, from any thread. [`Response::events`] makes it.
///
/// While nothing is sent, the worker sends comments (heartbeats), by default every 15 s;
/// [`Response::events_with_heartbeat`] sets another interval. So the server notices a client that has gone,
/// and [`Limits::response_timeout`](crate::Limits::response_timeout) does not apply. Unsent events are held up to
/// [`Limits::output_bytes`](crate::Limits::output_bytes), as with [`BodySender`](crate::body::BodySender).
///
/// When the sender is dropped, or the server stops, the stream ends as complete. In both cases the client
/// connects again; a response with 204 tells it not to. When the server stops,
/// [`Config::events_close_spread`](crate::Config::events_close_spread) and
/// [`Config::events_retry`](crate::Config::events_retry) let clients come back one after the other.
///
/// [`Response::events`]: crate::Response::events
/// [`Response::events_with_heartbeat`]: crate::Response::events_with_heartbeat
///
/// ```
/// use peregrine::{Done, Request, Response};
/// use peregrine::sse::Event;
///
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
///     let seen = req.last_event_id().and_then(|id| id.parse().ok()).unwrap_or(0);
///     let (done, mut events) = res.events();
///     std::thread::spawn(move || {
///         for n in seen + 1..=3 {
///             let event = Event::new().id(n.to_string()).data(format!("number {n}"));
///             if events.send(event).is_err() {
///                 return; // the client has gone
///             }
///         }
///     });
///     done
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 1\r\n\r\n");
/// # while !client.received().ends_with(b"\r\n0\r\n\r\n") {
/// #     assert!(client.wait(std::time::Duration::from_secs(60)));
/// # }
/// # let received = String::from_utf8(client.take_received()).expect("text");
/// # assert!(received.contains("\r\n\r\n16\r\nid: 2\ndata: number 2\n\n\r\n16\r\nid: 3\n"));
/// ```
#[derive(Debug)]
#[must_use = "dropping it ends the stream"]
pub struct EventSender {
    body: BodySender,
}

impl EventSender {
    pub(crate) fn new(body: BodySender) -> EventSender {
        EventSender { body }
    }

    /// Sends an event. It blocks while too many bytes are unsent;
    /// [`Limits::write_timeout`](crate::Limits::write_timeout) limits this.
    ///
    /// On the thread of a worker it returns [`SendError::WouldBlock`] instead.
    pub fn send(&mut self, event: impl Into<Event>) -> Result<(), SendError> {
        self.body.send(event.into().into_payload()?)
    }

    /// Sends an event, or returns it if too many bytes are unsent. It never blocks.
    pub fn try_send(&mut self, event: impl Into<Event>) -> Result<(), TrySendError<Event>> {
        let payload = event.into().into_payload().map_err(TrySendError::Failed)?;
        self.body.try_send(payload).map_err(|error| match error {
            TrySendError::Full(payload) => TrySendError::Full(Event::from_payload(payload)),
            TrySendError::Failed(error) => TrySendError::Failed(error),
        })
    }

    /// Whether an event can be sent now, or the client has disconnected.
    pub fn is_ready(&self) -> bool {
        self.body.is_ready()
    }

    /// Blocks until [`EventSender::is_ready`], for at most `most`. False if the time has passed.
    pub fn wait_ready(&self, most: Duration) -> bool {
        self.body.wait_ready(most)
    }

    /// Calls `f` once when an event can be sent without waiting, or the page has gone. If so now, `f` runs at
    /// once on this thread, otherwise later on the thread of the worker, where it must not block. It replaces
    /// the function of an earlier call. A panic in `f` is caught.
    pub fn on_ready(&self, f: impl FnOnce() + Send + 'static) {
        self.body.on_ready(f);
    }

    /// Calls `f` once when the page has gone or its stream has ended; as [`BodySender::on_gone`].
    ///
    /// ```
    /// # use peregrine::{Done, Request, Response};
    /// # use peregrine::sse::EventHub;
    /// fn handle(hub: &EventHub, _: &Request<'_>, res: Response<'_>) -> Done {
    ///     let (done, page) = res.events();
    ///     let others = hub.clone();
    ///     page.on_gone(move || {
    ///         let _ = others.publish("room", "a page has left");
    ///     });
    ///     let _ = hub.publish("room", "a page has come");
    ///     hub.subscribe(page, ["room"]);
    ///     done
    /// }
    /// ```
    pub fn on_gone(&self, f: impl FnOnce() + Send + 'static) {
        self.body.on_gone(f);
    }

    pub(super) fn leave(&self) -> Arc<Leave> {
        self.body.leave()
    }

    /// Sends the bytes from [`Event::into_shared`]. False if they do not fit, or the client has gone.
    pub(crate) fn try_send_payload(&mut self, payload: Payload) -> bool {
        self.body.try_send(payload).is_ok()
    }

    /// Bytes that were given to this sender and are unsent.
    pub fn backlog(&self) -> usize {
        self.body.backlog()
    }

    /// Whether the client has closed the connection or its side of it, or the server stops.
    pub fn is_gone(&self) -> bool {
        self.body.is_gone()
    }

    /// Ends the stream, as a drop does. The result tells whether the client still gets the end.
    pub fn finish(mut self) -> Result<(), SendError> {
        self.body.end()
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        // If the client has gone, the end is not needed.
        let _ = self.body.end();
    }
}

/// The most that a client is told to wait: scripts that stand in for `EventSource` count milliseconds in 31 bits.
const LONGEST_RETRY: u64 = i32::MAX as u64;

/// The field that tells a client to come back between `after` and twice as much later. `None` for zero.
pub(crate) fn retry_hint(after: Duration) -> Option<Payload> {
    let least = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let least = least.min(LONGEST_RETRY / 2);
    if after.is_zero() {
        return None;
    }
    let more = RandomState::new().hash_one(()) % (least + 1);
    let event = Event::new().retry(Duration::from_millis(least + more));
    event.into_payload().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: Event) -> String {
        let payload = event.into_payload().expect("a good one");
        String::from_utf8(payload.as_bytes().to_vec()).expect("text")
    }

    #[test]
    fn fields_are_lines() {
        let cases = [
            (Event::new(), "\n"),
            (Event::from("one"), "data: one\n\n"),
            (Event::from(""), "data: \n\n"),
            (
                Event::from("a\nb\rc\r\nd"),
                "data: a\ndata: b\ndata: c\ndata: d\n\n",
            ),
            (Event::from("\n"), "data: \ndata: \n\n"),
            (Event::from("a\r\n"), "data: a\ndata: \n\n"),
            (Event::from("a\n\rb"), "data: a\ndata: \ndata: b\n\n"),
            (Event::from(" x: y"), "data:  x: y\n\n"),
            (Event::from("a").data("b"), "data: a\ndata: b\n\n"),
            (
                Event::new()
                    .event("tick")
                    .id("7")
                    .data("x")
                    .retry(Duration::from_millis(2500)),
                "event: tick\nid: 7\ndata: x\nretry: 2500\n\n",
            ),
            (Event::new().id(""), "id: \n\n"),
            (Event::new().event("a: b\t\0"), "event: a: b\t\0\n\n"),
        ];
        for (event, expected) in cases {
            assert_eq!(text(event.clone()), expected);
            let payload = event.into_payload().expect("a good one");
            assert_eq!(text(Event::from_payload(payload)), expected, "given back");
        }
    }

    #[test]
    fn clients_are_told_different_times() {
        let told = |after| {
            let payload = retry_hint(after).expect("a hint");
            let text = String::from_utf8(payload.as_bytes().to_vec()).expect("text");
            let time = text
                .strip_prefix("retry: ")
                .and_then(|t| t.strip_suffix("\n\n"));
            time.and_then(|time| time.parse::<u64>().ok())
                .expect("a number")
        };
        let times: std::collections::BTreeSet<u64> =
            (0..100).map(|_| told(Duration::from_secs(1))).collect();
        assert!(
            times.len() > 50 && times.iter().all(|time| (1000..=2000).contains(time)),
            "{times:?}"
        );
        assert!(told(Duration::MAX) <= LONGEST_RETRY);
        assert_eq!(told(Duration::from_nanos(1)), 0);
        assert!(retry_hint(Duration::ZERO).is_none());
    }

    #[test]
    fn a_value_that_would_add_a_field_is_refused() {
        for bad in ["a\nb", "a\rb", "\r\n", "\n"] {
            for event in [Event::new().id(bad), Event::new().event(bad)] {
                let refused = event.data("x").into_payload();
                assert!(matches!(refused, Err(SendError::Event)), "{bad:?}");
            }
        }
        assert!(Event::new().id("a\0").into_payload().is_err(), "NUL");
    }
}
