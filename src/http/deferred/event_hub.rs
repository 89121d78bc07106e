//! Server-sent events for many clients at once, by topic.

use super::body_sender::SendError;
use super::events::{Event, EventSender};
use super::unlocked::{Held, call_unlocked};
use crate::relay::{
    LocalHub, RelayError, RelayHandle, RelayKind, RelayMessage, RelayOrder, Relayed,
};
use crate::shared::sparse::shrink;
use crate::shared::subscribe_error::SubscribeError;
use peregrine_protocol::payload::Payload;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Sends server-sent events to all pages that have subscribed to a topic. Clones are the same hub. Any thread
/// may use it.
///
/// [`EventHub::subscribe`] takes the [`EventSender`] of a page. A page that has gone is removed. A page with
/// more unsent bytes than [`Limits::output_bytes`](crate::Limits::output_bytes) is removed too: its stream
/// ends after the bytes that it has. A browser then connects again with its `Last-Event-ID`, and the program
/// can send what it has missed. So a slow page delays no other page, memory is limited, and a page that
/// misses an event notices it.
///
/// A [`History`](crate::history::History) gives a new page the history and then each new event, without a gap and
/// without a repetition.
///
/// ```
/// use peregrine::{Done, Request, Response};
/// use peregrine::sse::EventHub;
///
/// fn watch(hub: &EventHub, _: &Request<'_>, res: Response<'_>) -> Done {
///     let (done, page) = res.events();
///     let _ = hub.subscribe(page, ["news"]); // on an error the stream ends
///     done
/// }
/// # let hub = EventHub::new();
/// # let app = { let hub = hub.clone(); peregrine::from_fn(move |req, res| watch(&hub, req, res)) };
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert_eq!(hub.pages("news"), 1);
/// ```
#[derive(Clone, Default)]
pub struct EventHub(Arc<Inner>);

#[derive(Default)]
struct Inner {
    limits: EventLimits,
    pages: Mutex<Pages>,
    /// Hears of the first and the last page of a topic. It is set with the lock held.
    relay: OnceLock<RelayHandle>,
}

peregrine_protocol::settings! {
    /// Limits of one page of an [`EventHub`]. The table in [`Config`](crate::Config#limits) has them too.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct EventLimits {
        /// Number of topics of a page. [`EventHub::subscribe`] fails above it.
        pub topics: usize = 64;
        /// Bytes of the name of a topic. [`EventHub::subscribe`] fails above it.
        pub topic_bytes: usize = 256;
    }
}

#[derive(Default)]
struct Pages {
    /// Number of ids given out so far.
    count: u64,
    senders: HashMap<u64, Page>,
    topics: HashMap<Arc<str>, BTreeSet<u64>>,
}

struct Page {
    sender: EventSender,
    topics: Vec<Arc<str>>,
}

impl EventHub {
    /// A hub without pages, with the default limits.
    pub fn new() -> EventHub {
        EventHub::default()
    }

    /// A hub without pages.
    pub fn with_limits(limits: EventLimits) -> EventHub {
        EventHub(Arc::new(Inner {
            limits,
            pages: Mutex::default(),
            relay: OnceLock::new(),
        }))
    }

    /// Subscribes a page to topics and keeps its sender, until the page has gone or has too many unsent
    /// bytes.
    ///
    /// A topic is any text. A page without topics gets only broadcasts.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::Topics`] for more topics than [`EventLimits::topics`], [`SubscribeError::TopicName`] for a
    /// name longer than [`EventLimits::topic_bytes`]. The stream ends then.
    pub fn subscribe<T>(
        &self,
        sender: EventSender,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<(), SubscribeError>
    where
        T: AsRef<str>,
    {
        let EventLimits {
            topics: most,
            topic_bytes,
        } = self.0.limits;
        let mut topics: Vec<Arc<str>> = topics
            .into_iter()
            .take(most.saturating_add(1))
            .map(|topic| topic.as_ref().into())
            .collect();
        if topics.len() > most {
            return Err(SubscribeError::Topics);
        }
        if topics.iter().any(|topic| topic.len() > topic_bytes) {
            return Err(SubscribeError::TopicName);
        }
        topics.sort_unstable();
        topics.dedup();
        let leave = sender.leave();
        let id = self.with(|pages, relay| pages.add(sender, topics, relay));
        let hub = Arc::downgrade(&self.0);
        // The page may have gone already. Its own calls see the hub without it.
        leave.when_left_first(Box::new(move || {
            call_unlocked(move || {
                if let Some(inner) = Weak::upgrade(&hub) {
                    drop(EventHub(inner).with(|pages, relay| pages.remove(id, relay)));
                }
            });
        }));
        Ok(())
    }

    /// Sends an event to each page that has subscribed to the topic, and returns the number of these pages.
    /// It never blocks. Pages with too many unsent bytes are removed and do not count.
    ///
    /// # Errors
    ///
    /// [`SendError::Event`] if the event cannot be sent to any page. [`SendError::NotRelayed`] if the
    /// [relay](crate::relay) of the hub has dropped it, with the number of pages of this process that got it.
    ///
    /// ```
    /// use peregrine::body::SendError;
    /// use peregrine::relay::Relayed;
    /// use peregrine::sse::EventHub;
    ///
    /// fn tell(hub: &EventHub) -> String {
    ///     match hub.publish("news", "hello") {
    ///         Ok(pages) => format!("{pages} pages here, and those of other processes"),
    ///         Err(SendError::NotRelayed { pages, why: Relayed::TooLarge }) => format!("{pages} pages here, and no others ever"),
    ///         Err(SendError::NotRelayed { pages, .. }) => format!("only the {pages} pages here"),
    ///         Err(error) => error.to_string(),
    ///     }
    /// }
    /// assert_eq!(tell(&EventHub::new()), "0 pages here, and those of other processes");
    /// ```
    pub fn publish(&self, topic: &str, event: impl Into<Event>) -> Result<usize, SendError> {
        self.publish_to(Some(topic), &event.into().into_shared()?)
    }

    /// Sends an event to each page of this process that has subscribed to the topic: the [relay](crate::relay) of the hub does
    /// not get it. Otherwise as [`EventHub::publish`].
    ///
    /// # Errors
    ///
    /// [`SendError::Event`] if the event cannot be sent to any page.
    pub fn deliver(&self, topic: &str, event: impl Into<Event>) -> Result<usize, SendError> {
        Ok(self.send(Some(topic), &event.into().into_shared()?))
    }

    /// Sends an event to each page of the hub; otherwise as [`EventHub::publish`].
    ///
    /// # Errors
    ///
    /// Those of [`EventHub::publish`].
    pub fn broadcast(&self, event: impl Into<Event>) -> Result<usize, SendError> {
        self.publish_to(None, &event.into().into_shared()?)
    }

    /// Sets the relay to which all published and broadcast events are passed, and which hears of topics with pages. It can
    /// be set once. Events of other processes are not counted by [`EventHub::publish`]. With
    /// [`RelayOrder::Broker`] it returns 0 for an event that the relay has taken.
    ///
    /// # Errors
    ///
    /// [`RelayError::AlreadySet`].
    pub fn set_relay(&self, relay: &RelayHandle) -> Result<(), RelayError> {
        self.with(|pages, _| {
            let set = self.0.relay.set(relay.clone());
            set.map_err(|_| RelayError::AlreadySet)?;
            pages.topics.keys().for_each(|topic| relay.add(topic));
            Ok(())
        })?;
        relay.connect(Local(Arc::downgrade(&self.0)));
        Ok(())
    }

    fn publish_to(&self, topic: Option<&str>, payload: &Payload) -> Result<usize, SendError> {
        let Some(relay) = self.0.relay.get() else {
            return Ok(self.send(topic, payload));
        };
        let relayed = relay.publish(topic, RelayMessage::event(payload.as_bytes()));
        match relayed {
            Relayed::Queued if relay.order() == RelayOrder::Broker => Ok(0),
            Relayed::Queued => Ok(self.send(topic, payload)),
            why => {
                let pages = self.send(topic, payload);
                Err(SendError::NotRelayed { pages, why })
            }
        }
    }

    /// Sends the bytes from [`Event::into_shared`] to the pages of this process, and returns their number.
    pub(crate) fn send(&self, topic: Option<&str>, payload: &Payload) -> usize {
        self.with(|pages, relay| {
            let ids: Vec<u64> = match topic {
                Some(topic) => {
                    let ids = pages.topics.get(topic).map(BTreeSet::iter);
                    ids.into_iter().flatten().copied().collect()
                }
                None => pages.senders.keys().copied().collect(),
            };
            pages.send(&ids, payload, relay)
        })
    }

    /// Number of pages that have subscribed to the topic and have not gone.
    pub fn pages(&self, topic: &str) -> usize {
        self.with(|pages, _| pages.topics.get(topic).map_or(0, BTreeSet::len))
    }

    /// Calls `act` with the lock held. No code of users runs meanwhile; see [`call_unlocked`].
    fn with<T>(&self, act: impl FnOnce(&mut Pages, Option<&RelayHandle>) -> T) -> T {
        let held = Held::begin();
        let mut pages = self.0.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut pages, self.0.relay.get());
        drop(pages);
        drop(held);
        result
    }
}

impl std::fmt::Debug for EventHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventHub").finish_non_exhaustive()
    }
}

impl Pages {
    fn add(
        &mut self,
        sender: EventSender,
        topics: Vec<Arc<str>>,
        relay: Option<&RelayHandle>,
    ) -> u64 {
        self.count += 1;
        for topic in &topics {
            let members = self.topics.entry(topic.clone()).or_default();
            if members.is_empty() {
                relay.iter().for_each(|relay| relay.add(topic));
            }
            members.insert(self.count);
        }
        self.senders.insert(self.count, Page { sender, topics });
        self.count
    }

    fn remove(&mut self, id: u64, relay: Option<&RelayHandle>) -> Option<Page> {
        let page = self.senders.remove(&id)?;
        for topic in &page.topics {
            if let Some(members) = self.topics.get_mut(topic) {
                members.remove(&id);
                if members.is_empty() {
                    self.topics.remove(topic);
                    relay.iter().for_each(|relay| relay.remove(topic));
                }
            }
        }
        shrink(&mut self.senders);
        shrink(&mut self.topics);
        Some(page)
    }

    /// Returns the number of pages that took the payload. The others are removed, which ends their streams.
    fn send(&mut self, ids: &[u64], payload: &Payload, relay: Option<&RelayHandle>) -> usize {
        let mut taken = 0;
        for &id in ids {
            let page = self.senders.get_mut(&id);
            match page.map(|page| page.sender.try_send_payload(payload.clone())) {
                Some(true) => taken += 1,
                _ => drop(self.remove(id, relay)),
            }
        }
        taken
    }
}

/// The program has dropped the hub.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.get() {
            let pages = self.pages.get_mut();
            let pages = pages.unwrap_or_else(PoisonError::into_inner);
            pages.topics.keys().for_each(|topic| relay.remove(topic));
        }
    }
}

/// The hub as its relay sees it.
struct Local(Weak<Inner>);

impl LocalHub for Local {
    fn deliver(&self, topic: Option<&str>, message: &RelayMessage<'_>) {
        if message.kind() != RelayKind::Event {
            return;
        }
        if let Some(inner) = self.0.upgrade() {
            let payload = Payload::SharedVec(Arc::new(message.bytes().to_vec()));
            EventHub(inner).send(topic, &payload);
        }
    }

    fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::handler::from_fn;
    use crate::testing::Connection;

    #[test]
    fn memory_of_many_pages_is_given_back() {
        let hub = EventHub::new();
        let subscribe = hub.clone();
        let app = from_fn(move |req, res| {
            let (done, page) = res.events();
            assert!(
                subscribe
                    .subscribe(page, (0..64).map(|n| format!("{} {n}", req.path())))
                    .is_ok()
            );
            done
        });
        let mut pages: Vec<_> = (0..200)
            .map(|n| {
                let mut client = Connection::new(&app);
                client.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
                client
            })
            .collect();
        let capacities =
            || hub.with(|pages, _| (pages.senders.capacity(), pages.topics.capacity()));
        assert!(capacities().1 > 200 * 64);
        pages.truncate(1);
        // The page is removed, because it has gone.
        assert_eq!(hub.broadcast("hello").expect("a good event"), 1);
        let (senders, topics) = capacities();
        assert!(senders <= 256 && topics <= 512, "{senders} {topics}");
        assert_eq!(hub.pages("/0 63"), 1);
    }
}
