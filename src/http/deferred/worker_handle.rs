//! `WorkerHandle` and the commands that other threads send to a worker.

use super::pending::Pending;
use super::pending::StreamIds;
use super::streamed_body::StreamedBody;
use crate::http::request_body::flow::Flow;
use crate::http::response::always::Always;
use crate::http::response::error::ResponseError;
use crate::metrics::routes::RouteCounters;
#[cfg(feature = "http3")]
use crate::runtime::quic::Datagrams;
use crate::runtime::thread_pool::{Size, ThreadPool};
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
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
#[cfg(feature = "http3")]
use std::sync::atomic::Ordering;

/// A response on its way to its connection.
#[derive(Debug)]
pub(crate) struct DeferredResponse {
    pub(crate) head: ResponseHead,
    /// The length of the block of fields in `bytes`.
    pub(crate) fields: usize,
    pub(crate) size: BodySize,
    /// The length of a complete body.
    pub(crate) body_bytes: u64,
    /// Its fields, followed by its body if that is complete.
    pub(crate) bytes: Detached,
    /// The body comes later.
    pub(crate) body: Option<Box<StreamedBody>>,
}

/// A command of another thread to a worker.
#[derive(Debug)]
pub(crate) enum WorkerCommand {
    Respond(RequestId, DeferredResponse),
    /// The program accepts a handshake for another protocol, with a block of fields.
    #[cfg(feature = "websocket")]
    Accept(RequestId, Vec<u8>),
    /// There will be no response, for this reason: the client gets 500, with what stays of the response.
    Fail(RequestId, ResponseError, Option<Box<Always>>),
    /// There will be no response, because its closure has panicked.
    Panicked(RequestId, Panic, Option<Box<Always>>),
    /// The next piece of a streamed body.
    Piece(RequestId, Payload),
    /// The end of a streamed body, with trailers.
    End(RequestId, Box<[u8]>),
    /// The rest of a streamed body will never come.
    Cut(RequestId),
    /// A sink that has paused has to continue, or to respond.
    Resume(RequestId, Flow),
    /// Calls a function on the thread of the worker, if the response is still waited for.
    Run(RequestId, Work),
    /// Starts a timer, which belongs to no connection.
    Timer(NewTimer),
    /// Datagrams of a connection of this worker, which another one has received.
    #[cfg(feature = "http3")]
    Datagrams(Datagrams),
    /// A handler has returned an error to a request of this client. The response is on another way.
    Failed(Box<str>, Option<SocketAddr>),
}

/// A function that a worker calls.
pub(crate) struct Work(Box<dyn FnOnce() + Send>);

impl Work {
    pub(crate) fn new(work: impl FnOnce() + Send + 'static) -> Work {
        Work(Box::new(work))
    }

    pub(crate) fn run(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

impl WorkerCommand {
    /// The request of the command, if it concerns one.
    pub(crate) fn request(&self) -> Option<RequestId> {
        match self {
            WorkerCommand::Respond(id, _)
            | WorkerCommand::Fail(id, ..)
            | WorkerCommand::Panicked(id, ..)
            | WorkerCommand::Piece(id, _)
            | WorkerCommand::End(id, _)
            | WorkerCommand::Cut(id)
            | WorkerCommand::Resume(id, _)
            | WorkerCommand::Run(id, _) => Some(*id),
            #[cfg(feature = "websocket")]
            WorkerCommand::Accept(id, _) => Some(*id),
            WorkerCommand::Timer(_) | WorkerCommand::Failed(..) => None,
            #[cfg(feature = "http3")]
            WorkerCommand::Datagrams(_) => None,
        }
    }
}

/// The part of a worker that other threads use to send responses later.
pub(crate) struct WorkerHandle {
    pub(crate) inbox: Inbox<WorkerCommand>,
    pending: Pending,
    /// The most unsent bytes of a streamed body.
    pub(super) stream_bytes: usize,
    /// Threads for handlers that block.
    pub(crate) pool: Arc<ThreadPool>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) routes: Arc<RouteCounters>,
    /// The number of timers that wait, and its limit.
    pub(crate) timers: Arc<AtomicUsize>,
    pub(crate) most_timers: usize,
    /// Bytes of datagrams on their way from other workers.
    #[cfg(feature = "http3")]
    datagram_bytes: AtomicUsize,
}

thread_local! {
    /// Whether this thread owns the inbox of a worker.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

impl WorkerHandle {
    pub(crate) fn new(
        limits: &Limits,
        most_timers: usize,
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
            routes: Arc::default(),
            timers: Arc::default(),
            most_timers,
            #[cfg(feature = "http3")]
            datagram_bytes: AtomicUsize::new(0),
        }
    }

    /// For a response that belongs to no connection: what is posted is dropped, and there are no threads for handlers that block.
    pub(crate) fn of_no_worker() -> Arc<WorkerHandle> {
        let size = Size {
            threads: 0,
            queue: 0,
            stack: None,
        };
        let (pool, budget) = (ThreadPool::new(size, || {}), MemoryBudget::new(0));
        let handle = WorkerHandle::new(&Limits::default(), 0, pool, Arc::new(budget), || {});
        handle.inbox.close();
        Arc::new(handle)
    }

    /// The calling thread becomes the owner of the inbox. It reads the inbox before each wait.
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

    /// Gives the worker datagrams that are for it. False if more than `most` bytes would be on their way.
    #[cfg(feature = "http3")]
    pub(crate) fn forward(&self, datagrams: Datagrams, most: usize) -> bool {
        let bytes = datagrams.len();
        let before = self.datagram_bytes.fetch_add(bytes, Ordering::AcqRel);
        let has_room = before.saturating_add(bytes) <= most;
        let is_posted = has_room && self.inbox.post(WorkerCommand::Datagrams(datagrams));
        if !is_posted {
            self.datagram_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        is_posted
    }

    /// The worker has taken datagrams.
    #[cfg(feature = "http3")]
    pub(crate) fn has_taken(&self, datagrams: &Datagrams) {
        let bytes = datagrams.len();
        self.datagram_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Adds a pending request of this connection. Only for the thread of the worker.
    pub(crate) fn enter(&self, conn: ConnId, ids: &mut StreamIds) -> RequestId {
        self.pending.enter(conn, ids)
    }

    /// Removes a pending request. Only for the thread of the worker.
    pub(crate) fn leave(&self, id: RequestId, ids: &mut StreamIds) {
        self.pending.leave(id, ids);
    }

    /// Notes that the client of a pending request has sent its last byte. Only for the thread of the worker.
    pub(crate) fn client_eof(&self, id: RequestId) {
        self.pending.client_eof(id);
    }

    /// Whether the request is pending.
    pub(crate) fn is_waited_for(&self, id: RequestId) -> bool {
        self.pending.contains(id)
    }

    /// Whether the client is known to have closed the connection or its sending half.
    pub(super) fn is_gone(&self, id: RequestId) -> bool {
        !self.pending.has_client(id) || self.is_closed()
    }

    /// The number of pending requests.
    #[cfg(all(test, unix))]
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// The worker ends: closes the inbox.
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
