//! What the endpoint of QUIC does to an HTTP/3 connection.

use super::Connection;
use super::reading::{code, stream_id};
use super::{Phase, WorkerState};
use crate::http::connection_error::ConnectionError;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::http::service::{HandlerRef, Upgrades};
use crate::runtime::quic::{OverQuic, QuicEnds, Step};
use crate::shared::id::ConnId;
use crate::shared::panic_guard::Panic;
use peregrine_protocol::h3::frame::ErrorCode;
use quinn_proto::StreamEvent;

type Quic = quinn_proto::Connection;

impl<P: HandlerRef, M: Upgrades<P::Target>> Connection<P, M> {
    /// The client has opened streams.
    fn accept(&mut self, dir: quinn_proto::Dir, quic: &mut Quic) {
        while let Some(id) = quic.streams().accept(dir) {
            self.reading.readable(id.into());
        }
    }

    /// The client does not want what is sent on a stream.
    fn stopped(&mut self, id: u64, quic: &mut Quic, shared: &mut WorkerState<P, M>) {
        let is_finished = self.sending.find(id).is_some_and(|out| out.is_finished);
        self.http3
            .stopped(id, &shared.http3.limits, shared.service.now);
        // Otherwise the state machine knows the stream, and says that it has ended.
        if is_finished {
            self.sending.remove(id, &mut shared.pool);
        }
        // RFC 9000 section 3.5. It may have ended.
        let cancelled = code(ErrorCode::H3_REQUEST_CANCELLED.0);
        let _ = quic.send_stream(stream_id(id)).reset(cancelled);
    }
}

impl<P, M> OverQuic<WorkerState<P, M>> for Connection<P, M>
where
    P: HandlerRef,
    M: Upgrades<P::Target>,
{
    type Command = WorkerCommand;

    /// The control stream.
    const LASTING_STREAMS: usize = 1;

    fn connected(
        id: ConnId,
        ends: QuicEnds,
        quic: &mut Quic,
        shared: &mut WorkerState<P, M>,
    ) -> Self {
        let mut connection = Connection::new(id, ends, shared);
        connection.send_control(quic);
        connection
    }

    fn stream_event(
        &mut self,
        event: StreamEvent,
        quic: &mut Quic,
        shared: &mut WorkerState<P, M>,
    ) {
        match event {
            StreamEvent::Opened { dir } => self.accept(dir, quic),
            StreamEvent::Readable { id } => self.reading.readable(id.into()),
            StreamEvent::Writable { id } => self.sending.unblock(id.into()),
            StreamEvent::Stopped { id, .. } => self.stopped(id.into(), quic, shared),
            StreamEvent::Finished { .. } | StreamEvent::Available { .. } => {}
        }
    }

    fn command(&mut self, command: WorkerCommand, quic: &mut Quic, shared: &mut WorkerState<P, M>) {
        self.apply(command, quic, shared);
    }

    fn turn(&mut self, quic: &mut Quic, shared: &mut WorkerState<P, M>) -> Step {
        self.serve(quic, shared)
    }

    fn tick(&mut self, quic: &mut Quic, shared: &mut WorkerState<P, M>) -> Step {
        if self.phase == Phase::Serving {
            self.expire(quic, shared);
        }
        self.serve(quic, shared)
    }

    fn retire(&mut self, quic: &mut Quic, shared: &mut WorkerState<P, M>) -> Step {
        self.http3.stop(shared.service.now);
        self.serve(quic, shared)
    }

    fn stop(&mut self, quic: &mut Quic, shared: &mut WorkerState<P, M>) -> Step {
        self.http3.stop(shared.service.now);
        self.with_service(quic, shared, |service, parts| service.end_all_events(parts));
        self.serve(quic, shared)
    }

    fn lost(
        mut self,
        error: Option<&quinn_proto::ConnectionError>,
        shared: &mut WorkerState<P, M>,
    ) {
        if let Some(error) = error {
            self.report_lost(error, shared);
        }
        let unsent = |id| self.sending.queued(id).unwrap_or(0);
        shared
            .service
            .leave_all(&mut self.streams, unsent, &self.ends);
        // The entries of an access log in them are written.
        self.sending.clear(&mut shared.pool);
        self.count(shared);
    }

    #[cold]
    fn abandon(mut self, panic: &Panic, shared: &mut WorkerState<P, M>) {
        shared.service.abandon_all(&mut self.streams);
        self.sending.clear(&mut shared.pool);
        let error = ConnectionError::Internal(panic.message());
        shared.fail(&error, &self.ends);
    }

    fn held(&self) -> usize {
        let requests = self.http3.held() + self.streams.held();
        requests + self.reading.held() + self.sending.held()
    }

    fn taken(&self) -> u64 {
        self.reading.taken()
    }

    fn is_idle(&self) -> bool {
        self.http3.is_idle() && self.sending.is_empty()
    }
}
