//! HTTP in the event loop: listeners, deferred responses, timers.

use super::connection::Connection;
use super::handler::Handler;
use super::response::ResponseRecorder;
use super::service::{Gate, HandlerRef, Service};
use super::upgrade::UpgradeMode;
#[cfg(feature = "http2")]
use super::worker_state::Http2State;
use super::worker_state::WorkerState;
use crate::config::Config;
use crate::config::forwarded::Forwarding;
use crate::http::connection_error::ConnectionError;
use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::http::service::{call_hook, report_to};
use crate::metrics::WorkerCounters;
use crate::runtime::accept::{BACK_OFF, Listeners};
use crate::runtime::event_loop::{Driven, Driver, Ended, EventLoop, ThreadState, Time, Timing};
use crate::runtime::listener::{Listener, ListenerId};
use crate::runtime::memory_relief::REST;
use crate::runtime::poll::{Poll, Token};
use crate::runtime::server_state::{Accepted, ServerState, WorkerShared};
#[cfg(test)]
use crate::runtime::slab::Slab;
use crate::runtime::socket::Ends;
use crate::runtime::socket::Socket;
use crate::runtime::transport::OverSocket;
use crate::shared::buffer_pool::BufferPool;
use crate::shared::id::ConnId;
use crate::shared::inbox::Inbox;
use crate::shared::mailbox::Mailbox;
use crate::shared::memory_budget::LocalUsage;
use crate::shared::panic_guard::catch;
use crate::shared::timer_heap::TimerHeap;
use peregrine_protocol::Seconds;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The most connections that a worker accepts from its own listener in one turn of the loop.
const BATCH: usize = 64;

/// The most timers that are called in one turn of the loop.
const TIMERS: usize = 256;

/// The values with which a worker thread is started.
pub(crate) struct Worker<H, M, T> {
    pub(crate) index: usize,
    pub(crate) handler: Arc<H>,
    /// The handle of this worker, which other threads use too.
    pub(crate) handle: Arc<WorkerHandle>,
    pub(crate) config: Arc<Config>,
    pub(crate) control: Arc<ServerState>,
    pub(crate) poll: Poll,
    pub(crate) listeners: Vec<(ListenerId, Listener)>,
    pub(crate) mode: M,
    pub(crate) transport: PhantomData<fn() -> T>,
}

impl<H: Handler, M: UpgradeMode<H, T>, T: OverSocket> Worker<H, M, T> {
    /// Runs until the server stops.
    pub(crate) fn run(self) -> io::Result<Ended> {
        if self.config.cpu_affinity {
            crate::runtime::affinity::bind_thread(self.index);
        }
        let control = &*self.control;
        let _serving = control.worker_starts();
        let worker = &control.workers[self.index];
        self.handle.adopt();
        let _guard = InboxGuard(&self.handle);
        let shared = WorkerState {
            service: Service {
                handler: self.handler,
                limits: self.config.limits,
                events_retry: self.config.events_retry,
                gate: Gate::of(&self.config, control.capacity.requests.clone()),
                recorder: ResponseRecorder::new(
                    self.config.server_name.as_deref(),
                    self.handle.clone(),
                ),
                now: Seconds::START,
                timing: Timing::Off,
                is_later: false,
                #[cfg(feature = "tracing")]
                span: tracing::Span::none(),
                spare: Vec::new(),
                lasting: control.capacity.lasting.clone(),
            },
            pool: BufferPool::default(),
            counters: worker.counters.clone(),
            mode: self.mode,
            tally: LocalUsage::new(control.budget.clone()),
            place: ConnId::default(),
            dirty: Vec::new(),
            #[cfg(feature = "http2")]
            http2: Http2State::new(self.config.http2_limits),
        };
        let mut listeners = Listeners::new(self.listeners);
        listeners.watch(true, &self.poll)?;
        let driver = HttpDriver {
            worker,
            handle: &self.handle,
            shared,
            keep_alive: self.config.keep_alive,
            forwarding: Forwarding::of(&self.config),
            listeners,
            timers: TimerHeap::default(),
            rested_at: Duration::ZERO,
            cut: 0,
            transport: self.transport,
        };
        let ended = EventLoop::new(self.index, (&self.config, control), self.poll, driver).run();
        // Includes the connections that were closed at the end.
        worker.counters.count_panics();
        ended
    }
}

/// Closes the inbox when the worker ends, also if it ends by a panic.
struct InboxGuard<'a>(&'a WorkerHandle);

impl Drop for InboxGuard<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct HttpDriver<'a, P, M, T> {
    worker: &'a WorkerShared,
    handle: &'a WorkerHandle,
    shared: WorkerState<P, M>,
    keep_alive: bool,
    forwarding: Option<Arc<Forwarding>>,
    listeners: Listeners,
    timers: TimerHeap,
    /// When the next search for idle connections may begin, after one found too few.
    rested_at: Duration,
    /// The number of connections whose thread had ended when they were handed over.
    cut: u64,
    transport: PhantomData<fn() -> T>,
}

impl<P, M, T> Driver for HttpDriver<'_, P, M, T>
where
    P: HandlerRef,
    M: UpgradeMode<P::Target, T>,
    T: OverSocket,
{
    type Connection = Connection<P, M, T>;
    type State = WorkerState<P, M>;
    type Arrival = Accepted;
    type Command = WorkerCommand;

    const THREAD: &'static str = "worker";
    const CONNECTION: &'static str = "a connection";

    #[inline(always)]
    fn shared(&mut self) -> &mut WorkerState<P, M> {
        &mut self.shared
    }

    #[inline(always)]
    fn arrivals(&self) -> &Mailbox<Accepted> {
        &self.worker.mailbox
    }

    #[inline(always)]
    fn inbox(&self) -> &Inbox<WorkerCommand> {
        &self.handle.inbox
    }

    fn has_all(control: &ServerState) -> bool {
        control.acceptors_are_done()
    }

    fn counted_addr(arrival: &Accepted) -> Option<SocketAddr> {
        arrival.counted_addr()
    }

    fn connect(&mut self, arrival: Accepted, control: &ServerState) -> Connection<P, M, T> {
        self.shared.counters.accepted.add(1);
        let listener = control.listener_config(arrival.listener);
        let now = self.shared.service.now;
        let transport = T::accepted(arrival.socket, listener, now);
        let proxied = arrival.proxied.map(|header| *header);
        let socket = Socket::accepted(transport, arrival.peer, proxied, self.forwarding.as_ref());
        #[cfg(feature = "http2")]
        return Connection::new(socket, self.keep_alive, listener.http2, &self.shared);
        #[cfg(not(feature = "http2"))]
        Connection::new(socket, self.keep_alive, &self.shared)
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

    fn command(events: &mut EventLoop<'_, Self>, command: WorkerCommand) {
        let Some(id) = command.request() else {
            match command {
                WorkerCommand::Timer(timer) => {
                    events.driver.timers.add(timer, events.clock.elapsed());
                }
                WorkerCommand::Failed(text, peer) => {
                    let handler = &*events.driver.shared.service.handler;
                    report_to(handler, &ConnectionError::Failed(&text), peer);
                }
                _ => {}
            }
            return;
        };
        events.act(id.conn, |connection, shared| {
            connection.command(command, shared)
        });
    }

    /// Accepts connections from a listener of this worker.
    #[inline]
    fn accept(events: &mut EventLoop<'_, Self>, token: Token) -> io::Result<bool> {
        match token.is_conn() {
            false => events.accept_from(token).map(|()| true),
            true => Ok(false),
        }
    }

    #[inline]
    fn turn(events: &mut EventLoop<'_, Self>) -> io::Result<()> {
        if !events.driver.timers.is_empty() {
            events.call_timers();
        }
        let asked = events.driver.worker.asked.load(Ordering::Acquire);
        if asked > 0 {
            events.make_room(asked);
        }
        let listeners = &mut events.driver.listeners;
        listeners.resume(events.control, &events.poll)
    }

    #[inline]
    fn timeout(&self, now: Duration, control: &ServerState) -> Option<Duration> {
        let accept = self.listeners.timeout(control);
        let Some(timer) = self.timers.next() else {
            return accept;
        };
        let timer = timer.saturating_sub(now);
        Some(accept.map_or(timer, |accept| accept.min(timer)))
    }

    fn upgrade(events: &mut EventLoop<'_, Self>, id: ConnId) {
        let Some(mut connection) = events.slab.remove(id) else {
            return;
        };
        let driver = &mut events.driver;
        let shared = &mut driver.shared;
        let link = connection.link();
        link.unwatch(&events.poll);
        link.charge(0, &mut shared.tally);
        let counted = link.socket.counted_addr();
        #[cfg(feature = "http2")]
        let connection = match connection.into_http2(shared) {
            Ok(connection) => return events.adopt(connection),
            Err(connection) => connection,
        };
        match catch(|| connection.into_moved(shared)) {
            Ok(None) => events.ended(counted),
            Ok(Some(moved)) => {
                driver.shared.counters.upgraded.add(1);
                driver.cut += driver.shared.mode.hand_over(moved);
            }
            Err(panic) => {
                events.recover(&panic);
                events.ended(counted);
            }
        }
    }

    fn recover(&mut self) {
        self.shared.service.recorder.recover();
        self.shared.mode.recover();
        #[cfg(feature = "http2")]
        self.shared.http2.recover();
    }

    #[cfg(test)]
    fn lost(&mut self, left: &mut Slab<Connection<P, M, T>>) {
        let ids = left.tokens().into_iter();
        let leased = ids.map(|id| left.get_mut(id).map_or(0, |left| left.leased()));
        self.shared.pool.away = leased.sum();
    }

    fn spread(config: &Config) -> Duration {
        config.events_close_spread
    }

    fn stop(events: &mut EventLoop<'_, Self>) -> io::Result<()> {
        let arrivals = &mut events.arrivals;
        let take = |accepted| arrivals.push(accepted);
        let shop = (events.control, &events.poll);
        events.driver.listeners.close(shop, take)
    }

    fn finish(&mut self) -> u64 {
        #[cfg(test)]
        assert_eq!(self.shared.pool.away, 0, "buffers that were not given back");
        self.cut
    }
}

impl<P, M, T> EventLoop<'_, HttpDriver<'_, P, M, T>>
where
    P: HandlerRef,
    M: UpgradeMode<P::Target, T>,
    T: OverSocket,
{
    fn accept_from(&mut self, token: Token) -> io::Result<()> {
        let shop = (self.control, self.config, &self.poll);
        let arrivals = &mut self.arrivals;
        let take = |accepted| arrivals.push(accepted);
        self.driver.listeners.ready(token, BATCH, shop, take)?;
        let taken = self.arrivals.len() as u64;
        self.driver.worker.given.fetch_add(taken, Ordering::Relaxed);
        self.open_arrivals();
        Ok(())
    }

    /// Calls the timers that are due, a few at a time.
    fn call_timers(&mut self) {
        let now = self.clock.now();
        let HttpDriver { shared, timers, .. } = &mut self.driver;
        for _ in 0..TIMERS {
            if !shared.service.call_timer(timers, now, &shared.counters) {
                break;
            }
        }
    }

    /// Closes this number of connections, those that have been idle longest.
    fn make_room(&mut self, asked: usize) {
        let now = self.clock.now();
        // Connections may have closed in the meantime.
        if self.control.capacity.is_awaited() && now >= self.driver.rested_at {
            let mut first = Vec::new();
            let second = self.clock.seconds();
            let is_spare = |connection: &Connection<P, M, T>| connection.is_spare(second);
            self.slab.first_due(asked, is_spare, &mut first);
            if first.len() < asked {
                self.driver.rested_at = now + BACK_OFF.max(REST * self.slab.len() as u32);
            }
            for id in first {
                self.act(id, Connection::give_way);
            }
        }
        // Only after the connections are closed.
        self.driver.worker.asked.store(0, Ordering::Release);
    }
}

impl<P, M> ThreadState for WorkerState<P, M> {
    #[inline(always)]
    fn now(&self) -> Seconds {
        self.service.now
    }

    #[inline(always)]
    fn tally(&mut self) -> &mut LocalUsage {
        &mut self.tally
    }

    #[inline(always)]
    fn dirty(&mut self) -> &mut Vec<ConnId> {
        &mut self.dirty
    }

    #[inline(always)]
    fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    #[inline]
    fn wake_up(&mut self, time: Time) {
        self.service.timing = time.timing;
        self.service.now = time.now;
        if let Some(unix) = time.unix {
            self.service.recorder.encoder.set_time(unix);
        }
    }

    #[inline(always)]
    fn begin(&mut self, id: ConnId) {
        self.place = id;
    }

    #[inline]
    fn set_hsts(&mut self, max_age: Option<u32>) {
        self.service.recorder.encoder.set_hsts(max_age);
    }
}
