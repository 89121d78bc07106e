//! A client in memory that sends requests and reads responses, for tests of a program.

use super::Connection;
use super::client_response::ClientResponse;
use crate::config::Config;
use crate::http::handler::Handler;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A test waits so long for a response that another thread sends.
const PATIENCE: Duration = Duration::from_secs(60);

/// A body that the connection pulls from a source is asked again after this time.
const PAUSE: Duration = Duration::from_millis(10);

/// Redirects that are followed for one request.
const REDIRECTS: usize = 10;

/// Sends a GET to `handler`, and returns the response. A [`Client`] has more.
///
/// # Panics
///
/// As [`ClientRequest::send`].
///
/// ```
/// let app = peregrine::from_fn(|req, res| res.text(req.path()));
/// let response = peregrine::testing::get(&app, "/x");
/// assert_eq!((response.status(), response.text()), (200, "/x"));
/// ```
#[track_caller]
pub fn get<H: Handler>(handler: &H, target: &str) -> ClientResponse {
    Client::new(handler).get(target).send()
}

/// Sends a POST with these bytes, and returns the response.
///
/// # Panics
///
/// As [`ClientRequest::send`].
#[track_caller]
pub fn post<H: Handler>(handler: &H, target: &str, body: impl AsRef<[u8]>) -> ClientResponse {
    Client::new(handler).post(target).body(body).send()
}

/// Sends a POST with a URL-encoded form of these pairs, and returns the response.
///
/// # Panics
///
/// As [`ClientRequest::send`].
///
/// ```
/// let app = peregrine::from_fn(|req, res| res.text(req.form("name").unwrap_or_default()));
/// let response = peregrine::testing::post_form(&app, "/", &[("name", "Ada L.")]);
/// assert_eq!(response.text(), "Ada L.");
/// ```
#[track_caller]
pub fn post_form<H: Handler>(handler: &H, target: &str, pairs: &[(&str, &str)]) -> ClientResponse {
    Client::new(handler).post(target).form(pairs).send()
}

/// Sends a POST with a value in JSON, and returns the response. Needs the feature `json`.
///
/// # Panics
///
/// As [`ClientRequest::send`] and [`ClientRequest::json`].
#[cfg(feature = "json")]
#[track_caller]
pub fn post_json<H: Handler>(
    handler: &H,
    target: &str,
    value: &(impl serde::Serialize + ?Sized),
) -> ClientResponse {
    Client::new(handler).post(target).json(value).send()
}

/// A client of a handler, in memory. It keeps cookies from one request to the next.
///
/// The code that serves real connections serves its requests, each on a new [`Connection`]. `Host` is `test`.
/// The time is constant, so [`Timers`](crate::timers::Timers) and timeouts need a [`Connection`], as do
/// responses that never end.
///
/// ```
/// use peregrine::testing::Client;
///
/// let app = peregrine::from_fn(|req, res| match (req.method(), req.path()) {
///     ("POST", "/login") => res.header("Set-Cookie", "user=Ada; Path=/").redirect(303, "/"),
///     _ => res.text(req.header("cookie").unwrap_or("no cookies")),
/// });
/// let mut client = Client::new(&app).follow_redirects();
/// assert_eq!(client.get("/").send().text(), "no cookies");
/// assert_eq!(client.post("/login").form(&[("name", "Ada")]).send().text(), "user=Ada");
/// assert_eq!(client.cookie("user"), Some("Ada"));
/// ```
#[derive(Debug)]
pub struct Client<'h, H: Handler> {
    pub(super) handler: &'h H,
    config: Config,
    peer: SocketAddr,
    redirects: usize,
    cookies: Vec<Cookie>,
}

/// A cookie that a response has set (RFC 6265 section 5.3).
#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

impl<'h, H: Handler> Client<'h, H> {
    /// A client of `handler`, at the address 127.0.0.1:1.
    pub fn new(handler: &'h H) -> Client<'h, H> {
        Client {
            handler,
            config: Config::default(),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            redirects: 0,
            cookies: Vec::new(),
        }
    }

    /// Sets the configuration of the server: the parts that [`Connection::with_config`] uses.
    pub fn config(mut self, config: Config) -> Client<'h, H> {
        self.config = config;
        self
    }

    /// Sets the address of the client.
    #[doc(alias = "remote_addr")]
    pub fn peer(mut self, peer: SocketAddr) -> Client<'h, H> {
        self.peer = peer;
        self
    }

    /// Follows redirects to this host, at most 10 for each request (RFC 9110 section 15.4). After 303, and
    /// after a POST that gets 301 or 302, it sends a GET without the body; otherwise it sends the same request again.
    /// Default: off.
    pub fn follow_redirects(mut self) -> Client<'h, H> {
        self.redirects = REDIRECTS;
        self
    }

    /// Begins a GET.
    pub fn get<'c>(&'c mut self, target: &str) -> ClientRequest<'c, 'h, H> {
        self.request("GET", target)
    }

    /// Begins a POST.
    pub fn post<'c>(&'c mut self, target: &str) -> ClientRequest<'c, 'h, H> {
        self.request("POST", target)
    }

    /// Begins a request with this method.
    ///
    /// # Panics
    ///
    /// The method or target is empty, or has a white space or a control character.
    #[doc(alias("put", "delete", "patch", "head"))]
    #[track_caller]
    pub fn request<'c>(&'c mut self, method: &str, target: &str) -> ClientRequest<'c, 'h, H> {
        for part in [method, target] {
            let is_one = !part.is_empty() && !part.contains(|c: char| c <= ' ' || c == '\x7f');
            assert!(is_one, "{part:?} is no part of a request line");
        }
        ClientRequest {
            client: self,
            method: method.to_owned(),
            target: target.to_owned(),
            fields: String::new(),
            body: None,
        }
    }

    /// The value of a cookie that the client has.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let found = self.cookies.iter().find(|cookie| cookie.name == name)?;
        Some(&found.value)
    }

    /// Gives a cookie to the client, for all paths. It replaces those of this name.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.retain(|cookie| cookie.name != name);
        self.cookies.push(Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            path: "/".to_owned(),
        });
    }

    /// Keeps or removes the cookie of a `Set-Cookie` field, by `Path` and `Max-Age`. Other attributes are not
    /// looked at: the client also sends cookies that are `Secure`.
    fn keep(&mut self, field: &str, target: &str) {
        let mut parts = field.split(';').map(str::trim);
        let pair = parts.next().and_then(|pair| pair.split_once('='));
        let Some((name, value)) = pair else { return };
        // RFC 6265 section 5.1.4.
        let path = target.split('?').next().unwrap_or("/");
        let default = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let mut cookie = Cookie {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            path: if default.is_empty() { "/" } else { default }.to_owned(),
        };
        let mut is_removed = false;
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            if key.eq_ignore_ascii_case("path") && value.starts_with('/') {
                value.clone_into(&mut cookie.path);
            } else if key.eq_ignore_ascii_case("max-age") {
                is_removed = value.parse().is_ok_and(|seconds: i64| seconds <= 0);
            }
        }
        let is_same = |old: &Cookie| old.name == cookie.name && old.path == cookie.path;
        self.cookies.retain(|old| !is_same(old));
        if !is_removed {
            self.cookies.push(cookie);
        }
    }

    /// The `Cookie` field for a target, or nothing.
    pub(super) fn cookie_field(&self, target: &str) -> String {
        let path = target.split('?').next().unwrap_or("/");
        let pairs = self.cookies.iter().filter(|cookie| cookie.is_for(path));
        let pairs: Vec<_> = pairs
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        match pairs.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", pairs.join("; ")),
        }
    }

    #[track_caller]
    fn exchange(
        &mut self,
        method: &str,
        target: &str,
        rest: &(String, Option<Vec<u8>>),
    ) -> ClientResponse {
        let (fields, body) = rest;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}");
        head.push_str(&self.cookie_field(target));
        if let Some(body) = body {
            _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body.as_deref().unwrap_or_default());
        let mut connection = Connection::with_config(self.handler, &self.config, self.peer);
        connection.send(&bytes);
        let (is_bare, begun) = (method == "HEAD", Instant::now());
        loop {
            let ended = connection.is_closed();
            let response = ClientResponse::parse(connection.received(), is_bare, ended);
            if let Some(response) = response {
                for field in response.header_all("set-cookie") {
                    self.keep(field, target);
                }
                return response;
            }
            let received = || connection.received().escape_ascii().to_string();
            assert!(!ended, "the connection was closed after: {}", received());
            let is_late = begun.elapsed() > PATIENCE;
            assert!(!is_late, "no complete response: {}", received());
            // A body that the connection pulls from a source makes a pause while the source has no bytes.
            connection.wait(PAUSE);
        }
    }
}

impl Cookie {
    /// RFC 6265 section 5.1.4.
    fn is_for(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&*self.path);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
        })
    }
}

/// A request that is not sent yet. [`Client::request`] makes it.
#[derive(Debug)]
#[must_use = "`send` sends it"]
pub struct ClientRequest<'c, 'h, H: Handler> {
    client: &'c mut Client<'h, H>,
    method: String,
    target: String,
    fields: String,
    body: Option<Vec<u8>>,
}

impl<H: Handler> ClientRequest<'_, '_, H> {
    /// Adds a field. `Host`, `Content-Length` and the cookies of the client are there already.
    ///
    /// # Panics
    ///
    /// The name or value has a line break.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let is_line = !name.contains(['\r', '\n']) && !value.contains(['\r', '\n']);
        assert!(is_line, "a line break in a field");
        _ = write!(self.fields, "{name}: {value}\r\n");
        self
    }

    /// Sets the body. No `Content-Type` is added.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Sets the body and `Content-Type` to a URL-encoded form.
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(pairs);
        self.header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.finish())
    }

    /// Sets the body and `Content-Type` to a value in JSON. Needs the feature `json`.
    ///
    /// # Panics
    ///
    /// The value cannot be written as JSON.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json(self, value: &(impl serde::Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(value).expect("a value that can be written as JSON");
        self.header("Content-Type", "application/json").body(body)
    }

    /// Sends the request, and returns the complete response. A response that another thread sends is waited
    /// for, at most a minute.
    ///
    /// # Panics
    ///
    /// There is no complete response: the connection was closed before, the minute has passed, or more than
    /// 10 redirects came.
    #[track_caller]
    pub fn send(self) -> ClientResponse {
        let (client, mut method, mut target) = (self.client, self.method, self.target);
        let mut rest = (self.fields, self.body);
        let mut redirects = client.redirects;
        loop {
            let response = client.exchange(&method, &target, &rest);
            let location = response.header("location").unwrap_or_default();
            let next = match response.status() {
                301 | 302 | 303 | 307 | 308 if client.redirects > 0 => resolve(&target, location),
                _ => None,
            };
            let Some(next) = next else {
                return response;
            };
            assert!(redirects > 0, "more than {REDIRECTS} redirects");
            redirects -= 1;
            let is_get = match response.status() {
                303 => method != "HEAD",
                301 | 302 => method == "POST",
                _ => false,
            };
            if is_get {
                method = "GET".to_owned();
                let is_of_body = |line: &&str| {
                    let name = line.get(..8).unwrap_or_default();
                    name.eq_ignore_ascii_case("content-")
                };
                let lines = rest.0.split_inclusive("\r\n");
                rest = (lines.filter(|line| !is_of_body(line)).collect(), None);
            }
            target = next;
        }
    }
}

/// The target on this host to which a location leads, if it leads there (RFC 3986 section 5.2, without dot
/// segments).
fn resolve(target: &str, location: &str) -> Option<String> {
    let location = location.split('#').next()?;
    let absolute = location
        .strip_prefix("http://")
        .or(location.strip_prefix("https://"));
    let location = match absolute {
        Some(rest) => match rest.strip_prefix("test")? {
            "" => "/",
            rest => rest,
        },
        None => location,
    };
    let path = target.split('?').next()?;
    match location.as_bytes() {
        [] | [b'/', b'/', ..] => None,
        [b'/', ..] => Some(location.to_owned()),
        [b'?', ..] if absolute.is_none() => Some(format!("{path}{location}")),
        _ if absolute.is_none() && !location.contains("://") => {
            let folder = path.rsplit_once('/')?.0;
            Some(format!("{folder}/{location}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for (target, location, expected) in [
            ("/a/b?q", "/c?d#e", Some("/c?d")),
            ("/a/b?q", "c", Some("/a/c")),
            ("/a/b?q", "?r", Some("/a/b?r")),
            ("/", "http://test/x", Some("/x")),
            ("/", "https://test", Some("/")),
            ("/", "http://test.example/x", None),
            ("/", "http://other/x", None),
            ("/", "//other/x", None),
            ("/", "mailto://x", None),
            ("/", "", None),
        ] {
            assert_eq!(resolve(target, location).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn cookies_are_kept_by_path_and_removed() {
        let app = crate::from_fn(|req, res| match req.path() {
            "/a/set" => res.header("Set-Cookie", "a=1").text(""),
            "/end" => res.header("Set-Cookie", "a=; Path=/a; Max-Age=0").text(""),
            _ => res.text(req.header("cookie").unwrap_or("none")),
        });
        let mut client = Client::new(&app);
        client.get("/a/set").send();
        client.set_cookie("b", "2");
        assert_eq!(client.get("/a/x?y").send().text(), "a=1; b=2");
        assert_eq!(client.get("/ab").send().text(), "b=2");
        client.get("/end").send();
        assert_eq!(client.get("/a/x").send().text(), "b=2");
    }

    #[test]
    #[should_panic(expected = "more than 10 redirects")]
    fn redirects_end() {
        let app = crate::from_fn(|_, res| res.redirect(307, "/again"));
        assert_eq!(get(&app, "/").status(), 307);
        let mut client = Client::new(&app).follow_redirects();
        client.post("/").body("x").send();
    }

    #[test]
    fn late_and_streamed_responses_are_waited_for() {
        let app = crate::from_fn(|req, res| match req.path() {
            "/pool" => res.offload(req, |req, res| res.text(req.method())),
            _ => res.send_iter(["a", "b"]),
        });
        assert_eq!(post(&app, "/pool", "").text(), "POST");
        assert_eq!(get(&app, "/").text(), "ab");
        let head = Client::new(&app).request("HEAD", "/").send();
        assert_eq!((head.status(), head.body()), (200, &b""[..]));
    }
}
