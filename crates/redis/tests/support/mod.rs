//! Servers, nodes, pages, and a relay that breaks connections.

mod gate;
mod process;
mod server;

pub(crate) use gate::Gate;
pub(crate) use process::Process;
pub(crate) use server::Server;
#[cfg(feature = "tls")]
pub(crate) use server::free_addr;

use peregrine::history::{History, HistoryLimits, Start};
use peregrine::presence::{Change, Members, Presence, Stay};
use peregrine::relay::{RelayHandle, RelayOrder};
use peregrine::sse::EventHub;
use peregrine::testing::Connection;
use peregrine::{Handler, Request, Response, from_fn};
use peregrine_redis::{Config, Event, Redis};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Only a failure reaches it. A Sentinel that was not run for two seconds does nothing for 30 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn config(server: &Server) -> Config {
    let ms = Duration::from_millis(1);
    Config::new(server.addr()).backoff(ms, 20 * ms)
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited for: {what}");
        pause();
    }
}

/// Time after which a peer that is silent is left, in two steps: longer than a busy machine lets anyone wait.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// Before another process is looked at again.
#[expect(
    clippy::disallowed_methods,
    reason = "what other processes do is no event here"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

type Told = Arc<Mutex<Vec<(String, Change)>>>;

/// What a process has, without its server.
pub(crate) struct Node {
    pub(crate) redis: Redis,
    pub(crate) history: History,
    presence: Presence,
    told: Told,
}

impl Node {
    pub(crate) fn connect(config: Config) -> Node {
        Node::with_limits(config, HistoryLimits::default())
    }

    pub(crate) fn with_limits(config: Config, limits: HistoryLimits) -> Node {
        let redis = Redis::connect(config).expect("a thread");
        let history = History::builder(redis.log())
            .events(&EventHub::new())
            .limits(limits);
        let told = Told::default();
        let tell = told.clone();
        let presence = Presence::builder(redis.presence().expect("the first one")).on_change(
            move |_, person, change| {
                tell.lock()
                    .expect("no panic")
                    .push((person.to_owned(), change));
            },
        );
        Node {
            history: history.build(),
            presence: presence.build(),
            redis,
            told,
        }
    }

    /// Waits until it is connected, so that the messages of a test are not those of an outage.
    pub(crate) fn ready(self) -> Node {
        wait_until("connected", || self.redis.is_connected());
        self
    }

    /// The last part of the path is the topic.
    pub(crate) fn app(&self) -> impl Handler + use<> {
        let history = self.history.clone();
        from_fn(move |req: &Request<'_>, res: Response<'_>| {
            history.respond(req, res, &req.path()[1..], Start::Now)
        })
    }

    pub(crate) fn publish(&self, topic: &str, number: impl TryInto<u64>) {
        let number = number.try_into().ok().expect("a number");
        self.history
            .publish(topic, number.to_string())
            .expect("room");
    }

    pub(crate) fn enter(&self, topic: &str, person: &str) -> Stay {
        self.presence.enter(topic, person).expect("room")
    }

    /// Empty if Redis cannot be asked.
    pub(crate) fn members(&self, topic: &str) -> Vec<String> {
        self.counted(topic).names
    }

    pub(crate) fn counted(&self, topic: &str) -> Members {
        self.asked(topic).unwrap_or_default()
    }

    /// `None` if Redis cannot be asked.
    pub(crate) fn asked(&self, topic: &str) -> Option<Members> {
        let (give, given) = channel();
        self.presence
            .members(topic, move |members| drop(give.send(members)));
        let members = given.recv_timeout(PATIENCE).expect("a reply");
        members.map(Arc::unwrap_or_clone).ok()
    }

    pub(crate) fn told(&self) -> Vec<(String, Change)> {
        self.told.lock().expect("no panic").clone()
    }

    pub(crate) fn take_told(&self) -> Vec<(String, Change)> {
        std::mem::take(&mut *self.told.lock().expect("no panic"))
    }
}

/// Whether all of these are connected, by other connections than those that they have now.
pub(crate) fn followed(nodes: &[Node; 2]) -> impl Fn() -> bool {
    let before = nodes.each_ref().map(|node| node.redis.connections());
    move || {
        let mut both = nodes.iter().zip(before);
        both.all(|(node, before)| node.redis.is_connected() && node.redis.connections() > before)
    }
}

/// A process with a hub and a relay.
pub(crate) struct Relayed {
    pub(crate) hub: EventHub,
    pub(crate) relay: RelayHandle,
    /// What the relay has told, and on which thread.
    events: Mutex<Receiver<(String, String)>>,
}

impl Relayed {
    pub(crate) fn connect(config: Config) -> Relayed {
        Relayed::ordered(config, RelayOrder::Local)
    }

    pub(crate) fn ordered(config: Config, order: RelayOrder) -> Relayed {
        Relayed::over(&Redis::connect(config).expect("a thread"), order)
    }

    pub(crate) fn over(redis: &Redis, order: RelayOrder) -> Relayed {
        let (seen, events) = channel();
        let relay = redis.relay().expect("the first one").order(order);
        let relay = RelayHandle::new(relay.on_event(move |event| {
            let event = match event {
                Event::Lost { topic, messages } => format!("lost {messages} of {topic:?}"),
                other => format!("{other:?}"),
            };
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = seen.send((event, thread));
        }));
        let hub = EventHub::new();
        hub.set_relay(&relay).expect("the first one");
        Relayed {
            hub,
            relay,
            events: Mutex::new(events),
        }
    }

    /// The next event of the relay.
    #[track_caller]
    pub(crate) fn told(&self, wanted: &str) {
        let events = self.events.lock().expect("no panic");
        let (event, thread) = events.recv_timeout(PATIENCE).expect("an event");
        assert_eq!(event, wanted);
        assert!(thread.starts_with("pg-redis"), "{thread}");
    }

    pub(crate) fn is_told_nothing(&self) -> bool {
        self.events.lock().expect("no panic").try_recv().is_err()
    }

    /// Publishes to the topic until something has come to this page of another node: then that node has subscribed.
    pub(crate) fn reaches<C: Source>(&self, topic: &str, page: &mut Page<C>) {
        wait_until("subscribed", || {
            let _ = self.hub.publish(topic, "0");
            page.read();
            page.lines.iter().any(|line| line == "0")
        });
    }

    /// The last part of the path is the topic.
    pub(crate) fn app(&self) -> impl Handler + use<> {
        let hub = self.hub.clone();
        from_fn(move |req: &Request<'_>, res: Response<'_>| {
            let (done, page) = res.events();
            hub.subscribe(page, [&req.path()[1..]]).expect("room");
            done
        })
    }
}

/// A page with a stream of events.
pub(crate) struct Page<C> {
    client: C,
    /// Names and data of its events.
    pub(crate) lines: Vec<String>,
    pub(crate) id: Option<String>,
    /// A line that is not complete.
    rest: String,
}

/// Where a page gets its bytes from.
pub(crate) trait Source {
    /// Waits for bytes for a short time.
    fn more(&mut self) -> String;
}

impl<H: Handler> Source for Connection<'_, H> {
    fn more(&mut self) -> String {
        self.wait(Duration::from_millis(20));
        String::from_utf8(self.take_received()).expect("text")
    }
}

pub(crate) fn page<'h, H: Handler>(
    app: &'h H,
    topic: &str,
    last_id: Option<&str>,
) -> Page<Connection<'h, H>> {
    let mut client = Connection::new(app);
    let id = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    client.send(format!("GET /{topic} HTTP/1.1\r\nHost: a\r\n{id}\r\n").as_bytes());
    Page::new(client)
}

impl<C: Source> Page<C> {
    pub(crate) fn new(client: C) -> Page<C> {
        Page {
            client,
            lines: Vec::new(),
            id: None,
            rest: String::new(),
        }
    }

    /// Takes what has come.
    pub(crate) fn read(&mut self) {
        self.rest.push_str(&self.client.more());
        let Some(end) = self.rest.rfind('\n') else {
            return;
        };
        let rest = self.rest.split_off(end + 1);
        for line in std::mem::replace(&mut self.rest, rest).lines() {
            match line.split_once(": ") {
                Some(("id", id)) => self.id = Some(id.to_owned()),
                Some(("data" | "event", value)) => self.lines.push(value.to_owned()),
                _ => {}
            }
        }
    }

    #[track_caller]
    pub(crate) fn wait_until(&mut self, is_so: impl Fn(&[String]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.lines) {
            assert!(Instant::now() < end, "a page has got: {:?}", self.lines);
            self.read();
        }
    }

    /// Until it is subscribed and knows where it is.
    #[track_caller]
    pub(crate) fn wait_for_id(&mut self) {
        let end = Instant::now() + PATIENCE;
        while self.id.is_none() {
            assert!(Instant::now() < end, "no id: {:?}", self.lines);
            self.read();
        }
        // If there was no connection yet, it was told that messages may be lost.
        self.lines.clear();
    }

    /// Until nothing comes for a moment, though something may come later.
    pub(crate) fn settle(&mut self) {
        for _ in 0..5 {
            self.read();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lines.iter().any(|line| line == "lost")
    }
}
