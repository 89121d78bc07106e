//! The handshake of a WebSocket in memory.

use super::{Served, serve};
use crate::config::Config;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::http::service::{Upgrades, call_hook};
use crate::runtime::event_loop::{Driven, Fate};
use crate::runtime::thread_pool::Size;
use crate::runtime::transport::{Memory, Transport};
use crate::shared::id::ConnId;
use crate::websocket::WebSocketHandler;
use crate::websocket::service::{AcceptedUpgrade, Offers};
use crate::websocket::threads::WsArrival;
use peregrine_protocol::ws::limits::WsLimits;
use std::any::Any;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a handler that has deferred its decision may take for it. The client has no response then.
const DECISION: Duration = Duration::from_secs(60);

/// Offloaded requests are refused.
const NO_POOL: Size = Size {
    threads: 0,
    queue: 0,
    stack: None,
};

/// The response to a handshake, and the connection that has left HTTP.
type Upgraded<H> = (Vec<u8>, WsArrival<<H as WebSocketHandler>::Conn, Memory>);

/// Handles a request. Returns the bytes for the client, and the connection if it is accepted.
pub(super) fn shake_hands<H: WebSocketHandler>(
    handler: &H,
    request: &[u8],
    limits: WsLimits,
) -> Result<Upgraded<H>, Vec<u8>> {
    let mut client = Memory::default();
    client.arrive(request);
    let mode = Taken(Offers::new(limits), None);
    let config = Config::default();
    let (wake, woken) = channel();
    let mut http: Served<'_, H, _> = serve(
        (handler, mode),
        (&config, Memory::PEER),
        NO_POOL,
        (client, move || _ = wake.send(())),
    );
    let counters = http.shared.counters.clone();
    call_hook(handler, &counters, H::before_wait);
    call_hook(handler, &counters, H::after_wait);
    let mut fate = http.act(|connection, shared| connection.open(ConnId::default(), false, shared));
    call_hook(handler, &counters, H::before_wait);
    while is_undecided(&http) {
        let Some(decided) = wait(&mut http, &woken) else {
            if let Some(connection) = http.connection.take() {
                connection.close(&mut http.shared);
            }
            break;
        };
        fate = decided;
    }
    let (Some(connection), Fate::Upgraded) = (http.connection.take(), fate) else {
        return Err(http.received);
    };
    let moved = connection.into_moved(&mut http.shared);
    // Without a WebSocket, it is the preface of HTTP/2.
    let (Some(mut moved), Some(accepted)) = (moved, http.shared.mode.1) else {
        return Err(http.received);
    };
    let mut response = http.received;
    if let Some(mut output) = moved.output.take() {
        while let Ok(sent) = moved.socket.stream.send(&output) {
            output.advance(sent.bytes);
            if output.is_empty() {
                break;
            }
        }
    }
    response.extend(moved.socket.stream.take_sent());
    Ok((response, WsArrival { moved, accepted }))
}

fn is_undecided<H: WebSocketHandler>(http: &Served<'_, H, Taken<H::Conn>>) -> bool {
    let connection = http.connection.as_ref();
    !http.is_closed && connection.is_some_and(|connection| connection.is_undecided())
}

/// Waits for what other threads post, and handles it. `None` if the time has passed.
fn wait<H: WebSocketHandler>(
    http: &mut Served<'_, H, Taken<H::Conn>>,
    woken: &Receiver<()>,
) -> Option<Fate> {
    woken.recv_timeout(DECISION).ok()?;
    let (handler, counters) = (http.shared.service.handler, http.shared.counters.clone());
    call_hook(handler, &counters, H::after_wait);
    let mut commands = Vec::new();
    http.shared
        .service
        .recorder
        .handle
        .inbox
        .take(&mut commands);
    let mut fate = Fate::Open;
    for command in commands {
        fate = http.act(|connection, shared| connection.command(command, shared));
    }
    call_hook(handler, &counters, H::before_wait);
    Some(fate)
}

struct Taken<C>(Offers, Option<AcceptedUpgrade<C>>);

impl<H: WebSocketHandler> Upgrades<H> for Taken<H::Conn> {
    fn offer<'r>(
        &mut self,
        handler: &H,
        request: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>> {
        self.0
            .offer(handler, request, response, || true)
            .response(&mut self.1)
    }

    fn accept(&mut self, upgrade: Box<dyn Any + Send>) -> bool {
        self.1 = upgrade.downcast().ok().map(|accepted| *accepted);
        self.1.is_some()
    }

    fn is_accepted(&self) -> bool {
        self.1.is_some()
    }
}
