//! The cache of responses, over sockets: one call for many clients, and what each of them gets.

use super::support::{Asked, Client, PATIENCE, ended, start, workers};
use peregrine::response_cache::{CacheConfig, ResponseCache};
use peregrine::{Request, Response, from_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

#[test]
fn many_clients_at_once_cost_one_call() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (begun, begins) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let count = calls.clone();
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        let (begun, may_go_on, count) = (begun.clone(), may_go_on.clone(), count.clone());
        res.offload(req, move |_, res| {
            let call = count.fetch_add(1, Ordering::Relaxed);
            let _ = begun.send(());
            let _ = may_go_on.lock().expect("no panic").recv();
            res.text(format!("call {call}"))
        })
    });
    let cache = ResponseCache::new(CacheConfig::default().ttl(PATIENCE * 10));
    let (server, addr) = start(cache.wrap(app), workers(2));
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        client.send("GET /report HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    begins.recv_timeout(PATIENCE).expect("a call begins");
    go_on.send(()).expect("the call waits");
    // Those whose request comes later than the response get it from memory.
    for client in &mut clients {
        assert_eq!(client.answer(Asked::Other).text(), "call 0");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let answer = clients[0].get("/report");
    assert!(answer.get("age").is_some() && answer.text() == "call 0");
    clients[0].send("HEAD /report HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = clients[0].answer(Asked::Head);
    assert_eq!(head.get("content-length"), Some("6"));
    // After a purge it is computed again.
    cache.purge("/report");
    go_on.send(()).expect("the next call waits");
    assert_eq!(clients[1].get("/report").text(), "call 1");
    server.stop();
    ended(server);
}
