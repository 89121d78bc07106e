//! Any order of messages, reads, losses and clients: what each client gets has no gap and nothing twice, or it is told.

use super::*;

const LIMITS: TrackLimits = TrackLimits {
    messages: 4,
    tail_bytes: 4,
};

/// What a client has got.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Message(u64),
    /// Served with this many messages before, or with the notice that some are lost.
    Served(Option<usize>, Option<Position>),
    Lost(Position),
}

#[derive(Default)]
struct Clients {
    got: Vec<Vec<Got>>,
    subscribed: Vec<usize>,
}

impl Clients {
    fn new_client(&mut self) -> usize {
        self.got.push(Vec::new());
        self.got.len() - 1
    }

    fn tell(&mut self, got: &Got) {
        for &client in &self.subscribed {
            self.got[client].push(got.clone());
        }
    }
}

impl Outlet<usize, ()> for Clients {
    fn publish(&mut self, message: &Kept<()>) {
        self.tell(&Got::Message(message.offset));
    }

    fn lost(&mut self, position: Position) {
        self.tell(&Got::Lost(position));
    }

    fn serve(&mut self, client: usize, missed: Option<Vec<&Kept<()>>>, at: Option<Position>) {
        assert!(!self.subscribed.contains(&client), "served twice");
        let count = missed.as_ref().map(Vec::len);
        let missed = missed.into_iter().flatten();
        self.got[client].extend(missed.map(|kept| Got::Message(kept.offset)));
        self.got[client].push(Got::Served(count, at));
        self.subscribed.push(client);
    }
}

fn kept(offset: u64) -> Kept<()> {
    Kept {
        offset,
        bytes: 1,
        forms: (),
    }
}

fn at(epoch: u64, offset: u64) -> Position {
    Position { epoch, offset }
}

/// A log that keeps its last messages.
struct TestLog {
    last: Position,
    first: u64,
}

impl TestLog {
    const KEPT: u64 = 6;

    fn append(&mut self) -> Position {
        self.last.offset += 1;
        self.first = self
            .first
            .max(self.last.offset.saturating_sub(TestLog::KEPT - 1));
        self.last
    }

    /// It begins anew.
    fn reset(&mut self) {
        self.last = at(self.last.epoch + 1, 0);
        self.first = 1;
    }

    fn since(&self, start: Start, limit: usize) -> Found<()> {
        let last = self.last;
        let available = last.offset + 1 - self.first;
        let count = match start {
            Start::Now => 0,
            Start::Last(most) => (most.min(limit) as u64).min(available),
            Start::After(seen) => match last.offset.checked_sub(seen.offset) {
                Some(missed)
                    if seen.epoch == last.epoch && missed <= available.min(limit as u64) =>
                {
                    missed
                }
                _ => return Found::Lost(last),
            },
        };
        let entries = last.offset + 1 - count..=last.offset;
        Found::Recovered(entries.map(kept).collect(), last)
    }
}

struct World {
    log: TestLog,
    track: Track<usize, ()>,
    clients: Clients,
    starts: Vec<Start>,
    /// On their way to the track.
    feed: VecDeque<Position>,
    /// Reads that are not made yet, and those that are on their way back.
    asked: Vec<Request>,
    found: Vec<(Request, Result<Found<()>, LogError>)>,
}

impl World {
    fn new() -> World {
        World {
            log: TestLog {
                last: at(1, 0),
                first: 1,
            },
            track: Track::new(LIMITS),
            clients: Clients::default(),
            starts: Vec::new(),
            feed: VecDeque::new(),
            asked: Vec::new(),
            found: Vec::new(),
        }
    }

    fn subscribe(&mut self, start: Start) {
        let client = self.clients.new_client();
        self.starts.push(start);
        let request = self.track.subscribe(client, start, true, &mut self.clients);
        self.asked.extend(request.expect("it may wait"));
    }

    fn deliver(&mut self) {
        if let Some(position) = self.feed.pop_front() {
            let message = kept(position.offset);
            let request = self.track.deliver(position, message, &mut self.clients);
            self.asked.extend(request);
        }
    }

    fn ask(&mut self, which: usize, is_working: bool) {
        let request = self.asked.swap_remove(which);
        let found = match is_working {
            true => Ok(self.log.since(request.start, LIMITS.messages)),
            false => Err(LogError::Unavailable),
        };
        self.found.push((request, found));
    }

    fn answer(&mut self, which: usize) {
        let (request, found) = self.found.remove(which);
        let requests = self.track.read(request, found, &mut self.clients);
        self.asked.extend(requests);
    }

    fn interrupt(&mut self) {
        self.feed.clear();
        self.asked.extend(self.track.interrupted());
    }

    /// Nothing fails any more, and the log says so.
    fn settle(&mut self) {
        self.interrupt();
        for round in 0.. {
            assert!(round < 1000, "reads without an end");
            while !self.found.is_empty() {
                self.answer(0);
            }
            match self.asked.is_empty() {
                true => break,
                false => self.ask(0, true),
            }
        }
        assert!(self.track.is_quiet());
    }

    /// No client has a gap or a message twice; all know where the topic is.
    fn check(&self) {
        for (client, got) in self.clients.got.iter().enumerate() {
            let start = self.starts[client];
            let mut last = match start {
                Start::After(position) => Some(position),
                _ => None,
            };
            let mut is_served = false;
            for (n, got_now) in got.iter().enumerate() {
                match got_now {
                    Got::Message(offset) => {
                        if let Some(last) = &mut last {
                            assert_eq!(*offset, last.offset + 1, "{start:?} {got:?}");
                            last.offset = *offset;
                        }
                    }
                    Got::Served(Some(count), position) => {
                        let position = position.expect("the position that it was served at");
                        assert_eq!(*count, n, "{got:?}");
                        match start {
                            Start::Last(most) => {
                                let there = usize::try_from(position.offset).expect("small");
                                let due = most.min(LIMITS.messages).min(there);
                                assert_eq!(n, due, "{start:?} {got:?}");
                            }
                            Start::Now => assert_eq!(n, 0),
                            Start::After(_) => assert_eq!(last, Some(position), "{got:?}"),
                        }
                        if let Some(Got::Message(offset)) = got[..n].last() {
                            assert_eq!(*offset, position.offset);
                        }
                        (last, is_served) = (Some(position), true);
                    }
                    Got::Served(None, position) => (last, is_served) = (*position, true),
                    Got::Lost(position) => last = Some(*position),
                }
            }
            if is_served && self.track.is_quiet() && self.feed.is_empty() && last.is_some() {
                assert_eq!(last, self.track.position, "{got:?}");
            }
        }
    }
}

/// Numbers from a seed (an xorshift generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn no_order_of_events_makes_a_gap_or_a_repetition() {
    let mut outcomes = [0_u64; 4];
    for seed in 1..4000 {
        let mut numbers = Numbers(seed * 0x9e37_79b9);
        let mut world = World::new();
        for _ in 0..60 {
            match numbers.below(20) {
                0..6 => {
                    let position = world.log.append();
                    // Some are lost on their way. Then the log says so, sooner or later.
                    if numbers.below(8) > 0 {
                        world.feed.push_back(position);
                    }
                }
                6..11 => world.deliver(),
                11..13 => {
                    let last = world.log.last;
                    let start = match numbers.below(8) {
                        0 => Start::Now,
                        1 | 2 => Start::Last(numbers.below(8) as usize),
                        3 => Start::After(at(last.epoch, last.offset + numbers.below(3))),
                        4 => Start::After(at(last.epoch - 1, last.offset)),
                        _ => {
                            let missed = numbers.below(7).min(last.offset);
                            Start::After(at(last.epoch, last.offset - missed))
                        }
                    };
                    world.subscribe(start);
                }
                13..16 if !world.asked.is_empty() => {
                    let which = numbers.below(world.asked.len() as u64) as usize;
                    world.ask(which, numbers.below(10) > 0);
                }
                16..19 if !world.found.is_empty() => {
                    let which = numbers.below(world.found.len() as u64) as usize;
                    world.answer(which);
                }
                19 => match numbers.below(10) {
                    0 => {
                        world.log.reset();
                        world.interrupt();
                    }
                    1 => world.interrupt(),
                    2 => world.track.age(),
                    _ => {}
                },
                _ => {}
            }
            world.check();
            assert!(world.track.tail.len() <= LIMITS.messages);
            let bytes: usize = world.track.tail.iter().map(|kept| kept.bytes).sum();
            assert_eq!(bytes, world.track.tail_bytes);
            assert!(world.track.held.len() <= LIMITS.messages + 1);
        }
        world.settle();
        world.check();
        assert_eq!(world.clients.subscribed.len(), world.clients.got.len());
        if let Some(position) = world.track.position {
            assert_eq!(position, world.log.last);
        }
        for got in world.clients.got.iter().flatten() {
            outcomes[match got {
                Got::Served(None, _) => 0,
                Got::Served(Some(0), _) => 1,
                Got::Served(Some(_), _) => 2,
                Got::Lost(_) => 3,
                Got::Message(_) => continue,
            }] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 1000), "{outcomes:?}");
}

#[test]
fn many_clients_at_one_position_cost_one_read() {
    let mut world = World::new();
    for _ in 0..4 {
        world.log.append();
    }
    for _ in 0..1000 {
        for offset in 1..=4 {
            world.subscribe(Start::After(at(1, offset)));
        }
    }
    let mut reads = 0;
    while !world.asked.is_empty() {
        world.ask(0, true);
        world.answer(0);
        reads += 1;
    }
    // All positions after the first are in what it has read.
    assert_eq!(reads, 1);
    world.subscribe(Start::After(at(1, 0)));
    assert_eq!(world.asked.len(), 1);
    world.ask(0, true);
    world.answer(0);
    world.subscribe(Start::After(at(1, 0)));
    assert!(world.asked.is_empty(), "it is kept");
    world.check();
    let lost = world.clients.got.iter().flatten();
    assert_eq!(
        lost.filter(|got| matches!(got, Got::Served(None, _)))
            .count(),
        0
    );
}

/// A client that makes positions up cannot make the server read for each.
#[test]
fn invented_positions_cost_few_reads() {
    let mut world = World::new();
    for _ in 0..20 {
        world.log.append();
    }
    world.subscribe(Start::Now);
    world.ask(0, true);
    world.answer(0);
    let mut reads = 0;
    for n in 0..1000 {
        world.subscribe(Start::After(at(1, 20 + n)));
        world.subscribe(Start::After(at(2 + n, 7)));
        world.subscribe(Start::After(at(1, n % 20)));
    }
    while !world.asked.is_empty() {
        world.ask(0, true);
        world.answer(0);
        reads += 1;
    }
    assert!(reads <= 2 + LIMITS.messages, "{reads}");
    assert_eq!(world.clients.subscribed.len(), 3001);
    world.check();
}

/// Messages that come while the last ones are read are not taken for the first ones of the topic.
#[test]
fn a_read_of_the_last_messages_meets_new_ones() {
    let mut world = World::new();
    for _ in 0..2 {
        world.log.append();
    }
    world.subscribe(Start::Now);
    world.settle();
    world.subscribe(Start::Last(3));
    world.log.append();
    world.log.append();
    world.settle();
    world.subscribe(Start::Last(4));
    world.settle();
    world.check();
    assert_eq!(world.clients.got[2].len(), 5, "{:?}", world.clients.got);
}

/// One that need not wait is served, however many others do.
#[test]
fn a_client_that_must_not_wait_is_given_back() {
    let mut world = World::new();
    let positions = [1, 2, 3, 4, 5, 6].map(|_| world.log.append());
    let mut refused = 0;
    let mut subscribe = |world: &mut World, start| {
        let (track, clients) = (&mut world.track, &mut world.clients);
        refused += usize::from(track.subscribe(7, start, false, clients).is_err());
        (refused, world.track.pending())
    };
    assert_eq!(
        subscribe(&mut world, Start::Now),
        (1, 0),
        "no read was made"
    );
    world.subscribe(Start::Now);
    assert_eq!(world.track.pending(), 1);
    assert_eq!(subscribe(&mut world, Start::Now), (2, 1), "it is made");
    world.settle();
    let behind = Start::After(positions[3]);
    let ahead = Start::After(at(1, 7));
    assert_eq!(subscribe(&mut world, behind), (3, 0), "not in memory");
    assert_eq!(subscribe(&mut world, ahead), (4, 0), "not known");
    assert_eq!(subscribe(&mut world, Start::Last(1)), (5, 0));
    world.subscribe(behind);
    world.subscribe(behind);
    assert_eq!(world.track.pending(), 2);
    world.settle();
    world.clients.got.resize(8, Vec::new());
    assert_eq!(subscribe(&mut world, behind), (5, 0), "in memory now");
    assert_eq!(world.clients.got[7].len(), 3);
}

/// The read is ahead of the feed: the client waits until the others have got what is between.
#[test]
fn the_last_messages_may_be_ahead_of_the_feed() {
    let mut world = World::new();
    world.log.append();
    world.subscribe(Start::Now);
    world.settle();
    for _ in 0..4 {
        world.log.append();
    }
    world.subscribe(Start::Last(2));
    while !world.asked.is_empty() {
        world.ask(0, true);
        world.answer(0);
    }
    world.check();
    let offsets = [2, 3, 4, 5].map(Got::Message);
    assert_eq!(world.clients.got[0][1..], offsets);
    assert_eq!(world.clients.got[1][..2], offsets[2..]);
}

#[test]
fn the_last_messages_are_as_many_as_there_are() {
    let mut world = World::new();
    let last = |world: &mut World, most| {
        world.subscribe(Start::Last(most));
        while !world.asked.is_empty() {
            world.ask(0, true);
            world.answer(0);
        }
        world.check();
        world.clients.got.last().expect("a client").len() - 1
    };
    assert_eq!(last(&mut world, 3), 0);
    for _ in 0..2 {
        let position = world.log.append();
        world.feed.push_back(position);
        world.deliver();
    }
    assert_eq!([1, 2, 3].map(|most| last(&mut world, most)), [1, 2, 2]);
    for _ in 0..6 {
        let position = world.log.append();
        world.feed.push_back(position);
        world.deliver();
    }
    assert_eq!(
        [0, 3, 4, 5].map(|most| last(&mut world, most)),
        [0, 3, 4, 4]
    );
    world.track.age();
    world.track.age();
    assert_eq!(world.track.tail.len(), 0);
    assert_eq!(last(&mut world, 4), 4);
}
