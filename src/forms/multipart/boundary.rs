//! The boundary of a form, from `Content-Type`.

use super::error::MultipartError;
use super::header::{Parameter, extends, parameters};
use peregrine_protocol::{form, syntax};

/// The boundary between the parts of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary<'a> {
    pub(super) bytes: &'a [u8],
    /// Number of its bytes on which all parsers of forms agree. If the boundary needs quotes and has none,
    /// some parsers end it at the first byte that is not of a token.
    pub(super) certain: usize,
}

/// The boundary of a `multipart/form-data` body, from its `Content-Type`.
pub(super) fn boundary(content_type: &[u8]) -> Result<Boundary<'_>, MultipartError> {
    const WRONG: MultipartError = MultipartError::Boundary;
    let essence = form::essence(content_type);
    if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
        return Err(MultipartError::NotFormData);
    }
    let mut boundary = None;
    for parameter in parameters(content_type) {
        let found = parameter.ok_or(WRONG)?;
        let is_boundary = found.name.eq_ignore_ascii_case(b"boundary");
        if is_boundary && boundary.replace(found).is_some() || extends(found.name, b"boundary") {
            return Err(WRONG);
        }
    }
    let found = boundary.filter(|found| is_boundary(found.value));
    let Parameter { value, quoted, .. } = found.ok_or(WRONG)?;
    let certain = match syntax::count(value, &syntax::TOKEN) {
        // Such parsers find no boundary.
        0 => value.len(),
        _ if quoted => value.len(),
        token => token,
    };
    Ok(Boundary {
        bytes: value,
        certain,
    })
}

/// RFC 2046 section 5.1.1. A boundary has no CR; the search for the delimiter relies on that.
fn is_boundary(bytes: &[u8]) -> bool {
    let special = |b: &u8| b"'()+_,-./:=? ".contains(b);
    let is_bchar = |b: &u8| b.is_ascii_alphanumeric() || special(b);
    (1..=70).contains(&bytes.len()) && bytes.iter().all(is_bchar) && !bytes.ends_with(b" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let seventy = "x".repeat(70);
        for good in ["a", "'()+_,-./:=?", "a b", "0aZ", &seventy] {
            let quoted = format!("multipart/form-data; boundary=\"{good}\"");
            let expected = Boundary {
                bytes: good.as_bytes(),
                certain: good.len(),
            };
            assert_eq!(boundary(quoted.as_bytes()), Ok(expected));
        }
        for bad in ["", "a ", "a\\b", "a\u{e9}", "a\tb", &"x".repeat(71)] {
            let quoted = format!("multipart/form-data; boundary=\"{bad}\"");
            assert_eq!(boundary(quoted.as_bytes()), Err(MultipartError::Boundary));
        }
        for b in 0..=255_u8 {
            let is_bchar = b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
            assert_eq!(is_boundary(&[b, b'x']), is_bchar, "{b:#x}");
        }
    }

    #[test]
    fn content_types() {
        const NO: Result<&[u8], MultipartError> = Err(MultipartError::Boundary);
        const OTHER: Result<&[u8], MultipartError> = Err(MultipartError::NotFormData);
        for (content_type, expected) in [
            ("multipart/form-data; boundary=ab", Ok(&b"ab"[..])),
            (
                "Multipart/Form-Data ;charset=utf-8;BOUNDARY=ab ; ;",
                Ok(b"ab"),
            ),
            (
                "multipart/form-data; x=\"; boundary=cd\\\"\"; boundary=ab",
                Ok(b"ab"),
            ),
            ("multipart/form-data; xboundary=cd; boundary=ab", Ok(b"ab")),
            ("multipart/form-data", NO),
            ("multipart/form-data; boundary", NO),
            ("multipart/form-data; boundary=", NO),
            ("multipart/form-data; boundary =ab", Ok(b"ab")),
            ("multipart/form-data; boundary= ab", Ok(b"ab")),
            ("multipart/form-data; boundary\t= \"ab\" ;", Ok(b"ab")),
            ("multipart/form-data; boundary=a:b", Ok(b"a:b")),
            (
                "multipart/form-data; boundary==_/+a:b=; charset=utf-8",
                Ok(b"=_/+a:b="),
            ),
            ("multipart/form-data; charset =utf-8; boundary=ab", NO),
            ("multipart/form-data; charset=a/b; boundary=ab", NO),
            ("multipart/form-data; boundary=a b", NO),
            ("multipart/form-data; boundary=a,b", NO),
            ("multipart/form-data; boundary=a?b", NO),
            ("multipart/form-data; boundary= =ab; boundary=cd", NO),
            ("multipart/form-data; boundary=ab; boundary=ab", NO),
            (
                "multipart/form-data; boundary=ab, text/plain; boundary=cd",
                NO,
            ),
            ("multipart/form-data; boundary=ab; boundary*=cd", NO),
            ("multipart/form-data; Boundary*0=cd; boundary=ab", NO),
            ("multipart/form-data; boundary=ab; x*=cd", Ok(b"ab")),
            ("multipart/form-data; boundary=\"ab", NO),
            ("multipart/form-data; boundary=ab\"", NO),
            ("multipart/mixed; boundary=ab", OTHER),
            ("multipart/form-data2; boundary=ab", OTHER),
            ("; boundary=ab", OTHER),
            ("", OTHER),
        ] {
            let found = boundary(content_type.as_bytes()).map(|found| found.bytes);
            assert_eq!(found, expected, "{content_type}");
        }
        for (unquoted, certain) in [("ab", 2), ("a:b", 1), ("----=_x", 4), ("=_x", 3), ("a/", 1)] {
            let content_type = format!("multipart/form-data; boundary={unquoted}");
            let found = boundary(content_type.as_bytes()).map(|found| found.certain);
            assert_eq!(found, Ok(certain), "{unquoted}");
        }
    }
}
