//! RESP, the protocol of Redis, versions 2 and 3: commands out, values in. It knows no socket.

/// Depth of nested values.
const DEPTH: usize = 16;

/// Bytes of a line: of a number, a length, or a simple text.
const LINE: usize = 65_536;

/// What a server sends. Kinds that say the same are one here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Nil,
    /// Any text: simple, bulk or verbatim, a double, or a big number.
    Bytes(Vec<u8>),
    Error(String),
    Int(i64),
    Bool(bool),
    /// An array or a set. A map is a list of names and values.
    Array(Vec<Value>),
    /// Sent without a request: a message of a channel.
    Push(Vec<Value>),
}

impl Value {
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    pub(crate) fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    /// A number, also as text.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Int(number) => u64::try_from(*number).ok(),
            value => value.as_text()?.parse().ok(),
        }
    }
}

/// The server does not speak RESP, or a value is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RespError {
    Syntax,
    TooLarge,
    TooDeep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Array,
    Push,
    /// Says something about the value that follows. It is dropped.
    Attribute,
}

/// A value that has values in it, and is not complete.
struct Open {
    kind: Kind,
    missing: usize,
    values: Vec<Value>,
}

/// Takes bytes as they come, and returns complete values.
///
/// Each byte is looked at once, but for the line that is not complete.
pub(crate) struct Parser {
    bytes: Vec<u8>,
    /// Where the next value begins.
    at: usize,
    /// No line ends before.
    scanned: usize,
    open: Vec<Open>,
    /// Bytes of the current value that are parsed.
    taken: usize,
    most: usize,
}

enum Step {
    Value(Value),
    Opened,
    Incomplete,
}

impl Parser {
    /// A value may have `most` bytes.
    pub(crate) fn new(most: usize) -> Parser {
        Parser {
            bytes: Vec::new(),
            at: 0,
            scanned: 0,
            open: Vec::new(),
            taken: 0,
            most,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that are kept.
    pub(crate) fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// The next value; `None` if it is not complete.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, RespError> {
        loop {
            let begin = self.at;
            match self.step()? {
                Step::Incomplete => {
                    if self.taken + (self.bytes.len() - self.at) > self.most {
                        return Err(RespError::TooLarge);
                    }
                    self.bytes.drain(..self.at);
                    self.scanned = self.scanned.saturating_sub(self.at);
                    self.at = 0;
                    return Ok(None);
                }
                Step::Opened => self.taken += self.at - begin,
                Step::Value(value) => {
                    self.taken += self.at - begin;
                    if self.taken > self.most {
                        return Err(RespError::TooLarge);
                    }
                    if let Some(value) = self.close(value) {
                        self.taken = 0;
                        return Ok(Some(value));
                    }
                }
            }
        }
    }

    /// Puts a value into the one that is open. Returns the outermost one if it is complete.
    fn close(&mut self, value: Value) -> Option<Value> {
        let mut value = value;
        while let Some(open) = self.open.last_mut() {
            open.values.push(value);
            open.missing -= 1;
            if open.missing > 0 {
                return None;
            }
            let open = self.open.pop()?;
            value = match open.kind {
                Kind::Array => Value::Array(open.values),
                Kind::Push => Value::Push(open.values),
                Kind::Attribute => return None,
            };
        }
        Some(value)
    }

    fn step(&mut self) -> Result<Step, RespError> {
        let Some(&mark) = self.bytes.get(self.at) else {
            return Ok(Step::Incomplete);
        };
        let Some(line) = self.line()? else {
            return Ok(Step::Incomplete);
        };
        let (from, to) = (self.at + 1, line);
        if to < from {
            return Err(RespError::Syntax);
        }
        let text = &self.bytes[from..to];
        let value = match mark {
            b'+' | b',' | b'(' => Value::Bytes(text.to_vec()),
            b'-' => Value::Error(String::from_utf8_lossy(text).into_owned()),
            b':' => Value::Int(number(text)?),
            b'_' if text.is_empty() => Value::Nil,
            b'#' if text == b"t" => Value::Bool(true),
            b'#' if text == b"f" => Value::Bool(false),
            b'$' | b'=' | b'!' => return self.bulk(mark, to),
            b'*' | b'~' | b'>' | b'%' | b'|' => return self.aggregate(mark, to),
            _ => return Err(RespError::Syntax),
        };
        self.at = to + 2;
        Ok(Step::Value(value))
    }

    /// Where the line that begins at `at` ends: the place of its CR.
    fn line(&mut self) -> Result<Option<usize>, RespError> {
        let from = self.scanned.max(self.at);
        let end = self.bytes[from..]
            .windows(2)
            .position(|pair| pair == b"\r\n");
        let len = end.map_or(self.bytes.len(), |end| from + end) - self.at;
        if len > LINE {
            return Err(RespError::TooLarge);
        }
        // The last byte may be a CR.
        self.scanned = end.map_or(self.bytes.len().saturating_sub(1), |end| from + end);
        Ok(end.map(|end| from + end))
    }

    fn bulk(&mut self, mark: u8, line: usize) -> Result<Step, RespError> {
        let len = match number(&self.bytes[self.at + 1..line])? {
            -1 if mark == b'$' => {
                self.at = line + 2;
                return Ok(Step::Value(Value::Nil));
            }
            len => usize::try_from(len).map_err(|_| RespError::Syntax)?,
        };
        if len > self.most {
            return Err(RespError::TooLarge);
        }
        let from = line + 2;
        let Some(text) = self.bytes.get(from..from + len) else {
            return Ok(Step::Incomplete);
        };
        let Some(end) = self.bytes.get(from + len..from + len + 2) else {
            return Ok(Step::Incomplete);
        };
        if end != b"\r\n" {
            return Err(RespError::Syntax);
        }
        let value = match mark {
            b'!' => Value::Error(String::from_utf8_lossy(text).into_owned()),
            // Without its format, as `txt:`.
            b'=' => Value::Bytes(text.get(4..).ok_or(RespError::Syntax)?.to_vec()),
            _ => Value::Bytes(text.to_vec()),
        };
        self.at = from + len + 2;
        self.scanned = self.at;
        Ok(Step::Value(value))
    }

    fn aggregate(&mut self, mark: u8, line: usize) -> Result<Step, RespError> {
        let count = number(&self.bytes[self.at + 1..line])?;
        self.at = line + 2;
        if count == -1 && mark == b'*' {
            return Ok(Step::Value(Value::Nil));
        }
        let count = usize::try_from(count).map_err(|_| RespError::Syntax)?;
        // The shortest value has three bytes.
        if count > self.most / 3 {
            return Err(RespError::TooLarge);
        }
        let (kind, missing) = match mark {
            b'>' => (Kind::Push, count),
            b'%' => (Kind::Array, 2 * count),
            b'|' => (Kind::Attribute, 2 * count),
            _ => (Kind::Array, count),
        };
        if kind == Kind::Push && !self.open.is_empty() {
            return Err(RespError::Syntax);
        }
        if missing == 0 {
            return Ok(match kind {
                Kind::Array => Step::Value(Value::Array(Vec::new())),
                Kind::Push => Step::Value(Value::Push(Vec::new())),
                Kind::Attribute => Step::Opened,
            });
        }
        if self.open.len() >= DEPTH {
            return Err(RespError::TooDeep);
        }
        self.open.push(Open {
            kind,
            missing,
            values: Vec::new(),
        });
        Ok(Step::Opened)
    }
}

/// Digits, with a sign or none.
fn number(text: &[u8]) -> Result<i64, RespError> {
    let text = std::str::from_utf8(text).map_err(|_| RespError::Syntax)?;
    text.parse().map_err(|_| RespError::Syntax)
}

/// Appends a command: an array of bulk texts.
pub(crate) fn command(parts: &[&[u8]], out: &mut Vec<u8>) {
    let line = |mark: char, number: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{mark}{number}\r\n").as_bytes());
    };
    line('*', parts.len(), out);
    for part in parts {
        line('$', part.len(), out);
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
