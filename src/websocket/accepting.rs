//! `Accepting`: what a program adds to the response that accepts a WebSocket.

use peregrine_protocol::http::{field_block, fields};
use peregrine_protocol::syntax;

/// What the response that accepts a connection has of the program.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    /// The header fields, as a block.
    pub(crate) fields: Vec<u8>,
    has_protocol: bool,
}

impl Accepting {
    /// Without fields, but with the choice of a subprotocol.
    pub(super) fn rest(&self) -> Accepting {
        Accepting {
            fields: Vec::new(),
            has_protocol: self.has_protocol,
        }
    }

    pub(super) fn protocol<'p>(
        &mut self,
        name: &str,
        mut offered: impl Iterator<Item = &'p str>,
    ) -> Result<(), UpgradeError> {
        if self.has_protocol {
            return Err(UpgradeError::ChosenAlready);
        }
        if !offered.any(|offered| offered == name) {
            return Err(UpgradeError::NotOffered);
        }
        self.has_protocol = true;
        field_block::push(b"Sec-WebSocket-Protocol", name.as_bytes(), &mut self.fields);
        Ok(())
    }

    pub(super) fn header(&mut self, name: &str, value: &[u8]) -> Result<(), UpgradeError> {
        if !syntax::is_token(name.as_bytes()) || !syntax::is_field_value(value) {
            return Err(UpgradeError::Malformed);
        }
        if fields::is_of_handshake(name) {
            return Err(UpgradeError::Reserved);
        }
        field_block::push(name.as_bytes(), value, &mut self.fields);
        Ok(())
    }
}

/// Why a setting of the response to a handshake is refused.
///
/// ```
/// assert_eq!(peregrine::ws::UpgradeError::NotOffered.to_string(), "the client has not offered this subprotocol");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The name of a header field is not a token, or its value has a control byte.
    Malformed,
    /// The header field belongs to the handshake or to the library.
    Reserved,
    /// The client has not offered this subprotocol.
    NotOffered,
    /// A subprotocol was chosen before.
    ChosenAlready,
    /// The decision was deferred before.
    Deferred,
}

impl std::fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            UpgradeError::Malformed => "malformed header field",
            UpgradeError::Reserved => "the header field belongs to the handshake",
            UpgradeError::NotOffered => "the client has not offered this subprotocol",
            UpgradeError::ChosenAlready => "a subprotocol was chosen before",
            UpgradeError::Deferred => "the decision was deferred before",
        })
    }
}

impl std::error::Error for UpgradeError {}
