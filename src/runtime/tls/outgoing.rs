//! Encrypted bytes that are to be sent, and which records they are.

/// Bytes for the client, which a session appends.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Longer than what is in it, so that nothing is cleared twice.
    bytes: Vec<u8>,
    len: usize,
    records: Vec<Record>,
    /// Where the last of them ends.
    recorded: usize,
}

/// A record on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its bytes, and those that stand before or behind it without plaintext of their own.
    pub(crate) wire: usize,
    /// Bytes of plaintext in it.
    pub(crate) plain: usize,
}

impl Outgoing {
    pub(crate) fn clear(&mut self) {
        (self.len, self.recorded) = (0, 0);
        self.records.clear();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The records, which cover all bytes.
    pub(crate) fn records(&mut self) -> &[Record] {
        if let Some(last) = self.records.last_mut() {
            last.wire += self.len - self.recorded;
            self.recorded = self.len;
        } else if self.len > 0 {
            self.end_record(0);
        }
        &self.records
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.append(|room| match room.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Ok(bytes.len())
            }
            None => Err(bytes.len()),
        });
    }

    /// Has `write` write behind what is there. It returns how many bytes it has written, or how many it needs.
    pub(super) fn append(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
        loop {
            match write(&mut self.bytes[self.len..]) {
                Ok(written) => break self.len += written,
                Err(needed) => self.bytes.resize(self.len + needed, 0),
            }
        }
    }

    pub(super) fn end_record(&mut self, plain: usize) {
        let wire = self.len - std::mem::replace(&mut self.recorded, self.len);
        self.records.push(Record { wire, plain });
    }
}
