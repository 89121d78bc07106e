//! `Server::websocket`: a server with WebSockets.

use super::Server;
use super::launch::Launch;
use super::mode::sealed::Start;
use super::running::Running;
use crate::runtime::transport::OverSocket;
use crate::websocket::WebSocketHandler;
use crate::websocket::driver::WsWorker;
use crate::websocket::hub::Hub;
use crate::websocket::threads::{WebSockets, WsThreadShared, WsThreads};
use std::io;
use std::sync::Arc;

impl<H: WebSocketHandler> Server<H, WebSockets> {
    /// The hub that sends to the WebSocket connections from any thread. It can be used before the server
    /// starts, for example to pass it to the handler.
    pub fn hub(&self) -> Hub {
        self.mode.hub.clone()
    }

    /// Connects `hub` to the WebSocket connections of this server. The handler may have a clone of it
    /// already. A hub serves one start of one server.
    pub fn with_hub(mut self, hub: &Hub) -> Server<H, WebSockets> {
        self.mode.hub = hub.clone();
        self
    }
}

impl<H: WebSocketHandler> Start<H> for WebSockets {
    #[expect(private_bounds, reason = "no other crate can name the trait")]
    fn start<T: OverSocket>(server: Server<H, WebSockets>) -> io::Result<Running> {
        let threads = WsThreads::<_, T>::new(&server.config, &server.mode.hub)?;
        let shared = threads.threads.clone();
        let started = server.start_with(threads);
        if started.is_err() {
            // A clone of the hub may still exist. It must not take messages that will never be sent.
            shared.iter().for_each(WsThreadShared::close);
        }
        started
    }
}

impl<H: WebSocketHandler> Server<H, WebSockets> {
    fn start_with<T: OverSocket>(
        mut self,
        mut threads: WsThreads<H::Conn, T>,
    ) -> io::Result<Running> {
        let places = self.take_places();
        let hub = self.mode.hub;
        if let Some(relay) = hub.relay() {
            self.at_start.add_relay(relay);
        }
        let mut launch = Launch::new(self.config, places, threads.wakers(), self.timers)?;
        let handler = Arc::new(self.handler);
        for (index, poll) in std::mem::take(&mut threads.polls).into_iter().enumerate() {
            let counters = threads.threads[index].counters.clone();
            let worker = WsWorker {
                index,
                handler: handler.clone(),
                config: launch.config.clone(),
                control: launch.control.clone(),
                threads: threads.threads.clone(),
                hub: hub.clone(),
                poll,
            };
            launch.add_other("ws", index, counters, move || worker.run())?;
        }
        self.stats.add_queues(Vec::new(), threads.queues());
        let lasting = launch.control.capacity.lasting.clone();
        let running = launch.start(handler, &self.stats, || threads.on(lasting.clone()))?;
        running.at_start(&self.at_start, &self.stats)
    }
}
