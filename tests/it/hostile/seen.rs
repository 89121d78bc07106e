//! What a client of a crowd has received: just enough of HTTP/1, HTTP/2 and WebSocket to say how it ended.

use super::script::End;

#[derive(Default)]
pub(crate) struct Seen {
    /// Complete responses with 200.
    pub(crate) answers: u32,
    /// The status of the last response that was another one.
    refused: Option<u16>,
    /// Of a close frame, or of GOAWAY.
    code: Option<u16>,
    /// It is a WebSocket by now.
    upgraded: bool,
    buffer: Vec<u8>,
    /// Of a body, or of a frame.
    to_skip: usize,
}

impl Seen {
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        loop {
            let n = rest.len().min(self.to_skip);
            self.to_skip -= n;
            rest = &rest[n..];
            let used = match self.upgraded {
                _ if rest.is_empty() => None,
                true => self.frame(rest),
                false => self.head(rest),
            };
            let Some(used) = used else { break };
            rest = &rest[used..];
        }
        let used = buffer.len() - rest.len();
        buffer.drain(..used);
        self.buffer = buffer;
    }

    /// As [`Seen::received`], in HTTP/2. A response is counted when its head comes.
    pub(crate) fn received_frames(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = &self.buffer[at..] {
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some(payload) = rest.get(..len) else {
                break;
            };
            match (kind, payload) {
                (1, _) => self.answers += 1,
                (7, [_, _, _, _, code @ .., _]) if code.len() >= 3 => {
                    let code = payload[4..8].try_into().expect("four bytes");
                    // The first of a stop in two steps says nothing.
                    self.code = u16::try_from(u32::from_be_bytes(code)).ok();
                }
                _ => {}
            }
            at += 9 + len;
        }
        self.buffer.drain(..at);
    }

    /// The length of the head that `bytes` begin with.
    fn head(&mut self, bytes: &[u8]) -> Option<usize> {
        let len = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..len]).expect("a head is text");
        let status = head.strip_prefix("HTTP/1.1 ").expect("an answer");
        match status[..3].parse().expect("a status") {
            101 => self.upgraded = true,
            200 => self.answers += 1,
            status => self.refused = Some(status),
        }
        let mut lines = head.lines();
        let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
        self.to_skip = match length {
            Some(length) => length.trim().parse().expect("a length"),
            // Chunks: a scenario that needs them must extend this.
            None if head.contains("chunked") => usize::MAX,
            None => 0,
        };
        Some(len)
    }

    /// The length of the header of the frame that `bytes` begin with.
    fn frame(&mut self, bytes: &[u8]) -> Option<usize> {
        let [first, length, rest @ ..] = bytes else {
            return None;
        };
        let (len, header) = match (length, rest) {
            (126, [a, b, ..]) => (u16::from_be_bytes([*a, *b]) as usize, 4),
            (127, [a @ .., _]) if a.len() >= 7 => {
                let len = rest[..8].try_into().expect("eight");
                (u64::from_be_bytes(len) as usize, 10)
            }
            (126 | 127, _) => return None,
            (short, _) => (usize::from(*short), 2),
        };
        if *first == 0x88 && len >= 2 {
            let code = bytes.get(header..header + 2)?;
            self.code = Some(u16::from_be_bytes([code[0], code[1]]));
        }
        self.to_skip = len;
        Some(header)
    }

    pub(crate) fn end(&self) -> End {
        match (self.code, self.refused) {
            (Some(code), _) => End::Code(code),
            (None, Some(status)) => End::Status(status),
            (None, None) if self.answers > 0 && self.to_skip == 0 => End::Answered(self.answers),
            // Nothing, or half of something.
            (None, None) => End::Cut,
        }
    }
}
