//! What a subscriber of the `tracing` crate sees. Events of other tests come by, too.

use super::support::{Asked, Client, ended, start, wait_until, workers};
use peregrine::from_fn;
use std::collections::BTreeMap;
use std::sync::Mutex;
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

/// Keeps all events and has no spans.
struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("peregrine")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Fields(BTreeMap<&'static str, String>);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name(), format!("{value:?}"));
            }
        }
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
    tracing::subscriber::set_global_default(Keeper).expect("the only subscriber");
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
