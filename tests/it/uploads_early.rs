//! Uploads that get a response before their end, for clients that continue to send and for curl.

use crate::clients::curl;
use crate::scratch::Scratch;
use crate::support::{Answer, Asked, Client, ended, limits, read_answer, start, workers};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Answers when it has this many bytes.
struct Early(usize);

impl BodySink for Early {
    fn piece(&mut self, _: &[u8], body: &mut Incoming<'_>) -> Flow {
        match body.received() < self.0 as u64 {
            true => Flow::Continue,
            false => Flow::Respond,
        }
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(422).text("enough")
    }
}

struct Impatient;

impl Handler for Impatient {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/refuse" => BodyPlan::Refuse(403),
            "/respond" => BodyPlan::respond(|_, res| res.status(422).text("enough")),
            "/unread" => BodyPlan::Unread,
            "/take" => BodyPlan::stream(Early(usize::MAX)),
            _ => BodyPlan::stream(Early(1000)),
        }
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(422).text("enough")
    }
}

/// The client does not stop before it has sent all, or cannot. It still gets the response, and the connection
/// ends.
#[test]
fn an_early_response_reaches_a_client_that_still_sends() {
    // Until then the connection is open, but the server reads no more than `linger_bytes`.
    let linger_timeout = Duration::from_secs(1);
    let limits = limits().linger_timeout(linger_timeout);
    let config = workers(1).limits(limits);
    let (server, addr) = start(Impatient, config);
    let block = vec![b'x'; 8 * MIB];
    let send_on = &|path: &str, head: &str| {
        let client = Client::connect(addr);
        let mut stream = client.stream.try_clone().expect("a socket");
        let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\n{head}");
        let reader = thread::spawn(move || answer_and_end(client));
        stream.write_all(head.as_bytes()).expect("sent");
        // It never stops by itself: only the end of the connection stops it.
        while stream.write_all(&block).is_ok() {}
        let answer = reader.join().expect("an answer");
        let status = if path == "/refuse" { 403 } else { 422 };
        assert_eq!((answer.status, answer.closes()), (status, true), "{path}");
    };
    // All at once, as each of them waits for that time.
    thread::scope(|scope| {
        for path in ["/early", "/unread", "/refuse"] {
            for head in [
                "Content-Length: 8388608\r\n\r\n",
                "Transfer-Encoding: chunked\r\n\r\n800000\r\n",
            ] {
                scope.spawn(move || send_on(path, head));
            }
        }
    });
    server.stop();
    assert_eq!(ended(server).aborted, 0);
}

/// One response, and then the end of the connection, however that looks.
fn answer_and_end(mut client: Client) -> Answer {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match client.stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    let answer = read_answer(&bytes, Asked::Other).expect("a correct answer");
    let (answer, rest) = answer.expect("all of it");
    assert!(rest.is_empty(), "nothing more");
    answer
}

/// A client that stops when it has its response gets a proper end.
#[test]
fn an_early_response_ends_properly() {
    let (server, addr) = start(Impatient, workers(1));
    let block = [b'x'; 100_000];
    for head in [
        "/early HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n",
        "/early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n",
        "/early HTTP/1.0\r\nContent-Length: 8388608\r\n\r\n",
        "/unread HTTP/1.0\r\nContent-Length: 8388608\r\n\r\n",
        "/respond HTTP/1.0\r\nContent-Length: 8388608\r\n\r\n",
    ] {
        let mut client = Client::connect(addr);
        client.send(format!("PUT {head}"));
        client.send(block);
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (422, true));
        client.send(block);
        client.expect_end();
    }
    server.stop();
    assert_eq!(ended(server).aborted, 0);
}

// ---------------------------------------------------------------------------- curl

/// Curl waits for `100 Continue` as long as it takes: what is refused is never sent.
#[test]
fn curl_sends_the_body_that_the_plan_accepts() {
    const LEN: usize = 8 * MIB;
    let limits = limits()
        .body_bytes(MIB)
        // A client that sends more than that before it reads gets a reset, and curl may report only that.
        .linger_bytes(2 * LEN)
        .linger_timeout(Duration::from_secs(30));
    let config = workers(1).limits(limits);
    struct App;
    impl Handler for App {
        fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
            match req.path() {
                "/buffer" => BodyPlan::Buffer,
                "/limited" => BodyPlan::stream_up_to(Early(usize::MAX), MIB as u64),
                _ => Impatient.body_plan(req),
            }
        }
        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            Impatient.handle_request(req, res)
        }
    }
    let (server, addr) = start(App, config);
    let scratch = Scratch::new();
    scratch.write("large", vec![b'x'; LEN]);
    let file = scratch.path("large");
    let file = file.to_str().expect("ASCII");
    let expect = ["-H", "Expect: 100-continue", "--expect100-timeout", "1000"];
    let said = ["-o", "/dev/null", "-w", "%{http_code} %{size_upload}"];
    for (path, status, sent) in [
        ("/take", 422, LEN),
        ("/refuse", 403, 0),
        ("/unread", 422, 0),
        ("/limited", 413, 0),
        ("/buffer", 413, 0),
    ] {
        let url = format!("http://{addr}{path}");
        let Some(printed) = curl(&[&["-T", file], &expect[..], &said].concat(), &url) else {
            return;
        };
        let printed = String::from_utf8(printed).expect("text");
        assert_eq!(printed, format!("{status} {sent}"), "{path}");
    }
    // Without that question it sends at once, reads the refusal and stops.
    for path in ["/early", "/refuse", "/unread"] {
        let url = format!("http://{addr}{path}");
        let options = [&["-T", file, "-H", "Expect:"], &said[..]].concat();
        let printed = curl(&options, &url).unwrap_or_default();
        let status = if path == "/refuse" { "403 " } else { "422 " };
        assert!(printed.starts_with(status.as_bytes()), "{path}");
    }
    server.stop();
    assert_eq!(ended(server).aborted, 0);
}
