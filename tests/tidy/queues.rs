//! Every collection that grows while the server runs names what bounds it.
//!
//! A field of the kinds below that is not in [`BOUNDED`] fails the test: a new queue needs a limit, and
//! the limit needs a row in the table of `Config`.

use super::none;
use super::source::{code_of, rust_files};
use super::table;

/// What grows by an element at a time, in the type of a field.
const KINDS: [&str; 9] = [
    "VecDeque<",
    "BinaryHeap<",
    "HashMap<",
    "HashSet<",
    "BTreeMap<",
    "LinkedList<",
    "Inbox<",
    "Mailbox<",
    "Mutex<Vec<",
];

/// By file and field: limits of the table that bound it together, or, behind a dash, why it needs none.
const BOUNDED: [(&str, &str, &[&str]); 78] = [
    (
        "crates/redis/src/driver/queue.rs",
        "items",
        &["- Config::queue_bytes of peregrine-redis; channels are those of topics"],
    ),
    (
        "crates/redis/src/driver/connection.rs",
        "sent",
        &["- Config::queue_bytes of peregrine-redis"],
    ),
    (
        "crates/redis/src/driver/threads.rs",
        "commands",
        &["- Config::queue_bytes of peregrine-redis"],
    ),
    (
        "crates/redis/src/log.rs",
        "feeds",
        &["- one for each history, of the program"],
    ),
    (
        "crates/redis/src/log.rs",
        "followed",
        &["HistoryLimits::topics"],
    ),
    (
        "crates/redis/src/presence.rs",
        "topics",
        &["PresenceLimits::entries"],
    ),
    (
        "src/runtime/quic/port.rs",
        "waiting",
        &["Config::connections"],
    ),
    (
        "src/history/memory.rs",
        "topics",
        &["MemoryLogLimits::topics"],
    ),
    (
        "src/history/memory.rs",
        "turns",
        &["MemoryLogLimits::topics"],
    ),
    (
        "src/history/memory.rs",
        "loaded",
        &["MemoryLogLimits::topics"],
    ),
    (
        "src/history/memory.rs",
        "entries",
        &["MemoryLogLimits::messages", "MemoryLogLimits::bytes"],
    ),
    (
        "src/history/memory.rs",
        "followed",
        &["HistoryLimits::topics"],
    ),
    (
        "src/history/memory.rs",
        "order",
        &["- one for each history, of the program"],
    ),
    (
        "src/history/track.rs",
        "tail",
        &["HistoryLimits::messages", "HistoryLimits::recent_bytes"],
    ),
    ("src/history/track.rs", "reads", &["HistoryLimits::waiting"]),
    (
        "src/history/topics.rs",
        "by_name",
        &["HistoryLimits::topics"],
    ),
    (
        "src/history/topics.rs",
        "followed",
        &["HistoryLimits::topics"],
    ),
    (
        "src/presence/store.rs",
        "topics",
        &["PresenceLimits::entries"],
    ),
    ("src/presence/mod.rs", "stays", &["PresenceLimits::entries"]),
    (
        "src/presence/steps.rs",
        "by_number",
        &["PresenceLimits::entries"],
    ),
    (
        "src/presence/steps.rs",
        "numbers",
        &["PresenceLimits::entries"],
    ),
    (
        "src/presence/mod.rs",
        "reads",
        &["- each call has a function of the program"],
    ),
    (
        "crates/python/src/asgi/inbox.rs",
        "events",
        &["- `limit_concurrency` of its README, and a few for each exchange"],
    ),
    (
        "crates/python/src/asgi/upload.rs",
        "pieces",
        &["- 256 KiB and a piece"],
    ),
    (
        "crates/python/src/asgi/channel.rs",
        "received",
        &["- 1,024 messages and 8 MiB"],
    ),
    (
        "crates/python/src/asgi/bridge.rs",
        "waiting",
        &["- `limit_concurrency` of its README"],
    ),
    (
        "crates/python/src/asgi/bridge.rs",
        "polled",
        &["- `limit_concurrency` of its README"],
    ),
    (
        "crates/python/src/asgi/senders.rs",
        "waiting",
        &["Config::ws_connections_per_thread"],
    ),
    ("crates/python/src/asgi/scope.rs", "names", &["- 256"]),
    (
        "crates/python/src/pool.rs",
        "jobs",
        &["- `limit_concurrency` of its README"],
    ),
    (
        "src/response_cache/store.rs",
        "entries",
        &["CacheConfig::bytes"],
    ),
    (
        "src/response_cache/store.rs",
        "order",
        &["CacheConfig::bytes"],
    ),
    (
        "src/response_cache/computation.rs",
        "waiting",
        &["CacheConfig::waiting"],
    ),
    (
        "src/sessions/store.rs",
        "values",
        &["SessionConfig::session_bytes"],
    ),
    (
        "src/sessions/store.rs",
        "sessions",
        &["SessionConfig::sessions"],
    ),
    (
        "src/runtime/event_loop/handshakes.rs",
        "waiting",
        &["Config::connections"],
    ),
    (
        "src/runtime/transport/secure/unsent.rs",
        "records",
        &["- of 64 KiB at most, and what the session itself has to say"],
    ),
    (
        "src/relay/interest.rs",
        "shards",
        &["WsLimits::topics", "EventLimits::topics", "Relay topics"],
    ),
    ("src/relay/interest.rs", "queue", &["Relay topics"]),
    (
        "crates/broker/src/connection.rs",
        "pings",
        &["- one that looks whether the broker lives, and one at the end"],
    ),
    (
        "crates/broker/src/driver/mod.rs",
        "round",
        &["- 64 addresses at most"],
    ),
    (
        "crates/broker/src/numbers.rs",
        "topics",
        &["- subscribed topics, and 65,536 numbers at most"],
    ),
    (
        "crates/broker/src/numbers.rs",
        "broadcasts",
        &["- 65,536 numbers at most"],
    ),
    (
        "crates/broker/src/outbox.rs",
        "pieces",
        &["- Settings::queue_bytes of that crate"],
    ),
    (
        "crates/broker/src/wanted.rs",
        "topics",
        &["WsLimits::topics", "EventLimits::topics", "Relay topics"],
    ),
    (
        "crates/broker/src/wanted.rs",
        "changes",
        &["- one for each topic and 65,536 at most"],
    ),
    (
        "crates/nats/src/session.rs",
        "by_topic",
        &["WsLimits::topics", "EventLimits::topics", "Relay topics"],
    ),
    (
        "crates/nats/src/session.rs",
        "by_sid",
        &["WsLimits::topics", "EventLimits::topics", "Relay topics"],
    ),
    ("src/shared/inbox.rs", "mailbox", &["- each owner counts"]),
    ("src/shared/mailbox.rs", "queue", &["- each owner counts"]),
    (
        "src/shared/timer_heap.rs",
        "heap",
        &["Config::timers_per_worker"],
    ),
    ("src/testing/http2.rs", "responses", &["- of a test"]),
    ("src/testing/http3/mod.rs", "responses", &["- of a test"]),
    ("src/testing/http3/wire.rs", "to_other", &["- of a test"]),
    (
        "src/http/h3/reading.rs",
        "ready",
        &[
            "Http3Limits::streams",
            "Http3Limits::unidirectional_streams",
        ],
    ),
    (
        "src/websocket/topics.rs",
        "by_name",
        &["WsLimits::topics", "WsLimits::topic_bytes"],
    ),
    (
        "src/websocket/topics.rs",
        "subscribers",
        &["Config::connections", "WsLimits::topics"],
    ),
    (
        "crates/protocol/src/h2/check/client.rs",
        "windows",
        &["- of a client in checks"],
    ),
    (
        "crates/protocol/src/h3/check/client.rs",
        "streams",
        &["- of a client in checks"],
    ),
    (
        "crates/protocol/src/hpack/table.rs",
        "entries",
        &["- 128 at most: hpack::MAX_TABLE"],
    ),
    (
        "crates/protocol/src/ws/connection/mod.rs",
        "queue",
        &["WsLimits::backlog_bytes"],
    ),
    (
        "src/files/embedded.rs",
        "resources",
        &["- compiled into the program"],
    ),
    (
        "src/http/request_body/reader.rs",
        "bytes",
        &["Limits::body_bytes", "Config::buffered_bytes"],
    ),
    (
        "src/runtime/address_limit.rs",
        "parts",
        &["Config::connections"],
    ),
    (
        "src/runtime/server_state.rs",
        "listeners",
        &["- given before the start"],
    ),
    (
        "src/runtime/server_state.rs",
        "mailbox",
        &["Config::connections"],
    ),
    (
        "src/websocket/threads.rs",
        "arrivals",
        &["Config::ws_connections_per_thread"],
    ),
    (
        "src/http/deferred/event_hub.rs",
        "senders",
        &["Config::connections"],
    ),
    (
        "src/http/deferred/event_hub.rs",
        "topics",
        &["EventLimits::topics", "EventLimits::topic_bytes"],
    ),
    (
        "src/http/deferred/worker_handle.rs",
        "inbox",
        &[
            "Limits::output_bytes",
            "Config::timers_per_worker",
            "CacheConfig::waiting",
        ],
    ),
    (
        "src/runtime/thread_pool.rs",
        "jobs",
        &["Config::pool_queue"],
    ),
    (
        "src/timers.rs",
        "early",
        &["- 1,024 at most, of the program"],
    ),
    (
        "src/runtime/event_loop/ending.rs",
        "waiting",
        &["Config::connections"],
    ),
    (
        "src/server/health/mod.rs",
        "servers",
        &["- one for each start of a server, of the program"],
    ),
    ("src/server/health/mod.rs", "checks", &["- of the program"]),
    ("src/server/health/mod.rs", "relays", &["- of the program"]),
    ("src/websocket/topics.rs", "tickets", &["WsLimits::topics"]),
    (
        "src/websocket/thread_handle.rs",
        "inbox",
        &["Config::ws_mailbox_bytes"],
    ),
];

#[test]
fn every_queue_has_a_limit() {
    let found = queues();
    let mut faults: Vec<_> = found
        .iter()
        .filter(|(path, field)| {
            !BOUNDED
                .iter()
                .any(|known| (known.0, known.1) == (path, field))
        })
        .map(|(path, field)| format!("{path}: what bounds `{field}`?"))
        .collect();
    let rows = table::rows();
    for (path, field, bounds) in BOUNDED {
        if !found.contains(&(path.into(), field.into())) {
            faults.push(format!("{path}: there is no `{field}` any more"));
        }
        let unknown = bounds
            .iter()
            .filter(|bound| !bound.starts_with('-') && !rows.contains_key(**bound));
        faults.extend(unknown.map(|bound| format!("{path}: {field}: no limit {bound}")));
    }
    none(faults);
}

/// Fields of structs by file and name, without those of tests.
fn queues() -> Vec<(String, String)> {
    let files = rust_files(&["src", "crates"]);
    let files = files.iter().filter(|file| !file.path.contains("tests"));
    files
        .flat_map(|file| fields(&file.path, &code_of(&file.text)))
        .collect()
}

fn fields(path: &str, code: &str) -> Vec<(String, String)> {
    // The name and the type, which a line that is formatted has together.
    let field = |line: &str| {
        let line = line.trim().strip_suffix(',')?;
        let (name, kind) = line.split_once(": ")?;
        let name = name.rsplit(' ').next()?;
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let is_field = name.bytes().all(is_name) && !kind.contains(['=', '{', '&']);
        let grows = KINDS.iter().any(|known| kind.contains(known));
        (is_field && grows).then(|| (path.to_owned(), name.to_owned()))
    };
    code.lines().filter_map(field).collect()
}

#[test]
fn a_field_that_grows_is_found() {
    let code = "struct A {\n    pub(crate) waiting: Mutex<VecDeque<u8>>,\n    count: usize,\n}\n";
    assert_eq!(
        fields("a.rs", code),
        [("a.rs".to_owned(), "waiting".to_owned())]
    );
    assert_eq!(fields("a.rs", "    let a: VecDeque<u8> = take(),\n"), []);
}
