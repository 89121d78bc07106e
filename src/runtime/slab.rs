//! The connections of one thread, by slot, with their deadlines.

use crate::shared::id::{ConnId, Slot};
use peregrine_protocol::Seconds;
use std::collections::BinaryHeap;

/// Slots that are allocated at a time. Slots never move when more are needed, so no connection waits while
/// thousands of others are copied, and no memory is taken for twice as many.
const CHUNK: usize = 256;

pub(crate) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// The number of slots, used or free.
    slots: usize,
    free: Vec<u32>,
}

/// Values are kept apart from the deadlines, so that the search for deadlines that have passed reads eight
/// bytes for each connection.
struct Chunk<T> {
    marks: Box<[Mark; CHUNK]>,
    /// `values.len() == CHUNK`
    values: Box<[Option<T>]>,
}

#[derive(Clone, Copy)]
struct Mark {
    generation: u32,
    /// The deadline; [`Seconds::NEVER`] in a free slot.
    deadline: Seconds,
}

impl Mark {
    /// The generation of the value in the slot.
    fn id(self, slot: usize) -> ConnId {
        ConnId::new(Slot::new(slot), self.generation)
    }
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab {
            chunks: Vec::new(),
            slots: 0,
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores `value`. Returns its identifier.
    pub(crate) fn insert(&mut self, value: T) -> ConnId {
        let slot = match self.free.pop() {
            Some(slot) => slot as usize,
            None => self.make_slot(),
        };
        debug_assert!(slot < Slot::COUNT);
        let chunk = &mut self.chunks[slot / CHUNK];
        chunk.values[slot % CHUNK] = Some(value);
        chunk.marks[slot % CHUNK].id(slot)
    }

    fn make_slot(&mut self) -> usize {
        let slot = self.slots;
        if slot % CHUNK == 0 {
            let mark = Mark {
                generation: 0,
                deadline: Seconds::NEVER,
            };
            self.chunks.push(Chunk {
                marks: Box::new([mark; CHUNK]),
                values: (0..CHUNK).map(|_| None).collect(),
            });
        }
        self.slots += 1;
        slot
    }

    /// The value; `None` if it was removed.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        self.entry(id).map(|(value, _)| value)
    }

    /// The value and its deadline.
    #[inline]
    pub(crate) fn entry(&mut self, id: ConnId) -> Option<(&mut T, &mut Seconds)> {
        let slot = id.slot().index();
        let chunk = self.chunks.get_mut(slot / CHUNK)?;
        let mark = &mut chunk.marks[slot % CHUNK];
        if mark.generation != id.generation() {
            return None;
        }
        let value = chunk.values.get_mut(slot % CHUNK)?.as_mut()?;
        Some((value, &mut mark.deadline))
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get_mut(id)?;
        let slot = id.slot().index();
        let chunk = &mut self.chunks[slot / CHUNK];
        let mark = &mut chunk.marks[slot % CHUNK];
        mark.generation = id.next().generation();
        mark.deadline = Seconds::NEVER;
        self.free.push(slot as u32);
        chunk.values[slot % CHUNK].take()
    }

    /// Appends the identifiers of all values with a deadline of `now` or earlier.
    pub(crate) fn due(&self, now: Seconds, into: &mut Vec<ConnId>) {
        for (first, chunk) in self.chunks() {
            let marks = chunk.marks.iter().enumerate();
            let due = marks.filter(|(_, mark)| mark.deadline <= now);
            into.extend(due.map(|(i, mark)| mark.id(first + i)));
        }
    }

    /// Appends the identifiers of the `most` values with the earliest deadlines, of all for which `which`
    /// holds.
    pub(crate) fn first_due(
        &self,
        most: usize,
        which: impl Fn(&T) -> bool,
        into: &mut Vec<ConnId>,
    ) {
        self.first_by(most, |due, value| which(value).then_some(due), into);
    }

    /// Appends the identifiers of the `most` values with the lowest ranks, in their order. `place` gets the
    /// deadline and the value, and returns the rank; `None` leaves the value out.
    pub(crate) fn first_by<K: Ord>(
        &self,
        most: usize,
        place: impl Fn(Seconds, &T) -> Option<K>,
        into: &mut Vec<ConnId>,
    ) {
        // A heap with the highest rank on top.
        let mut first = BinaryHeap::<(K, ConnId)>::with_capacity(most + 1);
        for (id, deadline, value) in self.used() {
            let Some(place) = place(deadline, value) else {
                continue;
            };
            if first.len() == most && first.peek().is_none_or(|last| place >= last.0) {
                continue;
            }
            first.push((place, id));
            if first.len() > most {
                first.pop();
            }
        }
        into.extend(first.into_sorted_vec().into_iter().map(|(_, id)| id));
    }

    /// Appends the identifiers of all values for which `which` holds.
    pub(crate) fn append_if(&self, which: impl Fn(ConnId, &T) -> bool, into: &mut Vec<ConnId>) {
        let wanted = self.used().filter(|(id, _, value)| which(*id, value));
        into.extend(wanted.map(|(id, ..)| id));
    }

    /// The identifiers of all values.
    pub(crate) fn tokens(&self) -> Vec<ConnId> {
        let mut ids = Vec::new();
        self.append_tokens(&mut ids);
        ids
    }

    pub(crate) fn append_tokens(&self, into: &mut Vec<ConnId>) {
        into.extend(self.used().map(|(id, ..)| id));
    }

    /// All values, each with its identifier and deadline.
    fn used(&self) -> impl Iterator<Item = (ConnId, Seconds, &T)> {
        self.chunks().flat_map(|(first, chunk)| {
            let slots = chunk.marks.iter().zip(&*chunk.values).enumerate();
            slots.filter_map(move |(i, (mark, value))| {
                Some((mark.id(first + i), mark.deadline, value.as_ref()?))
            })
        })
    }

    /// The chunks, each with the number of its first slot.
    fn chunks(&self) -> impl Iterator<Item = (usize, &Chunk<T>)> {
        (0..).step_by(CHUNK).zip(&self.chunks)
    }
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
        assert_eq!(slab.slots, 1);
    }

    #[test]
    fn deadlines() {
        let mut slab = Slab::new();
        let count = 2 * CHUNK + 2;
        let mut tokens: Vec<ConnId> = (0..count).map(|i| slab.insert(i)).collect();
        for (i, &token) in tokens.iter().enumerate() {
            let (value, deadline) = slab.entry(token).expect("there");
            assert_eq!(*value, i);
            *deadline = Seconds::of(10 * i as u64);
        }
        let last = Seconds::of(10 * (count as u64 - 2));
        for i in [CHUNK, 1] {
            assert_eq!(slab.remove(tokens[i]), Some(i));
            tokens.remove(i);
        }
        let mut due = Vec::new();
        slab.due(last, &mut due);
        assert_eq!(due, tokens[..tokens.len() - 1]);
        assert_eq!(slab.tokens(), tokens);
        assert_eq!(slab.len(), count - 2);
    }

    /// Values do not move when the slab grows.
    #[test]
    fn values_stay_where_they_are() {
        let mut slab = Slab::new();
        let first = slab.insert(0);
        let place: *const usize = slab.get_mut(first).expect("there");
        let last = (1..=3 * CHUNK).map(|i| slab.insert(i)).last();
        assert_eq!(slab.get_mut(last.expect("some")), Some(&mut (3 * CHUNK)));
        assert!(std::ptr::eq(slab.get_mut(first).expect("there"), place));
    }

    #[test]
    fn the_earliest_deadlines_of_some_values() {
        let mut slab = Slab::new();
        let deadlines = [7, 3, 9, 3, 1, 8, 2];
        let tokens: Vec<ConnId> = (0..7).map(|i| slab.insert(i)).collect();
        for (&token, deadline) in tokens.iter().zip(deadlines) {
            *slab.entry(token).expect("there").1 = Seconds::of(deadline);
        }
        slab.remove(tokens[6]);
        let first = |most, which: fn(&usize) -> bool| {
            let mut first = Vec::new();
            slab.first_due(most, which, &mut first);
            let place = |token| tokens.iter().position(|&t| t == token).expect("ours");
            first.into_iter().map(place).collect::<Vec<_>>()
        };
        assert!(first(0, |_| true).is_empty());
        assert_eq!(first(3, |_| true), [4, 1, 3]);
        assert_eq!(first(3, |i| *i != 4), [1, 3, 0]);
        assert_eq!(first(9, |i| i % 2 == 0), [4, 0, 2]);
    }

    #[test]
    fn reserved_slots_hold_nothing() {
        let mut slab = Slab::new();
        slab.insert('a');
        for slot in Slot::COUNT..Slot::COUNT + Slot::RESERVED {
            assert_eq!(slab.get_mut(ConnId::new(Slot::new(slot), 0)), None);
        }
    }
}
