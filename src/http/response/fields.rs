//! Checks and appends header fields of a response.

use super::{Done, Response, ResponseRecorder};
use crate::http::response::error::ResponseError;
use crate::log::warning;
use crate::shared::output::Output;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use peregrine_protocol::http::{field_block, fields};
use peregrine_protocol::syntax;
use std::ops::Range;

/// All bytes but those of `attr-char` (RFC 8187 section 3.2.1) that no client takes for something else.
const OUTSIDE_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The value of [`ResponseRecorder::marks`] if fields were written as a block.
const ANY: u64 = u64::MAX;

/// Most bytes of the name of a file. Encoded it has three times as many, which fits into the heads that proxies take.
const MAX_FILE_NAME: usize = 255;

impl<'a> Response<'a> {
    /// Sets a header field. A field that has one value, such as `Content-Type`, `ETag` or `Location`,
    /// replaces one that was set before. A field that is a list, such as `Set-Cookie`, `Vary` or
    /// `Cache-Control`, and a field that the library does not know, is added, and both are sent (RFC 9110
    /// section 5.3).
    ///
    /// Fields that belong to the library are omitted; see [`Response`]. `Connection: upgrade` is added to an
    /// `Upgrade` field (RFC 9110 section 7.8). Text is sent as its UTF-8 bytes.
    ///
    /// # Errors
    ///
    /// If the name is not a token, or the value has a control byte, the client gets 500 because of a
    /// [`ResponseError`].
    // The checks of the name cost nothing if the name is a literal.
    #[doc(alias("set_header", "headers"))]
    #[inline(always)]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Response<'a> {
        if !syntax::is_token(name.as_bytes()) {
            self.recorder.fail(ResponseError::HeaderName);
            return self;
        }
        if fields::is_of_library(name) {
            self.recorder.pass_over(name, value.as_ref());
            return self;
        }
        if fields::is_upgrade(name) {
            self.recorder.head.upgrade = true;
        }
        self.recorder.set_field(name, value.as_ref(), self.output);
        self
    }

    /// Lets a browser store the body as a file with this name, instead of showing it: `Content-Disposition: attachment` (RFC
    /// 6266). It is for files of users too: a page among them is not shown with the rights of this server.
    ///
    /// `name` may have any characters; the first 255 bytes are sent, which is what file systems allow. Browsers remove what could
    /// lead to another folder. Other characters than ASCII, and `/`, are sent encoded, with a name in ASCII for old clients.
    /// With an empty name the browser takes the last segment of the path.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
    ///     res.attachment("Küken \"1\".csv").text("1;2\n")
    /// }
    /// # let response = peregrine::testing::get(&peregrine::from_fn(handle), "/");
    /// # assert_eq!(response.header("content-disposition"), Some(
    /// #     r#"attachment; filename="K_ken _1_.csv"; filename*=UTF-8''K%C3%BCken%20%221%22.csv"#));
    /// # let app = peregrine::from_fn(|_, res| res.attachment("a-1.txt").text(""));
    /// # let response = peregrine::testing::get(&app, "/");
    /// # assert_eq!(response.header("content-disposition"), Some(r#"attachment; filename="a-1.txt""#));
    /// # let app = peregrine::from_fn(|_, res| res.attachment("../a".to_owned() + &"ü".repeat(200)).text(""));
    /// # let response = peregrine::testing::get(&app, "/");
    /// # let cut = format!("filename=\".._a{}\"; filename*=UTF-8''..%2Fa{}", "_".repeat(125), "%C3%BC".repeat(125));
    /// # assert_eq!(response.header("content-disposition"), Some(&*format!("attachment; {cut}")));
    /// # let app = peregrine::from_fn(|_, res| res.attachment("").text(""));
    /// # assert_eq!(peregrine::testing::get(&app, "/").header("content-disposition"), Some("attachment"));
    /// ```
    #[must_use = "respond with it"]
    #[doc(alias("download", "content_disposition"))]
    pub fn attachment(self, name: impl AsRef<str>) -> Response<'a> {
        let name = name.as_ref();
        let mut end = name.len().min(MAX_FILE_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &name[..end];
        let plain = |c: char| match c {
            // A `%` would be decoded by some clients (RFC 6266 appendix D).
            ' '..='~' if !matches!(c, '"' | '\\' | '%' | '/') => c,
            _ => '_',
        };
        let ascii: String = name.chars().map(plain).collect();
        let mut value = String::from("attachment");
        if !name.is_empty() {
            value.push_str(&format!("; filename=\"{ascii}\""));
        }
        if ascii != name {
            let encoded = utf8_percent_encode(name, OUTSIDE_ATTR_CHAR);
            value.push_str(&format!("; filename*=UTF-8''{encoded}"));
        }
        self.header("Content-Disposition", value)
    }

    /// Redirects the client to `location`, which may be on another host, with 301, 302, 303, 307 or 308 (RFC
    /// 9110 section 15.4).
    ///
    /// **A location that comes from a client can lead anywhere**: for a browser `//evil.example` and `/\evil.example` are other hosts. Use [`Response::redirect_local`] for a location that must stay on this host.
    ///
    /// # Errors
    ///
    /// [`ResponseError::Redirect`] for another status, and [`ResponseError::HeaderValue`] for a location
    /// with a control byte: the client gets 500.
    #[doc(alias("see_other", "location"))]
    pub fn redirect(self, status: u16, location: impl AsRef<str>) -> Done {
        let location = location.as_ref();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            self.recorder.fail(ResponseError::Redirect(status));
            return self.body("");
        }
        self.status(status).header("Location", location).body("")
    }

    /// Redirects to a path of this host and to no other host. It is for locations that a client influences,
    /// such as `?next=/account`. `status` is one of those of [`Response::redirect`].
    ///
    /// # Errors
    ///
    /// Those of [`Response::redirect`], and [`ResponseError::Location`] for a location that does not begin
    /// with exactly one slash, or that a browser could take for another host.
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
    pub fn redirect_local(self, status: u16, location: impl AsRef<str>) -> Done {
        let location = location.as_ref();
        // Browsers treat a backslash as a slash, and ignore tabs and line ends.
        let is_local = match location.as_bytes() {
            [b'/', b'/' | b'\\', ..] => false,
            [b'/', rest @ ..] => !rest.iter().any(u8::is_ascii_control),
            _ => false,
        };
        if !is_local {
            self.recorder.fail(ResponseError::Location);
        }
        self.redirect(status, location)
    }

    /// Adds a field that is known to be valid, unless the field is set already.
    #[inline]
    pub(super) fn default_field(self, field: &'static [u8]) -> Response<'a> {
        self.recorder.default_field(field, self.output);
        self
    }

    /// Sets fields that are known to be valid, as [`Response::header`] does.
    pub(super) fn set_fields(self, block: &[u8]) -> Self {
        let Response { recorder, output } = self;
        if recorder.begun == 0 || !recorder.has_fields(output) {
            recorder.push_fields(block, output);
        } else {
            for (name, value) in field_block::fields(block) {
                let name = std::str::from_utf8(name).unwrap_or_default();
                recorder.set_field(name, value, output);
            }
        }
        Response { recorder, output }
    }

    /// Adds fields that are known to be valid: those that are not set already, and those that are lists.
    #[cfg(feature = "dir")]
    pub(crate) fn fields(self, block: &[u8]) -> Self {
        let Response { recorder, output } = self;
        if recorder.begun == 0 || !recorder.has_fields(output) {
            recorder.push_fields(block, output);
        } else {
            recorder.marks = ANY;
            // The block may have a name several times.
            let end = output.since(recorder.mark).len();
            for (name, value) in field_block::fields(block) {
                let own = recorder.field(name, output);
                if fields::is_shared(name) || own.is_none_or(|own| own.start >= end) {
                    output.push_with(|out| field_block::push(name, value, out));
                }
            }
        }
        Response { recorder, output }
    }
}

impl ResponseRecorder {
    /// Sets a field. The name is a token.
    #[inline(never)]
    fn set_field(&mut self, name: &str, value: &[u8], output: &mut Output) {
        if !syntax::is_field_value(value) {
            return self.fail(ResponseError::HeaderValue);
        }
        let mark = fields::mark(name.as_bytes());
        if self.begun == 0 || !self.has_fields(output) {
            self.marks = 0;
        } else if self.marks & mark != 0 && fields::is_single(name.as_bytes())
            || self.replaces_always(name)
        {
            self.take_field_back(name, output);
        }
        self.marks |= mark;
        self.begin(output);
        output.push_with(|out| field_block::push(name.as_bytes(), value, out));
    }

    /// Appends fields that are known to be valid, and that are not set.
    #[inline(always)]
    pub(super) fn push_fields(&mut self, block: &[u8], output: &mut Output) {
        self.marks = ANY;
        self.begin(output);
        output.push(block);
    }

    /// Whether a field may have been written. A template is written with the first one; a response that is recorded
    /// has no template.
    #[inline(always)]
    fn has_fields(&self, output: &Output) -> bool {
        !self.is_recorded() || output.len_since(self.mark) > 0
    }

    /// Omits a field, and writes an event to the log in a debug build.
    #[cold]
    fn pass_over(&mut self, name: &str, value: &[u8]) {
        if !syntax::is_field_value(value) {
            return self.fail(ResponseError::HeaderValue);
        }
        if cfg!(debug_assertions) {
            warning!("a handler set {name}, which belongs to the library: it is omitted");
        }
    }

    #[inline]
    fn default_field(&mut self, field: &'static [u8], output: &mut Output) {
        if self.begun == 0 || !self.has_fields(output) || !self.has_field_of(field, output) {
            self.push_fields(field, output);
        }
    }

    #[cold]
    #[inline(never)]
    fn has_field_of(&self, field: &[u8], output: &mut Output) -> bool {
        let mut names = field_block::fields(field).map(|field| field.0);
        names.any(|name| self.marks & fields::mark(name) != 0 && self.field(name, output).is_some())
    }

    /// The position of a field, counted from the mark. Only before the head is complete.
    fn field(&self, name: &[u8], output: &mut Output) -> Option<Range<usize>> {
        let from = self.fields_from();
        let found = field_block::find(&output.since(self.mark)[from..], name)?;
        Some(from + found.start..from + found.end)
    }

    /// Removes a field, if it is set.
    #[cold]
    #[inline(never)]
    fn take_field_back(&self, name: &str, output: &mut Output) {
        while let Some(field) = self.field(name.as_bytes(), output) {
            output.replace(self.mark, field, b"");
        }
    }
}
