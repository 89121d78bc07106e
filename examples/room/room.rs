//! History first, then new messages.
//!
//! `History` gives each message a position, keeps it, and sends it to the clients in the room. A client says where it
//! stopped: by the id of the last event, or in the address of its WebSocket. It gets what it has missed, and then the new
//! messages.

use peregrine::history::HistoryLimits;
use peregrine::history::{
    History, MemoryLog, MemoryLogLimits, Position, Start, Update, UpdateKind,
};
use peregrine::sse::EventHub;
use peregrine::ws::{Hub, Message, PreparedMessage, Upgrade, WebSocketHandler, Ws};
use peregrine::{Done, Handler, Request, Response};

/// The topic.
const ROOM: &str = "room";

/// The close code for a client that is too far behind.
const TRY_AGAIN_LATER: u16 = 1013;

/// Number of messages that are kept.
const KEPT: usize = 1000;

/// Maximum bytes of a message.
const LONGEST: usize = 1000;

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><title>A room</title>
<form><input autofocus aria-label="Message"><button>Say</button></form><ol></ol>
<script>
let last = "";
function show(text) {
  const line = document.createElement("li");
  line.textContent = text;
  document.querySelector("ol").append(line);
}
function open_socket() {
  const socket = new WebSocket(`/ws?after=${last}`);
  socket.onmessage = (event) => {
    const [position, kind, text] = event.data.split(/\t(.*?)\t(.*)/s);
    last = position;
    if (kind === "message") show(text);
    if (kind === "lost") show("(some messages are lost)");
  };
  socket.onclose = () => setTimeout(open_socket, 1000);
}
if (location.search === "?sse") {
  const events = new EventSource("/events");
  events.onmessage = (event) => show(event.data);
  events.addEventListener("lost", () => show("(some messages are lost)"));
} else {
  open_socket();
}
document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  const input = document.querySelector("input");
  fetch("/say", { method: "POST", body: input.value });
  input.value = "";
};
</script>
"#;

/// See the module documentation.
pub(crate) struct Room {
    history: History,
}

/// Position, kind and text.
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

impl Room {
    pub(crate) fn new(hub: &Hub) -> Room {
        let log = MemoryLog::with_limits(MemoryLogLimits::default().messages(KEPT));
        let history = History::builder(log)
            .events(&EventHub::new())
            .websockets(hub, line)
            .limits(HistoryLimits::default().messages(KEPT));
        Room {
            history: history.build(),
        }
    }

    /// Adds a message, and sends it to all clients in the room.
    pub(crate) fn say(&self, text: &str) {
        // It is short enough.
        let _ = self.history.publish(ROOM, text);
    }
}

impl Handler for Room {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/") => res.html(PAGE),
            ("GET" | "HEAD", "/events") => self.history.respond(req, res, ROOM, Start::Last(KEPT)),
            // Any page can send this request; only pages of this server may.
            ("POST", "/say") if !req.is_same_origin() => res.status(403).text("wrong origin\n"),
            ("POST", "/say") => match std::str::from_utf8(req.body()) {
                Ok(text) if text.len() <= LONGEST => {
                    self.say(text);
                    res.status(204).body("")
                }
                _ => res.status(400).text("the body must be a short text\n"),
            },
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

impl WebSocketHandler for Room {
    /// From where the client continues.
    type Conn = Start;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Start> {
        let start = match req.query("after").filter(|seen| !seen.is_empty()) {
            Some(seen) => Start::After(seen.parse().unwrap_or(Position::UNKNOWN)),
            None => Start::Last(KEPT),
        };
        (req.path() == "/ws").then_some(start)
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Start>) {
        if self.history.subscribe_ws(ws.id(), ROOM, *ws.conn).is_err() {
            ws.close(TRY_AGAIN_LATER, "");
        }
    }

    fn handle_ws_frame(&self, _: &mut Ws<'_, Start>, message: Message<'_>) {
        if let Message::Text(text) = message {
            if text.len() <= LONGEST {
                self.say(text);
            }
        }
    }
}
