//! Sends back what it gets.

use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{Done, Handler, Request, Response};
use std::fmt::Write as _;

pub(crate) struct Echo;

impl Handler for Echo {
    /// The request as text: its first line, its fields, and its body.
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let mut text = format!("{} {}\n", req.method(), req.target());
        for (name, value) in req.headers() {
            // A write to a string cannot fail.
            let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value));
        }
        text.push('\n');
        let mut text = text.into_bytes();
        text.extend_from_slice(req.body());
        res.header("Content-Type", "text/plain; charset=utf-8")
            .header("X-Content-Type-Options", "nosniff")
            .body(text)
    }
}

impl WebSocketHandler for Echo {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        ws.send(message);
    }
}
