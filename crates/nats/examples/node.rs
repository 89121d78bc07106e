//! One of several nodes that share topics over NATS.
//!
//! ```sh
//! nats-server &
//! cargo run --release --example node -- 127.0.0.1:8001 nats://127.0.0.1:4222 &
//! cargo run --release --example node -- 127.0.0.1:8002 nats://127.0.0.1:4222 &
//! curl -N localhost:8001/events/news &
//! curl -d hello localhost:8002/publish/news
//! ```
//!
//! - `GET /events/{topic}`: server-sent events of a topic
//! - `GET /ws/{topic}`: a WebSocket that gets the messages of a topic; what it sends is published
//! - `POST /publish/{topic}`: publishes the body to both kinds; 202 if other nodes do not get it
//! - `POST /burst/{topic}?from=1&count=1000`: publishes numbers to WebSockets, and says how many were taken
//! - `GET /livez`, `/readyz`, `/metrics`

use peregrine::metrics::Stats;
use peregrine::relay::{RelayHandle, RelayOrder};
use peregrine::server::Health;
use peregrine::sse::EventHub;
use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws, WsLimits};
use peregrine::{Config, Done, Handler, Request, Response, Server};
use peregrine_nats::NatsConfig;
use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

const USAGE: &str = "usage: node ADDRESS URL [--OPTION VALUE]...
  --order broker     messages in the order of the broker
  --queue BYTES      messages that wait for the broker
  --ping MILLIS      time between two PINGs
  --prefix PREFIX    before all subjects
  --bytes N          of a message of a burst
  --creds FILE       with a JWT and a seed, or a seed (feature `nkeys`)
  --ca FILE          certificates that are trusted (feature `tls`)";

struct Node {
    hub: Hub,
    events: EventHub,
    health: Health,
    stats: Stats,
    /// What a message of a burst is filled up with.
    filler: String,
}

impl Handler for Node {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let path = req.path().trim_start_matches('/');
        let (what, topic) = path.split_once('/').unwrap_or((path, ""));
        match what {
            "livez" | "readyz" => self.health.handle_request(req, res),
            "metrics" => res
                .header("Content-Type", Stats::CONTENT_TYPE)
                .body(self.stats.prometheus()),
            "events" => {
                let (done, page) = res.events();
                let _ = self.events.subscribe(page, [topic]);
                done
            }
            "publish" => {
                let text = String::from_utf8_lossy(req.body());
                let event = self.events.publish(topic, &*text);
                let all = self.hub.publish(topic, &*text).is_queued() && event.is_ok();
                res.status(if all { 200 } else { 202 }).text("published\n")
            }
            "burst" => {
                let number = |name| req.query(name).and_then(|n| n.parse::<u64>().ok());
                let (from, count) = (number("from").unwrap_or(1), number("count").unwrap_or(1));
                let numbers = from..from.saturating_add(count.min(1_000_000));
                let taken = numbers.filter(|n| {
                    let text = format!("{n} {}", self.filler);
                    self.hub.publish(topic, text).is_queued()
                });
                res.text(format!("{}\n", taken.count()))
            }
            _ => res.status(404).text("not found\n"),
        }
    }
}

impl WebSocketHandler for Node {
    type Conn = String;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<String> {
        req.path().strip_prefix("/ws/").map(str::to_owned)
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, String>) {
        let (topic, mut ws) = ws.split();
        let _ = ws.subscribe(topic);
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, String>, message: Message<'_>) {
        let (topic, mut ws) = ws.split();
        ws.publish(topic, message);
    }
}

/// Where it listens, the relay, and what fills up a message.
fn configured() -> Result<(String, NatsConfig, String), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or(USAGE)?;
    let mut config = NatsConfig::new(&args.next().ok_or(USAGE)?)?;
    let mut filler = String::new();
    while let Some(option) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        let settings = &mut config.settings;
        match option.as_str() {
            "--order" if value == "broker" => settings.order = RelayOrder::Broker,
            "--queue" => settings.queue_bytes = value.parse()?,
            "--ping" => settings.ping = Duration::from_millis(value.parse()?),
            "--prefix" => config = config.prefix(&value)?,
            "--bytes" => filler = "x".repeat(value.parse()?),
            #[cfg(feature = "nkeys")]
            "--creds" => {
                let text = std::fs::read_to_string(&value)?;
                config = match text.starts_with("SU") {
                    true => config.nkey(text.trim())?,
                    false => config.credentials(&text)?,
                };
            }
            #[cfg(feature = "tls")]
            "--ca" => settings.tls = Some(tls(&value)?),
            _ => return Err(USAGE.into()),
        }
    }
    Ok((address, config, filler))
}

#[cfg(feature = "tls")]
fn tls(file: &str) -> Result<std::sync::Arc<rustls::ClientConfig>, Box<dyn Error>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    Ok(std::sync::Arc::new(config.with_no_client_auth()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (address, config, filler) = configured()?;
    let relay = RelayHandle::new(config.relay());
    let (hub, events) = (Hub::new(), EventHub::new());
    hub.set_relay(&relay)?;
    events.set_relay(&relay)?;
    let (health, stats) = (Health::new(), Stats::new());
    let node = Node {
        hub: hub.clone(),
        events,
        health: health.clone(),
        stats: stats.clone(),
        filler,
    };
    let server_config = Config::default()
        .connections(20_000)
        .ws_limits(WsLimits::default().backlog_bytes(16 << 20));
    let running = Server::new(node)
        .websocket()
        .with_hub(&hub)
        .config(server_config)
        .health(&health)
        .stats(&stats)
        .stop_on_signals()
        .bind(address.as_str())
        .start()?;
    if let Some(address) = running.local_addr() {
        println!("listening on http://{address}");
        std::io::stdout().flush()?;
    }
    running.wait()?;
    Ok(())
}
