//! The access-log entry of one request.

use crate::http::request::Request;
use crate::http::response::Done;
use crate::runtime::socket::Ends;
use peregrine_protocol::http::encode;
use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The data of one request for an access log.
///
/// [`AccessLog`](crate::access_log::AccessLog) makes one for each request. A handler that writes its own lines makes it
/// by [`AccessEntry::new`].
///
/// ```
/// use peregrine::{Done, Request, Response};
/// use peregrine::access_log::AccessEntry;
/// use std::time::Instant;
///
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
///     let begun = Instant::now();
///     let done = res.text("hi");
///     let mut line = Vec::new();
///     AccessEntry::new(req, &done, begun.elapsed()).common(&mut line);
///     assert!(line.ends_with(b"] \"GET /a HTTP/1.1\" 200 2"));
///     done
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"hi"));
/// ```
#[derive(Clone, Debug)]
pub struct AccessEntry<'a> {
    request: Option<Request<'a>>,
    peer: Option<SocketAddr>,
    client: Option<SocketAddr>,
    status: u16,
    body_bytes: Option<u64>,
    took: Duration,
    unix: u64,
    route: Option<&'static str>,
    id: Option<&'a str>,
    user: Option<&'a str>,
}

impl<'a> AccessEntry<'a> {
    /// The entry of a request whose response is complete now. `took` is the time of the handler.
    pub fn new(request: &Request<'a>, done: &Done, took: Duration) -> AccessEntry<'a> {
        AccessEntry::of(Some(*request), request.ends(), done.status())
            .took_for(took)
            .with_body(done.body_bytes())
    }

    /// The entry of a response without a body that took no time.
    pub(crate) fn of(
        request: Option<Request<'a>>,
        ends: &dyn Ends,
        status: u16,
    ) -> AccessEntry<'a> {
        AccessEntry {
            request,
            peer: ends.peer_addr(),
            client: match &request {
                Some(request) => request.client_addr(),
                None => ends.client_addr(),
            },
            status,
            route: request.and_then(|request| request.route()),
            id: None,
            user: None,
            body_bytes: Some(0),
            took: Duration::ZERO,
            // A clock set before 1970 is wrong in any case.
            unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |unix| unix.as_secs()),
        }
    }

    pub(crate) fn took_for(self, took: Duration) -> AccessEntry<'a> {
        AccessEntry { took, ..self }
    }

    pub(crate) fn with_body(self, body_bytes: Option<u64>) -> AccessEntry<'a> {
        AccessEntry { body_bytes, ..self }
    }

    pub(crate) fn with_route(self, route: Option<&'static str>) -> AccessEntry<'a> {
        let route = route.or(self.route);
        AccessEntry { route, ..self }
    }

    pub(crate) fn with_id(self, id: Option<&'a str>) -> AccessEntry<'a> {
        AccessEntry { id, ..self }
    }

    /// The id that the layer [`RequestId`](crate::layers::RequestId) has given the request. `None` without it, for a
    /// request that has not arrived completely, and in an entry of [`AccessEntry::new`].
    ///
    /// ```
    /// use peregrine::Router;
    /// use peregrine::access_log::{AccessLog, LogWriter};
    /// use peregrine::layers::RequestId;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let app = Router::new().get("/", |_, res| res.text("hi")).layer(RequestId::new());
    /// let log = LogWriter::new(std::io::stdout())?;
    /// let app = AccessLog::with_format(app, log, |entry, line| {
    ///     entry.common(line);
    ///     line.push(b' ');
    ///     line.extend_from_slice(entry.request_id().unwrap_or("-").as_bytes());
    /// });
    /// # assert_eq!(peregrine::testing::get(&app, "/").status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_id(&self) -> Option<&'a str> {
        self.id
    }

    /// This entry with the name of a user, for [`AccessEntry::common`] and [`AccessEntry::combined`].
    ///
    /// The program knows the user. The library does not set one: what a client sends in `Authorization` is only a claim.
    ///
    /// ```
    /// use peregrine::access_log::{AccessLog, LogWriter};
    /// use peregrine::layers::BasicAuth;
    /// use peregrine::Router;
    ///
    /// fn check(name: &str, password: &str) -> bool {
    ///     // A real program compares with `layers::is_same_secret`.
    ///     (name, password) == ("ada", "lovelace")
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let app = Router::new().get("/", |_, res| res.text("hi")).layer(BasicAuth::new("notes", check));
    /// let log = LogWriter::new(std::io::stdout())?;
    /// let app = AccessLog::with_format(app, log, |entry, line| {
    ///     let sent = entry.request().and_then(|request| request.basic_auth());
    ///     let user = sent.filter(|(name, password)| check(name, password));
    ///     let user = user.as_ref().map(|(name, _)| &**name);
    ///     entry.clone().with_user(user).combined(line);
    /// });
    /// # assert_eq!(peregrine::testing::get(&app, "/").status(), 401);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_user(self, user: Option<&'a str>) -> AccessEntry<'a> {
        AccessEntry { user, ..self }
    }

    /// The pattern of the route of a [`Router`](crate::Router) that has responded, for example `/users/{id}`. It has few
    /// values, so it is suitable for metrics.
    pub fn route(&self) -> Option<&'static str> {
        self.route
    }

    /// The request without its body; `None` if its head was refused, as malformed or too slow.
    pub fn request(&self) -> Option<&Request<'a>> {
        self.request.as_ref()
    }

    /// The address of the client: [`Request::client_addr`], or without a request, what is known without it.
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.client
    }

    /// The address of the other end of the connection ([`Request::peer_addr`]); `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The status of the response. It is 499 if the connection ended before the whole response was sent. HTTP
    /// does not define 499, but log readers know it. It is 400, with no bytes of a body, if a request of HTTP/2 is
    /// malformed: its client gets RST_STREAM instead of a response.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Bytes of the body without chunk framing. With status 499, the bytes that the system has taken. For a
    /// chunked body that the server could not complete, the bytes before its end. `None` in an entry of
    /// [`AccessEntry::new`] whose response is not complete yet.
    pub fn body_bytes(&self) -> Option<u64> {
        self.body_bytes
    }

    /// The time from the first call of the handler for this request to the end of the response. If the
    /// library responded without the handler, whole seconds since the last step of the request.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Whole seconds since 1970, UTC.
    pub fn unix_time(&self) -> u64 {
        self.unix
    }

    /// Appends the line in the Common Log Format of NCSA httpd, without a line end:
    ///
    /// ```text
    /// 192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "GET /a?b=c HTTP/1.1" 200 2326
    /// ```
    ///
    /// The fields are: [`AccessEntry::client_addr`] without the port (`-` if there is none), the identity, which is always `-`,
    /// the user ([`AccessEntry::with_user`]), the time in UTC, the request line, the status, and the bytes of the body. No
    /// user, an empty body, and a missing [`AccessEntry::request`] are `-`. A space in the name of a user becomes `\x20`.
    pub fn common(&self, line: &mut Vec<u8>) {
        // A write to a `Vec` cannot fail.
        let _ = match self.client {
            Some(client) => write!(line, "{}", client.ip()),
            None => line.write_all(b"-"),
        };
        match self.user.filter(|user| !user.is_empty()) {
            Some(user) => write_user(user, line),
            None => line.extend_from_slice(b" - -"),
        }
        line.extend_from_slice(b" [");
        line.extend_from_slice(&stamp(self.unix));
        line.extend_from_slice(b"] \"");
        match &self.request {
            Some(request) => {
                AccessEntry::escape(request.method(), line);
                line.push(b' ');
                AccessEntry::escape(request.target(), line);
                let _ = write!(line, " {}", request.version());
            }
            None => line.push(b'-'),
        }
        line.extend_from_slice(b"\" ");
        encode::decimal(u64::from(self.status), line);
        line.push(b' ');
        match self.body_bytes {
            None | Some(0) => line.push(b'-'),
            Some(n) => encode::decimal(n, line),
        }
    }

    /// Appends the line in the combined format of Apache httpd: that of [`AccessEntry::common`], then the
    /// first `Referer` and `User-Agent` in quotes. A missing field is `-`.
    pub fn combined(&self, line: &mut Vec<u8>) {
        self.common(line);
        for name in ["referer", "user-agent"] {
            line.extend_from_slice(b" \"");
            let request = self.request.as_ref();
            match request.and_then(|request| request.header_all(name).next()) {
                Some(value) => AccessEntry::escape(value, line),
                None => line.push(b'-'),
            }
            line.push(b'"');
        }
    }

    /// Appends text from a client so that it stays within its quotes for every log reader. `"` and `\` get a
    /// `\` before them. All bytes other than visible ASCII and spaces become `\xhh`.
    ///
    /// ```
    /// let mut line = Vec::new();
    /// peregrine::access_log::AccessEntry::escape("\"\n\u{e9}", &mut line);
    /// assert_eq!(line, b"\\\"\\x0a\\xc3\\xa9");
    /// ```
    pub fn escape(text: impl AsRef<[u8]>, line: &mut Vec<u8>) {
        for &b in text.as_ref() {
            match b {
                b'"' | b'\\' => line.extend_from_slice(&[b'\\', b]),
                b' '..=b'~' => line.push(b),
                _ => hex(b, line),
            }
        }
    }
}

/// Appends identity and user. A space would end the field.
fn write_user(user: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(b" - ");
    for (n, part) in user.split(' ').enumerate() {
        if n > 0 {
            hex(b' ', line);
        }
        AccessEntry::escape(part, line);
    }
}

/// Appends `\xhh`.
pub(crate) fn hex(b: u8, line: &mut Vec<u8>) {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
    line.extend_from_slice(&[b'\\', b'x', digit(b >> 4), digit(b & 15)]);
}

const STAMP_LEN: usize = 26;

/// `10/Oct/2026:13:55:36 +0000`. Each thread makes it once a second.
fn stamp(unix: u64) -> [u8; STAMP_LEN] {
    thread_local! {
        static LAST: Cell<Option<(u64, [u8; STAMP_LEN])>> = const { Cell::new(None) };
    }
    if let Some((at, stamp)) = LAST.get() {
        if at == unix {
            return stamp;
        }
    }
    let date = encode::date(unix);
    let mut stamp = *b"01/Jan/1970:00:00:00 +0000";
    for (to, from) in [(0, 5..7), (3, 8..11), (7, 12..16), (12, 17..25)] {
        stamp[to..to + from.len()].copy_from_slice(&date[from]);
    }
    LAST.set(Some((unix, stamp)));
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        for _ in 0..2 {
            assert_eq!(&stamp(784_111_777), b"06/Nov/1994:08:49:37 +0000");
            assert_eq!(&stamp(0), b"01/Jan/1970:00:00:00 +0000");
        }
    }

    #[test]
    fn a_name_is_one_field() {
        for (user, field) in [
            ("ada", " - ada"),
            ("a [b\" \n", " - a\\x20[b\\\"\\x20\\x0a"),
        ] {
            let mut line = Vec::new();
            write_user(user, &mut line);
            assert_eq!(String::from_utf8_lossy(&line), field);
        }
    }

    #[test]
    fn every_byte_stays_within_its_quotes() {
        for b in 0..=255u8 {
            let mut line = Vec::new();
            AccessEntry::escape([b], &mut line);
            assert!(line.iter().all(|b| (b' '..=b'~').contains(b)), "{b}");
            match (b, &line[..]) {
                (b'"' | b'\\', [b'\\', same]) => assert_eq!(*same, b),
                (b' '..=b'~', [same]) => assert_eq!(*same, b),
                (_, escaped) => assert_eq!(escaped, format!("\\x{b:02x}").as_bytes()),
            }
        }
    }
}
