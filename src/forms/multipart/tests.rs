//! The result for given bytes: each case whole, byte by byte, split at every position, and with trailing
//! bytes.

use super::check::{CONTENT_TYPE, Outcome, Part, outcome};
use super::*;

/// Under Miri, tests over all values take only some of them, because Miri is about a thousand times slower.
const EVERY: usize = if cfg!(miri) { 31 } else { 1 };

const DISPOSITION: &str = "Content-Disposition: form-data; name=a\r\n";

/// The outcome. It must not depend on the pieces.
#[track_caller]
fn read(body: &[u8], limits: MultipartLimits) -> Outcome {
    let len = body.len();
    let whole = outcome(body, [len], limits);
    assert_eq!(outcome(body, 1..=len, limits), whole, "byte by byte");
    for split in (0..=len).step_by(EVERY) {
        assert_eq!(outcome(body, [split, len], limits), whole, "at {split}");
    }
    for size in (2..9).step_by(EVERY) {
        let ends = (size..len).step_by(size).chain([len]);
        assert_eq!(outcome(body, ends, limits), whole, "{size} at a time");
    }
    if whole.1.is_ok() {
        for more in ["\r\n", "\r\nmore", "\r\n--X-y\r\n", "\r\n\r\n--X-y--x"] {
            let longer = [body, more.as_bytes()].concat();
            // After a line end, or after the beginning of one.
            let longer = outcome(&longer, 1..=longer.len(), limits);
            assert_eq!(longer, whole, "with {more:?} behind it");
        }
    }
    whole
}

fn text(data: &[u8]) -> Part {
    Part {
        name: "a".into(),
        data: data.into(),
        complete: true,
        ..Part::default()
    }
}

/// A form with one text and its data.
fn with_data(data: &[u8]) -> Vec<u8> {
    let head = format!("--X-y\r\n{DISPOSITION}\r\n");
    [head.as_bytes(), data, b"\r\n--X-y--"].concat()
}

#[test]
fn data_is_between_boundaries() {
    let almost: [&[u8]; 16] = [
        b"",
        b"x",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r\r\n--X-",
        b"--X-",
        b"\r\n--X-Y\r\n",
        b"\n--X-y\r\n",
        b"\r--X-y\r\n",
        b"\r\n--X\r\n--X-\r\n-",
        b"\r\n -X-y",
        b"x--X-y--",
        b"\0\xff\r\n\0",
        b"\r\n--\r\n--\r\n--X\r\n",
    ];
    for data in almost {
        let found = read(&with_data(data), MultipartLimits::default());
        assert_eq!(found, (vec![text(data)], Ok(())), "{}", data.escape_ascii());
    }
}

#[test]
fn a_header_may_end_where_the_delimiter_begins() {
    let body = format!("--X-y\r\n{DISPOSITION}\r\n--X-y\r\n{DISPOSITION}\r\n--X-y--");
    let found = read(body.as_bytes(), MultipartLimits::default());
    assert_eq!(found, (vec![text(b""); 2], Ok(())));
}

#[test]
fn bytes_around_the_form_are_ignored() {
    let form = with_data(b"1");
    for before in [
        "\r\n",
        "for old readers\r\n",
        "--X-\r\n",
        "x--X-y\r\n",
        "\r\n\r\n",
    ] {
        let body = [before.as_bytes(), &form].concat();
        let found = read(&body, MultipartLimits::default());
        assert_eq!(found, (vec![text(b"1")], Ok(())), "{before:?}");
    }
    for body in ["--X-y--", "\r\n--X-y--\t ", "x\r\n--X-y--\r\n"] {
        let found = read(body.as_bytes(), MultipartLimits::default());
        assert_eq!(found, (vec![], Ok(())), "{body:?}");
    }
}

#[test]
fn padding_belongs_to_the_line() {
    let body = format!("--X-y \t \r\n{DISPOSITION}\r\n1\r\n--X-y--\t");
    let found = read(body.as_bytes(), MultipartLimits::default());
    assert_eq!(found, (vec![text(b"1")], Ok(())));
}

#[test]
fn boundaries_are_alone_on_their_line() {
    let more = [
        "x", "-x", " x", " -", "\rx", "\r\r\n", "\n", "--x", "-- x", "--\rx", "--\n",
    ];
    for more in more {
        for first in [true, false] {
            let before = match first {
                true => String::new(),
                false => format!("--X-y\r\n{DISPOSITION}\r\n1\r\n"),
            };
            let body = format!("{before}--X-y{more}\r\n");
            let (parts, ended) = read(body.as_bytes(), MultipartLimits::default());
            assert_eq!(ended, Err(MultipartError::BoundaryLine), "{body:?}");
            assert_eq!(parts.len(), usize::from(!first));
        }
    }
}

/// All data of a form with this boundary, written as in `Content-Type`.
fn data_of(boundary: &str, body: &str, size: usize) -> Result<String, MultipartError> {
    #[derive(Default)]
    struct Data(Vec<u8>);
    impl PartSink for Data {
        type Error = MultipartError;
        fn begin(&mut self, _: &PartHead<'_>) -> Result<(), MultipartError> {
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<(), MultipartError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn end(&mut self) -> Result<(), MultipartError> {
            self.0.push(b';');
            Ok(())
        }
    }
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let (mut form, mut data) = (
        Multipart::new(&content_type, MultipartLimits::default())?,
        Data::default(),
    );
    for piece in body.as_bytes().chunks(size) {
        form.write(piece, &mut data)?;
    }
    form.finish()?;
    Ok(String::from_utf8(data.0).expect("text"))
}

/// Some parsers take `a` for the boundary if the quotes of `a:b` are missing.
#[test]
fn a_line_that_some_parsers_treat_as_a_boundary() {
    for size in 1..90 {
        for (more, is_other) in [
            ("x", false),
            ("\r\n--", false),
            ("\r\n--A:b", false),
            ("\r\n--a", true),
            ("\r\n--a--", true),
            ("\r\n--a:\r\n--a:b\r\n", true),
        ] {
            let part = |data| format!("--a:b\r\n{DISPOSITION}\r\n{data}\r\n");
            let body = format!("{}{}--a:b--", part(more), part("2"));
            let expected = Ok(format!("{more};2;"));
            let unquoted = match is_other {
                true => Err(MultipartError::BoundaryLine),
                false => expected.clone(),
            };
            assert_eq!(data_of("a:b", &body, size), unquoted, "{body:?}");
            if !more.contains("--a:b") {
                assert_eq!(data_of("\"a:b\"", &body, size), expected, "{body:?}");
            }
            let body = body.replace("a:b", "=a:b");
            if !more.contains("--a:b") {
                assert_eq!(data_of("=a:b", &body, size), expected, "{body:?}");
            }
        }
        let body = format!("before\r\n--a\r\n--a:b\r\n{DISPOSITION}\r\n1\r\n--a:b--");
        let before = data_of("a:b", &body, size);
        assert_eq!(before, Err(MultipartError::BoundaryLine));
    }
}

#[test]
fn every_beginning_of_a_form_is_unfinished() {
    let body = format!("x\r\n--X-y\r\n{DISPOSITION}Content-Type: b\r\n\r\n1\r\n--X-y--");
    for end in 0..body.len() {
        let (_, ended) = read(&body.as_bytes()[..end], MultipartLimits::default());
        assert_eq!(ended, Err(MultipartError::Unfinished), "{end} bytes");
    }
    let cut_in_its_line_end = [body.as_bytes(), b"\r"].concat();
    let (parts, ended) = read(&cut_in_its_line_end, MultipartLimits::default());
    assert_eq!((parts.len(), ended), (1, Err(MultipartError::Unfinished)));
}

#[test]
fn headers_that_are_refused() {
    for (header, error) in [
        ("", MultipartError::Disposition),
        ("Content-Type: text/plain\r\n", MultipartError::Disposition),
        (
            "Content-Disposition: form-data; name=a\n",
            MultipartError::Header,
        ),
        (
            "Content-Disposition: form-data;\r\n name=a\r\n",
            MultipartError::Disposition,
        ),
        ("X: y\r\n z\r\n", MultipartError::Header),
        ("X\r\n", MultipartError::Header),
        ("X: \0\r\n", MultipartError::Header),
        (
            "Content-Transfer-Encoding: base64\r\n",
            MultipartError::TransferEncoding,
        ),
    ] {
        let body = format!("--X-y\r\n{header}\r\n1\r\n--X-y--");
        let found = read(body.as_bytes(), MultipartLimits::default());
        assert_eq!(found, (vec![], Err(error)), "{header:?}");
    }
}

/// Each limit is exact: a form at the limit is accepted, one above it is refused. In both cases the sink gets
/// everything before the limit.
#[test]
fn limits_are_exact() {
    let file = "Content-Disposition: form-data; name=f; filename=g\r\n";
    let body = format!(
        "pre\r\n--X-y\r\n{DISPOSITION}\r\n12345\r\n--X-y\r\n{file}\r\n1234567\r\n--X-y\r\n\
         {DISPOSITION}\r\n123\r\n--X-y--\r\n"
    );
    let (text_header, file_header) = (DISPOSITION.len() + 2, file.len() + 2);
    let exact = MultipartLimits::default()
        .parts(3)
        .header_bytes(file_header)
        .text_bytes(5)
        .memory_bytes(2 * text_header + file_header + 8)
        .file_bytes(7)
        .total_bytes(body.len() as u64);
    let (parts, ended) = read_exactly(&body, exact);
    assert_eq!((parts.len(), ended), (3, Ok(())));
    let below = |change: fn(&mut MultipartLimits)| {
        let mut limits = exact;
        change(&mut limits);
        let (parts, ended) = read_exactly(&body, limits);
        let lengths: Vec<_> = parts.iter().map(|part| part.data.len()).collect();
        (lengths, ended.expect_err("a limit"))
    };
    let found = [
        below(|limits| limits.parts -= 1),
        below(|limits| limits.header_bytes -= 1),
        below(|limits| limits.text_bytes -= 1),
        below(|limits| limits.memory_bytes -= 1),
        below(|limits| limits.file_bytes -= 1),
        below(|limits| limits.total_bytes -= 1),
    ];
    let expected = [
        (vec![5, 7], MultipartError::TooManyParts),
        (vec![5], MultipartError::HeaderTooLong),
        (vec![4], MultipartError::TextTooLong),
        (vec![5, 7, 2], MultipartError::MemoryExceeded),
        (vec![5, 6], MultipartError::FileTooLong),
        (vec![5, 7, 3], MultipartError::TooLong),
    ];
    assert_eq!(found, expected);
    assert!(expected.iter().all(|(_, error)| error.status() == 413));
}

/// As [`read`], without trailing bytes, which would exceed a limit.
#[track_caller]
fn read_exactly(body: &str, limits: MultipartLimits) -> Outcome {
    let (bytes, len) = (body.as_bytes(), body.len());
    let whole = outcome(bytes, [len], limits);
    assert_eq!(outcome(bytes, 1..=len, limits), whole, "byte by byte");
    for split in (0..=len).step_by(EVERY) {
        assert_eq!(outcome(bytes, [split, len], limits), whole, "at {split}");
    }
    whole
}

#[test]
fn a_body_without_its_boundary_is_given_up_early() {
    let limits = MultipartLimits::default().header_bytes(10);
    let form = String::from_utf8(with_data(b"1")).expect("text");
    let found = read_exactly(&format!("12345678901\r\n{form}"), limits);
    assert_eq!(found, (vec![], Err(MultipartError::NoStart)));
    // The line end before a boundary belongs to the boundary.
    let none = read_exactly("1234567890\r\n--X-y--", limits);
    assert_eq!(none, (vec![], Ok(())));
}

/// Zero is the tightest limit, not none.
#[test]
fn zeros() {
    let zeros = MultipartLimits::default()
        .parts(0)
        .header_bytes(0)
        .text_bytes(0)
        .memory_bytes(0)
        .file_bytes(0)
        .total_bytes(0);
    assert_eq!(outcome(b"-", [1], zeros).1, Err(MultipartError::TooLong));
    let total = zeros.total_bytes(1000);
    assert_eq!(outcome(b"--X-y--", [7], total).1, Ok(()));
    let found = outcome(b"--X-y\r\n", [7], total).1;
    assert_eq!(found, Err(MultipartError::TooManyParts));
}

/// After the sink fails at its n-th call, the parser returns the error and does not call the sink again.
#[test]
fn a_sink_may_fail() {
    #[derive(Debug, PartialEq)]
    enum Fault {
        Sink,
        Form(MultipartError),
    }
    impl From<MultipartError> for Fault {
        fn from(error: MultipartError) -> Fault {
            Fault::Form(error)
        }
    }
    struct Failing(usize);
    impl Failing {
        fn call(&mut self) -> Result<(), Fault> {
            self.0 = self.0.checked_sub(1).expect("no call after a failure");
            match self.0 {
                0 => Err(Fault::Sink),
                _ => Ok(()),
            }
        }
    }
    impl PartSink for Failing {
        type Error = Fault;
        fn begin(&mut self, _: &PartHead<'_>) -> Result<(), Fault> {
            self.call()
        }
        fn data(&mut self, _: &[u8]) -> Result<(), Fault> {
            self.call()
        }
        fn end(&mut self) -> Result<(), Fault> {
            self.call()
        }
    }
    for calls in 1..=4 {
        let limits = MultipartLimits::default();
        let mut form = Multipart::new(CONTENT_TYPE, limits).expect("a boundary");
        let mut sink = Failing(calls);
        let written = form.write(&with_data(b"1"), &mut sink);
        if calls == 4 {
            assert_eq!((written, form.finish()), (Ok(()), Ok(())));
            continue;
        }
        assert_eq!(written, Err(Fault::Sink));
        assert_eq!(form.finish(), Err(MultipartError::Stopped));
        let again = form.write(b"", &mut sink);
        assert_eq!(again, Err(Fault::Form(MultipartError::Stopped)));
    }
}
