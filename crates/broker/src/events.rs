//! What a program hears of its relay.

use crate::shared::lock;
use std::sync::Mutex;

/// What `on_event` of a relay is told: that of a [`BrokerRelay`](crate::BrokerRelay::on_event), or of the one over Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The broker is connected and all topics are subscribed. What was published in the meantime may be missing.
    Connected,
    /// The connection has ended.
    Disconnected,
    /// Messages of another process to this topic, or broadcasts, did not arrive.
    Lost {
        /// The topic; `None` for broadcasts.
        topic: Option<&'a str>,
        /// How many.
        messages: u64,
    },
}

type OnEvent = Box<dyn FnMut(Event<'_>) + Send>;

/// The function of a program that hears of each [`Event`], if there is one. For those who write a relay.
///
/// ```
/// use peregrine_broker::{Event, Listener};
/// use std::sync::mpsc::channel;
///
/// let (seen, told) = channel();
/// let listener = Listener::default();
/// listener.tell(Event::Connected); // to no one
/// listener.set(move |event| drop(seen.send(event == Event::Disconnected)));
/// listener.tell(Event::Disconnected);
/// drop(listener.take()); // with the function, and what it has captured
/// listener.tell(Event::Connected);
/// assert_eq!(told.iter().collect::<Vec<_>>(), [true]);
/// ```
#[derive(Default)]
pub struct Listener(Mutex<Option<OnEvent>>);

impl Listener {
    /// Sets the function, in the place of the one before.
    pub fn set(&self, f: impl FnMut(Event<'_>) + Send + 'static) {
        *lock(&self.0) = Some(Box::new(f));
    }

    /// Calls the function. It must not lead to another call of this one, which would wait for ever.
    pub fn tell(&self, event: Event<'_>) {
        if let Some(f) = &mut *lock(&self.0) {
            f(event);
        }
    }

    /// Takes the function out. A function that has captured a hub keeps the relay of that hub: who ends drops it.
    #[must_use]
    pub fn take(&self) -> Listener {
        Listener(Mutex::new(lock(&self.0).take()))
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
