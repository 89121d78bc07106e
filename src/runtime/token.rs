//! Tokens: what an event of the poller is about.

use crate::shared::id::{ConnId, Slot};

/// Names a registered socket in its events: a connection, a listener or a socket of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Token(usize);

impl Token {
    /// The token with this number.
    #[inline(always)]
    pub(super) const fn of(number: usize) -> Token {
        Token(number)
    }

    #[inline(always)]
    pub(super) fn number(self) -> usize {
        self.0
    }

    /// The token of the listener with this number, less than [`Slot::RESERVED`].
    pub(crate) fn of_listener(index: usize) -> Token {
        Token(Slot::COUNT + index)
    }

    /// The number of the listener, if it is the token of one.
    #[inline]
    pub(crate) fn listener(self) -> Option<usize> {
        let index = self.0.checked_sub(Slot::COUNT);
        index.filter(|index| *index < Slot::RESERVED)
    }

    /// The token of the connection with this number among those whose PROXY header is incomplete. Connections have
    /// other slots, and listeners no generation.
    pub(crate) fn of_greeting(index: usize) -> Token {
        let generation = 1 + (index / Slot::RESERVED) as u32;
        let slot = Slot::new(Slot::COUNT + index % Slot::RESERVED);
        ConnId::new(slot, generation).into()
    }

    /// The number of such a connection, if it is the token of one.
    pub(crate) fn greeting(self) -> Option<usize> {
        let reserved = self.conn().slot().index().checked_sub(Slot::COUNT)?;
        let generation = self.conn().generation().checked_sub(1)?;
        Some(generation as usize * Slot::RESERVED + reserved)
    }

    /// The token of the socket of datagrams with this number, less than [`Slot::RESERVED`].
    #[cfg(feature = "http3")]
    pub(crate) fn of_datagrams(index: usize) -> Token {
        Token(Slot::COUNT + Slot::RESERVED + index)
    }

    /// The number of the socket of datagrams, if it is the token of one.
    #[cfg(feature = "http3")]
    pub(crate) fn datagrams(self) -> Option<usize> {
        let index = self.0.checked_sub(Slot::COUNT + Slot::RESERVED)?;
        Some(index).filter(|index| *index < Slot::RESERVED)
    }

    /// Whether it is the token of none of these, but of a connection that a worker serves.
    #[inline(always)]
    pub(crate) fn is_conn(self) -> bool {
        self.conn().slot().index() < Slot::COUNT
    }

    /// The connection, if it is the token of one.
    #[inline]
    pub(crate) fn conn(self) -> ConnId {
        ConnId::of(self.0)
    }
}

impl From<ConnId> for Token {
    #[inline]
    fn from(id: ConnId) -> Token {
        Token(id.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_headers_are_those_of_nothing_else() {
        for index in [0, 1, Slot::RESERVED - 1, Slot::RESERVED, 70_000] {
            let token = Token::of_greeting(index);
            assert_eq!((token.greeting(), token.listener()), (Some(index), None));
            assert!(!token.is_conn());
        }
        let listener = Token::of_listener(7);
        assert_eq!((listener.greeting(), listener.is_conn()), (None, false));
        #[cfg(feature = "http3")]
        for index in [0, Slot::RESERVED - 1] {
            let token = Token::of_datagrams(index);
            assert_eq!((token.datagrams(), token.listener()), (Some(index), None));
            assert_eq!((token.greeting(), token.is_conn()), (None, false));
            assert_eq!(listener.datagrams(), None);
        }
        let conn = Token::from(ConnId::new(Slot::new(7), 3));
        assert_eq!((conn.greeting(), conn.is_conn()), (None, true));
    }
}
