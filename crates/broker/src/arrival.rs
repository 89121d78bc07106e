//! What a relay does with a message that a broker has brought.

use crate::envelope::Envelope;
use crate::events::Event;
use peregrine::relay::{Local, RelayOrder};

/// Delivers what a broker brings to the hubs of this process, and counts what it has not brought. For those who write a relay.
#[derive(Clone, Debug)]
pub struct Arrivals {
    node: u64,
    order: RelayOrder,
    pub(crate) local: Local,
}

impl Arrivals {
    /// For the process with this number, which delivers its own messages in this order.
    pub fn new(node: u64, order: RelayOrder, local: Local) -> Arrivals {
        Arrivals { node, order, local }
    }

    /// The hubs of this process.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// A message of a topic, or a broadcast, with its [`Envelope`]. `missing` is asked with the node and the number of the message, as
    /// [`Incoming::missing`](crate::numbers::Incoming::missing) is. `tell` hears of a gap before the message is delivered.
    pub fn deliver(
        &self,
        topic: Option<&str>,
        payload: &[u8],
        missing: impl FnOnce(u64, u64) -> Option<u64>,
        tell: impl FnOnce(Event<'_>),
    ) {
        let Ok(envelope) = Envelope::parse(payload) else {
            return self.local.count_lost(1);
        };
        let is_own = envelope.node == self.node;
        if is_own && self.order == RelayOrder::Local {
            return;
        }
        let Some(messages) = missing(envelope.node, envelope.number) else {
            // It was on its way when its topic was left.
            return;
        };
        // What the own process has refused was delivered here at once, and its publisher has heard of it.
        if messages > 0 && !is_own {
            self.local.count_lost(messages);
            tell(Event::Lost { topic, messages });
        }
        // The number of a connection means something to its own process only.
        let except = envelope.message.except().filter(|_| is_own);
        self.local
            .deliver(topic, envelope.message.with_except(except));
    }
}
