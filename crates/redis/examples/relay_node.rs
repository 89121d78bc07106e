//! A hub for WebSockets that is connected to those of other machines by Redis, without a history. `compare/run.py` loads it.
//!
//! ```sh
//! cargo run --release -p peregrine-redis --example relay_node -- --redis 127.0.0.1:6379 --port 8081
//! ```
//!
//! Each WebSocket at `/ws` is on one topic. The body of `POST /publish` goes to all of them, on all machines.

use lexopt::ValueExt as _;
use peregrine::relay::RelayHandle;
use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws, WsLimits};
use peregrine::{Config as ServerConfig, Done, Handler, Request, Response, Server};
use peregrine_redis::{Config, Redis};
use std::error::Error;
use std::time::Duration;

const TOPIC: &str = "t";

struct Node {
    hub: Hub,
}

impl Handler for Node {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path(), std::str::from_utf8(req.body())) {
            ("POST", "/publish", Ok(text)) => {
                let is_queued = self.hub.publish(TOPIC, text).is_queued();
                res.status(if is_queued { 200 } else { 503 }).text("")
            }
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

impl WebSocketHandler for Node {
    type Conn = ();

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        (req.path() == "/ws").then_some(())
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, ()>) {
        let _ = ws.subscribe(TOPIC);
    }

    fn handle_ws_frame(&self, _: &mut Ws<'_, ()>, _: Message<'_>) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut addr, mut port) = ("127.0.0.1:6379".to_owned(), 8081_u16);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("redis") => addr = args.value()?.string()?,
            lexopt::Arg::Long("port") => port = args.value()?.parse()?,
            arg => return Err(arg.unexpected().into()),
        }
    }
    let (redis, hub) = (Redis::connect(Config::new(&addr))?, Hub::new());
    hub.set_relay(&RelayHandle::new(redis.relay()?))?;
    // Clients may read nothing for a while.
    let limits = WsLimits::default().idle_timeout(Duration::from_secs(600));
    let config = ServerConfig::default()
        .connections(20_000)
        .ws_limits(limits);
    let running = Server::new(Node { hub: hub.clone() })
        .websocket()
        .with_hub(&hub)
        .config(config)
        .bind(("127.0.0.1", port))
        .stop_on_signals()
        .start()?;
    let addr = running.local_addr().expect("an address");
    eprintln!("listening on http://{addr}");
    running.wait()?;
    Ok(())
}
