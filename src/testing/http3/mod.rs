//! A client of HTTP/3 in memory: two endpoints of QUIC that exchange datagrams.

mod response;
mod turns;
mod wire;

pub(crate) use response::Http3Response;
pub(crate) use wire::Manner;

use super::{POOL, worker_state};
use crate::config::Config;
use crate::http::h3;
use crate::http::handler::Handler;
use crate::http::service::NoUpgrade;
use crate::http::worker_state::WorkerState;
use crate::metrics::Counters;
use crate::runtime::quic::{OverQuic, Step};
use crate::runtime::tls::tests::quic_client_config;
use crate::shared::id::{ConnId, Slot};
use peregrine_protocol::h3::frame::{kind, stream_type, write};
use peregrine_protocol::h3::varint;
use peregrine_protocol::qpack::Encoder;
use quinn_proto::{ClientConfig, Connection, Dir, Endpoint, EndpointConfig, StreamId, VarInt};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use wire::{Side, server_config, transport};

/// Timers of QUIC that are further away than this are not waited for: nothing moves before.
const SOON: Duration = Duration::from_secs(2);

/// One HTTP/3 connection to a handler, in memory. It uses the code that serves real connections, but that of sockets. The
/// time of QUIC moves by itself; that of HTTP/3 moves by [`Http3::elapse`].
pub(crate) struct Http3<'h, H: Handler> {
    client: Side,
    server: Side,
    pub(crate) served: Option<h3::Connection<&'h H, NoUpgrade>>,
    pub(crate) shared: WorkerState<&'h H, NoUpgrade>,
    now: Instant,
    step: Step,
    /// Messages of other threads so far.
    commands: u64,
    woken: Receiver<()>,
    encoder: Encoder,
    responses: BTreeMap<u64, Http3Response>,
    none: Http3Response,
    control: Vec<u8>,
    /// What the server has said on its control stream.
    pub(crate) control_frames: Vec<(u64, Vec<u8>)>,
    /// The code and the reason with which the server has closed.
    pub(crate) closed: Option<(u64, String)>,
    /// The streams whose responses are complete, in order.
    pub(crate) finished: Vec<u64>,
    /// The client takes nothing of its responses out of QUIC.
    pub(crate) is_reading: bool,
}

impl<'h, H: Handler> Http3<'h, H> {
    /// Connects to `handler`, with the default settings.
    pub(crate) fn new(handler: &'h H) -> Self {
        Http3::with_config(handler, &Config::default())
    }

    pub(crate) fn with_config(handler: &'h H, config: &Config) -> Self {
        Http3::with_manner(handler, config, Manner::USUAL)
    }

    pub(crate) fn with_manner(handler: &'h H, config: &Config, manner: Manner) -> Self {
        let mut http3 = Http3::silent(handler, config, manner);
        let control = varint_of(stream_type::CONTROL);
        let mut bytes = control;
        write::settings(&[], &mut bytes);
        http3.open_uni(&bytes);
        http3
    }

    /// A client that has sent nothing above QUIC.
    pub(crate) fn silent(handler: &'h H, config: &Config, manner: Manner) -> Self {
        let (wake, woken) = channel();
        let wake = move || {
            let _ = wake.send(());
        };
        let now = Instant::now();
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let settings = Arc::new(EndpointConfig::default());
        let mut server = server_config();
        server.transport_config(transport(manner.server_window, manner, config));
        let mut client = ClientConfig::new(quic_client_config());
        client.transport_config(transport(manner.window, manner, config));
        let side = |config, addr| Side {
            endpoint: Endpoint::new(settings.clone(), config, true, None),
            quic: None,
            to_other: VecDeque::new(),
            addr,
        };
        let mut http3 = Http3 {
            client: side(None, addr(5000)),
            server: side(Some(Arc::new(server)), addr(443)),
            served: None,
            shared: worker_state((handler, NoUpgrade), config, POOL, wake),
            now,
            step: Step::Wait,
            commands: 0,
            woken,
            encoder: Encoder::new(),
            responses: BTreeMap::new(),
            none: Http3Response::default(),
            control: Vec::new(),
            control_frames: Vec::new(),
            closed: None,
            finished: Vec::new(),
            is_reading: true,
        };
        let connected = http3
            .client
            .endpoint
            .connect(now, client, addr(443), "a.test");
        http3.client.quic = Some(connected.expect("settings"));
        http3.run();
        assert!(http3.served.is_some(), "a handshake");
        http3
    }

    fn quic(&mut self) -> &mut Connection {
        &mut self.client.quic.as_mut().expect("a client").1
    }

    /// Sends bytes on a stream.
    pub(crate) fn send_raw(&mut self, id: u64, mut bytes: &[u8], is_last: bool) {
        let stream = stream(id);
        while !bytes.is_empty() {
            match self.quic().send_stream(stream).write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(_) => {
                    let before = self.progress();
                    self.run();
                    if self.progress() == before {
                        // The server reads no more, or has closed.
                        return;
                    }
                }
            }
        }
        if is_last {
            let _ = self.quic().send_stream(stream).finish();
        }
        self.run();
    }

    fn progress(&mut self) -> u64 {
        self.quic().stats().frame_rx.max_data + self.quic().stats().frame_rx.max_stream_data
    }

    /// Opens a unidirectional stream that begins with these bytes.
    pub(crate) fn open_uni(&mut self, bytes: &[u8]) -> u64 {
        let id = self.quic().streams().open(Dir::Uni).expect("a stream");
        self.send_raw(id.into(), bytes, false);
        id.into()
    }

    /// Opens a stream for a request. Nothing is sent.
    pub(crate) fn open(&mut self) -> u64 {
        let id = self.quic().streams().open(Dir::Bi).expect("a stream");
        self.responses.insert(id.into(), Http3Response::default());
        id.into()
    }

    /// Sends a GET. Returns the identifier of its stream.
    pub(crate) fn get(&mut self, path: &str) -> u64 {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> u64 {
        let id = self.open();
        let mut bytes = self.head(method, path, fields);
        if !body.is_empty() {
            write::data(body.len() as u64, &mut bytes);
            bytes.extend_from_slice(body);
        }
        self.send_raw(id, &bytes, true);
        id
    }

    /// Sends the head of a request whose body follows.
    pub(crate) fn begin(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> u64 {
        let id = self.open();
        let bytes = self.head(method, path, fields);
        self.send_raw(id, &bytes, false);
        id
    }

    /// Sends bytes of a body.
    pub(crate) fn data(&mut self, id: u64, piece: &[u8], is_last: bool) {
        let mut bytes = Vec::new();
        write::data(piece.len() as u64, &mut bytes);
        bytes.extend_from_slice(piece);
        self.send_raw(id, &bytes, is_last);
    }

    /// HEADERS of a request.
    pub(crate) fn head(&mut self, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let first = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", path),
        ];
        self.section(&[&first[..], more].concat())
    }

    /// HEADERS with these fields.
    pub(crate) fn section(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let (mut bytes, encoder) = (Vec::new(), &mut self.encoder);
        write::headers(&mut bytes, |out| {
            encoder.begin(out);
            for (name, value) in fields {
                encoder.field(name.as_bytes(), value.as_bytes(), out);
            }
        });
        bytes
    }

    /// Resets the request of a stream, and does not want its response.
    pub(crate) fn cancel(&mut self, id: u64) {
        let code = VarInt::from_u32(0x10c);
        let _ = self.quic().send_stream(stream(id)).reset(code);
        let _ = self.quic().recv_stream(stream(id)).stop(code);
        self.run();
    }

    /// Lets the client read, of all streams or of one.
    pub(crate) fn read(&mut self, id: u64) {
        self.read_stream(id);
        self.run();
    }

    /// So many seconds pass, one after the other.
    pub(crate) fn elapse(&mut self, seconds: u32) {
        for _ in 0..seconds {
            let now = &mut self.shared.service.now;
            *now = now.plus(Duration::from_secs(1));
            self.now += Duration::from_secs(1);
            self.serve(|served, quic, shared| served.tick(quic, shared));
            self.run();
        }
    }

    pub(crate) fn stop(&mut self) {
        self.serve(|served, quic, shared| served.stop(quic, shared));
        self.run();
    }

    /// Blocks until another thread has sent something, for at most `most`.
    pub(crate) fn wait(&mut self, most: Duration) -> bool {
        let before = self.commands;
        self.run();
        // This thread is that of the worker, too: what it has sent itself is here, and woke no thread.
        let has_come = self.commands > before || self.woken.recv_timeout(most).is_ok();
        self.run();
        has_come
    }

    /// Blocks until a stream has ended. False if nothing comes for `most`.
    pub(crate) fn wait_for(&mut self, id: u64, most: Duration) -> bool {
        loop {
            let response = self.response(id);
            if response.is_complete || response.reset.is_some() {
                return true;
            }
            if !self.wait(most) {
                return false;
            }
        }
    }

    pub(crate) fn response(&self, id: u64) -> &Http3Response {
        self.responses.get(&id).unwrap_or(&self.none)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.shared.counters.snapshot()
    }

    /// The identifiers of all GOAWAY frames.
    pub(crate) fn goaways(&self) -> Vec<u64> {
        let frames = self.control_frames.iter();
        let goaways = frames.filter(|frame| frame.0 == kind::GOAWAY);
        goaways
            .map(|frame| varint::decode(&frame.1).expect("an integer").0)
            .collect()
    }

    /// Closes the connection from the side of the client.
    pub(crate) fn close(&mut self) {
        let now = self.now;
        self.quic().close(now, VarInt::from_u32(0x100), "".into());
        self.run();
    }
}

impl<H: Handler> Drop for Http3<'_, H> {
    fn drop(&mut self) {
        if let Some(served) = self.served.take() {
            served.lost(None, &mut self.shared);
        }
        if !std::thread::panicking() {
            assert_eq!(self.shared.pool.away, 0, "buffers that were not given back");
        }
        self.shared.service.recorder.handle.close();
    }
}

fn conn() -> ConnId {
    ConnId::new(Slot::new(7), 3)
}

fn stream(id: u64) -> StreamId {
    StreamId::from(VarInt::from_u64(id).expect("an identifier"))
}

fn varint_of(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::encode(value, &mut bytes);
    bytes
}
