//! A chat between all open pages, and an echo for test suites.
//!
//! ```sh
//! cargo run --release --example websocket
//! ```
//!
//! Then open <http://127.0.0.1:8080/> in two windows. `/echo` sends every message back unchanged.

mod common;

use peregrine::ws::{BacklogPolicy, Disconnect, Message, Upgrade, WebSocketHandler, Ws, WsLimits};
use peregrine::{Done, Handler, Request, Response, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: &str = include_str!("../static/websocket.html");
const STYLE: &str = include_str!("../static/websocket.css");
const SCRIPT: &str = include_str!("../static/websocket.js");

/// The topic of the chat.
const ROOM: &str = "room";

/// Maximum bytes of a line of the chat.
const LINE: usize = 2000;

struct Chat {
    online: AtomicU64,
    /// Echoed messages since the start.
    echoed: AtomicU64,
    guests: AtomicU64,
    /// The limits of an echo connection: test suites send large messages, and send them byte by byte.
    echo: Arc<WsLimits>,
}

enum Conn {
    Guest { name: String },
    Echo,
}

impl Handler for Chat {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/") => res.html(PAGE),
            ("GET" | "HEAD", "/websocket.css") => {
                res.header("Content-Type", "text/css").body(STYLE)
            }
            ("GET" | "HEAD", "/websocket.js") => {
                res.header("Content-Type", "text/javascript").body(SCRIPT)
            }
            (_, "/" | "/websocket.css" | "/websocket.js") => common::not_allowed(res, "GET, HEAD"),
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

impl WebSocketHandler for Chat {
    type Conn = Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Conn> {
        match req.path() {
            "/ws" => {
                let number = self.guests.fetch_add(1, Ordering::Relaxed);
                let name = name(number);
                Some(Conn::Guest { name })
            }
            "/echo" => {
                upgrade.limits(self.echo.clone());
                Some(Conn::Echo)
            }
            _ => None,
        }
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Conn>) {
        if let Conn::Guest { name } = &*ws.conn {
            let you = format!("you\t{name}");
            self.online.fetch_add(1, Ordering::Relaxed);
            ws.send(&you);
            let _ = ws.subscribe(ROOM);
            self.tell_online(ws);
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Conn>, message: Message<'_>) {
        let said = match (&*ws.conn, message) {
            (Conn::Echo, message) => {
                ws.send(message);
                return;
            }
            (Conn::Guest { name }, Message::Text(text)) if text.len() <= LINE => {
                format!("said\t{name}\t{text}")
            }
            _ => {
                ws.close(1008, "send one line of text");
                return;
            }
        };
        let number = self.echoed.fetch_add(1, Ordering::Relaxed) + 1;
        let reply = format!("answer\t{number}\t{}", message.as_bytes().len());
        ws.send(&reply);
        ws.publish(ROOM, said.as_str());
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, Conn>, _: &Disconnect) {
        if let Conn::Guest { .. } = ws.conn {
            self.online.fetch_sub(1, Ordering::Relaxed);
            self.tell_online(ws);
        }
    }
}

impl Chat {
    fn tell_online(&self, ws: &mut Ws<'_, Conn>) {
        let online = self.online.load(Ordering::Relaxed);
        ws.publish(ROOM, format!("online\t{online}").as_str());
    }
}

fn name(number: u64) -> String {
    const MOODS: [&str; 8] = [
        "Amber", "Brisk", "Calm", "Dusky", "Eager", "Fleet", "Gentle", "Keen",
    ];
    const BIRDS: [&str; 9] = [
        "Falcon", "Heron", "Kestrel", "Lark", "Merlin", "Osprey", "Plover", "Swift", "Wren",
    ];
    let (mood, bird) = (number % 8, number % 9);
    format!("{} {}", MOODS[mood as usize], BIRDS[bird as usize])
}

fn main() -> std::io::Result<()> {
    let args =
        common::Args::parse("A chat in the browser at /, an echo of WebSocket messages at /echo.");
    let large = 32 << 20;
    let chat = Chat {
        online: AtomicU64::new(0),
        echoed: AtomicU64::new(0),
        guests: AtomicU64::new(0),
        echo: Arc::new(
            WsLimits::default()
                .message_bytes(large)
                .frame_bytes(large)
                .fragments(1 << 20)
                // Test suites and load generators send as fast as possible.
                .messages(u32::MAX)
                .control_frames(10_000)
                .backlog_bytes(2 * large)
                .backlog_policy(BacklogPolicy::Close),
        ),
    };
    let server = Server::new(chat).websocket();
    let server = args.bind(server.config(args.private_config()));
    common::wait(common::until_signal(server).start())
}
