//! A socket of datagrams, with batches and the offloads of the system.

use crate::runtime::listener;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Messages of the system in one read. Each may have several datagrams of one client.
const BATCH: usize = 8;

/// Bytes of a message at most.
const MESSAGE: usize = 64 << 10;

/// Datagrams that are given to the system at once at most, for one client.
pub(super) const SEGMENTS: usize = 32;

/// A socket of a worker, bound to the address of a listener.
pub(crate) struct DatagramSocket {
    pub(super) socket: UdpSocket,
    state: UdpSocketState,
}

/// Datagrams of one client, one after the other.
pub(super) struct Received<'a> {
    pub(super) peer: SocketAddr,
    /// The address that they were sent to.
    pub(super) local: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    /// Bytes of each, but for the last one.
    pub(super) stride: usize,
    pub(super) bytes: &'a [u8],
}

/// Memory for the messages of one read.
pub(super) struct Buffers(Box<[u8]>);

impl Buffers {
    pub(super) fn new() -> Buffers {
        Buffers(vec![0; BATCH * MESSAGE].into())
    }
}

impl DatagramSocket {
    /// Binds to `addr`. `shared` and `only_v6`: as for a listener.
    pub(crate) fn bind(addr: SocketAddr, shared: bool, only_v6: bool) -> io::Result<Self> {
        DatagramSocket::new(listener::bind_datagrams(addr, shared, only_v6)?)
    }

    fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(DatagramSocket { socket, state })
    }

    /// Another socket with the same address, for the datagrams of one client.
    pub(super) fn connected(&self, peer: SocketAddr) -> io::Result<Self> {
        let addr = self.local_addr()?;
        let only_v6 = addr.is_ipv6() && socket2::SockRef::from(&self.socket).only_v6()?;
        let socket = listener::bind_datagrams(addr, true, only_v6)?;
        socket.connect(peer)?;
        DatagramSocket::new(socket)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether the system may divide datagrams that are too large for the path.
    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Datagrams that one [`DatagramSocket::send`] may have.
    pub(super) fn segments(&self) -> usize {
        self.state.max_gso_segments().clamp(1, SEGMENTS)
    }

    /// Reads once. False if nothing more is there.
    pub(super) fn receive(
        &self,
        buffers: &mut Buffers,
        mut take: impl FnMut(Received<'_>),
    ) -> io::Result<bool> {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut chunks = buffers.0.chunks_exact_mut(MESSAGE);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let count = match self
            .state
            .recv((&self.socket).into(), &mut slices, &mut meta)
        {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        for (slice, meta) in slices.iter().zip(&meta[..count]) {
            let bytes = &slice[..meta.len.min(MESSAGE)];
            if bytes.is_empty() {
                continue;
            }
            take(Received {
                peer: meta.addr,
                local: meta.dst_ip,
                ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                stride: meta.stride.clamp(1, bytes.len()),
                bytes,
            });
        }
        // With less than there is room for, the queue was empty.
        Ok(count == BATCH.min(quinn_udp::BATCH_SIZE))
    }

    /// Sends datagrams. False if the system takes none now. Other errors are those of a path: the datagrams are lost.
    pub(super) fn send(&self, transmit: &Transmit, bytes: &[u8]) -> bool {
        let ecn = transmit.ecn;
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &bytes[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let sent = self.state.send((&self.socket).into(), &transmit);
        !sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
