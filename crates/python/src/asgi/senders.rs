//! WebSockets whose `send` waits for the client.

use peregrine::ws::{Hub, WsId};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, PoisonError};

/// Unsent bytes above which `send` waits.
const MARK: usize = 256 << 10;

/// Whether the client has room, or has gone.
pub(super) fn has_room(id: WsId, hub: &Hub) -> bool {
    hub.backlog(id).is_none_or(|backlog| backlog <= MARK)
}

thread_local! {
    static IS_OF_WEBSOCKETS: Cell<bool> = const { Cell::new(false) };
}

/// This thread sends to WebSockets. The others need not look at those that wait.
pub(super) fn mark_thread() {
    IS_OF_WEBSOCKETS.set(true);
}

struct Sender {
    number: u64,
    id: WsId,
    hub: Hub,
}

/// The WebSocket thread looks at them at the end of each turn. No hook of the library tells that a message has left the
/// mailbox of a thread.
#[derive(Default)]
pub(super) struct Senders {
    /// False if there are none, so that a turn takes no lock.
    are_there: AtomicBool,
    waiting: Mutex<Vec<Sender>>,
}

impl Senders {
    /// Adds one. The caller looks at [`has_room`] again afterwards.
    pub(super) fn add(&self, number: u64, id: WsId, hub: &Hub) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.iter().all(|sender| sender.number != number) {
            let hub = hub.clone();
            waiting.push(Sender { number, id, hub });
        }
        self.are_there.store(true, Ordering::Relaxed);
        drop(waiting);
        // Either the caller sees what the turn has sent, or `take_ready` sees the sender.
        fence(Ordering::SeqCst);
    }

    /// Takes the numbers of those that have room, or whose client has gone.
    pub(super) fn take_ready(&self) -> Vec<u64> {
        if !IS_OF_WEBSOCKETS.get() {
            return Vec::new();
        }
        fence(Ordering::SeqCst);
        if !self.are_there.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = Vec::new();
        waiting.retain(|sender| {
            let is_ready = has_room(sender.id, &sender.hub);
            if is_ready {
                ready.push(sender.number);
            }
            !is_ready
        });
        self.are_there.store(!waiting.is_empty(), Ordering::Relaxed);
        ready
    }
}
