//! Identifiers of connections, slots, requests and streams.

/// Bits of a [`ConnId`] for the slot. The others are the generation, so that an event or a message for a
/// closed connection cannot reach the next one in its slot.
const SLOT_BITS: u32 = if usize::BITS > 32 { 32 } else { 20 };
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;
/// The bit of the slot that connections of QUIC have. No other table is so large: each of its connections has a descriptor.
#[cfg(feature = "http3")]
const QUIC: usize = 1 << (SLOT_BITS - 1);
const GENERATIONS: u32 = (usize::MAX >> SLOT_BITS) as u32;

/// A place in a table of the thread, counted from 0. It is used again after its value is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct Slot(u32);

impl Slot {
    /// The number of slots that can be used. Larger numbers name other things, such as [`Slot::RESERVED`]
    /// listeners, and as many sockets of datagrams.
    pub(crate) const COUNT: usize = SLOT_MASK + 1 - 2 * Slot::RESERVED;

    pub(crate) const RESERVED: usize = 4 << 10;

    #[inline]
    pub(crate) fn new(index: usize) -> Slot {
        Slot(index as u32)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One connection of a thread: its slot and its generation. The generation distinguishes the connections that
/// have used the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct ConnId(usize);

impl ConnId {
    /// `generation` is a value that [`ConnId::generation`] has returned, or 0.
    #[inline]
    pub(crate) fn new(slot: Slot, generation: u32) -> ConnId {
        ConnId((generation as usize) << SLOT_BITS | slot.index())
    }

    /// The identifier with this number; see [`ConnId::number`].
    #[inline]
    pub(crate) const fn of(number: usize) -> ConnId {
        ConnId(number)
    }

    #[inline]
    pub(crate) fn number(self) -> usize {
        self.0
    }

    #[inline]
    pub(crate) fn slot(self) -> Slot {
        Slot((self.0 & SLOT_MASK) as u32)
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> SLOT_BITS) as u32
    }

    /// The same slot and generation among the connections of QUIC, which have a table of their own.
    #[cfg(feature = "http3")]
    pub(crate) fn of_quic(self) -> ConnId {
        ConnId(self.0 | QUIC)
    }

    /// The place in the table of the connections of QUIC, if it is one of those.
    #[cfg(feature = "http3")]
    #[inline]
    pub(crate) fn quic(self) -> Option<ConnId> {
        (self.0 & QUIC != 0).then_some(ConnId(self.0 & !QUIC))
    }

    /// The next connection in the same slot.
    pub(crate) fn next(self) -> ConnId {
        let generation = self.generation().wrapping_add(1) & GENERATIONS;
        ConnId::new(self.slot(), generation)
    }
}

/// One request of a thread: its place in the table of requests, and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct StreamId(u64);

impl StreamId {
    pub(crate) fn new(slot: Slot, generation: u32) -> StreamId {
        StreamId(u64::from(generation) << 32 | u64::from(slot.0))
    }

    pub(crate) fn slot(self) -> Slot {
        Slot(self.0 as u32)
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// One request of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId {
    pub(crate) conn: ConnId,
    pub(crate) stream: StreamId,
}

impl RequestId {
    /// The identifier that stands for no request.
    pub(crate) const NONE: RequestId = RequestId {
        conn: ConnId(0),
        stream: StreamId(u64::MAX),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_slot_and_a_generation() {
        for index in [0, 1, Slot::COUNT - 1] {
            let mut id = ConnId::new(Slot::new(index), 0);
            for generation in 0..3 {
                assert_eq!((id.slot().index(), id.generation()), (index, generation));
                assert_eq!(ConnId::of(id.number()), id);
                id = id.next();
            }
            let last = ConnId::new(Slot::new(index), GENERATIONS);
            assert_eq!(last.next(), ConnId::new(Slot::new(index), 0));
        }
    }
}
