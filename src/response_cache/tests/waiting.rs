//! Tests of the cache: who waits, and what becomes of those.

use super::*;
use crate::Responder;
use crate::testing::Connection;
use std::sync::Mutex;

/// Requests of many connections at once for a response that comes from another thread.
struct Gate {
    responders: Mutex<Vec<Responder>>,
}

impl Gate {
    fn app(
        cache: &ResponseCache,
        fields: &'static [(&str, &str)],
    ) -> (Arc<Gate>, Cached<GateHandler>) {
        let gate = Arc::new(Gate {
            responders: Mutex::default(),
        });
        let app = GateHandler(gate.clone(), fields);
        (gate, cache.wrap(app))
    }

    fn take(&self) -> Vec<Responder> {
        std::mem::take(&mut self.responders.lock().expect("no panic"))
    }
}

/// Defers each response to its [`Gate`].
struct GateHandler(Arc<Gate>, &'static [(&'static str, &'static str)]);

impl Handler for GateHandler {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        let fields = self.1.iter();
        let res = fields.fold(res, |res, (name, value)| res.header(name, value));
        let (done, responder) = res.defer();
        self.0.responders.lock().expect("no panic").push(responder);
        done
    }
}

fn ask<H: Handler>(app: &H) -> Connection<'_, H> {
    ask_for(app, "/", "")
}

/// With further fields.
fn ask_for<'h, H: Handler>(app: &'h H, target: &str, fields: &str) -> Connection<'h, H> {
    let mut connection = Connection::new(app);
    connection.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
    connection
}

/// What the client has received, after all that other threads have sent.
fn received<H: Handler>(connection: &mut Connection<'_, H>) -> String {
    connection.elapse(Duration::ZERO);
    String::from_utf8_lossy(connection.received()).into_owned()
}

#[test]
fn one_request_computes_while_others_wait() {
    let cache = ResponseCache::new(CacheConfig::default().waiting(3));
    let (gate, app) = Gate::app(&cache, &[]);
    let mut clients: Vec<_> = (0..5).map(|_| ask(&app)).collect();
    let mut responders = gate.take();
    assert_eq!(responders.len(), 1);
    let full = received(&mut clients[4]);
    assert!(
        full.starts_with("HTTP/1.1 503 ") && full.contains("Retry-After: 1"),
        "{full}"
    );
    let responder = responders.pop().expect("one");
    responder
        .send(|res| res.text("computed"))
        .expect("it waits");
    for client in &mut clients[..4] {
        assert!(received(client).ends_with("\r\n\r\ncomputed"));
    }
    assert!(gate.take().is_empty());
    assert!(received(&mut ask(&app)).contains("Age: 0\r\n"));
}

#[test]
fn a_response_that_is_not_kept_is_computed_for_each_that_waits() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(&cache, &[("Set-Cookie", "a=b")]);
    let mut clients: Vec<_> = (0..3).map(|_| ask(&app)).collect();
    let responder = gate.take().pop().expect("one");
    responder.send(|res| res.text("")).expect("it waits");
    clients.iter_mut().for_each(|client| _ = received(client));
    assert_eq!(gate.take().len(), 2);
    // It is known now, so that no request waits for another.
    let _more: Vec<_> = (0..2).map(|_| ask(&app)).collect();
    assert_eq!(gate.take().len(), 2);
}

/// How the request that computes ends without a response that is worth anything. Exactly one of the others computes next.
#[test]
fn without_a_response_one_of_those_that_wait_computes_next() {
    type Clients<'h> = Vec<Connection<'h, Cached<GateHandler>>>;
    let ends: [fn(Responder, &mut Clients<'_>); 5] = [
        |responder, _| drop(responder),
        |responder, _| {
            responder.send_or_panicked(|_| std::panic::resume_unwind(Box::new("as asked")));
        },
        |responder, _| {
            responder
                .send(|res| res.status(503).text(""))
                .expect("it waits")
        },
        |responder, _| {
            responder
                .send(|res| res.header("a b", "").text(""))
                .expect("it waits")
        },
        |responder, clients| {
            drop(clients.remove(0));
            assert!(responder.send(|res| res.text("for no client")).is_err());
        },
    ];
    for (at, end) in ends.into_iter().enumerate() {
        let cache = ResponseCache::new(CacheConfig::default());
        let (gate, app) = Gate::app(&cache, &[]);
        let mut clients: Vec<_> = (0..4).map(|_| ask(&app)).collect();
        end(gate.take().pop().expect("one computes"), &mut clients);
        clients.iter_mut().for_each(|client| _ = received(client));
        let mut next = gate.take();
        assert_eq!(next.len(), 1, "{at}: one computes next");
        assert_eq!(cache.stats().waiting, 2, "{at}");
        next.pop()
            .expect("one")
            .send(|res| res.text("own"))
            .expect("it waits");
        let texts: Vec<String> = clients.iter_mut().map(received).collect();
        let own = texts.iter().filter(|text| text.ends_with("\r\n\r\nown"));
        assert_eq!(own.count(), 3, "{at}: {texts:?}");
        assert!(gate.take().is_empty());
        assert_eq!((cache.stats().waiting, cache.stats().misses), (0, 2));
        assert!(received(&mut ask(&app)).contains("Age: 0\r\n"));
    }
}

/// A handler that always takes longer than `compute_timeout`: what it makes is kept nevertheless.
#[test]
fn a_computation_that_takes_too_long_is_not_waited_for() {
    let config = CacheConfig::default().compute_timeout(Duration::ZERO);
    let cache = ResponseCache::new(config);
    let (gate, app) = Gate::app(&cache, &[]);
    let mut first = ask(&app);
    let mut second = ask(&app);
    let mut both = gate.take();
    assert_eq!(both.len(), 2);
    let send = |responder: Responder, text: &'static str| {
        responder.send(|res| res.text(text)).expect("it waits");
    };
    send(both.remove(0), "old");
    assert!(received(&mut first).ends_with("old"));
    assert!(received(&mut ask(&app)).ends_with("old"));
    send(both.remove(0), "new");
    assert!(received(&mut second).ends_with("new"));
    assert!(received(&mut ask(&app)).ends_with("new"));
    assert_eq!((gate.take().len(), cache.stats().misses), (0, 2));
}

/// A handler that always fails is not called for one client after the other.
#[test]
fn after_a_second_failure_all_that_wait_go_on() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(&cache, &[]);
    let mut clients: Vec<_> = (0..5).map(|_| ask(&app)).collect();
    for turn in 0..2 {
        let mut one = gate.take();
        assert_eq!(one.len(), 1, "{turn}");
        let responder = one.pop().expect("one");
        responder
            .send(|res| res.status(500).text(""))
            .expect("it waits");
        clients.iter_mut().for_each(|client| _ = received(client));
    }
    assert_eq!((gate.take().len(), cache.stats().waiting), (3, 0));
}

/// 1,000 browsers that poll a page with the tag that they know.
#[test]
fn one_request_computes_for_clients_that_send_conditions() {
    let cache = ResponseCache::new(CacheConfig::default());
    let gate = Arc::new(Gate {
        responders: Mutex::default(),
    });
    let inner = GateHandler(gate.clone(), &[("ETag", "\"t\"")]);
    let inner = crate::layers::Layered::new(inner).layer(crate::layers::ETags::new());
    let app = cache.wrap(inner);
    let conditions = [
        "If-None-Match: \"t\"\r\n",
        "If-None-Match: *\r\n",
        "If-None-Match: \"t\"\r\nIf-Modified-Since: x\r\n",
    ];
    let mut clients = conditions.map(|fields| ask_for(&app, "/", fields));
    let mut other = ask_for(&app, "/", "If-None-Match: \"b\"\r\n");
    let mut one = gate.take();
    assert_eq!(one.len(), 1);
    let responder = one.pop().expect("one");
    responder.send(|res| res.text("page")).expect("it waits");
    for client in &mut clients {
        let response = received(client);
        assert!(
            response.starts_with("HTTP/1.1 304 ") && response.ends_with("\r\n\r\n"),
            "{response}"
        );
        assert!(response.contains("ETag: \"t\"\r\n"), "{response}");
    }
    assert!(received(&mut other).ends_with("\r\n\r\npage"));
    assert!(received(&mut ask(&app)).contains("Age: 0\r\n"));
    assert_eq!((gate.take().len(), cache.stats().misses), (0, 1));
}

/// A response that says something about its request only, such as 406, leaves the cache as it was.
#[test]
fn an_error_of_one_request_turns_nothing_off() {
    let config = CacheConfig::default()
        .ttl(Duration::from_nanos(1))
        .stale(Duration::from_secs(3600));
    let cache = ResponseCache::new(config);
    let (gate, app) = Gate::app(&cache, &[]);
    let answer = |status: u16| {
        let responders = gate.take();
        let count = responders.len();
        for responder in responders {
            let respond = |res: Response<'_>| res.status(status).text("text");
            responder.send(respond).expect("it waits");
        }
        count
    };
    let mut both = [ask(&app), ask(&app)];
    assert_eq!(answer(406), 1);
    both.iter_mut().for_each(|client| _ = received(client));
    assert_eq!(answer(406), 1);
    // Nothing is known: one computes, and the other one waits.
    let mut both = [ask(&app), ask(&app)];
    assert_eq!(answer(200), 1);
    for client in &mut both {
        assert!(received(client).ends_with("text"));
    }
    // What was kept is sent as before, unless the page has gone.
    for (status, is_sent) in [(406, true), (429, true), (304, true), (404, false)] {
        let mut first = ask(&app);
        assert_eq!(answer(status), 1);
        let response = received(&mut first);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        let _next = ask(&app);
        let response = received(&mut ask(&app));
        assert_eq!(response.ends_with("text"), is_sent, "{status}");
        answer(503);
    }
}

#[test]
fn those_that_leave_give_up_their_places() {
    let settings = [
        CacheConfig::default().waiting(2),
        CacheConfig::default().waiting_per_response(2),
    ];
    for config in settings {
        let cache = ResponseCache::new(config);
        let (gate, app) = Gate::app(&cache, &[]);
        let mut first = ask(&app);
        drop([ask(&app), ask(&app)]);
        let mut last = ask(&app);
        let responder = gate.take().pop().expect("one");
        responder.send(|res| res.text("text")).expect("it waits");
        for client in [&mut first, &mut last] {
            assert!(received(client).ends_with("\r\n\r\ntext"));
        }
        let stats = cache.stats();
        assert_eq!((stats.refused, stats.waiting, stats.misses), (0, 0, 1));
    }
}

#[test]
fn requests_for_one_response_leave_places_for_others() {
    let config = CacheConfig::default().waiting(3).waiting_per_response(2);
    let cache = ResponseCache::new(config);
    let (gate, app) = Gate::app(&cache, &[]);
    let mut slow: Vec<_> = (0..4).map(|_| ask(&app)).collect();
    assert!(received(&mut slow[3]).starts_with("HTTP/1.1 503 "));
    let mut others: Vec<_> = (0..2).map(|_| ask_for(&app, "/other", "")).collect();
    let computing = gate.take();
    assert_eq!((computing.len(), cache.stats().waiting), (2, 3));
    assert!(others.iter_mut().all(|client| received(client).is_empty()));
}

/// More than go on at once.
#[cfg(feature = "http2")]
#[test]
fn all_of_many_streams_go_on() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(&cache, &[("Set-Cookie", "a=b")]);
    let mut client = crate::testing::Http2::new(&app);
    let streams: Vec<u32> = (0..90).map(|_| client.get("/")).collect();
    let mut answered = 0;
    while answered < streams.len() {
        client.elapse(Duration::ZERO);
        let responders = gate.take();
        assert!(!responders.is_empty(), "{answered}");
        answered += responders.len();
        for responder in responders {
            responder.send(|res| res.text("own")).expect("it waits");
        }
    }
    client.elapse(Duration::ZERO);
    for stream in streams {
        assert_eq!(client.response(stream).body, b"own");
    }
    assert_eq!(cache.stats().waiting, 0);
}

#[test]
fn a_stale_response_is_sent_while_one_request_computes() {
    let config = CacheConfig::default()
        .ttl(Duration::from_nanos(1))
        .stale(Duration::from_secs(3600));
    let (gate, app) = Gate::app(&ResponseCache::new(config), &[]);
    let mut first = ask(&app);
    let answer = |text: &'static str| {
        let responder = gate.take().pop().expect("one");
        responder.send(|res| res.text(text)).expect("it waits");
    };
    answer("old");
    assert!(received(&mut first).ends_with("old"));
    let mut second = ask(&app);
    assert!(received(&mut ask(&app)).ends_with("old"));
    answer("new");
    assert!(received(&mut second).ends_with("new"));
}

#[test]
fn what_is_computed_during_a_purge_is_not_kept() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(&cache, &[]);
    let (mut first, mut second) = (ask(&app), ask(&app));
    cache.purge_prefix("/");
    let responder = gate.take().pop().expect("one");
    responder.send(|res| res.text("old")).expect("it waits");
    assert!(received(&mut first).ends_with("old") && received(&mut second).ends_with("old"));
    let _third = ask(&app);
    assert_eq!(gate.take().len(), 1);
}

/// Requests of one HTTP/2 connection wait for each other, and one that is cancelled passes its duty on.
#[cfg(feature = "http2")]
#[test]
fn streams_of_one_connection_wait_for_each_other() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(
        &cache,
        &[("Cache-Control", "public"), ("Cache-Control", "max-age=9")],
    );
    let mut client = crate::testing::Http2::new(&app);
    let streams: Vec<u32> = (0..4).map(|_| client.get("/")).collect();
    let first = gate.take().pop().expect("one computes");
    client.reset(streams[0], 8);
    assert!(first.send(|res| res.text("for no client")).is_err());
    client.elapse(Duration::ZERO);
    let next = gate.take().pop().expect("one computes next");
    next.send(|res| res.text("own")).expect("it waits");
    client.elapse(Duration::ZERO);
    for stream in &streams[1..] {
        let response = client.response(*stream);
        assert_eq!((response.status, &response.body[..]), (200, &b"own"[..]));
    }
    let last = client.get("/");
    let fields = &client.response(last).fields;
    let control = fields.iter().filter(|(name, _)| name == "cache-control");
    assert_eq!(
        (client.response(last).field("age"), control.count()),
        (Some("0"), 2)
    );
    assert_eq!(cache.stats().misses, 2);
}
