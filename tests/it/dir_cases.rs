//! Conditional requests and ranges (RFC 9110 sections 13 and 14), as tables: every row against a
//! file in memory, one on the disk and one in the program, by GET and by HEAD.

use crate::scratch::{AN_HOUR, Scratch, ask, get};
use crate::support::Answer;
use peregrine::Handler;
use peregrine::files::{DirConfig, DirServer, Embedded};

const BODY: &[u8] = b"0123456789abcdefghij";

/// `fields => status [content-range] ["body"]`. Fields are separated by ` & `; `{etag}` is the
/// file's tag, `{date}` its date, `{before}` and `{after}` are a second off.
const CASES: &str = r#"
# -- nothing special
 => 200 "0123456789abcdefghij"
X-Other: 1 => 200

# -- 13.1.2 If-None-Match: weak comparison, any of the list
If-None-Match: {etag} => 304
If-None-Match: W/{etag} => 304
If-None-Match: * => 304
If-None-Match: "other" => 200
If-None-Match: "other", {etag} => 304
If-None-Match: {etag}, "other" => 304
If-None-Match: "a","b",W/{etag},"c" => 304
If-None-Match: "a", "b" => 200
If-None-Match: ,, {etag} => 304
If-None-Match: "a" & If-None-Match: {etag} => 304
If-None-Match: "a" & If-None-Match: "b" => 200
If-None-Match: "a,b", {etag} => 304
If-None-Match: "a b", {etag} => 200
If-None-Match: w/{etag} => 200
If-None-Match: unquoted => 200
If-None-Match: "open => 200
If-None-Match: "a" {etag} => 200
If-None-Match: => 200

# -- 13.1.3 If-Modified-Since
If-Modified-Since: {date} => 304
If-Modified-Since: {after} => 304
If-Modified-Since: {before} => 200
If-Modified-Since: Wednesday, 01-Jan-20 00:00:00 GMT => 304
If-Modified-Since: Wed Jan  1 00:00:00 2020 => 304
If-Modified-Since: Wed Jan  1 00:00:00 2019 => 200
If-Modified-Since: yesterday => 200
If-Modified-Since: 1577836800 => 200
If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT => 304
If-Modified-Since: {date} & If-Modified-Since: {date} => 200

# -- 13.2.2 the date does not count beside tags
If-None-Match: {etag} & If-Modified-Since: {before} => 304
If-None-Match: "other" & If-Modified-Since: {date} => 200
If-None-Match: "other" & If-Modified-Since: {after} => 200

# -- 13.1.1 If-Match: strong comparison
If-Match: {etag} => 200
If-Match: * => 200
If-Match: "other" => 412
If-Match: W/{etag} => 412
If-Match: "other", {etag} => 200
If-Match: "a", "b" => 412
If-Match: "a" & If-Match: {etag} => 200
If-Match: garbage => 412
If-Match: => 412

# -- 13.1.4 If-Unmodified-Since
If-Unmodified-Since: {date} => 200
If-Unmodified-Since: {after} => 200
If-Unmodified-Since: {before} => 412
If-Unmodified-Since: never => 200
If-Match: {etag} & If-Unmodified-Since: {before} => 200
If-Match: "other" & If-Unmodified-Since: {after} => 412

# -- 13.2.2 in order: first 412, then 304, then ranges
If-Match: {etag} & If-None-Match: {etag} => 304
If-Match: "other" & If-None-Match: {etag} => 412
If-Unmodified-Since: {before} & If-None-Match: {etag} => 412
If-Unmodified-Since: {date} & If-None-Match: {etag} => 304
If-Unmodified-Since: {date} & If-Modified-Since: {date} => 304
If-Match: {etag} & Range: bytes=0-1 => 206 bytes 0-1/20 "01"
If-None-Match: {etag} & Range: bytes=0-1 => 304
If-None-Match: "other" & Range: bytes=0-1 => 206 bytes 0-1/20 "01"
If-Match: "other" & Range: bytes=0-1 => 412
If-None-Match: {etag} & Range: bytes=99- => 304
If-Match: "other" & Range: bytes=99- => 412

# -- 14.1.2 one range
Range: bytes=0-0 => 206 bytes 0-0/20 "0"
Range: bytes=0-4 => 206 bytes 0-4/20 "01234"
Range: bytes=5-9 => 206 bytes 5-9/20 "56789"
Range: bytes=0-19 => 206 bytes 0-19/20 "0123456789abcdefghij"
Range: bytes=0-20 => 206 bytes 0-19/20 "0123456789abcdefghij"
Range: bytes=0- => 206 bytes 0-19/20 "0123456789abcdefghij"
Range: bytes=19- => 206 bytes 19-19/20 "j"
Range: bytes=10-99999999999999999999999999 => 206 bytes 10-19/20 "abcdefghij"
Range: bytes=-1 => 206 bytes 19-19/20 "j"
Range: bytes=-5 => 206 bytes 15-19/20 "fghij"
Range: bytes=-20 => 206 bytes 0-19/20 "0123456789abcdefghij"
Range: bytes=-21 => 206 bytes 0-19/20 "0123456789abcdefghij"
Range: BYTES=0-0 => 206 bytes 0-0/20 "0"
Range: bytes=00000-00004 => 206 bytes 0-4/20 "01234"
Range: bytes= 0-4 => 206 bytes 0-4/20 "01234"
Range: bytes=0-4, => 206 bytes 0-4/20 "01234"

# -- 15.5.17 none of it is there
Range: bytes=20- => 416 bytes */20
Range: bytes=20-30 => 416 bytes */20
Range: bytes=99999999999999999999999999- => 416 bytes */20
Range: bytes=-0 => 416 bytes */20
Range: bytes=20-,30-40 => 416 bytes */20

# -- 14.2 what is malformed or of another unit is passed over
Range: bytes=4-2 => 200
Range: bytes=a-b => 200
Range: bytes=- => 200
Range: bytes=1 => 200
Range: bytes= => 200
Range: bytes => 200
Range: bytes=+1-2 => 200
Range: bytes=1-2;3-4 => 200
Range: bytes=0x1-2 => 200
Range: 0-4 => 200
Range: lines=0-4 => 200
Range: bytes =0-4 => 200
Range: bytes=0-4 & Range: bytes=0-4 => 200

# -- 14.2 one of several is there, or several overlap
Range: bytes=0-1,50- => 206 bytes 0-1/20 "01"
Range: bytes=50-,3-4 => 206 bytes 3-4/20 "34"
Range: bytes=0-,0-,0- => 200
Range: bytes=0-0,2-2,4-4,6-6,8-8 => 200

# -- 13.1.5 If-Range
If-Range: {etag} & Range: bytes=0-1 => 206 bytes 0-1/20 "01"
If-Range: "other" & Range: bytes=0-1 => 200
If-Range: W/{etag} & Range: bytes=0-1 => 200
If-Range: {date} & Range: bytes=0-1 => 206 bytes 0-1/20 "01"
If-Range: {before} & Range: bytes=0-1 => 200
If-Range: {after} & Range: bytes=0-1 => 200
If-Range: nonsense & Range: bytes=0-1 => 200
If-Range: {etag} => 200
If-Range: "other" => 200
If-Range: {etag} & Range: bytes=20- => 416 bytes */20
If-Range: "other" & Range: bytes=20- => 200
If-Range: {etag} & If-Range: {etag} & Range: bytes=0-1 => 200
If-Range: {etag} & If-None-Match: {etag} & Range: bytes=0-1 => 304
"#;

struct Case {
    line: &'static str,
    fields: String,
    status: u16,
    range: Option<&'static str>,
    body: Option<&'static [u8]>,
}

fn cases(etag: &str) -> Vec<Case> {
    let is_case = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let case = |line: &'static str| {
        let (fields, expected) = line.split_once("=> ").expect("fields => expectation");
        let fields = fields
            .replace("{etag}", etag)
            .replace("{date}", "Wed, 01 Jan 2020 00:00:00 GMT")
            .replace("{before}", "Tue, 31 Dec 2019 23:59:59 GMT")
            .replace("{after}", "Wed, 01 Jan 2020 00:00:01 GMT");
        let lines = fields.trim().split(" & ").filter(|line| !line.is_empty());
        let (expected, body) = match expected.split_once(" \"") {
            Some((expected, body)) => (expected, body.strip_suffix('"')),
            None => (expected, None),
        };
        let (status, range) = match expected.split_once(' ') {
            Some((status, range)) => (status, Some(range)),
            None => (expected, None),
        };
        Case {
            line,
            fields: lines.map(|line| format!("{line}\r\n")).collect(),
            status: status.parse().expect("a status"),
            range,
            body: body.map(str::as_bytes),
        }
    };
    CASES.lines().filter(is_case).map(case).collect()
}

impl Case {
    fn check(&self, get: &Answer, head: &Answer, dated: bool) -> Result<(), String> {
        // What depends on the date of a file that has none is not asked of it.
        if !dated && (self.line.contains("{date}") || self.line.contains("-Since")) {
            return Ok(());
        }
        if get.status != self.status {
            return Err(format!("GET: {}", get.status));
        }
        if get.get("content-range") != self.range {
            return Err(format!("Content-Range: {:?}", get.get("content-range")));
        }
        let body = match (self.body, self.status) {
            (Some(body), _) => body,
            (None, 200) => BODY,
            (None, 304) => b"",
            (None, _) => &get.body,
        };
        if get.body != body {
            return Err(format!("body {}", get.body.escape_ascii()));
        }
        // 15.4.5: what a 200 would have said of validators and caching.
        let says = |name: &str| get.get(name).is_some();
        if matches!(self.status, 200 | 206 | 304) && !(says("etag") && says("cache-control")) {
            return Err("no validators".to_owned());
        }
        // 15.3.7 and 15.4.5: what such a client has already is not said again.
        let has_them = match self.status {
            206 => self.fields.contains("If-Range"),
            status => status == 304,
        };
        for name in ["content-type", "last-modified"] {
            let expected = match name {
                "last-modified" => dated && matches!(self.status, 200 | 206) && !has_them,
                _ => !has_them,
            };
            if says(name) != expected {
                return Err(format!("{name} is there: {}", says(name)));
            }
        }
        if matches!(self.status, 200 | 206 | 304) && !says("x-content-type-options") {
            return Err("the configured fields are not there".to_owned());
        }
        // 9.3.2 and 14.2: HEAD is the same but for ranges.
        let expected = match self.status {
            206 | 416 => 200,
            status => status,
        };
        if head.status != expected {
            return Err(format!("HEAD: {}", head.status));
        }
        if expected == 200 && head.get("content-length") != Some("20") {
            return Err("HEAD: another length".to_owned());
        }
        Ok(())
    }
}

fn check_all<H: Handler>(server: &H, dated: bool) {
    let plain = get(server, "/digits.txt");
    let etag = plain.get("etag").expect("a tag");
    let cases = cases(etag);
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let get = ask(server, "GET", "/digits.txt", &case.fields);
        let head = ask(server, "HEAD", "/digits.txt", &case.fields);
        let checked = case.check(&get, &head, dated);
        failures.extend(checked.err().map(|why| format!("{}\n    {why}", case.line)));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn config() -> DirConfig {
    DirConfig::default().max_ranges(4).recheck(AN_HOUR)
}

#[test]
fn a_file_in_memory() {
    let scratch = Scratch::new();
    scratch.write("digits.txt", BODY);
    check_all(
        &DirServer::with_config(scratch.root(), config()).expect("a folder"),
        true,
    );
}

#[test]
fn a_file_on_the_disk() {
    let scratch = Scratch::new();
    scratch.write("digits.txt", BODY);
    let config = config().hot_file_bytes(0);
    check_all(
        &DirServer::with_config(scratch.root(), config).expect("a folder"),
        true,
    );
}

#[test]
fn a_file_in_the_program() {
    let files = Embedded::new([("digits.txt", BODY)], config()).expect("files");
    check_all(&files, false);
}

/// RFC 9110 section 14.6: each part with its type and place, in the order asked for.
#[test]
fn several_ranges_come_in_parts() {
    let scratch = Scratch::new();
    let long: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    scratch.write("long.bin", &long);
    scratch.write("digits.txt", BODY);
    let server = DirServer::new(scratch.root()).expect("a folder");
    for (path, whole, ranges) in [
        ("/digits.txt", BODY, &[(0, 1), (18, 19)][..]),
        ("/digits.txt", BODY, &[(15, 16), (0, 0), (3, 7)]),
        (
            "/long.bin",
            &long,
            &[(0, 99), (199_990, 199_999), (1000, 70_000)],
        ),
    ] {
        let specs: Vec<String> = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
        let field = format!("Range: bytes={}\r\n", specs.join(", "));
        let answer = ask(&server, "GET", path, &field);
        assert_eq!(answer.status, 206);
        assert_eq!(answer.get("content-range"), None, "14.4: only in the parts");
        let kind = answer.get("content-type").expect("a type");
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
        let boundary = boundary.expect("a multipart type");
        let part_kind = match path {
            "/digits.txt" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        };
        let mut expected = Vec::new();
        for &(first, last) in ranges {
            let len = whole.len();
            let head = format!(
                "--{boundary}\r\nContent-Type: {part_kind}\r\n\
                 Content-Range: bytes {first}-{last}/{len}\r\n\r\n"
            );
            expected.extend(head.bytes());
            expected.extend(&whole[first..=last]);
            expected.extend(b"\r\n");
        }
        expected.extend(format!("--{boundary}--\r\n").bytes());
        assert!(answer.body == expected, "{path} {specs:?}");
    }
}

/// There is no part of nothing.
#[test]
fn an_empty_file() {
    let scratch = Scratch::new();
    scratch.write("empty", b"");
    for hot_file_bytes in [0, 1000] {
        let config = config().hot_file_bytes(hot_file_bytes);
        let server = DirServer::with_config(scratch.root(), config).expect("a folder");
        let answer = get(&server, "/empty");
        assert_eq!(
            (answer.status, answer.get("content-length")),
            (200, Some("0"))
        );
        for range in ["0-", "0-0", "-5"] {
            let answer = ask(
                &server,
                "GET",
                "/empty",
                &format!("Range: bytes={range}\r\n"),
            );
            assert_eq!(answer.status, 416);
            assert_eq!(answer.get("content-range"), Some("bytes */0"));
        }
    }
}
