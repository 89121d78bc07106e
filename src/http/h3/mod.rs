//! An HTTP/3 connection: its streams of QUIC, its state, and what an event does to them.
//!
//! This is the only code that drives the state machine of HTTP/3. It mirrors [`super::h2`]. It knows connections of
//! QUIC, and no sockets: `runtime::quic` has those.

mod driven;
mod machine;
mod reading;
mod sending;
#[cfg(test)]
mod tests;
mod turn;

use super::connection_error::ConnectionError;
use super::service::{HandlerRef, Service, Upgrades};
use super::worker_state::WorkerState;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::http::multiplexed::Parts;
use crate::http::multiplexed::streams::Streams;
use crate::runtime::quic::{QuicEnds, Step};
use crate::shared::id::ConnId;
use bytes::Bytes;
use machine::Machine;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use peregrine_protocol::h3::connection::{Close, CloseReason, Http3};
use peregrine_protocol::limits::Limits;
use quinn_proto::{Dir, StreamId};
use reading::Reading;
use sending::Sending;
use std::marker::PhantomData;
use turn::Turn;

/// The priority of the control stream: before all responses.
const CONTROL_PRIORITY: i32 = 8;

pub(crate) struct Connection<P, M> {
    conn: ConnId,
    ends: QuicEnds,
    fields: ListenerFields,
    http3: Http3,
    streams: Streams,
    reading: Reading,
    sending: Sending,
    /// The control stream of the server, when the client has allowed one.
    control: Option<StreamId>,
    phase: Phase,
    served_by: PhantomData<fn(&mut WorkerState<P, M>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The client has to receive its responses, then the connection ends.
    Ending(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ending {
    close: Close,
    /// When QUIC took the last byte.
    since: Seconds,
    /// Since when the client has acknowledged everything.
    quiet: Option<Seconds>,
}

impl<P: HandlerRef, M: Upgrades<P::Target>> Connection<P, M> {
    fn new(conn: ConnId, ends: QuicEnds, shared: &WorkerState<P, M>) -> Self {
        shared.counters.http3_connections.add(1);
        let now = shared.service.now;
        let mut fields = ListenerFields::default();
        fields.hsts = ends.hsts;
        Connection {
            conn,
            ends,
            fields,
            http3: Http3::new(now, &shared.service.limits, &shared.http3.limits),
            streams: Streams::default(),
            reading: Reading::default(),
            sending: Sending::new(now),
            control: None,
            phase: Phase::Serving,
            served_by: PhantomData,
        }
    }

    /// Lets the service do something.
    fn with_service<R>(
        &mut self,
        quic: &mut quinn_proto::Connection,
        shared: &mut WorkerState<P, M>,
        act: impl FnOnce(&mut Service<P>, &mut Parts<'_, Machine<'_>>) -> R,
    ) -> R {
        let encoder = &mut shared.service.recorder.encoder;
        encoder.set_listener_fields(self.fields);
        let http3 = &mut shared.http3;
        let machine = Machine {
            http3: &mut self.http3,
            quic,
            reading: &mut self.reading,
            sending: &mut self.sending,
            encoder: &mut http3.encoder,
            output: &mut http3.output,
            pool: &mut shared.pool,
            limits: &http3.limits,
            piece: Bytes::new(),
        };
        let mut parts = Parts {
            machine,
            streams: &mut self.streams,
            keep_alive: http3.keep_alive,
            conn: self.conn,
            ends: &self.ends,
            counters: &shared.counters,
            head: &mut shared.http2.head,
            response: &mut shared.http2.response,
        };
        act(&mut shared.service, &mut parts)
    }

    /// Applies a command to the stream that it names. The caller lets the connection have its turn afterwards.
    fn apply(
        &mut self,
        command: WorkerCommand,
        quic: &mut quinn_proto::Connection,
        shared: &mut WorkerState<P, M>,
    ) {
        self.with_service(quic, shared, |service, parts| {
            service.take_stream_command(command, parts);
        });
    }

    /// Runs one turn of the service, and decides what the connection does next.
    fn serve(
        &mut self,
        quic: &mut quinn_proto::Connection,
        shared: &mut WorkerState<P, M>,
    ) -> Step {
        if let Phase::Ending(ending) = self.phase {
            return self.end(ending, quic, shared);
        }
        let turn = self.with_service(quic, shared, |service, parts| {
            let turn = service.turn_http3(parts);
            if let Turn::Close(close) = turn {
                service.report_close_http3(close, parts);
            }
            turn
        });
        self.count(shared);
        self.tell_unsent(shared);
        self.send_control(quic);
        match turn {
            Turn::Read => Step::Wait,
            Turn::Rest => Step::Rest,
            Turn::Again => Step::Again,
            Turn::Close(close) => {
                let ending = Ending {
                    close,
                    since: shared.service.now,
                    quiet: None,
                };
                self.end(ending, quic, shared)
            }
        }
    }

    /// Closes the connection when the client has received everything: the second after it has acknowledged that, because
    /// what an application has not read by then would be lost. After an error nothing is waited for.
    fn end(
        &mut self,
        mut ending: Ending,
        quic: &mut quinn_proto::Connection,
        shared: &mut WorkerState<P, M>,
    ) -> Step {
        let (code, now) = (ending.close.code().0, shared.service.now);
        if let CloseReason::Error(_, text) = ending.close.reason {
            return Step::Close { code, text };
        }
        self.send_rest(quic, shared);
        if self.sending.queued_in_all() > 0 {
            ending.since = now;
        }
        // The control stream never ends.
        let control = usize::from(self.control.is_some());
        ending.quiet = match quic.streams().send_streams() > control {
            true => None,
            false => ending.quiet.or(Some(now)),
        };
        let is_over = ending.quiet.is_some_and(|quiet| quiet < now);
        let is_late = now >= ending.since.after(shared.service.limits.write_timeout);
        self.phase = Phase::Ending(ending);
        match is_over || is_late {
            true => Step::Close { code, text: "" },
            false => Step::Wait,
        }
    }

    /// Sends what waits of responses that are complete. Those that the client takes too slowly end.
    fn send_rest(&mut self, quic: &mut quinn_proto::Connection, shared: &mut WorkerState<P, M>) {
        self.with_service(quic, shared, |service, parts| {
            // As much as QUIC takes.
            service.pump(&mut { usize::MAX }, parts);
            service.expire_sending(parts);
        });
    }

    /// Opens the control stream, and sends what waits for it.
    fn send_control(&mut self, quic: &mut quinn_proto::Connection) {
        if self.http3.control().is_empty() {
            return;
        }
        if self.control.is_none() {
            // A client allows it, sooner or later (RFC 9114 section 6.2).
            self.control = quic.streams().open(Dir::Uni);
        }
        let Some(id) = self.control else {
            return;
        };
        let mut stream = quic.send_stream(id);
        let _ = stream.set_priority(CONTROL_PRIORITY);
        if let Ok(taken) = stream.write(self.http3.control()) {
            self.http3.control().drain(..taken);
        }
    }

    /// Adds what the state machine has counted.
    fn count(&mut self, shared: &WorkerState<P, M>) {
        let counts = self.http3.take_counts();
        let counters = &shared.counters;
        counters.http3_rejected.add(counts.rejected.into());
        let (received, sent) = (counts.resets_received, counts.resets_sent);
        counters.http3_resets_received.add(received.into());
        counters.http3_resets_sent.add(sent.into());
    }

    /// Reports to the producers of bodies how many bytes are unsent.
    fn tell_unsent(&self, shared: &WorkerState<P, M>) {
        let unsent = (self.sending.queued_in_all(), 0);
        let (is_over, limits) = (shared.tally.is_over(), &shared.service.limits);
        let queued = |id| self.sending.queued(id);
        self.streams.tell_unsent(queued, unsent, is_over, limits);
    }

    /// When the first of the responses that are waited for has to go on.
    fn streams_deadline(&self, limits: &Limits) -> Seconds {
        self.streams.deadline(|id| self.sending.queued(id), limits)
    }

    /// Ends what is too late.
    fn expire(&mut self, quic: &mut quinn_proto::Connection, shared: &mut WorkerState<P, M>) {
        let (limits, now) = (&shared.service.limits, shared.service.now);
        if self.http3.deadline(limits) <= now {
            self.http3.expire(limits, &shared.http3.limits, now);
            self.streams.shrink();
            self.reading.shrink();
            self.sending.shrink();
        }
        let is_due = self.streams_deadline(limits) <= now;
        let is_slow = self.sending.slow(limits, now).is_some();
        if is_due || is_slow {
            self.with_service(quic, shared, |service, parts| {
                service.expire_streams(parts);
                service.expire_sending(parts);
            });
        }
    }

    /// Reports why the connection is lost, if requests are lost with it.
    #[cold]
    fn report_lost(&self, error: &quinn_proto::ConnectionError, shared: &WorkerState<P, M>) {
        use quinn_proto::ConnectionError as Quic;
        if self.http3.is_idle() && self.sending.is_empty() {
            return;
        }
        match error {
            Quic::ApplicationClosed(_) | Quic::ConnectionClosed(_) => {
                shared.counters.clients_gone.add(1);
                shared.fail(&ConnectionError::ClientGone, &self.ends);
            }
            Quic::LocallyClosed => {}
            error => {
                let error = std::io::Error::from(error.clone());
                shared.fail(&ConnectionError::Read(&error), &self.ends);
            }
        }
    }
}
