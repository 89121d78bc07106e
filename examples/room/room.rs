//! History first, then new messages.
//!
//! Each message has a number. One lock is held while a message is added to the history and published, and
//! while a client gets the history and is subscribed. So for each client one moment divides the messages:
//! earlier ones come from the history, later ones by its subscription.
//!
//! With server-sent events both go through the sender of the page, in the order of the calls. With WebSockets
//! everything goes through the `Hub`, also the history. Messages and subscriptions of one thread by the `Hub`
//! reach a connection in the order of the calls. Between the `Hub` and `Ws::send` there is no such order.

use peregrine::sse::{Event, EventHub};
use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{Done, Handler, Request, Response};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

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
let last = 0;
function show(number, text) {
  last = number;
  const line = document.createElement("li");
  line.textContent = text;
  document.querySelector("ol").append(line);
}
function open_socket() {
  const socket = new WebSocket(`/ws?after=${last}`);
  socket.onmessage = (event) => {
    const [number, text] = event.data.split(/\t(.*)/s);
    show(Number(number), text);
  };
  socket.onclose = () => setTimeout(open_socket, 1000);
}
if (location.search === "?sse") {
  new EventSource("/events").onmessage = (event) => show(Number(event.lastEventId), event.data);
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
#[derive(Default)]
pub(crate) struct Room {
    history: Mutex<History>,
    pages: EventHub,
    hub: OnceLock<Hub>,
}

#[derive(Default)]
struct History {
    /// The number of the last message.
    last: u64,
    /// The last messages.
    kept: VecDeque<String>,
}

impl History {
    /// The kept messages after number `seen`, with their numbers.
    fn after(&self, seen: u64) -> impl Iterator<Item = (u64, &String)> {
        let first = self.last - self.kept.len() as u64 + 1;
        let numbered = (first..).zip(&self.kept);
        numbered.filter(move |(number, _)| *number > seen)
    }
}

impl Room {
    /// Sets the hub of the server of this room.
    pub(crate) fn set_hub(&self, hub: Hub) {
        // There is only one server.
        let _ = self.hub.set(hub);
    }

    /// A handler that panics must not end the room for all. No change under the lock is ever half done.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message, and sends it to all clients in the room.
    pub(crate) fn say(&self, text: &str) {
        let mut history = self.history();
        history.last += 1;
        let number = history.last;
        history.kept.push_back(text.to_owned());
        if history.kept.len() > KEPT {
            history.kept.pop_front();
        }
        // This cannot fail: neither name nor id has a line break.
        let _ = self.pages.publish(ROOM, event(number, text));
        if let Some(hub) = self.hub.get() {
            // Clients for which it does not fit are closed. They connect again and get the history.
            let _ = hub.publish(ROOM, numbered(number, text).as_str());
        }
    }

    fn watch(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let seen = req.last_event_id().and_then(|id| id.parse().ok());
        let (done, mut page) = res.events();
        let history = self.history();
        for (number, text) in history.after(seen.unwrap_or(0)) {
            if page.try_send(event(number, text)).is_err() {
                // The client has gone, or has too many unsent bytes. It connects again and gets the rest.
                return done;
            }
        }
        let _ = self.pages.subscribe(page, [ROOM]);
        done
    }
}

fn event(number: u64, text: &str) -> Event {
    Event::new().id(number.to_string()).data(text)
}

fn numbered(number: u64, text: &str) -> String {
    format!("{number}\t{text}")
}

impl Handler for Room {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/") => res.html(PAGE),
            ("GET" | "HEAD", "/events") => self.watch(req, res),
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
    /// The number of the last message that the client has seen.
    type Conn = u64;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<u64> {
        let seen = req.query("after").and_then(|seen| seen.parse().ok());
        (req.path() == "/ws").then_some(seen.unwrap_or(0))
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, u64>) {
        let history = self.history();
        let (hub, id) = (ws.hub(), ws.id());
        for (number, text) in history.after(*ws.conn) {
            if !hub.send(id, numbered(number, text).as_str()).is_queued() {
                // It is closed. It connects again and gets the rest.
                return;
            }
        }
        if !hub.subscribe(id, ROOM).is_queued() {
            // Otherwise it would stay open without messages.
            ws.close(TRY_AGAIN_LATER, "");
        }
    }

    fn handle_ws_frame(&self, _: &mut Ws<'_, u64>, message: Message<'_>) {
        if let Message::Text(text) = message {
            if text.len() <= LONGEST {
                self.say(text);
            }
        }
    }
}
