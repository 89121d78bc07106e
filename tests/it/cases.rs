//! Bytes in, responses out: every table in `tests/cases/*.http` against a connection without sockets, and
//! what a table cannot say because time passes or the client goes away.
//!
//! A case is `== name | RFC section`, then `@ limit=n ...` (optional), `>` lines with the bytes to
//! send, `<` lines with the responses in order, and `< open` or `< close`. In bytes, `\r \n \t \0
//! \xNN \\ \"` are escapes, `{3*ab}` is `ababab` and `{{` a brace. A response is
//! `[n*]status[|status] [head] ["body"] [name: value | !name][; ...]`, or `100?` for an
//! interim response that may be missing.

#![expect(clippy::disallowed_methods, reason = "panics of the test itself")]

#[path = "../../src/runtime/tests/limit.rs"]
mod limit;

use super::support::{Answer, Asked, ensure, read_answer};
use limit::set_limit;
use peregrine::testing::Connection;
use peregrine::{Config, Done, Handler, Limits, Request, Response};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{collections::HashSet, fs, path::Path, time::Duration};

/// The interim response, which has no fields here.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Sent after a case to see whether the connection still listens.
const TRAILING: &[u8] = b"GET /trailing HTTP/1.1\r\nHost: t\r\n\r\n";
const TRAILING_ANSWER: &str = r#"200 "GET /trailing HTTP/1.1 ""#;
/// Sent before that where no response may come: ends whatever the server might be reading.
const JUNK: &[u8] = b"\0junk\r\n\r\n0\r\n\r\n";

/// Answers with what it understood of the request.
struct Echo;

impl Handler for Echo {
    fn takes_special(&self, req: &Request<'_>) -> bool {
        req.header("special").is_some()
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let (status, body) = match req.path().strip_prefix("/status/") {
            Some(status) => (status, b"x".to_vec()),
            None => (req.header("answer").unwrap_or("200"), echo(req)),
        };
        let res = res.status(status.parse().expect("a status"));
        res.header("Content-Type", "text/plain").body(body)
    }
}

/// The body of the response: by path, or by the field `Show` where the path is not free to choose.
fn echo(req: &Request<'_>) -> Vec<u8> {
    match req.header("show").unwrap_or(req.path()) {
        "/host" => req.host().unwrap_or("none").into(),
        "/path" => req.path().into(),
        "/header" => {
            let name = req.query_string().expect("the name of a header field");
            req.header_all(name).collect::<Vec<_>>().join(&b'|')
        }
        "/query" => {
            let pairs = req.query_pairs().map(|(k, v)| format!("{k}={v}"));
            pairs.collect::<Vec<_>>().join(";").into()
        }
        // A panic without the hook, which would print a trace for every split.
        "/panic" => resume_unwind(Box::new("as asked")),
        _ => {
            let line = format!("{} {} {} ", req.method(), req.target(), req.version());
            [line.as_bytes(), req.body()].concat()
        }
    }
}

// ----------------------------------------------------------------------------------- the tables

#[derive(Clone)]
struct Expect {
    /// One of these; none of them is an interim response that may be missing.
    statuses: Vec<u16>,
    /// The response to HEAD: a Content-Length, no body.
    head: bool,
    body: Option<String>,
    /// `name: value`, or `!name` for a field that must be missing; names in lower case.
    fields: Vec<String>,
}

#[derive(Default)]
struct Case {
    /// `file: name | RFC section`, for messages.
    name: String,
    limits: Limits,
    input: Vec<u8>,
    expects: Vec<Expect>,
    /// `None` until the line is read.
    open: Option<bool>,
}

fn unescape(text: &str) -> Vec<u8> {
    let Some(at) = text.find(['\\', '{']) else {
        return text.into();
    };
    let (mark, mut rest) = text[at..].split_at_checked(2).expect("a longer escape");
    let known = [r"\r", r"\n", r"\t", r"\0", r"\\", "\\\"", "{{"];
    let bytes = if let Some(known) = known.iter().position(|known| *known == mark) {
        vec![b"\r\n\t\0\\\"{"[known]]
    } else if mark == "\\x" {
        let (hex, after) = rest.split_at_checked(2).expect("two hex digits");
        rest = after;
        vec![u8::from_str_radix(hex, 16).expect("two hex digits")]
    } else {
        let inner = text[at..].strip_prefix('{').and_then(|t| t.split_once('}'));
        let (inner, after) = inner.expect("an escape, {{ or {times*bytes}");
        let (times, what) = inner.split_once('*').expect("{times*bytes}");
        rest = after;
        unescape(what).repeat(times.parse().expect("a number"))
    };
    [&text.as_bytes()[..at], &bytes, &unescape(rest)].concat()
}

fn parse_expect(line: &str) -> Vec<Expect> {
    let (status, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let (times, status) = status.split_once('*').unwrap_or(("1", status));
    let statuses = status.split('|').filter(|status| *status != "100?");
    let after_head = rest.strip_prefix("head");
    rest = after_head.unwrap_or(rest).trim_start();
    let mut body = None;
    if let Some(after) = rest.strip_prefix('"') {
        let (text, after) = after.rsplit_once('"').expect("a closing quote");
        body = Some(unescape(text).escape_ascii().to_string());
        rest = after.trim_start();
    }
    let fields = rest.split("; ").filter(|field| !field.is_empty());
    let is_field = |field: &str| field.starts_with('!') || field.contains(": ");
    assert!(fields.clone().all(is_field), "`name: value` or `!name`");
    let expect = Expect {
        statuses: statuses.map(|s| s.parse().expect("a status")).collect(),
        head: after_head.is_some(),
        body,
        fields: fields.map(str::to_owned).collect(),
    };
    vec![expect; times.parse().expect("a number of answers")]
}

impl Case {
    fn line(&mut self, line: &str) {
        assert!(self.open.is_none(), "nothing comes after open or close");
        match line.split_at_checked(2).expect("a mark and a space") {
            ("@ ", all) => all.split(' ').for_each(|l| set_limit(&mut self.limits, l)),
            ("> ", bytes) => self.input.extend(unescape(bytes)),
            ("< ", end @ ("open" | "close")) => self.open = Some(end == "open"),
            ("< ", answer) => self.expects.extend(parse_expect(answer)),
            _ => panic!("a line begins with `==`, `@`, `>`, `<` or `#`"),
        }
    }
}

fn parse_file(file: &str, text: &str, cases: &mut Vec<Case>) {
    assert!(text.is_ascii(), "{file}: write other bytes as \\xNN");
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            let (name, case) = (format!("{file}: {title}"), Case::default());
            assert!(title.contains(" | RFC "), "{name}: names no RFC section");
            cases.push(Case { name, ..case });
        } else if !line.is_empty() && !line.starts_with('#') {
            let case = cases.last_mut().expect("`==` comes first");
            let parsed = catch_unwind(AssertUnwindSafe(|| case.line(line)));
            assert!(parsed.is_ok(), "{}: malformed line: {line}", case.name);
        }
    }
}

fn read_cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let (mut cases, mut names) = (Vec::new(), HashSet::new());
    for entry in fs::read_dir(&dir).expect("tests/cases") {
        let path = entry.expect("a file").path();
        let file = path.file_name().expect("a name").to_string_lossy();
        if file.ends_with(".http") {
            let text = fs::read_to_string(&path).expect("text");
            parse_file(&file, &text, &mut cases);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    for Case { name, open, .. } in &cases {
        assert!(open.is_some(), "{name}: neither open nor close");
        assert!(names.insert(name.split(" | ").next()), "{name}: twice");
    }
    cases
}

impl Expect {
    /// What was asked for, to read the response.
    fn asked(&self) -> Asked {
        match self.head {
            true => Asked::Head,
            // Only where the case says so: the response that grants CONNECT has no end but the close.
            false if self.fields.iter().any(|f| f == "!content-length") => Asked::Connect,
            false => Asked::Other,
        }
    }

    fn check(&self, answer: &Answer) -> Result<(), String> {
        let (status, wanted) = (answer.status, &self.statuses);
        let body = answer.body.escape_ascii().to_string();
        ensure!(wanted.contains(&status), "{status}, not {wanted:?}");
        if let Some(wanted) = &self.body {
            ensure!(body == *wanted, "body is not {wanted}");
        }
        for field in &self.fields {
            let right = match (field.split_once(": "), field.strip_prefix('!')) {
                (Some((name, value)), _) => answer.field(name)? == Some(value),
                (None, name) => answer.field(name.unwrap_or(field))?.is_none(),
            };
            ensure!(right, "expected {field}");
        }
        // A client shows the text of a refusal, so it must be text, and there must be some.
        if status >= 400 && !self.head {
            let kind = answer.field("content-type")?.unwrap_or("");
            let text = kind.starts_with("text/plain") && !body.is_empty();
            ensure!(text, "an error without text");
        }
        Ok(())
    }
}

/// Reads `bytes` as the responses expected and nothing else.
fn read_answers(mut bytes: &[u8], expects: &[Expect]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for expect in expects {
        if expect.statuses.is_empty() {
            bytes = bytes.strip_prefix(CONTINUE).unwrap_or(bytes);
            continue;
        }
        let answer = read_answer(bytes, expect.asked())?;
        let (answer, rest) = answer.ok_or("no complete answer")?;
        expect.check(&answer)?;
        answers.push(answer);
        bytes = rest;
    }
    ensure!(bytes.is_empty(), "more was answered than expected");
    Ok(answers)
}

impl Case {
    /// Sends the pieces on a new connection and holds the responses against the expectation.
    fn play(&self, pieces: &[&[u8]], expects: &[Expect], eof: bool) -> Result<Vec<Answer>, String> {
        let config = Config::default().limits(self.limits);
        // The cases are those of HTTP/1: the preface is garbage there.
        #[cfg(feature = "http2")]
        let config = config.http2(peregrine::config::Http2::Off);
        let peer = ([127, 0, 0, 1], 9).into();
        let mut connection = Connection::with_config(&Echo, &config, peer);
        pieces.iter().for_each(|piece| connection.send(piece));
        if eof {
            connection.send_eof();
        }
        let (received, closed) = (connection.received(), connection.is_closed());
        let open = self.open == Some(true);
        let judge = || {
            let answers = read_answers(received, expects)?;
            for (at, answer) in answers.iter().enumerate() {
                let close = answer.field("connection")? == Some("close");
                let due = !open && at + 1 == answers.len();
                ensure!(close == due, "Connection: close in answer {at}: {close}");
            }
            ensure!(closed == (eof || !open), "closed: {closed}");
            Ok(answers)
        };
        judge().map_err(|why: String| {
            let start = &received[..received.len().min(400)];
            format!("{why}; received {}", start.escape_ascii())
        })
    }

    /// Plays the case in every way; the responses must not depend on the way.
    fn check(&self) -> Result<(), String> {
        let input = self.input.as_slice();
        let whole = self.play(&[input], &self.expects, false)?;
        let same = |way: &str, pieces: &[&[u8]], eof: bool| {
            let answers = self.play(pieces, &self.expects, eof);
            let answers = answers.map_err(|why| format!("{way}: {why}"))?;
            ensure!(answers == whole, "{way}: {answers:?}, whole: {whole:?}");
            Ok(())
        };
        same("byte by byte", &input.chunks(1).collect::<Vec<_>>(), false)?;
        same("then eof", &[input], true)?;
        // Every place to split, but of long inputs only the ends and a sample between.
        let len = input.len();
        let step = if len <= 1024 { 1 } else { len / 64 };
        let sampled = |at: &usize| *at < 128 || at + 128 > len || at % step == 0;
        for at in (1..len).filter(sampled) {
            let (one, two) = input.split_at(at);
            same(&format!("split at {at}"), &[one, two], false)?;
        }
        let (more, junk) = match self.open {
            Some(true) => (parse_expect(TRAILING_ANSWER), &b""[..]),
            _ => (Vec::new(), JUNK),
        };
        let expects = [self.expects.clone(), more].concat();
        let trailed = [input, TRAILING].concat();
        for pieces in [&[&trailed[..]][..], &[input, junk, TRAILING]] {
            let answers = self.play(pieces, &expects, false);
            let answers = answers.map_err(|why| format!("trailing: {why}"))?;
            ensure!(answers.starts_with(&whole), "trailing bytes change answers");
        }
        Ok(())
    }
}

#[test]
fn every_case_in_every_way() {
    let cases = read_cases();
    assert!(cases.len() >= 150, "only {} cases found", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let checked = catch_unwind(AssertUnwindSafe(|| case.check()));
        let checked = checked.unwrap_or_else(|_| Err("the server panicked".to_owned()));
        failures.extend(checked.err().map(|why| format!("{}\n    {why}", case.name)));
    }
    let (failed, list) = (failures.len(), failures.join("\n"));
    assert!(failed == 0, "{failed} of {} cases:\n{list}", cases.len());
}

// ------------------------------------------------------------------------ what tables cannot say

const TIMEOUT: &str = "408 connection: close";
const SECOND: Duration = Duration::from_secs(1);

/// Parses all received bytes as these responses.
fn assert_answers(c: &Connection<'_, Echo>, lines: &[&str], closed: bool) {
    let expects: Vec<_> = lines.iter().flat_map(|line| parse_expect(line)).collect();
    let why = read_answers(c.received(), &expects).err();
    assert_eq!(why, None, "received {}", c.received().escape_ascii());
    assert_eq!(c.is_closed(), closed);
}

/// Sends `piece` once a second.
fn drip(c: &mut Connection<'_, Echo>, times: usize, piece: &[u8]) {
    for _ in 0..times {
        c.elapse(SECOND);
        c.send(piece);
    }
}

/// RFC 9110 section 10.1.1: 100 is due when the body is awaited, and needless once it is here.
#[test]
fn continue_is_sent_only_to_a_client_that_waits() {
    let head = b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let answer = r#"200 "POST /x HTTP/1.1 hello""#;
    let mut waits = Connection::new(&Echo);
    for piece in [&head[..], b"he"] {
        waits.send(piece);
        assert_eq!(waits.received(), CONTINUE, "once, and at once");
    }
    waits.send(b"llo");
    assert_answers(&waits, &["100?", answer], false);

    let mut at_once = Connection::new(&Echo);
    at_once.send(&[&head[..], b"hello"].concat());
    assert_answers(&at_once, &[answer], false);
}

/// RFC 9112 section 9.5: a head has ten seconds from its first byte, however steadily it drips.
#[test]
fn a_head_that_never_ends_is_refused() {
    let mut c = Connection::new(&Echo);
    c.send(TRAILING);
    c.elapse(60 * SECOND);
    c.send(b"GET / HTTP/1.1\r\nX: ");
    drip(&mut c, 9, b"y");
    assert_answers(&c, &["200"], false);
    drip(&mut c, 3, b"y");
    c.send(b"\r\nHost: a\r\n\r\n");
    assert_answers(&c, &["200", TIMEOUT], true);
}

/// RFC 9112 section 9.5: an idle connection is closed without a response.
#[test]
fn an_idle_connection_is_closed_silently() {
    for (sent, answers) in [(&b""[..], &[][..]), (TRAILING, &["200"])] {
        let mut c = Connection::new(&Echo);
        c.send(sent);
        c.elapse(74 * SECOND);
        assert_answers(&c, answers, false);
        c.elapse(3 * SECOND);
        assert_answers(&c, answers, true);
    }
    let mut used = Connection::new(&Echo);
    for _ in 0..3 {
        used.elapse(70 * SECOND);
        used.send(TRAILING);
    }
    assert_answers(&used, &["3*200"], false);
}

/// RFC 9112 section 2.2: empty lines are no request, so that the connection is as idle as without them.
#[test]
fn empty_lines_leave_a_connection_idle() {
    for (before, lines) in [(0, 1), (1, 1), (1, 8)] {
        let sent = [&TRAILING.repeat(before), &b"\r\n".repeat(lines)[..]].concat();
        let answers = vec![TRAILING_ANSWER; before];
        let [mut idle, mut used, mut gone, mut stopped] = [(); 4].map(|()| {
            let mut c = Connection::new(&Echo);
            c.send(&sent);
            #[cfg(feature = "internals")]
            assert_eq!(c.held(), 0, "no buffer is kept");
            c
        });
        idle.elapse(74 * SECOND);
        assert_answers(&idle, &answers, false);
        idle.elapse(3 * SECOND);
        assert_answers(&idle, &answers, true);

        used.elapse(60 * SECOND);
        used.send(TRAILING);
        assert_answers(&used, &vec![TRAILING_ANSWER; before + 1], false);

        gone.send_eof();
        assert_answers(&gone, &answers, true);
        assert_eq!(gone.counters().connection_errors, 0);

        stopped.stop();
        stopped.elapse(3 * SECOND);
        assert_answers(&stopped, &answers, true);
    }
    // Half of one holds a buffer, as half a head does.
    let mut half = Connection::new(&Echo);
    half.send(b"\r\n\r");
    half.elapse(9 * SECOND);
    assert_answers(&half, &[], false);
    half.elapse(3 * SECOND);
    assert_answers(&half, &[], true);
}

/// RFC 9110 section 15.5.9: after ten seconds a body must bring 1000 bytes a second.
#[test]
fn a_body_slower_than_its_rate_closes_the_connection() {
    let head = "POST /x HTTP/1.1\r\nHost: a\r\n";
    let length = format!("{head}Content-Length: 60000\r\n\r\n");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\nEA60\r\n");
    for (head, end) in [(length, ""), (chunked, "\r\n0\r\n\r\n")] {
        let [mut slow, mut stalled, mut steady] = [(); 3].map(|()| {
            let mut c = Connection::new(&Echo);
            // The time that the head took does not count.
            c.send(&head.as_bytes()[..1]);
            c.elapse(9 * SECOND);
            c.send(&head.as_bytes()[1..]);
            c
        });
        drip(&mut slow, 9, &[b'x'; 100]);
        assert_answers(&slow, &[], false);
        drip(&mut slow, 4, &[b'x'; 100]);
        assert_answers(&slow, &[TIMEOUT], true);

        stalled.send(&[b'x'; 20_000]);
        stalled.elapse(60 * SECOND);
        assert_answers(&stalled, &[TIMEOUT], true);

        drip(&mut steady, 40, &[b'x'; 1500]);
        steady.send(end.as_bytes());
        assert_answers(&steady, &[r#"200 "POST /x HTTP/1.1 {60000*x}""#], false);
    }
}

/// What was fast at first allows for a pause, but not for one that lasts.
#[test]
fn a_body_that_stalls_after_its_beginning_closes_the_connection() {
    let head = "POST /x HTTP/1.1\r\nHost: a\r\n";
    let length = format!("{head}Content-Length: 1000000\r\n\r\n");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\nF4240\r\n");
    for head in [length, chunked] {
        let mut c = Connection::new(&Echo);
        c.send(head.as_bytes());
        c.send(&[b'x'; 900_000]);
        c.elapse(74 * SECOND);
        assert_answers(&c, &[], false);
        // A byte now and then is no pause that ends.
        for _ in 0..3 {
            c.send(b"x");
            c.elapse(SECOND);
        }
        assert_answers(&c, &[TIMEOUT], true);
    }
}

/// RFC 9112 section 8: an incomplete request gets no response; a complete one before it does.
#[test]
fn eof_closes_without_a_response() {
    let post = "POST /y HTTP/1.1\r\nHost: a\r\n";
    for request in [
        format!("\r\n{post}Content-Length: 5\r\n\r\nhello"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    ] {
        let cuts = (0..request.len()).flat_map(|cut| [0, 1, 100].map(|n| (cut, n)));
        for (cut, before) in cuts {
            let mut c = Connection::new(&Echo);
            c.send(&[&TRAILING.repeat(before), &request.as_bytes()[..cut]].concat());
            assert_answers(&c, &vec![TRAILING_ANSWER; before], false);
            c.send_eof();
            assert_answers(&c, &vec![TRAILING_ANSWER; before], true);
        }
    }
}
