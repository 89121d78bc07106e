//! Why a cookie cannot be set.

/// Why a cookie cannot be set. Browsers would ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is not a token.
    Name,
    /// The value has a space, comma, semicolon, backslash, quote, control character, or one that is not
    /// ASCII. [`SetCookie::text`](crate::cookie::SetCookie::text) encodes these.
    Value,
    /// `Path` or `Domain` has a semicolon, a control character, more than 1,024 bytes, or the path does not
    /// begin with a slash.
    Attribute,
    /// Name and value have more than 4,096 bytes.
    TooLong,
    /// The name begins with `__Secure-` and the cookie is not `Secure`; or it begins with `__Host-` and the
    /// cookie is not `Secure`, has a `Domain`, or a `Path` other than `/`.
    Prefix,
    /// `SameSite=None` or `Partitioned` without `Secure`.
    NotSecure,
}

impl std::fmt::Display for CookieError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CookieError::Name => "the name of a cookie is not a token",
            CookieError::Value => "a character that the value of a cookie cannot have",
            CookieError::Attribute => "a malformed attribute of a cookie",
            CookieError::TooLong => "a cookie of more than 4096 bytes",
            CookieError::Prefix => "attributes that the prefix of the cookie excludes",
            CookieError::NotSecure => "a cookie for other sites that is not Secure",
        })
    }
}

impl std::error::Error for CookieError {}
