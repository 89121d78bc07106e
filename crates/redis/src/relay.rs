//! A relay over channels of Redis: topics of hubs on several machines, without a history.

use crate::Inner;
use crate::driver::Refused;
use crate::resp::Value;
use peregrine::relay::{Local, Relay, RelayMessage, RelayOrder, Relayed};
use peregrine_broker::Envelope;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long the end of the last server may take.
const STOP: Duration = Duration::from_secs(1);

/// Carries the messages of hubs to other processes with the same prefix. [`Redis::relay`](crate::Redis::relay) makes it.
///
/// Messages are delivered at most once. Without a connection a message reaches the clients of this process only, and the
/// publisher is told. The topics that have subscribers are subscribed, no others.
pub struct RedisRelay {
    pub(crate) inner: Arc<Inner>,
    pub(crate) order: RelayOrder,
}

#[derive(Default)]
pub(crate) struct RelayState {
    local: OnceLock<(Local, RelayOrder)>,
}

impl RelayState {
    /// A message of a topic; without one, a broadcast.
    pub(crate) fn message(&self, node: u64, topic: Option<&str>, bytes: &[u8]) {
        let Some((local, order)) = self.local.get() else {
            return;
        };
        match Envelope::parse(bytes) {
            Ok(envelope) if envelope.node == node && *order == RelayOrder::Local => {}
            Ok(Envelope {
                message,
                node: from,
                ..
            }) => {
                // The number of a connection means something to its own process only.
                let except = message.except().filter(|_| from == node);
                local.deliver(topic, message.with_except(except));
            }
            Err(_) => local.count_lost(1),
        }
    }
}

impl RedisRelay {
    /// Sets the order in which this process delivers its own messages. Default: [`RelayOrder::Local`].
    #[must_use]
    pub fn order(mut self, order: RelayOrder) -> RedisRelay {
        self.order = order;
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
        if !self.is_ready() {
            return Relayed::Down;
        }
        let this = Arc::downgrade(&self.inner);
        // Messages are not counted: what is lost with a connection is not known here.
        let mut bytes = Envelope::head(&message, self.inner.node_number(), 0).to_vec();
        bytes.extend_from_slice(message.bytes());
        let on_reply = Box::new(move |reply: Option<Value>| {
            let this = this.upgrade().filter(|_| reply.is_none());
            if let Some((local, _)) = this.as_ref().and_then(|this| this.relay.local.get()) {
                local.count_unconfirmed(1);
            }
        });
        let parts = vec!["PUBLISH".into(), self.channel(topic).into(), bytes.into()];
        let sent = self.inner.plain(parts, on_reply);
        match sent {
            Ok(()) => Relayed::Queued,
            Err(Refused::Full) => Relayed::Full,
            Err(Refused::Closed) => Relayed::Down,
        }
    }

    fn subscribed(&self, topic: &str) {
        self.inner.driver.subscribe(self.channel(Some(topic)));
    }

    fn unsubscribed(&self, topic: &str) {
        self.inner.driver.unsubscribe(self.channel(Some(topic)));
    }

    fn started(&self, local: Local) {
        let _ = self.inner.relay.local.set((local, self.order));
        self.inner.driver.subscribe(self.channel(None));
    }

    fn stopped(&self) {
        self.inner.driver.flush(STOP);
    }

    fn is_ready(&self) -> bool {
        self.inner.driver.is_connected()
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
