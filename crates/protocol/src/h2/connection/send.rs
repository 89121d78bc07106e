//! Which stream sends next: windows, priorities, ends of streams.

use super::*;
use crate::rate::PROGRESS;
use crate::rate::Rate;

/// WINDOW_UPDATE frames that cost nothing are not saved up beyond these.
const MOST_FREE: u32 = 1 << 12;

impl<X: Part> Http2<X> {
    /// RFC 9113 section 6.9.2: all windows of streams change by the difference.
    pub(super) fn first_window(&mut self, size: u32) -> Result<(), FrameError> {
        let change = i64::from(size) - self.first_send;
        self.first_send = i64::from(size);
        for stream in &mut self.streams {
            stream.send += change;
            if stream.send > i64::from(MAX_31) {
                let text = "SETTINGS_INITIAL_WINDOW_SIZE makes a window too large";
                return Err(FrameError::Connection(ErrorCode::FLOW_CONTROL_ERROR, text));
            }
        }
        self.may_send |= !self.streams.is_empty();
        Ok(())
    }

    /// RFC 9113 section 6.9.
    pub(super) fn window_update(
        &mut self,
        id: u32,
        increment: u32,
        http2: &Http2Limits,
        now: Seconds,
    ) -> Result<(), FrameError> {
        let text = "WINDOW_UPDATE makes a window too large";
        let code = ErrorCode::FLOW_CONTROL_ERROR;
        match id {
            0 => {
                self.send += i64::from(increment);
                if self.send > i64::from(MAX_31) {
                    return Err(FrameError::Connection(code, text));
                }
                if self.send >= PROGRESS as i64 {
                    self.eased = None;
                }
                self.may_send |= self.has_backlog;
            }
            _ => {
                self.check_opened(id, "WINDOW_UPDATE of an idle stream")?;
                if let Some(stream) = self.find(id) {
                    stream.send += i64::from(increment);
                    if stream.send > i64::from(MAX_31) {
                        return Err(FrameError::Stream(id, code, text));
                    }
                    self.may_send = true;
                }
            }
        }
        match self.free_updates.checked_sub(1) {
            Some(left) => {
                self.free_updates = left.min(MOST_FREE);
                Ok(())
            }
            None => self.bucket.spend("too many WINDOW_UPDATE", http2, now),
        }
    }

    /// Moves to the output what the windows allow, the most urgent first, until it is full.
    pub(super) fn flush(&mut self, out: &mut WriteBuf<X>, limits: &Limits, now: Seconds) {
        if let Some(more) = self.receive.release(0) {
            out.push_with(|out| write::window_update(0, more, out));
        }
        if !self.may_send && !self.has_backlog {
            return;
        }
        self.may_send = false;
        if core::mem::take(&mut self.is_held_up) {
            self.output_has_room(now);
        }
        let rate = Rate::of_responses(limits);
        let mut next = None;
        loop {
            let Some(at) = next.take().or_else(|| self.most_urgent()) else {
                if core::mem::take(&mut self.has_backlog) {
                    self.eased = Some(now);
                }
                return;
            };
            let is_blocked = self.send <= 0 && !self.streams[at].queue.is_empty();
            if is_blocked || out.is_full(limits) {
                self.is_held_up = !is_blocked;
                // A window that a few bytes open for a moment is as good as closed.
                if is_blocked && !self.has_backlog && self.eased != Some(now) {
                    self.stall = Stall::new(now);
                }
                return self.has_backlog = true;
            }
            let id = self.streams[at].id;
            self.send_some(at, &rate, out, now);
            // Nothing else has changed: it remains the most urgent one, unless others have their turn.
            let goes_on = |stream: &Stream<X>| {
                stream.id == id && stream.is_ready() && !stream.priority.incremental
            };
            next = self.streams.get(at).is_some_and(goes_on).then_some(at);
        }
    }

    /// What waited for the output alone goes on: the client has its time for the windows anew.
    #[cold]
    fn output_has_room(&mut self, now: Seconds) {
        self.stall = Stall::new(now);
        let waited = |stream: &&mut Stream<X>| stream.send > 0 && !stream.queue.is_empty();
        for stream in self.streams.iter_mut().filter(waited) {
            stream.stall = Stall::new(now);
        }
    }

    /// The stream that is to send next (RFC 9218 section 10): one after the other, those of which pieces are of
    /// use in turns.
    fn most_urgent(&self) -> Option<usize> {
        let ready = self
            .streams
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.is_ready());
        let order = |stream: &Stream<X>| {
            let Priority {
                urgency,
                incremental,
            } = stream.priority;
            let turn = match incremental {
                true => stream.id.wrapping_sub(self.last_sent + 1),
                false => stream.id,
            };
            (urgency, incremental, turn)
        };
        ready
            .min_by_key(|(_, stream)| order(stream))
            .map(|(at, _)| at)
    }

    /// One frame of a stream.
    fn send_some(&mut self, at: usize, rate: &Rate, out: &mut WriteBuf<X>, now: Seconds) {
        let stream = &mut self.streams[at];
        let (id, waiting) = (stream.id, stream.queue.len());
        let window = stream.send.min(self.send).clamp(0, MAX_PAYLOAD as i64);
        let len = waiting.min(window as u64) as usize;
        let is_all = len as u64 == waiting;
        let has_trailers = !stream.trailers.is_empty();
        let is_end = is_all && stream.is_finished && !has_trailers;
        if len > 0 || is_end {
            out.push_with(|out| write::data(len, is_end, id, out));
            stream.queue.transfer(len, out);
            stream.send -= len as i64;
            self.send -= len as i64;
            self.free_updates = self.free_updates.saturating_add(2);
            self.last_sent = id;
        }
        if self.send <= 0 && self.has_backlog {
            self.stall.count(len, now, rate);
        }
        if !is_all {
            // If the window of the connection alone is used up, the client has not done its part for this stream.
            match stream.send > 0 && self.send > 0 {
                true => stream.stall = Stall::new(now),
                false => stream.stall.count(len, now, rate),
            }
            return;
        }
        if !stream.is_finished {
            return self.events.push(Next::Drained { stream: id });
        }
        let watchers = stream.queue.take_watchers();
        if has_trailers {
            let trailers = core::mem::take(&mut stream.trailers);
            self.block(id, None, &[&trailers], None, true, out);
        }
        // They wait until the bytes are sent, and not only moved.
        watchers.for_each(|watcher| out.push_watcher(watcher));
        self.response_sent(id, out, now);
    }

    /// The stream has ended. Returns the bytes of its response that were waiting, if it was there.
    pub(super) fn remove(&mut self, id: u32, ended: Ended, now: Seconds) -> Option<u64> {
        self.ended.add(id, ended);
        let at = self.position(id)?;
        let mut stream = self.streams.remove(at);
        if self.streams.is_empty() {
            self.idle_since = now;
        }
        let unsent = stream.queue.len();
        // Watchers of what is lost learn how much it is.
        stream.queue.clear();
        // What it holds will not be taken any more. The next WINDOW_UPDATE gives it back.
        if !stream.is_unwanted {
            self.receive.forget(stream.receive.held());
        }
        Some(unsent)
    }
}
