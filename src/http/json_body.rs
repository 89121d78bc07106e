//! Request bodies in JSON (RFC 8259), with the place of a fault.

use crate::http::request::Request;
use peregrine_protocol::syntax;
use serde::Deserialize;
use serde_json::error::Category;

/// Characters of an error text and of a path, before the ellipsis. Both can contain what the client has sent.
const SHOWN: usize = 200;

/// Why a body is not the expected value. [`Request::json`] returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// `Content-Type` is missing, repeated, or not JSON: 415.
    NotJson,
    /// The body has more bytes than [`Request::json_up_to`] allows: 413.
    TooLong,
    /// The body is not JSON: 400. Nesting of more than 127 levels, a number that no `f64` holds, and text
    /// after the value count as this. In parts that the type ignores, neither nesting nor numbers nor UTF-8 are checked.
    Malformed(JsonFault),
    /// The body is JSON, but not of the expected type: 422.
    Mismatch(JsonFault),
}

/// Where a body is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonFault {
    /// The line, from 1.
    pub line: usize,
    /// The byte in the line, from 1; 0 at the beginning of a line.
    pub column: usize,
    /// The path to the value, such as `notes[3].title`, at most 200 characters and an ellipsis. Empty for the whole body, and
    /// for a body that is not JSON.
    pub path: String,
    /// What is wrong, at most 200 characters and an ellipsis. It may quote what the client has sent, so escape it in a page.
    pub message: String,
}

impl JsonError {
    /// A suitable status: 400, 413, 415 or 422.
    pub fn status(&self) -> u16 {
        match self {
            JsonError::NotJson => 415,
            JsonError::TooLong => 413,
            JsonError::Malformed(_) => 400,
            JsonError::Mismatch(_) => 422,
        }
    }

    /// Where the body is wrong.
    pub fn fault(&self) -> Option<&JsonFault> {
        match self {
            JsonError::Malformed(fault) | JsonError::Mismatch(fault) => Some(fault),
            JsonError::NotJson | JsonError::TooLong => None,
        }
    }

    /// The error of a body. If it is JSON of another type, the body is parsed once more for the path.
    #[cold]
    fn of<'a, T: Deserialize<'a>>(error: &serde_json::Error, body: &'a [u8]) -> JsonError {
        if error.classify() != Category::Data {
            return JsonError::Malformed(JsonFault::new(error, String::new()));
        }
        let mut json = serde_json::Deserializer::from_slice(body);
        let path = match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(error) if error.path().iter().next().is_some() => error.path().to_string(),
            _ => String::new(),
        };
        JsonError::Mismatch(JsonFault::new(error, path))
    }
}

impl JsonFault {
    fn new(error: &serde_json::Error, path: String) -> JsonFault {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        JsonFault {
            line,
            column,
            path: shown(&path),
            message: shown(text.strip_suffix(&place).unwrap_or(&text)),
        }
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JsonError::NotJson => f.write_str("not application/json"),
            JsonError::TooLong => f.write_str("the JSON is too long"),
            JsonError::Malformed(fault) | JsonError::Mismatch(fault) => fault.fmt(f),
        }
    }
}

impl std::fmt::Display for JsonFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, ", at {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for JsonError {}

impl<'a> Request<'a> {
    /// The value of a body in JSON. Needs the feature `json`.
    ///
    /// `Content-Type` must be `application/json` or end in `+json`, without a `charset` other than UTF-8. A
    /// page of another site can send such a request only after a preflight. The body has at most
    /// [`Limits::body_bytes`](crate::Limits::body_bytes), and at most 127 levels of nesting in the parts that `T` reads.
    /// The value may borrow from the body.
    ///
    /// # Errors
    ///
    /// [`JsonError`] has a status and the place of the fault: line, column and path.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Note<'a> {
    ///     title: &'a str,
    ///     stars: u8,
    /// }
    ///
    /// fn add(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     match req.json::<Note<'_>>() {
    ///         Ok(note) => res.text(format!("{}: {}", note.title, note.stars)),
    ///         Err(error) => res.status(error.status()).text(error.to_string()),
    ///     }
    /// }
    /// # let app = peregrine::from_fn(add);
    /// # let mut client = peregrine::testing::Client::new(&app);
    /// # let json = |client: &mut peregrine::testing::Client<'_, _>, body: &str| {
    /// #     let request = client.post("/").header("Content-Type", "application/json");
    /// #     request.body(body).send()
    /// # };
    /// # let response = json(&mut client, r#"{"title": "milk", "stars": 5}"#);
    /// # assert_eq!(response.text(), "milk: 5");
    /// let response = json(&mut client, r#"{"title": "milk", "stars": 300}"#);
    /// assert_eq!(response.status(), 422);
    /// assert_eq!(response.text(), "line 1, column 30, at stars: invalid value: integer `300`, expected u8");
    /// ```
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, JsonError> {
        self.json_up_to(usize::MAX)
    }

    /// The value of a body in JSON of at most `max_bytes`. [`Request::json`] has no limit of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Request::json`], and [`JsonError::TooLong`] above the limit.
    pub fn json_up_to<T: Deserialize<'a>>(&self, max_bytes: usize) -> Result<T, JsonError> {
        let body = self.body();
        if !self.content_type().is_some_and(is_json) {
            return Err(JsonError::NotJson);
        }
        if body.len() > max_bytes {
            return Err(JsonError::TooLong);
        }
        serde_json::from_slice(body).map_err(|error| JsonError::of::<T>(&error, body))
    }
}

/// Whether a media type is JSON in UTF-8 (RFC 8259 section 11, RFC 6839 section 3.1).
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_token = |text: &str| syntax::is_token(text.as_bytes());
    let is_json = essence.split_once('/').is_some_and(|(kind, subtype)| {
        let suffix = subtype
            .len()
            .checked_sub(5)
            .and_then(|at| subtype.get(at..));
        let is_json = kind.eq_ignore_ascii_case("application")
            && subtype.eq_ignore_ascii_case("json")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"));
        is_json && is_token(kind) && is_token(subtype)
    });
    let is_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    is_json && parts.all(is_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Client;

    #[derive(Deserialize, serde::Serialize)]
    struct Row {
        id: u32,
        tags: Vec<String>,
    }

    fn post(content_type: &str, body: &[u8]) -> (u16, String) {
        let app = crate::from_fn(|req, res| match req.json_up_to::<Vec<Row>>(100_000) {
            Ok(rows) => res.json(&rows),
            Err(error) => res.status(error.status()).text(error.to_string()),
        });
        let mut client = Client::new(&app);
        let request = client.post("/").header("Content-Type", content_type);
        let response = request.body(body).send();
        let text = response.text().to_owned();
        (response.status(), text)
    }

    #[test]
    fn media_types() {
        for (content_type, expected) in [
            ("application/json", 200),
            ("Application/JSON; charset=UTF-8", 200),
            ("application/json;charset=\"utf-8\"", 200),
            ("application/merge-patch+json", 200),
            ("application/json; charset=utf-16", 415),
            ("application/jsonx", 415),
            ("text/plain", 415),
            ("+json", 415),
            ("a/b+json", 200),
            ("text/plain, a/b+json", 415),
            ("a/b/c+json", 415),
            ("json", 415),
            ("é+jso", 415),
            ("", 415),
        ] {
            assert_eq!(post(content_type, b"[]").0, expected, "{content_type}");
        }
    }

    #[test]
    fn every_fault_has_a_status_and_a_place() {
        let deep = [&b"[".repeat(50_000)[..], &b"]".repeat(50_000)].concat();
        let long = format!(r#"[{{"id": "{}"}}]"#, "x".repeat(5_000));
        for (body, status, text) in [
            (&b""[..], 400, "line 1, column 0: EOF while parsing a value"),
            (b"[\n{\"id\": }]", 400, "line 2, column 8: expected value"),
            (b"[] x", 400, "line 1, column 4: trailing characters"),
            (
                b"[{\"id\": 1e999}]",
                400,
                "line 1, column 13: number out of range",
            ),
            (
                b"[{\"id\": 99999999999999999999}]",
                422,
                "line 1, column 28, at [0].id: invalid type: floating point `1e+20`, expected u32",
            ),
            (
                b"[{\"id\": 1, \"tags\": [\"a\", 2]}]",
                422,
                "line 1, column 26, at [0].tags[1]: invalid type: integer `2`, expected a string",
            ),
            (
                b"[{\"id\": 1}]",
                422,
                "line 1, column 10, at [0]: missing field `tags`",
            ),
            (
                b"[{\"id\": 1, \"id\": 2}]",
                422,
                "line 1, column 15, at [0]: duplicate field `id`",
            ),
            (
                b"[{\"id\": 1, \"tags\": [\"\xff\"]}]",
                400,
                "line 1, column 22: invalid unicode code point",
            ),
            (&deep, 422, "line 1, column 2, at [0][0]"),
            (&b" ".repeat(100_001), 413, "the JSON is too long"),
            (long.as_bytes(), 422, "line 1, column"),
        ] {
            let (got, said) = post("application/json", body);
            let shown = body[..body.len().min(60)].escape_ascii();
            assert_eq!(got, status, "{said}: {shown}");
            assert!(said.starts_with(text), "{said}: {shown}");
            assert!(said.chars().count() < 500, "{said}");
        }
    }

    #[test]
    fn nesting_is_limited_for_any_type() {
        let app = crate::from_fn(|req, res| match req.json::<serde_json::Value>() {
            Ok(_) => res.text("fits"),
            Err(error) => res.status(error.status()).text(error.to_string()),
        });
        let mut client = Client::new(&app);
        for (depth, status) in [(127, 200), (128, 400), (500_000, 400)] {
            let body = ["[".repeat(depth), "]".repeat(depth)].concat();
            let request = client.post("/").header("Content-Type", "application/json");
            let response = request.body(body).send();
            assert_eq!(response.status(), status, "{depth}: {}", response.text());
        }
    }
}
