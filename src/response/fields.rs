//! Header fields of an answer.

use super::{AnswerError, Done, Response};
use crate::log::event;
use crate::protocol::{class, fields};
use std::ops::Range;

/// What the name of a field means for the response.
#[derive(Clone, Copy)]
enum Role {
    Plain,
    /// It is left out.
    Library,
    Upgrade,
}

impl<'a> Response<'a> {
    /// Sets a header field. Where a field may have one value only, as `Content-Type`, `ETag` or
    /// `Location`, it takes the place of one that was set before; where it is a list, as `Set-Cookie`,
    /// `Vary` or `Cache-Control`, and for names that the library does not know, both are sent (RFC
    /// 9110 section 5.3).
    ///
    /// Fields that belong to the library are left out; see [`Response`]. With an `Upgrade` field goes
    /// `Connection: upgrade` (RFC 9110 section 7.8). Text is sent as its UTF-8 bytes.
    ///
    /// # Errors
    ///
    /// A name that is no token and a value with a control byte are an [`AnswerError`]: the client
    /// gets 500.
    // What is asked of the name here costs nothing where that is a literal.
    #[inline(always)]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Response<'a> {
        if !class::is_token(name.as_bytes()) {
            self.fail(AnswerError::HeaderName);
            return self;
        }
        let role = if fields::is_of_library(name) {
            Role::Library
        } else if fields::is_upgrade(name) {
            Role::Upgrade
        } else {
            Role::Plain
        };
        self.set(name, role, value.as_ref());
        self
    }

    /// Sets a field whose name is a token.
    #[inline(never)]
    fn set(&mut self, name: &str, role: Role, value: &[u8]) {
        if !class::is_field_value(value) {
            return self.fail(AnswerError::HeaderValue);
        }
        match role {
            Role::Plain => {}
            Role::Upgrade => self.wire.upgrade = true,
            Role::Library => return passed_over(name),
        }
        if self.wire.begun > 0 && fields::is_single(name) {
            self.take_field_back(name);
        }
        self.begin();
        self.output.push_with(|out| {
            out.reserve(name.len() + value.len() + 4);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        });
    }

    /// Sends the client to `location`, which may be on another host, with 301, 302, 303, 307 or 308
    /// (RFC 9110 section 15.4).
    ///
    /// **A location that comes from a client can lead anywhere**: to a browser `//evil.example` and
    /// `/\evil.example` are other hosts. For one that is to stay on this host there is
    /// [`Response::redirect_local`].
    ///
    /// # Errors
    ///
    /// [`AnswerError::Redirect`] for another status, and [`AnswerError::HeaderValue`] for a location
    /// with a control byte: the client gets 500.
    pub fn redirect(mut self, status: u16, location: &str) -> Done {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            self.fail(AnswerError::Redirect(status));
            return self.body("");
        }
        self.status(status).header("Location", location).body("")
    }

    /// As [`Response::redirect`], to a path of this host: for locations that a client has a say in,
    /// as `?next=/account`.
    ///
    /// # Errors
    ///
    /// As [`Response::redirect`], and [`AnswerError::Location`] for a location that does not begin
    /// with one slash, or that a browser could take for another host.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     let next = req.query("next").unwrap_or("/".into());
    ///     res.redirect_local(303, &next)
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET /?next=//evil.example HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().starts_with(b"HTTP/1.1 500 "));
    /// ```
    pub fn redirect_local(mut self, status: u16, location: &str) -> Done {
        // Browsers take a backslash for a slash, and pass over tabs and line ends.
        let is_local = match location.as_bytes() {
            [b'/', b'/' | b'\\', ..] => false,
            [b'/', rest @ ..] => !rest.iter().any(u8::is_ascii_control),
            _ => false,
        };
        if !is_local {
            self.fail(AnswerError::Location);
        }
        self.redirect(status, location)
    }

    /// Adds a field line that is known to be good, unless there is such a field.
    #[inline]
    pub(super) fn default_line(mut self, line: &'static [u8]) -> Response<'a> {
        if self.wire.begun == 0 || !self.has_field_of(line) {
            self.begin();
            self.output.push(line);
        }
        self
    }

    /// Adds header lines that are known to be right, each with its CRLF: those for whose field
    /// nothing was set, and lists to which both sides add.
    #[cfg(feature = "dir")]
    pub(crate) fn lines(mut self, lines: &[u8]) -> Self {
        if self.wire.begun == 0 {
            self.begin();
            self.output.push(lines);
            return self;
        }
        for line in lines.split_inclusive(|&b| b == b'\n') {
            if fields::is_shared(name_of(line)) || !self.has_field_of(line) {
                self.begin();
                self.output.push(line);
            }
        }
        self
    }

    /// Puts the prepared head down.
    #[inline(never)]
    pub(super) fn put_head(&mut self) {
        let head = self.wire.heads.head(self.wire.status);
        self.output.push(head);
        self.wire.begun = head.len();
    }

    /// Puts the head of another status in the place of the one that was begun.
    #[cold]
    pub(super) fn replace_head(&mut self, status: u16) {
        let wire = &mut *self.wire;
        if status != wire.status && !wire.is_late() {
            let head = wire.heads.head(status);
            self.output.replace(wire.mark, 0..wire.begun, head);
            wire.begun = head.len();
        }
    }

    /// Where the line of a header field stands, counted from the mark. Only while the head is made.
    #[cold]
    #[inline(never)]
    fn line_of(&mut self, name: &[u8]) -> Option<Range<usize>> {
        let mut at = match self.wire.is_late() {
            true => 0,
            false => self.wire.begun,
        };
        let lines = self.output.since(self.wire.mark);
        // No value holds a line end.
        while let Some(len) = memchr::memchr(b'\n', &lines[at..]) {
            let line = &lines[at..=at + len];
            if line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
            {
                return Some(at..at + len + 1);
            }
            at += len + 1;
        }
        None
    }

    /// Takes a header field back that may have been set.
    #[cold]
    #[inline(never)]
    fn take_field_back(&mut self, name: &str) {
        while let Some(line) = self.line_of(name.as_bytes()) {
            self.output.replace(self.wire.mark, line, b"");
        }
    }

    fn has_field_of(&mut self, line: &[u8]) -> bool {
        self.line_of(name_of(line)).is_some()
    }
}

fn name_of(line: &[u8]) -> &[u8] {
    line.split(|&b| b == b':').next().unwrap_or_default()
}

/// Says in a debug build that a field was left out.
#[cold]
fn passed_over(name: &str) {
    if cfg!(debug_assertions) {
        event!(
            Warn,
            "a handler set {name}, which belongs to the library: left out"
        );
    }
}
