//! Streamed responses to clients of several kinds, and to many at once.

use super::stream_flow::{get, narrow, next, pattern, read_all};
use super::stream_out::streams;
use super::support::{Asked, Client, PATIENCE, Stream, Witness, start};
use peregrine::body::SendError;
use peregrine::{Done, Request, Response, from_fn};
use std::io::{self, Read, Write};
use std::thread;

/// Reads a byte at a time.
struct Trickle(Stream);

impl Read for Trickle {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(1);
        self.0.read(&mut into[..most])
    }
}

impl Write for Trickle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn clients_that_read_byte_by_byte() {
    let (app, bodies) = streams();
    let (_server, addr) = start(app, narrow());
    for (path, version) in [
        ("/200", "1.1"),
        ("/200", "1.0"),
        ("/200?exact=1000", "1.1"),
        ("/404?late", "1.1"),
    ] {
        let stream = Stream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut client = Client::over(Trickle(stream));
        client.send(format!("GET {path} HTTP/{version}\r\nHost: a\r\n\r\n"));
        let mut body = next(&bodies);
        let sender = thread::spawn(move || {
            let sizes = [1, 15, 16, 17, 255, 256, 440];
            let mut at = 0;
            for size in sizes {
                body.send(pattern(at, size))?;
                at += size;
            }
            body.trailer("sum", at.to_string())?;
            body.finish()
        });
        let asked = if version == "1.0" {
            Asked::Old
        } else {
            Asked::Other
        };
        let answer = client.answer(asked);
        sender.join().expect("no panic").expect("sent");
        assert!(answer.body == pattern(0, 1000), "{path}");
        let is_chunked = answer.get("transfer-encoding").is_some();
        assert_eq!(answer.trailers.len(), usize::from(is_chunked));
    }
}

/// Each client gets its own bytes, though others are sent by the same threads to the same worker.
#[test]
fn many_streams_from_several_threads() {
    const CLIENTS: usize = 48;
    const LEN: usize = 9000;
    const PIECES: usize = 40;
    let app = Witness::new(|req: &Request<'_>, res: Response<'_>| -> Done {
        let number: usize = req.path()[1..].parse().expect("a number");
        let (done, mut body) = res.stream();
        thread::spawn(move || -> Result<(), SendError> {
            for i in 0..PIECES {
                body.send(pattern(number * 1_000_003 + i * LEN, LEN))?;
            }
            body.finish()
        });
        done
    });
    let (_server, addr) = start(app.clone(), narrow().workers(2));
    let clients: Vec<_> = (0..4)
        .map(|part| {
            thread::spawn(move || {
                let range = (0..CLIENTS).filter(move |n| n % 4 == part);
                let mut clients: Vec<_> = range.map(|n| (n, Client::connect(addr))).collect();
                for round in 0..2 {
                    let number = |n: usize| n + round * CLIENTS;
                    for (n, client) in &mut clients {
                        get(client, &format!("/{}", number(*n)));
                    }
                    for (n, client) in &mut clients {
                        client.head();
                        let base = number(*n) * 1_000_003;
                        let len = read_all(client, |at, len| pattern(base + at, len));
                        assert_eq!(len, PIECES * LEN);
                    }
                }
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().expect("no panic"));
    assert_eq!(app.take_errors(), []);
}

/// A decoder that shares no code with the library.
#[test]
fn ureq_reads_chunks() {
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| match req.path() {
        "/iter" => res.send_iter((0..300).map(|n| pattern(n * 1000, 1000))),
        _ => {
            let (done, mut body) = res.stream();
            thread::spawn(move || -> io::Result<()> {
                body.write_all(&pattern(0, 300_000))?;
                Ok(body.finish()?)
            });
            done
        }
    });
    let (_server, addr) = start(app, narrow());
    let agent = ureq::Agent::new_with_defaults();
    for path in ["iter", "stream", "iter", "stream"] {
        let mut answer = agent
            .get(format!("http://{addr}/{path}"))
            .call()
            .expect("GET");
        let body = answer.body_mut().read_to_vec().expect("a body");
        assert!(body == pattern(0, 300_000), "{path}");
    }
}
