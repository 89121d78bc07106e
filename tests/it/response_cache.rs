//! The cache of responses, over sockets: one call for many clients on several workers, and what each of them gets.

use super::support::{Asked, Client, PATIENCE, ended, limits, start, wait_until, workers};
use peregrine::error::Status;
use peregrine::layers::{Layered, RequestId};
use peregrine::response_cache::{CacheConfig, ResponseCache};
use peregrine::{Done, Handler, Request, Response, from_fn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A handler whose calls run on the pool and wait for the test. Each tells its number.
struct Slow {
    calls: AtomicUsize,
    begun: Sender<usize>,
    go_on: Mutex<Receiver<&'static str>>,
}

/// The handler, the numbers of its calls, and how each of them ends.
fn slow() -> (Arc<Slow>, Receiver<usize>, Sender<&'static str>) {
    let ((begun, begins), (ends, go_on)) = (channel(), channel());
    let slow = Slow {
        calls: AtomicUsize::new(0),
        begun,
        go_on: Mutex::new(go_on),
    };
    (Arc::new(slow), begins, ends)
}

impl Slow {
    fn respond(self: &Arc<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        let slow = self.clone();
        res.offload(req, move |_, res| {
            let call = slow.calls.fetch_add(1, Ordering::Relaxed);
            let _ = slow.begun.send(call);
            let end = slow.go_on.lock().expect("no panic").recv();
            let done = match end.expect("the test goes on") {
                "panic" => std::panic::resume_unwind(Box::new("as asked")),
                "404" => return Err(Status(404)),
                "503" => return Ok(res.status(503).text("busy")),
                "cookie" => res.header("Set-Cookie", "a=b").text(format!("call {call}")),
                "stream" => res.send_iter([format!("call {call}")]),
                _ => res.text(format!("call {call}")),
            };
            Ok(done)
        })
    }
}

fn handler(slow: &Arc<Slow>) -> impl Handler + use<> {
    let slow = slow.clone();
    from_fn(move |req: &Request<'_>, res: Response<'_>| slow.respond(req, res))
}

fn cache() -> ResponseCache {
    ResponseCache::new(
        CacheConfig::default()
            .ttl(PATIENCE * 10)
            .compute_timeout(PATIENCE * 10),
    )
}

/// `count` clients that have sent the request, of which `waiting` wait.
fn ask(addr: SocketAddr, cache: &ResponseCache, count: u64, waiting: u64) -> Vec<Client> {
    let clients = (0..count).map(|_| {
        let mut client = Client::connect(addr);
        client.send("GET /report HTTP/1.1\r\nHost: a\r\n\r\n");
        client
    });
    let clients = clients.collect();
    wait_until("they wait", || cache.stats().waiting == waiting);
    clients
}

#[test]
fn many_clients_at_once_cost_one_call() {
    let (slow, begins, ends) = slow();
    let cache = cache();
    let (server, addr) = start(cache.wrap(handler(&slow)), workers(2));
    let mut clients = ask(addr, &cache, 20, 19);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
    // Workers wait for nothing meanwhile.
    let mut other = Client::connect(addr);
    other.send("POST /report HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(1));
    for _ in 0..2 {
        ends.send("").expect("a call waits");
    }
    for client in &mut clients {
        assert_eq!(client.answer(Asked::Other).text(), "call 0");
    }
    assert_eq!(other.answer(Asked::Other).text(), "call 1");
    let answer = clients[0].get("/report");
    assert!(answer.get("age").is_some() && answer.text() == "call 0");
    clients[0].send("HEAD /report HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        clients[0].answer(Asked::Head).get("content-length"),
        Some("6")
    );
    // After a purge it is computed again.
    assert_eq!(cache.purge("/report"), 1);
    ends.send("").expect("the next call waits");
    assert_eq!(clients[1].get("/report").text(), "call 2");
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.waited, stats.waiting), (2, 19, 0));
    server.stop();
    ended(server);
}

/// However the first call ends: exactly one of those that wait calls next, and all others get its response.
#[test]
fn one_that_waits_computes_if_the_first_call_fails() {
    for end in ["panic", "503"] {
        let (slow, begins, ends) = slow();
        let cache = cache();
        let (server, addr) = start(cache.wrap(handler(&slow)), workers(2));
        let mut first = ask(addr, &cache, 1, 0).remove(0);
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
        let mut others = ask(addr, &cache, 9, 9);
        ends.send(end).expect("a call waits");
        assert!(first.answer(Asked::Other).status >= 500);
        // After an error the server waits for the end of the client.
        drop(first);
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(1), "{end}");
        assert_eq!(cache.stats().waiting, 8, "{end}");
        ends.send("").expect("a call waits");
        for client in &mut others {
            assert_eq!(client.answer(Asked::Other).text(), "call 1", "{end}");
        }
        assert_eq!(slow.calls.load(Ordering::Relaxed), 2);
        server.stop();
        ended(server);
    }
}

/// The client of the first call leaves while the handler runs: the others get the response.
#[test]
fn what_is_computed_for_a_client_that_leaves_is_for_the_others() {
    let (slow, begins, ends) = slow();
    let cache = cache();
    let (server, addr) = start(cache.wrap(handler(&slow)), workers(2));
    let first = ask(addr, &cache, 1, 0).remove(0);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
    let mut others = ask(addr, &cache, 3, 3);
    first.reset();
    wait_until("the server sees it", || server.counters().closed == 1);
    ends.send("").expect("a call waits");
    for client in &mut others {
        assert_eq!(client.answer(Asked::Other).text(), "call 0");
    }
    server.stop();
    ended(server);
}

/// A response that is for one client: all that wait call the handler themselves.
#[test]
fn those_that_wait_get_responses_of_their_own_if_none_is_kept() {
    for end in ["cookie", "stream"] {
        let (slow, begins, ends) = slow();
        let cache = cache();
        let (server, addr) = start(cache.wrap(handler(&slow)), workers(2));
        let mut clients = ask(addr, &cache, 1, 0);
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
        clients.extend(ask(addr, &cache, 5, 5));
        for _ in 0..6 {
            ends.send(end).expect("a call waits");
        }
        let mut texts: Vec<_> = clients
            .iter_mut()
            .map(|client| client.answer(Asked::Other).text().to_owned())
            .collect();
        texts.sort();
        let expected: Vec<_> = (0..6).map(|call| format!("call {call}")).collect();
        assert_eq!(texts, expected, "{end}");
        assert_eq!(cache.stats().waiting, 0);
        server.stop();
        ended(server);
    }
}

/// An error of the handler within a layer whose fields stay: those that wait do not get it one after the other.
#[test]
fn those_that_wait_call_at_once_after_a_404() {
    let (slow, begins, ends) = slow();
    let cache = cache();
    let app = Layered::new(cache.wrap(handler(&slow))).layer(RequestId::new());
    let (server, addr) = start(app, workers(2));
    let mut clients = ask(addr, &cache, 1, 0);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
    clients.extend(ask(addr, &cache, 3, 3));
    ends.send("404").expect("a call waits");
    for call in 1..4 {
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(call));
    }
    for _ in 0..3 {
        ends.send("404").expect("a call waits");
    }
    for client in &mut clients {
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.status, 404);
        assert!(answer.get("x-request-id").is_some());
    }
    server.stop();
    ended(server);
}

/// Clients that leave while they wait take nothing with them, and the duty goes to one that is there.
#[test]
fn clients_that_leave_while_they_wait_are_passed_over() {
    let (slow, begins, ends) = slow();
    let cache = cache();
    let (server, addr) = start(cache.wrap(handler(&slow)), workers(2));
    let mut first = ask(addr, &cache, 1, 0).remove(0);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
    let leaving = ask(addr, &cache, 5, 5);
    let mut last = ask(addr, &cache, 1, 6).remove(0);
    leaving.into_iter().for_each(Client::reset);
    wait_until("the server sees it", || server.counters().closed == 5);
    ends.send("panic").expect("a call waits");
    assert_eq!(first.answer(Asked::Other).status, 500);
    drop(first);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(1));
    ends.send("").expect("a call waits");
    assert_eq!(last.answer(Asked::Other).text(), "call 1");
    assert_eq!(cache.stats().waiting, 0);
    server.stop();
    ended(server);
}

/// The limit of each response that comes later is that of a request that waits.
#[test]
fn no_request_waits_longer_than_a_response_may_take() {
    let (slow, begins, ends) = slow();
    let cache = cache();
    let limits = limits().response_timeout(Duration::from_secs(1));
    let (server, addr) = start(cache.wrap(handler(&slow)), workers(1).limits(limits));
    let mut clients = ask(addr, &cache, 1, 0);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
    clients.extend(ask(addr, &cache, 2, 2));
    for mut client in clients {
        assert_eq!(client.answer(Asked::Other).status, 503);
    }
    // What comes then is for those that come later.
    let before = cache.stats().bytes;
    ends.send("").expect("a call waits");
    wait_until("it is kept", || cache.stats().bytes > before);
    assert_eq!(Client::connect(addr).get("/report").text(), "call 0");
    assert_eq!(cache.stats().waiting, 0);
    server.stop();
    ended(server);
}

#[test]
fn what_is_computed_during_a_purge_is_not_kept() {
    let (slow, begins, ends) = slow();
    let cache = cache();
    let (server, addr) = start(cache.wrap(handler(&slow)), workers(2));
    let mut old = ask(addr, &cache, 1, 0);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
    old.extend(ask(addr, &cache, 1, 1));
    cache.purge_prefix("/");
    // It does not wait for what was begun before the purge.
    let mut new = ask(addr, &cache, 1, 1).remove(0);
    assert_eq!(begins.recv_timeout(PATIENCE), Ok(1));
    for _ in 0..2 {
        ends.send("").expect("a call waits");
    }
    assert_eq!(new.answer(Asked::Other).text(), "call 1");
    for client in &mut old {
        assert_eq!(client.answer(Asked::Other).text(), "call 0");
    }
    assert_eq!(Client::connect(addr).get("/report").text(), "call 1");
    server.stop();
    ended(server);
}

/// Many clients with names of their own, on one connection each, for responses that name what they depend on in every way: no
/// client ever sees the name of another one.
#[test]
fn no_client_gets_the_response_of_another() {
    let cache = ResponseCache::new(
        CacheConfig::default()
            .bytes(4096)
            .ttl(Duration::from_millis(1)),
    );
    let inner = cache.wrap_fn(|req, res| {
        let name = req
            .header("x-name")
            .or(req.header("cookie"))
            .unwrap_or("none");
        let name = name.to_owned();
        match req.path() {
            "/vary" => res.header("Vary", "X-Name").text(name),
            "/private" => res.header("Cache-Control", "private").text(name),
            "/set" => res.header("Set-Cookie", "a=b").text(name),
            "/later" => res.offload(req, move |_, res| res.header("Vary", "x-name").text(name)),
            "/panic" if name.ends_with('1') => std::panic::resume_unwind(Box::new("as asked")),
            "/error" if name.ends_with('1') => res.status(503).text(name),
            "/stream" => res.send_iter([name]),
            _ => res.header("Vary", "x-name, cookie").text(name),
        }
    });
    let (server, addr) = start(from_fn(inner), workers(2));
    let paths = [
        "/vary", "/private", "/set", "/later", "/panic", "/error", "/stream", "/",
    ];
    std::thread::scope(|scope| {
        for number in 0..6 {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                for turn in 0..40 {
                    let path = paths[(turn + number) % paths.len()];
                    let field = if turn % 3 == 0 && path == "/" {
                        "Cookie"
                    } else {
                        "X-Name"
                    };
                    client.send(format!(
                        "GET {path} HTTP/1.1\r\nHost: a\r\n{field}: n{number}\r\n\r\n"
                    ));
                    let answer = client.answer(Asked::Other);
                    match answer.status {
                        200 | 503 => assert_eq!(answer.text(), format!("n{number}"), "{path}"),
                        status => assert_eq!((status, path), (500, "/panic")),
                    }
                    if answer.closes() {
                        client = Client::connect(addr);
                    }
                }
            });
        }
    });
    server.stop();
    ended(server);
}
