//! A server of HTTP/2 without TLS, with a thread for each connection: the least that a driver does.
//!
//! ```sh
//! cargo run -p peregrine-protocol --features http2 --example http2 -- 127.0.0.1:8080
//! curl --http2-prior-knowledge http://127.0.0.1:8080/
//! ```

use peregrine_protocol::Seconds;
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::h1::framing::BodyLength;
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::h2::connection::{Http2, Next, RequestParts};
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::h2::limits::Http2Limits;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use peregrine_protocol::limits::Limits;
use peregrine_protocol::payload::Payload;
use peregrine_protocol::write_buf::{MAX_SLICES, WriteBuf};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A request whose body is coming in; there are as many as streams at the most.
struct Upload {
    stream: u32,
    path: String,
    body: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    http2: Http2,
    input: Input,
    head: HeadBuf,
    output: WriteBuf,
    uploads: Vec<Upload>,
    now: Seconds,
}

const SERVER: &[u8] = b"Server: example\r\n";
const TEXT: &[u8] = b"Content-Type: text/plain\r\n";

impl Connection {
    /// Until it is closed. A read that takes a second is a look at the clock.
    fn run(&mut self, limits: &Limits, http2: &Http2Limits) -> io::Result<()> {
        let begun = Instant::now();
        self.stream.set_nodelay(true)?;
        self.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        loop {
            let mut is_over = self.turn(limits, http2);
            // When the output is empty, there may be room for more.
            while !self.output.is_empty() {
                self.write()?;
                is_over = is_over || self.turn(limits, http2);
            }
            if is_over {
                return Ok(());
            }
            match self.stream.read(self.input.space()) {
                Ok(0) => self.http2.eof(),
                Ok(n) => self.input.filled(n),
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(e) => return Err(e),
            }
            self.now = Seconds::at(begun.elapsed());
            if self.http2.deadline(limits) <= self.now {
                self.http2.expire(&mut self.output, limits, http2, self.now);
            }
        }
    }

    /// Handles what has come. True if the connection is over.
    fn turn(&mut self, limits: &Limits, http2: &Http2Limits) -> bool {
        loop {
            let (input, head, output) = (&mut self.input, &mut self.head, &mut self.output);
            match self
                .http2
                .next(input, head, output, limits, http2, self.now)
            {
                Next::Read => return false,
                Next::Close(_) => return true,
                Next::Request(request) => self.request(&request),
                Next::Refused { stream, error } => self.refuse(stream, error),
                Next::Data {
                    stream,
                    piece,
                    is_last,
                } => {
                    let bytes = &self.input.unread()[piece];
                    let is_of = |upload: &&mut Upload| upload.stream == stream;
                    let mut is_too_large = false;
                    if let Some(upload) = self.uploads.iter_mut().find(is_of) {
                        upload.body.extend_from_slice(bytes);
                        is_too_large = upload.body.len() > limits.body_bytes;
                    }
                    let (n, output) = (bytes.len(), &mut self.output);
                    self.http2.release(stream, n, output, self.now);
                    if is_too_large {
                        self.forget(stream);
                        self.refuse(stream, ProtocolError::BodyTooLarge);
                    }
                    if is_last {
                        self.uploaded(stream);
                    }
                }
                Next::Trailers { stream } => self.uploaded(stream),
                Next::Malformed { .. } => {}
                Next::Reset { stream, .. } => drop(self.forget(stream)),
                Next::Drained { stream } => drop(self.http2.finish(stream, b"Checksum: none\r\n")),
            }
        }
    }

    fn request(&mut self, request: &RequestParts) {
        let stream = request.stream;
        let path = self.head.head.target.path(self.head.bytes());
        let path = String::from_utf8_lossy(path).into_owned();
        if request.framing.body == BodyLength::Exact(0) {
            return self.answer(stream, &path, Vec::new());
        }
        if request.framing.expects_continue {
            self.http2.interim(stream, 100, &[], &mut self.output);
        }
        let body = Vec::new();
        self.uploads.push(Upload { stream, path, body });
    }

    fn forget(&mut self, stream: u32) -> Option<Upload> {
        let at = self
            .uploads
            .iter()
            .position(|upload| upload.stream == stream)?;
        Some(self.uploads.swap_remove(at))
    }

    fn uploaded(&mut self, stream: u32) {
        if let Some(Upload { path, body, .. }) = self.forget(stream) {
            self.answer(stream, &path, body);
        }
    }

    /// If more of a body is on its way, the client learns that it need not come.
    fn refuse(&mut self, stream: u32, error: ProtocolError) {
        let head = ResponseHead {
            status: error.status(),
            ..ResponseHead::OK
        };
        self.respond(stream, &head, error.text().into());
    }

    /// The handler.
    fn answer(&mut self, stream: u32, path: &str, body: Vec<u8>) {
        match path {
            "/" => self.respond(stream, &ResponseHead::OK, "Hello, World!\n".into()),
            "/echo" => self.respond(stream, &ResponseHead::OK, body.into()),
            "/large" => self.respond(stream, &ResponseHead::OK, vec![b'x'; 4 << 20].into()),
            "/trailers" => {
                let (http2, output, size) = (&mut self.http2, &mut self.output, BodySize::Unknown);
                let fields = &[SERVER, TEXT, b"Trailer: Checksum\r\n"];
                http2.begin(stream, &ResponseHead::OK, fields, size, output, self.now);
                http2.send(stream, self.now, |queue| queue.push(b"in pieces\n"));
            }
            _ => {
                let head = ResponseHead {
                    status: 404,
                    ..ResponseHead::OK
                };
                self.respond(stream, &head, "not found\n".into());
            }
        }
    }

    fn respond(&mut self, stream: u32, head: &ResponseHead, body: Payload) {
        let (fields, output) = (&[SERVER, TEXT], &mut self.output);
        self.http2
            .respond(stream, head, fields, body, output, self.now);
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let mut slices = [io::IoSlice::new(b""); MAX_SLICES];
            let count = self.output.gather(&mut slices, io::IoSlice::new);
            let n = self.stream.write_vectored(&slices[..count])?;
            self.output.advance(n);
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:0".into());
    let listener = TcpListener::bind(addr)?;
    writeln!(
        io::stdout(),
        "listening on http://{}",
        listener.local_addr()?
    )?;
    for stream in listener.incoming() {
        let (stream, http2) = (stream?, Http2Limits::default());
        std::thread::spawn(move || {
            let mut connection = Connection {
                stream,
                http2: Http2::new(Seconds::START, &http2),
                input: Input::new(),
                head: HeadBuf::new(),
                output: WriteBuf::default(),
                uploads: Vec::new(),
                now: Seconds::START,
            };
            // A client that is gone is no error of the server.
            let _ = connection.run(&Limits::default(), &http2);
        });
    }
    Ok(())
}
