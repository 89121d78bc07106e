//! `BrokerRelay`: the relay that the threads of handlers call.

use crate::driver::Driver;
use crate::envelope::Envelope;
use crate::events::{Event, Listener};
use crate::outbox::Pushed;
use crate::protocol::Protocol;
use crate::settings::Settings;
use crate::shared::{Shared, Watch, lock};
use peregrine::relay::{Local, Relay, RelayMessage, RelayOrder, Relayed};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// How much later than at its time the thread may end.
const LATE: Duration = Duration::from_millis(200);

/// A relay over a broker with the protocol `P`.
///
/// Its thread starts when [`RelayHandle`](peregrine::relay::RelayHandle) connects it to the first hub, and ends with the last
/// server or when it is dropped.
pub struct BrokerRelay<P: Protocol> {
    protocol: Arc<P>,
    settings: Settings,
    shared: Arc<Shared>,
    /// The number of this process.
    node: u64,
    listener: Listener,
}

impl<P: Protocol> BrokerRelay<P> {
    /// A relay that is not connected yet.
    pub fn new(protocol: P, settings: Settings) -> BrokerRelay<P> {
        // From the random keys of the system, so it differs after a fork or in a copy of a machine, too.
        let node = RandomState::new().hash_one((std::process::id(), thread::current().id()));
        BrokerRelay {
            protocol: Arc::new(protocol),
            shared: Arc::new(Shared::new(settings.queue_bytes)),
            settings,
            node,
            listener: Listener::default(),
        }
    }

    /// Calls a function for each [`Event`], on the thread of the connection. It must not block: meanwhile no message
    /// arrives. A panic of it ends the relay.
    #[must_use]
    pub fn on_event(self, f: impl FnMut(Event<'_>) + Send + 'static) -> BrokerRelay<P> {
        self.listener.set(f);
        self
    }

    /// Shows the state of the connection.
    pub fn watch(&self) -> Watch {
        Watch(self.shared.clone())
    }

    /// The number that names this process in each [`Envelope`].
    pub fn node(&self) -> u64 {
        self.node
    }
}

impl<P: Protocol> Relay for BrokerRelay<P> {
    fn publish(&self, topic: Option<&str>, message: RelayMessage<'_>) -> Relayed {
        let is_connected = || self.shared.is_connected.load(Ordering::Acquire);
        if self.settings.order == RelayOrder::Broker && !is_connected() {
            // It could not come back.
            lock(&self.shared.outbox).skip(topic);
            return Relayed::Down;
        }
        let pushed = lock(&self.shared.outbox).push(Instant::now(), |out, numbers| {
            let head = Envelope::head(&message, self.node, numbers.next(topic));
            self.protocol.publish(topic, [&head, message.bytes()], out)
        });
        match pushed {
            Pushed::Queued => {
                self.shared.wake();
                Relayed::Queued
            }
            Pushed::Closed => Relayed::Down,
            Pushed::Full => Relayed::Full,
            Pushed::Refused => Relayed::TooLarge,
        }
    }

    fn subscribed(&self, topic: &str) {
        lock(&self.shared.wanted).add(topic);
        self.shared.wake();
    }

    fn unsubscribed(&self, topic: &str) {
        lock(&self.shared.wanted).remove(topic);
        self.shared.wake();
    }

    fn started(&self, local: Local) {
        let driver = Driver::new(
            self.protocol.clone(),
            self.settings.clone(),
            self.shared.clone(),
            self.node,
            local.clone(),
            self.listener.take(),
        );
        let thread = thread::Builder::new().name("pg-broker".to_owned());
        if let Err(error) = thread.spawn(move || driver.run()) {
            log::error!("{}: no thread: {error}", P::NAME);
            self.shared.failed(&format!("no thread: {error}"));
            local.count_dropped(self.shared.ended());
        }
    }

    fn stopped(&self) {
        let within = self.settings.stop_timeout;
        self.shared.stop(within);
        // The thread looks at the clock itself. It may be resolving a name, which nothing interrupts.
        self.shared.wait_for_end(within.saturating_add(LATE));
    }

    fn is_ready(&self) -> bool {
        self.settings.is_ready_without || self.shared.is_connected.load(Ordering::Acquire)
    }

    fn order(&self) -> RelayOrder {
        self.settings.order
    }

    fn max_message(&self) -> Option<usize> {
        // What is larger would make each receiver close its connection.
        let most = self.shared.max_message.load(Ordering::Relaxed);
        let most = most.min(self.settings.message_bytes);
        Some(most.saturating_sub(Envelope::LEN))
    }
}

impl<P: Protocol> Drop for BrokerRelay<P> {
    fn drop(&mut self) {
        self.shared.stop(Duration::ZERO);
    }
}

impl<P: Protocol> std::fmt::Debug for BrokerRelay<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerRelay")
            .field("watch", &self.watch())
            .finish_non_exhaustive()
    }
}
