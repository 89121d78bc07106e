//! WebSockets in the event loop: arrivals, commands, publications.

use super::WebSocketHandler;
use super::connection::{WsConnection, WsThreadState};
use super::hub::Hub;
use super::id::WsId;
use super::service::{ConnOf, WsHandlerRef, WsService};
use super::thread_handle::WsCommand;
use super::threads::{WsArrival, WsThreadShared};
use super::topics::Publication;
use crate::config::Config;
use crate::http::handler::Handler;
use crate::http::service::call_hook;
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::{Driver, Ended, EventLoop, ThreadState, Time};
use crate::runtime::poll::Poll;
use crate::runtime::server_state::ServerState;
use crate::runtime::transport::Transport;
use crate::shared::id::ConnId;
use crate::shared::inbox::Inbox;
use crate::shared::mailbox::Mailbox;
use crate::shared::memory_budget::LocalUsage;
use crate::shared::panic_guard::catch;
use peregrine_protocol::Seconds;
use peregrine_protocol::ws::deflate::Inflate;
use peregrine_protocol::ws::message_buf::WsInputs;
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The values with which a WebSocket thread is started.
pub(crate) struct WsWorker<H: WebSocketHandler, T> {
    pub(crate) index: usize,
    pub(crate) handler: Arc<H>,
    pub(crate) config: Arc<Config>,
    pub(crate) control: Arc<ServerState>,
    pub(crate) threads: Arc<[WsThreadShared<H::Conn, T>]>,
    pub(crate) hub: Hub,
    pub(crate) poll: Poll,
}

impl<H: WebSocketHandler, T: Transport> WsWorker<H, T> {
    /// Runs until the server stops.
    pub(crate) fn run(self) -> io::Result<Ended> {
        let thread = &self.threads[self.index];
        thread.handle.adopt();
        let _guard = InboxGuard(thread);
        let shared = WsThreadState {
            service: WsService::new(self.handler, self.hub, thread.handle.peers.clone()),
            inputs: WsInputs::default(),
            counters: thread.counters.clone(),
            limits: self.config.limits,
            tally: LocalUsage::new(self.control.budget.clone()),
            handle: thread.handle.clone(),
            index: self.index,
            close_code: self.config.ws_close_code,
            dirty: Vec::new(),
        };
        let driver = WsDriver {
            thread,
            shared,
            receivers: Vec::new(),
            topics: 0,
        };
        let server = (&*self.config, &*self.control);
        EventLoop::new(self.index, server, self.poll, driver).run()
    }
}

/// If the thread ends early, nothing can be sent to it any more, and its queue is emptied.
struct InboxGuard<'a, C, T>(&'a WsThreadShared<C, T>);

impl<C, T> Drop for InboxGuard<'_, C, T> {
    fn drop(&mut self) {
        self.0.counters.count_panics();
        // After a regular end the worker closes the connections that it brings later.
        if !self.0.handle.is_closed() {
            self.0.close();
            self.0.close_untaken();
        }
    }
}

struct WsDriver<'a, P: WsHandlerRef, T> {
    thread: &'a WsThreadShared<ConnOf<P>, T>,
    shared: WsThreadState<P>,
    /// The subscribers of the current publication.
    receivers: Vec<ConnId>,
    /// Bytes that the memory budget counts for all topics.
    topics: u32,
}

impl<P: WsHandlerRef, T: Transport> Driver for WsDriver<'_, P, T> {
    type Connection = WsConnection<P, T>;
    type State = WsThreadState<P>;
    type Arrival = WsArrival<ConnOf<P>, T>;
    type Command = WsCommand;

    const THREAD: &'static str = "WebSocket thread";
    const CONNECTION: &'static str = "a WebSocket";

    #[inline(always)]
    fn shared(&mut self) -> &mut WsThreadState<P> {
        &mut self.shared
    }

    fn arrivals(&self) -> &Mailbox<WsArrival<ConnOf<P>, T>> {
        &self.thread.arrivals
    }

    fn inbox(&self) -> &Inbox<WsCommand> {
        &self.thread.handle.inbox
    }

    fn has_all(control: &ServerState) -> bool {
        control.workers_are_done()
    }

    fn counted_addr(arrival: &WsArrival<ConnOf<P>, T>) -> Option<SocketAddr> {
        arrival.counted_addr()
    }

    fn connect(&mut self, arrival: WsArrival<ConnOf<P>, T>, _: &ServerState) -> WsConnection<P, T> {
        WsConnection::new(arrival, self.shared.service.now)
    }

    #[inline(always)]
    fn before_wait(&mut self) {
        let shared = &self.shared;
        call_hook(
            &*shared.service.handler,
            &shared.counters,
            P::Target::before_wait,
        );
    }

    #[inline(always)]
    fn after_wait(&mut self) {
        let shared = &self.shared;
        call_hook(
            &*shared.service.handler,
            &shared.counters,
            P::Target::after_wait,
        );
    }

    fn command(events: &mut EventLoop<'_, Self>, command: WsCommand) {
        events.driver.thread.handle.taken(&command);
        events.obey(command);
    }

    /// Delivers messages that hooks have published to the connections of this thread. They are flushed at the
    /// end of the wake-up.
    #[inline]
    fn acted(events: &mut EventLoop<'_, Self>) {
        while !events.driver.shared.service.later.is_empty() {
            // While they are delivered, the only hook that can run is the disconnect hook of a connection
            // that fails. Its messages wait for the next round.
            let mut later = std::mem::take(&mut events.driver.shared.service.later);
            for publication in later.drain(..) {
                events.fan_out(&publication);
            }
            let next = &mut events.driver.shared.service.later;
            if next.is_empty() {
                *next = later;
            }
        }
    }

    fn turn(events: &mut EventLoop<'_, Self>) -> io::Result<()> {
        let WsDriver {
            thread,
            shared,
            topics,
            ..
        } = &mut events.driver;
        *topics = shared.tally.count(*topics, shared.service.topics.held());
        let dropped = thread.handle.take_dropped();
        if dropped > 0 {
            shared.counters.ws_dropped.add(dropped);
        }
        Ok(())
    }

    fn spread(config: &Config) -> Duration {
        config.ws_close_spread
    }

    fn ended(&mut self, control: &ServerState) {
        self.thread.handle.ended.fetch_add(1, Ordering::AcqRel);
        // A hook that panics ends its connection.
        let panics = std::mem::take(&mut self.shared.service.panics);
        self.shared.counters.panicked(panics);
        control.capacity.lasting.give(1);
    }

    fn recover(&mut self) {
        self.shared.service.kit.recover();
        self.shared.service.inflate = Inflate::default();
    }

    /// Before the last hooks: commands that are posted in the meantime are dropped.
    fn cut(&mut self) {
        self.thread.handle.close();
    }

    /// The connections that were never opened.
    fn finish(events: &mut EventLoop<'_, Self>) -> Ended {
        Ended {
            drained: 0,
            cut: events.driver.thread.close_untaken(),
        }
    }
}

impl<P: WsHandlerRef, T: Transport> EventLoop<'_, WsDriver<'_, P, T>> {
    fn fan_out(&mut self, publication: &Publication) {
        // A copy, because a delivery needs the whole state that contains the list.
        let mut ids = std::mem::take(&mut self.driver.receivers);
        let all = |ids: &mut Vec<ConnId>| self.slab.append_tokens(ids);
        self.driver.shared.receivers(publication, all, &mut ids);
        let count = self.deliver(&ids, &publication.message);
        ids.clear();
        self.driver.receivers = ids;
        self.driver.shared.counters.ws_published.add(1);
        self.driver.shared.counters.ws_fanned_out.add(count);
    }

    /// Sends a message to each of these connections that still exists. Returns their number.
    fn deliver(&mut self, ids: &[ConnId], message: &PreparedMessage) -> u64 {
        let (mut next, mut count) = (0, 0);
        // One round, and one more for each connection that panics.
        while next < ids.len() {
            let (slab, shared) = (&mut self.slab, &mut self.driver.shared);
            let delivered = catch(|| {
                while let Some(&id) = ids.get(next) {
                    next += 1;
                    if let Some(connection) = slab.get_mut(id) {
                        count += 1;
                        connection.deliver(message, shared);
                    }
                }
            });
            if let Err(panic) = delivered {
                self.lose(ids[next - 1], &panic);
            }
        }
        count
    }

    fn obey(&mut self, command: WsCommand) {
        match command {
            WsCommand::Publish(topic, message) => self.fan_out(&Publication {
                topic,
                message,
                except: None,
            }),
            WsCommand::PublishToOthers(publication) => self.fan_out(&publication),
            WsCommand::Send(id, message) => {
                self.deliver(&[id.conn()], &message);
            }
            WsCommand::Missed => {
                let all = |ids: &mut Vec<ConnId>| self.slab.append_tokens(ids);
                for id in self.driver.shared.losers(all) {
                    self.act(id, WsConnection::lose);
                }
            }
            WsCommand::Close(id, ..)
            | WsCommand::Subscribe(id, _)
            | WsCommand::Unsubscribe(id, _)
            | WsCommand::Reading(id)
            | WsCommand::Overflow(id)
            | WsCommand::Expel(id) => self.obey_for(id, command),
            WsCommand::Join(ref join) => self.obey_for(join.seat.id(), command),
        }
    }

    fn obey_for(&mut self, id: WsId, command: WsCommand) {
        self.act(id.conn(), |connection, shared| {
            connection.obey(command, shared)
        });
    }
}

impl<P: WsHandlerRef> ThreadState for WsThreadState<P> {
    fn now(&self) -> Seconds {
        self.service.now
    }

    fn tally(&mut self) -> &mut LocalUsage {
        &mut self.tally
    }

    fn dirty(&mut self) -> &mut Vec<ConnId> {
        &mut self.dirty
    }

    fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    fn wake_up(&mut self, time: Time) {
        self.service.now = time.now;
        self.service.kit.short = self.tally.is_over();
    }

    fn trim(&mut self) {
        self.inputs.trim();
        self.service.inflate.trim();
        self.service.kit.trim();
    }
}
