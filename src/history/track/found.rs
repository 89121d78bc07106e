//! What a read of a track has found.

use super::{Kept, Outlet, Position, Request, Start, State, Track, Waiting};

impl<C, R: Clone> Track<C, R> {
    /// Takes what a read has found, and serves those that wait for it.
    pub(super) fn absorb(
        &mut self,
        request: &Request,
        entries: Vec<Kept<R>>,
        last: Position,
        clients: Vec<C>,
        out: &mut impl Outlet<C, R>,
    ) -> Option<Request> {
        let is_first = self.position.is_none() && !self.is_blind;
        match self.position {
            None if is_first => self.position = Some(last),
            // Those that are subscribed already do not know where they are.
            None => self.lose(last, out),
            Some(at) if at.epoch != last.epoch => self.lose(last, out),
            Some(_) => {}
        }
        for entry in &entries {
            let at = self.position.map_or(0, |at| at.offset);
            if Some(entry.offset) == at.checked_add(1) {
                self.publish(entry.clone(), out);
            }
        }
        let at = self.position.unwrap_or(last);
        let asked = match request.start {
            Start::Last(most) => Some(most),
            _ => None,
        };
        if at.offset < last.offset {
            match asked {
                // The log has not given all that it should.
                _ if request.is_main => self.lose(last, out),
                // The subscribers have not got the messages before those that were found.
                Some(_) => return self.catch_up(request.start, clients, at),
                None => {}
            }
        }
        let missed = self.missed(&entries, last, asked);
        for client in clients {
            out.serve(client, missed.clone(), self.position);
        }
        let is_all = asked.is_some_and(|most| entries.len() < most);
        self.extend_tail(entries, last.offset, is_all);
        None
    }

    /// These clients wait until the subscribers have got what a read has shown to be there.
    fn catch_up(&mut self, start: Start, clients: Vec<C>, at: Position) -> Option<Request> {
        let waiting = clients.into_iter().map(|client| Waiting {
            client,
            start,
            is_late: false,
        });
        self.waiting.extend(waiting);
        (self.state != State::Reading).then(|| self.read_on(at))
    }

    /// What a client gets that has waited for a read: what was found, and what has come since. `None` if some of it is not kept
    /// any more. `most`: it wants as many of the last ones.
    fn missed<'a>(
        &'a self,
        entries: &'a [Kept<R>],
        last: Position,
        most: Option<usize>,
    ) -> Option<Vec<&'a Kept<R>>> {
        let at = self.position.filter(|at| at.epoch == last.epoch)?;
        let newer = self.tail.iter().filter(|kept| kept.offset > last.offset);
        let count = newer.clone().count();
        let is_complete = count as u64 == at.offset.saturating_sub(last.offset);
        if !is_complete && most.is_none_or(|most| most > count) {
            return None;
        }
        let found = entries.iter().filter(|entry| entry.offset <= at.offset);
        let all: Vec<_> = found.chain(newer).collect();
        let skipped = most.map_or(0, |most| all.len().saturating_sub(most));
        Some(all[skipped..].to_vec())
    }

    /// Messages before those of the tail, so that the next client at the same position needs no read.
    /// `end` is where the read ended.
    fn extend_tail(&mut self, old: Vec<Kept<R>>, end: u64, is_all: bool) {
        let Some(at) = self.position else { return };
        let next = at.offset.saturating_add(1);
        let mut first = self.tail.front().map_or(next, |kept| kept.offset);
        // What came after the read may have been dropped.
        let mut is_all = is_all && first <= end.saturating_add(1);
        for entry in old.into_iter().rev() {
            if entry.offset >= first {
                continue;
            }
            let has_room = self.tail.len() < self.limits.messages
                && self.tail_bytes + entry.bytes <= self.limits.tail_bytes;
            if entry.offset + 1 != first || !has_room {
                is_all = false;
                break;
            }
            first = entry.offset;
            self.tail_bytes += entry.bytes;
            self.tail.push_front(entry);
        }
        self.is_whole |= is_all;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Found, TrackLimits};
    use super::*;

    struct Nowhere;

    impl Outlet<(), ()> for Nowhere {
        fn publish(&mut self, _: &Kept<()>) {}

        fn lost(&mut self, _: Position) {}

        fn serve(&mut self, (): (), _: Option<Vec<&Kept<()>>>, _: Option<Position>) {}
    }

    /// A log on another machine may say anything.
    #[test]
    fn the_largest_offset_is_no_overflow() {
        let mut track = Track::new(TrackLimits {
            messages: 4,
            tail_bytes: 4,
        });
        let request = track.subscribe((), Start::Last(4), true, &mut Nowhere);
        let request = request.expect("it may wait").expect("a read");
        let last = Position {
            epoch: 1,
            offset: u64::MAX,
        };
        let found = Ok(Found::Recovered(Vec::new(), last));
        assert_eq!(track.read(request, found, &mut Nowhere), []);
        assert_eq!(track.position, Some(last));
    }
}
