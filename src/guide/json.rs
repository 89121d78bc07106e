//! JSON: request bodies, responses, streams of values. Needs the feature `json`, and for types of the program the crate `serde` with its
//! feature `derive`.
//!
//! ```
//! use peregrine::testing::{Client, get, post_json};
//! use peregrine::{Done, Request, Response};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Deserialize, PartialEq, Serialize)]
//! struct Note {
//!     title: String,
//!     stars: u8,
//! }
//!
//! fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
//!     match (req.method(), req.path()) {
//!         ("POST", "/notes") => match req.json::<Note>() {
//!             Ok(note) => res.status(201).json(&note),
//!             Err(error) => res.status(error.status()).text(error.to_string()),
//!         },
//!         ("GET" | "HEAD", "/export") => {
//!             res.json_lines((1..=2).map(|stars| Note { title: "milk".to_owned(), stars }))
//!         }
//!         _ => res.status(404).text("not found"),
//!     }
//! }
//!
//! let app = peregrine::from_fn(handle);
//! let note = Note { title: "milk".to_owned(), stars: 5 };
//! let response = post_json(&app, "/notes", &note);
//! assert_eq!(response.status(), 201);
//! assert_eq!(response.json::<Note>(), note);
//! assert_eq!(
//!     get(&app, "/export").text(),
//!     "{\"title\":\"milk\",\"stars\":1}\n{\"title\":\"milk\",\"stars\":2}\n",
//! );
//!
//! let mut client = Client::new(&app);
//! let request = client.post("/notes").header("Content-Type", "application/json");
//! let response = request.body(r#"{"title": 1}"#).send();
//! assert_eq!(response.status(), 422);
//! assert_eq!(response.text(), "line 1, column 11, at title: invalid type: integer `1`, expected a string");
//! ```
//!
//! | method | the body |
//! |---|---|
//! | [`Request::json`] | one value; it may borrow from the body |
//! | [`Request::json_up_to`] | the same with a limit for this route |
//! | [`Response::json`] | one value, written directly into the output, with `Content-Length` |
//! | [`Response::json_lines`] | values of an iterator, one in each line |
//! | [`Response::json_array`] | values of an iterator, as one array |
//!
//! # Errors
//!
//! | error | status | reason |
//! |---|---|---|
//! | [`JsonError::NotJson`] | 415 | `Content-Type` is missing, repeated, not JSON, or has a `charset` other than UTF-8 |
//! | [`JsonError::TooLong`] | 413 | more bytes than `json_up_to` allows |
//! | [`JsonError::Malformed`] | 400 | the body is not JSON; or it is nested more than 127 levels deep; or a number is too large |
//! | [`JsonError::Mismatch`] | 422 | the body is JSON of another type |
//!
//! In a handler that returns `Result<Done, BoxError>`, `req.json()?` responds with this status and text.
//!
//! The last two have line, column and a message, and `Mismatch` has the path of the value too. They may quote
//! what the client has sent, at most 200 characters.
//!
//! A body above [`Limits::body_bytes`](crate::Limits::body_bytes) is refused with 413 before the handler is
//! called. The limits of JSON are in the [table of all limits](crate::Config#limits).
//!
//! [`Request::json`]: crate::Request::json
//! [`Request::json_up_to`]: crate::Request::json_up_to
//! [`Response::json`]: crate::Response::json
//! [`Response::json_lines`]: crate::Response::json_lines
//! [`Response::json_array`]: crate::Response::json_array
//! [`JsonError::NotJson`]: crate::error::JsonError::NotJson
//! [`JsonError::TooLong`]: crate::error::JsonError::TooLong
//! [`JsonError::Malformed`]: crate::error::JsonError::Malformed
//! [`JsonError::Mismatch`]: crate::error::JsonError::Mismatch
