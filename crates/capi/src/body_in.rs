//! What happens to a request body, and bodies that arrive in pieces.

use crate::guard::{exclusive, free, give, guard, guard_or, shared};
use crate::later::later;
use crate::request::{pass, prg_request};
use crate::response::{prg_response, respond};
use crate::values::{Versioned, read};
use peregrine::body::{BodySink, Flow, Incoming, Resumer};
use peregrine::{BodyPlan, Done, Request, Response};
use std::ffi::{c_char, c_void};

/// What is to happen to a request body. It is borrowed: it is valid in prg_handler.body_plan only. The last call counts; without
/// one the body is read into memory.
pub struct prg_plan(pub(crate) BodyPlan);

/// Reads the body into memory, up to `most` bytes; a longer one gets 413.
///
/// Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_plan_buffer(plan: *mut prg_plan, most: usize) -> i32 {
    guard(|| {
        exclusive(plan)?.0 = BodyPlan::BufferUpTo(most);
        Ok(())
    })
}

/// Calls prg_handler.request at once, without the body.
///
/// Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_plan_unread(plan: *mut prg_plan) -> i32 {
    guard(|| {
        exclusive(plan)?.0 = BodyPlan::Unread;
        Ok(())
    })
}

/// Refuses the request with this status, 400 to 599, and closes the connection.
///
/// Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_plan_refuse(plan: *mut prg_plan, status: u16) -> i32 {
    guard(|| {
        exclusive(plan)?.0 = BodyPlan::Refuse(status);
        Ok(())
    })
}

/// Passes the body in pieces to `sink`, up to `most` bytes; a longer one gets 413. The struct is copied.
///
/// Errors: PRG_ARGUMENT (a missing member, too), PRG_UNSUPPORTED; sink.drop is not called then. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_plan_stream(
    plan: *mut prg_plan,
    sink: *const prg_sink,
    most: u64,
) -> i32 {
    guard(|| {
        let (plan, table) = (exclusive(plan)?, read(sink)?);
        if table.piece.is_none() || table.finish.is_none() {
            return Err(crate::codes::PRG_ARGUMENT);
        }
        plan.0 = BodyPlan::stream_up_to(Sink(table), most);
        Ok(())
    })
}

/// prg_sink.piece returns it: further pieces are wanted.
pub const PRG_CONTINUE: i32 = 0;
/// prg_sink.piece returns it: nothing more is read from this client until prg_resumer_resume.
pub const PRG_PAUSE: i32 = 1;
/// prg_sink.piece returns it: prg_sink.finish is called now, and the rest of the body is discarded.
#[allow(dead_code, reason = "for C")]
pub const PRG_RESPOND: i32 = 2;

/// A piece of a body that has come. It is borrowed: it is valid in prg_sink.piece and prg_sink.begin only.
pub struct prg_incoming(());

/// What receives a body in pieces. All calls for one request come one after the other, on one thread of the server.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct prg_sink {
    /// sizeof(prg_sink).
    pub size: usize,
    /// Passed to each function.
    pub user: *mut c_void,
    /// A piece has come. `data` is valid in this call only. Returns PRG_CONTINUE, PRG_PAUSE or PRG_RESPOND; anything else is
    /// PRG_RESPOND.
    pub piece: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            data: *const c_char,
            len: usize,
            incoming: *mut prg_incoming,
        ) -> i32,
    >,
    /// The body is complete, or `piece` returned PRG_RESPOND: gives the response. It is not called if the client leaves before.
    pub finish: Option<
        unsafe extern "C" fn(user: *mut c_void, req: *const prg_request, res: *mut prg_response),
    >,
    /// Called exactly once, as the last one: frees `user`. May be NULL. It may run on any thread.
    pub drop: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// Called once, before the first piece. May be NULL. A sink that may respond before a piece has come keeps a
    /// prg_incoming_resumer here.
    pub begin: Option<unsafe extern "C" fn(user: *mut c_void, incoming: *mut prg_incoming)>,
}

// SAFETY: pointers, functions and numbers may be zero, and the size is first.
unsafe impl Versioned for prg_sink {}

struct Sink(prg_sink);

// SAFETY: the header says that the functions may be called on any thread, one after the other.
unsafe impl Send for Sink {}

impl BodySink for Sink {
    fn begin(&mut self, incoming: &mut Incoming<'_>) {
        if let Some(begin) = self.0.begin {
            let incoming = std::ptr::from_mut(incoming).cast();
            // SAFETY: the pointers are valid in this call.
            unsafe { begin(self.0.user, incoming) }
        }
    }

    fn piece(&mut self, data: &[u8], incoming: &mut Incoming<'_>) -> Flow {
        let Some(piece) = self.0.piece else {
            return Flow::Respond;
        };
        let incoming = std::ptr::from_mut(incoming).cast();
        // SAFETY: the pointers are valid in this call.
        let flow = unsafe { piece(self.0.user, data.as_ptr().cast(), data.len(), incoming) };
        match flow {
            PRG_CONTINUE => Flow::Continue,
            PRG_PAUSE => Flow::Pause,
            _ => Flow::Respond,
        }
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        respond(res, |res| {
            if let Some(finish) = self.0.finish {
                // SAFETY: the pointers are valid in this call.
                pass(req, |req| unsafe { finish(self.0.user, req, res) });
            }
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop {
            let user = self.0.user;
            // SAFETY: this is the last call with `user`.
            later(move || unsafe { drop(user) });
        }
    }
}

/// Ends the pause of a request body. It is owned by the program and may move to another thread.
pub struct prg_resumer(Resumer);

/// Makes a resumer, in prg_sink.begin, or in prg_sink.piece before it returns PRG_PAUSE.
///
/// `*out` is owned by the caller: it ends with prg_resumer_free. Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_incoming_resumer(
    incoming: *mut prg_incoming,
    out: *mut *mut prg_resumer,
) -> i32 {
    guard(|| {
        let out = exclusive(out)?;
        let incoming = exclusive(incoming.cast::<Incoming<'_>>())?;
        *out = give(prg_resumer(incoming.resumer()));
        Ok(())
    })
}

/// The bytes of the body that have come before this piece and with it. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_incoming_received(incoming: *const prg_incoming) -> u64 {
    guard_or(0, || {
        shared(incoming.cast::<Incoming<'_>>()).map_or(0, |incoming| incoming.received())
    })
}

/// Further pieces are wanted. Errors: PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_resumer_resume(resumer: *const prg_resumer) -> i32 {
    guard(|| {
        shared(resumer)?.0.resume();
        Ok(())
    })
}

/// Ends the body: prg_sink.finish is called. Errors: PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_resumer_respond(resumer: *const prg_resumer) -> i32 {
    guard(|| {
        shared(resumer)?.0.respond();
        Ok(())
    })
}

/// 1 if the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_resumer_is_gone(resumer: *const prg_resumer) -> i32 {
    guard_or(1, || {
        shared(resumer).map_or(1, |r| i32::from(r.0.is_gone()))
    })
}

/// Frees a resumer. A body that is paused then goes on to be paused, until its time limit. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_resumer_free(resumer: *mut prg_resumer) {
    free(resumer);
}
