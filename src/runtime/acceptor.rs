//! Accept threads.

use super::accept::{BATCH, Listeners};
use super::listener::{Listener, ListenerId};
use super::poll::{Events, Poll};
use super::server_state::{Accepted, ServerState};
use crate::config::{Balance, Config};
use std::io;
use std::sync::{Arc, atomic::Ordering};

/// A thread that hands connections to the workers.
pub(crate) struct Acceptor {
    poll: Poll,
    listeners: Listeners,
    batches: Batches,
}

/// Accepted connections that are not handed over yet.
struct Batches {
    control: Arc<ServerState>,
    config: Arc<Config>,
    /// The connections for each worker.
    of_workers: Vec<Vec<Accepted>>,
    turn: usize,
}

impl Acceptor {
    pub(crate) fn new(
        poll: Poll,
        listeners: Vec<(ListenerId, Listener)>,
        control: Arc<ServerState>,
        config: Arc<Config>,
    ) -> Acceptor {
        Acceptor {
            poll,
            listeners: Listeners::new(listeners),
            batches: Batches {
                of_workers: control.workers.iter().map(|_| Vec::new()).collect(),
                control,
                config,
                turn: 0,
            },
        }
    }

    /// Runs until the server stops.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let control = self.batches.control.clone();
        let _accepting = control.acceptor_starts();
        let result = self.accept_until_stop(&control);
        let (batches, shop) = (&mut self.batches, (&*control, &self.poll));
        let closed = self.listeners.close(shop, |accepted| batches.add(accepted));
        batches.hand_over();
        result.and(closed)
    }

    fn accept_until_stop(&mut self, control: &ServerState) -> io::Result<()> {
        let mut events = Events::new();
        let config = self.batches.config.clone();
        self.listeners.watch(true, &self.poll)?;
        while !control.is_stopping() {
            let timeout = self.listeners.timeout(control);
            self.poll.wait(&mut events, timeout)?;
            for ready in events.iter() {
                let (batches, shop) = (&mut self.batches, (control, &*config, &self.poll));
                let take = |accepted| batches.add(accepted);
                self.listeners.ready(ready.token, BATCH, shop, take)?;
                batches.hand_over();
            }
            self.listeners.resume(control, &self.poll)?;
        }
        Ok(())
    }
}

impl Batches {
    fn add(&mut self, accepted: Accepted) {
        let worker = self.choose();
        self.of_workers[worker].push(accepted);
    }

    /// The worker for the next connection: the one with the fewest connections. Of several, the one that is
    /// next in turn.
    fn choose(&mut self) -> usize {
        let all = &self.control.workers;
        let mut workers = (0..all.len()).map(|i| (self.turn + i) % all.len());
        let load = |&worker: &usize| all[worker].load();
        let chosen = match self.config.balance {
            Balance::LeastConnections => workers.min_by_key(load),
            Balance::RoundRobin => workers.next(),
        };
        let chosen = chosen.expect("at least one worker");
        self.turn = chosen + 1;
        all[chosen].given.fetch_add(1, Ordering::Relaxed);
        chosen
    }

    /// Wakes each worker once for all its connections.
    fn hand_over(&mut self) {
        for (worker, batch) in self.control.workers.iter().zip(&mut self.of_workers) {
            if !batch.is_empty() && worker.mailbox.put(batch.drain(..)) {
                worker.waker.wake();
            }
        }
    }
}
