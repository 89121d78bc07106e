//! Taking connections from listeners, and the threads that do nothing else.

use super::control::{Accepted, Control};
use super::listener::Listener;
use super::poll::{Events, Interest, Poll};
use super::slab::RESERVED_TOKENS;
use crate::config::{Balance, Config};
use crate::log::event;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections taken before anything else is done.
const BATCH: usize = 256;

/// How long nobody is accepted when the process is out of descriptors or all workers are full.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(50);

/// Why accepting ended for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Nobody is waiting, or the batch is full: the listener will say when there is more.
    Drained,
    /// Out of descriptors or memory: try again after [`BACK_OFF`].
    Exhausted,
}

/// The listeners of one thread, all registered or none.
pub(crate) struct Listeners {
    list: Vec<Listener>,
    watched: bool,
}

impl Listeners {
    pub(crate) fn new(list: Vec<Listener>) -> Listeners {
        Listeners {
            list,
            watched: false,
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Starts to listen for connections, or stops.
    pub(crate) fn watch(&mut self, on: bool, poll: &Poll) -> io::Result<()> {
        if self.watched != on {
            self.watched = on;
            for (i, listener) in self.list.iter().enumerate() {
                match on {
                    true => poll.add(listener, RESERVED_TOKENS + i, Interest::Read)?,
                    false => poll.remove(listener)?,
                }
            }
        }
        Ok(())
    }

    /// The listener that an event's token names.
    pub(crate) fn index(&self, token: usize) -> Option<usize> {
        token
            .checked_sub(RESERVED_TOKENS)
            .filter(|&i| i < self.list.len())
    }

    /// Renews interest where the system needs that.
    pub(crate) fn renew(&self, index: usize, poll: &Poll) -> io::Result<()> {
        match poll.is_oneshot() && self.watched {
            true => poll.modify(&self.list[index], RESERVED_TOKENS + index, Interest::Read),
            false => Ok(()),
        }
    }

    /// Takes up to `most` connections of one listener.
    pub(crate) fn accept(
        &self,
        index: usize,
        most: usize,
        config: &Config,
        mut take: impl FnMut(Accepted),
    ) -> Pause {
        let mut taken = 0;
        while taken < most {
            match self.list[index].accept(config) {
                Ok((stream, peer)) => {
                    take(Accepted { stream, peer });
                    taken += 1;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Pause::Drained,
                    // It is one connection that failed, or a signal that came between.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::PermissionDenied => taken += 1,
                    _ => {
                        event!(Warn, "accepting pauses: {error}");
                        return Pause::Exhausted;
                    }
                },
            }
        }
        Pause::Drained
    }

    /// Takes those who are already connected, as they know of no reason why they should not be,
    /// and closes; or `leaves` them to someone else.
    pub(crate) fn close(
        &mut self,
        poll: &Poll,
        config: &Config,
        leaves: bool,
        mut take: impl FnMut(Accepted),
    ) -> io::Result<()> {
        self.watch(false, poll)?;
        let backlog = usize::try_from(config.backlog).unwrap_or(0).max(BATCH);
        let taken = if leaves { 0 } else { self.list.len() };
        for index in 0..taken {
            self.accept(index, backlog, config, &mut take);
        }
        self.list.clear();
        Ok(())
    }
}

/// A thread that hands connections to the workers.
pub(crate) struct Acceptor {
    poll: Poll,
    listeners: Listeners,
    control: Arc<Control>,
    config: Arc<Config>,
    /// What is on its way to each worker.
    batches: Vec<Vec<Accepted>>,
    turn: usize,
}

impl Acceptor {
    pub(crate) fn new(
        poll: Poll,
        listeners: Vec<Listener>,
        control: Arc<Control>,
        config: Arc<Config>,
    ) -> Acceptor {
        Acceptor {
            poll,
            listeners: Listeners::new(listeners),
            batches: control.seats.iter().map(|_| Vec::new()).collect(),
            control,
            config,
            turn: 0,
        }
    }

    /// Runs until the server stops.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let shared = self.control.clone();
        let _accepting = shared.acceptor_starts();
        let result = self.accept_until_stop();
        let closed = {
            let Acceptor {
                poll,
                listeners,
                control,
                config,
                batches,
                turn,
            } = &mut self;
            listeners.close(poll, config, control.leaves_backlog(), |accepted| {
                let seat = choose(control, config, turn);
                batches[seat].push(accepted);
            })
        };
        self.hand_over();
        result.and(closed)
    }

    fn accept_until_stop(&mut self) -> io::Result<()> {
        let mut events = Events::new();
        self.listeners.watch(true, &self.poll)?;
        while !self.control.is_stopping() {
            let timeout = (!self.listeners.is_watched()).then_some(BACK_OFF);
            self.poll.wait(&mut events, timeout)?;
            self.listeners.watch(true, &self.poll)?;
            for ready in events.iter() {
                if let Some(index) = self.listeners.index(ready.token) {
                    self.accept(index)?;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        let Acceptor {
            listeners,
            control,
            config,
            batches,
            turn,
            ..
        } = self;
        let most = room(control, config).min(BATCH as u64) as usize;
        let pause = listeners.accept(index, most, config, |accepted| {
            let seat = choose(control, config, turn);
            batches[seat].push(accepted);
        });
        if pause == Pause::Exhausted || most == 0 {
            listeners.watch(false, &self.poll)?;
        }
        listeners.renew(index, &self.poll)?;
        self.hand_over();
        Ok(())
    }

    /// One wake-up for all that goes to one worker.
    fn hand_over(&mut self) {
        for (seat, batch) in self.control.seats.iter().zip(&mut self.batches) {
            if !batch.is_empty() && seat.mailbox.put(batch.drain(..)) {
                seat.waker.wake();
            }
        }
    }
}

/// How many more connections the workers take in all.
fn room(control: &Control, config: &Config) -> u64 {
    let most = config.limits.connections_per_worker as u64;
    control
        .seats
        .iter()
        .map(|seat| most.saturating_sub(seat.load()))
        .sum()
}

/// The worker for the next connection: the one whose turn it is, or the one with the fewest, those
/// that are behind it in turn coming first.
fn choose(control: &Control, config: &Config, turn: &mut usize) -> usize {
    let count = control.seats.len();
    let most = config.limits.connections_per_worker as u64;
    let seats = (0..count).map(|i| (*turn + i) % count);
    let load = |&seat: &usize| control.seats[seat].load();
    let chosen = match config.balance {
        Balance::LeastConnections => seats.min_by_key(load),
        Balance::RoundRobin => seats.min_by_key(|seat| load(seat) >= most),
    };
    let chosen = chosen.expect("at least one worker");
    *turn = chosen + 1;
    control.seats[chosen].given.fetch_add(1, Ordering::Relaxed);
    chosen
}
