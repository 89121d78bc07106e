//! An HTTP/1 connection: its socket, its state, and what an event does to them.
//!
//! This is the only code that drives the state machine of HTTP/1.

mod driven;
#[cfg(feature = "tls")]
mod insecure;
mod sending;
mod turn;

use super::connection_error::ConnectionError;
use super::service::{Exchange, HandlerRef, Upgrades};
use super::worker_state::WorkerState;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::http::lease::Lease;
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::Fate;
use crate::runtime::linger::Lingering;
use crate::runtime::link::Link;
use crate::runtime::socket::Socket;
use crate::runtime::transport::Transport;
use crate::shared::id::ConnId;
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::connection::{Close, Http1};
use peregrine_protocol::h1::read_buf::Input;
use std::io;
use std::marker::PhantomData;
use turn::{Parts, Turn};

pub(crate) struct Connection<P, M, T> {
    pub(crate) link: Link<T>,
    http1: Http1,
    input: Option<Box<Input>>,
    output: Option<Box<Output>>,
    /// The place of the one exchange that HTTP/1 has at a time.
    exchange: Option<Box<Exchange>>,
    phase: Phase,
    /// When the client last received something.
    wrote: Seconds,
    served_by: PhantomData<fn(&mut WorkerState<P, M>)>,
}

/// See [`Connection::into_moved`].
#[cfg_attr(
    not(feature = "websocket"),
    expect(dead_code, reason = "no connection leaves HTTP")
)]
pub(crate) struct Moved<T> {
    pub(crate) socket: Socket<T>,
    pub(crate) rest: Vec<u8>,
    pub(crate) output: Option<Box<Output>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reads requests and responds to them.
    Serving,
    /// A response, or the rest of one, is pending. Bytes that the client sends in the meantime wait.
    Waiting,
    /// The same, and its source is asked again without an event.
    Resting,
    /// More requests are in the input already. Nothing is read before they have their responses.
    Busy,
    /// The client has to receive its responses before anything else happens.
    Blocked,
    /// The same, and then the connection ends.
    Ending(Close),
    Lingering(Lingering),
}

impl<P: HandlerRef, M: Upgrades<P::Target>, T: Transport> Connection<P, M, T> {
    pub(crate) fn new(socket: Socket<T>, now: Seconds, keep_alive: bool) -> Self {
        Connection {
            link: Link::new(socket),
            http1: Http1::new(now, keep_alive),
            input: None,
            output: None,
            exchange: None,
            phase: Phase::Serving,
            wrote: now,
            served_by: PhantomData,
        }
    }

    /// A client may begin with the preface of HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) fn allow_http2(&mut self) {
        self.http1.allow_http2();
    }

    /// A client speaks HTTP/2 and nothing else, once it is known whether its requests are served: those without TLS
    /// where TLS is to be used are not, and get a response of HTTP/1.
    #[cfg(all(feature = "http2", feature = "tls"))]
    pub(crate) fn require_http2(&mut self) {
        self.http1.require_http2();
    }

    /// Whether it has ended with [`Fate::Upgraded`] because its client speaks HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) fn is_http2(&self) -> bool {
        self.http1.is_http2()
    }

    /// Returns what the connection needs in HTTP/2: the socket, and the bytes that have arrived.
    #[cfg(feature = "http2")]
    pub(crate) fn into_http2(self) -> (Link<T>, Option<Box<Input>>, bool) {
        (self.link, self.input, !self.http1.is_last())
    }

    /// Calls `act` with buffers, its own or those of the pool. Buffers that are not empty afterwards stay
    /// with the connection.
    #[inline(always)]
    fn lend<R>(
        &mut self,
        shared: &mut WorkerState<P, M>,
        act: impl FnOnce(&mut Self, &mut Lease, &mut WorkerState<P, M>) -> R,
    ) -> R {
        let mut lease = Lease::take(&mut self.input, &mut self.output, &mut shared.pool);
        let done = act(self, &mut lease, shared);
        lease.end(&mut self.input, &mut self.output, &mut shared.pool);
        done
    }

    fn parts<'a>(
        &'a mut self,
        lease: &'a mut Lease,
        counters: &'a WorkerCounters,
        place: ConnId,
    ) -> Parts<'a> {
        Parts {
            http1: &mut self.http1,
            input: &mut lease.input,
            output: &mut lease.output,
            exchange: &mut self.exchange,
            conn: place,
            ends: &self.link.socket,
            counters,
        }
    }

    /// Reads once, and responds to the requests that arrived.
    fn read(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        match self.fill(lease, shared) {
            None => self.serve(lease, shared),
            Some(fate) => fate,
        }
    }

    /// The client sends bytes or closes while a response is pending.
    fn read_ahead(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        // The connection was watched for nothing but the end of the client.
        if self.http1.is_eof() || self.lend(shared, Self::fill) == Some(Fate::Closed) {
            return Fate::Closed;
        }
        if self.http1.is_eof() {
            if self.is_undecided() {
                // It could not answer the close frame.
                return Fate::Closed;
            }
            shared.service.client_eof(self.exchange.as_deref());
        }
        Fate::Open
    }

    /// Applies a command to the pending response. The caller calls
    /// [`Driven::flush`](crate::runtime::event_loop::Driven::flush) afterwards.
    pub(crate) fn command(
        &mut self,
        command: WorkerCommand,
        shared: &mut WorkerState<P, M>,
    ) -> Fate {
        self.lend(shared, |connection, lease, shared| {
            let mut parts = connection.parts(lease, &shared.counters, shared.place);
            let service = &mut shared.service;
            service.take_command(command, &mut parts, &mut shared.mode);
        });
        if shared.mode.is_accepted() {
            return Fate::Upgraded;
        }
        if shared.dirty.last() != Some(&shared.place) {
            shared.dirty.push(shared.place);
        }
        Fate::Open
    }

    /// Sends the output, and handles the next request if the response is complete.
    fn go_on(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        match self.phase {
            // A sink may have been told to finish while its body was still arriving.
            Phase::Waiting | Phase::Serving => self.serve(lease, shared),
            _ => {
                self.tell_unsent(&lease.output, shared);
                Fate::Open
            }
        }
    }

    /// Reads once. `None` if the read returned bytes, or the end of the stream.
    fn fill(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Option<Fate> {
        match self.link.read(lease.input.space()) {
            Ok(Some(0)) => {
                self.http1.eof();
                None
            }
            Ok(Some(n)) => {
                shared.counters.bytes_read.add(n as u64);
                lease.input.filled(n);
                None
            }
            Ok(None) => Some(Fate::Open),
            Err(error) => Some(self.read_failed(&error, lease, shared)),
        }
    }

    #[cold]
    fn read_failed(
        &mut self,
        error: &io::Error,
        lease: &mut Lease,
        shared: &mut WorkerState<P, M>,
    ) -> Fate {
        if self.link.is_handshaking() {
            return self.handshake_failed(error, lease, shared);
        }
        // Some clients end an idle connection with a reset.
        if !self.http1.is_idle() {
            shared.fail(&ConnectionError::Read(error), &self.link.socket);
        }
        Fate::Closed
    }

    /// Runs one turn of the service, and decides what the connection does next.
    fn serve(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        #[cfg(feature = "tls")]
        let unserved = self.link.socket.stream.unserved();
        #[cfg(all(feature = "http2", feature = "tls"))]
        if unserved.is_none() {
            if self.link.socket.stream.has_chosen_http2() {
                self.http1.require_http2();
            }
            if self.http1.begin_http2() {
                return Fate::Upgraded;
            }
        }
        let mut parts = self.parts(lease, &shared.counters, shared.place);
        #[cfg(feature = "tls")]
        let turn = match unserved {
            None => shared.service.turn(&mut parts, &mut shared.mode),
            Some(unserved) => shared.service.turn_unserved(unserved, &mut parts),
        };
        #[cfg(not(feature = "tls"))]
        let turn = shared.service.turn(&mut parts, &mut shared.mode);
        self.phase = match turn {
            Turn::Read => Phase::Serving,
            Turn::Wait => Phase::Waiting,
            Turn::Rest => Phase::Resting,
            Turn::Again | Turn::Blocked => Phase::Busy,
            Turn::Close(close) => Phase::Ending(close),
            Turn::Upgrade | Turn::Http2 => return Fate::Upgraded,
        };
        self.wrote = shared.service.now;
        self.flush(lease, shared)
    }

    /// The server stops: the connection accepts no request after the bytes that have arrived.
    fn stop_serving(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        let is_serving = self.phase == Phase::Serving;
        // A request that has arrived counts as accepted.
        let filled = match is_serving {
            true => self.fill(lease, shared),
            false => Some(Fate::Open),
        };
        let unread = lease.input.available();
        if self.is_streaming() {
            let mut parts = self.parts(lease, &shared.counters, shared.place);
            shared.service.stop(unread, &mut parts);
            return self.go_on(lease, shared);
        }
        self.http1.stop(unread, shared.service.now);
        let may_ask = !shared.service.limits.stop_grace.is_zero();
        match filled {
            None => self.serve(lease, shared),
            Some(Fate::Open) if is_serving && self.http1.is_idle() && !may_ask => {
                self.link.socket.stream.end_write();
                Fate::Closed
            }
            Some(fate) => fate,
        }
    }

    /// Returns what the next protocol needs: the socket, the bytes that arrived after the request, and the
    /// unsent bytes.
    pub(crate) fn into_moved(mut self, shared: &mut WorkerState<P, M>) -> Moved<T> {
        let rest = self.input.take().map_or(Vec::new(), |input| {
            let rest = input.unread().to_vec();
            shared.pool.give_input(input);
            rest
        });
        #[cfg(test)]
        if self.output.is_some() {
            shared.pool.come_back();
        }
        Moved {
            socket: self.link.socket,
            rest,
            output: self.output,
        }
    }

    /// The head of a response has been sent, and its body follows.
    fn is_streaming(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.body().is_some())
    }

    /// The program decides later about a handshake.
    pub(crate) fn is_undecided(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.is_undecided())
    }

    /// Bytes of an incomplete request.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn held(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.available())
    }

    /// The number of buffers that the connection has.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> usize {
        usize::from(self.input.is_some()) + usize::from(self.output.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory of an idle connection, beside 8 bytes in the slab.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection<(), (), crate::runtime::transport::Plain>>() <= 152);
    }
}
