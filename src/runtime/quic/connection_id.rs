//! Connection ids that name the worker of their connection.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid, RandomConnectionIdGenerator};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a connection id.
const LENGTH: usize = 8;

/// Those of them that name the worker.
const WORKER: usize = 2;

/// Names workers in connection ids, so that no observer can read them (RFC 9000 section 5.1): the bytes are masked with a
/// hash of the others, under a key of the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionIds(Arc<RandomState>);

impl ConnectionIds {
    fn mask(&self, random: &[u8]) -> u16 {
        (self.0.hash_one(random) >> 48) as u16
    }

    /// The ids of a worker.
    pub(crate) fn of(&self, worker: u16) -> OfWorker {
        OfWorker {
            ids: self.clone(),
            worker,
            random: RandomConnectionIdGenerator::new(LENGTH),
        }
    }

    /// The worker that has made the id at the front of `bytes`. What is no id of this process names any worker.
    fn worker(&self, bytes: &[u8]) -> Option<u16> {
        let (worker, random) = bytes.get(..LENGTH)?.split_at(WORKER);
        let worker = u16::from_be_bytes([worker[0], worker[1]]);
        Some(worker ^ self.mask(random))
    }

    /// The worker to whose connection a datagram belongs. `None`: it may begin a connection, or names none.
    pub(crate) fn destination(&self, datagram: &[u8]) -> Option<u16> {
        const LONG: u8 = 0x80;
        const TYPE: u8 = 0x30;
        const HANDSHAKE: u8 = 0x20;
        let (&first, rest) = datagram.split_first()?;
        if first & LONG == 0 {
            return self.worker(rest);
        }
        // Version, length and id (RFC 9000 section 17.2). The id of an Initial packet may be chosen by the client.
        let (&length, id) = rest.get(4..)?.split_first()?;
        match first & TYPE == HANDSHAKE && usize::from(length) == LENGTH {
            true => self.worker(id),
            false => None,
        }
    }
}

/// Makes the ids of one worker.
pub(crate) struct OfWorker {
    ids: ConnectionIds,
    worker: u16,
    random: RandomConnectionIdGenerator,
}

impl ConnectionIdGenerator for OfWorker {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = self.random.generate_cid();
        let (worker, random) = id.split_at_mut(WORKER);
        let masked = self.worker ^ self.ids.mask(random);
        worker.copy_from_slice(&masked.to_be_bytes());
        id
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match self.ids.worker(id) == Some(self.worker) {
            true => Ok(()),
            false => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_worker() {
        let ids = ConnectionIds::default();
        for worker in [0, 1, 255, 256, 4095] {
            let mut of = ids.of(worker);
            for _ in 0..100 {
                let id = of.generate_cid();
                assert!(of.validate(&id).is_ok());
                assert_eq!(ids.worker(&id), Some(worker));
            }
        }
    }

    /// Without the key an observer does not see which ids are of one worker.
    #[test]
    fn the_ids_of_a_worker_have_nothing_in_common() {
        let mut of = ConnectionIds::default().of(7);
        let mut firsts: Vec<[u8; WORKER]> = (0..1000)
            .map(|_| of.generate_cid()[..WORKER].try_into().expect("two"))
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 900, "{}", firsts.len());
    }

    #[test]
    fn destinations_of_datagrams() {
        let ids = ConnectionIds::default();
        let id = ids.of(3).generate_cid();
        let short = [&[0x40][..], &id, b"rest"].concat();
        assert_eq!(ids.destination(&short), Some(3));
        let long = |first, length| [&[first, 0, 0, 0, 1, length][..], &id, b"rest"].concat();
        assert_eq!(ids.destination(&long(0xe0, 8)), Some(3));
        for other in [long(0xc0, 8), long(0xd0, 8), long(0xf0, 8), long(0xe0, 7)] {
            assert_eq!(ids.destination(&other), None);
        }
        for length in 0..9 {
            assert_eq!(ids.destination(&short[..length]), None);
        }
        for length in 0..14 {
            assert_eq!(ids.destination(&long(0xe0, 8)[..length]), None);
        }
    }
}
