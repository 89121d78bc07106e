//! The topics that are to be subscribed, as handlers change them.

use std::collections::HashSet;
use std::sync::Arc;

/// The most changes that wait for a connection that does not take them, beside one for each topic.
const MOST_CHANGES: usize = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct Wanted {
    topics: HashSet<Arc<str>>,
    /// Topics whose state may be new. Only for a connection that has got all topics before.
    changes: HashSet<Arc<str>>,
    is_online: bool,
}

impl Wanted {
    pub(crate) fn add(&mut self, topic: &str) {
        let topic: Arc<str> = topic.into();
        self.topics.insert(topic.clone());
        self.change(topic);
    }

    pub(crate) fn remove(&mut self, topic: &str) {
        if let Some(topic) = self.topics.take(topic) {
            self.change(topic);
        }
    }

    fn change(&mut self, topic: Arc<str>) {
        if !self.is_online {
            return;
        }
        self.changes.insert(topic);
        if self.changes.len() > MOST_CHANGES + self.topics.len() {
            self.offline();
        }
    }

    /// All topics, for a new connection. Changes are collected from now on.
    pub(crate) fn all(&mut self) -> Vec<Arc<str>> {
        self.changes = HashSet::new();
        self.is_online = true;
        self.topics.iter().cloned().collect()
    }

    /// The topics that may have changed since the last call, and whether each is wanted. `None` if there were too many: all
    /// have to be subscribed anew.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<(Arc<str>, bool)>> {
        if !self.is_online {
            return None;
        }
        let changes = std::mem::take(&mut self.changes).into_iter();
        let changes = changes.map(|topic| {
            let is_wanted = self.topics.contains(&topic);
            (topic, is_wanted)
        });
        Some(changes.collect())
    }

    /// There is no connection that has the topics.
    pub(crate) fn offline(&mut self) {
        self.changes = HashSet::new();
        self.is_online = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_collected_for_a_connection() {
        let mut wanted = Wanted::default();
        wanted.add("a");
        assert_eq!(wanted.take_changes(), None);
        assert_eq!(wanted.all(), ["a".into()]);
        assert_eq!(wanted.take_changes(), Some(Vec::new()));
        wanted.add("b");
        wanted.remove("b");
        wanted.add("b");
        wanted.remove("a");
        wanted.remove("c");
        let mut changes = wanted.take_changes().expect("online");
        changes.sort();
        assert_eq!(changes, [("a".into(), false), ("b".into(), true)]);
        wanted.offline();
        wanted.remove("b");
        assert_eq!(wanted.all(), []);
    }

    #[test]
    fn changes_that_wait_are_limited() {
        let mut wanted = Wanted::default();
        wanted.all();
        for n in 0..=MOST_CHANGES {
            let name = n.to_string();
            wanted.add(&name);
            wanted.remove(&name);
        }
        assert_eq!(wanted.take_changes(), None);
        assert!(wanted.changes.is_empty());
    }
}
