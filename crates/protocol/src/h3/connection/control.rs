//! Unidirectional streams of clients: the control stream, and those of QPACK.

use super::receive::cost_of_ignored;
use super::*;
use crate::h3::frame::{self, FrameHeader, kind, unexpected};
use crate::h3::stream::HeaderReader;
use crate::qpack::instructions::{self, BadInstruction, DecoderStream};

/// What is known of a stream.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// Its type is not complete.
    Unknown([u8; varint::LONGEST], u8),
    Control,
    QpackEncoder,
    QpackDecoder(DecoderStream),
}

/// A unidirectional stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unidirectional {
    id: u64,
    role: Role,
}

/// What has come on the control stream.
#[derive(Debug, Default)]
pub(super) struct Control {
    reader: HeaderReader,
    /// The frame that is being received, and how much of it is missing.
    frame: Option<FrameHeader>,
    /// It is ignored.
    is_ignored: bool,
    payload: Vec<u8>,
    has_settings: bool,
    /// MAX_PUSH_ID and GOAWAY.
    max_push_id: Option<u64>,
    goaway: Option<u64>,
}

impl Control {
    pub(super) fn held(&self) -> usize {
        self.payload.capacity()
    }
}

fn closed() -> Fault {
    let text = "a stream that the connection needs was closed";
    Fault::Connection(ErrorCode::H3_CLOSED_CRITICAL_STREAM, text)
}

fn wrong_id(text: &'static str) -> Fault {
    Fault::Connection(ErrorCode::H3_ID_ERROR, text)
}

impl Http3 {
    pub(super) fn unidirectional_stream(
        &mut self,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let id = input.stream;
        let known = self.unidirectional.iter().position(|one| one.id == id);
        let at = match known {
            Some(at) => at,
            None if self.unidirectional_begun.is_new(id) => self.new_unidirectional(id, turn)?,
            None => {
                input.drop_all();
                return Ok(Step::More);
            }
        };
        let role = self.unidirectional[at].role;
        if input.rest().is_empty() {
            input.take_end();
            return self.unidirectional_ended(at, turn);
        }
        match role {
            Role::Unknown(held, len) => self.stream_type(at, held, usize::from(len), input, turn),
            Role::Control => self.control_stream(input, turn),
            Role::QpackEncoder => {
                let count = instructions::encoder_stream(input.rest());
                input.at = input.bytes.len();
                let code = ErrorCode::QPACK_ENCODER_STREAM_ERROR;
                self.count_instructions(count, code, turn)
            }
            Role::QpackDecoder(mut stream) => {
                let count = stream.read(input.rest());
                self.unidirectional[at].role = Role::QpackDecoder(stream);
                input.at = input.bytes.len();
                let code = ErrorCode::QPACK_DECODER_STREAM_ERROR;
                self.count_instructions(count, code, turn)
            }
        }
    }

    fn count_instructions(
        &mut self,
        count: Result<usize, BadInstruction>,
        code: ErrorCode,
        turn: &Turn<'_>,
    ) -> Result<Step, Fault> {
        let count = count.map_err(|BadInstruction(text)| Fault::Connection(code, text))?;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.spend(
            count,
            "too many instructions of QPACK",
            turn.http3,
            turn.now,
        )?;
        Ok(Step::Again)
    }

    fn new_unidirectional(&mut self, id: u64, turn: &Turn<'_>) -> Result<usize, Fault> {
        let most = turn.http3.unidirectional_streams.max(3);
        let is_allowed = self.unidirectional.len() < most;
        if !is_allowed || !self.unidirectional_begun.begin(id, most) {
            let text = "too many unidirectional streams";
            return Err(Fault::Connection(ErrorCode::H3_EXCESSIVE_LOAD, text));
        }
        self.unidirectional.push(Unidirectional {
            id,
            role: Role::Unknown([0; varint::LONGEST], 0),
        });
        Ok(self.unidirectional.len() - 1)
    }

    /// RFC 9114 section 6.2.
    fn stream_type(
        &mut self,
        at: usize,
        mut held: [u8; varint::LONGEST],
        had: usize,
        input: &mut StreamBytes<'_>,
        turn: &Turn<'_>,
    ) -> Result<Step, Fault> {
        let n = input.rest().len().min(varint::LONGEST - had);
        held[had..had + n].copy_from_slice(&input.rest()[..n]);
        let Some((kind, len)) = varint::decode(&held[..had + n]) else {
            input.at += n;
            self.unidirectional[at].role = Role::Unknown(held, (had + n) as u8);
            return Ok(Step::Again);
        };
        input.at += len - had;
        let role = match kind {
            stream_type::CONTROL => Role::Control,
            stream_type::QPACK_ENCODER => Role::QpackEncoder,
            stream_type::QPACK_DECODER => Role::QpackDecoder(DecoderStream::new()),
            stream_type::PUSH => {
                let text = "a push stream of a client";
                return Err(Fault::Connection(ErrorCode::H3_STREAM_CREATION_ERROR, text));
            }
            _ => {
                let stream = self.unidirectional.swap_remove(at).id;
                input.drop_all();
                let text = "too many streams that are ignored";
                self.spend(1, text, turn.http3, turn.now)?;
                let code = ErrorCode::H3_STREAM_CREATION_ERROR;
                return Ok(Step::Tell(Next::Stop { stream, code }));
            }
        };
        let same = core::mem::discriminant(&role);
        let is_same = |other: &Unidirectional| core::mem::discriminant(&other.role) == same;
        if self.unidirectional.iter().any(is_same) {
            let text = "a second stream of a type of which there is one";
            return Err(Fault::Connection(ErrorCode::H3_STREAM_CREATION_ERROR, text));
        }
        self.unidirectional[at].role = role;
        Ok(Step::Again)
    }

    /// The client has closed or reset a stream. It may do so before its type is complete (RFC 9114 section 6.2).
    fn unidirectional_ended(&mut self, at: usize, turn: &Turn<'_>) -> Result<Step, Fault> {
        match self.unidirectional[at].role {
            Role::Unknown(..) => {
                self.unidirectional.swap_remove(at);
                let text = "too many streams that are ignored";
                self.spend(1, text, turn.http3, turn.now)?;
                Ok(Step::More)
            }
            _ => Err(closed()),
        }
    }

    /// RESET_STREAM of a unidirectional stream.
    pub(super) fn unidirectional_reset(
        &mut self,
        id: u64,
        http3: &Http3Limits,
        now: Seconds,
    ) -> Result<(), Fault> {
        if let Some(at) = self.unidirectional.iter().position(|one| one.id == id) {
            if !matches!(self.unidirectional[at].role, Role::Unknown(..)) {
                return Err(closed());
            }
            self.unidirectional.swap_remove(at);
        } else if self.unidirectional_begun.is_new(id) {
            let most = http3.unidirectional_streams.max(3);
            self.unidirectional_begun.begin(id, most);
        } else {
            return Ok(());
        }
        self.spend(1, "too many streams that are ignored", http3, now)
    }

    /// STOP_SENDING of the control stream of the server: it is the only unidirectional one (RFC 9114 section 6.2.1).
    pub(super) fn control_stopped(&self) -> Fault {
        closed()
    }

    fn control_stream(
        &mut self,
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let control = &mut self.control;
        let Some(header) = &mut control.frame else {
            let (n, header) = control.reader.read(input.rest());
            input.at += n;
            if let Some(header) = header {
                self.begin_control_frame(header, turn)?;
            }
            return match self.control.frame {
                // There is no payload to wait for.
                Some(FrameHeader { len: 0, .. }) => self.control_payload(&[], turn),
                _ => Ok(Step::Again),
            };
        };
        let n = header.len.min(input.rest().len() as u64);
        let part = &input.rest()[..n as usize];
        input.at += part.len();
        header.len -= n;
        let is_whole = header.len == 0;
        if control.is_ignored {
            if is_whole {
                (control.frame, control.is_ignored) = (None, false);
            }
            return Ok(Step::Again);
        }
        match is_whole && control.payload.is_empty() {
            true => self.control_payload(part, turn),
            false => {
                control.payload.extend_from_slice(part);
                match is_whole {
                    true => {
                        let payload = core::mem::take(&mut control.payload);
                        self.control_payload(&payload, turn)
                    }
                    false => Ok(Step::Again),
                }
            }
        }
    }

    /// RFC 9114 sections 6.2.1 and 7.2.
    fn begin_control_frame(&mut self, header: FrameHeader, turn: &Turn<'_>) -> Result<(), Fault> {
        let control = &mut self.control;
        let is_settings = header.kind == kind::SETTINGS;
        if is_settings == control.has_settings {
            return Err(match is_settings {
                true => unexpected("a second SETTINGS"),
                false => Fault::Connection(
                    ErrorCode::H3_MISSING_SETTINGS,
                    "the first frame is not SETTINGS",
                ),
            });
        }
        control.has_settings = true;
        match header.kind {
            kind::SETTINGS | kind::PRIORITY_UPDATE | kind::PRIORITY_UPDATE_OF_PUSH => {
                if header.len > turn.http3.control_frame_bytes as u64 {
                    let text = "a large frame on the control stream";
                    return Err(Fault::Connection(ErrorCode::H3_EXCESSIVE_LOAD, text));
                }
            }
            kind::GOAWAY | kind::MAX_PUSH_ID | kind::CANCEL_PUSH => {
                if header.len > varint::LONGEST as u64 {
                    let text = "the payload is longer than an integer";
                    return Err(Fault::Connection(ErrorCode::H3_FRAME_ERROR, text));
                }
            }
            kind::DATA | kind::HEADERS | kind::PUSH_PROMISE => {
                return Err(unexpected("a frame of a message on the control stream"));
            }
            other if kind::is_of_http2(other) => return Err(unexpected("a frame of HTTP/2")),
            _ => {
                control.is_ignored = header.len > 0;
                control.frame = (header.len > 0).then_some(header);
                let text = "too many frames that are ignored";
                return self.spend(cost_of_ignored(header.len), text, turn.http3, turn.now);
            }
        }
        control.frame = Some(header);
        Ok(())
    }

    /// A frame is complete.
    fn control_payload(&mut self, payload: &[u8], turn: &Turn<'_>) -> Result<Step, Fault> {
        let kind = self.control.frame.take().map_or(0, |header| header.kind);
        match kind {
            kind::SETTINGS => {
                // What they say is about tables that are not used, and a limit that is advice.
                frame::settings(payload, turn.http3.settings_values)?;
                return Ok(Step::Again);
            }
            kind::GOAWAY => {
                let id = frame::integer(payload)?;
                if self.control.goaway.is_some_and(|before| id > before) {
                    return Err(wrong_id("GOAWAY with a larger identifier"));
                }
                self.control.goaway = Some(id);
            }
            kind::MAX_PUSH_ID => {
                let id = frame::integer(payload)?;
                if self.control.max_push_id.is_some_and(|before| id < before) {
                    return Err(wrong_id("MAX_PUSH_ID with a smaller identifier"));
                }
                self.control.max_push_id = Some(id);
            }
            kind::CANCEL_PUSH => {
                frame::integer(payload)?;
                return Err(wrong_id("nothing was promised"));
            }
            _ => return self.priority_update(kind, payload, turn),
        }
        self.spend(
            1,
            "too many frames on the control stream",
            turn.http3,
            turn.now,
        )?;
        Ok(Step::Again)
    }

    /// RFC 9218 section 7.2.
    fn priority_update(
        &mut self,
        kind: u64,
        payload: &[u8],
        turn: &Turn<'_>,
    ) -> Result<Step, Fault> {
        let truncated = Fault::Connection(ErrorCode::H3_FRAME_ERROR, "no identifier");
        let (stream, len) = varint::decode(payload).ok_or(truncated)?;
        if kind == kind::PRIORITY_UPDATE_OF_PUSH {
            return Err(wrong_id("the priority of what was not promised"));
        }
        if stream % 4 != 0 {
            return Err(wrong_id("the priority of what is no request"));
        }
        self.spend(1, "too many priorities", turn.http3, turn.now)?;
        let priority = Priority::parse(&payload[len..]);
        if self.position(stream).is_some() {
            return Ok(Step::Tell(Next::Priority { stream, priority }));
        }
        if self.requests_begun.is_new(stream) {
            self.early_priorities.retain(|(known, _)| *known != stream);
            if self.early_priorities.len() == EARLY_PRIORITIES {
                self.early_priorities.remove(0);
            }
            self.early_priorities.push((stream, priority));
        }
        Ok(Step::Again)
    }

    /// PRIORITY_UPDATE is stronger than the field `priority`, and may come first (RFC 9218 section 7).
    #[inline]
    pub(super) fn priority_of(&mut self, stream: u64, of_field: Priority) -> Priority {
        if self.early_priorities.is_empty() {
            return of_field;
        }
        let early = self.early_priorities.iter();
        match early.clone().position(|(known, _)| *known == stream) {
            Some(at) => self.early_priorities.remove(at).1,
            None => of_field,
        }
    }
}
