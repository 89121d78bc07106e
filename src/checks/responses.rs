//! Parses responses, for checks.

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParsedResponse {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl ParsedResponse {
    /// The value of a field that may be present only once.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let mut same = self
            .fields
            .iter()
            .filter(|field| field.0.eq_ignore_ascii_case(name));
        let first = same.next();
        assert!(same.next().is_none(), "{name} twice");
        first.map(|field| &field.1[..])
    }

    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    fn says_close(&self) -> bool {
        self.field("connection") == Some(b"close")
    }
}

/// Parses a sequence of complete responses. `head` returns whether a response is one to HEAD.
///
/// The last response of a connection may have no body, because it may be a refusal of a HEAD.
pub(crate) fn read(
    mut bytes: &[u8],
    head: impl Fn(&ParsedResponse) -> bool,
) -> Vec<ParsedResponse> {
    let mut parsed: Vec<ParsedResponse> = Vec::new();
    while !bytes.is_empty() {
        let ended = parsed.last().is_some_and(ParsedResponse::says_close);
        assert!(
            !ended,
            "something behind the last response: {}",
            bytes.escape_ascii()
        );
        let (mut response, len) = read_head(bytes);
        bytes = &bytes[len..];
        let length = body_length(&response, bytes.is_empty());
        if !head(&response) {
            let (body, rest) = bytes.split_at_checked(length).expect("a complete body");
            response.body = body.to_vec();
            bytes = rest;
        }
        parsed.push(response);
    }
    parsed
}

/// Parses a sequence of responses. Some may be streamed, and the last may be incomplete. Returns for each
/// whether it is complete. `ended`: no more bytes follow.
pub(crate) fn read_streamed(
    mut bytes: &[u8],
    ended: bool,
    head: impl Fn(&ParsedResponse) -> bool,
) -> Vec<(ParsedResponse, bool)> {
    let mut parsed = Vec::new();
    while !bytes.is_empty() {
        let (mut response, len) = read_head(bytes);
        bytes = &bytes[len..];
        let is_bare =
            head(&response) || response.is_interim() || matches!(response.status, 204 | 304);
        let coding = response.field("transfer-encoding");
        let length = response.field("content-length");
        assert!(coding.is_none() || length.is_none(), "two framings");
        let (body, len, complete) = match (coding, length) {
            _ if is_bare => (Vec::new(), 0, true),
            (Some(coding), _) => {
                assert_eq!(coding, b"chunked");
                read_chunks(bytes)
            }
            (None, Some(digits)) => {
                let digits = std::str::from_utf8(digits).expect("digits");
                let most: usize = digits.parse().expect("a length");
                let len = most.min(bytes.len());
                (bytes[..len].to_vec(), len, len == most)
            }
            (None, None) => {
                assert!(response.says_close(), "no length");
                (bytes.to_vec(), bytes.len(), ended)
            }
        };
        // A refusal of HEAD has no body, and nothing says that it was one.
        let complete = complete || response.says_close() && ended && body.is_empty();
        response.body = body;
        bytes = &bytes[len..];
        assert!(complete || bytes.is_empty(), "something behind half a body");
        parsed.push((response, complete));
    }
    parsed
}

/// Decodes chunks (RFC 9112 section 7.1), as far as the server uses them. Returns the body, the number of its
/// encoded bytes, and whether it is complete.
fn read_chunks(bytes: &[u8]) -> (Vec<u8>, usize, bool) {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
            assert!(rest.is_empty(), "half a chunk: {}", rest.escape_ascii());
            return (body, at, false);
        };
        let digits = std::str::from_utf8(&rest[..line]).expect("digits");
        let size = usize::from_str_radix(digits, 16).expect("a size");
        let chunk = &rest[line + 2..];
        assert!(
            chunk[size..].starts_with(b"\r\n"),
            "{}",
            chunk.escape_ascii()
        );
        body.extend_from_slice(&chunk[..size]);
        at += line + 2 + size + 2;
        if size == 0 {
            return (body, at, true);
        }
    }
}

fn read_head(bytes: &[u8]) -> (ParsedResponse, usize) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    };
    // httparse is lenient in what it accepts, and a client need not be.
    let lines = bytes[..len - 2].split_inclusive(|b| *b == b'\n');
    let count = lines.clone().count();
    for line in lines {
        let line = line.strip_suffix(b"\r\n").expect("CRLF");
        let good = |b: &u8| *b == b'\t' || !b.is_ascii_control();
        assert!(
            line.iter().all(good),
            "control byte: {}",
            line.escape_ascii()
        );
    }
    assert_eq!(
        count,
        response.headers.len() + 1,
        "lines that are no fields"
    );
    assert_eq!(response.version, Some(1));
    let fields = response.headers.iter();
    let response = ParsedResponse {
        status: response.code.expect("a status"),
        fields: fields
            .map(|f| (f.name.to_owned(), f.value.to_vec()))
            .collect(),
        body: Vec::new(),
    };
    (response, len)
}

/// RFC 9112 section 6.3, for a server that parsed with a known length or closes.
fn body_length(response: &ParsedResponse, at_end: bool) -> usize {
    let length = response.field("content-length").map(|digits| {
        let digits = std::str::from_utf8(digits).expect("digits");
        digits.parse::<usize>().expect("a length")
    });
    assert!(response.field("transfer-encoding").is_none());
    match (response.status, length) {
        (100, None) => assert!(response.fields.is_empty()),
        (101..200, _) => panic!("no such interim response is sent"),
        (204 | 304, length) => assert!(length.is_none(), "a length without a body"),
        // To CONNECT: the end of the connection is the end of the response.
        (_, None) => assert!(response.says_close() && at_end, "no length"),
        (205, length) => assert_eq!(length, Some(0)),
        (_, Some(_)) if response.says_close() && at_end => {}
        (_, Some(length)) => return length,
    }
    0
}
