//! Streamed responses as bytes: every way in which a client finds the end of one.

use super::support::{Answer, Asked, Framing, PATIENCE, Witness, read_answer, read_head};
use peregrine::body::{BodySender, SendError, TrySendError};
use peregrine::testing::Connection;
use peregrine::{Handler, Request, Response, from_fn};
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A handler that hands each stream to the test. The path is the status; the query may say `exact`,
/// the length to declare, and `late`.
pub(crate) fn streams() -> (Arc<impl Handler>, Receiver<BodySender>) {
    let (give, given) = channel();
    let give = Mutex::new(give);
    let app = Witness::new(move |req: &Request<'_>, res: Response<'_>| {
        let Ok(status) = req.path()[1..].parse() else {
            return res.body(req.path());
        };
        let exact = req.query("exact").map(|n| n.parse().expect("a number"));
        let give = give.lock().expect("no panic").clone();
        let begin = move |res: Response<'_>| {
            let (done, body) = match exact {
                None => res.stream(),
                Some(len) => res.stream_exact(len),
            };
            give.send(body).expect("the test listens");
            done
        };
        let res = res.status(status).header("Of", req.method());
        if req.query("late").is_none() {
            return begin(res);
        }
        let (done, responder) = res.defer();
        assert!(responder.send(begin).is_ok());
        done
    });
    (app, given)
}

pub(crate) fn request(method: &str, path: &str, version: &str) -> String {
    format!("{method} {path} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
}

/// Lets the connection take what was sent to it from this thread.
pub(crate) fn run<H: Handler>(client: &mut Connection<'_, H>) {
    client.wait(Duration::ZERO);
}

pub(crate) fn asked(method: &str, version: &str) -> Asked {
    match (method, version) {
        ("HEAD", _) => Asked::Head,
        (_, "1.0") => Asked::Old,
        _ => Asked::Other,
    }
}

/// The only response in the received bytes, whatever ends it.
#[track_caller]
pub(crate) fn only<H: Handler>(client: &Connection<'_, H>, asked: Asked) -> Answer {
    let bytes = client.received();
    let head = read_head(bytes, asked).expect("correct");
    let (mut answer, at, framing) = head.expect("a head");
    if framing == Framing::Close {
        assert!(client.is_closed(), "the end is missing");
        answer.body = bytes[at..].to_vec();
        return answer;
    }
    let answer = read_answer(bytes, asked).expect("correct");
    let (answer, rest) = answer.expect("complete");
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
    answer
}

// ------------------------------------------------------------------------------------ framing

#[test]
fn every_framing() {
    let (app, bodies) = streams();
    let late = ["", "late&"];
    let versions = ["1.0", "1.1"];
    for late in late {
        for version in versions {
            for method in ["GET", "HEAD"] {
                for status in [200, 404, 204, 205, 304] {
                    for exact in ["", "exact=6"] {
                        let path = format!("/{status}?{late}{exact}");
                        let what = format!("{method} {path} {version}");
                        let mut client = Connection::new(&app);
                        client.send(request(method, &path, version).as_bytes());
                        let body = bodies.try_recv().expect("a stream");
                        frame(&what, &mut client, body, asked(method, version));
                    }
                }
            }
        }
    }
}

fn frame<H: Handler>(
    what: &str,
    client: &mut Connection<'_, H>,
    mut body: BodySender,
    asked: Asked,
) {
    let is_wanted = !what.starts_with("HEAD")
        && !["/204", "/205", "/304"]
            .iter()
            .any(|bodiless| what.contains(bodiless));
    run(client);
    assert!(
        !client.received().is_empty(),
        "{what}: the head goes out at once"
    );
    for piece in ["abc", "", "def"] {
        let sent = body.try_send(piece);
        match is_wanted {
            true => sent.expect("room"),
            false => assert!(
                matches!(sent, Err(TrySendError::Failed(SendError::Gone))),
                "{what}: there is no receiver"
            ),
        }
        run(client);
    }
    body.trailer("Sum", "right").expect("a good one");
    assert_eq!(body.finish().is_ok(), is_wanted, "{what}");
    run(client);

    let answer = only(client, asked);
    let (is_exact, is_old) = (what.contains("exact"), what.ends_with("1.0"));
    assert_eq!(
        answer.text(),
        if is_wanted { "abcdef" } else { "" },
        "{what}"
    );
    let sends_chunks = is_wanted && !is_old && !is_exact;
    let trailers = [("sum".to_owned(), "right".to_owned())];
    assert_eq!(
        answer.trailers,
        &trailers[..usize::from(sends_chunks)],
        "{what}"
    );
    // What cannot be told by a length ends with the connection.
    let closes = is_old && !is_exact;
    assert_eq!(
        (answer.closes(), client.is_closed()),
        (closes, closes),
        "{what}"
    );
    assert!(answer.get("of").is_some());
    if !closes {
        client.take_received();
        client.send(request("GET", "/again", "1.1").as_bytes());
        assert_eq!(only(client, Asked::Other).text(), "/again", "{what}");
    }
    assert_eq!(client.counters().handler_errors, 0, "{what}");
}

#[test]
fn a_length_other_than_declared_aborts_the_connection() {
    let (app, bodies) = streams();
    for late in ["", "&late"] {
        for (declared, pieces) in [(6, vec!["abc"]), (6, vec!["abc", "defg"]), (0, vec!["a"])] {
            for version in ["1.0", "1.1"] {
                let path = format!("/200?exact={declared}{late}");
                let mut client = Connection::new(&app);
                client.send(request("GET", &path, version).as_bytes());
                let mut body = bodies.try_recv().expect("a stream");
                let sent = pieces.iter().try_for_each(|piece| body.send(*piece));
                let ended = sent.and_then(|()| body.finish());
                assert!(matches!(ended, Err(SendError::Length)), "{path} {pieces:?}");
                run(&mut client);
                assert!(client.is_closed(), "{path} {pieces:?}");
                let head = read_head(client.received(), Asked::Other).expect("correct");
                let (_, at, framing) = head.expect("a head");
                assert_eq!(framing, Framing::Length(declared));
                let body = &client.received()[at..];
                assert!(b"abcdef".starts_with(body) && body.len() <= declared);
                assert!(body.len() < 6, "half of it at most");
            }
        }
    }
}

#[test]
fn fields_that_may_not_be_trailers() {
    let (app, bodies) = streams();
    let mut client = Connection::new(&app);
    client.send(request("GET", "/200", "1.1").as_bytes());
    let mut body = bodies.try_recv().expect("a stream");
    let bad = [
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("Trailer", "x"),
        ("Host", "b"),
        ("Set-Cookie", "a=b"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Age", "1"),
        ("Content-Location", "/b"),
        ("Content-Language", "en"),
        ("Proxy-Authenticate", "Basic"),
        ("If-Match", "*"),
        ("Retry-After", "1"),
        ("Server", "x"),
        ("a b", "c"),
        ("", "c"),
        ("a:", "c"),
        ("a", "b\r\nc: d"),
        ("a", "b\0"),
    ];
    for (name, value) in bad {
        let added = body.trailer(name, value);
        assert!(
            matches!(added, Err(SendError::Trailer)),
            "{name}: {value:?}"
        );
    }
    body.trailer("a", "").expect("an empty one");
    body.trailer("B", "c").expect("a good one");
    // RFC 9530 section 2.
    body.trailer("Content-Digest", "d").expect("a good one");
    body.finish().expect("sent");
    run(&mut client);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    // The reader wants a space behind each colon, and there is one.
    let trailers = only(&client, Asked::Other).trailers;
    let expected = [pair("a", ""), pair("b", "c"), pair("content-digest", "d")];
    assert_eq!(trailers, expected);
}

#[test]
fn a_dropped_sender_aborts_the_connection() {
    let (app, bodies) = streams();
    for path in ["/200", "/200?late", "/200?exact=9", "/200?exact=9&late"] {
        let mut client = Connection::new(&app);
        let two = request("GET", path, "1.1") + &request("GET", "/next", "1.1");
        client.send(two.as_bytes());
        let mut body = bodies.try_recv().expect("a stream");
        body.send("abc").expect("sent");
        drop(body);
        run(&mut client);
        assert!(client.is_closed(), "{path}");
        let answer = read_answer(client.received(), Asked::Other);
        assert_eq!(answer, Ok(None), "{path}: it must not look complete");
    }
}

// ---------------------------------------------------------------------------------- the sender

#[test]
fn written_bytes_are_gathered_and_keep_their_place() {
    let (app, bodies) = streams();
    let mut client = Connection::new(&app);
    client.send(request("GET", "/200", "1.1").as_bytes());
    let mut body = bodies.try_recv().expect("a stream");
    run(&mut client);
    client.take_received();

    body.write_all(b"one ").expect("written");
    body.write_all(b"two ").expect("written");
    run(&mut client);
    assert!(client.received().is_empty(), "gathered");
    body.flush().expect("flushed");
    body.flush().expect("nothing to flush");
    run(&mut client);
    assert_eq!(client.take_received(), b"8\r\none two \r\n");

    body.write_all(b"three ").expect("written");
    body.try_send("four ").expect("room");
    body.write_all(b"five ").expect("written");
    body.send("six").expect("room");
    run(&mut client);
    let expected = b"6\r\nthree \r\n5\r\nfour \r\n5\r\nfive \r\n3\r\nsix\r\n";
    assert_eq!(client.take_received(), expected);

    // As much as is gathered at most, one more byte, and more than that at once.
    for (len, chunks) in [(16 << 10, 1), ((16 << 10) + 1, 1), (40 << 10, 1)] {
        body.write_all(b"x").expect("written");
        body.write_all(&vec![b'y'; len]).expect("written");
        run(&mut client);
        let received = client.take_received();
        assert!(
            received.starts_with(b"1\r\nx\r\n"),
            "what was there comes first"
        );
        let sizes = received.windows(2).filter(|two| two == b"\r\n").count() / 2;
        assert_eq!(sizes, 1 + chunks, "{len}");
    }
    body.write_all(b"the end").expect("written");
    body.finish().expect("finished");
    run(&mut client);
    assert_eq!(client.take_received(), b"7\r\nthe end\r\n0\r\n\r\n");
}

#[test]
fn declared_bytes_may_be_written() {
    let (app, bodies) = streams();
    let mut client = Connection::new(&app);
    client.send(request("GET", "/200?exact=5", "1.1").as_bytes());
    let mut body = bodies.try_recv().expect("a stream");
    write!(body, "{}{}", 12, 345).expect("written");
    body.finish().expect("finished");
    run(&mut client);
    assert_eq!(only(&client, Asked::Other).text(), "12345");
}

#[test]
fn requests_behind_a_stream_wait_for_its_end() {
    let (app, bodies) = streams();
    for (path, framing) in [
        ("/200", "\r\n0\r\n\r\n"),
        ("/200?exact=8", ""),
        ("/200?late", "\r\n0\r\n\r\n"),
    ] {
        let all = ["/a", path, "/b", path, "/c"].map(|path| request("GET", path, "1.1"));
        let mut client = Connection::new(&app);
        client.send(all.concat().as_bytes());
        for next in ["/b", "/c"] {
            let mut body = bodies.try_recv().expect("a stream");
            assert!(bodies.try_recv().is_err(), "one at a time");
            for piece in ["1234", "5678"] {
                body.send(piece).expect("sent");
                run(&mut client);
                let received = client.take_received();
                assert!(received.windows(4).any(|four| four == piece.as_bytes()));
                assert!(!received.ends_with(next.as_bytes()));
            }
            body.finish().expect("finished");
            run(&mut client);
            let received = client.take_received();
            let received = String::from_utf8(received).expect("text");
            assert!(received.starts_with(&format!("{}HTTP/1.1", framing.trim_start())));
            assert!(received.contains(&format!("\r\n\r\n{next}")), "{received}");
        }
        assert!(!client.is_closed());
    }
}

#[test]
fn a_client_that_has_sent_its_last_byte_gets_the_rest() {
    let (app, bodies) = streams();
    for path in ["/200", "/200?exact=3", "/200?late"] {
        let mut client = Connection::new(&app);
        client.send(request("GET", path, "1.1").as_bytes());
        let mut body = bodies.try_recv().expect("a stream");
        client.send_eof();
        body.send("abc").expect("sent");
        body.finish().expect("finished");
        run(&mut client);
        assert_eq!(only(&client, Asked::Other).text(), "abc", "{path}");
        assert!(client.is_closed(), "{path}");
    }
}

#[test]
fn a_silent_stream_ends_after_a_timeout() {
    let (app, bodies) = streams();
    for path in ["/200", "/200?exact=9", "/200?late"] {
        let mut client = Connection::new(&app);
        client.send(request("GET", path, "1.1").as_bytes());
        let mut body = bodies.try_recv().expect("a stream");
        for _ in 0..3 {
            client.elapse(Duration::from_secs(299));
            body.send("abc").expect("sent");
            run(&mut client);
            assert!(!client.is_closed(), "{path}: each piece gives it more time");
        }
        client.elapse(Duration::from_secs(301));
        assert!(client.is_closed(), "{path}");
        assert!(body.is_gone() && matches!(body.send(""), Err(SendError::Gone)));
        let answer = match path.contains("exact") {
            false => read_answer(client.received(), Asked::Other),
            true => Ok(None),
        };
        assert_eq!(answer, Ok(None), "{path}: it must not look complete");
    }
}

/// The thread that responds later sends the head before the first piece.
#[test]
fn a_stream_begins_in_a_deferred_response() {
    let app = from_fn(|_: &Request<'_>, res: Response<'_>| {
        let (done, responder) = res.status(201).header("Early", "yes").defer();
        std::thread::spawn(move || {
            let mut body = None;
            let _ = responder.send(|res| {
                let (done, sender) = res.header("Late", "yes").stream();
                body = Some(sender);
                done
            });
            let mut body = body.expect("a stream");
            for n in 0..1000 {
                writeln!(body, "{n}").expect("written");
            }
            body.trailer("lines", "1000").expect("a good one");
            body.finish().expect("finished");
        });
        done
    });
    let mut client = Connection::new(&app);
    for _ in 0..3 {
        client.send(request("GET", "/", "1.1").as_bytes());
        let answer = loop {
            let received = client.received();
            if let Some((answer, _)) = read_answer(received, Asked::Other).expect("correct") {
                break answer;
            }
            assert!(client.wait(PATIENCE), "all of it");
        };
        client.take_received();
        let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert!(answer.text() == expected);
        assert_eq!(answer.status, 201);
        assert_eq!(
            (answer.get("early"), answer.get("late")),
            (Some("yes"), Some("yes"))
        );
    }
}
