//! A clock that all open pages share, over server-sent events.
//!
//! ```sh
//! cargo run --release --example events
//! ```
//!
//! then open <http://127.0.0.1:8080/>, in two windows to see the count of watchers change. Stop the
//! server and start it again: the pages come back by themselves and say what they have missed.

mod common;

use peregrine::{Done, Event, EventSender, Handler, Request, Response, Server};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("../static/events.html");
const STYLE: &str = include_str!("../static/events.css");
const SCRIPT: &str = include_str!("../static/events.js");

const TICK: Duration = Duration::from_secs(1);

/// Who watches.
#[derive(Default)]
struct Clock {
    watchers: Mutex<Vec<EventSender>>,
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// The id is the second, which goes on counting when the server does not.
fn tick(watching: usize) -> Event {
    let now = now();
    let data = format!("{} {watching}", now.as_millis());
    let id = now.as_secs().to_string();
    Event::new().event("tick").id(id).data(data)
}

impl Clock {
    /// To everyone who is still there. Nobody waits for a slow one: it misses a tick.
    fn tell_all(&self) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| !watcher.is_gone());
        let tick = tick(watchers.len());
        for watcher in watchers.iter_mut() {
            let _ = watcher.try_send(tick.clone());
        }
    }

    fn watch(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let (done, mut events) = res.events();
        let mut hello = Event::new().event("hello").retry(TICK);
        let last: Option<u64> = req.last_event_id().and_then(|id| id.parse().ok());
        hello = match last {
            Some(last) => hello.data(format!("{last} {}", now().as_secs().saturating_sub(last))),
            None => hello.data("new"),
        };
        let _ = events.try_send(hello);
        self.watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(events);
        self.tell_all();
        done
    }
}

impl Handler for Clock {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET", "/events") => self.watch(req, res),
            ("GET" | "HEAD", "/") => res.html(PAGE),
            ("GET" | "HEAD", "/events.css") => res.header("Content-Type", "text/css").body(STYLE),
            ("GET" | "HEAD", "/events.js") => {
                res.header("Content-Type", "text/javascript").body(SCRIPT)
            }
            (_, "/events") => common::not_allowed(res, "GET"),
            (_, "/" | "/events.css" | "/events.js") => common::not_allowed(res, "GET, HEAD"),
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

fn main() -> std::io::Result<()> {
    let args = common::Args::parse("A clock that all open pages share, at /.");
    let clock = Arc::new(Clock::default());
    let server = Server::new(clock.clone());
    let ticking = server.timers().every(TICK, move || clock.tell_all());
    ticking.map_err(std::io::Error::other)?;
    common::run(server, &args)
}
