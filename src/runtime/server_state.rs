//! What the threads of one server share: stop, workers, listeners.

use super::clock;
use super::connection_limit::ConnectionLimit;
use super::listener::{Listener, ListenerId};
use super::phase::Phase;
use super::poll::Waker;
#[cfg(target_os = "linux")]
use super::systemd::Systemd;
use super::thread_pool::ThreadPool;
use super::transport::Plain;
use crate::log::event;
use crate::metrics::{Queues, QueuesOf, WorkerCounters};
use crate::relay::RelayHandle;
use crate::runtime::transport::ListenerConfig;
use crate::shared::mailbox::Mailbox;
use crate::shared::memory_budget::MemoryBudget;
use peregrine_protocol::proxy_header::ProxyHeader;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: Plain,
    pub(crate) peer: Option<SocketAddr>,
    /// What its proxy has said of its client.
    pub(crate) proxied: Option<Box<ProxyHeader>>,
    pub(crate) listener: ListenerId,
}

impl Accepted {
    /// The address that the limits per address count.
    pub(crate) fn counted_addr(&self) -> Option<SocketAddr> {
        let proxied = self.proxied.as_ref().and_then(|header| header.addrs);
        proxied.map(|(client, _)| client).or(self.peer)
    }
}

/// A number that is asked for and the number of the question, so that none is lost that comes while the worker responds to
/// the one before.
#[derive(Debug, Default)]
pub(crate) struct Asked(AtomicU64);

impl Asked {
    const NUMBER: u64 = u32::MAX as u64;

    fn ask(&self, number: u32) {
        let next = |before: u64| Some(((before >> 32) + 1) << 32 | u64::from(number));
        // It always has a next one.
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & Asked::NUMBER == 0
    }

    /// What is asked for, if something is. It goes to [`Asked::respond`] when it is done.
    #[inline]
    pub(crate) fn question(&self) -> Option<u64> {
        let question = self.0.load(Ordering::Acquire);
        (question & Asked::NUMBER != 0).then_some(question)
    }

    pub(crate) fn number(question: u64) -> usize {
        (question & Asked::NUMBER) as usize
    }

    pub(crate) fn respond(&self, question: u64) {
        let done = question & !Asked::NUMBER;
        // If it fails, there is another question, and the worker was woken for it.
        let _ = self
            .0
            .compare_exchange(question, done, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// A worker as the other threads see it.
pub(crate) struct WorkerShared {
    pub(crate) mailbox: Mailbox<Accepted>,
    pub(crate) waker: Waker,
    pub(crate) counters: Arc<WorkerCounters>,
    /// Connections given to it, those in the mailbox included.
    pub(crate) given: AtomicU64,
    /// How many idle connections it has to close to make room for others.
    pub(crate) asked: Asked,
}

impl WorkerShared {
    pub(crate) fn new(waker: Waker) -> WorkerShared {
        WorkerShared {
            mailbox: Mailbox::new(),
            waker,
            counters: Arc::default(),
            given: AtomicU64::new(0),
            asked: Asked::default(),
        }
    }

    /// Connections of the worker.
    pub(crate) fn load(&self) -> u64 {
        self.given
            .load(Ordering::Relaxed)
            .saturating_sub(self.counters.closed.get() + self.counters.upgraded.get())
    }

    /// Closes the connections that were given to the worker and not taken, after the worker has ended.
    /// Returns their number.
    pub(crate) fn close_untaken(&self) -> u64 {
        let mut untaken = Vec::new();
        self.mailbox.take(&mut untaken);
        let count = untaken.len() as u64;
        self.counters.accepted.add(count);
        self.counters.closed.add(count);
        count
    }
}

pub(crate) struct ServerState {
    pub(crate) workers: Vec<WorkerShared>,
    pub(crate) capacity: ConnectionLimit,
    pub(crate) budget: Arc<MemoryBudget>,
    /// Wakes the accept threads.
    acceptors: Vec<Waker>,
    /// Wakes the threads of other protocols.
    others: Vec<Waker>,
    /// Workers that may still hand connections over to threads of other protocols.
    working: AtomicUsize,
    /// Accept threads that may still hand connections over to workers.
    accepting: AtomicUsize,
    /// The listeners, by [`ListenerId`].
    listener_configs: Vec<ListenerConfig>,
    /// A listener for each queue of connections, kept for a hand-over. Empty after the stop begins.
    listeners: Mutex<Vec<Listener>>,
    /// Another process is about to take over.
    #[cfg(unix)]
    is_handing_over: AtomicBool,
    /// Another process accepts the connections in the backlog when the stop begins.
    leaves_backlog: AtomicBool,
    /// Whether it serves, drains or stops.
    pub(crate) phase: Arc<Phase>,
    cutting: AtomicBool,
    /// Are told of the stop.
    pub(crate) relays: OnceLock<Vec<RelayHandle>>,
    /// Threads for handlers that block.
    pub(crate) pool: Arc<ThreadPool>,
    stop_timeout: Duration,
    /// When the drain time of a stop ends, whatever is left.
    stop_at: OnceLock<Instant>,
    /// How a test wants events to be delivered.
    #[cfg(all(test, unix))]
    pub(crate) delivery: super::tests::delivery::Delivery,
    /// Is told what the server does.
    #[cfg(target_os = "linux")]
    pub(crate) systemd: OnceLock<Systemd>,
}

impl ServerState {
    pub(crate) fn new(
        workers: Vec<WorkerShared>,
        capacity: ConnectionLimit,
        budget: Arc<MemoryBudget>,
        listener_configs: Vec<ListenerConfig>,
        (acceptors, others): (Vec<Waker>, Vec<Waker>),
        pool: Arc<ThreadPool>,
        (phase, stop_timeout): (Phase, Duration),
    ) -> ServerState {
        ServerState {
            working: AtomicUsize::new(workers.len()),
            others,
            workers,
            capacity,
            budget,
            accepting: AtomicUsize::new(acceptors.len()),
            acceptors,
            listener_configs,
            listeners: Mutex::default(),
            #[cfg(unix)]
            is_handing_over: AtomicBool::new(false),
            leaves_backlog: AtomicBool::new(false),
            phase: Arc::new(phase),
            cutting: AtomicBool::new(false),
            relays: OnceLock::new(),
            pool,
            stop_timeout,
            stop_at: OnceLock::new(),
            #[cfg(all(test, unix))]
            delivery: super::tests::delivery::Delivery::default(),
            #[cfg(target_os = "linux")]
            systemd: OnceLock::new(),
        }
    }

    /// Adds the queue lengths of a worker to the metrics while the worker exists. `messages`: the length of
    /// its inbox.
    pub(crate) fn queues(
        control: &Arc<ServerState>,
        worker: usize,
        messages: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) -> QueuesOf {
        let control = Arc::downgrade(control);
        QueuesOf::new(move || {
            let control = control.upgrade()?;
            let worker = control.workers.get(worker)?;
            Some(Queues {
                connections: worker.mailbox.len() as u64,
                messages: messages()?,
                ..Queues::default()
            })
        })
    }

    /// Says that the server is not ready, serves on for [`Config::drain_delay`](crate::Config::drain_delay), and begins
    /// the stop then.
    pub(crate) fn drain(self: &Arc<Self>) {
        if !self.phase.drain() {
            if self.phase.is_serving() {
                self.stop();
            }
            return;
        }
        event!(Info, "the server drains");
        self.tell_systemd("draining");
        let control = self.clone();
        let wait = move || {
            control.phase.wait_until_stop();
            control.stop();
        };
        let thread = std::thread::Builder::new().name("pg-drain".to_owned());
        match thread.spawn(wait) {
            Ok(_) => self.wake_all(),
            // Nothing would end the delay.
            Err(_) => self.stop(),
        }
    }

    /// Begins the stop: the listeners close, and requests that have arrived get their responses.
    pub(crate) fn stop(&self) {
        self.stop_at();
        if self.phase.stop() {
            self.tell_systemd("stopping");
            let relays = self.relays.get().into_iter().flatten();
            relays.for_each(RelayHandle::server_stops);
        }
        self.lock_listeners().clear();
        self.wake_all();
    }

    /// Not if another process serves: the service does not stop.
    fn tell_systemd(&self, _status: &str) {
        #[cfg(target_os = "linux")]
        if let Some(systemd) = self.systemd.get().filter(|_| !self.phase.is_ready()) {
            systemd.stopping(_status);
        }
    }

    pub(crate) fn listener_config(&self, id: ListenerId) -> &ListenerConfig {
        &self.listener_configs[usize::from(id.0)]
    }

    /// Sets the listeners that [`ServerState::listeners`] returns from now on.
    pub(crate) fn keep_listeners(&self, listeners: Vec<Listener>) {
        *self.lock_listeners() = listeners;
    }

    /// The listeners that a successor needs.
    #[cfg(unix)]
    pub(crate) fn listeners(&self) -> std::io::Result<Vec<Listener>> {
        let listeners = self.lock_listeners();
        if !self.phase.is_serving() {
            return Err(std::io::Error::other("this server drains or stops"));
        }
        listeners.iter().map(Listener::same).collect()
    }

    /// Notes that another process is about to take over, until the returned value is dropped. `None` if one
    /// is already.
    #[cfg(unix)]
    pub(crate) fn hands_over(&self) -> Option<HandingOver<'_>> {
        let is_first = !self.is_handing_over.swap(true, Ordering::AcqRel);
        is_first.then(|| {
            self.tell_serving(true);
            HandingOver(self)
        })
    }

    /// The process with this id serves on the listeners of this one, which stops.
    #[cfg(unix)]
    pub(crate) fn give_way_to(&self, _pid: u32) {
        self.phase.hand_over();
        #[cfg(target_os = "linux")]
        if let Some(systemd) = self.systemd.get() {
            systemd.handed_over(_pid);
        }
        self.stop();
    }

    /// Tells the service manager that a hand-over begins, or that it has failed.
    #[cfg(unix)]
    fn tell_serving(&self, _begins: bool) {
        #[cfg(target_os = "linux")]
        if let Some(systemd) = self.systemd.get().filter(|_| self.phase.is_serving()) {
            match _begins {
                true => systemd.reloading(),
                false => systemd.ready(),
            }
        }
    }

    fn lock_listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another process accepts the connections in the backlog when the stop begins.
    pub(crate) fn leave_backlog(&self, on: bool) {
        self.leaves_backlog.store(on, Ordering::Release);
    }

    pub(crate) fn leaves_backlog(&self) -> bool {
        self.leaves_backlog.load(Ordering::Acquire)
    }

    /// Ends the server now: connections that are still open are closed.
    pub(crate) fn cut(&self) {
        self.cutting.store(true, Ordering::Release);
        self.stop();
        self.pool.hurry();
    }

    /// When the drain time ends. The first call starts it.
    pub(crate) fn stop_at(&self) -> Instant {
        *self.stop_at.get_or_init(|| clock::after(self.stop_timeout))
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.phase.is_stopping()
    }

    pub(crate) fn is_cutting(&self) -> bool {
        self.cutting.load(Ordering::Acquire)
    }

    /// When it is dropped, reports that an accept thread has handed over its last connection. A panic of the
    /// thread drops it too, so that the workers do not wait for ever.
    pub(crate) fn acceptor_starts(&self) -> Accepting<'_> {
        Accepting(self)
    }

    /// No accept thread will put a connection into a mailbox any more.
    pub(crate) fn acceptors_are_done(&self) -> bool {
        self.accepting.load(Ordering::Acquire) == 0
    }

    /// When it is dropped, reports that a worker has ended.
    pub(crate) fn worker_starts(&self) -> Working<'_> {
        Working(self)
    }

    /// No worker will hand over a connection any more.
    #[cfg(feature = "websocket")]
    pub(crate) fn workers_are_done(&self) -> bool {
        self.working.load(Ordering::Acquire) == 0
    }

    /// A connection from this peer was closed.
    pub(crate) fn give_back(&self, peer: Option<SocketAddr>) {
        self.capacity.addresses.leave(peer);
        if self.capacity.give() {
            // Whether the workers accept connections, because there are no accept threads.
            match self.acceptors.is_empty() {
                true => self.workers.iter().for_each(|worker| worker.waker.wake()),
                false => self.acceptors.iter().for_each(Waker::wake),
            }
        }
    }

    /// Asks each worker to close its share of the idle connections, those that have been idle longest.
    pub(crate) fn ask_for_room(&self) {
        let all: u64 = self.workers.iter().map(WorkerShared::load).sum();
        let surplus = self.capacity.surplus() as u64;
        for worker in &self.workers {
            let share = (surplus * worker.load()).div_ceil(all.max(1));
            if share > 0 {
                worker.asked.ask(share as u32);
                worker.waker.wake();
            }
        }
    }

    /// Whether all workers have done what [`ServerState::ask_for_room`] asked for, as far as they could.
    pub(crate) fn has_responded(&self) -> bool {
        self.workers.iter().all(|worker| worker.asked.is_done())
    }

    pub(crate) fn wake_all(&self) {
        self.others.iter().for_each(Waker::wake);
        self.acceptors.iter().for_each(Waker::wake);
        self.workers.iter().for_each(|worker| worker.waker.wake());
    }
}

/// An accept thread that runs; see [`ServerState::accepting`].
pub(crate) struct Accepting<'a>(&'a ServerState);

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.0.accepting.fetch_sub(1, Ordering::AcqRel);
        self.0.workers.iter().for_each(|worker| worker.waker.wake());
    }
}

/// A hand-over in progress.
#[cfg(unix)]
pub(crate) struct HandingOver<'a>(&'a ServerState);

#[cfg(unix)]
impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        self.0.is_handing_over.store(false, Ordering::Release);
        self.0.tell_serving(false);
    }
}

/// A worker that runs.
pub(crate) struct Working<'a>(&'a ServerState);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::AcqRel);
        self.0.others.iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::Asked;

    /// A worker that responds to a question says nothing about the one that came meanwhile.
    #[test]
    fn no_question_is_lost() {
        let asked = Asked::default();
        assert!(asked.is_done());
        asked.ask(3);
        let first = asked.question().expect("asked");
        assert_eq!(Asked::number(first), 3);
        asked.ask(3);
        asked.respond(first);
        assert!(!asked.is_done());
        let second = asked.question().expect("asked again");
        assert_eq!(Asked::number(second), 3);
        asked.respond(second);
        assert!(asked.is_done() && asked.question().is_none());
    }
}
