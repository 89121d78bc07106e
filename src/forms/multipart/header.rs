//! Header fields of a part.

use super::error::MultipartError;
use peregrine_protocol::h1::head;
use peregrine_protocol::{form, syntax};
use std::borrow::Cow;

/// The header of a part (RFC 7578 section 4): its name, and for a file the file name and the type.
///
/// Names are as the client sent them, with two changes. Bytes that are not UTF-8 become U+FFFD. The
/// replacements of browsers for bytes that cannot stand in quotes are undone: `%22`, `%0D` and `%0A`, which
/// the URL standard's form encoding writes for `"`, CR and LF, and the `\"` and `\\` of older clients. So a
/// name may contain any character.
///
/// Other header fields are ignored, as RFC 7578 section 4.8 requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHead<'a> {
    pub(crate) name: &'a str,
    pub(crate) file_name: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
}

impl<'a> PartHead<'a> {
    /// The name of the field in the form. Several parts may have the same name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The name of the file on the client's disk. A part with a file name is a file. The name is empty if the
    /// user has chosen no file in a browser.
    ///
    /// The name is whatever the client sends, possibly a path or nonsense. To show it to a person, use
    /// [`display_name`](crate::multipart::display_name). Never open a file by it.
    ///
    /// The parameter `filename` is used. RFC 7578 section 4.2 forbids `filename*`, but some clients send it
    /// for names outside ASCII. It is ignored if there is also `filename`. Alone it is decoded (RFC 8187), or
    /// is [an error](MultipartError::ExtendedFileName) if it is not UTF-8 or ISO-8859-1.
    pub fn file_name(&self) -> Option<&'a str> {
        self.file_name
    }

    /// The media type that the client sends for the part. `None` means `text/plain` (RFC 7578 section 4.4).
    /// It is not checked.
    pub fn content_type(&self) -> Option<&'a str> {
        self.content_type
    }
}

/// The fields that were read of the header of a part.
#[derive(Debug, Default)]
pub(super) struct Draft {
    name: Option<String>,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl Draft {
    /// Reads a header line, with its CRLF.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), MultipartError> {
        let (field, _) = head::split_field(line, 0).map_err(|_| MultipartError::Header)?;
        let (name, value) = (field.name.of(line), field.value.of(line));
        if name.eq_ignore_ascii_case(b"content-disposition") {
            self.disposition(value)
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let first = self.content_type.replace(lossy(value));
            first.map_or(Ok(()), |_| Err(MultipartError::Header))
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let plain: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
            let is_plain = plain.iter().any(|name| value.eq_ignore_ascii_case(name));
            is_plain
                .then_some(())
                .ok_or(MultipartError::TransferEncoding)
        } else {
            Ok(())
        }
    }

    /// The complete header.
    pub(super) fn head(&self) -> Result<PartHead<'_>, MultipartError> {
        Ok(PartHead {
            name: self.name.as_deref().ok_or(MultipartError::Disposition)?,
            file_name: self.file_name.as_deref(),
            content_type: self.content_type.as_deref(),
        })
    }

    /// RFC 7578 section 4.2. Of two parameters with the same name, other parsers could take the other one.
    fn disposition(&mut self, value: &[u8]) -> Result<(), MultipartError> {
        const WRONG: MultipartError = MultipartError::Disposition;
        // Some clients write the value for a part of a mail.
        let kinds: [&[u8]; 2] = [b"form-data", b"attachment"];
        let kind = form::essence(value);
        if self.name.is_some() || !kinds.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Err(WRONG);
        }
        let mut extended = None;
        for parameter in parameters(value) {
            let Parameter { name, value, .. } = parameter.ok_or(WRONG)?;
            let is_repeated = if name.eq_ignore_ascii_case(b"name") {
                self.name.replace(lossy(&unescape(value))).is_some()
            } else if name.eq_ignore_ascii_case(b"filename") {
                self.file_name.replace(lossy(&unescape(value))).is_some()
            } else if name.eq_ignore_ascii_case(b"filename*") {
                extended.replace(value).is_some()
            } else {
                extends(name, b"name") || extends(name, b"filename")
            };
            if is_repeated {
                return Err(WRONG);
            }
        }
        match (&self.name, &self.file_name, extended) {
            (None, ..) => return Err(WRONG),
            (_, None, Some(value)) => {
                let name = decode_extended(value).ok_or(MultipartError::ExtendedFileName)?;
                self.file_name = Some(name);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a parameter replaces or extends the value of `known`, by RFC 2231: `name*`, `name*0`, `name*0*`.
/// Some parsers of forms join them, others ignore them.
pub(super) fn extends(name: &[u8], known: &[u8]) -> bool {
    let rest = name.split_at_checked(known.len());
    rest.is_some_and(|(first, rest)| first.eq_ignore_ascii_case(known) && rest.starts_with(b"*"))
}

/// `charset "'" [ language ] "'" value` (RFC 8187 section 3.2). `None` if it is malformed.
fn decode_extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |&b| b == b'\'');
    let (charset, _language, value) = (parts.next()?, parts.next()?, parts.next()?);
    let (mut bytes, mut rest) = (Vec::new(), value);
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let digit = |b: &u8| char::from(*b).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            (b'*' | b'\'' | b'%', _) => return None,
            (b, _) if syntax::TOKEN[usize::from(*b)] => *b,
            _ => return None,
        });
    }
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The parameters after a value, `*( OWS ";" OWS [ name "=" value ] )` (RFC 9110 section 5.6.6). A malformed
/// one gives `None` and is the last.
///
/// A value is a token, or the content of a quoted string with its escapes.
pub(super) fn parameters(value: &[u8]) -> impl Iterator<Item = Option<Parameter<'_>>> {
    let mut rest = &value[memchr::memchr(b';', value).unwrap_or(value.len())..];
    std::iter::from_fn(move || {
        loop {
            rest = syntax::trim(rest);
            if rest.is_empty() {
                return None;
            }
            // A semicolon at the end is allowed.
            rest = match rest.strip_prefix(b";") {
                Some(after) => syntax::trim(after),
                None => break,
            };
            if !rest.starts_with(b";") && !rest.is_empty() {
                if let Some((parameter, after)) = parameter(rest) {
                    rest = after;
                    return Some(Some(parameter));
                }
                break;
            }
        }
        rest = b"";
        Some(None)
    })
}

#[derive(Clone, Copy)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) quoted: bool,
}

/// `name "=" value` at the front of `bytes`, and the bytes after it. Some clients write a boundary with
/// spaces around the equals sign, which other parsers accept or refuse, or without the quotes that it needs:
/// see [`Boundary::certain`](super::boundary::Boundary::certain).
fn parameter(bytes: &[u8]) -> Option<(Parameter<'_>, &[u8])> {
    let token = |bytes| syntax::count(bytes, &syntax::TOKEN);
    let (name, rest) = bytes.split_at(token(bytes));
    let is_boundary = name.eq_ignore_ascii_case(b"boundary");
    let blanks = |bytes| {
        if is_boundary {
            syntax::trim_start(bytes)
        } else {
            bytes
        }
    };
    let value = blanks(blanks(rest).strip_prefix(b"=")?);
    if name.is_empty() {
        return None;
    }
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let is_value = |b: &u8| syntax::TOKEN[usize::from(*b)] || is_boundary && b"/=:".contains(b);
        let len = value.iter().take_while(|b| is_value(b)).count();
        let (value, rest) = value.split_at(len);
        let quoted = false;
        let parameter = Parameter {
            name,
            value,
            quoted,
        };
        return (!value.is_empty()).then_some((parameter, rest));
    };
    let mut end = 0;
    loop {
        match quoted[end..] {
            [b'"', ..] => {
                let (value, quoted_rest) = (&quoted[..end], &quoted[end + 1..]);
                let quoted = true;
                let parameter = Parameter {
                    name,
                    value,
                    quoted,
                };
                return Some((parameter, quoted_rest));
            }
            [b'\\', _, ..] => end += 2,
            [_, ..] => end += 1,
            [] => return None,
        }
    }
}

/// A name as it was before it was quoted; see [`PartHead`]. A backslash before any other character was not
/// escaped by the browser, as in `C:\a.txt`.
fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\\', b'%', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    loop {
        let (byte, after) = match rest {
            [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => (*escaped, after),
            [b'%', b'2', b'2', after @ ..] => (b'"', after),
            [b'%', b'0', b'd' | b'D', after @ ..] => (b'\r', after),
            [b'%', b'0', b'a' | b'A', after @ ..] => (b'\n', after),
            [byte, after @ ..] => (*byte, after),
            [] => return Cow::Owned(plain),
        };
        plain.push(byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: MultipartError = MultipartError::Disposition;
    const EXTENDED: Result<(String, Option<String>), MultipartError> =
        Err(MultipartError::ExtendedFileName);

    /// The name and the file name of a disposition.
    fn names(value: &[u8]) -> Result<(String, Option<String>), MultipartError> {
        let mut draft = Draft::default();
        draft.disposition(value)?;
        Ok((draft.name.expect("checked"), draft.file_name))
    }

    #[test]
    fn dispositions() {
        let text = |name: &str| Ok((name.to_owned(), None));
        let file = |name: &str, file: &str| Ok((name.to_owned(), Some(file.to_owned())));
        for (value, expected) in [
            (&b"form-data; name=a"[..], text("a")),
            (b"Form-Data;NAME=\"a;b=c\"", text("a;b=c")),
            (b"form-data; name=\"\"", text("")),
            (b"form-data; name=\"\xe4\"", text("\u{fffd}")),
            (b"form-data; name=\"\xc3\xa4\"", text("\u{e4}")),
            (b"form-data; name=a; filename=b.txt", file("a", "b.txt")),
            (b"form-data; filename=\"\"; name=a", file("a", "")),
            (
                b"form-data; name=a; filename=\"b%22%0d%0A%20%2\"",
                file("a", "b\"\r\n%20%2"),
            ),
            (
                b"form-data; name=a; filename=\"\\\"\\\\\\b\"",
                file("a", "\"\\\\b"),
            ),
            (
                b"form-data; name=a; filename=\"C:\\d\\e.txt\"",
                file("a", "C:\\d\\e.txt"),
            ),
            (
                b"form-data; name=a; filename=b; filename*=utf-8''c",
                file("a", "b"),
            ),
            (b"form-data; name=a; other=\"x\"", text("a")),
            (
                b"form-data; name=a; filename*=utf-8''%c3%a4%20%22c.txt",
                file("a", "\u{e4} \"c.txt"),
            ),
            (b"form-data; name=a; filename*=UTF-8'de'c", file("a", "c")),
            (
                b"form-data; name=a; filename*=\"iso-8859-1''%e4\"",
                file("a", "\u{e4}"),
            ),
            (b"form-data; name=a; filename*=utf-8''%e4", EXTENDED),
            (b"form-data; name=a; filename*=utf-8''%4", EXTENDED),
            (b"form-data; name=a; filename*=utf-8''%+4", EXTENDED),
            (b"form-data; name=a; filename*=\"utf-8''a b\"", EXTENDED),
            (b"form-data; name=a; filename*=utf-8'c", EXTENDED),
            (b"form-data; name=a; filename*=koi8-r''c", EXTENDED),
            (
                b"form-data; name=a; filename*=utf-8''c; filename*=utf-8''c",
                Err(WRONG),
            ),
            (b"form-data; name=a; name*=utf-8''b", Err(WRONG)),
            (b"form-data; NAME*0=b; name=a", Err(WRONG)),
            (b"form-data; name=a; filename*0=b", Err(WRONG)),
            (b"form-data; name=a; filename=b; filename*1*=c", Err(WRONG)),
            (b"form-data; name=a; names*=b; filenames*0=c", text("a")),
            (b"attachment; name=a; filename=b", file("a", "b")),
            (b"attachment; name=a", text("a")),
            (b"attachment; filename=b", Err(WRONG)),
            (b"inline; name=a; filename=b", Err(WRONG)),
            (b"form-data", Err(WRONG)),
            (b"form-data; filename=b", Err(WRONG)),
            (b"form-data; name=a; name=a", Err(WRONG)),
            (b"form-data; name=a; filename=b; FileName=c", Err(WRONG)),
            (b"form-data; name=\"a", Err(WRONG)),
            (b"form-data; name=\"a\\\"", Err(WRONG)),
            (b"form-data; name=\"a\"b", Err(WRONG)),
            (b"form-data; name=a b", Err(WRONG)),
            (b"form-data; name= a", Err(WRONG)),
            (b"form-data name=a", Err(WRONG)),
            (b"", Err(WRONG)),
        ] {
            assert_eq!(names(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn lines_of_a_header() {
        let read = |lines: &[&[u8]]| {
            let mut draft = Draft::default();
            lines.iter().try_for_each(|line| draft.line(line))?;
            let head = draft.head()?;
            Ok(head.content_type().map(str::to_owned))
        };
        let disposition: &[u8] = b"content-disposition: form-data; name=a\r\n";
        assert_eq!(read(&[disposition]), Ok(None));
        let typed = read(&[
            b"Content-Type:  text/plain \r\n",
            b"X: \xff\r\n",
            disposition,
        ]);
        assert_eq!(typed, Ok(Some("text/plain".to_owned())));
        assert_eq!(read(&[]), Err(WRONG));
        assert_eq!(read(&[disposition, disposition]), Err(WRONG));
        let twice: &[u8] = b"content-type: a/b\r\n";
        assert_eq!(
            read(&[disposition, twice, twice]),
            Err(MultipartError::Header)
        );
        let malformed: [&[u8]; 6] = [
            b"\n",
            b"a\r\n",
            b"a : b\r\n",
            b" a: b\r\n",
            b"a: b\n",
            b"a: \0\r\n",
        ];
        for line in malformed {
            assert_eq!(read(&[disposition, line]), Err(MultipartError::Header));
        }
        for (encoding, expected) in [
            ("7bit", Ok(None)),
            ("Binary", Ok(None)),
            ("8bit", Ok(None)),
            ("base64", Err(MultipartError::TransferEncoding)),
            ("", Err(MultipartError::TransferEncoding)),
        ] {
            let line = format!("Content-Transfer-Encoding: {encoding}\r\n");
            assert_eq!(
                read(&[disposition, line.as_bytes()]),
                expected,
                "{encoding}"
            );
        }
    }
}
