//! A process that is suspended for longer than its timeouts. Bytes that clients sent meanwhile are treated as
//! in time.

use super::{PATIENCE, config, end, hand_over, pair, read_all, short, wait_until};
use crate::http::handler::from_fn;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::transport::faulty::{FaultPlan, Faulty, Happening};
use crate::server::Server;
use peregrine_protocol::limits::Limits;
use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

#[test]
fn bytes_that_have_arrived_are_read_before_timeouts() {
    const BODY: usize = 120_000;
    let (release, suspended) = mpsc::channel::<()>();
    let suspended = Mutex::new(suspended);
    let (tell, told) = mpsc::channel();
    let handle = move |req: &Request<'_>, res: Response<'_>| {
        if req.path() == "/suspend" {
            tell.send(()).expect("the test listens");
            let _ = suspended.lock().expect("no panic").recv();
        }
        res.text(format!("{} bytes", req.body().len()))
    };
    let mut config = config(Limits::default());
    config.limits.head_timeout = Duration::from_secs(1);
    config.limits.body_grace = Duration::from_secs(1);
    // One read returns too few bytes for a further second.
    config.limits.body_rate = BODY;
    let server = Server::new(from_fn(handle)).config(config);
    let server = server
        .bind("127.0.0.1:0")
        .start_over::<Faulty>()
        .expect("a server");

    // The read after the event finds nothing, as if there had been no time for one.
    let overlooked = || FaultPlan {
        at: Some((2, Happening::Nothing)),
        ..FaultPlan::default()
    };
    let begun = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let begins = |more: &str| {
        let (faulty, mut client) = pair(overlooked());
        client.write_all(begun).expect("sent");
        client.write_all(more.as_bytes()).expect("sent");
        (faulty, client)
    };
    let (one, mut head) = begins("");
    let (two, mut body) = begins(&format!("Content-Length: {BODY}\r\n\r\n"));
    let (three, late) = begins("");
    let (four, mut suspends) = pair(FaultPlan::default());
    let request = b"GET /suspend HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    suspends.write_all(request).expect("sent");
    // Each is read when it is accepted, so no time passes between the first and the last.
    hand_over(&server, [one, two, three, four]);
    told.recv_timeout(PATIENCE).expect("it is suspended");

    head.write_all(b"\r\n").expect("sent");
    body.write_all(&[b'x'; BODY]).expect("sent");
    let since = Instant::now();
    wait_until("all limits have passed", || {
        since.elapsed() > Duration::from_secs(3)
    });
    drop(release);
    for (client, wanted) in [
        (&head, "0 bytes"),
        (&body, "120000 bytes"),
        (&suspends, "0 bytes"),
    ] {
        let got = read_all(client);
        assert!(got.starts_with(b"HTTP/1.1 200 "), "{}", short(&got));
        assert!(got.ends_with(wanted.as_bytes()), "{}", short(&got));
    }
    // A client that has sent nothing is too late.
    let got = read_all(&late);
    assert!(got.starts_with(b"HTTP/1.1 408 "), "{}", short(&got));
    drop((head, body, late, suspends));
    end(server);
}
