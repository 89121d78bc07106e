//! Tells each client what the server knows of it behind proxies and load balancers.
//!
//! ```sh
//! cargo run --release --example proxied -- --behind proxy-protocol
//! curl --haproxy-protocol localhost:8080
//!
//! cargo run --release --example proxied -- --behind x-forwarded
//! curl -H 'X-Forwarded-For: 192.0.2.1' localhost:8080
//! ```
//!
//! WebSockets at any path get the address of their client, and then their own messages back.

mod common;

use peregrine::config::ForwardedFields;
use peregrine::server::Health;
use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{Done, Handler, Request, Response, Server};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

const OPTIONS: &str = "  \
  --behind PROXY       What says who the client is: proxy-protocol, forwarded (the field Forwarded) or
                       x-forwarded (X-Forwarded-For, -Proto and -Host) (default: the connection itself)
  --trust NETWORK      The proxies that are believed, as 10.0.0.0/8 (default: the loopback)
  --drain N            Seconds between SIGTERM and the stop, in which /readyz says 503 (default: 0)
  --ws-spread N        Seconds over which the WebSockets are closed then (default: 0)
";

struct Tells {
    health: Health,
}

impl Handler for Tells {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        if matches!(req.path(), "/livez" | "/readyz") {
            return self.health.handle_request(req, res);
        }
        let client = req.client_addr();
        let client = client.map_or("unknown".to_owned(), |addr| addr.ip().to_string());
        let peer = req.peer_addr();
        let peer = peer.map_or("unknown".to_owned(), |addr| addr.ip().to_string());
        let (scheme, host) = (req.scheme(), req.host().unwrap_or("unknown"));
        let mut text = format!(
            "client {client}\npeer {peer}\nurl {scheme}://{host}{}\n",
            req.path()
        );
        if let Some(header) = req.proxy_header() {
            let tls = header.ssl().and_then(|ssl| ssl.version).unwrap_or("none");
            let name = header.authority().unwrap_or("none");
            text += &format!("tls {tls}\nauthority {name}\n");
        }
        res.text(text)
    }
}

impl WebSocketHandler for Tells {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, ()>) {
        let client = ws.client_addr();
        let client = client.map_or("unknown".to_owned(), |addr| addr.ip().to_string());
        ws.send(client.as_str());
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        ws.send(message);
    }
}

fn main() -> std::io::Result<()> {
    let about = "Tells what it knows of a client.";
    let names = ["behind", "trust", "drain", "ws-spread"];
    let (args, [behind, trust, drain, ws_spread]) =
        common::Args::parse_values(about, OPTIONS, names);
    let behind = behind.as_deref().and_then(OsStr::to_str);
    let mut config = args.config();
    config.forwarded = match behind {
        None | Some("proxy-protocol") => ForwardedFields::None,
        Some("forwarded") => ForwardedFields::Forwarded,
        Some("x-forwarded") => ForwardedFields::X {
            proto: true,
            host: true,
        },
        Some(_) => fail("--behind is proxy-protocol, forwarded or x-forwarded"),
    };
    if let Some(network) = trust {
        match network.to_str().map(str::parse) {
            Some(Ok(network)) => config.trusted_proxies = vec![network],
            _ => fail("--trust is a network, as 10.0.0.0/8"),
        }
    }
    let seconds = |value: Option<OsString>| match value.map(|value| value.to_str().map(str::parse))
    {
        None => Duration::ZERO,
        Some(Some(Ok(seconds))) => Duration::from_secs(seconds),
        Some(_) => fail("--drain and --ws-spread are numbers of seconds"),
    };
    config.drain_delay = seconds(drain);
    config.ws_close_spread = seconds(ws_spread);
    let health = Health::new();
    let app = Tells {
        health: health.clone(),
    };
    let server = Server::new(app).websocket().health(&health);
    let mut server = args.bind(server.config(config));
    if behind == Some("proxy-protocol") {
        server = server.proxy_protocol();
    }
    common::wait(common::until_signal(server).start())
}

fn fail(error: &str) -> ! {
    eprintln!("{error}");
    std::process::exit(2)
}
