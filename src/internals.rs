//! Parts of the library for benches, which can use only public items. It is behind a feature and not a `cfg`,
//! so that checks with all features include it. Nothing of it is part of the API.

use crate::conn::{budget::Budget, http1::Mode, output::Output};
use crate::late::{
    Door,
    pool::{Pool, Size},
};
use crate::protocol::limits::Limits;
use crate::response::{Done, Response, Wire};
use std::sync::Arc;

/// Makes responses as a worker does, one at a time.
pub struct Answers(Wire, Output);

impl Default for Answers {
    fn default() -> Answers {
        let size = Size {
            threads: 0,
            queue: 0,
            stack: None,
        };
        let (pool, budget) = (Pool::new(size, || {}), Arc::new(Budget::new(usize::MAX)));
        let door = Door::new(&Limits::default(), pool, budget, || {});
        let wire = Wire::new(Some("peregrine"), Arc::new(door));
        Answers(wire, Output::default())
    }
}

impl Answers {
    /// The bytes of a response to a GET on a persistent connection.
    pub fn answer(&mut self, handler: impl FnOnce(Response<'_>) -> Done) -> &[u8] {
        let start = Output::default().mark();
        self.1.truncate(start);
        let _done = handler(self.0.response(Mode::default(), &mut self.1));
        self.1.since(start)
    }
}

/// The relative path that the path of a request names, if `DirServer` looks it up.
#[cfg(feature = "dir")]
pub fn relative_path(path: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
    crate::dir::relative_path(path)
}
