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
    control: Arc<ServerState>,
    config: Arc<Config>,
    /// Connections that are to be given to each worker.
    batches: Vec<Vec<Accepted>>,
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
            batches: control.workers.iter().map(|_| Vec::new()).collect(),
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
            listeners.close((control, poll), |accepted| {
                let worker = choose(control, config, turn);
                batches[worker].push(accepted);
            })
        };
        self.hand_over();
        result.and(closed)
    }

    fn accept_until_stop(&mut self) -> io::Result<()> {
        let mut events = Events::new();
        self.listeners.watch(true, &self.poll)?;
        while !self.control.is_stopping() {
            let timeout = self.listeners.timeout(&self.control);
            self.poll.wait(&mut events, timeout)?;
            for ready in events.iter() {
                if let Some(index) = self.listeners.index(ready.token) {
                    self.accept(index)?;
                }
            }
            self.listeners.resume(&self.control, &self.poll)?;
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        let Acceptor {
            poll,
            listeners,
            control,
            config,
            batches,
            turn,
        } = self;
        listeners.accept(index, BATCH, (control, config, poll), |accepted| {
            let worker = choose(control, config, turn);
            batches[worker].push(accepted);
        })?;
        self.hand_over();
        Ok(())
    }

    /// Wakes each worker once for all its connections.
    fn hand_over(&mut self) {
        for (worker, batch) in self.control.workers.iter().zip(&mut self.batches) {
            if !batch.is_empty() && worker.mailbox.put(batch.drain(..)) {
                worker.waker.wake();
            }
        }
    }
}

/// The worker for the next connection: the one with the fewest connections. Of several, the one that is next
/// in turn.
fn choose(control: &ServerState, config: &Config, turn: &mut usize) -> usize {
    let count = control.workers.len();
    let mut workers = (0..count).map(|i| (*turn + i) % count);
    let load = |&worker: &usize| control.workers[worker].load();
    let chosen = match config.balance {
        Balance::LeastConnections => workers.min_by_key(load),
        Balance::RoundRobin => workers.next(),
    };
    let chosen = chosen.expect("at least one worker");
    *turn = chosen + 1;
    control.workers[chosen]
        .given
        .fetch_add(1, Ordering::Relaxed);
    chosen
}
