//! A clock that all open pages share, over server-sent events.
//!
//! ```sh
//! cargo run --release --example events
//! ```
//!
//! Then open <http://127.0.0.1:8080/>, in two windows to see the number of pages change. Stop the server and
//! start it again: the pages connect again by themselves and show what they have missed.
//! <http://127.0.0.1:8080/dashboard/> shows what the server does.

mod common;

use peregrine::metrics::Stats;
use peregrine::sse::{Event, EventHub};
use peregrine::{Dashboard, Done, Handler, Request, Response, Router, Server};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("../static/events.html");
const STYLE: &str = include_str!("../static/events.css");
const SCRIPT: &str = include_str!("../static/events.js");

const TICK: Duration = Duration::from_secs(1);

const TOPIC: &str = "clock";

/// The open pages.
#[derive(Default)]
struct Clock {
    watchers: EventHub,
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// The id is the current second. It goes on counting while the server is stopped.
fn tick(watching: usize) -> Event {
    let now = now();
    let data = format!("{} {watching}", now.as_millis());
    let id = now.as_secs().to_string();
    Event::new().event("tick").id(id).data(data)
}

impl Clock {
    /// Sends the time to each open page. A page that has fallen behind is dropped, and connects again.
    fn tell_all(watchers: &EventHub) {
        let _ = watchers.publish(TOPIC, tick(watchers.pages(TOPIC)));
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
        let watchers = self.watchers.clone();
        events.on_gone(move || Clock::tell_all(&watchers));
        let _ = self.watchers.subscribe(events, [TOPIC]);
        Clock::tell_all(&self.watchers);
        done
    }
}

impl Handler for Clock {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/events") => self.watch(req, res),
            ("GET" | "HEAD", "/") => res.html(PAGE),
            ("GET" | "HEAD", "/events.css") => res.header("Content-Type", "text/css").body(STYLE),
            ("GET" | "HEAD", "/events.js") => {
                res.header("Content-Type", "text/javascript").body(SCRIPT)
            }
            (_, "/" | "/events" | "/events.css" | "/events.js") => {
                common::not_allowed(res, "GET, HEAD")
            }
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

fn main() -> std::io::Result<()> {
    let args = common::Args::parse("A clock that all open pages share, at /.");
    let clock = Arc::new(Clock::default());
    let stats = Stats::new();
    let app = Router::new()
        .mount("/dashboard", Dashboard::new(&stats))
        .mount("/", clock.clone());
    let server = Server::new(app).stats(&stats);
    let timers = server.timers();
    let ticking = timers.every(TICK, move || Clock::tell_all(&clock.watchers));
    ticking.map_err(std::io::Error::other)?;
    common::run(server, &args)
}
