//! Reads responses back, for checks.

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field that may stand once.
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

/// Reads a row of complete responses. `head` tells of a response whether it is one to HEAD.
///
/// The last response of a connection may leave out its body: it may be a refusal of HEAD.
pub(crate) fn read(mut bytes: &[u8], head: impl Fn(&Answer) -> bool) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    while !bytes.is_empty() {
        let ended = answers.last().is_some_and(Answer::says_close);
        assert!(
            !ended,
            "something behind the last answer: {}",
            bytes.escape_ascii()
        );
        let (mut answer, len) = read_head(bytes);
        bytes = &bytes[len..];
        let length = body_length(&answer, bytes.is_empty());
        if !head(&answer) {
            let (body, rest) = bytes.split_at_checked(length).expect("a complete body");
            answer.body = body.to_vec();
            bytes = rest;
        }
        answers.push(answer);
    }
    answers
}

/// Reads a row of responses of which some are streamed, and the last may not be complete: it says of
/// each whether it is. `ended`: nothing follows any more.
pub(crate) fn read_streamed(
    mut bytes: &[u8],
    ended: bool,
    head: impl Fn(&Answer) -> bool,
) -> Vec<(Answer, bool)> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let (mut answer, len) = read_head(bytes);
        bytes = &bytes[len..];
        let is_bare = head(&answer) || answer.is_interim() || matches!(answer.status, 204 | 304);
        let coding = answer.field("transfer-encoding");
        let length = answer.field("content-length");
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
                assert!(answer.says_close(), "no length");
                (bytes.to_vec(), bytes.len(), ended)
            }
        };
        // A refusal of HEAD has no body, and nothing says that it was one.
        let complete = complete || answer.says_close() && ended && body.is_empty();
        answer.body = body;
        bytes = &bytes[len..];
        assert!(complete || bytes.is_empty(), "something behind half a body");
        answers.push((answer, complete));
    }
    answers
}

/// RFC 9112 section 7.1, as little of it as we send. What was decoded, of how many bytes, and
/// whether that is all.
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

fn read_head(bytes: &[u8]) -> (Answer, usize) {
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
    let answer = Answer {
        status: response.code.expect("a status"),
        fields: fields
            .map(|f| (f.name.to_owned(), f.value.to_vec()))
            .collect(),
        body: Vec::new(),
    };
    (answer, len)
}

/// RFC 9112 section 6.3, for a server that answers with a known length or closes.
fn body_length(answer: &Answer, at_end: bool) -> usize {
    let length = answer.field("content-length").map(|digits| {
        let digits = std::str::from_utf8(digits).expect("digits");
        digits.parse::<usize>().expect("a length")
    });
    assert!(answer.field("transfer-encoding").is_none());
    match (answer.status, length) {
        (100, None) => assert!(answer.fields.is_empty()),
        (101..200, _) => panic!("no such interim answer is sent"),
        (204 | 304, length) => assert!(length.is_none(), "a length without a body"),
        // To CONNECT: the end of the connection is the end of the response.
        (_, None) => assert!(answer.says_close() && at_end, "no length"),
        (205, length) => assert_eq!(length, Some(0)),
        (_, Some(_)) if answer.says_close() && at_end => {}
        (_, Some(length)) => return length,
    }
    0
}
