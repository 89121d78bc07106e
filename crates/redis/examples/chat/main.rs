//! A chat on several machines: each page sees the messages of all, gets what it has missed when it comes back, and sees who is
//! there.
//!
//! ```sh
//! cargo run --release -p peregrine-redis --example chat -- --redis 127.0.0.1:6379 --port 8081 &
//! cargo run --release -p peregrine-redis --example chat -- --redis 127.0.0.1:6379 --port 8082 &
//! haproxy -f crates/redis/examples/chat/haproxy.cfg
//! ```
//!
//! Then open <http://127.0.0.1:8080/>. With `--relay` beside `--redis`, messages go over Redis without a history: a page is told
//! that messages may be missing when it comes back, when the node has lost some, and when the node is connected again. With
//! `--nats nats://127.0.0.1:4222` instead of both, messages go over NATS, and the pages are told the same; NATS keeps no list of
//! persons, so each node lists its own. Without all of these, one process keeps all. `--addr 0.0.0.0` serves other machines, too.

use lexopt::ValueExt as _;
use peregrine::history::{History, HistoryBuilder, MemoryLog, Position, Start, Update, UpdateKind};
use peregrine::presence::{MemoryPresence, Presence, PresenceBuilder, Stay};
use peregrine::relay::{Relay, RelayHandle};
use peregrine::server::Health;
use peregrine::ws::{Disconnect, Hub, Message, PreparedMessage, Upgrade, WebSocketHandler, Ws};
use peregrine::{Done, Handler, Request, Response, Server};
use peregrine_nats::NatsConfig;
use peregrine_redis::{Config, Event, Redis};
use std::error::Error;
use std::time::Duration;

/// The topic.
const ROOM: &str = "room";

/// Most bytes of a message with its name.
const LONGEST: usize = 2000;

/// Messages that a new page gets.
const SHOWN: usize = 50;

/// A line for a page that may lack messages.
const LOST: &str = "\tlost\t";

const POLICY: u16 = 1008;
const TRY_AGAIN_LATER: u16 = 1013;

/// Where messages go.
enum Lines {
    /// Into a history, from which pages get them.
    Kept(History),
    /// To the pages that are there.
    Passed(Hub),
}

struct Chat {
    lines: Lines,
    presence: Presence,
    health: Health,
}

struct Guest {
    name: String,
    /// From where it continues.
    start: Start,
    /// It is present until this is dropped.
    stay: Option<Stay>,
}

/// Position, kind and text: what the page takes apart.
fn line(update: &Update<'_>) -> Option<PreparedMessage> {
    let position = update.position.map(|position| position.to_string());
    let position = position.unwrap_or_default();
    let (kind, text) = match update.kind {
        UpdateKind::Message(message) => ("message", message.as_text()?),
        UpdateKind::Lost => ("lost", ""),
        _ => ("current", ""),
    };
    Some(format!("{position}\t{kind}\t{text}").into())
}

impl Chat {
    fn who(&self, res: Response<'_>) -> Done {
        let (done, responder) = res.defer();
        self.presence.members(ROOM, move |members| {
            let _ = match members {
                Ok(members) => responder.send(|res| res.text(members.names.join(", "))),
                Err(error) => responder.send(|res| res.status(503).text(format!("{error}\n"))),
            };
        });
        done
    }
}

impl Handler for Chat {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/") => res.html(include_str!("page.html")),
            ("GET", "/who") => self.who(res),
            ("GET" | "HEAD", "/health/readyz" | "/health/livez") => {
                self.health.handle_request(req, res)
            }
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

impl WebSocketHandler for Chat {
    type Conn = Guest;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Guest> {
        let start = match req.query("after").filter(|seen| !seen.is_empty()) {
            Some(seen) => Start::After(seen.parse().unwrap_or(Position::UNKNOWN)),
            None => Start::Last(SHOWN),
        };
        (req.path() == "/ws").then(|| Guest {
            name: req.query("name").unwrap_or_default().into_owned(),
            start,
            stay: None,
        })
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Guest>) {
        let name = Some(&ws.conn.name).filter(|name| !name.trim().is_empty());
        // A name that is too long is refused here.
        let Some(Ok(stay)) = name.map(|name| self.presence.enter(ROOM, name)) else {
            ws.close(POLICY, "another name, please");
            return;
        };
        ws.conn.stay = Some(stay);
        let is_subscribed = match &self.lines {
            Lines::Kept(history) => history.subscribe_ws(ws.id(), ROOM, ws.conn.start).is_ok(),
            Lines::Passed(_) => {
                ws.send(LOST);
                ws.subscribe(ROOM).is_ok()
            }
        };
        if !is_subscribed {
            ws.close(TRY_AGAIN_LATER, "");
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Guest>, message: Message<'_>) {
        let said = match message {
            Message::Text(text) => format!("{}: {text}", ws.conn.name),
            Message::Binary(_) => String::new(),
        };
        if said.is_empty() || said.len() > LONGEST {
            ws.close(POLICY, "send one short line of text");
            return;
        }
        let is_taken = match &self.lines {
            Lines::Kept(history) => history.publish(ROOM, said).is_ok(),
            Lines::Passed(hub) => hub.publish(ROOM, format!("\tmessage\t{said}")).is_queued(),
        };
        if !is_taken {
            ws.send(LOST);
        }
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, Guest>, _: &Disconnect) {
        ws.conn.stay = None;
    }
}

struct Options {
    redis: Option<String>,
    /// Over Redis without a history.
    is_relay: bool,
    nats: Option<String>,
    addr: String,
    port: u16,
    lease: Duration,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        redis: None,
        is_relay: false,
        nats: None,
        addr: "127.0.0.1".to_owned(),
        port: 8080,
        lease: Duration::from_secs(30),
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("redis") => options.redis = Some(args.value()?.string()?),
            lexopt::Arg::Long("relay") => options.is_relay = true,
            lexopt::Arg::Long("nats") => options.nats = Some(args.value()?.string()?),
            lexopt::Arg::Long("addr") => options.addr = args.value()?.string()?,
            lexopt::Arg::Long("port") => options.port = args.value()?.parse()?,
            lexopt::Arg::Long("lease-ms") => {
                options.lease = Duration::from_millis(args.value()?.parse()?);
            }
            arg => return Err(arg.unexpected().into()),
        }
    }
    Ok(options)
}

/// The pages of this process look who is there.
fn told(presence: PresenceBuilder, hub: &Hub) -> Presence {
    let hub = hub.clone();
    let presence = presence.on_change(move |_, _, _| {
        let _ = hub.deliver(Some(ROOM), "\twho\t");
    });
    presence.build()
}

fn kept(history: HistoryBuilder, hub: &Hub) -> Lines {
    Lines::Kept(history.websockets(hub, line).build())
}

/// What the relay of a hub calls: its pages are told when messages of other nodes may be missing.
fn tell(hub: &Hub) -> impl FnMut(Event<'_>) + Send + use<> {
    let pages = hub.clone();
    move |event| {
        if matches!(event, Event::Connected | Event::Lost { .. }) {
            let _ = pages.deliver(Some(ROOM), LOST);
        }
    }
}

/// Connects the hub to those of the other nodes.
fn passed(hub: &Hub, relay: impl Relay) -> Result<Lines, Box<dyn Error>> {
    hub.set_relay(&RelayHandle::new(relay))?;
    Ok(Lines::Passed(hub.clone()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let (hub, mut health) = (Hub::new(), Health::new());
    let mut redis = None;
    let (lines, presence) = if let Some(addr) = &options.redis {
        let connection = Redis::connect(Config::new(addr).lease(options.lease))?;
        let lines = match options.is_relay {
            true => passed(&hub, connection.relay()?.on_event(tell(&hub)))?,
            false => kept(History::builder(connection.log()), &hub),
        };
        let presence = told(Presence::builder(connection.presence()?), &hub);
        let watched = connection.clone();
        health = health.check("redis", move || match watched.is_connected() {
            true => Ok(()),
            false => Err("not connected"),
        });
        redis = Some(connection);
        (lines, presence)
    } else if let Some(url) = &options.nats {
        let lines = passed(&hub, NatsConfig::new(url)?.relay().on_event(tell(&hub)))?;
        (lines, told(Presence::builder(MemoryPresence::new()), &hub))
    } else {
        let lines = kept(History::builder(MemoryLog::new()), &hub);
        (lines, told(Presence::builder(MemoryPresence::new()), &hub))
    };
    let chat = Chat {
        lines,
        presence,
        health: health.clone(),
    };
    let running = Server::new(chat)
        .websocket()
        .with_hub(&hub)
        .health(&health)
        .bind((options.addr.as_str(), options.port))
        .stop_on_signals()
        .start()?;
    let addr = running.local_addr().expect("an address");
    eprintln!("listening on http://{addr}");
    running.wait()?;
    if let Some(redis) = redis {
        redis.flush(Duration::from_secs(1));
    }
    Ok(())
}
