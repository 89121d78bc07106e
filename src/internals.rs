//! Parts of the protocol for benches and fuzz targets (feature `internals`).
//!
//! It is behind a feature and not a `cfg`, so that checks with all features include it. Nothing of it
//! is part of the API.

use crate::http::deferred::worker_handle::WorkerHandle;
use crate::http::response::{Done, Response, ResponseRecorder};
pub use crate::router::check::Routes;
use crate::runtime::thread_pool::{Size, ThreadPool};
use crate::shared::memory_budget::MemoryBudget;
use crate::shared::output::Output;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::limits::Limits;
use std::sync::Arc;

/// Makes responses as a worker does, one at a time.
pub struct Responses(ResponseRecorder, Output);

impl Default for Responses {
    fn default() -> Responses {
        let size = Size {
            threads: 0,
            queue: 0,
            stack: None,
        };
        let (pool, budget) = (
            ThreadPool::new(size, || {}),
            Arc::new(MemoryBudget::new(usize::MAX)),
        );
        let handle = WorkerHandle::new(&Limits::default(), 0, pool, budget, || {});
        let recorder = ResponseRecorder::new(Some("peregrine"), Arc::new(handle));
        Responses(recorder, Output::default())
    }
}

impl Responses {
    /// The bytes of a response to a GET on a persistent connection.
    pub fn respond(&mut self, handler: impl FnOnce(Response<'_>) -> Done) -> &[u8] {
        let start = Output::default().mark();
        self.1.truncate(start);
        let _done = handler(self.0.response(ResponseContext::default(), &mut self.1));
        self.1.since(start)
    }
}

/// The relative path that the path of a request names, if `DirServer` looks it up.
#[cfg(feature = "dir")]
pub fn relative_path(path: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
    crate::files::relative_path(path)
}
