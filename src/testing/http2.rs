//! A client of HTTP/2 in memory.

use super::Connection;
use crate::config::{Config, Http2Limits};
use crate::http::handler::Handler;
use crate::metrics::Counters;
use peregrine_protocol::h2::frame::{
    ErrorCode, Frame, FrameHeader, HEADER, MAX_PAYLOAD, PREFACE, write,
};
use peregrine_protocol::hpack::{Decoder, Encoder};
use peregrine_protocol::limits::Limits;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The most bytes of the fields of a response.
const MOST: usize = 1 << 20;

/// One HTTP/2 connection to a handler, in memory (RFC 9113). Needs the feature `http2`.
///
/// It behaves as [`testing::Connection`](super::Connection) does, and uses the code that serves real connections. The
/// client acknowledges the frames that have to be, and gives windows of 2 GiB unless it is made by
/// [`Http2::with_window`].
///
/// ```
/// use peregrine::testing::Http2;
///
/// let app = peregrine::from_fn(|req, res| res.body(req.path()));
/// let mut client = Http2::new(&app);
/// let (a, b) = (client.get("/a"), client.get("/b"));
/// assert_eq!(client.response(b).status, 200);
/// assert_eq!(client.response(a).body, b"/a");
/// assert_eq!(client.response(a).field("content-length"), Some("2"));
/// ```
pub struct Http2<'h, H: Handler> {
    server: Connection<'h, H>,
    encoder: Encoder,
    decoder: Decoder,
    /// Bytes of the server that are no complete frame yet.
    rest: Vec<u8>,
    last: u32,
    responses: BTreeMap<u32, Http2Response>,
    none: Http2Response,
    goaways: Vec<(u32, u32)>,
}

/// What a client has received of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http2Response {
    /// The status; 0 before the head has come.
    pub status: u16,
    /// Statuses of 1xx that came before.
    pub interim: Vec<u16>,
    /// The header fields, in order, with names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body until now.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Vec<(String, String)>,
    /// Nothing follows: END_STREAM has come.
    pub is_complete: bool,
    /// The error code of RST_STREAM, if it has come (RFC 9113 section 7).
    pub reset: Option<u32>,
}

impl Http2Response {
    /// The value of the first field with this name, which is in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(of, _)| of == name);
        field.map(|(_, value)| value.as_str())
    }
}

impl<'h, H: Handler> Http2<'h, H> {
    /// Connects to `handler`, with the default limits.
    pub fn new(handler: &'h H) -> Http2<'h, H> {
        Http2::with_limits(handler, Limits::default(), Http2Limits::default())
    }

    /// Connects to `handler`.
    pub fn with_limits(handler: &'h H, limits: Limits, http2: Http2Limits) -> Http2<'h, H> {
        let server = Connection::with_limits(handler, limits);
        Http2::connect(server, http2, (1 << 31) - 1)
    }

    /// Connects to `handler`, as a client that takes so many bytes of each response before it gives more by
    /// [`Http2::window_update`].
    pub fn with_window(handler: &'h H, limits: Limits, window: u32) -> Http2<'h, H> {
        let server = Connection::with_limits(handler, limits);
        Http2::connect(server, Http2Limits::default(), window)
    }

    /// Connects to `handler` from the address `peer`, as [`Connection::with_config`](super::Connection::with_config) does.
    pub fn with_config(handler: &'h H, config: &Config, peer: SocketAddr) -> Http2<'h, H> {
        let server = Connection::with_config(handler, config, peer);
        Http2::connect(server, config.http2_limits, (1 << 31) - 1)
    }

    fn connect(mut server: Connection<'h, H>, http2: Http2Limits, window: u32) -> Http2<'h, H> {
        server.served.shared.http2.limits = http2;
        let mut first = PREFACE.to_vec();
        write::settings(&[(4, window)], &mut first);
        write::window_update(0, (1 << 31) - 1 - 65_535, &mut first);
        let mut client = Http2 {
            server,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            rest: Vec::new(),
            last: 0,
            responses: BTreeMap::new(),
            none: Http2Response::default(),
            goaways: Vec::new(),
        };
        client.send_raw(&first);
        client
    }

    /// Sends a GET. Returns the identifier of its stream.
    pub fn get(&mut self, path: &str) -> u32 {
        self.request("GET", path, &[], b"")
    }

    /// Sends a request with these header fields and this body. Returns the identifier of its stream.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> u32 {
        let stream = self.send_head(method, path, fields, body.is_empty());
        if !body.is_empty() {
            self.data(stream, body, true);
        }
        stream
    }

    /// Sends the head of a request whose body follows by [`Http2::data`]. Returns the identifier of its stream.
    pub fn begin(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> u32 {
        self.send_head(method, path, fields, false)
    }

    /// Sends bytes of a body. Windows of the server are not looked at.
    pub fn data(&mut self, stream: u32, bytes: &[u8], is_last: bool) {
        let mut frames = Vec::new();
        let mut pieces = bytes.chunks(MAX_PAYLOAD).peekable();
        if bytes.is_empty() {
            write::data(0, is_last, stream, &mut frames);
        }
        while let Some(piece) = pieces.next() {
            let is_end = is_last && pieces.peek().is_none();
            write::data(piece.len(), is_end, stream, &mut frames);
            frames.extend_from_slice(piece);
        }
        self.send_raw(&frames);
    }

    /// Ends a body with trailer fields.
    pub fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send_block(stream, fields, true);
    }

    /// Resets a stream with this error code (RFC 9113 section 7); 8 is CANCEL.
    pub fn reset(&mut self, stream: u32, code: u32) {
        let mut frame = Vec::new();
        write::reset(stream, ErrorCode(code), &mut frame);
        self.send_raw(&frame);
    }

    /// Gives room for so many more bytes, of a stream or, for 0, of the connection.
    pub fn window_update(&mut self, stream: u32, increment: u32) {
        let mut frame = Vec::new();
        write::window_update(stream, increment, &mut frame);
        self.send_raw(&frame);
    }

    /// Sends any bytes, as frames that are not valid.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.server.send(bytes);
        self.receive();
    }

    /// Closes the sending side of the client.
    pub fn send_eof(&mut self) {
        self.server.send_eof();
        self.receive();
    }

    /// Moves the time; see [`Connection::elapse`].
    pub fn elapse(&mut self, time: Duration) {
        self.server.elapse(time);
        self.receive();
    }

    /// Begins to stop the server: GOAWAY is sent, and requests that have come get their responses.
    pub fn stop(&mut self) {
        self.server.stop();
        self.receive();
    }

    /// Blocks until another thread has sent a piece of a response; see [`Connection::wait`].
    pub fn wait(&mut self, most: Duration) -> bool {
        let has_come = self.server.wait(most);
        self.receive();
        has_come
    }

    /// Blocks until a stream has ended, for at most `most` between two pieces. False if the time has passed.
    pub fn wait_for(&mut self, stream: u32, most: Duration) -> bool {
        let is_over = |response: &Http2Response| response.is_complete || response.reset.is_some();
        while !is_over(self.response(stream)) {
            if !self.wait(most) || self.is_closed() && !is_over(self.response(stream)) {
                return false;
            }
        }
        true
    }

    /// What has come of the response on this stream.
    pub fn response(&self, stream: u32) -> &Http2Response {
        self.responses.get(&stream).unwrap_or(&self.none)
    }

    /// The last stream and the error code of each GOAWAY that has come.
    pub fn goaways(&self) -> &[(u32, u32)] {
        &self.goaways
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.server.is_closed()
    }

    /// The counters of this connection.
    pub fn counters(&self) -> Counters {
        self.server.counters()
    }

    fn send_head(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        is_last: bool,
    ) -> u32 {
        self.last = match self.last {
            0 => 1,
            last => last + 2,
        };
        let mut all = vec![
            (":method", method),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", path),
        ];
        all.extend_from_slice(fields);
        self.send_block(self.last, &all, is_last);
        self.last
    }

    fn send_block(&mut self, stream: u32, fields: &[(&str, &str)], is_last: bool) {
        let (mut frames, encoder) = (Vec::new(), &mut self.encoder);
        write::headers(stream, is_last, MAX_PAYLOAD, &mut frames, |out| {
            encoder.begin(out);
            for (name, value) in fields {
                encoder.field(name.as_bytes(), value.as_bytes(), out);
            }
        });
        self.send_raw(&frames);
    }

    /// Takes what the server has sent, and answers what has to be.
    fn receive(&mut self) {
        loop {
            self.rest.extend(self.server.take_received());
            let mut replies = Vec::new();
            while let Some((header, payload)) = take_frame(&mut self.rest) {
                self.frame(&header, &payload, &mut replies);
            }
            if replies.is_empty() || self.is_closed() {
                return;
            }
            self.server.send(&replies);
        }
    }

    fn frame(&mut self, header: &FrameHeader, payload: &[u8], replies: &mut Vec<u8>) {
        // What the server sends is for a client, so PUSH_PROMISE and the like cannot come.
        let Ok(frame) = header.frame(payload) else {
            return;
        };
        match frame {
            Frame::Settings => write::settings_ack(replies),
            Frame::Ping { data } => write::ping(data, true, replies),
            Frame::Headers {
                stream,
                block,
                end_stream,
                ..
            } => self.head(stream, &payload[block], end_stream),
            Frame::Data {
                stream,
                data,
                end_stream,
                ..
            } => {
                let response = self.responses.entry(stream).or_default();
                response.body.extend_from_slice(&payload[data]);
                response.is_complete |= end_stream;
            }
            Frame::Reset { stream, code } => {
                self.responses.entry(stream).or_default().reset = Some(code.0);
            }
            Frame::GoAway { last, code } => self.goaways.push((last, code.0)),
            _ => {}
        }
    }

    fn head(&mut self, stream: u32, block: &[u8], end_stream: bool) {
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        let decoded = self.decoder.decode(block, MOST, &mut bytes, |_, field| {
            ranges.push((field.start, field.value, field.end));
        });
        if decoded.is_err() {
            return;
        }
        let text = |from: usize, to: usize| String::from_utf8_lossy(&bytes[from..to]).into_owned();
        let mut fields: Vec<_> = ranges
            .into_iter()
            .map(|(start, value, end)| (text(start, value), text(value, end)))
            .collect();
        let response = self.responses.entry(stream).or_default();
        response.is_complete |= end_stream;
        if response.status != 0 {
            response.trailers = fields;
            return;
        }
        let status = fields.remove(0).1.parse().unwrap_or(0);
        match status {
            100..=199 => response.interim.push(status),
            _ => (response.status, response.fields) = (status, fields),
        }
    }
}

/// Takes the next complete frame.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(FrameHeader, Vec<u8>)> {
    let header = FrameHeader::parse(bytes.first_chunk::<HEADER>()?);
    let end = HEADER + header.len;
    if bytes.len() < end {
        return None;
    }
    let payload = bytes[HEADER..end].to_vec();
    bytes.drain(..end);
    Some((header, payload))
}

impl<H: Handler> std::fmt::Debug for Http2<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2")
            .field("streams", &self.responses.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
