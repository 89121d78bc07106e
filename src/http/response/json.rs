//! Response bodies in JSON (RFC 8259): one value, or the values of an iterator.

use super::{Done, Response};
use crate::http::deferred::streamed_body::BodySource;
use peregrine_protocol::field_line;
use peregrine_protocol::payload::Payload;
use serde::Serialize;
use std::io;

/// Values are gathered until a piece has this number of bytes, or [`MOST`] values.
const PIECE: usize = 8 << 10;
const MOST: usize = 64;

impl Response<'_> {
    /// Sends a value as JSON, as `application/json` unless `Content-Type` was set. It is written directly
    /// into the output of the connection, with its `Content-Length`. Needs the feature `json`.
    ///
    /// # Errors
    ///
    /// If the value cannot be written as JSON, for instance a map with keys that are no texts, the client
    /// gets 500 because of a [`ResponseError::Write`](crate::error::ResponseError::Write).
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Note<'a> {
    ///     title: &'a str,
    /// }
    ///
    /// fn show(_: &Request<'_>, res: Response<'_>) -> Done {
    ///     res.json(&Note { title: "milk" })
    /// }
    /// # let app = peregrine::from_fn(show);
    /// let response = peregrine::testing::get(&app, "/");
    /// assert_eq!(response.header("content-type"), Some("application/json"));
    /// assert_eq!(response.text(), r#"{"title":"milk"}"#);
    /// ```
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Done {
        self.default_field(field_line!("Content-Type", "application/json"))
            .write_with(|body| {
                let written = body.0.push_with(|out| serde_json::to_writer(out, value));
                written.map_err(io::Error::from)
            })
    }

    /// Sends the values of an iterator as JSON, one in each line, as `application/x-ndjson` unless
    /// `Content-Type` was set. Needs the feature `json`.
    ///
    /// The iterator is called as by [`Response::send_iter`]: on the thread of the worker, when there is room,
    /// so it must not block. If a value cannot be written as JSON, the connection is closed, so that the
    /// client sees an incomplete body.
    ///
    /// ```
    /// let app = peregrine::from_fn(|_, res| res.json_lines((1..=3).map(|n| [n, n * n])));
    /// let response = peregrine::testing::get(&app, "/");
    /// assert_eq!(response.text(), "[1,1]\n[2,4]\n[3,9]\n");
    /// ```
    #[doc(alias("ndjson", "jsonl"))]
    pub fn json_lines<I>(self, values: I) -> Done
    where
        I: IntoIterator<Item: Serialize, IntoIter: Send + 'static>,
    {
        self.default_field(field_line!("Content-Type", "application/x-ndjson"))
            .send_drawn(None, Box::new(Values::new(values, ["", "\n", "\n"])))
    }

    /// Sends the values of an iterator as one JSON array, as `application/json` unless `Content-Type` was
    /// set. Needs the feature `json`. The iterator is called as by [`Response::json_lines`].
    ///
    /// ```
    /// let app = peregrine::from_fn(|_, res| res.json_array(["a", "b"]));
    /// let response = peregrine::testing::get(&app, "/");
    /// assert_eq!(response.json::<Vec<String>>(), ["a", "b"]);
    /// ```
    pub fn json_array<I>(self, values: I) -> Done
    where
        I: IntoIterator<Item: Serialize, IntoIter: Send + 'static>,
    {
        self.default_field(field_line!("Content-Type", "application/json"))
            .send_drawn(None, Box::new(Values::new(values, ["[", ",", "]"])))
    }
}

/// Values with a text before, between and after them.
struct Values<I> {
    values: Option<I>,
    /// What stands before the next value.
    next: &'static str,
    between: &'static str,
    end: &'static str,
}

impl<I: Iterator<Item: Serialize>> Values<I> {
    fn new(
        values: impl IntoIterator<IntoIter = I>,
        [before, between, end]: [&'static str; 3],
    ) -> Values<I> {
        Values {
            values: Some(values.into_iter()),
            next: before,
            between,
            end,
        }
    }
}

impl<I: Iterator<Item: Serialize> + Send> BodySource for Values<I> {
    fn draw(&mut self) -> io::Result<Option<Payload>> {
        let Some(values) = &mut self.values else {
            return Ok(None);
        };
        let mut piece = Vec::new();
        for _ in 0..MOST {
            let Some(value) = values.next() else {
                self.values = None;
                // An empty array has its beginning too, and no lines have no end.
                let is_empty = self.next != self.between;
                if is_empty {
                    piece.extend_from_slice(self.next.as_bytes());
                }
                if !is_empty || !self.next.is_empty() {
                    piece.extend_from_slice(self.end.as_bytes());
                }
                break;
            };
            piece.extend_from_slice(self.next.as_bytes());
            self.next = self.between;
            serde_json::to_writer(&mut piece, &value)?;
            if piece.len() >= PIECE {
                break;
            }
        }
        Ok(Some(piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Connection, get};
    use std::collections::BTreeMap;

    #[test]
    fn values_of_any_number() {
        for count in [0, 1, 2, 63, 64, 65, 1_000, 20_000] {
            let app = crate::from_fn(move |req, res| match req.path() {
                "/lines" => res.json_lines(0..count),
                _ => res.json_array(0..count),
            });
            let array: Vec<u32> = get(&app, "/").json();
            assert_eq!(array, Vec::from_iter(0..count));
            let lines = get(&app, "/lines");
            let expected: String = (0..count).map(|n| format!("{n}\n")).collect();
            assert_eq!(lines.text(), expected);
        }
    }

    #[test]
    fn a_value_that_is_no_json_is_an_error() {
        let bad = || BTreeMap::from([((1, 2), 3)]);
        let app = crate::from_fn(move |req, res| match req.path() {
            "/lines" => res.json_lines([bad()]),
            _ => res.json(&bad()),
        });
        assert_eq!(get(&app, "/").status(), 500);
        let mut connection = Connection::new(&app);
        connection.send(b"GET /lines HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(connection.is_closed());
        assert!(!connection.received().ends_with(b"0\r\n\r\n"));
    }

    #[test]
    fn a_type_that_was_set_stays() {
        let app = crate::from_fn(|_, res| {
            res.header("Content-Type", "application/problem+json")
                .json("x")
        });
        let response = get(&app, "/");
        let types: Vec<_> = response.header_all("content-type").collect();
        assert_eq!(types, ["application/problem+json"]);
        assert_eq!(response.header("content-length"), Some("3"));
    }
}
