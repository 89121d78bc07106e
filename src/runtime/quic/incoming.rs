//! Datagrams that have come, and connections that begin.

use super::connection::Connection;
use super::driven::OverQuic;
use super::socket::{DatagramSocket, Received};
use super::{Context, Quic};
use crate::log::event;
use crate::runtime::event_loop::ThreadState;
use crate::runtime::listener::ListenerId;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::catch;
use bytes::BytesMut;
use quinn_proto::{DatagramEvent, EcnCodepoint, Incoming};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Reads of a socket in one turn of the loop.
pub(super) const READS: usize = 4;

/// Handshakes that begin in one turn, for clients who have not shown that their address is theirs. The first step of a
/// handshake takes as long as hundreds of requests.
const BEGUN: usize = 16;

/// Datagrams of one client that belong to a connection of another worker.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(super) listener: ListenerId,
    pub(super) peer: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: BytesMut,
}

impl Datagrams {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl<C> Quic<C> {
    /// The socket with this number is ready.
    pub(crate) fn ready<S: ThreadState>(
        &mut self,
        index: usize,
        context: &mut Context<'_, S>,
    ) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        if index >= self.ports.len() {
            return self.ready_own(index, context);
        }
        self.send_waiting(index, context)?;
        self.receive(index, READS, context);
        match context.poll.is_oneshot() {
            true => self.ports[index].watch_again(index, context.poll),
            false => Ok(()),
        }
    }

    /// Reads a shared socket, at most so often.
    pub(super) fn receive<S: ThreadState>(
        &mut self,
        index: usize,
        most: usize,
        context: &mut Context<'_, S>,
    ) where
        C: OverQuic<S>,
    {
        for _ in 0..most {
            let Some(socket) = self.ports[index].socket.take() else {
                return;
            };
            let goes_on = self.read(&socket, index, context);
            self.ports[index].socket = Some(socket);
            self.take_all(index, context);
            if !goes_on {
                return;
            }
        }
    }

    /// Reads a socket once: what is for this worker waits in the list. False if nothing more is there.
    pub(super) fn read<S: ThreadState>(
        &mut self,
        socket: &DatagramSocket,
        index: usize,
        context: &mut Context<'_, S>,
    ) -> bool {
        let (listener, ids, worker) = (self.ports[index].listener, &self.ids, self.worker);
        let (workers, forward) = (context.control.workers.len(), context.forward);
        let come = &mut self.come;
        let (mut count, mut bytes) = (0, 0);
        let received = socket.receive(&mut self.buffers, |received| {
            count += received.bytes.len().div_ceil(received.stride) as u64;
            bytes += received.bytes.len() as u64;
            divide(listener, &received, |one| {
                match ids.destination(&one.bytes).filter(|to| *to != worker) {
                    Some(to) if usize::from(to) < workers => forward(to, one),
                    _ => come.push(one),
                }
            });
        });
        let counters = context.shared.counters();
        counters.datagrams_received.add(count);
        counters.bytes_read.add(bytes);
        match received {
            Ok(goes_on) => goes_on,
            // An error of a path, such as a port that is closed.
            Err(error) => {
                event!(Debug, "a socket of datagrams reports: {error}");
                let _ = error;
                false
            }
        }
    }

    /// Takes what has been read.
    pub(super) fn take_all<S: ThreadState>(&mut self, index: usize, context: &mut Context<'_, S>)
    where
        C: OverQuic<S>,
    {
        let mut come = std::mem::take(&mut self.come);
        for one in come.drain(..) {
            self.take(index, one, context);
        }
        self.come = come;
    }

    /// Takes datagrams that another worker has received.
    pub(crate) fn take_forwarded<S: ThreadState>(
        &mut self,
        datagrams: Datagrams,
        context: &mut Context<'_, S>,
    ) where
        C: OverQuic<S>,
    {
        let mut ports = self.ports.iter();
        if let Some(index) = ports.position(|port| port.listener == datagrams.listener) {
            self.take(index, datagrams, context);
        }
    }

    fn take<S: ThreadState>(
        &mut self,
        index: usize,
        datagram: Datagrams,
        context: &mut Context<'_, S>,
    ) where
        C: OverQuic<S>,
    {
        let Datagrams {
            peer,
            local,
            ecn,
            bytes,
            ..
        } = datagram;
        let (now, scratch) = (context.now, &mut self.scratch);
        scratch.clear();
        let endpoint = &mut self.ports[index].endpoint;
        let length = bytes.len();
        let event = match catch(|| endpoint.handle(now, peer, local, ecn, bytes, scratch)) {
            Ok(event) => event,
            Err(panic) => {
                context.shared.counters().internal_errors.add(1);
                event!(Error, "a datagram panicked: {}", panic.message());
                None
            }
        };
        match event {
            None => {}
            Some(DatagramEvent::Response(transmit)) => {
                let port = &self.ports[index];
                if port.respond(&transmit, &self.scratch) {
                    super::sending::count(context.shared.counters(), &transmit);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.begin(index, (incoming, length), context);
            }
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let id = self.ports[index].routes.get(handle.0).copied();
                let Some(id) = id else {
                    return;
                };
                self.guarded(id, context, |connection, _| {
                    connection.quic.handle_event(event);
                    connection.note_address();
                    let path = connection.quic.remote_address();
                    connection.allowed.received(peer, length, path);
                });
                self.mark(id);
            }
        }
    }

    /// A client begins a connection: it is accepted, or has to show that its address is its own, or is refused.
    fn begin<S: ThreadState>(
        &mut self,
        index: usize,
        (incoming, length): (Incoming, usize),
        context: &mut Context<'_, S>,
    ) where
        C: OverQuic<S>,
    {
        let (control, most) = (context.control, context.config.quic.handshakes);
        let is_valid = incoming.remote_address_validated();
        let peer = incoming.remote_address();
        // It is told nothing: it asks again, and in a hand-over another process has the next datagram.
        if self.handshakes >= most || self.is_stopping && control.leaves_backlog() {
            context.shared.counters().turned_away.add(1);
            return self.ports[index].endpoint.ignore(incoming);
        }
        if self.is_stopping {
            return self.refuse(index, incoming, context);
        }
        // In the name of any address others must not be closed for it, either.
        let is_busy = self.handshakes >= most / 2 || self.begun >= BEGUN;
        let is_crowded = is_busy || !control.capacity.has_much_room();
        if !is_valid && is_crowded {
            return self.ask_again(index, incoming, context);
        }
        if !control.capacity.take() {
            control.capacity.tell_full();
            control.capacity.wait();
            control.ask_for_room();
            return self.refuse(index, incoming, context);
        }
        // Before that, any host may have sent it in the name of this address.
        if is_valid && !may_enter(peer, context) {
            control.give_back(None);
            return self.refuse(index, incoming, context);
        }
        self.accept(index, (incoming, length), is_valid, context);
    }

    /// `is_counted`: the address is that of the client, and the limits per address count it.
    fn accept<S: ThreadState>(
        &mut self,
        index: usize,
        (incoming, length): (Incoming, usize),
        is_counted: bool,
        context: &mut Context<'_, S>,
    ) where
        C: OverQuic<S>,
    {
        let peer = incoming.remote_address();
        let (now, scratch) = (context.now, &mut self.scratch);
        scratch.clear();
        let port = &mut self.ports[index];
        let endpoint = &mut port.endpoint;
        let accepted = catch(|| {
            let accepted = endpoint.accept(incoming, now, scratch, None);
            accepted.map_err(|error| error.response)
        });
        let accepted = match accepted {
            Ok(Ok(accepted)) => accepted,
            failed => {
                if let Ok(Err(Some(transmit))) = failed {
                    port.respond(&transmit, scratch);
                }
                return context.control.give_back(is_counted.then_some(peer));
            }
        };
        let handle = accepted.0;
        let (quic, timeout) = (&context.config.quic, context.config.tls_handshake_timeout);
        let second = context.shared.now();
        let connection = Connection::new(index, accepted, (quic, timeout), (now, second));
        let id = self.slab.insert(connection);
        if let Some(connection) = self.slab.get_mut(id) {
            connection.is_counted = is_counted;
            connection.allowed.received(peer, length, peer);
            if is_counted {
                connection.allowed.validate();
            }
        }
        let routes = &mut self.ports[index].routes;
        if routes.len() <= handle.0 {
            routes.resize(handle.0 + 1, ConnId::default());
        }
        routes[handle.0] = id;
        self.handshakes += 1;
        self.begun += 1;
        context.shared.counters().accepted.add(1);
        let worker = &context.control.workers[usize::from(self.worker)];
        worker
            .given
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.mark(id);
    }

    fn ask_again<S: ThreadState>(
        &mut self,
        index: usize,
        incoming: Incoming,
        context: &mut Context<'_, S>,
    ) {
        self.scratch.clear();
        let port = &mut self.ports[index];
        match port.endpoint.retry(incoming, &mut self.scratch) {
            Ok(transmit) => {
                context.shared.counters().quic_retries.add(1);
                port.respond(&transmit, &self.scratch);
            }
            Err(error) => port.endpoint.ignore(error.into_incoming()),
        }
    }

    fn refuse<S: ThreadState>(
        &mut self,
        index: usize,
        incoming: Incoming,
        context: &mut Context<'_, S>,
    ) {
        context.shared.counters().turned_away.add(1);
        self.scratch.clear();
        let port = &mut self.ports[index];
        let transmit = port.endpoint.refuse(incoming, &mut self.scratch);
        port.respond(&transmit, &self.scratch);
    }
}

/// Whether the limits per address let this client in. If so, it is counted.
pub(super) fn may_enter<S>(peer: SocketAddr, context: &Context<'_, S>) -> bool {
    let capacity = &context.control.capacity;
    if !capacity.may_connect(Some(peer)) {
        return false;
    }
    let may = capacity.addresses.enter(Some(peer));
    if !may {
        capacity.tell_crowded(Some(peer));
    }
    may
}

/// Calls `take` for each datagram.
fn divide(listener: ListenerId, received: &Received<'_>, mut take: impl FnMut(Datagrams)) {
    let mut bytes = BytesMut::from(received.bytes);
    while !bytes.is_empty() {
        take(Datagrams {
            listener,
            peer: received.peer,
            local: received.local,
            ecn: received.ecn,
            bytes: bytes.split_to(received.stride.min(bytes.len())),
        });
    }
}
