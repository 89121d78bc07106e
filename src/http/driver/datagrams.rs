//! HTTP/3 in the event loop of a worker: what its driver does with QUIC.

use crate::config::Config;
use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::http::h3;
use crate::http::service::{HandlerRef, Upgrades};
use crate::http::worker_state::WorkerState;
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::Ended;
use crate::runtime::poll::Poll;
use crate::runtime::quic::{Context, Datagrams, Quic};
use crate::runtime::server_state::ServerState;
use crate::shared::id::ConnId;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The connections of a worker over QUIC, and the other workers.
pub(super) struct OverDatagrams<P, M> {
    quic: Quic<h3::Connection<P, M>>,
    handles: Vec<Arc<WorkerHandle>>,
}

/// What the event loop lends for a call.
pub(super) struct Lent<'a> {
    pub(super) control: &'a ServerState,
    pub(super) config: &'a Config,
    pub(super) poll: &'a Poll,
    pub(super) now: Instant,
    pub(super) counters: &'a WorkerCounters,
}

impl<P: HandlerRef, M: Upgrades<P::Target>> OverDatagrams<P, M> {
    pub(super) fn new(
        quic: Quic<h3::Connection<P, M>>,
        handles: Vec<Arc<WorkerHandle>>,
        poll: &Poll,
    ) -> io::Result<Self> {
        quic.watch(poll)?;
        Ok(OverDatagrams { quic, handles })
    }

    /// Calls `act` with all that QUIC needs.
    fn with<R>(
        &mut self,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
        act: impl FnOnce(&mut Quic<h3::Connection<P, M>>, &mut Context<'_, WorkerState<P, M>>) -> R,
    ) -> R {
        let (handles, counters) = (&self.handles, lent.counters);
        let most = lent.config.quic.forwarded_bytes;
        let forward = |to: u16, datagrams| {
            let handle = handles.get(usize::from(to));
            if !handle.is_some_and(|handle| handle.forward(datagrams, most)) {
                counters.datagrams_dropped.add(1);
            }
        };
        let mut context = Context {
            control: lent.control,
            config: lent.config,
            poll: lent.poll,
            now: lent.now,
            shared,
            forward: &forward,
            recover,
        };
        act(&mut self.quic, &mut context)
    }

    /// The time from the last turn until there is something to do without an event.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.quic.timeout()
    }

    /// An event of the socket with this number.
    pub(super) fn ready(
        &mut self,
        index: usize,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
    ) -> io::Result<()> {
        self.with(lent, shared, |quic, context| quic.ready(index, context))
    }

    pub(super) fn turn(
        &mut self,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
    ) -> io::Result<()> {
        match self.quic.is_due(lent.now, shared.service.now) {
            true => self.with(lent, shared, Quic::turn),
            false => Ok(()),
        }
    }

    /// Whether there is no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.quic.is_empty()
    }

    /// Carries out the command of another thread for this connection.
    pub(super) fn command(
        &mut self,
        id: ConnId,
        command: WorkerCommand,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
    ) {
        self.with(lent, shared, |quic, context| {
            quic.command(id, command, context);
        });
    }

    /// Takes datagrams that another worker has received.
    pub(super) fn take_forwarded(
        &mut self,
        datagrams: Datagrams,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
    ) {
        self.with(lent, shared, |quic, context| {
            quic.take_forwarded(datagrams, context);
        });
    }

    /// The server drains.
    pub(super) fn retire(
        &mut self,
        is_due: &dyn Fn(ConnId) -> bool,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
    ) -> io::Result<()> {
        self.with(lent, shared, |quic, context| quic.retire(is_due, context))
    }

    pub(super) fn stop(
        &mut self,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
    ) -> io::Result<()> {
        self.with(lent, shared, Quic::stop)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.quic.has_ended()
    }

    /// Closes idle connections. Returns how many.
    pub(super) fn make_room(
        &mut self,
        most: usize,
        lent: &Lent<'_>,
        shared: &mut WorkerState<P, M>,
    ) -> io::Result<usize> {
        self.with(lent, shared, |quic, context| quic.make_room(most, context))
    }

    /// Closes all connections.
    pub(super) fn finish(&mut self, lent: &Lent<'_>, shared: &mut WorkerState<P, M>) -> Ended {
        self.with(lent, shared, Quic::cut)
    }
}

/// A panic has ended the turn of a connection.
#[cold]
fn recover<P, M>(shared: &mut WorkerState<P, M>) {
    shared.service.recorder.recover();
    shared.http2.recover();
    shared.http3.recover();
}
