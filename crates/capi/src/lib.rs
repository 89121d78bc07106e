//! The C interface of peregrine: `include/peregrine.h` is made from this crate.
//!
//! Every exported function takes pointers of C, so every one is `unsafe`. Its comment, which is also its comment in the
//! header, says what the pointers must be, who owns what, and on which threads it may be called. The body of such a function
//! relies on this comment alone, so it has no further blocks of `unsafe`.
//!
//! Panics do not cross: each function catches them and returns `PRG_PANIC`.

#![allow(non_camel_case_types, reason = "these are the names in C")]
#![allow(
    unsafe_op_in_unsafe_fn,
    clippy::missing_safety_doc,
    reason = "the comment of each function is its contract"
)]

mod body_in;
mod body_out;
mod codes;
mod events;
mod files;
mod guard;
mod handler;
mod later;
mod prepared;
mod request;
mod responder;
mod response;
mod running;
mod server;
mod sigpipe;
mod timers;
mod values;
mod ws;
mod ws_hub;
mod ws_responder;
