//! What threads share, and what they pass to each other. Nothing here knows a socket.

pub(crate) mod buffer_pool;
pub(crate) mod flow_control;
pub(crate) mod id;
pub(crate) mod inbox;
pub(crate) mod mailbox;
pub(crate) mod memory_budget;
pub(crate) mod panic_guard;
pub(crate) mod quota;
pub(crate) mod slot_table;
pub(crate) mod sparse;
mod sync;
pub(crate) mod timer_heap;
