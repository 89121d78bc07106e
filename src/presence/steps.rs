//! What a store has still to be told.

use super::Change;
use crate::shared::sparse::shrink;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(super) struct Step {
    pub(super) topic: Arc<str>,
    pub(super) person: Arc<str>,
    pub(super) change: Change,
}

/// Steps in order: at most one of each person on a topic, because a join and a leave that both wait cancel out.
#[derive(Default)]
pub(super) struct Steps {
    by_number: BTreeMap<u64, Step>,
    /// Numbers by topic and person.
    numbers: HashMap<(Arc<str>, Arc<str>), u64>,
    next: u64,
    /// Number of steps that are leaves.
    leaves: usize,
}

impl Steps {
    /// A person joins and leaves in turn, so a step of the person that waits is of the other kind.
    pub(super) fn push(&mut self, step: Step) {
        let key = (step.topic.clone(), step.person.clone());
        if let Some(number) = self.numbers.remove(&key) {
            let cancelled = self.by_number.remove(&number);
            self.leaves -= usize::from(cancelled.is_some_and(|step| step.is_leave()));
            return;
        }
        self.leaves += usize::from(step.is_leave());
        self.numbers.insert(key, self.next);
        self.by_number.insert(self.next, step);
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<Step> {
        let (_, step) = self.by_number.pop_first()?;
        self.leaves -= usize::from(step.is_leave());
        let key = (step.topic.clone(), step.person.clone());
        self.numbers.remove(&key);
        shrink(&mut self.numbers);
        Some(step)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(super) fn leaves(&self) -> usize {
        self.leaves
    }

    /// Whether the store has still to be told that the person has gone.
    pub(super) fn has(&self, topic: &Arc<str>, person: &Arc<str>) -> bool {
        let key = (topic.clone(), person.clone());
        self.numbers.contains_key(&key)
    }
}

impl Step {
    fn is_leave(&self) -> bool {
        self.change == Change::Left
    }
}
