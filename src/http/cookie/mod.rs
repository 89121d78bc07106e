//! Cookies (RFC 6265): those of a request, and those that a response sets.

pub(crate) mod error;
#[cfg(feature = "sessions")]
pub(crate) mod key;
pub(crate) mod set_cookie;

use crate::http::request::Request;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

impl<'a> Request<'a> {
    /// The cookies of the request, in order: names and values as sent. Quotes around a value are part of it,
    /// and `%` has no meaning (RFC 6265 section 4.1.1). What has no `=`, no name, or is not UTF-8 is left out.
    ///
    /// A page can read and set cookies of its site unless they are `HttpOnly`, and so can the user. A
    /// subdomain can set cookies for its parent, unless the name begins with `__Host-`. So a value is no proof
    /// of anything; signed and encrypted cookies need the feature `sessions`.
    ///
    /// The number of cookies is limited by [`Limits::head_bytes`](crate::Limits::head_bytes). Nothing is
    /// allocated for them.
    pub fn cookies(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        // HTTP/2 may have them in several fields (RFC 9113 section 8.2.3).
        self.header_all("cookie").flat_map(pairs)
    }

    /// The value of the first cookie `name`, as sent. Case matters. A browser sends the cookie with the
    /// longest `Path` first.
    ///
    /// ```
    /// # use peregrine::{Done, Request, Response};
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     res.text(req.cookie("theme").unwrap_or("light"))
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Client::new(&app);
    /// # client.set_cookie("theme", "dark");
    /// # assert_eq!(client.get("/").send().text(), "dark");
    /// ```
    #[doc(alias = "get_cookie")]
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let mut cookies = self.cookies();
        cookies
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The text of the first cookie `name`, which [`SetCookie::text`](crate::cookie::SetCookie::text) has set:
    /// without a pair of quotes around it, and percent-decoded. Invalid UTF-8 becomes U+FFFD.
    pub fn cookie_text(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.cookie(name)?;
        let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        Some(percent_decode_str(inner.unwrap_or(value)).decode_utf8_lossy())
    }
}

/// RFC 6265 section 4.2.1, and as lenient as section 5.2 with what browsers send.
fn pairs(field: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let parts = field.split(|byte| *byte == b';');
    let texts = parts.filter_map(|part| std::str::from_utf8(part).ok());
    texts.filter_map(|text| {
        let (name, value) = text.split_once('=')?;
        let (name, value) = (trim(name), trim(value));
        (!name.is_empty()).then_some((name, value))
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use crate::testing::Client;

    fn shown(fields: &[&str]) -> String {
        let app = crate::from_fn(|req, res| {
            let pairs: Vec<_> = req.cookies().map(|(n, v)| format!("<{n}|{v}>")).collect();
            res.text(pairs.concat())
        });
        let mut client = Client::new(&app);
        let request = fields.iter().fold(client.get("/"), |request, field| {
            request.header("Cookie", field)
        });
        request.send().text().to_owned()
    }

    #[test]
    fn pairs_are_read_as_browsers_send_them() {
        for (fields, expected) in [
            (&["a=1"][..], "<a|1>"),
            (&["a=1; b=2;c=3 ; d = 4"], "<a|1><b|2><c|3><d|4>"),
            (&["a=1", "b=2"], "<a|1><b|2>"),
            (&["a=\"q\""], "<a|\"q\">"),
            (&["a=%20"], "<a|%20>"),
            (&["a=b=c"], "<a|b=c>"),
            (&["a="], "<a|>"),
            (&["=a; b; ; ;="], ""),
            (&[""], ""),
            (&["a=1; a=2"], "<a|1><a|2>"),
            (&["A=1; a=ü"], "<A|1><a|ü>"),
        ] {
            assert_eq!(shown(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_left_out() {
        let app = crate::from_fn(|req, res| {
            assert_eq!(Vec::from_iter(req.cookies()), [("b", "1")]);
            res.text("")
        });
        let mut connection = crate::testing::Connection::new(&app);
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=\xff; b=1\r\n\r\n");
        assert!(connection.received().starts_with(b"HTTP/1.1 200 "));
    }

    #[test]
    fn ten_thousand_cookies_are_more_than_a_head_holds() {
        let app = crate::from_fn(|req, res| res.text(req.cookies().count().to_string()));
        let many = |count| vec!["a=1"; count].join("; ");
        let mut client = Client::new(&app);
        let fits = client.get("/").header("Cookie", &many(3_000)).send();
        assert_eq!(fits.text(), "3000");
        let refused = client.get("/").header("Cookie", &many(10_000)).send();
        assert_eq!(refused.status(), 431);
    }
}
