//! Handshakes of transports: a few of them in each turn, as each takes long.

use super::{Driven, Driver, EventLoop, Fate, ThreadState, due};
use crate::metrics::WorkerCounters;
use crate::runtime::transport::Transport;
use crate::shared::id::ConnId;
use std::collections::VecDeque;

/// Steps of handshakes in one turn of the loop. A full handshake of TLS has two steps, of which one takes nearly all
/// of the time: 0.1 to 0.2 ms with an elliptic key, 1 ms with an RSA key of 2,048 bits.
const STEPS: usize = 4;

/// Connections whose handshake waits for its next step.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// They are not registered with the poller and not read, the first first.
    waiting: VecDeque<ConnId>,
    /// Steps in this turn.
    steps: usize,
}

impl<D: Driver> EventLoop<'_, D> {
    #[inline(always)]
    pub(super) fn has_handshakes(&self) -> bool {
        has_any::<D>() && !self.handshakes.waiting.is_empty()
    }

    /// Whether the next step of a handshake has to wait for a later turn. If not, it is counted.
    #[inline(always)]
    pub(super) fn postpones(&mut self, id: ConnId) -> bool {
        has_any::<D>() && self.postpones_handshake(id)
    }

    fn postpones_handshake(&mut self, id: ConnId) -> bool {
        let Some((connection, deadline)) = self.slab.entry(id) else {
            return false;
        };
        if !connection.link().is_handshaking() {
            return false;
        }
        if self.handshakes.waiting.is_empty() && self.handshakes.steps < STEPS {
            self.handshakes.steps += 1;
            return false;
        }
        connection.link().unwatch(&self.poll);
        *deadline = due(connection, self.driver.shared());
        self.handshakes.waiting.push_back(id);
        true
    }

    /// Goes on with handshakes that have waited, as far as the turn allows.
    #[inline(always)]
    pub(super) fn shake(&mut self) {
        if !has_any::<D>() {
            return;
        }
        while self.handshakes.steps < STEPS {
            let Some(id) = self.handshakes.waiting.pop_front() else {
                break;
            };
            // It may have been closed meanwhile.
            self.handshakes.steps += usize::from(self.slab.entry(id).is_some());
            self.act(id, |connection, shared| {
                connection.ready(true, false, shared)
            });
        }
        self.handshakes.steps = 0;
        let waiting = &mut self.handshakes.waiting;
        if waiting.is_empty() && waiting.capacity() > super::KEPT_ARRIVALS {
            *waiting = VecDeque::new();
        }
    }
}

/// Whether connections of this driver may have a handshake.
const fn has_any<D: Driver>() -> bool {
    <<D::Connection as Driven<D::State>>::Transport as Transport>::HAS_HANDSHAKE
}

/// What this connection says in its responses.
#[inline(always)]
pub(super) fn set_listener_fields<D: Driver>(
    connection: &mut D::Connection,
    shared: &mut D::State,
) {
    if has_any::<D>() {
        let fields = connection.link().socket.stream.listener_fields();
        shared.set_listener_fields(fields);
    }
}

/// A connection has had its turn in the middle of its handshake.
pub(super) fn count<S: ThreadState, C: Driven<S>>(
    connection: &mut C,
    fate: Fate,
    counters: &WorkerCounters,
) {
    let transport = &connection.link().socket.stream;
    match transport.handshake().is_some() {
        false if !transport.is_secure() => counters.handshakes_failed.add(1),
        false => {
            counters.handshakes.add(1);
            let is_resumed = transport.is_resumed();
            counters.handshakes_resumed.add(u64::from(is_resumed));
        }
        true if fate == Fate::Closed => counters.handshakes_failed.add(1),
        true => {}
    }
}
