//! The WebSocket threads, and how workers pass connections to them.

use super::WebSocketHandler;
use super::hub::Hub;
use super::id::{MAX_SLOTS, MAX_THREADS};
use super::service::{AcceptedUpgrade, Offers};
use super::thread_handle::WsThreadHandle;
use crate::config::{Config, ConfigError};
use crate::http::h1::Moved;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::http::service::Upgrades;
use crate::http::upgrade::UpgradeMode;
use crate::metrics::{Queues, QueuesOf, WorkerCounters};
use crate::runtime::poll::{Poll, Waker};
use crate::runtime::socket::Ends;
use crate::runtime::transport::Transport;
use crate::shared::mailbox::Mailbox;
use crate::shared::panic_guard::drop_quietly;
use crate::shared::quota::Share;
use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The mode of a [`Server`](crate::Server) with WebSockets; see
/// [`Server::websocket`](crate::Server::websocket).
#[derive(Debug, Default)]
pub struct WebSockets {
    pub(crate) hub: Hub,
}

/// A connection on its way to a WebSocket thread.
pub(crate) struct WsArrival<C, T> {
    pub(crate) moved: Moved<T>,
    pub(crate) accepted: AcceptedUpgrade<C>,
}

impl<C, T: Transport> WsArrival<C, T> {
    /// The address that the limits per address have counted.
    pub(crate) fn counted_addr(&self) -> Option<SocketAddr> {
        self.moved.socket.counted_addr()
    }
}

/// State that workers and one WebSocket thread share.
pub(crate) struct WsThreadShared<C, T> {
    pub(crate) arrivals: Mailbox<WsArrival<C, T>>,
    pub(crate) handle: Arc<WsThreadHandle>,
    pub(crate) counters: Arc<WorkerCounters>,
    most: usize,
}

impl<C, T> WsThreadShared<C, T> {
    /// Closes the handle: nothing is sent to the thread any more.
    pub(crate) fn close(&self) {
        self.handle.close();
    }

    /// Closes the connections on their way to the thread, which has ended. Returns their number.
    pub(crate) fn close_untaken(&self) -> u64 {
        let mut untaken = Vec::new();
        self.arrivals.take(&mut untaken);
        self.handle.ended.fetch_add(untaken.len(), Ordering::AcqRel);
        let count = untaken.len() as u64;
        self.counters.closed.add_shared(count);
        untaken.into_iter().for_each(drop_quietly);
        count
    }
}

/// The WebSocket threads of a server before they are started, and the parts of them that workers use.
pub(crate) struct WsThreads<C, T> {
    pub(crate) threads: Arc<[WsThreadShared<C, T>]>,
    pub(crate) polls: Vec<Poll>,
    offers: Arc<Offers>,
}

impl<C, T: Transport> WsThreads<C, T> {
    pub(crate) fn new(config: &Config, hub: &Hub) -> io::Result<WsThreads<C, T>> {
        ConfigError::range("Config::ws_threads", config.ws_threads, 1..=MAX_THREADS)?;
        let polls = (0..config.ws_threads)
            .map(|_| Poll::new())
            .collect::<io::Result<Vec<_>>>()?;
        let limits = &config.ws_limits;
        let threads: Arc<[WsThreadShared<C, T>]> = polls
            .iter()
            .map(|poll| {
                let waker = poll.waker();
                WsThreadShared {
                    arrivals: Mailbox::new(),
                    handle: Arc::new(WsThreadHandle::new(config.ws_mailbox_bytes, move || {
                        waker.wake()
                    })),
                    counters: Arc::default(),
                    most: config.ws_connections_per_thread.min(MAX_SLOTS),
                }
            })
            .collect();
        if !hub.open(threads.iter().map(|thread| thread.handle.clone()).collect()) {
            return Err(ConfigError::HubInUse.into());
        }
        let offers = Offers {
            origins: config.ws_origins.clone(),
            #[cfg(feature = "deflate")]
            deflate: config.ws_deflate,
            ..Offers::new(*limits)
        };
        Ok(WsThreads {
            threads,
            polls,
            offers: Arc::new(offers),
        })
    }

    pub(crate) fn wakers(&self) -> Vec<Waker> {
        self.polls.iter().map(Poll::waker).collect()
    }

    /// Adds the queue lengths of the threads to the metrics while the threads exist.
    pub(crate) fn queues(&self) -> Vec<QueuesOf>
    where
        C: Send + 'static,
    {
        let of = |i: usize| {
            let threads = Arc::downgrade(&self.threads);
            QueuesOf::new(move || {
                let threads = threads.upgrade()?;
                let thread = threads.get(i)?;
                Some(Queues {
                    connections: thread.arrivals.len() as u64,
                    messages: thread.handle.inbox.len() as u64,
                    ..Queues::default()
                })
            })
        };
        (0..self.threads.len()).map(of).collect()
    }

    /// `lasting`: the limit on long-lived connections of all threads.
    pub(crate) fn on(&self, lasting: Arc<Share>) -> WebSocketUpgrade<C, T> {
        WebSocketUpgrade {
            lasting,
            offers: self.offers.clone(),
            threads: self.threads.clone(),
            chosen: 0,
            is_promised: false,
            accepted: None,
        }
    }
}

/// The handles for a worker.
pub(crate) struct WebSocketUpgrade<C, T> {
    lasting: Arc<Share>,
    offers: Arc<Offers>,
    threads: Arc<[WsThreadShared<C, T>]>,
    /// The thread that gets the last accepted connection.
    chosen: usize,
    /// The thread counts one connection more than it has been given.
    is_promised: bool,
    accepted: Option<AcceptedUpgrade<C>>,
}

impl<H: WebSocketHandler, T: Transport> Upgrades<H> for WebSocketUpgrade<H::Conn, T> {
    fn offer<'r>(
        &mut self,
        handler: &H,
        request: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>> {
        let offers = self.offers.clone();
        offers
            .offer(handler, request, response, || self.take_place())
            .response(&mut self.accepted)
    }

    fn accept(&mut self, upgrade: Box<dyn Any + Send>) -> bool {
        match upgrade.downcast() {
            Ok(accepted) if self.take_place() => {
                self.accepted = Some(*accepted);
                true
            }
            refused => {
                drop_quietly(refused);
                false
            }
        }
    }

    #[inline]
    fn is_accepted(&self) -> bool {
        self.accepted.is_some()
    }
}

impl<C, T> WebSocketUpgrade<C, T> {
    /// Takes a place on a thread for one more connection. False if there is none.
    fn take_place(&mut self) -> bool {
        if !self.lasting.take() {
            return false;
        }
        match choose(&self.threads, self.chosen) {
            Some(thread) => (self.chosen, self.is_promised) = (thread, true),
            None => self.lasting.give(1),
        }
        self.is_promised
    }
}

/// The thread with the fewest connections. Of several, the next one after the last choice. `None` if all are
/// full.
fn choose<C, T>(threads: &[WsThreadShared<C, T>], last: usize) -> Option<usize> {
    let in_turn = (1..=threads.len()).map(|i| (last + i) % threads.len());
    let chosen = in_turn.min_by_key(|&thread| threads[thread].handle.load())?;
    let thread = &threads[chosen];
    // Counted at once, so that workers that choose at the same time see each other's choice.
    let load = thread.handle.load();
    if load >= thread.most {
        return None;
    }
    thread.handle.given.fetch_add(1, Ordering::AcqRel);
    Some(chosen)
}

impl<H: WebSocketHandler, T: Transport> UpgradeMode<H, T> for WebSocketUpgrade<H::Conn, T> {
    fn hand_over(&mut self, moved: Moved<T>) -> u64 {
        let Some(accepted) = self.accepted.take() else {
            return 0;
        };
        self.is_promised = false;
        let thread = &self.threads[self.chosen];
        if thread.arrivals.put([WsArrival { moved, accepted }]) {
            thread.handle.inbox.wake();
        }
        // The server is cut: the thread has ended, and may have looked for the last time before.
        match thread.handle.is_closed() {
            true => thread.close_untaken(),
            false => 0,
        }
    }

    fn recover(&mut self) {
        if std::mem::take(&mut self.is_promised) {
            let thread = &self.threads[self.chosen];
            thread.handle.ended.fetch_add(1, Ordering::AcqRel);
            self.lasting.give(1);
        }
        drop_quietly(self.accepted.take());
    }
}
