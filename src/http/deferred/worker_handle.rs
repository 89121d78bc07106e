//! What other threads send to a worker, and the handle by which they do.

use super::pending::Pending;
use super::pending::StreamIds;
use super::streamed_body::StreamedBody;
use crate::http::request_body::flow::Flow;
use crate::http::response::error::ResponseError;
use crate::runtime::thread_pool::ThreadPool;
use crate::shared::id::{ConnId, RequestId};
use crate::shared::inbox::Inbox;
use crate::shared::memory_budget::MemoryBudget;
use crate::shared::output::Detached;
use crate::shared::panic_guard::Panic;
use crate::shared::timer_heap::NewTimer;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use peregrine_protocol::limits::Limits;
use peregrine_protocol::payload::Payload;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// A response on its way to its connection.
#[derive(Debug)]
pub(crate) struct DeferredResponse {
    pub(crate) head: ResponseHead,
    /// How much of `bytes` is its block of fields.
    pub(crate) fields: usize,
    pub(crate) size: BodySize,
    /// Of a body that is complete.
    pub(crate) body_bytes: u64,
    /// Its fields, and behind them its body if that is complete.
    pub(crate) bytes: Detached,
    /// The body comes later still.
    pub(crate) body: Option<Box<StreamedBody>>,
}

/// What other threads want of a worker.
#[derive(Debug)]
pub(crate) enum WorkerCommand {
    Answer(RequestId, DeferredResponse),
    /// There will be no response, for this reason.
    Fail(RequestId, ResponseError),
    /// There will be none, as what should make it has panicked.
    Panicked(RequestId, Panic),
    /// The next piece of a streamed body.
    Piece(RequestId, Payload),
    /// The end of it, with trailers.
    End(RequestId, Box<[u8]>),
    /// The rest of it will never come.
    Cut(RequestId),
    /// A sink that has paused shall go on, or answer.
    Resume(RequestId, Flow),
    /// A timer that is to be started. It belongs to no connection.
    Timer(NewTimer),
}

impl WorkerCommand {
    /// The request that it is about, if it is about one.
    pub(crate) fn request(&self) -> Option<RequestId> {
        match self {
            WorkerCommand::Answer(id, _)
            | WorkerCommand::Fail(id, _)
            | WorkerCommand::Panicked(id, _)
            | WorkerCommand::Piece(id, _)
            | WorkerCommand::End(id, _)
            | WorkerCommand::Cut(id)
            | WorkerCommand::Resume(id, _) => Some(*id),
            WorkerCommand::Timer(_) => None,
        }
    }
}

/// The part of a worker that other threads use to send responses later.
pub(crate) struct WorkerHandle {
    pub(crate) inbox: Inbox<WorkerCommand>,
    pending: Pending,
    /// Unsent bytes that a streamed body may be ahead of its client.
    pub(super) stream_bytes: usize,
    /// For handlers that block.
    pub(crate) pool: Arc<ThreadPool>,
    pub(crate) budget: Arc<MemoryBudget>,
    /// Calls that are waited for, and how many there may be.
    pub(crate) timers: Arc<AtomicUsize>,
    pub(crate) most_timers: usize,
}

thread_local! {
    /// This thread owns the inbox of a worker.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

impl WorkerHandle {
    pub(crate) fn new(
        limits: &Limits,
        pool: Arc<ThreadPool>,
        budget: Arc<MemoryBudget>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> WorkerHandle {
        WorkerHandle {
            inbox: Inbox::new(wake),
            pending: Pending::default(),
            stream_bytes: limits.output_bytes,
            pool,
            budget,
            timers: Arc::default(),
            most_timers: limits.timers_per_worker,
        }
    }

    /// The calling thread is the one that takes from the mailbox, and looks into it before it waits
    /// for anything.
    pub(crate) fn adopt(&self) {
        IS_WORKER.set(true);
        self.inbox.adopt();
    }

    /// Whether the calling thread is a worker. A worker must not wait for another worker, which may be
    /// waiting for it.
    pub(crate) fn is_worker() -> bool {
        IS_WORKER.get()
    }

    /// After the end of the worker the command is dropped. A thread that waits for its outcome sees the drop.
    pub(crate) fn post(&self, command: WorkerCommand) {
        self.inbox.post(command);
    }

    /// Something is to come for a request of this connection. For the owning thread.
    pub(crate) fn enter(&self, conn: ConnId, ids: &mut StreamIds) -> RequestId {
        self.pending.enter(conn, ids)
    }

    /// Nothing more is to come for it. For the owning thread.
    pub(crate) fn leave(&self, id: RequestId, ids: &mut StreamIds) {
        self.pending.leave(id, ids);
    }

    /// Its client has sent its last byte while it waits. For the owning thread.
    pub(crate) fn client_eof(&self, id: RequestId) {
        self.pending.client_eof(id);
    }

    /// Whether something is to come for it.
    pub(crate) fn is_waited_for(&self, id: RequestId) -> bool {
        self.pending.contains(id)
    }

    /// Whether the client is known to have left, or half left.
    pub(super) fn is_gone(&self, id: RequestId) -> bool {
        !self.pending.has_client(id) || self.is_closed()
    }

    /// How many requests are waited for.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// The worker ends: nothing is taken any more.
    pub(crate) fn close(&self) {
        if self.inbox.is_own() {
            IS_WORKER.set(false);
        }
        self.inbox.close();
    }
}

impl std::fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}
