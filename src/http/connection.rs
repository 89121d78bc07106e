//! A connection of a worker, in the version of HTTP that its client speaks.

use super::h1::{self, Moved};
#[cfg(feature = "http2")]
use super::h2;
use super::service::{HandlerRef, Upgrades};
use super::worker_state::WorkerState;
#[cfg(feature = "http2")]
use crate::config::Http2;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::runtime::event_loop::{Driven, Fate};
use crate::runtime::link::Link;
use crate::runtime::memory_relief::Stall;
use crate::runtime::poll::Interest;
use crate::runtime::socket::Socket;
use crate::runtime::transport::Transport;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::Panic;
use peregrine_protocol::Seconds;
use std::io;
use std::time::Duration;

/// A connection in one version of HTTP. Nearly all are of HTTP/1, and those of HTTP/2 are larger: a box costs the
/// former nothing.
pub(crate) enum Connection<P, M, T> {
    Http1(h1::Connection<P, M, T>),
    #[cfg(feature = "http2")]
    Http2(Box<h2::Connection<P, M, T>>),
}

/// Calls a method of the connection, whichever it is.
macro_rules! each {
    ($connection:expr, $it:ident => $act:expr) => {
        match $connection {
            Connection::Http1($it) => $act,
            #[cfg(feature = "http2")]
            Connection::Http2($it) => $act,
        }
    };
}

impl<P: HandlerRef, M: Upgrades<P::Target>, T: Transport> Connection<P, M, T> {
    /// A connection that begins, in the version or versions of its listener.
    pub(crate) fn new(
        socket: Socket<T>,
        keep_alive: bool,
        #[cfg(feature = "http2")] mode: Http2,
        shared: &WorkerState<P, M>,
    ) -> Self {
        #[cfg(feature = "http2")]
        let is_only = mode == Http2::Only;
        // Whether requests are served at all is known when the handshake is complete. Until then it is HTTP/1, which
        // has responses for those without TLS.
        #[cfg(all(feature = "http2", feature = "tls"))]
        if is_only && (socket.stream.is_secure() || socket.stream.unserved().is_some()) {
            let mut http1 = h1::Connection::new(socket, shared.service.now, keep_alive);
            http1.require_http2();
            return Connection::Http1(http1);
        }
        #[cfg(feature = "http2")]
        if is_only {
            let link = Link::new(socket);
            let http2 = h2::Connection::new(link, None, keep_alive, shared);
            return Connection::Http2(Box::new(http2));
        }
        #[cfg_attr(
            not(feature = "http2"),
            expect(unused_mut, reason = "it may become another")
        )]
        let mut http1 = h1::Connection::new(socket, shared.service.now, keep_alive);
        #[cfg(feature = "http2")]
        if mode == Http2::On {
            http1.allow_http2();
        }
        Connection::Http1(http1)
    }

    /// Goes on in HTTP/2, after [`Fate::Upgraded`]. The connection is given back if its client wants another
    /// protocol.
    #[cfg(feature = "http2")]
    pub(crate) fn into_http2(self, shared: &WorkerState<P, M>) -> Result<Self, Self> {
        match self {
            Connection::Http1(http1) if http1.is_http2() => {
                let (link, input, keep_alive) = http1.into_http2();
                let http2 = h2::Connection::new(link, input, keep_alive, shared);
                Ok(Connection::Http2(Box::new(http2)))
            }
            other => Err(other),
        }
    }

    /// See [`h1::Connection::into_moved`].
    pub(crate) fn into_moved(self, shared: &mut WorkerState<P, M>) -> Option<Moved<T>> {
        match self {
            Connection::Http1(http1) => Some(http1.into_moved(shared)),
            #[cfg(feature = "http2")]
            Connection::Http2(_) => None,
        }
    }

    /// The program decides later about a handshake.
    #[cfg(feature = "websocket")]
    pub(crate) fn is_undecided(&self) -> bool {
        match self {
            Connection::Http1(http1) => http1.is_undecided(),
            #[cfg(feature = "http2")]
            Connection::Http2(_) => false,
        }
    }

    pub(crate) fn command(
        &mut self,
        command: WorkerCommand,
        shared: &mut WorkerState<P, M>,
    ) -> Fate {
        each!(self, it => it.command(command, shared))
    }

    pub(crate) fn is_spare(&self, now: Seconds) -> bool {
        each!(self, it => it.is_spare(now))
    }

    pub(crate) fn give_way(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.give_way(shared))
    }

    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn held(&self) -> usize {
        each!(self, it => it.held())
    }

    #[cfg(test)]
    pub(crate) fn leased(&self) -> usize {
        each!(self, it => it.leased())
    }
}

impl<P, M, T> Driven<WorkerState<P, M>> for Connection<P, M, T>
where
    P: HandlerRef,
    M: Upgrades<P::Target>,
    T: Transport,
{
    type Transport = T;

    #[inline(always)]
    fn link(&mut self) -> &mut Link<T> {
        each!(self, it => it.link())
    }

    #[inline(always)]
    fn open(&mut self, id: ConnId, is_stopping: bool, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.open(id, is_stopping, shared))
    }

    #[inline(always)]
    fn ready(&mut self, readable: bool, writable: bool, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.ready(readable, writable, shared))
    }

    fn write_failed(&mut self, error: io::Error, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.write_failed(error, shared))
    }

    #[inline(always)]
    fn flush(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.flush(shared))
    }

    #[inline(always)]
    fn again(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.again(shared))
    }

    #[inline(always)]
    fn interest(&mut self) -> Option<Interest> {
        each!(self, it => it.interest())
    }

    #[inline(always)]
    fn deadline(&self, shared: &WorkerState<P, M>) -> Seconds {
        each!(self, it => it.deadline(shared))
    }

    fn waits_for_client(&self) -> bool {
        each!(self, it => it.waits_for_client())
    }

    fn expire_handshake(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.expire_handshake(shared))
    }

    fn expire(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.expire(shared))
    }

    #[inline(always)]
    fn settle(&mut self, shared: &mut WorkerState<P, M>) {
        each!(self, it => it.settle(shared));
    }

    fn lasts(&self) -> bool {
        each!(self, it => it.lasts())
    }

    fn may_retire(&self) -> bool {
        each!(self, it => it.may_retire())
    }

    fn retire(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.retire(shared))
    }

    fn stop(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.stop(shared))
    }

    fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall> {
        each!(self, it => it.stall(limit, now))
    }

    fn give_memory(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        each!(self, it => it.give_memory(shared))
    }

    fn close(self, shared: &mut WorkerState<P, M>) {
        each!(self, it => it.close(shared));
    }

    #[cold]
    fn abandon(self, panic: &Panic, shared: &mut WorkerState<P, M>) {
        each!(self, it => it.abandon(panic, shared));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::transport::Plain;

    /// HTTP/2 costs the connections of HTTP/1 no memory: the enum is as large as they are.
    #[test]
    fn a_connection_is_as_large_as_one_of_http1() {
        let http1 = size_of::<h1::Connection<(), (), Plain>>();
        assert_eq!(size_of::<Connection<(), (), Plain>>(), http1);
    }
}
