//! What a client of HTTP/3 has received.

use peregrine_protocol::h3::frame::{FrameHeader, kind, write};
use peregrine_protocol::qpack::Decoder;

/// What a client has received of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Http3Response {
    /// The status; 0 before the head has come.
    pub(crate) status: u16,
    /// Statuses of 1xx that came before.
    pub(crate) interim: Vec<u16>,
    /// The header fields, in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The body until now.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Nothing follows.
    pub(crate) is_complete: bool,
    /// The code of RESET_STREAM.
    pub(crate) reset: Option<u64>,
    /// The code of STOP_SENDING.
    pub(crate) stopped: Option<u64>,
    rest: Vec<u8>,
}

impl Http3Response {
    /// The value of the first field with this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(of, _)| of == name);
        field.map(|(_, value)| value.as_str())
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some((header, at)) = FrameHeader::parse(&self.rest) {
            let end = at + header.len as usize;
            if self.rest.len() < end {
                // Of one DATA frame for a whole body, pieces are looked at.
                if header.kind == kind::DATA && self.rest.len() > at {
                    let piece = self.rest.len() - at;
                    self.body.extend_from_slice(&self.rest[at..]);
                    self.rest.clear();
                    write::data(header.len - piece as u64, &mut self.rest);
                }
                return;
            }
            let payload: Vec<u8> = self.rest.drain(..end).skip(at).collect();
            match header.kind {
                kind::DATA => self.body.extend(payload),
                kind::HEADERS => self.head(&payload),
                other => panic!("a frame of type {other:#x} in a response"),
            }
        }
    }

    fn head(&mut self, section: &[u8]) {
        let mut fields = fields(section);
        if self.status != 0 {
            self.trailers = fields;
            return;
        }
        match fields.remove(0).1.parse().expect("a status") {
            status @ 100..=199 => self.interim.push(status),
            status => (self.status, self.fields) = (status, fields),
        }
    }
}

fn fields(section: &[u8]) -> Vec<(String, String)> {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    let decoded = Decoder.decode(section, 1 << 20, &mut bytes, |_, field| {
        ranges.push((field.start, field.value, field.end));
    });
    decoded.expect("a field section");
    let text = |from: usize, to: usize| String::from_utf8_lossy(&bytes[from..to]).into_owned();
    let fields = ranges.into_iter();
    fields
        .map(|(start, value, end)| (text(start, value), text(value, end)))
        .collect()
}
