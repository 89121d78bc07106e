//! Requests that do not wait for responses (RFC 9112 section 9.3.2): however many arrive at once, and however
//! they are split, each gets its response, in order.

use super::support::{Asked, Client, ended, limits, start, workers};
use peregrine::{Done, Request, Response, from_fn};
use std::sync::Arc;
use std::thread;

/// Answers with the path and its length, which differ between neighbours.
fn numbered(req: &Request<'_>, res: Response<'_>) -> Done {
    res.header("Path", req.path()).body(req.path())
}

fn requests(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let request = |i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n");
    numbers.map(request).collect::<String>().into_bytes()
}

#[track_caller]
fn assert_answers(client: &mut Client, numbers: std::ops::Range<usize>) {
    for i in numbers {
        let answer = client.answer(Asked::Other);
        let path = format!("/{i}");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.get("path"), Some(path.as_str()));
        assert_eq!(answer.text(), path);
    }
}

#[test]
fn a_thousand_in_one_write() {
    let (_server, addr) = start(from_fn(numbered), workers(1));
    let mut client = Client::connect(addr);
    for _ in 0..3 {
        client.send(requests(0..1000));
        assert_answers(&mut client, 0..1000);
    }
}

#[test]
fn a_thousand_in_fragments() {
    let (_server, addr) = start(from_fn(numbered), workers(1));
    let mut client = Client::connect(addr);
    let bytes = requests(0..1000);
    let (mut rest, mut size) = (&bytes[..], 0);
    while !rest.is_empty() {
        size = size % 97 + 1;
        let (fragment, after) = rest.split_at(size.min(rest.len()));
        client.send(fragment);
        rest = after;
    }
    assert_answers(&mut client, 0..1000);
}

/// As many requests at once as one turn takes, and then silence: the connection must notice the
/// next ones.
#[test]
fn batches_that_fill_a_turn_exactly() {
    for per_turn in [1, 2, 64] {
        let limits = limits().requests_per_turn(per_turn);
        let config = workers(1).limits(limits);
        let (server, addr) = start(from_fn(numbered), config);
        let mut client = Client::connect(addr);
        let mut sent = 0;
        for times in [1, 2, 3] {
            for count in [per_turn * times, per_turn * times + 1, per_turn * times - 1] {
                client.send(requests(0..count));
                assert_answers(&mut client, 0..count);
                sent += count as u64;
            }
        }
        drop(client);
        server.stop();
        let stopped = ended(server);
        assert_eq!((stopped.counters.requests, stopped.aborted), (sent, 0));
    }
}

/// The same for responses that fill the output: the connection handles no further request before they are
/// sent, and must then go on by itself.
#[test]
fn responses_above_the_output_limit_one_after_another() {
    let limits = limits().output_bytes(1000);
    let config = workers(1).limits(limits);
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| {
        let times = req.query("n").and_then(|n| n.parse().ok()).unwrap_or(0);
        res.body(req.path().repeat(times))
    });
    let (_server, addr) = start(app, config);
    let mut client = Client::connect(addr);
    for times in [100, 1000, 10_000] {
        for i in 0..20 {
            let answer = client.get(&format!("/{i:03}?n={times}"));
            assert_eq!(answer.text(), format!("/{i:03}").repeat(times));
        }
    }
}

/// The client reads nothing before it has written all it can, and responses are larger than any buffer on the
/// way. The server must stop reading requests, and must lose none.
#[test]
fn ten_thousand_from_a_client_that_does_not_read() {
    const REQUESTS: usize = 10_000;
    const BODY: usize = 6 << 10;
    let filler: Arc<str> = "0123456789abcdef".repeat(BODY / 16).into();
    let body = filler.clone();
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        res.header("Path", req.path()).body(&*body)
    });
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);

    let bytes = requests(0..REQUESTS);
    let written = fill(&client, &bytes);
    let mut writer = client.stream.try_clone().expect("a second handle");
    let writing = thread::spawn(move || {
        use std::io::Write;
        writer.write_all(&bytes[written..]).expect("all is taken")
    });
    for i in 0..REQUESTS {
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.get("path"), Some(format!("/{i}").as_str()));
        assert!(answer.body == filler.as_bytes(), "answer {i}: {answer:?}");
    }
    writing.join().expect("written");
    drop(client);
    server.stop();
    assert_eq!(ended(server).counters.requests, REQUESTS as u64);
}

/// Writes until nothing more fits between here and the handler. Returns how much did.
fn fill(client: &Client, bytes: &[u8]) -> usize {
    use std::io::{ErrorKind, Write};
    let mut written = 0;
    client.stream.set_nonblocking(true).expect("an open socket");
    while written < bytes.len() {
        match (&client.stream).write(&bytes[written..]) {
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("written {written} bytes: {error}"),
        }
    }
    client
        .stream
        .set_nonblocking(false)
        .expect("an open socket");
    written
}
