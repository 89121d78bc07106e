//! `OverQuic`: what runs on a connection of QUIC.

use super::QuicEnds;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::Panic;
use quinn_proto::{Connection, ConnectionError, StreamEvent};

/// What runs on a connection of QUIC, on the thread of a worker. `S`: the state that the connections of a worker share.
///
/// The endpoint calls `begin` of the state with its identifier before each call of a method ([`ThreadState::begin`]).
/// It sends what QUIC has to send after the call, and reads [`OverQuic::held`] then.
///
/// [`ThreadState::begin`]: crate::runtime::event_loop::ThreadState::begin
pub(crate) trait OverQuic<S>: Sized {
    /// A request of another thread.
    type Command;

    /// Streams that the server opens and that never end.
    const LASTING_STREAMS: usize;

    /// The handshake is complete, and ALPN has chosen `h3`.
    fn connected(id: ConnId, ends: QuicEnds, quic: &mut Connection, shared: &mut S) -> Self;

    /// An event of a stream. [`OverQuic::turn`] follows after all events of a batch.
    fn stream_event(&mut self, event: StreamEvent, quic: &mut Connection, shared: &mut S);

    /// Carries out the command of another thread. [`OverQuic::turn`] follows.
    fn command(&mut self, command: Self::Command, quic: &mut Connection, shared: &mut S);

    /// After all events of a batch, after commands of other threads, after [`OverQuic::connected`], and when the last
    /// step says so.
    fn turn(&mut self, quic: &mut Connection, shared: &mut S) -> Step;

    /// Once a second, for deadlines.
    fn tick(&mut self, quic: &mut Connection, shared: &mut S) -> Step;

    /// The server drains: the connection ends with one of its next responses.
    fn retire(&mut self, quic: &mut Connection, shared: &mut S) -> Step;

    /// The server begins to stop.
    fn stop(&mut self, quic: &mut Connection, shared: &mut S) -> Step;

    /// The connection is lost or closed: requests under way end, and buffers are given back. `error`: why, unless the
    /// last step was [`Step::Close`] or the server ends. Called once.
    fn lost(self, error: Option<&ConnectionError>, shared: &mut S);

    /// A panic has ended its turn. Its unfinished work is dropped.
    fn abandon(self, panic: &Panic, shared: &mut S);

    /// Bytes that it holds between its turns, for [`Config::buffered_bytes`](crate::Config::buffered_bytes).
    fn held(&self) -> usize;

    /// Bytes of streams that it has taken from QUIC so far. What QUIC has received beyond that is in memory.
    fn taken(&self) -> u64;

    /// Whether it has no request. Such a connection may be closed to make room.
    fn is_idle(&self) -> bool;
}

/// What a connection wants after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It waits for events.
    Wait,
    /// It has more to do as soon as the other connections have had their turn.
    Again,
    /// The source of a body is asked again after a while.
    Rest,
    /// The connection is closed with this code of the application and this reason.
    Close { code: u64, text: &'static str },
}
