//! The connections of one thread, by number.

use crate::conn::Seconds;
use std::collections::BinaryHeap;

/// Bits of a token that say which slot; the others hold a generation, so that an event or a message
/// for a connection that has closed cannot reach the next one in its slot.
const SLOT_BITS: u32 = if usize::BITS > 32 { 32 } else { 20 };
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;

/// Slots from here on are never used: their tokens name other things, listeners above all.
pub(crate) const RESERVED_TOKENS: usize = SLOT_MASK - 255;

/// Slots are kept apart from their deadlines, so that the search for those that have passed reads
/// four bytes for each connection.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// One for each slot; `NEVER` where nothing is.
    deadlines: Vec<Seconds>,
    free: Vec<u32>,
}

const NEVER: Seconds = Seconds::MAX;

struct Slot<T> {
    generation: usize,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            deadlines: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes `value` in. Returns its token.
    pub(crate) fn insert(&mut self, value: T) -> usize {
        let slot = match self.free.pop() {
            Some(slot) => slot as usize,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    value: None,
                });
                self.deadlines.push(NEVER);
                self.slots.len() - 1
            }
        };
        debug_assert!(slot < RESERVED_TOKENS);
        self.slots[slot].value = Some(value);
        token(slot, self.slots[slot].generation)
    }

    /// `None` if what the token named is gone.
    #[inline]
    pub(crate) fn get_mut(&mut self, token: usize) -> Option<&mut T> {
        let slot = self.slots.get_mut(token & SLOT_MASK)?;
        match slot.generation == token >> SLOT_BITS {
            true => slot.value.as_mut(),
            false => None,
        }
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        self.get_mut(at)?;
        let slot = at & SLOT_MASK;
        let entry = &mut self.slots[slot];
        entry.generation = (entry.generation + 1) & (usize::MAX >> SLOT_BITS);
        self.deadlines[slot] = NEVER;
        self.free.push(slot as u32);
        entry.value.take()
    }

    #[inline]
    pub(crate) fn set_deadline(&mut self, token: usize, deadline: Seconds) {
        self.deadlines[token & SLOT_MASK] = deadline;
    }

    /// Appends the tokens of all whose deadline is `now` or earlier.
    pub(crate) fn due(&self, now: Seconds, into: &mut Vec<usize>) {
        let due = self
            .deadlines
            .iter()
            .enumerate()
            .filter(|&(_, &deadline)| deadline <= now);
        into.extend(due.map(|(slot, _)| token(slot, self.slots[slot].generation)));
    }

    /// Appends the tokens of those `most` whose deadlines come first, of all for which `which` holds.
    pub(crate) fn first_due(&self, most: usize, which: impl Fn(&T) -> bool, into: &mut Vec<usize>) {
        let holds = |slot: usize| self.slots[slot].value.as_ref().is_some_and(&which);
        // The latest on top.
        let mut first = BinaryHeap::with_capacity(most + 1);
        for (slot, &deadline) in self.deadlines.iter().enumerate() {
            let is_later = |last: &(Seconds, usize)| deadline >= last.0;
            if first.len() == most && first.peek().is_none_or(is_later) || !holds(slot) {
                continue;
            }
            first.push((deadline, slot));
            if first.len() > most {
                first.pop();
            }
        }
        let slots = first.into_sorted_vec().into_iter();
        into.extend(slots.map(|(_, slot)| token(slot, self.slots[slot].generation)));
    }

    /// The tokens of all.
    pub(crate) fn tokens(&self) -> Vec<usize> {
        let mut tokens = Vec::new();
        self.append_tokens(&mut tokens);
        tokens
    }

    pub(crate) fn append_tokens(&self, into: &mut Vec<usize>) {
        let used = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.is_some());
        into.extend(used.map(|(i, slot)| token(i, slot.generation)));
    }
}

/// The slot that a token names, and which of its owners.
pub(crate) fn parts(token: usize) -> (usize, usize) {
    (token & SLOT_MASK, token >> SLOT_BITS)
}

/// The token of [`parts`]; of those that fit.
pub(crate) fn token(slot: usize, generation: usize) -> usize {
    generation << SLOT_BITS | slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_token_never_names_a_new_value() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let mut seen = vec![first];
        for _ in 0..if cfg!(miri) { 30 } else { 1000 } {
            let token = slab.insert('b');
            assert!(!seen.contains(&token));
            assert!(seen.iter().all(|&old| slab.get_mut(old).is_none()));
            assert_eq!(slab.get_mut(token), Some(&mut 'b'));
            assert_eq!(slab.remove(first), None);
            assert_eq!(slab.remove(token), Some('b'));
            seen.push(token);
        }
        assert_eq!(slab.slots.len(), 1);
    }

    #[test]
    fn deadlines() {
        let mut slab = Slab::new();
        let tokens: Vec<usize> = (0..5).map(|i| slab.insert(i)).collect();
        for (i, &token) in tokens.iter().enumerate() {
            slab.set_deadline(token, 10 * i as Seconds);
        }
        slab.remove(tokens[1]);
        let mut due = Vec::new();
        slab.due(20, &mut due);
        assert_eq!(due, [tokens[0], tokens[2]]);
        assert_eq!(slab.tokens(), [tokens[0], tokens[2], tokens[3], tokens[4]]);
        assert_eq!(slab.len(), 4);
    }

    #[test]
    fn the_first_due_of_some() {
        let mut slab = Slab::new();
        let deadlines = [7, 3, 9, 3, 1, 8, 2];
        let tokens: Vec<usize> = (0..7).map(|i| slab.insert(i)).collect();
        for (&token, deadline) in tokens.iter().zip(deadlines) {
            slab.set_deadline(token, deadline);
        }
        slab.remove(tokens[6]);
        let first = |most, which: fn(&usize) -> bool| {
            let mut first = Vec::new();
            slab.first_due(most, which, &mut first);
            let place = |token| tokens.iter().position(|&t| t == token).expect("ours");
            first.into_iter().map(place).collect::<Vec<_>>()
        };
        assert_eq!(first(0, |_| true), []);
        assert_eq!(first(3, |_| true), [4, 1, 3]);
        assert_eq!(first(3, |i| *i != 4), [1, 3, 0]);
        assert_eq!(first(9, |i| i % 2 == 0), [4, 0, 2]);
    }

    #[test]
    fn reserved_tokens_name_nothing() {
        let mut slab = Slab::new();
        slab.insert('a');
        for token in RESERVED_TOKENS..=SLOT_MASK {
            assert_eq!(slab.get_mut(token), None);
        }
    }
}
