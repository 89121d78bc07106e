//! `RelayHandle`: connects a relay to hubs and servers.

use super::interest::{Interest, Told};
use super::{Relay, RelayMessage, RelayOrder, Relayed};
use crate::metrics::WorkerCounters;
use crate::shared::panic_guard::catch;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// A hub that gets the messages of other processes.
pub(crate) trait LocalHub: Send + Sync {
    /// Delivers a message to the subscribers of this process.
    fn deliver(&self, topic: Option<&str>, message: &RelayMessage<'_>);

    /// False if the hub has been dropped.
    fn is_there(&self) -> bool;
}

/// Connects a [`Relay`] to hubs and servers. Clones are the same relay.
///
/// `Hub::set_relay` and [`EventHub::set_relay`](crate::sse::EventHub::set_relay) connect hubs.
/// One relay may serve several hubs: a topic that one of them has is subscribed once. The relay of the hub of a server stops
/// with this server, is part of its [`Health`](crate::server::Health) and of its [`Stats`](crate::metrics::Stats). For a
/// server with an [`EventHub`](crate::sse::EventHub) only, [`Server::relay`](crate::Server::relay) does that.
///
/// With several servers it stops when none of them runs. **It does not start again**: it drops and counts what is published
/// then, and a further server with it does not start. A later server needs a new relay and new hubs.
///
/// ```
/// use peregrine::relay::{Relay, RelayHandle, RelayMessage, Relayed};
///
/// struct Nowhere;
/// impl Relay for Nowhere {
///     fn publish(&self, _: Option<&str>, _: RelayMessage<'_>) -> Relayed {
///         Relayed::Full
///     }
/// }
/// let relay = RelayHandle::new(Nowhere);
/// let hub = peregrine::sse::EventHub::new();
/// hub.set_relay(&relay).expect("the first one");
/// assert!(hub.publish("news", "hello").is_err()); // other processes do not get it
/// assert_eq!(relay.counters().relay_dropped, 1);
/// ```
#[derive(Clone)]
pub struct RelayHandle(Arc<Shared>);

/// A delivery copies the outer `Arc`: it holds no lock while code of the program runs.
type Hubs = Arc<Vec<Arc<dyn LocalHub>>>;

struct Shared {
    relay: Box<dyn Relay>,
    interest: Arc<Interest>,
    hubs: RwLock<Hubs>,
    counters: Arc<WorkerCounters>,
    started: OnceLock<()>,
    /// The servers that have not ended.
    servers: Mutex<usize>,
    /// The last server has ended. It is set with the lock of `servers` held.
    has_stopped: AtomicBool,
    /// Only one hub is connected at a time.
    connecting: Mutex<()>,
}

impl RelayHandle {
    /// How long a topic is kept without a subscriber, by default.
    const LINGER: Duration = Duration::from_secs(5);

    /// A relay that keeps a topic for 5 seconds after its last subscriber has gone.
    pub fn new(relay: impl Relay) -> RelayHandle {
        RelayHandle::with_linger(relay, RelayHandle::LINGER)
    }

    /// A relay that keeps a topic for a time after its last subscriber has gone, so that a page that loads again does not
    /// cost an unsubscription and a subscription. A topic may be kept for twice this time. At most 65,536 topics without
    /// subscribers are kept.
    pub fn with_linger(relay: impl Relay, linger: Duration) -> RelayHandle {
        RelayHandle(Arc::new(Shared {
            relay: Box::new(relay),
            interest: Arc::new(Interest::new(linger)),
            hubs: RwLock::default(),
            counters: Arc::default(),
            started: OnceLock::new(),
            servers: Mutex::default(),
            has_stopped: AtomicBool::new(false),
            connecting: Mutex::default(),
        }))
    }

    /// Whether messages reach other processes now: [`Relay::is_ready`].
    pub fn is_ready(&self) -> bool {
        self.0.relay.is_ready()
    }

    /// The counters of this relay. Those that do not begin with `relay_` are zero.
    pub fn counters(&self) -> crate::metrics::Counters {
        self.0.counters.snapshot()
    }

    /// Whether the hubs deliver their own messages at once.
    pub(crate) fn order(&self) -> RelayOrder {
        self.0.relay.order()
    }

    /// Passes a message of a hub to the relay.
    pub(crate) fn publish(&self, topic: Option<&str>, message: RelayMessage<'_>) -> Relayed {
        let shared = &*self.0;
        let most = shared.relay.max_message();
        let is_large = most.is_some_and(|most| message.bytes().len() > most);
        let relayed = match is_large {
            _ if self.has_stopped() => Relayed::Down,
            true => Relayed::TooLarge,
            false => shared.relay.publish(topic, message),
        };
        match relayed {
            Relayed::Queued => shared.counters.relay_published.add_shared(1),
            _ => shared.counters.relay_dropped.add_shared(1),
        }
        relayed
    }

    /// A thread or table of a hub has its first subscriber of a topic.
    pub(crate) fn add(&self, topic: &Arc<str>) {
        self.0.interest.add(topic, &*self.0);
    }

    /// A thread or table of a hub has lost its last subscriber of a topic.
    pub(crate) fn remove(&self, topic: &Arc<str>) {
        self.0.interest.remove(topic, Instant::now());
    }

    /// Messages of other processes go to this hub, too.
    pub(crate) fn connect(&self, hub: impl LocalHub + 'static) {
        let _one = self.0.connecting.lock();
        let hubs = self.0.hubs.write();
        let mut hubs = hubs.unwrap_or_else(PoisonError::into_inner);
        // As many as are used at the same time, however many a program makes.
        let list = Arc::make_mut(&mut *hubs);
        list.retain(|hub| hub.is_there());
        list.push(Arc::new(hub));
        drop(hubs);
        if self.0.started.set(()).is_ok() {
            self.begin();
        }
    }

    fn begin(&self) {
        let (interest, shared) = (self.0.interest.clone(), Arc::downgrade(&self.0));
        let run = move || {
            let mut next = None;
            while interest.wait(next) {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                next = interest.leave(Instant::now(), &*shared);
            }
        };
        let thread = thread::Builder::new().name("pg-relay".to_owned());
        // Without the thread no topic is left: that costs messages that are not needed, and nothing else.
        drop(thread.spawn(run));
        self.0.relay.started(Local(Arc::downgrade(&self.0)));
    }

    /// A server with this relay has started. False if the relay has stopped.
    #[must_use]
    pub(crate) fn server_starts(&self) -> bool {
        let mut servers = self.servers();
        let has_stopped = self.has_stopped();
        *servers += usize::from(!has_stopped);
        !has_stopped
    }

    pub(crate) fn server_stops(&self) {
        drop(catch(|| self.0.relay.stopping()));
    }

    /// A server with this relay has ended.
    pub(crate) fn server_ends(&self) {
        let mut servers = self.servers();
        *servers -= 1;
        let is_last = *servers == 0;
        if is_last {
            self.0.has_stopped.store(true, Ordering::Release);
        }
        drop(servers);
        if is_last {
            drop(catch(|| self.0.relay.stopped()));
        }
    }

    /// Whether the last server with this relay has ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.0.has_stopped.load(Ordering::Acquire)
    }

    fn servers(&self) -> MutexGuard<'_, usize> {
        let servers = self.0.servers.lock();
        servers.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_same(&self, other: &RelayHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// For the metrics of a server.
    pub(crate) fn live_counters(&self) -> Arc<WorkerCounters> {
        self.0.counters.clone()
    }
}

impl Told for Shared {
    fn subscribed(&self, topic: &str) {
        self.relay.subscribed(topic);
    }

    fn unsubscribed(&self, topic: &str) {
        self.relay.unsubscribed(topic);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.interest.end();
    }
}

impl std::fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayHandle").finish_non_exhaustive()
    }
}

/// The hubs of this process, as a [`Relay`] gets them by [`Relay::started`]. It does not keep them alive.
#[derive(Clone)]
pub struct Local(Weak<Shared>);

impl Local {
    /// Delivers a message of another process to the subscribers of this one. `topic` is `None` for a broadcast.
    ///
    /// It does not block. Texts and binaries go to WebSockets, events to the pages of event hubs. A subscriber that is too
    /// slow is treated as for `Hub::publish`. A text or event that is not UTF-8, and an event
    /// without an empty line at its end, are dropped and count as
    /// [`relay_lost`](crate::metrics::Counters::relay_lost).
    pub fn deliver(&self, topic: Option<&str>, message: RelayMessage<'_>) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        if !message.is_sound() {
            shared.counters.relay_lost.add_shared(1);
            return;
        }
        shared.counters.relay_received.add_shared(1);
        let hubs = shared.hubs.read();
        let hubs = Hubs::clone(&hubs.unwrap_or_else(PoisonError::into_inner));
        for hub in hubs.iter() {
            // Senders of pages are dropped there, which may call code of the program. The relay goes on.
            drop(catch(|| hub.deliver(topic, &message)));
        }
    }

    /// Messages of other processes have not arrived: [`relay_lost`](crate::metrics::Counters::relay_lost).
    pub fn count_lost(&self, messages: u64) {
        self.count(|counters| counters.relay_lost.add_shared(messages));
    }

    /// Messages that were queued are dropped: [`relay_dropped`](crate::metrics::Counters::relay_dropped).
    pub fn count_dropped(&self, messages: u64) {
        self.count(|counters| counters.relay_dropped.add_shared(messages));
    }

    /// Messages were sent on a connection that broke before the broker confirmed them:
    /// [`relay_unconfirmed`](crate::metrics::Counters::relay_unconfirmed).
    pub fn count_unconfirmed(&self, messages: u64) {
        self.count(|counters| counters.relay_unconfirmed.add_shared(messages));
    }

    fn count(&self, add: impl FnOnce(&WorkerCounters)) {
        if let Some(shared) = self.0.upgrade() {
            add(&shared.counters);
        }
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Only a failure takes so long.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Starts(Mutex<Sender<Local>>);

    impl Relay for Starts {
        fn publish(&self, _: Option<&str>, _: RelayMessage<'_>) -> Relayed {
            Relayed::Queued
        }

        fn started(&self, local: Local) {
            let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sender.send(local).expect("the test waits");
        }
    }

    /// Its pages call a function of the program, which connects another hub.
    struct Connects(RelayHandle);

    impl LocalHub for Connects {
        fn deliver(&self, _: Option<&str>, _: &RelayMessage<'_>) {
            let hub = crate::sse::EventHub::new();
            assert_eq!(hub.set_relay(&self.0), Ok(()));
        }

        fn is_there(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_delivery_may_connect_a_hub() {
        let (sender, locals) = channel();
        let handle = RelayHandle::new(Starts(Mutex::new(sender)));
        handle.connect(Connects(handle.clone()));
        let local = locals.recv_timeout(PATIENCE).expect("it has started");
        let (sender, delivered) = channel();
        thread::spawn(move || {
            local.deliver(None, RelayMessage::text("hi"));
            sender.send(())
        });
        assert_eq!(delivered.recv_timeout(PATIENCE), Ok(()));
        assert_eq!(handle.counters().relay_received, 1);
    }
}
