//! Request targets (RFC 9112 section 3.2).

use super::Method;
use crate::error::ProtocolError;
use crate::{Span, syntax};

/// The positions of the parts of a target in the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The whole target.
    pub whole: Span,
    /// The authority that an absolute-form or authority-form target names; it overrides `Host`.
    pub authority: Option<Span>,
    /// The path. Empty if the form has none; see [`Target::path`]. The query follows it.
    path: Span,
}

impl Target {
    /// `/` for an absolute-form target without a path, `*` for asterisk-form.
    #[inline]
    pub fn path(self, head: &[u8]) -> &[u8] {
        let path = self.path.of(head);
        match path.is_empty() {
            true => self.empty_path(),
            false => path,
        }
    }

    /// Rare, and out of line: its result would be computed for each request.
    #[cold]
    fn empty_path(self) -> &'static [u8] {
        match self.authority {
            Some(_) => b"/",
            None => b"",
        }
    }

    /// Where the path begins in the head.
    #[inline]
    pub fn path_start(self) -> usize {
        self.path.start.into()
    }

    /// Makes a target with a path that begins `skipped` bytes later.
    #[must_use]
    pub fn behind(self, skipped: usize) -> Target {
        let (start, end) = (usize::from(self.path.start), usize::from(self.path.end));
        let path = Span::new(end.min(start + skipped), end);
        Target { path, ..self }
    }

    /// Without its `?`.
    pub fn query(self, head: &[u8]) -> Option<&[u8]> {
        let (path, whole) = (self.path.end, self.whole.end);
        (path < whole).then(|| &head[usize::from(path) + 1..usize::from(whole)])
    }

    /// Parses the target at `start` of a head. Also returns where it ends.
    #[inline]
    pub fn parse(
        head: &[u8],
        kind: Method,
        start: usize,
    ) -> Result<(Target, usize), ProtocolError> {
        let (path, end) = split_query(head, start);
        let whole = Span::new(start, end);
        match head.get(start) {
            Some(b'/') if kind != Method::Connect => {
                let target = Target {
                    whole,
                    authority: None,
                    path,
                };
                Ok((target, end))
            }
            _ => parse_other(whole.of(head), whole, kind).map(|target| (target, end)),
        }
    }
}

/// The part before the question mark, and the end of the query.
#[inline]
fn split_query(bytes: &[u8], start: usize) -> (Span, usize) {
    let path = start + syntax::count(&bytes[start..], &syntax::PATH);
    let end = match bytes.get(path) {
        Some(b'?') => path + 1 + syntax::count(&bytes[path + 1..], &syntax::TARGET),
        _ => path,
    };
    (Span::new(start, path), end)
}

fn parse_other(target: &[u8], whole: Span, kind: Method) -> Result<Target, ProtocolError> {
    if kind == Method::Connect {
        // authority-form: a host and a port, both there (RFC 9112 section 3.2.3).
        let colon = memchr::memrchr(b':', target).ok_or(ProtocolError::Target)?;
        let port = core::str::from_utf8(&target[colon + 1..]).unwrap_or_default();
        if colon == 0 || port.parse::<u16>().is_err() || !syntax::is_host(target) {
            return Err(ProtocolError::Target);
        }
        return Ok(Target {
            whole,
            authority: Some(whole),
            path: Span {
                start: whole.end,
                end: whole.end,
            },
        });
    }
    if kind == Method::Options && target == b"*" {
        return Ok(Target {
            whole,
            authority: None,
            path: whole,
        });
    }
    // absolute-form (RFC 9112 section 3.2.2).
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        let start = target.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let from = scheme.ok_or(ProtocolError::Target)?.len();
    let rest = &target[from..];
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    if end == 0 || !syntax::is_host(&rest[..end]) {
        return Err(ProtocolError::Target);
    }
    let start = usize::from(whole.start);
    let authority = Span::new(start + from, start + from + end);
    let (path, _) = split_query(target, from + end);
    Ok(Target {
        whole,
        authority: Some(authority),
        path: path.moved(start),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, target: &str) -> Option<(String, String, Option<String>)> {
        let head = format!("{method} {target}");
        let head = head.as_bytes();
        let (target, end) =
            Target::parse(head, Method::of(method.as_bytes()), method.len() + 1).ok()?;
        if end < head.len() {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
        Some((
            target.authority.map_or(String::new(), |a| text(a.of(head))),
            text(target.path(head)),
            target.query(head).map(text),
        ))
    }

    fn some(
        authority: &str,
        path: &str,
        query: Option<&str>,
    ) -> Option<(String, String, Option<String>)> {
        Some((authority.into(), path.into(), query.map(Into::into)))
    }

    #[test]
    fn forms() {
        assert_eq!(parts("GET", "/"), some("", "/", None));
        assert_eq!(parts("GET", "/a?b?c"), some("", "/a", Some("b?c")));
        assert_eq!(parts("GET", "/?"), some("", "/", Some("")));
        assert_eq!(parts("GET", "//a/b"), some("", "//a/b", None));
        assert_eq!(parts("GET", "http://a"), some("a", "/", None));
        assert_eq!(
            parts("GET", "HTTPS://a:1/b?c"),
            some("a:1", "/b", Some("c"))
        );
        assert_eq!(parts("GET", "http://a?c"), some("a", "/", Some("c")));
        assert_eq!(parts("OPTIONS", "*"), some("", "*", None));
        assert_eq!(parts("CONNECT", "a:443"), some("a:443", "/", None));
        assert_eq!(parts("CONNECT", "[::1]:443"), some("[::1]:443", "/", None));
    }

    #[test]
    fn none_of_the_forms() {
        for (method, target) in [
            ("GET", "*"),
            ("GET", "a"),
            ("GET", "a:80"),
            ("GET", "http://"),
            ("GET", "http:///x"),
            ("GET", "ftp://a/"),
            ("GET", "http://u@a/"),
            ("GET", "/a#b"),
            ("GET", "/\u{e9}"),
            ("GET", ""),
            ("OPTIONS", "**"),
            ("CONNECT", "/"),
            ("CONNECT", "a"),
            ("CONNECT", ":80"),
            ("CONNECT", "a:"),
            ("CONNECT", "a:x"),
            ("CONNECT", "a:65536"),
            ("CONNECT", "a:+1"),
            ("CONNECT", "http://a/"),
        ] {
            assert_eq!(parts(method, target), None, "{method} {target}");
        }
    }
}
