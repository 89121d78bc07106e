//! The hooks around the wait of a thread, through handlers around other ones.

use super::support::{Client, ended, start, workers};
use super::wait_hooks::{Order, Ordered, Panics, assert_in_order};
use peregrine::{Done, Handler, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The hooks of each handler of a router alternate, though others panic in theirs.
#[test]
fn a_panic_takes_the_hook_from_no_other_handler() {
    let (panics, order) = (Arc::new(Panics::default()), Arc::new(Order::default()));
    let inner = peregrine::Router::new().mount("/ordered", Ordered(order.clone()));
    let app = peregrine::Router::new()
        .mount("/panics", panics.clone())
        .mount("/more", panics.clone())
        .nest("/inner", inner);
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    for _ in 0..3 {
        assert_eq!(client.get("/panics/").text(), "hi");
        assert_eq!(client.get("/inner/ordered/").text(), "hi");
    }
    drop(client);
    server.stop();
    let stopped = ended(server);
    assert_eq!(stopped.counters.panics, 6);
    assert_in_order(&order, 1, &["request"]);
}

/// Counts the calls of its hooks.
#[derive(Default)]
struct Counted {
    before: AtomicUsize,
    after: AtomicUsize,
}

#[derive(Clone, Default)]
struct Counts(Arc<Counted>);

impl Handler for Counts {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("hi")
    }

    fn before_wait(&self) {
        self.0.before.fetch_add(1, Ordering::SeqCst);
    }

    fn after_wait(&self) {
        self.0.after.fetch_add(1, Ordering::SeqCst);
    }
}

/// A handler around another one passes the hooks on, once each.
#[test]
fn wrappers_pass_the_hooks_on() {
    use peregrine::layers::{Layered, SecurityHeaders};
    use peregrine::response_cache::{CacheConfig, ResponseCache};
    use peregrine::router::Route;
    use peregrine::{Router, access_log::AccessLog, access_log::LogWriter};

    type Wrap = fn(Counts) -> Box<dyn Handler>;
    let wraps: &[(&str, Wrap)] = &[
        ("none", |counts| Box::new(counts)),
        ("box", |counts| {
            Box::new(Box::new(counts) as Box<dyn Handler>)
        }),
        ("arc", |counts| Box::new(Arc::new(counts))),
        ("reference", |counts| {
            Box::new(&*Box::leak(Box::new(counts)))
        }),
        ("layers", |counts| {
            Box::new(Layered::new(counts).layer(SecurityHeaders::new()))
        }),
        ("access log", |counts| {
            let log = LogWriter::new(std::io::sink()).expect("a thread");
            Box::new(AccessLog::new(counts, log))
        }),
        ("cache", |counts| {
            Box::new(ResponseCache::new(CacheConfig::default()).wrap(counts))
        }),
        #[cfg(feature = "compress")]
        ("compression", |counts| {
            Box::new(peregrine::compression::Compress::new(counts))
        }),
        ("mount", |counts| Box::new(Router::new().mount("/", counts))),
        ("route", |counts| {
            Box::new(Router::new().route(Route::handler(None, "/", counts)))
        }),
        ("nested", |counts| {
            Box::new(Router::new().nest("/a", Router::new().mount("/b", counts)))
        }),
        ("host", |counts| {
            Box::new(Router::new().host("a", Router::new().mount("/b", counts)))
        }),
        ("host of a nested router", |counts| {
            let inner = Router::new().host("a", Router::new().mount("/b", counts));
            Box::new(Router::new().nest("/c", inner))
        }),
    ];
    let turns = |wrap: &Wrap| {
        let counts = Counts::default();
        let app = wrap(counts.clone());
        let mut client = peregrine::testing::Connection::new(&app);
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        drop(client);
        [&counts.0.before, &counts.0.after].map(|count| count.load(Ordering::SeqCst))
    };
    for (name, wrap) in wraps {
        assert_eq!(turns(wrap), [3, 2], "{name}");
    }
    // In two places it is called twice.
    let twice: Wrap = |counts| {
        let first = Router::new().mount("/a", counts.clone());
        Box::new(first.route(Route::handler(Some("GET"), "/b", counts)))
    };
    assert_eq!(turns(&twice), [6, 4]);
}
