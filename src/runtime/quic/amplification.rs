//! What an address gets that need not be that of the client (RFC 9000 section 8).

use std::net::SocketAddr;

/// How much more than it has sent an address gets (RFC 9000 section 8.1).
const FACTOR: usize = 3;

/// Bytes that addresses have sent and may get. `quinn-proto` counts, too, but it sends one datagram too many in a handshake,
/// and answers datagrams from any address with full ones.
#[derive(Debug)]
pub(super) struct Allowed {
    /// The address of the client in its handshake.
    client: SocketAddr,
    /// That is its own.
    is_valid: bool,
    /// What it may get until then.
    left: usize,
    /// The last address that is not that of the path, and what it may get.
    other: Option<(SocketAddr, usize)>,
}

impl Allowed {
    pub(super) fn new(client: SocketAddr) -> Allowed {
        Allowed {
            client,
            is_valid: false,
            left: 0,
            other: None,
        }
    }

    /// The client has shown that it receives what is sent to its address.
    pub(super) fn validate(&mut self) {
        self.is_valid = true;
    }

    /// A datagram has come. `path`: the address of the client, as QUIC has it then.
    pub(super) fn received(&mut self, from: SocketAddr, bytes: usize, path: SocketAddr) {
        let more = bytes.saturating_mul(FACTOR);
        if !self.is_valid {
            self.left = self.left.saturating_add(more);
        }
        if from != path {
            let had = self.other.filter(|(addr, _)| *addr == from);
            let had = had.map_or(0, |(_, left)| left);
            self.other = Some((from, had.saturating_add(more)));
        }
    }

    /// Whether a datagram may be sent. If so, it counts. QUIC sends what is lost again, as far as it matters.
    pub(super) fn may_send(&mut self, to: SocketAddr, bytes: usize, path: SocketAddr) -> bool {
        let left = match &mut self.other {
            Some((addr, left)) if to != path && *addr == to => left,
            _ if to != path && to != self.client => return false,
            _ if self.is_valid => return true,
            _ => &mut self.left,
        };
        match left.checked_sub(bytes) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_three_times_what_it_has_sent() {
        let path = SocketAddr::from(([192, 0, 2, 1], 7));
        let mut allowed = Allowed::new(path);
        assert!(!allowed.may_send(path, 1, path));
        allowed.received(path, 1200, path);
        assert!(allowed.may_send(path, 1200, path) && allowed.may_send(path, 2400, path));
        assert!(!allowed.may_send(path, 1, path));
        allowed.received(path, 100, path);
        assert!(!allowed.may_send(path, 301, path) && allowed.may_send(path, 300, path));
        allowed.validate();
        assert!(allowed.may_send(path, 1 << 20, path));
    }

    /// An answer to a challenge goes to where that has come from.
    #[test]
    fn another_address_does_not_either() {
        let path = SocketAddr::from(([192, 0, 2, 1], 7));
        let other = SocketAddr::from(([192, 0, 2, 2], 7));
        let mut allowed = Allowed::new(path);
        allowed.validate();
        allowed.received(other, 36, path);
        assert!(!allowed.may_send(other, 1200, path) && allowed.may_send(other, 100, path));
        assert!(!allowed.may_send(other, 9, path) && allowed.may_send(other, 8, path));
        allowed.received(other, 1200, path);
        assert!(allowed.may_send(other, 1200, path));
        assert!(
            allowed.may_send(other, 1 << 20, other),
            "it is the path now"
        );
        // Of several only the last one is known.
        let third = SocketAddr::from(([192, 0, 2, 3], 7));
        allowed.received(third, 36, path);
        assert!(!allowed.may_send(other, 1, path) && allowed.may_send(path, 1200, other));
    }
}
