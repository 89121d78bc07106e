//! A relay over channels of Redis: topics of hubs on several machines, without a history.

use crate::Inner;
use crate::driver::{Command, Refused};
use crate::resp::Value;
use peregrine::relay::{Local, Relay, RelayMessage, RelayOrder, Relayed};
use peregrine_broker::numbers::{Incoming, Outgoing};
use peregrine_broker::{Arrivals, Envelope, Event, Listener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How long the end of the last server may take.
const STOP: Duration = Duration::from_secs(1);

/// Carries the messages of hubs to other processes with the same prefix. [`Redis::relay`](crate::Redis::relay) makes it.
///
/// Messages are delivered at most once, and a process counts those of others that did not arrive by the gaps in their numbers:
/// [`RedisRelay::on_event`] tells of them.
/// Without a connection a message reaches the clients of this process only, and the publisher is told. The topics that have
/// subscribers are subscribed, no others.
pub struct RedisRelay {
    pub(crate) inner: Arc<Inner>,
    pub(crate) order: RelayOrder,
}

#[derive(Default)]
pub(crate) struct RelayState {
    arrivals: OnceLock<Arrivals>,
    /// Locked until a message is in the queue, so that numbers rise in the order of sending.
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
    listener: Listener,
    /// Redis has confirmed the channel of broadcasts on this connection.
    hears_broadcasts: AtomicBool,
    /// The program has been told of this connection.
    is_told: AtomicBool,
    /// The function of the program has panicked.
    has_ended: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a connection tells its relay: one thread calls these at a time.
impl Inner {
    /// A message of a topic; without one, a broadcast.
    pub(crate) fn relay_message(&self, topic: Option<&str>, bytes: &[u8]) {
        let Some(arrivals) = self
            .relay
            .arrivals
            .get()
            .filter(|_| !self.relay_has_ended())
        else {
            return;
        };
        let missing = |node, number| lock(&self.relay.incoming).missing(topic, node, number);
        arrivals.deliver(topic, bytes, missing, |event| self.tell_relay(event));
    }

    /// The channel of broadcasts is subscribed.
    pub(crate) fn relay_hears_broadcasts(&self) {
        self.relay.hears_broadcasts.store(true, Ordering::Release);
    }

    /// All channels are subscribed. It may be called again.
    pub(crate) fn relay_connected(&self) {
        // A relay may start later than the connection.
        let is_complete = self.relay.hears_broadcasts.load(Ordering::Acquire);
        if is_complete && !self.relay.is_told.swap(true, Ordering::AcqRel) {
            self.tell_relay(Event::Connected);
        }
    }

    /// The connection has ended, or the attempt to make one.
    pub(crate) fn relay_disconnected(&self) {
        self.relay.hears_broadcasts.store(false, Ordering::Release);
        if self.relay.is_told.swap(false, Ordering::AcqRel) {
            self.tell_relay(Event::Disconnected);
        }
    }

    /// A panic ends the relay. The connection serves a history and a presence, too, so it goes on.
    #[expect(
        clippy::disallowed_methods,
        reason = "what the panic was raised with is forgotten: its drop may panic again"
    )]
    fn tell_relay(&self, event: Event<'_>) {
        let told = catch_unwind(AssertUnwindSafe(|| self.relay.listener.tell(event)));
        if let Err(panic) = told {
            std::mem::forget(panic);
            self.relay.has_ended.store(true, Ordering::Release);
            drop(self.relay.listener.take());
            self.driver.fails("the relay has ended by a panic");
        }
    }

    fn relay_has_ended(&self) -> bool {
        self.relay.has_ended.load(Ordering::Acquire)
    }
}

impl RedisRelay {
    /// Sets the order in which this process delivers its own messages. Default: [`RelayOrder::Local`].
    #[must_use]
    pub fn order(mut self, order: RelayOrder) -> RedisRelay {
        self.order = order;
        self
    }

    /// Calls a function for each [`Event`], on the thread of the connection that reads, or makes the next one. It must not block:
    /// meanwhile no message arrives. A panic of it ends the relay, and not the connection.
    ///
    /// ```no_run
    /// use peregrine::relay::RelayHandle;
    /// use peregrine::ws::Hub;
    /// use peregrine_redis::{Config, Event, Redis};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::new();
    /// let pages = hub.clone();
    /// let relay = Redis::connect(Config::new("127.0.0.1:6379"))?.relay()?;
    /// let relay = relay.on_event(move |event| match event {
    ///     Event::Lost { topic, .. } => drop(pages.deliver(topic, "read your state again")),
    ///     Event::Connected => drop(pages.deliver(None, "read your state again")),
    ///     _ => {}
    /// });
    /// hub.set_relay(&RelayHandle::new(relay))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_event(self, f: impl FnMut(Event<'_>) + Send + 'static) -> RedisRelay {
        self.inner.relay.listener.set(f);
        self
    }

    fn channel(&self, topic: Option<&str>) -> Vec<u8> {
        match topic {
            Some(topic) => self.inner.key("r:", topic),
            None => self.inner.key("b:", ""),
        }
    }
}

impl Relay for RedisRelay {
    fn publish(&self, topic: Option<&str>, message: RelayMessage<'_>) -> Relayed {
        let mut outgoing = lock(&self.inner.relay.outgoing);
        // A message that is not taken is a gap for the others.
        let number = outgoing.next(topic);
        if !self.is_ready() {
            return Relayed::Down;
        }
        let mut bytes = Envelope::head(&message, self.inner.node_number(), number).to_vec();
        bytes.extend_from_slice(message.bytes());
        let this = Arc::downgrade(&self.inner);
        let on_reply = Box::new(move |reply: Option<Value>| {
            let this = this.upgrade().filter(|_| reply.is_none());
            if let Some(arrivals) = this.as_ref().and_then(|this| this.relay.arrivals.get()) {
                arrivals.local().count_unconfirmed(1);
            }
        });
        let verb = match self.inner.driver.config().is_cluster() {
            true => "SPUBLISH",
            false => "PUBLISH",
        };
        let parts = vec![verb.into(), self.channel(topic).into(), bytes.into()];
        // One that is not taken is counted once, as dropped.
        let offered = self
            .inner
            .driver
            .offer(Command::new(None, parts, false, on_reply));
        match offered {
            Ok(()) => Relayed::Queued,
            Err((Refused::Full, _)) => Relayed::Full,
            Err((Refused::Closed | Refused::Waiting, _)) => Relayed::Down,
        }
    }

    fn subscribed(&self, topic: &str) {
        lock(&self.inner.relay.incoming).subscribe(&topic.into());
        self.inner.driver.subscribe(self.channel(Some(topic)));
    }

    fn unsubscribed(&self, topic: &str) {
        self.inner.driver.unsubscribe(self.channel(Some(topic)));
        lock(&self.inner.relay.incoming).unsubscribe(topic);
    }

    fn started(&self, local: Local) {
        let arrivals = Arrivals::new(self.inner.node_number(), self.order, local);
        let _ = self.inner.relay.arrivals.set(arrivals);
        self.inner.driver.subscribe(self.channel(None));
    }

    fn stopped(&self) {
        self.inner.driver.flush(STOP);
        // It may keep a hub, which keeps this relay.
        drop(self.inner.relay.listener.take());
    }

    fn is_ready(&self) -> bool {
        self.inner.driver.is_connected() && !self.inner.relay_has_ended()
    }

    fn order(&self) -> RelayOrder {
        self.order
    }
}

impl std::fmt::Debug for RedisRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisRelay")
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}
