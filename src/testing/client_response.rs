//! A response as a test sees it: status, fields and the decoded body.

use peregrine_protocol::h1::chunked::ChunkedDecoder;
use peregrine_protocol::limits::Limits;

/// A complete response to a request of a [`Client`](super::Client). The transfer coding is decoded, a content
/// coding is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientResponse {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl ClientResponse {
    /// The status, from 200 to 599.
    #[doc(alias = "status_code")]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first field `name`. Case does not matter.
    ///
    /// # Panics
    ///
    /// The value is not UTF-8.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).next()
    }

    /// The values of all fields `name`, in order. Case does not matter.
    ///
    /// # Panics
    ///
    /// A value is not UTF-8.
    pub fn header_all<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let same = move |field: &&(String, Vec<u8>)| field.0.eq_ignore_ascii_case(name);
        let text = |field: &'a (String, Vec<u8>)| std::str::from_utf8(&field.1).expect("UTF-8");
        self.fields.iter().filter(same).map(text)
    }

    /// The body, with chunks decoded.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// The body is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is not UTF-8")
    }

    /// The value of a body in JSON. Needs the feature `json`.
    ///
    /// # Panics
    ///
    /// The body is no JSON, or no `T`.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error}: {}", self.body.escape_ascii()))
    }

    /// Parses the first final response. `None` if it is not complete. `is_bare`: the request was a HEAD.
    /// `ended`: no more bytes follow.
    pub(super) fn parse(mut bytes: &[u8], is_bare: bool, ended: bool) -> Option<ClientResponse> {
        loop {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
            let mut response = ClientResponse::of_head(&bytes[..end]);
            bytes = &bytes[end + 4..];
            if response.status < 200 {
                continue;
            }
            let is_bare = is_bare || matches!(response.status, 204 | 304);
            response.body = match is_bare {
                true => Vec::new(),
                false => response.decode(bytes, ended)?,
            };
            return Some(response);
        }
    }

    fn of_head(head: &[u8]) -> ClientResponse {
        let head = head.split(|byte| *byte == b'\n');
        let mut lines = head.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let status = lines.next().and_then(|line| line.get(9..12));
        let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let field = |line: &[u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        };
        ClientResponse {
            status: status.expect("a status line of HTTP/1"),
            fields: lines.filter_map(field).collect(),
            body: Vec::new(),
        }
    }

    /// The body at the front of `bytes` (RFC 9112 section 6.3), if it is complete.
    fn decode(&self, bytes: &[u8], ended: bool) -> Option<Vec<u8>> {
        if self.header("transfer-encoding").is_some() {
            let mut bytes = bytes.to_vec();
            let mut chunks = ChunkedDecoder::new(0, u64::MAX);
            let decoded = chunks.decode(&mut bytes, &Limits::default());
            return decoded
                .expect("chunks")
                .then(|| bytes[chunks.body()].to_vec());
        }
        match self.header("content-length") {
            Some(length) => Some(bytes.get(..length.parse().expect("a length"))?.to_vec()),
            None => ended.then(|| bytes.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_at_its_last_byte_only() {
        for (bytes, body) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length:  2\r\n\r\nhi"[..], &b"hi"[..]),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                b"",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: x\r\n\r\n",
                b"abc",
            ),
            (b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", b""),
        ] {
            for split in 0..bytes.len() {
                let early = ClientResponse::parse(&bytes[..split], false, false);
                assert_eq!(early, None, "{}", bytes[..split].escape_ascii());
            }
            let response = ClientResponse::parse(bytes, false, false).expect("complete");
            assert_eq!(response.body(), body);
        }
        let until_close = b"HTTP/1.1 200 OK\r\n\r\nall";
        assert_eq!(ClientResponse::parse(until_close, false, false), None);
        let response = ClientResponse::parse(until_close, false, true).expect("ended");
        assert_eq!(response.text(), "all");
        let to_head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        let response = ClientResponse::parse(to_head, true, false).expect("no body follows");
        assert_eq!(response.header("CONTENT-LENGTH"), Some("9"));
    }
}
