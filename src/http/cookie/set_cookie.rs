//! A cookie that a response sets (RFC 6265 section 4.1).

use super::error::CookieError;
use crate::http::response::Response;
use crate::http::response::error::ResponseError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use peregrine_protocol::http::encode;
use peregrine_protocol::syntax;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Browsers ignore a cookie whose name and value are longer (RFC 6265 section 6.1).
const COOKIE_BYTES: usize = 4096;
/// Browsers ignore a longer attribute.
const ATTRIBUTE_BYTES: usize = 1024;

/// What [`SetCookie::text`] leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// With which requests of other sites a browser sends a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// With none of them.
    Strict,
    /// When the user follows a link, and not with forms, scripts and pictures of other sites.
    #[default]
    Lax,
    /// With all of them.
    None,
}

/// A cookie that a response sets. [`Response::set_cookie`] sends it.
///
/// By default it is `Secure`, `HttpOnly`, `SameSite=Lax`, has `Path=/` and no `Domain`, and ends with the
/// session of the browser. Most browsers take `Secure` cookies from `http://localhost` too.
///
/// ```
/// use peregrine::cookie::SetCookie;
/// use std::time::Duration;
///
/// let app = peregrine::from_fn(|_, res| {
///     let theme = SetCookie::new("theme", "dark").max_age(Duration::from_secs(3600));
///     res.set_cookie(&theme).text("saved")
/// });
/// let response = peregrine::testing::get(&app, "/");
/// assert_eq!(
///     response.header("set-cookie"),
///     Some("theme=dark; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax"),
/// );
/// ```
#[derive(Clone, Debug)]
#[must_use = "`Response::set_cookie` sends it"]
pub struct SetCookie {
    pub(super) name: String,
    pub(super) value: String,
    path: Option<String>,
    domain: Option<String>,
    max_age: Option<u64>,
    expires: Option<SystemTime>,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
    partitioned: bool,
}

impl SetCookie {
    /// A cookie with this value, which is sent as it is: ASCII without spaces and `",;\`.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> SetCookie {
        SetCookie {
            name: name.into(),
            value: value.into(),
            path: Some("/".to_owned()),
            domain: None,
            max_age: None,
            expires: None,
            secure: true,
            http_only: true,
            same_site: Some(SameSite::Lax),
            partitioned: false,
        }
    }

    /// A cookie with any text, percent-encoded. [`Request::cookie_text`](crate::Request::cookie_text) decodes
    /// it.
    pub fn text(name: impl Into<String>, text: impl AsRef<str>) -> SetCookie {
        SetCookie::new(
            name,
            utf8_percent_encode(text.as_ref(), ENCODED).to_string(),
        )
    }

    /// Removes the cookie `name` from the browser. `Path` and `Domain` must be those of the cookie.
    pub fn removal(name: impl Into<String>) -> SetCookie {
        // Both: RFC 6265 section 4.1.1 allows servers no `Max-Age=0`, and browsers prefer it to `Expires`.
        SetCookie::new(name, "")
            .max_age(Duration::ZERO)
            .expires(UNIX_EPOCH)
    }

    /// Sets `Path`: the browser sends the cookie with requests for this path and those below it. An empty
    /// text omits it. Default: `/`.
    pub fn path(mut self, path: impl Into<String>) -> SetCookie {
        self.path = Some(path.into()).filter(|path| !path.is_empty());
        self
    }

    /// Sets `Domain`: the browser sends the cookie to this host and its subdomains. Default: only to the host
    /// that has set it.
    pub fn domain(mut self, domain: impl Into<String>) -> SetCookie {
        self.domain = Some(domain.into());
        self
    }

    /// Sets `Max-Age`, in whole seconds: for so long the browser keeps the cookie. Default: until the browser
    /// is closed.
    pub fn max_age(mut self, age: Duration) -> SetCookie {
        self.max_age = Some(age.as_secs());
        self
    }

    /// Sets `Expires`. `Max-Age` has precedence over it.
    pub fn expires(mut self, at: SystemTime) -> SetCookie {
        self.expires = Some(at);
        self
    }

    /// Sets whether the browser sends the cookie over TLS only. Default: true.
    pub fn secure(mut self, secure: bool) -> SetCookie {
        self.secure = secure;
        self
    }

    /// Sets whether scripts of a page cannot read the cookie. Default: true.
    pub fn http_only(mut self, http_only: bool) -> SetCookie {
        self.http_only = http_only;
        self
    }

    /// Sets `SameSite`. Default: `Lax`.
    pub fn same_site(mut self, same_site: SameSite) -> SetCookie {
        self.same_site = Some(same_site);
        self
    }

    /// Sets whether the cookie is kept apart for each site that embeds this one. Default: false.
    pub fn partitioned(mut self, partitioned: bool) -> SetCookie {
        self.partitioned = partitioned;
        self
    }

    /// The value of the `Set-Cookie` field.
    ///
    /// # Errors
    ///
    /// [`CookieError`] for a cookie that browsers would ignore.
    pub fn to_field(&self) -> Result<String, CookieError> {
        self.check()?;
        let mut field = format!("{}={}", self.name, self.value);
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            _ = write!(field, "; {name}={value}");
        };
        if let Some(path) = &self.path {
            add("Path", path);
        }
        if let Some(domain) = &self.domain {
            add("Domain", domain);
        }
        if let Some(age) = self.max_age {
            add("Max-Age", &age);
        }
        if let Some(at) = self.expires {
            let unix = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            add(
                "Expires",
                &String::from_utf8_lossy(&encode::date(unix.as_secs())),
            );
        }
        for (is_set, name) in [
            (self.secure, "; Secure"),
            (self.http_only, "; HttpOnly"),
            (
                self.same_site == Some(SameSite::Strict),
                "; SameSite=Strict",
            ),
            (self.same_site == Some(SameSite::Lax), "; SameSite=Lax"),
            (self.same_site == Some(SameSite::None), "; SameSite=None"),
            (self.partitioned, "; Partitioned"),
        ] {
            field.push_str(if is_set { name } else { "" });
        }
        Ok(field)
    }

    fn check(&self) -> Result<(), CookieError> {
        if !syntax::is_token(self.name.as_bytes()) {
            return Err(CookieError::Name);
        }
        if !self.value.bytes().all(is_cookie_octet) {
            return Err(CookieError::Value);
        }
        if self.name.len() + self.value.len() > COOKIE_BYTES {
            return Err(CookieError::TooLong);
        }
        let is_attribute = |text: &String| {
            let is_char = |byte: u8| byte != b';' && !byte.is_ascii_control();
            text.len() <= ATTRIBUTE_BYTES && text.bytes().all(is_char)
        };
        let is_path = |path: &String| path.starts_with('/') && is_attribute(path);
        if !self.path.iter().all(is_path) || !self.domain.iter().all(is_attribute) {
            return Err(CookieError::Attribute);
        }
        // Browsers compare the prefixes without regard to case.
        let begins = |prefix: &str| {
            let start = self.name.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_of_host = self.domain.is_none() && self.path.as_deref() == Some("/");
        if (begins("__Secure-") || begins("__Host-")) && !self.secure
            || begins("__Host-") && !is_of_host
        {
            return Err(CookieError::Prefix);
        }
        match self.same_site == Some(SameSite::None) || self.partitioned {
            true if !self.secure => Err(CookieError::NotSecure),
            _ => Ok(()),
        }
    }
}

/// RFC 6265 section 4.1.1.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

impl<'a> Response<'a> {
    /// Sets a cookie in the browser: adds a `Set-Cookie` field. May be called for several cookies.
    ///
    /// # Errors
    ///
    /// For a cookie that browsers would ignore, the client gets 500 because of a
    /// [`ResponseError::Cookie`](crate::error::ResponseError::Cookie).
    pub fn set_cookie(self, cookie: &SetCookie) -> Response<'a> {
        match cookie.to_field() {
            Ok(field) => self.header("Set-Cookie", field),
            Err(error) => self.failing(ResponseError::Cookie(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_attributes() {
        let day = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let cookie = SetCookie::text("__Secure-a", "é; b")
            .path("/x")
            .domain("example.org")
            .max_age(Duration::from_millis(1_999))
            .expires(day)
            .http_only(false)
            .same_site(SameSite::None)
            .partitioned(true);
        assert_eq!(
            cookie.to_field().as_deref(),
            Ok(
                "__Secure-a=%C3%A9%3B%20b; Path=/x; Domain=example.org; Max-Age=1; \
                Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; SameSite=None; Partitioned"
            )
        );
        let bare = SetCookie::removal("a")
            .path("")
            .secure(false)
            .http_only(false);
        assert_eq!(
            bare.same_site(SameSite::Strict).to_field().as_deref(),
            Ok("a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Strict")
        );
    }

    #[test]
    fn cookies_that_browsers_ignore_are_errors() {
        let new = |name: &str, value: &str| SetCookie::new(name, value);
        let long = "x".repeat(1_025);
        for (cookie, expected) in [
            (new("", "x"), Err(CookieError::Name)),
            (new("a b", "x"), Err(CookieError::Name)),
            (new("a=b", "x"), Err(CookieError::Name)),
            (new("a", "x\r\ny: z"), Err(CookieError::Value)),
            (new("a", "é"), Err(CookieError::Value)),
            (new("a", "\"q\""), Err(CookieError::Value)),
            (new("a", "x;y"), Err(CookieError::Value)),
            (new("a", &"x".repeat(4_095)), Ok(())),
            (new("a", &"x".repeat(4_096)), Err(CookieError::TooLong)),
            (new("a", "x").path("x"), Err(CookieError::Attribute)),
            (new("a", "x").path("/;"), Err(CookieError::Attribute)),
            (
                new("a", "x").path(format!("/{long}")),
                Err(CookieError::Attribute),
            ),
            (new("a", "x").domain("b\n"), Err(CookieError::Attribute)),
            (new("__Host-a", "x"), Ok(())),
            (new("__Host-a", "x").path("/b"), Err(CookieError::Prefix)),
            (new("__Host-a", "x").path(""), Err(CookieError::Prefix)),
            (new("__hoST-a", "x").domain("b"), Err(CookieError::Prefix)),
            (new("__Host-a", "x").secure(false), Err(CookieError::Prefix)),
            (new("__Secure-a", "x").domain("b"), Ok(())),
            (
                new("__secure-a", "x").secure(false),
                Err(CookieError::Prefix),
            ),
            (
                new("a", "x").same_site(SameSite::None).secure(false),
                Err(CookieError::NotSecure),
            ),
            (
                new("a", "x").partitioned(true).secure(false),
                Err(CookieError::NotSecure),
            ),
        ] {
            assert_eq!(cookie.to_field().map(drop), expected, "{cookie:?}");
        }
    }

    #[test]
    fn every_byte_of_a_value() {
        for byte in 0..=u8::MAX {
            // RFC 6265 section 4.1.1, as it is written there.
            let expected = matches!(
                byte,
                0x21 | 0x23..=0x2B | 0x2D..=0x3A | 0x3C..=0x5B | 0x5D..=0x7E
            );
            assert_eq!(is_cookie_octet(byte), expected, "{byte}");
        }
    }

    #[test]
    fn any_text_comes_back() {
        let text: String = (0..0x250).filter_map(char::from_u32).collect();
        let sent = text.clone();
        let app = crate::from_fn(move |req, res| match req.cookie_text("t") {
            Some(text) => res.text(text),
            None => res.set_cookie(&SetCookie::text("t", &sent)).text(""),
        });
        let mut client = crate::testing::Client::new(&app);
        client.get("/").send();
        assert_eq!(client.get("/").send().text(), text);
        let bad = crate::from_fn(|_, res| res.set_cookie(&SetCookie::new("a", ";")).text(""));
        assert_eq!(crate::testing::get(&bad, "/").status(), 500);
    }
}
