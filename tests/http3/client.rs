//! A client of HTTP/3 over a socket, without threads: `quinn-proto` and frames that are written here.

use super::LONG;
use super::trusting::client_config_with;
use bytes::BytesMut;
use peregrine_protocol::h3::frame::{FrameHeader, kind, stream_type, write};
use peregrine_protocol::qpack;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, ReadError, StreamEvent, StreamId, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a client differs from others.
pub(crate) struct Settings {
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) idle: Duration,
    /// What it takes for the time of a round trip at first: after three times that it sends again what has no answer.
    pub(crate) round_trip: Duration,
    pub(crate) local: &'static str,
    /// The host that it asks for (RFC 6066 section 3).
    pub(crate) host: &'static str,
    /// The name of its certificate in `tests/certs`.
    pub(crate) certificate: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            alpn: vec![b"h3".to_vec()],
            idle: LONG,
            round_trip: Duration::from_millis(333),
            local: "127.0.0.1:0",
            host: "localhost",
            certificate: None,
        }
    }
}

/// What has come of a stream.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_complete: bool,
    pub(crate) reset: Option<u64>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    server: SocketAddr,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub(crate) quic: Connection,
    pub(crate) streams: HashMap<StreamId, Incoming>,
    pub(crate) is_connected: bool,
    pub(crate) lost: Option<ConnectionError>,
    /// Bytes that were sent and received.
    pub(crate) sent: usize,
    pub(crate) received: usize,
    /// Nothing more is sent.
    pub(crate) is_mute: bool,
}

impl Client {
    /// A client that has sent nothing yet.
    pub(crate) fn new(server: SocketAddr, settings: Settings) -> Client {
        let mut tls = client_config_with(settings.certificate);
        tls.alpn_protocols = settings.alpn;
        let crypto = QuicClientConfig::try_from(tls).expect("a suite for QUIC");
        let mut config = ClientConfig::new(Arc::new(crypto));
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(Some(settings.idle.try_into().expect("in range")));
        transport.initial_rtt(settings.round_trip);
        config.transport_config(Arc::new(transport));
        let socket = UdpSocket::bind(settings.local).expect("a socket");
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let begun = endpoint.connect(Instant::now(), config, server, settings.host);
        let (handle, quic) = begun.expect("a connection");
        Client {
            socket,
            server,
            endpoint,
            handle,
            quic,
            streams: HashMap::new(),
            is_connected: false,
            lost: None,
            sent: 0,
            received: 0,
            is_mute: false,
        }
    }

    /// A client whose handshake is complete, and whose control stream is open.
    pub(crate) fn connect(server: SocketAddr) -> Client {
        Client::connect_with(server, Settings::default())
    }

    pub(crate) fn connect_with(server: SocketAddr, settings: Settings) -> Client {
        let mut client = Client::new(server, settings);
        client.complete();
        client
    }

    /// Goes on with the handshake to its end, and opens the control stream.
    pub(crate) fn complete(&mut self) {
        self.until(|client| client.is_connected);
        let control = self.quic.streams().open(Dir::Uni).expect("allowed");
        let mut bytes = vec![stream_type::CONTROL as u8];
        write::settings(&[], &mut bytes);
        self.write(control, &bytes, false);
    }

    /// Sends what there is to send.
    pub(crate) fn flush(&mut self) {
        let mut bytes = Vec::new();
        while let Some(transmit) = self.quic.poll_transmit(Instant::now(), 1, &mut bytes) {
            if !self.is_mute {
                self.sent += transmit.size;
                self.socket
                    .send_to(&bytes[..transmit.size], self.server)
                    .expect("sent");
            }
            bytes.clear();
        }
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(event);
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::Stream(StreamEvent::Readable { id }) => self.read(id),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.quic.streams().accept(dir) {
                        self.read(id);
                    }
                }
                _ => {}
            }
        }
    }

    fn read(&mut self, id: StreamId) {
        let incoming = self.streams.entry(id).or_default();
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return;
        };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => incoming.bytes.extend_from_slice(&chunk.bytes),
                Ok(None) => incoming.is_complete = true,
                Err(ReadError::Reset(code)) => incoming.reset = Some(code.into_inner()),
                Err(ReadError::Blocked) => break,
            }
            if incoming.is_complete || incoming.reset.is_some() {
                break;
            }
        }
        let _ = chunks.finalize();
    }

    /// Sends, and waits for datagrams for at most `most`. Returns whether one has come.
    fn step(&mut self, most: Duration) -> bool {
        self.flush();
        let timeout = self.quic.poll_timeout();
        let timeout = timeout.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = timeout.map_or(most, |timeout| timeout.min(most));
        let wait = wait.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait)).expect("set");
        let mut bytes = [0; 2048];
        let came = self.socket.recv_from(&mut bytes);
        let now = Instant::now();
        let has_come = came.is_ok();
        if let Ok((len, from)) = came {
            self.received += len;
            let (data, mut out) = (BytesMut::from(&bytes[..len]), Vec::new());
            let event = self.endpoint.handle(now, from, None, None, data, &mut out);
            if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                self.quic.handle_event(event);
            }
        }
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        self.take_events();
        has_come
    }

    /// Goes on until `is_done`.
    pub(crate) fn until(&mut self, mut is_done: impl FnMut(&mut Client) -> bool) {
        let end = Instant::now() + LONG;
        self.take_events();
        while !is_done(self) {
            assert!(Instant::now() < end, "it takes too long: {:?}", self.lost);
            self.step(Duration::from_millis(200));
        }
        self.flush();
    }

    /// Goes on until the connection is lost, and says why.
    pub(crate) fn end(&mut self) -> ConnectionError {
        self.until(|client| client.lost.is_some());
        self.lost.clone().expect("lost")
    }

    pub(crate) fn write(&mut self, id: StreamId, mut bytes: &[u8], is_last: bool) {
        while !bytes.is_empty() {
            match self.quic.send_stream(id).write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => {
                    self.step(Duration::from_millis(200));
                }
            }
        }
        if is_last {
            self.quic.send_stream(id).finish().expect("open");
        }
        self.flush();
    }

    /// The HEADERS frame of a request.
    pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        write::headers(&mut bytes, |out| head(method, path, out));
        bytes
    }

    /// Begins a request, which ends here if it has no more.
    pub(crate) fn ask(&mut self, method: &str, path: &str, is_last: bool) -> StreamId {
        let bytes = Client::request(method, path);
        let id = self.quic.streams().open(Dir::Bi).expect("allowed");
        self.write(id, &bytes, is_last);
        id
    }

    /// The response to a request.
    pub(crate) fn response(&mut self, id: StreamId) -> Response {
        self.until(|client| {
            assert!(client.lost.is_none(), "{:?}", client.lost);
            client.streams.get(&id).is_some_and(|of| of.is_complete)
        });
        parse(&self.streams[&id].bytes)
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        let id = self.ask("GET", path, true);
        self.response(id)
    }

    /// The certificate of the server.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.quic.crypto_session().peer_identity().expect("a chain");
        let chain = chain.downcast::<Vec<CertificateDer<'static>>>();
        chain.expect("certificates")[0].clone()
    }

    /// Goes on with another local address, as after a change of the network.
    pub(crate) fn move_to(&mut self, local: &str) {
        self.socket = UdpSocket::bind(local).expect("a socket");
    }

    pub(crate) fn close(&mut self) {
        self.quic.close(
            Instant::now(),
            VarInt::from_u32(0x100),
            b"".as_slice().into(),
        );
        self.flush();
    }
}

fn head(method: &str, path: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ];
    for (name, value) in fields {
        // A literal name (RFC 9204 section 4.5.6) with a prefix of three bits.
        match name.len() {
            len @ 0..=6 => out.push(0x20 | len as u8),
            len => out.extend_from_slice(&[0x27, (len - 7) as u8]),
        }
        out.extend_from_slice(name.as_bytes());
        assert!(value.len() < 127, "one byte is enough");
        out.push(value.len() as u8);
        out.extend_from_slice(value.as_bytes());
    }
}

fn parse(mut bytes: &[u8]) -> Response {
    let mut response = Response {
        status: 0,
        fields: Vec::new(),
        body: Vec::new(),
    };
    while let Some((header, len)) = FrameHeader::parse(bytes) {
        let (content, rest) = bytes[len..].split_at(header.len as usize);
        bytes = rest;
        match header.kind {
            kind::HEADERS => {
                let mut text = Vec::new();
                let decoded = qpack::Decoder.decode(content, 1 << 16, &mut text, |text, field| {
                    let part = |range: &[u8]| String::from_utf8_lossy(range).into_owned();
                    let name = part(&text[field.start..field.value]);
                    let value = part(&text[field.value..field.end]);
                    match &*name {
                        ":status" => response.status = value.parse().expect("a number"),
                        _ => response.fields.push((name, value)),
                    }
                });
                decoded.expect("valid");
            }
            kind::DATA => response.body.extend_from_slice(content),
            _ => {}
        }
    }
    assert!(bytes.is_empty(), "a part of a frame");
    response
}
