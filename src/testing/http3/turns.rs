//! What follows from what a client or a test has done: datagrams, events, timers.

use super::{Http3, SOON, conn, stream};
use crate::http::h3;
use crate::http::handler::Handler;
use crate::http::service::NoUpgrade;
use crate::http::worker_state::WorkerState;
use crate::runtime::event_loop::ThreadState;
use crate::runtime::quic::{OverQuic, QuicEnds, Step};
use crate::runtime::tls::TlsInfo;
use peregrine_protocol::h3::frame::{FrameHeader, stream_type};
use quinn_proto::{Connection, ConnectionError, Dir, Event, StreamEvent, VarInt};
use std::sync::Arc;

impl<'h, H: Handler> Http3<'h, H> {
    /// Lets the connection of the server do something.
    pub(super) fn serve(
        &mut self,
        act: impl FnOnce(
            &mut h3::Connection<&'h H, NoUpgrade>,
            &mut Connection,
            &mut WorkerState<&'h H, NoUpgrade>,
        ) -> Step,
    ) {
        let (Some(served), Some((_, quic))) = (&mut self.served, &mut self.server.quic) else {
            return;
        };
        self.shared.begin(conn());
        self.step = act(served, quic, &mut self.shared);
        if let Step::Close { code, text } = self.step {
            let code = VarInt::from_u64(code).expect("a code");
            quic.close(self.now, code, text.into());
            if let Some(served) = self.served.take() {
                served.lost(None, &mut self.shared);
            }
        }
    }

    /// Everything that follows from what has been done.
    pub(crate) fn run(&mut self) {
        let handle = self.shared.service.recorder.handle.clone();
        handle.adopt();
        let mut rests = false;
        loop {
            let mut commands = Vec::new();
            handle.inbox.take(&mut commands);
            let has_commands = !commands.is_empty();
            self.commands += commands.len() as u64;
            for command in commands {
                if let (Some(served), Some((_, quic))) = (&mut self.served, &mut self.server.quic) {
                    self.shared.begin(conn());
                    served.command(command, quic, &mut self.shared);
                }
            }
            if has_commands || self.step == Step::Again || self.step == Step::Rest && !rests {
                rests = true;
                self.serve(|served, quic, shared| served.turn(quic, shared));
            }
            let moved = self.exchange() | self.server_events() | self.client_events();
            rests &= !moved;
            if moved || self.step == Step::Again || !handle.inbox.is_empty() {
                continue;
            }
            let timeouts = [&mut self.client, &mut self.server].map(|side| {
                let quic = side.quic.as_mut();
                quic.and_then(|(_, quic)| quic.poll_timeout())
            });
            match timeouts.into_iter().flatten().min() {
                Some(at) if at <= self.now + SOON => self.now = self.now.max(at),
                _ => return,
            }
            for side in [&mut self.client, &mut self.server] {
                if let Some((_, quic)) = &mut side.quic {
                    quic.handle_timeout(self.now);
                }
            }
        }
    }

    /// Carries datagrams. True if there were some.
    fn exchange(&mut self) -> bool {
        self.client.transmit(self.now);
        self.server.transmit(self.now);
        let to_server = std::mem::take(&mut self.client.to_other);
        let to_client = std::mem::take(&mut self.server.to_other);
        let has_any = !to_server.is_empty() || !to_client.is_empty();
        let (client, server) = (self.client.addr, self.server.addr);
        self.server.arrive(to_server, client, self.now);
        self.client.arrive(to_client, server, self.now);
        has_any
    }

    fn server_events(&mut self) -> bool {
        let Some((_, quic)) = &mut self.server.quic else {
            return false;
        };
        let mut has_any = false;
        self.shared.begin(conn());
        while let Some(event) = quic.poll() {
            has_any = true;
            match (event, &mut self.served) {
                (Event::Connected, None) => {
                    let ends = QuicEnds {
                        peer: self.client.addr,
                        local: Some(self.server.addr),
                        via: None,
                        tls: Arc::new(TlsInfo::new(Some("a.test"))),
                        hsts: Some(300),
                    };
                    let shared = &mut self.shared;
                    self.served = Some(h3::Connection::connected(conn(), ends, quic, shared));
                }
                (Event::Stream(event), Some(served)) => {
                    served.stream_event(event, quic, &mut self.shared);
                }
                (Event::ConnectionLost { reason }, Some(_)) => {
                    if let Some(served) = self.served.take() {
                        served.lost(Some(&reason), &mut self.shared);
                    }
                }
                _ => {}
            }
        }
        if has_any {
            self.serve(|served, quic, shared| served.turn(quic, shared));
        }
        has_any
    }

    fn client_events(&mut self) -> bool {
        let mut has_any = false;
        while let Some(event) = self.quic().poll() {
            has_any = true;
            match event {
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                    while let Some(id) = self.quic().streams().accept(Dir::Uni) {
                        self.read_stream(id.into());
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    let id = u64::from(id);
                    if self.is_reading || id % 4 == 3 {
                        self.read_stream(id);
                    }
                }
                Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                    let response = self.responses.entry(id.into()).or_default();
                    response.stopped = Some(error_code.into_inner());
                }
                Event::ConnectionLost {
                    reason: ConnectionError::ApplicationClosed(close),
                } => {
                    let reason = String::from_utf8_lossy(&close.reason).into_owned();
                    self.closed = Some((close.error_code.into_inner(), reason));
                }
                Event::ConnectionLost { reason } => {
                    self.closed = Some((u64::MAX, reason.to_string()));
                }
                _ => {}
            }
        }
        has_any
    }

    pub(super) fn read_stream(&mut self, id: u64) {
        let (mut bytes, mut is_last, mut reset) = (Vec::new(), false, None);
        if let Ok(mut chunks) = self.quic().recv_stream(stream(id)).read(true) {
            loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.bytes),
                    Ok(None) => break is_last = true,
                    Err(quinn_proto::ReadError::Blocked) => break,
                    Err(quinn_proto::ReadError::Reset(code)) => {
                        break reset = Some(code.into_inner());
                    }
                }
            }
            let _ = chunks.finalize();
        }
        if id % 4 == 3 {
            return self.server_control(&bytes);
        }
        let response = self.responses.entry(id).or_default();
        response.receive(&bytes);
        response.reset = response.reset.or(reset);
        if is_last {
            response.is_complete = true;
            self.finished.push(id);
        }
    }

    fn server_control(&mut self, bytes: &[u8]) {
        let is_first = self.control.is_empty() && self.control_frames.is_empty();
        self.control.extend_from_slice(bytes);
        if is_first {
            assert_eq!(self.control.remove(0), stream_type::CONTROL as u8);
        }
        while let Some((header, at)) = FrameHeader::parse(&self.control) {
            let end = at + header.len as usize;
            if self.control.len() < end {
                return;
            }
            let payload = self.control.drain(..end).skip(at).collect();
            self.control_frames.push((header.kind, payload));
        }
    }
}
