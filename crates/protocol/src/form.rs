//! URL-encoded forms.

use crate::syntax;

/// Why a body cannot be read as a form. It is small and `Copy`, and has the status of the response.
///
/// ```
/// # use peregrine_protocol::form::FormError;
/// assert_eq!(FormError::NotUrlEncoded.status(), 415);
/// assert_eq!(FormError::TooManyPairs.to_string(), "too many fields in a form");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormError {
    /// There is not exactly one `Content-Type`, or it is not `application/x-www-form-urlencoded`:
    /// 415.
    NotUrlEncoded,
    /// More pairs than the limit: 413.
    TooManyPairs,
}

impl FormError {
    /// The status of the response.
    pub fn status(self) -> u16 {
        match self {
            FormError::NotUrlEncoded => 415,
            FormError::TooManyPairs => 413,
        }
    }
}

impl core::fmt::Display for FormError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            FormError::NotUrlEncoded => "not application/x-www-form-urlencoded",
            FormError::TooManyPairs => "too many fields in a form",
        })
    }
}

impl core::error::Error for FormError {}

/// Checks a body before its first pair is read. It counts the separators, which costs little, so a form is
/// read completely or not at all.
pub fn check(content_type: Option<&str>, body: &[u8], max_pairs: usize) -> Result<(), FormError> {
    let media_type = content_type.map(|value| essence(value.as_bytes()));
    let expected = b"application/x-www-form-urlencoded";
    if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(expected)) {
        return Err(FormError::NotUrlEncoded);
    }
    let pairs = match body {
        [] => 0,
        _ => memchr::memchr_iter(b'&', body).count() + 1,
    };
    match pairs <= max_pairs {
        true => Ok(()),
        false => Err(FormError::TooManyPairs),
    }
}

/// A media type, or any value with parameters, without them (RFC 9110 section 8.3.1).
pub fn essence(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    syntax::trim(&value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for (content_type, is_form) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-URLEncoded; charset=UTF-8", true),
            (" application/x-www-form-urlencoded\t;", true),
            ("application/x-www-form-urlencoded2", false),
            ("application/x-www-form-urlencoded, text/plain", false),
            ("multipart/form-data; boundary=a", false),
            ("text/plain;application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let found = check(Some(content_type), b"a=1", 1);
            let expected = match is_form {
                true => Ok(()),
                false => Err(FormError::NotUrlEncoded),
            };
            assert_eq!(found, expected, "{content_type}");
        }
        assert_eq!(check(None, b"", 1), Err(FormError::NotUrlEncoded));
    }

    #[test]
    fn pairs_are_counted_by_their_separators() {
        let content_type = Some("application/x-www-form-urlencoded");
        for (body, pairs) in [("", 0), ("a", 1), ("a=1&b=2", 2), ("&", 2), ("a%26b", 1)] {
            let body = body.as_bytes();
            assert_eq!(check(content_type, body, pairs), Ok(()));
            if let Some(fewer) = pairs.checked_sub(1) {
                let found = check(content_type, body, fewer);
                assert_eq!(found, Err(FormError::TooManyPairs));
            }
        }
    }
}
