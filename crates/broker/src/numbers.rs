//! The numbers of messages: given out by a publisher, compared by a receiver.
//!
//! They show a receiver what it has not got. They do not show duplicates, because nothing is sent twice.

use std::collections::HashMap;
use std::sync::Arc;

/// The most topics, or pairs of topic and node, whose numbers are remembered. Above it all are forgotten, and then a gap
/// may not be noticed.
const MOST: usize = 1 << 16;

/// The most messages that one gap counts as, so that a wrong number does not fill the counter.
const MOST_MISSING: u64 = 1_000_000;

/// Gives out numbers, from 1 for each topic.
#[derive(Debug, Default)]
pub struct Outgoing {
    topics: HashMap<Arc<str>, u64>,
    broadcasts: u64,
}

impl Outgoing {
    /// The number of the next message to a topic, or of the next broadcast.
    pub fn next(&mut self, topic: Option<&str>) -> u64 {
        let last = match topic {
            None => &mut self.broadcasts,
            Some(topic) => {
                if !self.topics.contains_key(topic) {
                    if self.topics.len() >= MOST {
                        self.topics = HashMap::new();
                    }
                    self.topics.insert(topic.into(), 0);
                }
                let Some(last) = self.topics.get_mut(topic) else {
                    return 0;
                };
                last
            }
        };
        *last += 1;
        *last
    }
}

/// The last numbers of each subscribed topic, by node.
#[derive(Debug, Default)]
pub struct Incoming {
    topics: HashMap<Arc<str>, HashMap<u64, u64>>,
    broadcasts: HashMap<u64, u64>,
    /// The pairs in all of these.
    pairs: usize,
}

impl Incoming {
    /// A topic is subscribed from now on. False if it was.
    pub fn subscribe(&mut self, topic: &Arc<str>) -> bool {
        let is_new = !self.topics.contains_key(topic);
        if is_new {
            self.topics.insert(topic.clone(), HashMap::new());
        }
        is_new
    }

    /// A topic is not subscribed any more: what is missed from now on is not lost. False if it was not.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let nodes = self.topics.remove(topic);
        self.pairs -= nodes.as_ref().map_or(0, HashMap::len);
        nodes.is_some()
    }

    /// Unsubscribes from all topics but these, and subscribes these.
    pub fn subscribe_only(&mut self, topics: &[Arc<str>]) {
        let mut before = std::mem::take(&mut self.topics);
        for topic in topics {
            let nodes = before.remove(topic).unwrap_or_default();
            self.topics.insert(topic.clone(), nodes);
        }
        let left: usize = before.values().map(HashMap::len).sum();
        self.pairs -= left;
    }

    /// A message has arrived. Returns how many of the same node and topic are missing before it; `None` if the topic is not
    /// subscribed.
    pub fn missing(&mut self, topic: Option<&str>, node: u64, number: u64) -> Option<u64> {
        if self.pairs >= MOST {
            self.topics
                .values_mut()
                .for_each(|nodes| *nodes = HashMap::new());
            self.broadcasts = HashMap::new();
            self.pairs = 0;
        }
        let nodes = match topic {
            None => &mut self.broadcasts,
            Some(topic) => self.topics.get_mut(topic)?,
        };
        if number == 0 {
            return Some(0);
        }
        let Some(last) = nodes.insert(node, number) else {
            self.pairs += 1;
            return Some(0);
        };
        // A smaller number: the node has begun anew.
        Some(
            number
                .saturating_sub(last.saturating_add(1))
                .min(MOST_MISSING),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found_by_topic_and_node() {
        let mut incoming = Incoming::default();
        let [a, b]: [Arc<str>; 2] = ["a".into(), "b".into()];
        assert!(incoming.subscribe(&a) && incoming.subscribe(&b) && !incoming.subscribe(&a));
        let cases = [
            // The first one that is seen may have any number.
            ("a", 1, 5, Some(0)),
            ("a", 1, 6, Some(0)),
            ("a", 1, 9, Some(2)),
            ("a", 1, 10, Some(0)),
            // Another node, another topic.
            ("a", 2, 1, Some(0)),
            ("b", 1, 1, Some(0)),
            ("b", 1, 3, Some(1)),
            // It begins anew, or counts nothing.
            ("a", 1, 2, Some(0)),
            ("a", 1, 4, Some(1)),
            ("a", 1, 0, Some(0)),
            ("a", 1, 5, Some(0)),
            ("a", 1, u64::MAX, Some(MOST_MISSING)),
            ("a", 1, u64::MAX, Some(0)),
            ("c", 1, 1, None),
        ];
        for (topic, node, number, missing) in cases {
            assert_eq!(
                incoming.missing(Some(topic), node, number),
                missing,
                "{topic} {number}"
            );
        }
        assert_eq!(incoming.missing(None, 1, 1), Some(0));
        assert_eq!(incoming.missing(None, 1, 4), Some(2));
        // What comes while it is not subscribed is not missing.
        assert!(incoming.unsubscribe("b") && !incoming.unsubscribe("b"));
        assert_eq!(incoming.missing(Some("b"), 1, 4), None);
        assert!(incoming.subscribe(&b));
        assert_eq!(incoming.missing(Some("b"), 1, 50), Some(0));
        // After a reconnection only what is left is known.
        incoming.subscribe_only(&[b.clone(), "c".into()]);
        assert_eq!(incoming.missing(Some("b"), 1, 52), Some(1));
        assert_eq!(incoming.missing(Some("a"), 1, 1), None);
        assert_eq!(incoming.missing(Some("c"), 1, 1), Some(0));
        assert_eq!(incoming.pairs, 3, "the broadcasts, b and c");
    }

    #[test]
    fn what_is_remembered_is_limited() {
        let mut outgoing = Outgoing::default();
        let mut incoming = Incoming::default();
        assert!(incoming.subscribe(&"a".into()));
        for n in 0..MOST as u64 + 10 {
            assert_eq!(outgoing.next(Some(&n.to_string())), 1);
            assert_eq!(incoming.missing(Some("a"), n, 1), Some(0));
        }
        assert_eq!((outgoing.topics.len(), incoming.pairs), (10, 10));
        assert_eq!(outgoing.next(Some("a")), 1);
        assert_eq!(outgoing.next(Some("a")), 2);
        assert_eq!((outgoing.next(None), outgoing.next(None)), (1, 2));
    }
}
