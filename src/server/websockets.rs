//! A server with WebSockets.

use super::{Running, Server, Stopped};
use crate::io::{
    transport::{OverSocket, Plain},
    ws_driver::WsWorker,
    ws_mode::{WebSockets, WsSeat, WsThreads},
};
use crate::launch::Launch;
use crate::websocket::{WebSocketHandler, hub::Hub};
use std::io;
use std::sync::Arc;

impl<H: WebSocketHandler> Server<H, WebSockets> {
    /// Reaches the WebSocket connections from any thread. It may be asked for before the server
    /// starts, to give it to the handler.
    pub fn hub(&self) -> Hub {
        self.mode.hub.clone()
    }

    /// Makes `hub`, of which the handler may have a clone already, the one that reaches the WebSocket
    /// connections of this server. A hub is for one server, and for one start of it.
    pub fn with_hub(mut self, hub: &Hub) -> Server<H, WebSockets> {
        self.mode.hub = hub.clone();
        self
    }

    /// Serves until a stop: [`Server::start`], then [`Running::wait`].
    pub fn run(self) -> io::Result<Stopped> {
        self.start()?.wait()
    }

    /// Binds and starts the threads. When it returns, connections are accepted.
    ///
    /// # Errors
    ///
    /// As without WebSockets; and the hub is, or was, of another server.
    pub fn start(self) -> io::Result<Running> {
        self.start_over::<Plain>()
    }

    /// Starts over what moves the bytes of each connection.
    pub(crate) fn start_over<T: OverSocket>(self) -> io::Result<Running> {
        let threads = WsThreads::<_, T>::new(&self.config, &self.mode.hub)?;
        let seats = threads.seats.clone();
        let started = self.start_with(threads);
        if started.is_err() {
            // The hub may be held by others, and must not take what nobody sends.
            seats.iter().for_each(WsSeat::close);
        }
        started
    }

    fn start_with<T: OverSocket>(
        mut self,
        mut threads: WsThreads<H::Conn, T>,
    ) -> io::Result<Running> {
        let places = self.take_places();
        let hub = self.mode.hub;
        let mut launch = Launch::new(self.config, places, threads.wakers(), self.timers)?;
        let handler = Arc::new(self.handler);
        for (index, poll) in std::mem::take(&mut threads.polls).into_iter().enumerate() {
            let counters = threads.seats[index].counters.clone();
            let worker = WsWorker {
                index,
                handler: handler.clone(),
                config: launch.config.clone(),
                control: launch.control.clone(),
                seats: threads.seats.clone(),
                hub: hub.clone(),
                poll,
            };
            launch.add_other("ws", index, counters, move || worker.run())?;
        }
        self.stats.add_queues(Vec::new(), threads.queues());
        let lasting = launch.control.capacity.lasting.clone();
        let running = launch.start(handler, &self.stats, || threads.on(lasting.clone()))?;
        #[cfg(unix)]
        running.tell(self.inherited.as_ref());
        Ok(running)
    }
}
