//! Choice of a media type from `Accept` (RFC 9110 section 12.5.1).

use super::request::Request;

/// The first type of `offered` with the highest weight, by its position. `offered` is in the server's order of preference. The
/// result is 0 if the client accepts none of them: a response that most clients can read is better than 406.
pub(crate) fn choose(req: &Request<'_>, offered: &[&str]) -> usize {
    let mut best = (0, 0);
    for (at, media_type) in offered.iter().enumerate() {
        let weight = weight_of(req, media_type.as_bytes());
        if weight > best.1 {
            best = (at, weight);
        }
    }
    best.0
}

/// Whether the client prefers a page to `offered`, as browsers do for what is shown.
pub(crate) fn prefers_page(req: &Request<'_>, offered: &[&str]) -> bool {
    let all: Vec<&str> = offered.iter().copied().chain(["text/html"]).collect();
    choose(req, &all) == offered.len()
}

/// The weight that the client gives to a media type. The most specific range decides. Without `Accept` all types
/// are equal.
fn weight_of(req: &Request<'_>, media_type: &[u8]) -> u16 {
    let mut lines = req.header_all("accept").peekable();
    if lines.peek().is_none() {
        return 1000;
    }
    let mut found = (0, 0);
    for element in lines.flat_map(|line| line.split(|&b| b == b',')) {
        let mut parts = element.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let specific = specificity(parts.next().unwrap_or_default(), media_type);
        match weight(parts) {
            Some(weight) if specific > found.0 => found = (specific, weight),
            _ => {}
        }
    }
    found.1
}

/// 0 if the range does not have the type; more for a range that is more specific.
fn specificity(range: &[u8], media_type: &[u8]) -> u8 {
    if range == b"*/*" {
        return 1;
    }
    if range.eq_ignore_ascii_case(media_type) {
        return 3;
    }
    let of_all = range.strip_suffix(b"*").filter(|kind| kind.ends_with(b"/"));
    match of_all.and_then(|kind| media_type.get(..kind.len()).map(|own| (kind, own))) {
        Some((kind, own)) if own.eq_ignore_ascii_case(kind) => 2,
        _ => 0,
    }
}

/// The weight among the parameters, 1000 if there is none (RFC 9110 section 12.4.2).
pub(crate) fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let mut weight = 1000;
    for parameter in parameters {
        if let [b'q' | b'Q', b'=', value @ ..] = parameter {
            weight = thousandths(value)?;
        }
    }
    Some(weight)
}

/// `0`, `1`, or either with up to three decimals.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole, b'.', decimals @ ..] => (whole, decimals),
        [whole] => (whole, &b""[..]),
        _ => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut thousandths = 0;
    for at in 0..3 {
        let digit = decimals.get(at).map_or(0, |d| u16::from(d - b'0'));
        thousandths = thousandths * 10 + digit;
    }
    match (whole, thousandths) {
        (b'0', n) => Some(n),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Connection;

    #[test]
    fn the_most_specific_range_decides() {
        let offered = ["text/plain", "application/json", "text/html"];
        for (accept, expected) in [
            (None, 0),
            (Some("*/*"), 0),
            (Some("application/json"), 1),
            (Some("APPLICATION/JSON"), 1),
            (Some("application/*, text/*;q=0.5"), 1),
            (
                Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                2,
            ),
            (Some("*/*;q=0.1, text/plain;q=0"), 1),
            (Some("image/png"), 0),
            (Some("text/*;q=0.2, text/plain;q=0.1"), 2),
            (Some("application/json;q=2, text/html;q=0.1"), 2),
            (Some("application/json; charset=utf-8"), 1),
            (Some(""), 0),
        ] {
            let app = crate::from_fn(move |req, res| res.text(offered[choose(req, &offered)]));
            let mut client = Connection::new(&app);
            let field = accept.map(|value| format!("Accept: {value}\r\n"));
            let request = format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                field.unwrap_or_default()
            );
            client.send(request.as_bytes());
            let received = String::from_utf8_lossy(client.received()).into_owned();
            let expected = format!("\r\n\r\n{}", offered[expected]);
            assert!(received.ends_with(&expected), "{accept:?}: {received}");
        }
    }
}
