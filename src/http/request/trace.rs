//! Trace context (W3C Trace Context, level 1): which trace a request belongs to.

use super::Request;
use crate::shared::random_text;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Hexadecimal digits of the identifier of a trace, and of a span.
const TRACE: usize = 32;
const SPAN: usize = 16;

/// The value of a `traceparent` field, version 00: the trace, the span of the caller, and whether it is sampled.
///
/// [`Request::trace_parent`] returns that of a request. For a request to another server, send [`TraceParent::child`] as
/// its `traceparent`, and the `tracestate` of the request unchanged.
///
/// ```
/// use peregrine::trace::TraceParent;
///
/// let app = peregrine::from_fn(|req, res| {
///     let parent = req.trace_parent().unwrap_or_else(|| TraceParent::new(false));
///     let outgoing = format!("traceparent: {}", parent.child());
///     // ... a request to another server, with this field ...
///     res.text(outgoing)
/// });
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # let id = "4bf92f3577b34da6a3ce929d0e0e4736";
/// # client.send(format!("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{id}-00f067aa0ba902b7-01\r\n\r\n").as_bytes());
/// # let received = String::from_utf8_lossy(client.received()).into_owned();
/// # assert!(received.contains(&format!("traceparent: 00-{id}-")) && !received.contains("00f067aa0ba902b7"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; TRACE],
    parent_id: [u8; SPAN],
    flags: u8,
}

impl TraceParent {
    /// The first span of a new trace, with random identifiers.
    pub fn new(is_sampled: bool) -> TraceParent {
        TraceParent {
            trace_id: random(),
            parent_id: random(),
            flags: is_sampled.into(),
        }
    }

    /// A new span of the same trace, with a random identifier: for a request that this program makes.
    #[must_use]
    pub fn child(&self) -> TraceParent {
        TraceParent {
            parent_id: random(),
            ..*self
        }
    }

    /// The identifier of the trace: 32 lower-case hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        text(&self.trace_id)
    }

    /// The identifier of the span: 16 lower-case hexadecimal digits.
    pub fn parent_id(&self) -> &str {
        text(&self.parent_id)
    }

    /// Whether the caller may have recorded the trace (section 3.2.2.5.1).
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Reads the value of a field. Versions other than 00 and all that section 3.2.2 does not allow are `None`.
    fn parse(value: &[u8]) -> Option<TraceParent> {
        let rest = value.strip_prefix(b"00-")?;
        let (trace_id, rest) = rest.split_first_chunk::<TRACE>()?;
        let (parent_id, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<SPAN>()?;
        let flags: &[u8; 2] = rest.strip_prefix(b"-")?.try_into().ok()?;
        let is_hex = |digits: &[u8]| {
            digits
                .iter()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |digits: &[u8]| is_hex(digits) && digits.iter().any(|b| *b != b'0');
        if !(is_id(trace_id) && is_id(parent_id) && is_hex(flags)) {
            return None;
        }
        Some(TraceParent {
            trace_id: *trace_id,
            parent_id: *parent_id,
            flags: u8::from_str_radix(text(flags), 16).ok()?,
        })
    }
}

/// As many random digits, not all of them 0.
fn random<const N: usize>() -> [u8; N] {
    loop {
        let mut digits = [0; N];
        digits.copy_from_slice(&random_text::unique().as_bytes()[..N]);
        if digits.iter().any(|b| *b != b'0') {
            return digits;
        }
    }
}

fn text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

/// The value of the field.
impl Display for TraceParent {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        // The other flags mean nothing in this version, and are not passed on (section 3.2.2.5.2).
        let flags = self.flags & 1;
        write!(f, "00-{}-{}-{flags:02x}", self.trace_id(), self.parent_id())
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(value: &str) -> Result<TraceParent, TraceParentError> {
        TraceParent::parse(value.as_bytes()).ok_or(TraceParentError)
    }
}

/// A text is no `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParentError;

impl Display for TraceParentError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a `traceparent` of version 00")
    }
}

impl std::error::Error for TraceParentError {}

impl Request<'_> {
    /// The trace that the client says this request belongs to: its `traceparent` field. `None` if there is no such field
    /// or more than one, or if it is not valid in version 00 of W3C Trace Context (section 3.2.2).
    ///
    /// Any client can send any value, so it is good for finding things and not for trust.
    #[doc(alias("traceparent", "trace", "opentelemetry"))]
    pub fn trace_parent(&self) -> Option<TraceParent> {
        let mut fields = self.header_all("traceparent");
        let value = fields.next()?;
        match fields.next() {
            None => TraceParent::parse(value),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn version_00_and_nothing_else() {
        let parsed: TraceParent = VALID.parse().expect("valid");
        assert_eq!(parsed.to_string(), VALID);
        assert_eq!(parsed.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parsed.parent_id(), "00f067aa0ba902b7");
        assert!(parsed.is_sampled());
        for (from, to) in [
            ("00-4", "01-4"),
            ("00-4", "ff-4"),
            ("00-4", "0-4"),
            ("00-4", " 00-4"),
            ("00-4", "00-"),
            ("-01", "-1"),
            ("-01", "-01-"),
            ("-01", "-01 "),
            ("-01", "-0g"),
            ("-01", "-+1"),
            ("-01", ""),
            ("4bf9", "4BF9"),
            ("4bf9", "4bg9"),
            ("4bf9", "+bf9"),
            ("4736-", "4736"),
            ("-00f0", "_00f0"),
            (
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "00000000000000000000000000000000",
            ),
            ("00f067aa0ba902b7", "0000000000000000"),
            ("00f067aa0ba902b7", "00f067aa0ba902b7a"),
        ] {
            let value = VALID.replacen(from, to, 1);
            assert_ne!(value, VALID);
            assert_eq!(
                value.parse::<TraceParent>(),
                Err(TraceParentError),
                "{value}"
            );
        }
        for at in 0..VALID.len() {
            assert!(VALID[..at].parse::<TraceParent>().is_err());
        }
    }

    #[test]
    fn flags_that_mean_nothing_are_not_passed_on() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let value = VALID.replace("-01", &format!("-{flags}"));
            let parsed: TraceParent = value.parse().expect("valid");
            assert_eq!(parsed.is_sampled(), sampled);
            assert!(
                parsed
                    .to_string()
                    .ends_with(if sampled { "-01" } else { "-00" })
            );
        }
    }

    #[test]
    fn a_child_is_another_span_of_the_same_trace() {
        let parent = TraceParent::new(true);
        let (one, two) = (parent.child(), parent.child());
        assert_eq!(
            (one.trace_id(), one.is_sampled()),
            (parent.trace_id(), true)
        );
        assert!(one.parent_id() != two.parent_id() && one.parent_id() != parent.parent_id());
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_ne!(TraceParent::new(true).trace_id(), parent.trace_id());
    }

    #[test]
    fn one_field_of_a_request() {
        let app = crate::from_fn(|req, res| match req.trace_parent() {
            Some(trace) => res.text(trace.to_string()),
            None => res.text("none"),
        });
        for (lines, expected) in [
            (String::new(), "none"),
            (format!("TraceParent: {VALID}\r\n"), VALID),
            (
                format!("traceparent: {VALID}\r\ntraceparent: {VALID}\r\n"),
                "none",
            ),
            (format!("traceparent: {VALID}, {VALID}\r\n"), "none"),
        ] {
            let mut client = crate::testing::Connection::new(&app);
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes());
            let received = String::from_utf8_lossy(client.received()).into_owned();
            assert!(
                received.ends_with(&format!("\r\n\r\n{expected}")),
                "{lines}"
            );
        }
    }
}
