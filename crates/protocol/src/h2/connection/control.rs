//! Frames that carry nothing of a request, and our first ones.

use super::*;
use crate::h2::frame::{Setting, settings};

impl<X: Part> Http2<X> {
    /// RFC 9113 section 3.4: our settings, and the window of the connection, which has none.
    pub(super) fn greet(&mut self, out: &mut WriteBuf<X>, limits: &Limits, http2: &Http2Limits) {
        self.is_greeted = true;
        let table = http2.header_table_bytes.min(crate::hpack::MAX_TABLE) as u32;
        let head = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
        let streams = u32::try_from(http2.streams).unwrap_or(u32::MAX);
        let values = [
            (1, table),
            (3, streams),
            (4, self.stream_window),
            (6, head),
            // RFC 9218 section 2.1: what RFC 7540 says about priorities is not looked at.
            (9, 1),
        ];
        // What is the default need not be said.
        let is_default = |value: &&(u16, u32)| matches!(value, (1, 4096) | (4, FIRST_WINDOW));
        let mut said = [(0, 0); 5];
        let mut count = 0;
        for value in values.iter().filter(|value| !is_default(value)) {
            said[count] = *value;
            count += 1;
        }
        let more = http2.connection_window.clamp(FIRST_WINDOW, MAX_31) - FIRST_WINDOW;
        out.push_with(|out| {
            write::settings(&said[..count], out);
            if more > 0 {
                write::window_update(0, more, out);
            }
        });
        if self.is_announced() {
            deadline::announce_stop(out);
        }
    }

    /// Frames that carry nothing of a request.
    pub(super) fn control(
        &mut self,
        frame: Frame,
        payload: &[u8],
        turn: &mut Turn<'_, X>,
    ) -> Result<(), FrameError> {
        let (http2, now) = (turn.http2, turn.now);
        match frame {
            Frame::Settings => self.settings(payload, turn),
            Frame::SettingsAck if !self.is_acknowledged => {
                self.is_acknowledged = true;
                self.decoder.set_most(http2.header_table_bytes);
                Ok(())
            }
            Frame::SettingsAck => self.bucket.spend("too many SETTINGS", http2, now),
            Frame::Ping { data } => {
                turn.out.push_with(|out| write::ping(data, true, out));
                self.bucket.spend("too many PING", http2, now)
            }
            Frame::PingAck { data } if data == STOPPING && self.is_announced() => {
                self.stop_for_good(turn.out);
                Ok(())
            }
            Frame::PingAck { .. } => self.bucket.spend("too many PING", http2, now),
            // The client opens no more streams. It closes when it has all responses.
            Frame::GoAway { .. } => self.bucket.spend("too many GOAWAY", http2, now),
            Frame::WindowUpdate { stream, increment } => {
                self.window_update(stream, increment, http2, now)
            }
            Frame::Reset { stream, code } => {
                self.check_opened(stream, "RST_STREAM of an idle stream")?;
                if let Some(unsent) = self.remove(stream, Ended::Closed, now) {
                    self.counts.resets_received += 1;
                    self.events.push(Next::Reset {
                        stream,
                        code,
                        unsent,
                        fault: None,
                    });
                }
                self.bucket.spend("too many RST_STREAM", http2, now)
            }
            Frame::PriorityUpdate { stream, value } => {
                if let Some(stream) = self.find(stream) {
                    stream.priority = Priority::parse(&payload[value]);
                }
                self.bucket.spend("too many priorities", http2, now)
            }
            Frame::Priority { .. } => self.bucket.spend("too many priorities", http2, now),
            _ => self.bucket.spend("too many unknown frames", http2, now),
        }
    }

    /// RFC 9113 section 6.5.3: the values in their order, then the acknowledgement.
    fn settings(&mut self, payload: &[u8], turn: &mut Turn<'_, X>) -> Result<(), FrameError> {
        if payload.len() / 6 > turn.http2.settings_values {
            let text = "too many values in SETTINGS";
            return Err(FrameError::Connection(ErrorCode::ENHANCE_YOUR_CALM, text));
        }
        for setting in settings(payload) {
            match setting? {
                Setting::HeaderTableSize(size) => {
                    let most = turn.http2.header_table_bytes;
                    self.encoder.set_max((size as usize).min(most));
                }
                Setting::InitialWindowSize(size) => self.first_window(size)?,
                // Ours are never larger than the least value.
                Setting::MaxFrameSize(_) | Setting::Other => {}
            }
        }
        turn.out.push_with(write::settings_ack);
        self.bucket.spend("too many SETTINGS", turn.http2, turn.now)
    }

    /// Of a stream that was opened once, or the frame is an error of the connection (RFC 9113 section 5.1).
    #[inline]
    pub(super) fn check_opened(&self, stream: u32, text: &'static str) -> Result<(), FrameError> {
        match stream > self.highest || stream % 2 == 0 {
            true => Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, text)),
            false => Ok(()),
        }
    }
}
