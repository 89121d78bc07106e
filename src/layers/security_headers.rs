//! Fields that restrict what a browser does with a response.

use super::{Layer, Next};
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use peregrine_protocol::syntax;

/// Sets fields that restrict what a browser does with a response. They are in error responses, too.
///
/// | field | default | against |
/// |---|---|---|
/// | `X-Content-Type-Options` | `nosniff` | a file that is taken for a script |
/// | `X-Frame-Options` | `SAMEORIGIN` | a page of another origin that shows this one and takes its clicks |
/// | `Referrer-Policy` | `strict-origin-when-cross-origin` | paths and queries that reach other origins |
/// | `Cross-Origin-Opener-Policy` | `same-origin` | a window of another origin that has opened this one |
/// | `Cross-Origin-Resource-Policy` | `same-origin` | pages of other origins that embed a response |
///
/// Which scripts a page may run only the program knows: set `Content-Security-Policy`. `Strict-Transport-Security`
/// belongs to the settings of TLS. A handler that sets one of the fields replaces it, except
/// `Content-Security-Policy`: a response with two of them has to satisfy both (W3C CSP section 8.1).
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::SecurityHeaders;
///
/// let security = SecurityHeaders::new()
///     .set("Content-Security-Policy", "default-src 'self'")
///     .without("Cross-Origin-Resource-Policy");
/// let app = Router::new()
///     .get("/", |_, res| res.html("<h1>Notes</h1>"))
///     .get("/frame", |_, res| res.header("X-Frame-Options", "DENY").html("never in a frame"))
///     .layer(security);
/// # let response = peregrine::testing::get(&app, "/nothing");
/// # assert_eq!((response.status(), response.header("x-frame-options")), (404, Some("SAMEORIGIN")));
/// # assert_eq!(response.header("content-security-policy"), Some("default-src 'self'"));
/// # assert_eq!(response.header("cross-origin-resource-policy"), None);
/// # assert_eq!(peregrine::testing::get(&app, "/frame").header("x-frame-options"), Some("DENY"));
/// ```
#[derive(Clone, Debug)]
#[doc(alias("helmet", "secure_headers"))]
pub struct SecurityHeaders {
    fields: Vec<(String, String)>,
}

impl Default for SecurityHeaders {
    fn default() -> SecurityHeaders {
        SecurityHeaders::new()
    }
}

impl SecurityHeaders {
    /// The fields of the table.
    pub fn new() -> SecurityHeaders {
        let fields = [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "SAMEORIGIN"),
            ("Referrer-Policy", "strict-origin-when-cross-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        SecurityHeaders {
            fields: fields.into(),
        }
    }

    /// Sets a field, in place of one that is there.
    ///
    /// # Panics
    ///
    /// The name is not a token (RFC 9110 section 5.6.2), or the value has a control byte.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> SecurityHeaders {
        let is_valid =
            syntax::is_token(name.as_bytes()) && syntax::is_field_value(value.as_bytes());
        assert!(is_valid, "`{name}: {value}` is not a field");
        let mut without = self.without(name);
        without.fields.push((name.to_owned(), value.to_owned()));
        without
    }

    /// Does not set a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> SecurityHeaders {
        self.fields
            .retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    fn set_on<'r>(&self, res: Response<'r>) -> Response<'r> {
        let mut fields = self.fields.iter();
        fields
            .by_ref()
            .fold(res, |res, (name, value)| res.header_always(name, value))
    }
}

impl Layer for SecurityHeaders {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        next.run(req, self.set_on(res))
    }

    fn error_fields<'r>(&self, _: Option<&Request<'_>>, res: Response<'r>) -> Response<'r> {
        self.set_on(res)
    }
}
