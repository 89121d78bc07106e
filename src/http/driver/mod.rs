//! HTTP in the event loop: listeners, deferred responses, timers.

#[cfg(feature = "http3")]
mod datagrams;
mod more;

use super::connection::Connection;
use super::handler::Handler;
use super::response::ResponseRecorder;
use super::service::{Gate, HandlerRef, Service};
use super::upgrade::UpgradeMode;
#[cfg(feature = "http2")]
use super::worker_state::Http2State;
#[cfg(feature = "http3")]
use super::worker_state::Http3State;
use super::worker_state::WorkerState;
use crate::config::Config;
use crate::config::forwarded::Forwarding;
use crate::http::connection_error::ConnectionError;
use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::http::service::{call_hook, report_to};
use crate::metrics::WorkerCounters;
use crate::runtime::accept::Listeners;
use crate::runtime::event_loop::{Driven, Driver, Ended, EventLoop, ThreadState, Time, Timing};
use crate::runtime::listener::{Listener, ListenerId};
use crate::runtime::poll::{Poll, Token};
#[cfg(feature = "http3")]
use crate::runtime::quic::{Port, Quic};
use crate::runtime::server_state::{Accepted, Asked, ServerState, WorkerShared};
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
#[cfg(feature = "http3")]
use datagrams::OverDatagrams;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
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
    /// The listeners for HTTP/3, and the handles of all workers.
    #[cfg(feature = "http3")]
    pub(crate) datagrams: (Vec<Port>, Vec<Arc<WorkerHandle>>),
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
            #[cfg(feature = "http3")]
            http3: Http3State::new(self.config.http3_limits, self.config.keep_alive),
        };
        let mut listeners = Listeners::new(self.listeners);
        listeners.watch(true, &self.poll)?;
        let forwarding = Forwarding::of(&self.config);
        #[cfg(feature = "http3")]
        let datagrams = match self.datagrams {
            (ports, _) if ports.is_empty() => None,
            (ports, handles) => {
                let quic = Quic::new(self.index, ports, forwarding.clone());
                Some(Box::new(OverDatagrams::new(quic, handles, &self.poll)?))
            }
        };
        let driver = HttpDriver {
            worker,
            handle: &self.handle,
            shared,
            keep_alive: self.config.keep_alive,
            forwarding,
            listeners,
            timers: TimerHeap::default(),
            has_more: false,
            #[cfg(feature = "http3")]
            datagrams,
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
    /// There are timers, or connections over QUIC. One flag, because most workers have neither.
    has_more: bool,
    #[cfg(feature = "http3")]
    datagrams: Option<Box<OverDatagrams<P, M>>>,
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
                    events.driver.has_more = true;
                }
                #[cfg(feature = "http3")]
                WorkerCommand::Datagrams(datagrams) => {
                    events.driver.handle.has_taken(&datagrams);
                    events.over_datagrams(|over, lent, shared| {
                        over.take_forwarded(datagrams, lent, shared);
                    });
                }
                WorkerCommand::Failed(text, peer) => {
                    let handler = &*events.driver.shared.service.handler;
                    report_to(handler, &ConnectionError::Failed(&text), peer);
                }
                _ => {}
            }
            return;
        };
        #[cfg(feature = "http3")]
        if let Some(quic) = id.conn.quic() {
            events.over_datagrams(|over, lent, shared| over.command(quic, command, lent, shared));
            return;
        }
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
        if events.driver.has_more {
            events.do_more()?;
        }
        if let Some(question) = events.driver.worker.asked.question() {
            events.make_room(Asked::number(question))?;
            // Only after the connections are closed.
            events.driver.worker.asked.respond(question);
        }
        let listeners = &mut events.driver.listeners;
        listeners.resume(events.control, &events.poll)
    }

    #[inline]
    fn timeout(&self, now: Duration, control: &ServerState) -> Option<Duration> {
        let accept = self.listeners.timeout(control);
        match self.has_more {
            false => accept,
            true => self.first_timeout(accept, now),
        }
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
        #[cfg(feature = "http3")]
        self.shared.http3.recover();
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
        events.driver.listeners.close(shop, take)?;
        #[cfg(feature = "http3")]
        events.over_datagrams(OverDatagrams::stop).transpose()?;
        Ok(())
    }

    #[cfg(feature = "http3")]
    fn retire(events: &mut EventLoop<'_, Self>, is_due: &dyn Fn(ConnId) -> bool) -> io::Result<()> {
        let retired = events.over_datagrams(|over, lent, shared| over.retire(is_due, lent, shared));
        retired.transpose().map(|_| ())
    }

    #[cfg(feature = "http3")]
    fn has_ended(&self) -> bool {
        let over = self.datagrams.as_ref();
        over.is_none_or(|over| over.has_ended())
    }

    fn finish(events: &mut EventLoop<'_, Self>) -> Ended {
        #[cfg(feature = "http3")]
        let others = events.over_datagrams(OverDatagrams::finish);
        #[cfg(feature = "http3")]
        let mut ended = others.unwrap_or_default();
        #[cfg(not(feature = "http3"))]
        let mut ended = Ended::default();
        let driver = &events.driver;
        #[cfg(test)]
        assert_eq!(
            driver.shared.pool.away, 0,
            "buffers that were not given back"
        );
        ended.cut += driver.cut;
        ended
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
    fn set_listener_fields(&mut self, fields: ListenerFields) {
        self.service.recorder.encoder.set_listener_fields(fields);
    }
}
