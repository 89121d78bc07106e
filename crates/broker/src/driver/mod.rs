//! The thread of a connection to a broker: it connects, reads, writes, and connects again.

mod received;
#[cfg(test)]
mod tests;

use crate::arrival::Arrivals;
use crate::backoff::Backoff;
use crate::connection::{Connection, MOST_ADDRESSES, Phase, after, resolve};
use crate::events::{Event, Listener};
use crate::numbers::Incoming;
use crate::protocol::{Address, Protocol, Session};
use crate::settings::Settings;
use crate::shared::{Shared, lock};
use crate::socket::Socket;
use mio::{Events, Poll, Token, Waker};
use peregrine::relay::Local;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAKE: Token = Token(0);
const SOCKET: Token = Token(1);

/// Without a connection the thread looks so often for messages that have waited too long.
const LOOK: Duration = Duration::from_millis(500);

/// Pieces of messages that one turn sends, so that what arrives has its turn, too.
const PIECES: usize = 16;

pub(crate) struct Driver<P: Protocol> {
    protocol: Arc<P>,
    settings: Settings,
    shared: Arc<Shared>,
    arrivals: Arrivals,
    listener: Listener,
    /// Those of the settings, then those that the broker has named.
    addresses: Vec<Address>,
    /// Which of them begins the next round.
    first: usize,
    /// What is left of this round.
    round: VecDeque<(Address, SocketAddr)>,
    incoming: Incoming,
    backoff: Backoff,
    /// When a refusal was last logged.
    refused_at: Option<Instant>,
}

/// Why a connection has ended.
enum End {
    /// The thread has to stop.
    Stop,
    Error(String),
}

impl From<String> for End {
    fn from(error: String) -> End {
        End::Error(error)
    }
}

/// Says that the thread has ended, after a panic of the program, too.
struct Ended(Arc<Shared>, Local);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("the relay has ended by a panic");
            self.0.failed("the thread has panicked");
        }
        self.1.count_dropped(self.0.ended());
    }
}

/// Counts what a connection has not sent or not confirmed when it ends, after a panic of the program, too.
struct Used<S: Session> {
    connection: Connection<S>,
    shared: Arc<Shared>,
    local: Local,
}

impl<S: Session> Drop for Used<S> {
    fn drop(&mut self) {
        self.local.count_unconfirmed(self.connection.unconfirmed());
        let mut outbox = lock(&self.shared.outbox);
        outbox.sent(self.connection.output.left_pieces());
        if let Some(piece) = self.connection.next.take() {
            outbox.put_back(piece);
        }
    }
}

impl<P: Protocol> Driver<P> {
    pub(crate) fn new(
        protocol: Arc<P>,
        settings: Settings,
        shared: Arc<Shared>,
        node: u64,
        local: Local,
        listener: Listener,
    ) -> Driver<P> {
        let mut addresses = settings.addresses.clone();
        addresses.truncate(MOST_ADDRESSES);
        Driver {
            backoff: Backoff::new(settings.backoff),
            arrivals: Arrivals::new(node, settings.order, local),
            protocol,
            settings,
            shared,
            listener,
            addresses,
            first: 0,
            round: VecDeque::new(),
            incoming: Incoming::default(),
            refused_at: None,
        }
    }

    pub(crate) fn run(mut self) {
        let _ended = Ended(self.shared.clone(), self.arrivals.local.clone());
        if let Err(error) = self.run_until_stop() {
            log::error!("{}: the relay has ended: {error}", P::NAME);
            self.shared.failed(&error.to_string());
        }
    }

    fn run_until_stop(&mut self) -> io::Result<()> {
        let mut poll = Poll::new()?;
        self.shared.set_waker(Waker::new(poll.registry(), WAKE)?);
        let mut is_first = true;
        loop {
            if self.round.is_empty() {
                let wait = if is_first {
                    Duration::ZERO
                } else {
                    self.backoff.next()
                };
                is_first = false;
                if !self.rest(&mut poll, wait)? {
                    return Ok(());
                }
                self.begin_round();
            }
            let Some((address, target)) = self.round.pop_front() else {
                continue;
            };
            let shown = format!("{address} ({target})");
            let begun = Instant::now();
            let end = self.connect(&mut poll, address, target);
            let was_connected = match end {
                End::Stop => return Ok(()),
                End::Error(error) => {
                    let was_connected = self.shared.failed(&format!("{shown}: {error}"));
                    match was_connected {
                        true => log::warn!("{}: {shown}: {error}", P::NAME),
                        false => log::debug!("{}: {shown}: {error}", P::NAME),
                    }
                    was_connected
                }
            };
            if was_connected {
                self.listener.tell(Event::Disconnected);
                // The rest of the round is old.
                self.round.retain(|(address, _)| address.is_redirected);
                if begun.elapsed() >= self.settings.backoff {
                    self.backoff.reset();
                }
            }
        }
    }

    /// Waits without a connection. False if the thread has to stop.
    fn rest(&mut self, poll: &mut Poll, time: Duration) -> io::Result<bool> {
        let (until, mut events) = (after(Instant::now(), time), Events::with_capacity(4));
        loop {
            let now = Instant::now();
            let is_empty = self.expire(now);
            if self
                .shared
                .stop_at()
                .is_some_and(|at| is_empty || now >= at)
            {
                return Ok(false);
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(true);
            }
            // `is_awake` stays set: publishers need not wake this thread.
            wait(poll, &mut events, left.min(LOOK))?;
        }
    }

    /// Drops the messages that have waited too long for a connection. True if none is left.
    fn expire(&self, now: Instant) -> bool {
        let mut outbox = lock(&self.shared.outbox);
        let dropped = outbox.expire(now, self.settings.queue_time);
        let is_empty = outbox.is_empty();
        drop(outbox);
        self.arrivals.local.count_dropped(dropped);
        is_empty
    }

    fn begin_round(&mut self) {
        let count = self.addresses.len();
        for n in 0..count {
            let address = &self.addresses[(self.first + n) % count];
            match resolve(address) {
                Ok(found) => {
                    let found = found.into_iter().map(|target| (address.clone(), target));
                    self.round.extend(found);
                }
                Err(error) => {
                    self.shared.failed(&format!("{address}: {error}"));
                    log::debug!("{}: {address}: {error}", P::NAME);
                }
            }
        }
        self.round.truncate(MOST_ADDRESSES);
        self.first = (self.first + 1) % count.max(1);
    }

    /// Connects to an address, and serves the connection until it ends.
    fn connect(&mut self, poll: &mut Poll, address: Address, target: SocketAddr) -> End {
        let now = Instant::now();
        let socket = match Socket::connect(target, poll.registry(), SOCKET) {
            Ok(socket) => socket,
            Err(error) => return End::Error(error.to_string()),
        };
        let mut used = Used {
            connection: Connection::new(&*self.protocol, address, socket, now),
            shared: self.shared.clone(),
            local: self.arrivals.local.clone(),
        };
        match self.serve(poll, &mut used.connection) {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    fn serve(
        &mut self,
        poll: &mut Poll,
        connection: &mut Connection<P::Session>,
    ) -> Result<std::convert::Infallible, End> {
        let mut events = Events::with_capacity(16);
        loop {
            let now = Instant::now();
            let is_busy = self.turn(connection, now)?;
            let mut next = connection.look_at_clock(now, &self.settings)?;
            // A PING may have come up.
            connection.write(now)?;
            if connection.phase != Phase::Online {
                self.expire(now);
                next = next.min(after(now, LOOK));
            }
            if let Some(stop_at) = self.shared.stop_at() {
                self.flush(connection, now, stop_at)?;
                next = next.min(stop_at);
            }
            let left = match is_busy {
                true => Duration::ZERO,
                false => next.saturating_duration_since(Instant::now()),
            };
            wait(poll, &mut events, left).map_err(|error| error.to_string())?;
            for event in events.iter().filter(|event| event.token() == SOCKET) {
                let is_end = event.is_error() || event.is_read_closed() || event.is_write_closed();
                // TLS may have to read before it can write.
                let is_any = is_end || connection.address.is_tls;
                connection.can_read |= is_any || event.is_readable();
                connection.can_write |= is_any || event.is_writable();
            }
        }
    }

    /// Reads, handles, takes and writes what there is. True if there may be more at once.
    fn turn(&mut self, connection: &mut Connection<P::Session>, now: Instant) -> Result<bool, End> {
        let is_busy = self.pass(connection, now)?;
        Ok(is_busy || connection.has_left_unread())
    }

    fn pass(&mut self, connection: &mut Connection<P::Session>, now: Instant) -> Result<bool, End> {
        if connection.phase == Phase::Connecting && !self.begin(connection)? {
            return Ok(false);
        }
        let is_busy = connection.read(now, self.settings.most_unread())?;
        self.handle(connection)?;
        if connection.phase != Phase::Online {
            connection.write(now)?;
            return Ok(is_busy);
        }
        // Before the queues: what comes after this wakes the thread again.
        self.shared.looks();
        self.take_changes(connection)?;
        for _ in 0..PIECES {
            connection.write(now)?;
            let piece = {
                let mut outbox = lock(&self.shared.outbox);
                outbox.sent(connection.output.sent_pieces());
                if !connection.takes_messages() {
                    return Ok(is_busy);
                }
                outbox.take()
            };
            // After the piece was taken: who subscribed before publishing is subscribed before the message is sent.
            self.take_changes(connection)?;
            match piece {
                Some(piece) => connection.take(piece),
                None if connection.topics.is_empty() => return Ok(is_busy),
                None => {}
            }
        }
        connection.write(now)?;
        Ok(true)
    }

    /// Looks whether the system has connected. False if not yet.
    fn begin(&mut self, connection: &mut Connection<P::Session>) -> Result<bool, End> {
        if !connection.can_write {
            return Ok(false);
        }
        let is_connected = connection.socket.is_connected();
        if !is_connected.map_err(|error| error.to_string())? {
            connection.can_write = false;
            return Ok(false);
        }
        connection.phase = Phase::LogIn;
        let is_secure = connection.address.is_tls && self.protocol.is_tls_at_once();
        if is_secure {
            self.secure(connection)?;
        }
        let out = &mut connection.output.bytes;
        connection.session.connected(is_secure, out);
        Ok(true)
    }

    #[cfg(feature = "tls")]
    fn secure(&mut self, connection: &mut Connection<P::Session>) -> Result<(), End> {
        let config = self.settings.tls.clone();
        let config = config.ok_or_else(|| "TLS has no settings".to_owned())?;
        let address = &mut connection.address;
        address.is_tls = true;
        let name = address.tls_name.as_ref().unwrap_or(&address.host);
        let begun = connection.socket.secure(config, name);
        Ok(begun.map_err(|error| error.to_string())?)
    }

    #[cfg(not(feature = "tls"))]
    fn secure(&mut self, _: &mut Connection<P::Session>) -> Result<(), End> {
        Err("TLS needs the feature `tls`".to_owned().into())
    }

    fn take_changes(&mut self, connection: &mut Connection<P::Session>) -> Result<(), End> {
        if !connection.topics.is_empty() {
            return Ok(());
        }
        let changes = lock(&self.shared.wanted).take_changes();
        let Some(changes) = changes else {
            return Err("too many topics wait for the broker".to_owned().into());
        };
        for (topic, is_wanted) in changes {
            let is_change = match is_wanted {
                true => self.incoming.subscribe(&topic),
                false => self.incoming.unsubscribe(&topic),
            };
            if is_change {
                connection.topics.push((Some(topic), is_wanted));
            }
        }
        Ok(())
    }

    /// The thread has to stop: when everything is confirmed, or at this time.
    fn flush(
        &mut self,
        connection: &mut Connection<P::Session>,
        now: Instant,
        stop_at: Instant,
    ) -> Result<(), End> {
        let is_empty = lock(&self.shared.outbox).is_empty();
        let is_sent = is_empty && connection.output.unsent() == 0;
        if now >= stop_at || is_sent && connection.unconfirmed() == 0 {
            return Err(End::Stop);
        }
        if is_sent && !connection.has_pings() {
            connection.ping(now);
            connection.write(now)?;
        }
        Ok(())
    }
}

fn wait(poll: &mut Poll, events: &mut Events, time: Duration) -> io::Result<()> {
    match poll.poll(events, Some(time)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}
