//! Authentication by `Authorization`: basic (RFC 7617) and bearer (RFC 6750).

use super::Layer;
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::http::request_body::Respond;
use std::hint::black_box;

/// Whether a secret that a client has sent is the right one. The time that it takes does not depend on how many bytes are
/// right. It may depend on the lengths, so the length of a secret must not be secret.
///
/// ```
/// use peregrine::layers::is_same_secret;
///
/// assert!(is_same_secret(b"opensesame", b"opensesame"));
/// assert!(!is_same_secret(b"opensesamf", b"opensesame"));
/// ```
#[doc(alias("constant_time_eq", "timing_safe_equal"))]
pub fn is_same_secret(sent: &[u8], right: &[u8]) -> bool {
    let mut differs = usize::from(sent.len() != right.len());
    let right = right.iter().chain(std::iter::repeat(&0));
    for (byte, other) in sent.iter().zip(right) {
        differs = black_box(differs | usize::from(byte ^ other));
    }
    differs == 0
}

type PasswordCheck = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Lets requests pass that have the name and the password of a user (RFC 7617). Others get 401, and a browser asks its user.
///
/// Name and password are readable on the way: use it with TLS only. `check` is called for each request, so a hash for
/// passwords that is slow on purpose holds its worker each time; for a request with a body it is called twice. A limit on attempts is that of
/// [`RateLimit`](crate::layers::RateLimit).
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::BasicAuth;
/// use peregrine::testing::Client;
///
/// let app = Router::new()
///     .get("/", |req, res| {
///         let (user, _) = req.basic_auth().unwrap_or_default();
///         res.text(format!("Hello, {user}!"))
///     })
///     .layer(BasicAuth::user("notes", "ada", "lovelace"));
/// let mut client = Client::new(&app);
/// let refused = client.get("/").send();
/// assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"notes\", charset=\"UTF-8\""));
/// let response = client.get("/").header("Authorization", "Basic YWRhOmxvdmVsYWNl").send();
/// assert_eq!(response.text(), "Hello, ada!");
/// ```
pub struct BasicAuth {
    realm: String,
    check: PasswordCheck,
}

impl BasicAuth {
    /// `check` decides about name and password. `realm` names what is protected; browsers show it. A password is compared by
    /// [`is_same_secret`].
    ///
    /// # Panics
    ///
    /// `realm` has a quotation mark, a backslash, or a byte that is not visible ASCII or a space.
    pub fn new(
        realm: &str,
        check: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> BasicAuth {
        BasicAuth {
            realm: valid_realm(realm),
            check: Box::new(check),
        }
    }

    /// Lets one user pass.
    ///
    /// # Panics
    ///
    /// Those of [`BasicAuth::new`]. `name` has a colon, which ends a name (RFC 7617 section 2), or `password` is empty.
    #[track_caller]
    pub fn user(realm: &str, name: &str, password: &str) -> BasicAuth {
        assert!(!name.contains(':'), "`{name}` has a colon");
        assert!(!password.is_empty(), "`{name}` has no password");
        let (name, password) = (name.to_owned(), password.to_owned());
        BasicAuth::new(realm, move |sent_name, sent_password| {
            let is_name = is_same_secret(sent_name.as_bytes(), name.as_bytes());
            is_same_secret(sent_password.as_bytes(), password.as_bytes()) & is_name
        })
    }
}

impl Layer for BasicAuth {
    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        let sent = req.basic_auth();
        match sent.is_some_and(|(name, password)| (self.check)(&name, &password)) {
            true => None,
            false => unauthorized(format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.realm)),
        }
    }
}

impl std::fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BasicAuth").field(&self.realm).finish()
    }
}

/// Lets requests pass that have a token (RFC 6750). Others get 401.
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::BearerAuth;
/// use peregrine::testing::Client;
///
/// let app = Router::new()
///     .get("/", |_, res| res.text("numbers"))
///     .layer(BearerAuth::tokens("api", ["c3VyZ2U"]));
/// let mut client = Client::new(&app);
/// assert_eq!(client.get("/").send().status(), 401);
/// let response = client.get("/").header("Authorization", "Bearer c3VyZ2U").send();
/// assert_eq!(response.text(), "numbers");
/// ```
pub struct BearerAuth {
    realm: String,
    check: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl BearerAuth {
    /// `check` decides about a token. `realm` names what is protected. A token is compared by [`is_same_secret`].
    ///
    /// # Panics
    ///
    /// `realm` has a quotation mark, a backslash, or a byte that is not visible ASCII or a space.
    pub fn new(realm: &str, check: impl Fn(&str) -> bool + Send + Sync + 'static) -> BearerAuth {
        BearerAuth {
            realm: valid_realm(realm),
            check: Box::new(check),
        }
    }

    /// Lets each of these tokens pass.
    ///
    /// # Panics
    ///
    /// Those of [`BearerAuth::new`].
    pub fn tokens<I: IntoIterator<Item: Into<String>>>(realm: &str, tokens: I) -> BearerAuth {
        let tokens: Vec<String> = tokens.into_iter().map(Into::into).collect();
        BearerAuth::new(realm, move |sent| {
            let is_one = |token: &String| is_same_secret(sent.as_bytes(), token.as_bytes());
            // All of them are compared, so that the time does not tell which one it is.
            tokens
                .iter()
                .fold(false, |found, token| found | is_one(token))
        })
    }
}

impl Layer for BearerAuth {
    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        let sent = req.bearer_token();
        if sent.is_some_and(|token| (self.check)(token)) {
            return None;
        }
        let why = match sent {
            Some(_) => ", error=\"invalid_token\"",
            None => "",
        };
        unauthorized(format!("Bearer realm=\"{}\"{why}", self.realm))
    }
}

impl std::fmt::Debug for BearerAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BearerAuth").field(&self.realm).finish()
    }
}

#[track_caller]
fn valid_realm(realm: &str) -> String {
    let is_valid = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    assert!(realm.bytes().all(is_valid), "`{realm}` is not a realm");
    realm.to_owned()
}

fn unauthorized(challenge: String) -> Option<Respond> {
    Some(Box::new(move |req, res| {
        let res = res.header("WWW-Authenticate", challenge);
        Problem::new(401).respond_to(req, res)
    }))
}

#[cfg(test)]
mod tests {
    use super::{BasicAuth, is_same_secret};
    use crate::shared::panic_guard::catch;

    #[test]
    fn a_user_that_can_never_pass_or_needs_no_password_is_refused() {
        let is_refused = |name: &'static str, password: &'static str| {
            catch(|| BasicAuth::user("a", name, password)).is_err()
        };
        assert!(is_refused("a:b", "secret") && is_refused("a", ""));
        assert!(!is_refused("a", "sec:ret") && !is_refused("", "secret"));
    }

    #[test]
    fn secrets_are_the_same_only_if_all_bytes_are() {
        let right = b"secret";
        assert!(is_same_secret(right, right) && is_same_secret(b"", b""));
        for sent in [
            &b""[..],
            b"s",
            b"secre",
            b"secretsecret",
            b"secrets",
            b"Secret",
            b"secreT",
        ] {
            assert!(
                !is_same_secret(sent, right) && !is_same_secret(right, sent),
                "{sent:?}"
            );
        }
        assert!(!is_same_secret(b"a", b"") && !is_same_secret(b"\0", b""));
    }
}
