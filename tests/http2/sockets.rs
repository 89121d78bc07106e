//! Over sockets, with HTTP/1 beside it.

use super::LONG;
use peregrine::config::Http2;
use peregrine::metrics::Stats;
use peregrine::server::ListenAddr;
use peregrine::{Config, Server, from_fn};
use peregrine_protocol::h2::frame::{Frame, FrameHeader, HEADER, MAX_PAYLOAD, PREFACE, write};
use peregrine_protocol::hpack::Encoder;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A client that sends frames and reads frames.
struct Client {
    socket: TcpStream,
    encoder: Encoder,
    last: u32,
}

impl Client {
    fn connect(addr: SocketAddr) -> Client {
        let socket = TcpStream::connect(addr).expect("a connection");
        socket.set_read_timeout(Some(LONG)).expect("a timeout");
        let mut client = Client {
            socket,
            encoder: Encoder::new(),
            last: 0,
        };
        let mut first = PREFACE.to_vec();
        write::settings(&[], &mut first);
        client.send(&first);
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    fn get(&mut self, path: &str) -> u32 {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        let (mut frames, encoder) = (Vec::new(), &mut self.encoder);
        write::headers(self.last, true, MAX_PAYLOAD, &mut frames, |out| {
            encoder.begin(out);
            for (name, value) in [
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "test"),
                (":path", path),
            ] {
                encoder.field(name.as_bytes(), value.as_bytes(), out);
            }
        });
        self.send(&frames);
        self.last
    }

    /// The next frame with its payload. `None` if the server has closed.
    fn frame(&mut self) -> Option<(Frame, Vec<u8>)> {
        let mut header = [0; HEADER];
        match self.socket.read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
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
    fn body(&mut self, of: u32) -> Vec<u8> {
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

/// What the server sends to these bytes, until it closes.
pub(crate) fn exchange(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).expect("a connection");
    socket.set_read_timeout(Some(LONG)).expect("a timeout");
    socket.write_all(bytes).expect("the server reads");
    let mut all = Vec::new();
    socket.read_to_end(&mut all).expect("the server closes");
    all
}

const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn listeners_speak_what_they_are_set_to() {
    let app = from_fn(|req, res| res.text(req.version().to_string()));
    let server = Server::new(app)
        .config(Config::default().workers(1))
        .bind("127.0.0.1:0")
        .bind("127.0.0.1:0")
        .http2(Http2::Only)
        .bind("127.0.0.1:0")
        .http2(Http2::Off)
        .start()
        .expect("a server");
    let tcp = |addr: &ListenAddr| match addr {
        ListenAddr::Tcp(addr) => *addr,
        other => panic!("{other:?}"),
    };
    let addrs: Vec<_> = server.local_addrs().iter().map(tcp).collect();
    let [on, only, off] = addrs.try_into().expect("three");
    assert!(exchange(on, HTTP1).ends_with(b"HTTP/1.1"));
    assert!(exchange(off, HTTP1).ends_with(b"HTTP/1.1"));
    for addr in [on, only] {
        let mut client = Client::connect(addr);
        let stream = client.get("/");
        assert_eq!(client.body(stream), b"HTTP/2.0");
    }
    // SETTINGS, and then GOAWAY.
    let refused = exchange(only, HTTP1);
    assert!(!refused.starts_with(b"HTTP"));
    let text = b"the client preface is missing";
    assert!(refused.ends_with(text), "{refused:?}");
    assert!(exchange(off, PREFACE).starts_with(b"HTTP/1.1 400 "));
    drop(server);
}

#[test]
fn a_stop_ends_connections_of_both_versions() {
    let app = from_fn(|_, res| res.text("fine"));
    let stats = Stats::new();
    let server = Server::new(app).stats(&stats).bind("127.0.0.1:0");
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let mut clients = [(); 4].map(|()| Client::connect(addr));
    for client in &mut clients {
        for _ in 0..100 {
            let stream = client.get("/");
            assert_eq!(client.body(stream), b"fine");
        }
    }
    server.stop();
    for client in &mut clients {
        let mut goaways = Vec::new();
        while let Some((frame, _)) = client.frame() {
            if let Frame::GoAway { last, code } = frame {
                goaways.push((last, code.0));
            }
        }
        assert_eq!(goaways, [((1 << 31) - 1, 0), (199, 0)]);
    }
    drop(clients);
    let stopped = server.wait().expect("no thread failed");
    assert_eq!(stopped.aborted, 0);
    let counters = stats.counters();
    assert_eq!(
        (counters.http2_connections, counters.http2_requests),
        (4, 400)
    );
    assert_eq!((counters.accepted, counters.closed), (4, 4));
}
