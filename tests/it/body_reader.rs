//! Bodies that another thread reads.

use super::support::{Asked, Client, PATIENCE, start, wait_until, workers};
use peregrine::body::BodyReader;
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::io::{ErrorKind, Read};
use std::sync::{Mutex, mpsc};
use std::thread;

/// Gives each body to the test.
pub(crate) struct Readers(Mutex<mpsc::Sender<BodyReader>>);

impl Handler for Readers {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        let (plan, reader) = BodyReader::new();
        let sent = self.0.lock().expect("no panic").send(reader);
        sent.expect("the test listens");
        plan
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        res.body(req.path())
    }
}

pub(crate) fn readers() -> (Readers, impl FnMut() -> BodyReader) {
    let (readers, arrived) = mpsc::channel();
    let next = move || arrived.recv_timeout(PATIENCE).expect("a body");
    (Readers(Mutex::new(readers)), next)
}

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ";

/// All that was sent is read, in order, whatever either side's steps; others are served meanwhile.
#[test]
fn a_body_is_read_on_another_thread() {
    const LEN: usize = 4 << 20;
    let (app, mut next) = readers();
    let (_server, addr) = start(app, workers(1));
    let body: Vec<u8> = (0..LEN).map(|i| ((i * 7) >> 8) as u8).collect();
    let sent = body.clone();
    let upload = thread::spawn(move || {
        let mut client = Client::connect(addr);
        client.send(format!("{HEAD}{LEN}\r\n\r\n"));
        client.send(&sent);
        let answer = client.answer(Asked::Other).text().to_owned();
        (answer, client.get("/next").text().to_owned())
    });
    let mut other = Client::connect(addr);
    let mut reader = next();
    let (mut at, mut step) = (0, vec![0; 100_000]);
    loop {
        let n = reader.read(&mut step).expect("the body");
        if n == 0 {
            break;
        }
        assert!(step[..n] == body[at..at + n], "at {at}");
        if at == 0 {
            assert_eq!(other.get("/other").text(), "/other");
        }
        at += n;
    }
    assert_eq!(at, LEN);
    assert!(reader.respond(|res| res.text("read")).is_ok());
    let answers = upload.join().expect("no panic");
    assert_eq!(answers, ("read".to_owned(), "/next".to_owned()));
}

#[test]
fn a_response_without_the_rest_of_the_body() {
    let (app, mut next) = readers();
    let (_server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    client.send(format!("{HEAD}10\r\n\r\nhalf"));
    let mut reader = next();
    let mut half = [0; 4];
    reader.read_exact(&mut half).expect("half");
    assert!(reader.respond(|res| res.text("enough")).is_ok());
    assert_eq!(client.answer(Asked::Other).text(), "enough");
    client.send("of it.");
    assert_eq!(client.get("/next").text(), "/next");

    // Before a byte of it has come.
    client.send(format!("{HEAD}10\r\n\r\n"));
    assert!(next().respond(|res| res.text("none of it")).is_ok());
    assert_eq!(client.answer(Asked::Other).text(), "none of it");
    client.send("ten bytes.");
    assert_eq!(client.get("/next").text(), "/next");
    // The client waits for it, or sends chunks.
    for (fields, interim) in [
        ("Content-Length: 10\r\nExpect: 100-continue", true),
        ("Transfer-Encoding: chunked", false),
    ] {
        let mut client = Client::connect(addr);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        let reader = next();
        if interim {
            let mut bytes = [0; 25];
            client.body(&mut bytes);
            assert_eq!(bytes, *b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        assert!(reader.respond(|res| res.text("none of it")).is_ok());
        assert_eq!(client.answer(Asked::Other).text(), "none of it");
    }
}

#[test]
fn a_dropped_reader_sends_500() {
    let (app, mut next) = readers();
    let (_server, addr) = start(app, workers(1));
    for body in ["", "half", "ten bytes."] {
        let mut client = Client::connect(addr);
        client.send(format!("{HEAD}10\r\n\r\n{body}"));
        drop(next());
        assert_eq!(client.answer(Asked::Other).status, 500, "{body}");
        client.expect_end();
    }
}

/// A client that leaves is an error to the reader, not the end of a body.
#[test]
fn a_client_that_leaves_does_not_complete_the_body() {
    let (app, mut next) = readers();
    let (server, addr) = start(app, workers(1));
    for read_first in [true, false] {
        let mut client = Client::connect(addr);
        client.send(format!("{HEAD}10\r\n\r\nhalf"));
        let mut reader = next();
        let mut bytes = Vec::new();
        if read_first {
            bytes.resize(4, 0);
            reader.read_exact(&mut bytes).expect("half");
        }
        client.reset();
        let error = reader.read_to_end(&mut bytes).expect_err("half a body");
        assert_eq!(
            (&bytes[..], error.kind()),
            (&b"half"[..], ErrorKind::ConnectionAborted)
        );
        assert!(
            reader
                .respond(|_| unreachable!("the client has gone"))
                .is_err()
        );
    }
    wait_until("both are closed", || {
        let counters = server.counters();
        counters.accepted == 2 && counters.closed == 2
    });
}
