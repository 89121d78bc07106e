//! Frames that are sent, the backlog, and the policy when it is full.

use super::connection::{End, State, WsConn};
use super::deflate::Deflater;
use super::frame;
use super::frame::{Control, Message, OpCode};
use super::limits::{BacklogPolicy, WsLimits};
use super::prepared::PreparedMessage;
use crate::Seconds;
use crate::rate::Rate;
use crate::write_buf::{NoSegment, WriteBuf};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// With a policy that drops old messages, this number of bytes is in the output and cannot be dropped any
/// more.
const COMMITTED: usize = 64 << 10;

/// A message of at least this size is sent without a copy if nothing waits before it. In multiples of the
/// cost with a copy, an echo of 1 MiB costs 0.72, one of 16 KiB 0.96.
const AT_ONCE: usize = 16 << 10;

/// The most bytes that may wait for a client while memory is short. It is enough for the messages of one
/// hook, usually.
const SHORT: usize = 16 << 10;

/// The code for an internal error (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;

/// The result of sending a message.
///
/// ```
/// # use peregrine_protocol::ws::send::Sent;
/// fn report(sent: Sent) -> &'static str { match sent { Sent::Queued => "on its way", Sent::Full => "the
/// client is too slow for it", Sent::Closed => "the connection is closed", } }
/// assert_eq!(report(Sent::Queued), "on its way");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It will be sent, in the order of the calls.
    Queued,
    /// It does not fit into [`WsLimits::backlog_bytes`](super::limits::WsLimits::backlog_bytes), or, for a
    /// `Hub`, into `Config::ws_mailbox_bytes`, and
    /// was dropped.
    Full,
    /// The connection is closed or closing.
    Closed,
}

impl Sent {
    /// True for [`Sent::Queued`].
    pub fn is_queued(self) -> bool {
        self == Sent::Queued
    }
}

/// What the connections of a thread need to send.
pub struct SendContext<X = NoSegment> {
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    outputs: Vec<Box<WriteBuf<X>>>,
    /// Compresses for all of them.
    pub(crate) deflater: Deflater,
    /// Messages dropped by a policy since this was last looked at.
    pub dropped: u64,
    /// All connections of the server hold too much memory.
    pub short: bool,
    /// Bytes sent from where they lay since this was last looked at.
    pub sent: u64,
    /// The header of a frame whose payload is sent from where it lies.
    header: Vec<u8>,
}

/// Outputs that are kept, and how many of them with what a large message has made of them.
const KEEP: usize = 64;
const KEEP_LARGE: usize = 4;

impl<X> Default for SendContext<X> {
    fn default() -> SendContext<X> {
        SendContext {
            outputs: Vec::new(),
            deflater: Deflater::default(),
            dropped: 0,
            short: false,
            sent: 0,
            header: Vec::new(),
        }
    }
}

impl<X> SendContext<X> {
    /// A panic has ended the turn of a connection: forgets what is half done.
    #[cold]
    pub fn recover(&mut self) {
        self.deflater = Deflater::default();
        self.header.clear();
    }

    fn lease(&mut self) -> Box<WriteBuf<X>> {
        self.outputs.pop().unwrap_or_default()
    }

    fn give(&mut self, mut output: Box<WriteBuf<X>>) {
        output.reset();
        // Most likely the next large message is about to be sent: a new megabyte costs a page fault
        // for each page, more than the copy into it.
        let large = || {
            self.outputs
                .iter()
                .filter(|output| output.has_grown())
                .count()
        };
        if output.has_grown() && large() >= KEEP_LARGE {
            output.clear();
        }
        if self.outputs.len() < KEEP {
            self.outputs.push(output);
        }
    }

    /// Once a second: lets go of one that has grown, so that a storm is forgotten in seconds.
    pub fn trim(&mut self) {
        if let Some(output) = self.outputs.iter_mut().find(|output| output.has_grown()) {
            output.clear();
        }
    }
}

impl<X> WsConn<X> {
    /// Bytes that wait to be sent.
    pub fn backlog(&self) -> usize {
        self.committed()
            + self
                .droppable
                .as_ref()
                .map_or(0, |droppable| droppable.bytes)
    }

    /// Those of them that cannot be dropped any more. Messages are never files, so all of it is in
    /// memory.
    fn committed(&self) -> usize {
        self.output
            .as_ref()
            .map_or(0, |output| output.len() as usize)
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        let output = self.output.as_ref().map_or(0, |output| output.held());
        output
            + self
                .droppable
                .as_ref()
                .map_or(0, |droppable| droppable.bytes)
    }

    /// Bytes that may wait with the next message. There is room for one in any case.
    fn most(&self, kit: &SendContext<X>) -> usize {
        match kit.short && self.backlog() > 0 {
            true => self.limits.backlog_bytes.min(SHORT),
            false => self.limits.backlog_bytes,
        }
    }

    /// When the client last took some of what waits for it; `None` if nothing does.
    pub fn moved(&self) -> Option<Seconds> {
        let output = self.output.as_ref();
        output.map(|output| output.moved(self.wrote))
    }

    /// What the client may cost.
    pub fn limits(&self) -> &WsLimits {
        &self.limits
    }

    /// So much waits that nothing more is taken from the client.
    pub fn is_crowded(&self) -> bool {
        self.backlog() > self.limits.backlog_mark
    }

    /// Sends a message to this client alone.
    ///
    /// If it is large and nothing waits, it is offered to `at_once`, which returns how much of it
    /// has been sent from where it lies.
    pub fn send(
        &mut self,
        message: Message<'_>,
        kit: &mut SendContext<X>,
        now: Seconds,
        at_once: impl FnOnce([&[u8]; 2]) -> usize,
    ) -> Sent {
        let bytes = message.as_bytes();
        if self.limits.backlog_policy == BacklogPolicy::DropOldest && self.backlog() > 0 {
            return self.send_prepared(&PreparedMessage::new(message), kit, now);
        }
        let opcode = OpCode::Data(message.data());
        // Before it is compressed: a window of its own would remember what was never sent.
        let room = self.room(frame::header_len(bytes.len()) + bytes.len(), kit);
        if room != Sent::Queued {
            return room;
        }
        let deflated = match &mut self.deflate {
            Some(deflate) => kit.deflater.message(deflate, bytes),
            None => None,
        };
        let (payload, compressed) = match &deflated {
            Some(deflated) => (&deflated[..], true),
            None => (bytes, false),
        };
        if payload.len() >= AT_ONCE && self.backlog() == 0 {
            kit.header.clear();
            frame::write_header(opcode, compressed, payload.len(), &mut kit.header);
            let sent = at_once([&kit.header, payload]);
            kit.sent += sent as u64;
            self.append_rest(sent, payload, kit, now);
        } else {
            self.lease(kit, now).push_with(|out| {
                out.reserve(frame::header_len(payload.len()) + payload.len());
                frame::write_header(opcode, compressed, payload.len(), out);
                out.extend_from_slice(payload);
            });
        }
        self.crowded |= self.is_crowded();
        if let Some(deflated) = deflated {
            kit.deflater.give(deflated);
        }
        Sent::Queued
    }

    /// Queues what is left of a frame of which `sent` bytes have been sent: its header is in the
    /// kit.
    fn append_rest(&mut self, sent: usize, payload: &[u8], kit: &mut SendContext<X>, now: Seconds) {
        let header = core::mem::take(&mut kit.header);
        let from = sent.min(header.len());
        let (head, body) = (&header[from..], &payload[sent - from..]);
        if head.len() + body.len() > 0 {
            self.lease(kit, now).push_with(|out| {
                out.reserve(head.len() + body.len());
                out.extend_from_slice(head);
                out.extend_from_slice(body);
            });
        }
        kit.header = header;
    }

    /// Sends a message that others get, too.
    pub fn send_prepared(
        &mut self,
        message: &PreparedMessage,
        kit: &mut SendContext<X>,
        now: Seconds,
    ) -> Sent {
        if self.limits.backlog_policy == BacklogPolicy::DropOldest {
            return self.send_or_wait(message, kit, now);
        }
        let room = self.room(message.frame_len(), kit);
        if room == Sent::Queued {
            self.commit(message, kit, now);
        }
        room
    }

    /// Whether a frame of `size` bytes may be queued; applies the policy if not.
    fn room(&mut self, size: usize, kit: &mut SendContext<X>) -> Sent {
        if self.state != State::Open {
            return Sent::Closed;
        }
        if self.backlog() + size <= self.most(kit) {
            return Sent::Queued;
        }
        kit.dropped += 1;
        self.crowded = true;
        if self.limits.backlog_policy == BacklogPolicy::Close {
            self.end(End::Backlog);
        }
        Sent::Full
    }

    /// [`BacklogPolicy::DropOldest`]: what is not needed to keep the socket busy waits where it can
    /// be dropped.
    fn send_or_wait(
        &mut self,
        message: &PreparedMessage,
        kit: &mut SendContext<X>,
        now: Seconds,
    ) -> Sent {
        if self.state != State::Open {
            return Sent::Closed;
        }
        let (size, most) = (message.frame_len(), self.most(kit));
        let committed = self.committed();
        if self.droppable.is_none() && committed + size <= COMMITTED.min(most) {
            self.commit(message, kit, now);
            return Sent::Queued;
        }
        if committed + size > most {
            self.crowded = true;
            kit.dropped += 1;
            return Sent::Full;
        }
        let droppable = self.droppable.get_or_insert_default();
        while committed + droppable.bytes + size > most {
            let Some(oldest) = droppable.queue.pop_front() else {
                break;
            };
            droppable.bytes -= oldest.frame_len();
            kit.dropped += 1;
        }
        droppable.bytes += size;
        droppable.queue.push_back(message.clone());
        self.crowded |= self.is_crowded();
        if committed == 0 {
            self.move_on(kit, now);
        }
        Sent::Queued
    }

    /// Puts a message into the output, from where it is not taken back.
    fn commit(&mut self, message: &PreparedMessage, kit: &mut SendContext<X>, now: Seconds) {
        let payload = match &mut self.deflate {
            Some(deflate) => kit.deflater.prepared(deflate, message),
            None => message.plain(),
        };
        self.lease(kit, now).push_payload(payload);
        self.crowded |= self.is_crowded();
    }

    /// Commits what has waited, as far as there is room.
    fn move_on(&mut self, kit: &mut SendContext<X>, now: Seconds) {
        while let Some(droppable) = &mut self.droppable {
            let Some(message) = droppable.queue.pop_front() else {
                self.droppable = None;
                return;
            };
            droppable.bytes -= message.frame_len();
            self.commit(&message, kit, now);
            if self
                .output
                .as_ref()
                .is_some_and(|output| output.len() as usize >= COMMITTED)
            {
                return;
            }
        }
    }

    /// Begins the close handshake (RFC 6455 section 7.1.2). False if that has begun already.
    pub fn close(&mut self, code: u16, reason: &str, now: Seconds) -> bool {
        let open = self.state == State::Open;
        if open {
            let code = match frame::may_close_with(code) {
                true => code,
                false => NORMAL,
            };
            self.push_close(Some((code, reason)), now);
            self.state = State::Closing;
            self.await_peer(now);
        }
        open
    }

    /// Sends a ping. The response is [`super::connection::WsNext::Pong`].
    pub fn ping(&mut self, payload: &[u8], kit: &mut SendContext<X>, now: Seconds) -> Sent {
        let payload = &payload[..payload.len().min(frame::MAX_CONTROL)];
        let room = self.room(2 + payload.len(), kit);
        if room == Sent::Queued {
            self.push_control(Control::Ping, payload, now);
        }
        room
    }

    /// Control frames pass by what waits, as they may (RFC 6455 section 5.4).
    pub(super) fn push_control(&mut self, control: Control, payload: &[u8], now: Seconds) {
        self.output_or_new(now).push_with(|out| {
            frame::write_header(OpCode::Control(control), false, payload.len(), out);
            out.extend_from_slice(payload);
        });
    }

    /// Nothing may follow a close frame, so what waits goes before it.
    pub(super) fn push_close(&mut self, close: Option<(u16, &str)>, now: Seconds) {
        if let Some(droppable) = self.droppable.take() {
            for message in droppable.queue {
                self.output_or_new(now).push_payload(message.plain());
            }
        }
        self.output_or_new(now)
            .push_with(|out| frame::write_close(close, out));
    }

    fn output_or_new(&mut self, now: Seconds) -> &mut WriteBuf<X> {
        if self.output.is_none() {
            self.wrote = now;
        }
        self.output.get_or_insert_default()
    }

    fn lease(&mut self, kit: &mut SendContext<X>, now: Seconds) -> &mut WriteBuf<X> {
        if self.output.is_none() {
            self.wrote = now;
        }
        self.output.get_or_insert_with(|| kit.lease())
    }

    /// What is to be sent next; `None` if there is nothing.
    pub fn output(&mut self) -> Option<&mut WriteBuf<X>> {
        self.output
            .as_deref_mut()
            .filter(|output| !output.is_empty())
    }

    /// The client has taken `n` bytes of [`WsConn::output`]. True if it is below the mark again
    /// and was above it.
    pub fn taken(&mut self, n: usize, kit: &mut SendContext<X>, now: Seconds) -> bool {
        let since = core::mem::replace(&mut self.wrote, now);
        let rate = Rate::of_backlogs(&self.limits);
        if let Some(output) = self.output() {
            output.taken(n, since, now, &rate);
        }
        let left = self.committed();
        if self.droppable.is_some() && left < COMMITTED {
            self.move_on(kit, now);
        }
        if self.output.as_ref().is_some_and(|output| output.is_empty()) {
            if let Some(output) = self.output.take() {
                kit.give(output);
            }
        }
        let drained = self.crowded && !self.is_crowded() && self.state == State::Open;
        if drained {
            self.crowded = false;
            self.paused = true;
        }
        drained
    }

    /// Gives back what it holds.
    pub fn release(&mut self, kit: &mut SendContext<X>) {
        self.droppable = None;
        if let Some(output) = self.output.take() {
            kit.give(output);
        }
    }
}

#[cfg(test)]
mod tests;
