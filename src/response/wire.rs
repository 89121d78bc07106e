//! Where an answer is written while it is made.

use super::{AnswerError, Response};
use crate::conn::{
    body_out::BodyOut,
    heads::Heads,
    http1::Mode,
    id::{ConnId, Slot},
    output::{Mark, Output},
    panic_guard::drop_quietly,
};
use crate::exchange::Exchange;
use crate::late::{Address, Begun, Command, Door, Late};
use crate::protocol::Version;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where answers are written, and what becomes of the current one. The driver keeps one of it, so
/// that a [`Response`] is no more than a reference: passed by value in a register, from call to
/// call of its methods. Answers that come later are made in one of their own, without a head: that
/// is put before them on the connection's thread.
pub(crate) struct Wire {
    pub(crate) heads: Heads,
    pub(super) mode: Mode,
    /// Where the answer begins.
    pub(super) mark: Mark,
    pub(super) status: u16,
    /// Bytes of the prepared head that stand in the output; 0 before the first header field,
    /// [`LATE`] if there is none.
    pub(super) begun: usize,
    /// The handler wants the connection to end.
    pub(super) close: bool,
    /// The response has an `Upgrade` field.
    pub(super) upgrade: bool,
    pub(super) state: State,
    pub(super) fault: Option<AnswerError>,
    /// A body that follows.
    pub(super) body: Option<Box<BodyOut>>,
    /// What a log waits for, of an answer that is not complete when the handler returns.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// The same while the answer is to come, by slot.
    pub(crate) exchanges: BTreeMap<Slot, Box<Exchange>>,
    pub(crate) door: Arc<Door>,
    pub(super) origin: Origin,
    /// Given out so far.
    pub(crate) tickets: u64,
}

/// See [`Wire::begun`].
const LATE: usize = usize::MAX;

/// Whom the answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// The connection whose turn it is.
    Turn(ConnId),
    Late(Address),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Complete,
    /// The head is complete, and the body follows.
    Streamed,
    Deferred,
    /// Has left for its connection already.
    Posted,
}

impl Wire {
    pub(crate) fn new(server_name: Option<&str>, door: Arc<Door>) -> Wire {
        let origin = Origin::Turn(ConnId::default());
        Wire::with(Heads::new(server_name), door, origin)
    }

    /// For an answer that is made later.
    pub(crate) fn late(door: Arc<Door>, address: Address) -> Wire {
        Wire::with(Heads::none(), door, Origin::Late(address))
    }

    fn with(heads: Heads, door: Arc<Door>, origin: Origin) -> Wire {
        Wire {
            heads,
            mark: Mark::default(),
            mode: Mode::default(),
            status: 200,
            begun: 0,
            close: false,
            upgrade: false,
            state: State::Open,
            fault: None,
            body: None,
            exchange: None,
            exchanges: BTreeMap::new(),
            door,
            origin,
            tickets: 0,
        }
    }

    /// A panic has ended the turn of a connection: forgets what is half done. No
    /// ticket is given out twice, and what is waited for by others stays.
    #[cold]
    pub(crate) fn recover(&mut self) {
        let door = self.door.clone();
        let mut new = Wire::with(Heads::none(), door, self.origin);
        std::mem::swap(&mut new.heads, &mut self.heads);
        new.heads.reset();
        std::mem::swap(&mut new.exchanges, &mut self.exchanges);
        new.tickets = self.tickets;
        drop_quietly(std::mem::replace(self, new));
    }

    /// The connection whose turn it is.
    #[inline]
    pub(crate) fn set_place(&mut self, place: ConnId) {
        self.origin = Origin::Turn(place);
    }

    /// Begins an answer behind what stands in the output.
    #[inline]
    pub(crate) fn response<'a>(&'a mut self, mode: Mode, output: &'a mut Output) -> Response<'a> {
        self.mode = mode;
        self.mark = output.mark();
        self.status = 200;
        self.begun = 0;
        self.close = false;
        self.upgrade = false;
        self.state = State::Open;
        Response { wire: self, output }
    }

    /// Begins an answer that was deferred, in an empty `output`.
    pub(crate) fn late_response<'a>(
        &'a mut self,
        mode: Mode,
        begun: &Begun,
        output: &'a mut Output,
    ) -> Response<'a> {
        self.mode = mode;
        self.mark = output.mark();
        self.begun = LATE;
        self.status = begun.status;
        self.close = begun.close;
        self.upgrade = begun.upgrade;
        output.push(&begun.fields);
        Response { wire: self, output }
    }

    /// Its head is put before it elsewhere.
    #[inline]
    pub(super) fn is_late(&self) -> bool {
        self.begun == LATE
    }

    /// Whether the answer is complete, and if so whether it tells the client that the connection
    /// ends.
    #[inline]
    pub(crate) fn is_complete(&self) -> Option<bool> {
        let is_complete = self.state == State::Complete && self.fault.is_none();
        is_complete.then_some(self.close || !self.mode.persistent)
    }

    /// Of the answer.
    #[inline]
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Of an answer that is not complete: what follows of it, if that is known already, or why there
    /// is none.
    #[cold]
    pub(crate) fn later(&mut self) -> Result<Option<Box<BodyOut>>, AnswerError> {
        match (self.fault.take(), self.state) {
            (Some(fault), _) => Err(fault),
            (None, State::Streamed | State::Deferred) => Ok(self.body.take()),
            (None, _) => Err(AnswerError::Missing),
        }
    }

    /// Sends an answer that was made later to its connection, with so many bytes of body.
    pub(crate) fn post_late(&mut self, body_bytes: u64, output: &mut Output) {
        let Origin::Late(address) = self.origin else {
            return;
        };
        let command = match (self.fault.take(), self.state) {
            (None, State::Complete | State::Streamed) => {
                self.state = State::Posted;
                let late = Late {
                    status: self.status,
                    close: self.close,
                    upgrade: self.upgrade,
                    body_bytes,
                    rest: output.detach(),
                    body: self.body.take(),
                };
                Command::Answer(address, late)
            }
            // Whoever has the next responder answers.
            (None, State::Deferred | State::Posted) => return,
            (None, State::Open) => Command::Fail(address, AnswerError::Missing),
            (Some(fault), _) => Command::Fail(address, fault),
        };
        output.clear();
        self.door.post(command);
    }

    /// Puts down an answer that was made later. What follows of it, or else whether it ends the
    /// connection.
    pub(crate) fn deliver(
        &mut self,
        late: Late,
        mode: Mode,
        output: &mut Output,
    ) -> Result<Box<BodyOut>, bool> {
        let body_ends = late.body.as_ref().is_some_and(|body| body.close);
        let close = late.close || !mode.persistent || body_ends;
        output.push(self.heads.head(late.status));
        let connection = connection_line(close, late.upgrade, mode.version);
        output.push(connection);
        output.append(late.rest);
        let mut body = late.body.ok_or(close)?;
        body.close = close;
        Ok(body)
    }

    /// Whether the response is complete, with this status, and `most` bytes at the most.
    #[cold]
    pub(crate) fn is_complete_with(&self, status: u16, most: u64, output: &Output) -> bool {
        self.is_complete().is_some() && self.status == status && output.len_since(self.mark) <= most
    }

    /// Throws away what there is of the response.
    #[cold]
    pub(crate) fn take_back(&mut self, output: &mut Output) {
        self.fault = None;
        self.body = None;
        output.truncate(self.mark);
    }
}

/// What differs from the default of the client's version is said (RFC 9112 section 9.3), and that an
/// `Upgrade` field is for this connection (RFC 9110 section 7.8).
#[inline]
pub(super) fn connection_line(close: bool, upgrade: bool, version: Version) -> &'static [u8] {
    match (close, upgrade) {
        (true, false) => b"Connection: close\r\n",
        (true, true) => b"Connection: upgrade, close\r\n",
        (false, false) if version < Version::Http11 => b"Connection: keep-alive\r\n",
        (false, false) => b"",
        (false, true) if version < Version::Http11 => b"Connection: upgrade, keep-alive\r\n",
        (false, true) => b"Connection: upgrade\r\n",
    }
}
