//! Subscriptions of the WebSocket connections of one thread.

use super::peer_table::{PeerTable, Seat};
use crate::relay::RelayHandle;
use crate::shared::id::ConnId;
use crate::shared::sparse::{is_sparse, shrink};
use crate::shared::subscribe_error::SubscribeError;
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::collections::HashMap;
use std::sync::Arc;

/// Subscribers by topic, and topics by subscriber. Both directions are stored, so a subscriber leaves its
/// topics in as many steps as it has topics, however many members they have.
///
/// Invariant: `members[topic][place]` is a subscriber exactly if `(topic, place)` is in its list.
#[derive(Default)]
pub(crate) struct Topics {
    by_name: HashMap<Arc<str>, u32>,
    topics: Vec<Topic>,
    free: Vec<u32>,
    subscribers: HashMap<ConnId, Vec<(u32, u32)>>,
    /// The bytes of the names of topics with members, and the number of subscriptions.
    name_bytes: usize,
    memberships: usize,
    /// Hears of the first and the last member of a topic.
    relay: Option<RelayHandle>,
    /// How many topics more each connection may have.
    peers: Arc<PeerTable>,
    /// Subscriptions of which another part of the program wants to know whether they are there.
    tickets: HashMap<(ConnId, Arc<str>), Ticket>,
}

/// It is kept as long as a subscription exists: the other clones are the only ones then.
pub(crate) type Ticket = Arc<()>;

/// The memory of a topic without its name, and of a subscription: places in the lists and maps.
const TOPIC: usize = 128;
const MEMBERSHIP: usize = 32;
const TICKET: usize = 64;

struct Topic {
    name: Arc<str>,
    members: Vec<ConnId>,
}

impl Topics {
    /// With the relay of the hub, and the rows of the thread.
    pub(crate) fn new(relay: Option<RelayHandle>, peers: Arc<PeerTable>) -> Topics {
        let mut topics = Topics::default();
        (topics.relay, topics.peers) = (relay, peers);
        topics
    }

    /// Subscribes within the limits of the connection.
    pub(crate) fn subscribe(&mut self, token: ConnId, name: &str) -> Result<(), SubscribeError> {
        if self.place(token, name).is_none() {
            self.peers.take_topic(token, name)?;
            self.insert(token, name);
        }
        Ok(())
    }

    /// Subscribes a connection for which there is a place.
    pub(crate) fn join(&mut self, seat: Seat, name: Arc<str>, ticket: Ticket) {
        let token = seat.id().conn();
        if self.place(token, &name).is_none() {
            seat.keep();
            self.insert(token, &name);
        }
        self.tickets.insert((token, name), ticket);
    }

    fn insert(&mut self, token: ConnId, name: &str) {
        let topic = match self.by_name.get(name) {
            Some(&topic) => topic,
            None => self.new_topic(name),
        };
        let members = &mut self.topics[topic as usize].members;
        let entry = (topic, members.len() as u32);
        members.push(token);
        self.memberships += 1;
        self.subscribers.entry(token).or_default().push(entry);
    }

    fn new_topic(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        if let Some(relay) = &self.relay {
            relay.add(&name);
        }
        self.name_bytes += name.len();
        let entry = Topic {
            name: name.clone(),
            members: Vec::new(),
        };
        let topic = match self.free.pop() {
            Some(topic) => {
                self.topics[topic as usize] = entry;
                topic
            }
            None => {
                self.topics.push(entry);
                (self.topics.len() - 1) as u32
            }
        };
        self.by_name.insert(name, topic);
        topic
    }

    /// The index of the topic in the list of the subscriber.
    fn place(&self, token: ConnId, name: &str) -> Option<usize> {
        let topic = self.by_name.get(name)?;
        let list = self.subscribers.get(&token)?;
        list.iter().position(|(other, _)| other == topic)
    }

    /// Removes a subscription. False if there was none.
    pub(crate) fn unsubscribe(&mut self, token: ConnId, name: &str) -> bool {
        let Some(place) = self.place(token, name) else {
            return false;
        };
        let Some(list) = self.subscribers.get_mut(&token) else {
            return false;
        };
        let (topic, at) = list.swap_remove(place);
        if list.is_empty() {
            self.subscribers.remove(&token);
        }
        self.leave(token, topic, at);
        self.give_back();
        true
    }

    /// Removes a subscriber that has closed.
    pub(crate) fn remove(&mut self, token: ConnId) {
        for (topic, at) in self.subscribers.remove(&token).unwrap_or_default() {
            self.leave(token, topic, at);
        }
        self.give_back();
    }

    /// Frees a place of a topic. The last member moves to it.
    fn leave(&mut self, token: ConnId, topic: u32, at: u32) {
        self.peers.give_topic(token);
        let entry = &mut self.topics[topic as usize];
        if !self.tickets.is_empty() {
            self.tickets.remove(&(token, entry.name.clone()));
            shrink(&mut self.tickets);
        }
        entry.members.swap_remove(at as usize);
        self.memberships -= 1;
        if let Some(&moved) = entry.members.get(at as usize) {
            let list = self.subscribers.get_mut(&moved);
            let place = list.and_then(|list| list.iter_mut().find(|(t, _)| *t == topic));
            debug_assert!(place.is_some());
            if let Some(place) = place {
                place.1 = at;
            }
        } else if entry.members.is_empty() {
            self.by_name.remove(&entry.name);
            if let Some(relay) = &self.relay {
                relay.remove(&entry.name);
            }
            self.name_bytes -= entry.name.len();
            entry.members = Vec::new();
            self.free.push(topic);
        }
        let members = &mut entry.members;
        if is_sparse(members.len(), members.capacity()) {
            members.shrink_to(2 * members.len());
        }
    }

    /// Gives back memory after a burst of topics or subscribers. On average it takes a step for each place
    /// that has become free.
    fn give_back(&mut self) {
        shrink(&mut self.subscribers);
        let (used, all) = (self.by_name.len(), self.topics.len());
        // Each membership gets a new number.
        if is_sparse(used, all) && self.memberships <= all {
            self.number_anew();
        }
    }

    /// Removes the topics without members.
    fn number_anew(&mut self) {
        let mut numbers = vec![0; self.topics.len()];
        let mut topics = Vec::with_capacity(2 * self.by_name.len());
        for (number, topic) in numbers.iter_mut().zip(self.topics.drain(..)) {
            if !topic.members.is_empty() {
                *number = topics.len() as u32;
                topics.push(topic);
            }
        }
        let lists = self.subscribers.values_mut().flatten();
        lists.for_each(|(topic, _)| *topic = numbers[*topic as usize]);
        self.by_name = (0..)
            .zip(&topics)
            .map(|(number, topic)| (topic.name.clone(), number))
            .collect();
        (self.topics, self.free) = (topics, Vec::new());
    }

    /// The approximate memory, in bytes.
    pub(crate) fn held(&self) -> usize {
        let tickets = TICKET * self.tickets.len();
        self.name_bytes + TOPIC * self.by_name.len() + MEMBERSHIP * self.memberships + tickets
    }

    /// The name of a topic. It is shared with the entry of the topic, if this thread has subscribers of it.
    pub(crate) fn name(&self, name: &str) -> Arc<str> {
        match self.by_name.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => name.into(),
        }
    }

    /// All subscribers.
    pub(crate) fn subscribers(&self) -> impl Iterator<Item = ConnId> {
        self.subscribers.keys().copied()
    }

    pub(crate) fn members(&self, name: &str) -> &[ConnId] {
        match self.by_name.get(name) {
            Some(&topic) => &self.topics[topic as usize].members,
            None => &[],
        }
    }
}

/// The thread ends.
impl Drop for Topics {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            self.by_name.keys().for_each(|name| relay.remove(name));
        }
    }
}

/// A message to several connections, which is sent when the hook that published it has returned.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The topic. `None`: all connections.
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) message: PreparedMessage,
    /// A connection that does not get it.
    pub(crate) except: Option<ConnId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::id::WsId;
    use peregrine_protocol::ws::limits::WsLimits;
    use std::collections::{BTreeMap, BTreeSet};

    fn id(number: usize) -> ConnId {
        ConnId::of(number)
    }

    fn enter(topics: &Topics, token: ConnId, limits: &WsLimits) {
        topics.peers.enter(WsId::new(0, token), limits);
    }

    /// A subscriber in the middle that stays, with its other topics.
    #[test]
    fn memory_of_many_subscriptions_is_given_back() {
        let mut topics = Topics::default();
        let count = if cfg!(miri) { 20 } else { 1000 };
        for token in (0..count).map(id) {
            enter(&topics, token, &WsLimits::default());
            (0..60).for_each(|n| {
                let name = format!("{} {n}", token.number());
                assert_eq!(topics.subscribe(token, &name), Ok(()));
            });
            assert_eq!(topics.subscribe(token, "all"), Ok(()));
        }
        for token in (0..count).filter(|n| *n != count / 2).map(id) {
            topics.remove(token);
        }
        assert_eq!(topics.memberships, 61);
        let members = topics.topics.iter().map(|topic| topic.members.capacity());
        for capacity in [
            topics.topics.capacity(),
            topics.free.capacity(),
            topics.by_name.capacity(),
            topics.subscribers.capacity(),
            members.max().unwrap_or(0),
        ] {
            assert!(capacity <= 1024, "{capacity}");
        }
        for name in ["all", &format!("{} 7", count / 2)] {
            assert_eq!(topics.members(name), [id(count / 2)]);
            assert!(topics.unsubscribe(id(count / 2), name));
            assert_eq!(topics.subscribe(id(0), name), Ok(()));
        }
        topics.remove(id(0));
        topics.remove(id(count / 2));
        assert_eq!((topics.held(), topics.by_name.len()), (0, 0));
    }

    /// Compares the table with two plain maps, by operations from a fixed sequence of numbers.
    #[test]
    fn subscriptions_behave_like_a_set_of_pairs() {
        let names = ["a", "b", "c", "d", "e"];
        let mut topics = Topics::default();
        let mut model: BTreeMap<&str, BTreeSet<ConnId>> = BTreeMap::new();
        for token in (0..20).map(id) {
            enter(&topics, token, &WsLimits::default().topics(4));
        }
        let mut random = 1u32;
        for _ in 0..if cfg!(miri) { 300 } else { 20_000 } {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (name, token) = (
                names[(random >> 8) as usize % 5],
                id((random >> 16) as usize % 20),
            );
            let count = model.values().filter(|set| set.contains(&token)).count();
            match random >> 28 {
                0..=7 => {
                    let had = model.get(name).is_some_and(|set| set.contains(&token));
                    let good = topics.subscribe(token, name).is_ok();
                    assert_eq!(good, had || count < 4);
                    if good {
                        model.entry(name).or_default().insert(token);
                    }
                }
                8..=14 => {
                    let had = model.get_mut(name).is_some_and(|set| set.remove(&token));
                    assert_eq!(topics.unsubscribe(token, name), had);
                }
                _ => {
                    topics.remove(token);
                    model.values_mut().for_each(|set| {
                        set.remove(&token);
                    });
                }
            }
            for name in names {
                let members: BTreeSet<ConnId> = topics.members(name).iter().copied().collect();
                assert_eq!(members.len(), topics.members(name).len());
                assert_eq!(members, model.get(name).cloned().unwrap_or_default());
            }
            let there = model.values().filter(|set| !set.is_empty());
            let count: usize = there.clone().map(BTreeSet::len).sum();
            let held = there.count() * (1 + TOPIC) + count * MEMBERSHIP;
            assert_eq!(topics.held(), held);
        }
        (0..20).map(id).for_each(|token| topics.remove(token));
        assert!(topics.by_name.is_empty() && topics.subscribers.is_empty());
        assert!(topics.topics.len() <= 5);
        assert_eq!(topics.held(), 0);
    }

    /// However a subscription ends, its ticket does.
    #[test]
    fn a_ticket_is_kept_as_long_as_the_subscription() {
        let (mut topics, ticket) = (Topics::default(), Ticket::default());
        let (one, two) = (WsId::new(0, id(1)), WsId::new(0, id(2)));
        for of in [one, two] {
            enter(&topics, of.conn(), &WsLimits::default().topics(2));
        }
        let seat = |topics: &Topics, of| Seat::reserve(&topics.peers, of, "a");
        for of in [one, one, two] {
            let seat = seat(&topics, of).expect("a place");
            topics.join(seat, "a".into(), ticket.clone());
        }
        assert_eq!(Ticket::strong_count(&ticket), 3);
        assert_eq!(topics.members("a").len(), 2);
        // The second seat of the first was given back.
        assert_eq!(topics.subscribe(one.conn(), "b"), Ok(()));
        assert_eq!(seat(&topics, one).err(), Some(SubscribeError::Topics));
        assert!(topics.unsubscribe(one.conn(), "a"));
        assert_eq!(Ticket::strong_count(&ticket), 2);
        assert!(seat(&topics, one).is_ok());
        topics.remove(two.conn());
        assert_eq!(Ticket::strong_count(&ticket), 1);
        assert!(topics.tickets.is_empty());
    }
}
