//! QUIC (RFC 9000) in the event loop of a worker: sockets, connections, timers.
//!
//! `quinn-proto` is the protocol, without I/O. What runs on a connection implements [`OverQuic`]. [`Quic`] belongs to the
//! driver of a worker, which calls it for events of its sockets, for commands, and once in each turn.

mod amplification;
mod connection;
mod connection_id;
mod driven;
mod ends;
mod incoming;
mod leaving;
mod parting;
mod port;
mod sending;
mod settings;
mod socket;
mod timers;
mod turn;

pub(crate) use connection_id::ConnectionIds;
pub(crate) use driven::{OverQuic, Step};
pub(crate) use ends::QuicEnds;
pub(crate) use incoming::Datagrams;
pub(crate) use port::Port;
pub(crate) use settings::of_listener;
pub(crate) use socket::DatagramSocket;

use super::poll::Poll;
use super::server_state::ServerState;
use super::slab::Slab;
use crate::config::Config;
use crate::config::forwarded::Forwarding;
use crate::shared::id::ConnId;
use connection::Connection;
use peregrine_protocol::Seconds;
use socket::Buffers;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timers::Moments;

/// How long a connection rests whose source of a body gives nothing.
const REST: Duration = Duration::from_millis(10);

/// The connections of QUIC of a worker, and their sockets.
pub(crate) struct Quic<C> {
    /// The number of the worker.
    worker: u16,
    ids: ConnectionIds,
    /// One for each listener that speaks HTTP/3.
    ports: Vec<Port>,
    slab: Slab<Connection<C>>,
    /// The connections that have sockets of their own, in the order of their numbers behind `ports`.
    owners: Vec<ConnId>,
    moments: Moments,
    /// Connections that get a turn.
    dirty: Vec<ConnId>,
    /// Those that get one after [`REST`].
    resting: Vec<ConnId>,
    rested_at: Option<Instant>,
    /// Handshakes under way.
    handshakes: usize,
    /// Those that have begun since the last turn.
    begun: usize,
    /// The second in which the deadlines were last looked at.
    ticked: Seconds,
    /// When the clock was last looked at.
    last: Instant,
    is_stopping: bool,
    /// Connections that have ended since the stop began.
    drained: u64,
    buffers: Buffers,
    /// Datagrams that have come and are not looked at.
    come: Vec<Datagrams>,
    /// Datagrams that are about to be sent.
    scratch: Vec<u8>,
    forwarding: Option<Arc<Forwarding>>,
}

/// What the worker lends for a call.
pub(crate) struct Context<'a, S> {
    pub(crate) control: &'a ServerState,
    pub(crate) config: &'a Config,
    pub(crate) poll: &'a Poll,
    pub(crate) now: Instant,
    pub(crate) shared: &'a mut S,
    /// Gives datagrams to the worker with this number.
    pub(crate) forward: &'a dyn Fn(u16, Datagrams),
    /// Repairs the shared state after a panic.
    pub(crate) recover: fn(&mut S),
}

impl<C> Quic<C> {
    /// Nothing is watched before [`Quic::watch`].
    pub(crate) fn new(
        worker: usize,
        ports: Vec<Port>,
        forwarding: Option<Arc<Forwarding>>,
    ) -> Self {
        Quic {
            worker: worker as u16,
            ids: ports
                .first()
                .map(|port| port.ids.clone())
                .unwrap_or_default(),
            ports,
            slab: Slab::new(),
            owners: Vec::new(),
            moments: Moments::default(),
            dirty: Vec::new(),
            resting: Vec::new(),
            rested_at: None,
            handshakes: 0,
            begun: 0,
            ticked: Seconds::START,
            last: Instant::now(),
            is_stopping: false,
            drained: 0,
            buffers: Buffers::new(),
            come: Vec::new(),
            scratch: Vec::new(),
            forwarding,
        }
    }

    pub(crate) fn watch(&self, poll: &Poll) -> std::io::Result<()> {
        let mut ports = self.ports.iter().enumerate();
        ports.try_for_each(|(index, port)| port.watch(index, poll))
    }

    /// Whether [`Quic::turn`] has something to do now. Without connections it has nothing to do before the next event.
    pub(crate) fn is_due(&mut self, now: Instant, second: Seconds) -> bool {
        self.last = now;
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        !self.dirty.is_empty()
            || is_over(self.moments.first())
            || is_over(self.rested_at)
            || self.ticked != second && !self.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// The time from the last look at the clock until [`Quic::turn`] has something to do without an event.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        if !self.dirty.is_empty() {
            return Some(Duration::ZERO);
        }
        let first = self.moments.first().into_iter().chain(self.rested_at).min();
        let first = first.map(|at| at.saturating_duration_since(self.last));
        let tick = (!self.is_empty()).then_some(Duration::from_secs(1));
        first.into_iter().chain(tick).min()
    }

    fn mark(&mut self, id: ConnId) {
        if let Some(connection) = self.slab.get_mut(id) {
            if !std::mem::replace(&mut connection.is_dirty, true) {
                self.dirty.push(id);
            }
        }
    }
}
