//! `Request`: what a handler sees of a request.

#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod client;
pub(crate) mod credentials;
mod owned;
pub(crate) mod route;
pub(crate) mod trace;
mod values;

pub use owned::OwnedRequest;

use crate::runtime::socket::Ends;
use peregrine_protocol::form;
use peregrine_protocol::form::FormError;
use peregrine_protocol::h1::framing;
use peregrine_protocol::h1::framing::BodyLength;
#[cfg(feature = "websocket")]
use peregrine_protocol::h1::head::Known;
use peregrine_protocol::h1::head::{Field, Head};
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::http::{Version, field_block, origin};
use route::RouteMatch;
use std::borrow::Cow;
use std::ops::Range;
use values::Values;

/// Default limit on the pairs of a form. Forms on web pages have fewer.
const FORM_PAIRS: usize = 1000;

/// A complete request with its body. It is a view of the buffer of the connection: it copies nothing and
/// cannot be kept. [`Request::to_owned_request`] makes a copy that can be kept.
///
/// The request has been checked against RFC 9110 and 9112. The method is a token. The target is visible ASCII
/// in one of the four forms. Field names are tokens. Field values have no control byte except HTAB.
///
/// ```
/// use peregrine::{Done, Request, Response};
///
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
///     match (req.method(), req.path()) {
///         ("GET", "/greet") => {
///             let name = req.query("name").unwrap_or("stranger".into());
///             res.text(format!("Hello, {name}!"))
///         }
///         ("POST", "/upper") => res.body(&req.body().to_ascii_uppercase()),
///         _ => res.status(404).body("nothing here"),
///     }
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /greet?name=Ada+L. HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"Hello, Ada L.!"));
/// ```
#[derive(Clone, Copy)]
pub struct Request<'a> {
    head: &'a Head,
    /// The head, and the body if it is not chunked.
    bytes: &'a [u8],
    body: &'a [u8],
    ends: &'a dyn Ends,
    /// The route of a router that has matched.
    route: Option<&'a RouteMatch>,
    /// What layers have added.
    values: Option<&'a Values>,
}

impl<'a> Request<'a> {
    /// The request at the front of `input`, whose head is complete, with this body.
    pub(crate) fn new(input: &'a Input, body: Range<usize>, ends: &'a dyn Ends) -> Request<'a> {
        let bytes = input.unread();
        Request {
            head: &input.head,
            bytes,
            body: &bytes[body],
            ends,
            route: None,
            values: None,
        }
    }

    /// A request whose table of the head is about `bytes`, with this body.
    #[cfg(feature = "http2")]
    #[inline]
    pub(crate) fn of_parts(
        head: &'a Head,
        bytes: &'a [u8],
        body: &'a [u8],
        ends: &'a dyn Ends,
    ) -> Request<'a> {
        Request {
            head,
            bytes,
            body,
            ends,
            route: None,
            values: None,
        }
    }

    /// The request at the front of `input`, without a body, if its head is complete.
    pub(crate) fn of_head(input: &'a Input, ends: &'a dyn Ends) -> Option<Request<'a>> {
        let request = Request {
            head: &input.head,
            bytes: input.unread(),
            body: b"",
            ends,
            route: None,
            values: None,
        };
        input.head.is_complete().then_some(request)
    }

    pub(crate) fn without_body(&self) -> Request<'a> {
        Request { body: &[], ..*self }
    }

    /// The method as sent. Upper and lower case differ (RFC 9110 section 9.1). It may be a method that no
    /// standard defines. HEAD is `HEAD` and not `GET`: respond as to a GET, and the library omits the body.
    #[inline]
    pub fn method(&self) -> &'a str {
        text(self.method_bytes())
    }

    /// [`Request::method`] as bytes, without a conversion to text.
    #[inline]
    pub fn method_bytes(&self) -> &'a [u8] {
        self.head.method.of(self.bytes)
    }

    /// The HTTP version of the request. The response to a request of HTTP/1.0 is HTTP/1.1 (RFC 9110 section 6.2).
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The request target as sent, in any of the four forms of RFC 9112 section 3.2.
    ///
    /// It is visible ASCII: a client that sends UTF-8 or Latin-1 without percent-encoding gets 400.
    /// Characters such as `|`, `{`, `"` and `[` are accepted: browsers send them although RFC 3986 excludes
    /// them.
    #[doc(alias("uri", "url"))]
    pub fn target(&self) -> &'a str {
        text(self.head.target.whole.of(self.bytes))
    }

    /// The request target, as bytes.
    #[inline]
    pub(crate) fn target_bytes(&self) -> &'a [u8] {
        self.head.target.whole.of(self.bytes)
    }

    /// The path of the target, not percent-decoded, without the query. It is `/` if the target has no path,
    /// and `*` for `OPTIONS *`.
    #[inline]
    pub fn path(&self) -> &'a str {
        text(self.path_bytes())
    }

    /// [`Request::path`] as bytes, without a conversion to text.
    #[inline]
    pub fn path_bytes(&self) -> &'a [u8] {
        self.head.target.path(self.bytes)
    }

    /// The query as sent, without its `?`; `None` if there is no `?`.
    #[doc(alias = "raw_query")]
    pub fn query_string(&self) -> Option<&'a str> {
        self.head.target.query(self.bytes).map(text)
    }

    /// The pairs of the query, in order, decoded as a form: `+` and `%XX`. Invalid UTF-8 becomes U+FFFD.
    ///
    /// The iterator parses only what is read from it. Only a value that needs decoding allocates.
    ///
    /// ```
    /// # use peregrine::{Request, Response, Done};
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     let sum: i64 = req.query_pairs().filter_map(|(_, value)| value.parse::<i64>().ok()).sum();
    ///     res.text(sum.to_string())
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET /?a=1&b=%31&c HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"\r\n\r\n2"));
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        form_urlencoded::parse(self.query_string().unwrap_or("").as_bytes())
    }

    /// The decoded value of the first pair `name` of the query.
    #[doc(alias("params", "query_param"))]
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The value of the first header field `name`, without the white space around it. Case does not matter.
    /// `None` also if the value is not UTF-8; [`Request::header_all`] has the bytes.
    #[doc(alias = "get_header")]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let field = self
            .fields()
            .iter()
            .find(|field| self.is_named(field, name))?;
        std::str::from_utf8(field.value.of(self.bytes)).ok()
    }

    /// The values of all header fields `name`, in order. Case does not matter.
    pub fn header_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let bytes = self.bytes;
        let request = *self;
        self.fields()
            .iter()
            .filter(move |field| request.is_named(field, name))
            .map(move |field| field.value.of(bytes))
    }

    /// All header fields, in order, with names and values as sent.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.fields()
            .iter()
            .map(move |field| (text(field.name.of(bytes)), field.value.of(bytes)))
    }

    /// The names of all header fields, as bytes.
    pub(crate) fn field_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.fields().iter().map(move |field| field.name.of(bytes))
    }

    /// The id of the last event that the `EventSource` of a page received before its connection broke:
    /// [`Event::id`](crate::sse::Event::id). `None` if it received no event with an id.
    pub fn last_event_id(&self) -> Option<&'a str> {
        self.header("last-event-id").filter(|id| !id.is_empty())
    }

    /// Whether this request comes from a page of the host and port that it is sent to. Check this before a
    /// request changes something with the rights of its user.
    ///
    /// Browsers send in `Origin` the page of a form, a script or a WebSocket (RFC 6454 section 7). The result
    /// is true without this field; clients other than browsers may omit it. It is false for an `Origin` of
    /// `null`, a malformed one, and for two fields.
    ///
    /// A host without a port has the default port of the scheme of the page. Case does not matter. The scheme
    /// of the request is not known, because a proxy may have ended its TLS. Such a proxy must forward `Host`
    /// with its port.
    ///
    /// ```
    /// # use peregrine::{Request, Response, Done};
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     match req.is_same_origin() {
    ///         true => res.text("saved"),
    ///         false => res.status(403).text("wrong origin"),
    ///     }
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nOrigin: https://a.example\r\n\r\n");
    /// # assert!(client.received().ends_with(b"saved"));
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nOrigin: https://b.example\r\n\r\n");
    /// # assert!(client.received().ends_with(b"wrong origin"));
    /// ```
    pub fn is_same_origin(&self) -> bool {
        let mut origins = self.header_all("origin");
        match (origins.next(), origins.next(), self.host()) {
            (None, _, _) => true,
            (Some(origin), None, Some(host)) => origin::is_same(origin, host),
            _ => false,
        }
    }

    /// Whether a body follows the head, by the framing. The body may not have been read.
    pub(crate) fn has_body(&self) -> bool {
        framing::body_length(self.head, self.bytes) != Ok(BodyLength::Exact(0))
    }

    /// Whether the client waits for a `100 Continue`.
    #[cfg(feature = "websocket")]
    pub(crate) fn expects_continue(&self) -> bool {
        framing::expects_continue(self.head, self.bytes) == Ok(true)
    }

    /// Whether the request may ask for another protocol, so that its fields must be checked. The length of
    /// `Connection` excludes nearly all other requests: they have no such field, or `close` or `keep-alive`.
    #[cfg(feature = "websocket")]
    #[inline]
    pub(crate) fn may_upgrade(&self) -> bool {
        let connection = self.head.known(Known::Connection);
        connection.is_some_and(|value| !matches!(value.end - value.start, 5 | 10))
    }

    pub(crate) fn ends(&self) -> &'a dyn Ends {
        self.ends
    }

    /// The whole body, with chunks decoded; empty if there is none. Its length is at most
    /// [`Limits::body_bytes`](crate::Limits::body_bytes).
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The value of the first trailer field `name`. Case does not matter. `None` also if the value is not UTF-8;
    /// [`Request::trailers`] has the bytes.
    ///
    /// Trailer fields come behind the body (RFC 9110 section 6.5): in HTTP/1.1 with chunks, in HTTP/2 always. They are
    /// there when the body is complete: in [`Handler::handle_request`](crate::Handler::handle_request) after
    /// [`BodyPlan::Buffer`](crate::BodyPlan::Buffer), and in [`BodySink::finish`](crate::body::BodySink::finish). A
    /// sink that has responded early by [`Flow::Respond`](crate::body::Flow::Respond) has none. Their limits are those of the fields of the head. They are never header fields, so a client cannot use them to change
    /// what was decided before the body came.
    ///
    /// ```
    /// # use peregrine::{Request, Response, Done};
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     match req.trailer("checksum") {
    ///         Some(sum) => res.text(format!("{} bytes, {sum}", req.body().len())),
    ///         None => res.status(400).text("no checksum"),
    ///     }
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
    /// #     2\r\nhi\r\n0\r\nChecksum: 17\r\n\r\n");
    /// # assert!(client.received().ends_with(b"2 bytes, 17"));
    /// ```
    pub fn trailer(&self, name: &str) -> Option<&'a str> {
        let mut fields = self.trailers();
        let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All trailer fields, in order, with names and values as sent; see [`Request::trailer`].
    ///
    /// No name is left out: a client may send `content-length`, `host`, `authorization` or `cookie` here, which mean nothing
    /// behind a body (RFC 9110 section 6.5.1). Look for the fields that you expect, and do not add all of them to others.
    pub fn trailers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let fields = field_block::fields(self.trailer_block());
        fields.map(|(name, value)| (text(name), value))
    }

    pub(crate) fn trailer_block(&self) -> &'a [u8] {
        self.head.trailers()
    }

    /// The media type of the body with its parameters, as sent: the value of `Content-Type`. `None` if the
    /// field is missing, is not UTF-8, or is present twice, because two values could be understood
    /// differently.
    pub fn content_type(&self) -> Option<&'a str> {
        let mut values = self.header_all("content-type");
        match (values.next(), values.next()) {
            (Some(value), None) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// The pairs of a URL-encoded form in the body, in order, decoded like those of a query. At most 1,000
    /// pairs, counted by their separators; [`Request::form_pairs_up_to`] takes another limit.
    ///
    /// A browser sends this for a `<form method="post">` without files. The feature `multipart` reads
    /// `multipart/form-data`, which has files. A pair needs memory only if it has to be decoded, and only
    /// while it is used.
    ///
    /// # Errors
    ///
    /// Both errors come before the first pair. [`FormError::NotUrlEncoded`] if `Content-Type` is missing,
    /// repeated, or not `application/x-www-form-urlencoded`. [`FormError::TooManyPairs`] above the limit.
    ///
    /// ```
    /// # use peregrine::{Request, Response, Done};
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     let pairs = match req.form_pairs() {
    ///         Ok(pairs) => pairs,
    ///         Err(error) => return res.status(error.status()).text(error.to_string()),
    ///     };
    ///     let names: Vec<_> = pairs.map(|(name, _)| name).collect();
    ///     res.text(&names.join(" and "))
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\
    /// #     Content-Type: application/x-www-form-urlencoded\r\n\r\na=1&b+c=2");
    /// # assert!(client.received().ends_with(b"\r\n\r\na and b c"));
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=1");
    /// # assert!(client.received().ends_with(b"\r\n\r\nnot application/x-www-form-urlencoded"));
    /// ```
    pub fn form_pairs(
        &self,
    ) -> Result<impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a>, FormError> {
        self.form_pairs_up_to(FORM_PAIRS)
    }

    /// The pairs of an urlencoded form in the body, at most `max_pairs`. [`Request::form_pairs`] has a fixed
    /// limit. Empty pairs count too, although they are skipped.
    ///
    /// # Errors
    ///
    /// Those of [`Request::form_pairs`].
    pub fn form_pairs_up_to(
        &self,
        max_pairs: usize,
    ) -> Result<impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a>, FormError> {
        form::check(self.content_type(), self.body, max_pairs)?;
        Ok(form_urlencoded::parse(self.body))
    }

    /// The decoded value of the first pair `name` of a URL-encoded form in the body. `None` if there is no
    /// such pair, or if [`Request::form_pairs`] returns an error.
    ///
    /// Each call reads the body. For many fields, iterate over the pairs once.
    ///
    /// ```
    /// # use peregrine::{Request, Response, Done};
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     match req.form("name") {
    ///         Some(name) => res.text(format!("Hello, {name}!")),
    ///         None => res.status(400).text("`name` is missing"),
    ///     }
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\
    /// #     Content-Type: application/x-www-form-urlencoded\r\n\r\nname=Ada+L.");
    /// # assert!(client.received().ends_with(b"\r\n\r\nHello, Ada L.!"));
    /// ```
    #[doc(alias("params", "urlencoded"))]
    pub fn form(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut pairs = self.form_pairs().ok()?;
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A copy that does not depend on the connection.
    ///
    /// ```
    /// # use peregrine::{Request, Response, Done};
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     let kept = req.to_owned_request();
    ///     std::thread::spawn(move || kept.as_request().path().len());
    ///     res.body("ok")
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"ok"));
    /// ```
    pub fn to_owned_request(&self) -> OwnedRequest {
        OwnedRequest::of(self)
    }

    fn fields(&self) -> &'a [Field] {
        self.head.fields()
    }

    fn is_named(&self, field: &Field, name: &str) -> bool {
        field
            .name
            .of(self.bytes)
            .eq_ignore_ascii_case(name.as_bytes())
    }
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers = self
            .headers()
            .map(|(name, value)| (name, String::from_utf8_lossy(value)));
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("target", &self.target())
            .field("version", &self.version())
            .field("headers", &headers.collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Converts bytes that the parser has found to be ASCII. The most frequent values are converted without a
/// check, because `from_utf8` costs about 40 instructions.
#[inline]
fn text(bytes: &[u8]) -> &str {
    match bytes {
        b"GET" => "GET",
        b"/" => "/",
        b"POST" => "POST",
        _ => std::str::from_utf8(bytes).unwrap_or_default(),
    }
}
