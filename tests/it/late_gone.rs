//! Responses that come later, and clients or servers that do not wait for them.

use super::late::{desk, get};
use super::support::{Asked, Client, PATIENCE, Witness, ended, start, wait_until, workers};
use peregrine::error::{ConnectionError, ResponseError};
use peregrine::{Done, Request, Response, from_fn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

// ----------------------------------------------------------------------------- clients that leave

/// Old responders, whose slots belong to other requests now: their responses reach no client, whether the
/// other requests wait for a response or not. No error is reported.
#[test]
fn stale_responses_reach_no_client() {
    const SLOTS: usize = 40;
    const GENERATIONS: usize = 15;
    let (desk, handle) = desk();
    let witness = Witness::new(handle);
    let (server, addr) = start(witness.clone(), workers(1));
    let mut stale = Vec::new();
    for generation in 0..GENERATIONS {
        let clients: Vec<_> = (0..SLOTS)
            .map(|slot| {
                let mut client = Client::connect(addr);
                // Not the same number of requests on each.
                for _ in 0..(generation + slot) % 3 {
                    assert_eq!(client.get("/now").text(), "/now");
                }
                client.send(get(&format!("/later/stale/{generation}/{slot}")));
                client
            })
            .collect();
        stale.extend(desk.all(SLOTS));
        clients.into_iter().for_each(Client::reset);
        // All slots are free, so the next ones get the same.
        let gone = ((generation + 1) * SLOTS) as u64;
        wait_until("all are gone", || server.counters().closed == gone);
    }
    assert!(stale.iter().all(|(_, responder)| responder.is_gone()));
    witness.take_errors();

    let mut clients: Vec<_> = (0..SLOTS).map(|_| Client::connect(addr)).collect();
    let mut waiting = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.get("/now").text(), "/now", "in its slot");
        if n % 4 > 0 {
            client.send(get(&format!("/later/{n}")));
            waiting.extend(desk.all(1));
        }
    }
    assert_eq!(stale.len(), SLOTS * GENERATIONS);
    let threads: Vec<_> = (0..4)
        .map(|_| stale.split_off(stale.len().saturating_sub(SLOTS * GENERATIONS / 4)))
        .map(|stale| {
            thread::spawn(move || {
                for (n, (_, responder)) in stale.into_iter().enumerate() {
                    assert!(
                        n % 2 == 0
                            || responder
                                .send(|_| unreachable!("the client has gone"))
                                .is_err()
                    );
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no stale closure was called");
    }
    assert!(waiting.iter().all(|(_, responder)| !responder.is_gone()));
    for (path, responder) in waiting {
        assert!(responder.send(|res| res.text(&path)).is_ok());
    }
    for (n, client) in clients.iter_mut().enumerate() {
        if n % 4 > 0 {
            assert_eq!(client.answer(Asked::Other).text(), format!("/later/{n}"));
        }
        assert_eq!(client.get("/now/end").text(), "/now/end");
    }
    assert_eq!(witness.take_errors(), []);
    drop(clients);
    server.stop();
    assert_eq!(ended(server).counters.handler_errors, 0);
}

#[test]
fn a_client_that_has_closed_its_sending_half_counts_as_gone_and_gets_its_response() {
    let (desk, handle) = desk();
    let (server, addr) = start(from_fn(handle), workers(1));
    for behind in [String::new(), get("/now")] {
        let mut client = Client::connect(addr);
        client.send(get("/later"));
        let responder = desk.one();
        assert!(!responder.is_gone());
        if !behind.is_empty() {
            client.send(&behind);
        }
        let shut = std::net::Shutdown::Write;
        client.stream.shutdown(shut).expect("an open socket");
        if behind.is_empty() {
            wait_until("it is known", || responder.is_gone());
        }
        assert!(responder.send(|res| res.text("still here")).is_ok());
        assert_eq!(client.answer(Asked::Other).text(), "still here");
        if !behind.is_empty() {
            assert_eq!(client.answer(Asked::Other).text(), "/now");
        }
        client.expect_end();
    }
    drop(server);
}

#[test]
fn a_reset_ends_the_wait() {
    let (desk, handle) = desk();
    let (server, addr) = start(from_fn(handle), workers(1));
    for (n, behind) in ["", "GET /half HTT"].into_iter().enumerate() {
        let mut client = Client::connect(addr);
        client.send(get("/later") + behind);
        let responder = desk.one();
        client.reset();
        wait_until("it is known", || responder.is_gone());
        assert!(
            responder
                .send(|_| unreachable!("the client has gone"))
                .is_err()
        );
        let gone = n as u64 + 1;
        wait_until("it is closed", || server.counters().closed == gone);
    }
    drop(server);
}

/// Clients leave after each byte of a request with a deferred response, and during the response, while
/// another client is served.
#[test]
fn clients_may_leave_at_any_point() {
    const LARGE: usize = 4 << 20;
    let large: Arc<[u8]> = vec![b'l'; LARGE].into();
    let answered = Arc::new(AtomicU64::new(0));
    let handler = {
        let answered = answered.clone();
        from_fn(move |req: &Request<'_>, res: Response<'_>| {
            let (large, answered) = (large.clone(), answered.clone());
            let is_large = req.path() == "/large";
            res.offload(req, move |_, res| {
                answered.fetch_add(1, Ordering::SeqCst);
                match is_large {
                    true => res.send(large),
                    false => res.text("small"),
                }
            })
        })
    };
    let (server, addr) = start(handler, workers(1));
    let mut steady = Client::connect(addr);
    let mut opened = 1;
    for path in ["/small", "/large"] {
        let requests = get(path).repeat(2);
        for len in 0..=requests.len() {
            for leaves in [drop, Client::reset] {
                let mut client = Client::connect(addr);
                client.send(&requests[..len]);
                opened += 1;
                leaves(client);
                assert_eq!(steady.get("/small").text(), "small");
            }
        }
        for part in [1, 200, LARGE / 2] {
            let mut client = Client::connect(addr);
            client.send(get("/large"));
            opened += 1;
            let mut begin = vec![0; part];
            client.body(&mut begin);
            assert!(begin.starts_with(b"H"));
            client.reset();
            assert_eq!(steady.get("/small").text(), "small");
        }
    }
    wait_until("all others are gone", || {
        let counters = server.counters();
        (counters.accepted, counters.closed) == (opened, opened - 1)
    });
    assert_eq!(steady.get("/small").text(), "small");
    drop(steady);
    server.stop();
    let counters = ended(server).counters;
    assert_eq!(counters.handler_errors, 0);
    assert!(counters.requests >= answered.load(Ordering::SeqCst));
}

// ---------------------------------------------------------------------------------------- stops

#[test]
fn a_stop_waits_for_responses() {
    const CLIENTS: usize = 20;
    let (desk, handle) = desk();
    let (server, addr) = start(from_fn(handle), workers(1));
    let mut idle = Client::connect(addr);
    assert_eq!(idle.get("/now").text(), "/now");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(addr)).collect();
    let mut sent = get("/now").len() as u64;
    for (n, client) in clients.iter_mut().enumerate() {
        let mut requests = get(&format!("/later/{n}"));
        if n % 2 > 0 {
            // It was sent before the stop, so it gets a response.
            requests += &get(&format!("/now/{n}"));
        }
        client.send(&requests);
        sent += requests.len() as u64;
    }
    let waiting = desk.all(CLIENTS);
    wait_until("all has come", || server.counters().bytes_read == sent);
    server.stop();
    let stopped = thread::spawn(move || ended(server));
    // So all have been told of the stop, before anything else happens to them.
    idle.expect_end();
    for (path, responder) in waiting {
        assert!(!responder.is_gone(), "{path}");
        assert!(responder.send(|res| res.text(&path)).is_ok());
    }
    for (n, mut client) in clients.into_iter().enumerate() {
        let mut last = client.answer(Asked::Other);
        assert_eq!(last.text(), format!("/later/{n}"));
        if n % 2 > 0 {
            assert!(!last.closes());
            last = client.answer(Asked::Other);
            assert_eq!(last.text(), format!("/now/{n}"));
        }
        assert!(last.closes());
        client.expect_end();
    }
    let stopped = stopped.join().expect("it has ended");
    assert_eq!((stopped.drained, stopped.aborted), (CLIENTS as u64 + 1, 0));
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let (desk, handle) = desk();
    let config = workers(1).stop_timeout(Duration::from_millis(200));
    let (server, addr) = start(from_fn(handle), config);
    let mut client = Client::connect(addr);
    client.send(get("/later"));
    let responder = desk.one();
    server.stop();
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (0, 1));
    client.expect_end();
    assert!(responder.is_gone());
    assert!(
        responder
            .send(|_| unreachable!("the client has gone"))
            .is_err()
    );
}

// --------------------------------------------------------------------------------- in memory

/// The errors of late responses have names of their own.
#[test]
fn errors_can_be_distinguished() {
    let (desk, handle) = desk();
    struct App<F>(F, Mutex<Vec<&'static str>>);
    impl<F> peregrine::Handler for App<F>
    where
        F: Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
    {
        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            (self.0)(req, res)
        }

        fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
            self.1.lock().expect("no panic").push(match error {
                ConnectionError::Response(ResponseError::Abandoned) => "abandoned",
                ConnectionError::ResponseTimeout => "timeout",
                _ => "another",
            });
        }
    }
    let app = App(handle, Mutex::default());
    for fail in [0, 1] {
        let mut client = peregrine::testing::Connection::new(&app);
        client.send(get("/later").as_bytes());
        let responder = desk.one();
        assert!(client.received().is_empty() && !client.is_closed());
        match fail {
            0 => {
                drop(responder);
                assert!(client.wait(PATIENCE));
                assert!(client.received().starts_with(b"HTTP/1.1 500 "));
            }
            _ => {
                client.elapse(Duration::from_secs(300));
                assert!(!client.is_closed());
                client.elapse(Duration::from_secs(1));
                assert!(client.received().starts_with(b"HTTP/1.1 503 "));
                assert!(responder.is_gone());
            }
        }
        assert!(client.is_closed());
    }
    assert_eq!(*app.1.lock().expect("no panic"), ["abandoned", "timeout"]);
}

/// Whichever thread drives it, and whichever responds.
#[test]
fn a_connection_in_memory_may_change_threads() {
    let (desk, handle) = desk();
    let app = from_fn(handle);
    let mut client = peregrine::testing::Connection::new(&app);
    client.send(get("/later").as_bytes());
    let responder = desk.one();
    thread::scope(|scope| {
        let waits = scope.spawn(move || {
            let came = client.wait(PATIENCE);
            (came, client.take_received())
        });
        // From the thread that has driven it before.
        assert!(responder.send(|res| res.text("later")).is_ok());
        let (came, received) = waits.join().expect("no panic");
        assert!(came && received.ends_with(b"\r\n\r\nlater"));
    });
}
