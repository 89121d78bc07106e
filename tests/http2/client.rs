//! A client of HTTP/2 over a socket.

use peregrine_protocol::h2::frame::{Frame, FrameHeader, HEADER, MAX_PAYLOAD, PREFACE, write};
use peregrine_protocol::hpack::Encoder;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that sends frames and reads frames.
pub(crate) struct Client {
    socket: TcpStream,
    encoder: Encoder,
    last: u32,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        Client::behind(addr, b"")
    }

    /// A connection that begins with these bytes.
    pub(crate) fn behind(addr: SocketAddr, before: &[u8]) -> Client {
        let socket = TcpStream::connect(addr).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut client = Client {
            socket,
            encoder: Encoder::new(),
            last: 0,
        };
        let mut first = [before, PREFACE].concat();
        write::settings(&[], &mut first);
        client.send(&first);
        client
    }

    /// Gives room for so many more bytes of all responses together.
    pub(crate) fn open(&mut self, bytes: u32) {
        let mut frame = Vec::new();
        write::window_update(0, bytes, &mut frame);
        self.send(&frame);
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    pub(crate) fn get(&mut self, path: &str) -> u32 {
        let (stream, frames) = self.head("GET", path, true);
        self.send(&frames);
        stream
    }

    /// The head of the next request, and its stream. It is not sent.
    pub(crate) fn head(&mut self, method: &str, path: &str, is_last: bool) -> (u32, Vec<u8>) {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        let (mut frames, encoder) = (Vec::new(), &mut self.encoder);
        write::headers(self.last, is_last, MAX_PAYLOAD, &mut frames, |out| {
            encoder.begin(out);
            for (name, value) in [
                (":method", method),
                (":scheme", "http"),
                (":authority", "test"),
                (":path", path),
            ] {
                encoder.field(name.as_bytes(), value.as_bytes(), out);
            }
        });
        (self.last, frames)
    }

    /// The next frame with its payload. `None` if the server has closed.
    pub(crate) fn frame(&mut self) -> Option<(Frame, Vec<u8>)> {
        let mut header = [0; HEADER];
        match self.socket.read_exact(&mut header) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            read => read.expect("the server is there"),
        }
        let header = FrameHeader::parse(&header);
        let mut payload = vec![0; header.len];
        self.socket.read_exact(&mut payload).expect("a whole frame");
        let frame = header.frame(&payload).expect("a valid frame");
        let mut reply = Vec::new();
        match frame {
            Frame::Settings => write::settings_ack(&mut reply),
            Frame::Ping { data } => write::ping(data, true, &mut reply),
            _ => {}
        }
        // The server may have closed meanwhile.
        let _ = self.socket.write_all(&reply);
        Some((frame, payload))
    }

    /// The body of a response, when it is complete.
    pub(crate) fn body(&mut self, of: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let (frame, payload) = self.frame().expect("a response");
            if let Frame::Data {
                stream,
                data,
                end_stream,
                ..
            } = frame
            {
                assert_eq!(stream, of);
                body.extend_from_slice(&payload[data]);
                if end_stream {
                    return body;
                }
            }
        }
    }
}
