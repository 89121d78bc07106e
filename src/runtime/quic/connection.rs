//! A connection of QUIC of a worker, with what runs on it.

use super::amplification::Allowed;
use super::driven::{OverQuic, Step};
use super::ends::QuicEnds;
use super::settings::FIRST_WINDOW;
use super::socket::DatagramSocket;
use crate::config::QuicLimits;
use crate::config::forwarded::Forwarding;
use crate::runtime::server_state::ServerState;
use crate::runtime::tls::TlsInfo;
use crate::runtime::transport::canonical;
use crate::runtime::via::Via;
use peregrine_protocol::Seconds;
use peregrine_protocol::token_bucket::TokenBucket;
use quinn_proto::{ConnectionError, ConnectionHandle, Event, VarInt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tokens that a move takes. One comes back each second, so that is one more move a minute.
const MOVE: u32 = 60;

/// Connection ids more that may be given back each second.
const RETIRED: u32 = 33;

/// Bytes that a connection has without an application: in its handshake, or after its end.
const HANDSHAKE: usize = 40 << 10;

/// The code of a connection that the server ends (H3_NO_ERROR, RFC 9114 section 8.1).
pub(super) const NO_ERROR: u64 = 0x0100;

/// The code of connections that do too much for nothing (H3_EXCESSIVE_LOAD, RFC 9114 section 8.1).
const EXCESSIVE_LOAD: u32 = 0x0107;

pub(super) struct Connection<C> {
    pub(super) port: usize,
    /// Since a hand-over.
    pub(super) own: Option<DatagramSocket>,
    pub(super) handle: ConnectionHandle,
    pub(super) quic: quinn_proto::Connection,
    /// Since the end of the handshake, until the connection ends.
    pub(super) app: Option<C>,
    /// The address of the client in the handshake.
    pub(super) peer: SocketAddr,
    /// Its last address, which need not be validated.
    remote: SocketAddr,
    /// The limits per address count it.
    pub(super) is_counted: bool,
    /// Its place is free for others.
    has_left: bool,
    pub(super) is_handshaking: bool,
    /// What may be sent.
    pub(super) allowed: Allowed,
    /// When the handshake has to be complete.
    pub(super) handshake_until: Instant,
    /// What the budget of memory counts.
    pub(super) charged: u32,
    window: u64,
    /// Bytes that have come while no stream was open, and those of streams among all that have come.
    base: u64,
    moves: TokenBucket,
    /// How often it has moved since that was counted.
    moved_on: u32,
    retired: TokenBucket,
    /// Connection ids that the client has given back.
    given_back: u64,
    /// When it is looked at next.
    pub(super) moment: Option<Instant>,
    /// It is in the list of those that get a turn.
    pub(super) is_dirty: bool,
    /// It is in the list of those whose source of a body gives nothing.
    pub(super) is_resting: bool,
    /// It waits until its socket takes datagrams.
    pub(super) is_waiting: bool,
    /// When a stream of it last sent or received something.
    pub(super) moved: Seconds,
    /// Bytes that it has taken and STREAM frames that it has sent until then.
    traffic: u64,
}

/// What QUIC wants after its events.
#[derive(Debug)]
pub(super) enum After {
    /// Nothing has ended.
    Goes,
    /// The handshake is complete.
    Connected,
    Lost(ConnectionError),
}

impl<C> Connection<C> {
    pub(super) fn new(
        port: usize,
        (handle, quic): (ConnectionHandle, quinn_proto::Connection),
        (limits, handshake): (&QuicLimits, Duration),
        (now, second): (Instant, Seconds),
    ) -> Self {
        let peer = quic.remote_address();
        Connection {
            port,
            own: None,
            handle,
            app: None,
            peer,
            remote: peer,
            is_counted: false,
            has_left: false,
            is_handshaking: true,
            allowed: Allowed::new(peer),
            handshake_until: now + handshake.min(Duration::from_secs(1 << 30)),
            charged: 0,
            window: FIRST_WINDOW,
            base: 0,
            moves: TokenBucket::new(second, limits.moves.saturating_mul(MOVE)),
            moved_on: 0,
            retired: TokenBucket::new(second, limits.retired_ids),
            given_back: 0,
            moment: None,
            is_dirty: false,
            is_resting: false,
            is_waiting: false,
            moved: second,
            traffic: 0,
            quic,
        }
    }

    /// Whether it is idle for the application, or still in its handshake.
    pub(super) fn is_spare<S>(&self) -> bool
    where
        C: OverQuic<S>,
    {
        self.app.as_ref().is_none_or(C::is_idle) && !self.quic.is_closed()
    }

    /// The addresses and the TLS of a connection whose handshake is complete. `None`: it may not go on.
    pub(super) fn ends(
        &self,
        (port, hsts): (u16, Option<u32>),
        forwarding: Option<&Arc<Forwarding>>,
    ) -> Option<QuicEnds> {
        let tls = TlsInfo::of_quic(&self.quic)?;
        let local = self.quic.local_ip().map(|ip| SocketAddr::new(ip, port));
        let peer = canonical(self.peer);
        Some(QuicEnds {
            peer,
            local: local.map(canonical),
            via: Via::of(peer, forwarding),
            tls: tls.into(),
            hsts,
        })
    }

    /// Gives the events of streams to the application.
    pub(super) fn take_events<S>(&mut self, shared: &mut S) -> After
    where
        C: OverQuic<S>,
    {
        while let Some(event) = self.quic.poll() {
            match (event, &mut self.app) {
                (Event::Connected, None) => return After::Connected,
                (Event::ConnectionLost { reason }, _) => return After::Lost(reason),
                (Event::Stream(event), Some(app)) => {
                    app.stream_event(event, &mut self.quic, shared);
                }
                _ => {}
            }
        }
        After::Goes
    }

    /// Gives its place back, once.
    pub(super) fn leave(&mut self, control: &ServerState) {
        if !std::mem::replace(&mut self.has_left, true) {
            control.give_back(self.is_counted.then_some(self.peer));
        }
    }

    /// Closes the connection. The application has ended.
    pub(super) fn close(&mut self, now: Instant, code: u64, text: &'static str) {
        let code = VarInt::try_from(code).unwrap_or(VarInt::MAX);
        self.quic.close(now, code, text.as_bytes().into());
    }

    /// QUIC has taken a datagram, and the client may have moved by it. Several in one turn may lead there and back.
    pub(super) fn note_address(&mut self) {
        let remote = self.quic.remote_address();
        if remote != self.remote {
            self.remote = remote;
            self.moved_on = self.moved_on.saturating_add(1);
        }
    }

    /// Whether the client has done too much for nothing: moved, or given connection ids back.
    pub(super) fn excess(&mut self, limits: &QuicLimits, second: Seconds) -> Option<Step> {
        let moved_on = std::mem::take(&mut self.moved_on);
        let mut may = moved_on == 0 || move_on(&mut self.moves, moved_on, limits, second);
        let given_back = self.quic.stats().frame_rx.retire_connection_id;
        let more = given_back - std::mem::replace(&mut self.given_back, given_back);
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            may &= self.retired.take(more, limits.retired_ids, RETIRED, second);
        }
        (!may).then_some(Step::Close {
            code: EXCESSIVE_LOAD.into(),
            text: "the client moves, or gives back connection ids, too often",
        })
    }

    /// Bytes that it may hold: those that the application holds, those that have come and are not taken, and those that are
    /// not acknowledged. QUIC tells the last two only by what there may be at most.
    pub(super) fn held<S>(&mut self, limits: &QuicLimits, second: Seconds) -> usize
    where
        C: OverQuic<S>,
    {
        let Some(app) = &self.app else {
            return HANDSHAKE;
        };
        let stats = self.quic.stats();
        let (received, taken) = (stats.udp_rx.bytes, app.taken());
        let (traffic, held) = (taken + stats.frame_tx.stream, app.held());
        let streams = self.quic.streams();
        let (sends, receives) = (
            streams.send_streams() > C::LASTING_STREAMS,
            streams.remote_open_streams(quinn_proto::Dir::Bi) > 0,
        );
        if traffic != std::mem::replace(&mut self.traffic, traffic) {
            self.moved = second;
        }
        // What has come beside streams stays the same while none is open.
        if !receives {
            self.base = received.saturating_sub(taken);
        }
        let unread = received.saturating_sub(taken).saturating_sub(self.base);
        let unread = unread.min(limits.connection_window as u64);
        let most = limits.unacknowledged_bytes as u64;
        let window = (2 * stats.path.cwnd).max(FIRST_WINDOW).min(most);
        if window != self.window {
            self.window = window;
            self.quic.set_send_window(window);
        }
        let unacknowledged = if sends { window } else { 0 };
        held + usize::try_from(unread + unacknowledged).unwrap_or(usize::MAX)
    }
}

/// Whether a client may move so often.
fn move_on(moves: &mut TokenBucket, times: u32, limits: &QuicLimits, second: Seconds) -> bool {
    let [times, most] = [times, limits.moves].map(|count| count.saturating_mul(MOVE));
    moves.take(times, most, 1, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_come_back() {
        let limits = QuicLimits::default().moves(3);
        let mut moves = TokenBucket::new(Seconds::START, 3 * MOVE);
        let mut moved = |at, n| {
            let may = |_: &i32| move_on(&mut moves, 1, &limits, Seconds::of(at));
            (0..n).take_while(may).count()
        };
        assert_eq!((moved(0, 2), moved(59, 2)), (2, 1));
        assert_eq!((moved(60, 2), moved(119, 2), moved(120, 2)), (1, 0, 1));
        assert_eq!(moved(1000, 10), 3);
    }
}
