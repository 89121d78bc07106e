//! What a subscriber of the `tracing` crate sees. Events of other tests come by, too.

use super::support::{Asked, Client, ended, start, wait_until, workers};
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::{BodyPlan, Router, from_fn, router::Route};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

#[derive(Debug)]
struct Seen {
    level: Level,
    target: String,
    /// With the text as `message`.
    fields: BTreeMap<&'static str, String>,
}

static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

/// The fields of spans by their number, of requests for paths that begin with [`TRACED`].
static SPANS: Mutex<BTreeMap<u64, BTreeMap<&'static str, String>>> = Mutex::new(BTreeMap::new());

const TRACED: &str = "/traced/";

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// Keeps all events, and some spans.
struct Keeper;

impl Keeper {
    fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing::subscriber::set_global_default(Keeper).expect("the only subscriber");
        });
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("peregrine")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut fields = Fields(BTreeMap::new());
        attributes.record(&mut fields);
        let path = fields.0.get("url.path");
        if path.is_some_and(|path| path.starts_with(TRACED)) {
            SPANS.lock().expect("no panic").insert(id, fields.0);
        }
        span::Id::from_u64(id)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        let mut fields = Fields(BTreeMap::new());
        values.record(&mut fields);
        if let Some(span) = SPANS.lock().expect("no panic").get_mut(&id.into_u64()) {
            span.append(&mut fields.0);
        }
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let seen = Seen {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields: fields.0,
        };
        SEEN.lock().expect("no panic").push(seen);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn events_have_levels_texts_and_fields() {
    Keeper::install();
    let (server, addr) = start(
        from_fn(|req, res| {
            if req.path() == "/blocks" {
                let begun = std::time::Instant::now();
                while begun.elapsed() < std::time::Duration::from_millis(100) {
                    std::hint::spin_loop();
                }
            }
            res.header("Connection", "close").text("hi")
        }),
        workers(1),
    );
    let mut client = Client::connect(addr);
    client.send("BAD\r\n\r\n");
    assert_eq!(client.answer(Asked::Other).status, 400);
    let peer = client.stream.local_addr().expect("a socket").to_string();
    let is_refusal = |seen: &Seen| {
        let has = |name, text: &str| seen.fields.get(name).is_some_and(|f| f.contains(text));
        seen.level == Level::DEBUG
            && seen.target == "peregrine::http::service"
            && has("message", "refused with 400: ")
            && has("peer", &peer)
    };
    let any = |is: &dyn Fn(&Seen) -> bool| SEEN.lock().expect("no panic").iter().any(is);
    wait_until("the refusal is told", || any(&is_refusal));
    drop(client);
    let mut client = Client::connect(addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!client.answer(Asked::Other).closes());
    let is_left_out = |seen: &Seen| {
        seen.level == Level::WARN
            && seen
                .fields
                .get("message")
                .is_some_and(|m| m.contains("set Connection,"))
    };
    assert_eq!(any(&is_left_out), cfg!(debug_assertions));
    client.send("GET /blocks HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!client.answer(Asked::Other).closes());
    let is_blocking = |seen: &Seen| {
        let starts = "the handler of GET /blocks held its worker for ";
        seen.level == Level::WARN
            && seen
                .fields
                .get("message")
                .is_some_and(|m| m.starts_with(starts))
    };
    if cfg!(debug_assertions) {
        wait_until("the warning", || any(&is_blocking));
        assert!(server.counters().handlers_blocking >= 1);
    }
    drop(client);
    server.stop();
    ended(server);
    let is_stop = |seen: &Seen| {
        seen.level == Level::INFO
            && seen
                .fields
                .get("message")
                .is_some_and(|m| m == "worker stops")
            && seen.fields.contains_key("connections")
    };
    assert!(any(&is_stop));
}

/// Usually the settings are wrong, and no client gets through.
#[test]
fn a_balancer_that_is_not_trusted_is_told() {
    Keeper::install();
    let server = peregrine::Server::from_fn(|_, res| res.text("hi"));
    let server = server.config(workers(1).trusted_proxies([]));
    let server = server.bind("127.0.0.1:0").proxy_protocol();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    let _client = Client::connect(addr);
    let is_told = |seen: &Seen| {
        let message = seen.fields.get("message");
        seen.level == Level::WARN
            && message.is_some_and(|m| m.contains("an address of Server::proxy_protocol is closed"))
    };
    wait_until("the warning", || {
        SEEN.lock().expect("no panic").iter().any(is_told)
    });
}

#[test]
fn a_request_has_a_span() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    Keeper::install();
    let app = Router::new()
        .get("/traced/{kind}/now", |_, res| res.status(201).text("hi"))
        .get("/traced/{kind}/late", |_, res| {
            let (done, responder) = res.defer();
            std::thread::spawn(move || responder.send(|res| res.status(202).text("late")));
            done
        })
        .get("/traced/{kind}/panics", |_, _| -> peregrine::Done {
            panic!("as it was asked to")
        })
        .route(
            Route::post("/traced/{kind}/plan", |_, res| res.text("never"))
                .body_plan(|_| BodyPlan::respond(|_, res| res.status(403).text("no"))),
        );
    let writer = LogWriter::new(std::io::sink()).expect("a thread");
    let log = AccessLog::with_format(app, writer, |_, _| {});
    let (_server, addr) = start(log, workers(1));
    let ask = |method: &str, path: &str, lines: &str, status| {
        let mut client = Client::connect(addr);
        client.send(format!(
            "{method} /traced/{path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"
        ));
        assert_eq!(client.answer(Asked::Other).status, status, "{path}");
    };
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    ask("GET", "a/now", &parent, 201);
    ask("GET", "b/late", "traceparent: 00-0-0-0\r\n", 202);
    ask("GET", "c/panics", "", 500);
    ask("POST", "d/plan", "Content-Length: 1\r\n", 403);
    ask("GET", "e/absent", "", 404);
    let fields_of = |path: &str| {
        let spans = SPANS.lock().expect("no panic");
        let mut all = spans.values();
        let span = all.find(|span| span["url.path"] == format!("{TRACED}{path}"));
        span.cloned().unwrap_or_default()
    };
    for (path, status, route) in [
        ("a/now", "201", Some("/traced/{kind}/now")),
        ("b/late", "202", Some("/traced/{kind}/late")),
        ("c/panics", "500", Some("/traced/{kind}/panics")),
        ("d/plan", "403", Some("/traced/{kind}/plan")),
        ("e/absent", "404", None),
    ] {
        wait_until("its status is there", || {
            fields_of(path).contains_key("http.response.status_code")
        });
        let fields = fields_of(path);
        let field = |name: &str| fields.get(name).map(String::as_str);
        assert_eq!(field("http.response.status_code"), Some(status), "{path}");
        assert_eq!(field("http.route"), route, "{path}");
        let has_trace = path == "a/now";
        assert_eq!(field("trace_id"), has_trace.then_some(TRACE), "{path}");
        let parent = has_trace.then_some("00f067aa0ba902b7");
        assert_eq!(field("parent_id"), parent, "{path}");
    }
    assert_eq!(fields_of("a/now")["http.request.method"], "GET");
}
