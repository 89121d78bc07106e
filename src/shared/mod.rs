//! Parts that connections and threads share: queues, buffers, limits, the panic guard.
//!
//! Nothing here knows a socket.

pub(crate) mod buffer_pool;
#[cfg(feature = "compress")]
pub(crate) mod deflate;
pub(crate) mod file_name;
pub(crate) mod flow_control;
pub(crate) mod id;
pub(crate) mod inbox;
pub(crate) mod log_error;
pub(crate) mod mailbox;
pub(crate) mod memory_budget;
pub(crate) mod output;
pub(crate) mod panic_guard;
pub(crate) mod quota;
pub(crate) mod random_text;
pub(crate) mod rate_table;
pub(crate) mod sip_hash;
pub(crate) mod slot_table;
pub(crate) mod sparse;
pub(crate) mod subscribe_error;
mod sync;
pub(crate) mod timer_heap;
