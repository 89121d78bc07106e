//! The functions of the program that the server calls.

use crate::body_in::prg_plan;
use crate::later::later;
use crate::request::{pass, prg_request};
use crate::response::prg_response;
use crate::running::enter_turn;
use crate::values::Versioned;
use crate::ws::{State, call, prg_upgrade, prg_ws};
use peregrine::error::ConnectionError;
use peregrine::ws::{Disconnect, Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::ffi::{c_char, c_void};
use std::net::SocketAddr;

/// The program. The struct is copied by prg_server_new. Every member but `size` and `request` may be NULL.
///
/// The server calls the functions on its threads: several at once, with the same `user`. No exception, longjmp or other
/// unwinding may leave them. While one runs, all other clients of its thread wait, so it must not block for long.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct prg_handler {
    /// sizeof(prg_handler).
    pub size: usize,
    /// Passed to each function. It is used on several threads at once.
    pub user: *mut c_void,
    /// Called exactly once, after all other functions: frees `user`. It may run on any thread.
    pub drop: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// Gives the response to a request, now or later. Without a response the client gets 500.
    pub request: Option<
        unsafe extern "C" fn(user: *mut c_void, req: *const prg_request, res: *mut prg_response),
    >,
    /// Decides what happens to the body of a request, before it is read.
    pub body_plan: Option<
        unsafe extern "C" fn(user: *mut c_void, req: *const prg_request, plan: *mut prg_plan),
    >,
    /// Something went wrong on a connection; `text` says what, and is valid in this call. The server has reacted already.
    pub error: Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, len: usize)>,
    /// The end of a turn: this thread has handled all that has come, and waits next. Responders that are used here send
    /// their responses at once, so that a program can respond to all requests of a turn together. The calls of a thread
    /// alternate with `after_wait`; the first and the last one of a thread is this one.
    pub before_wait: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// The wait of this thread has ended. Between `before_wait` and this no other function is called on this thread.
    pub after_wait: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// A WebSocket handshake has come: returns 1 to accept it, after which `*state` belongs to the connection. Returns 0 to
    /// refuse it, after prg_upgrade_refuse; without that `request` is called. NULL: the server has no WebSockets.
    pub ws_accept: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            req: *const prg_request,
            upgrade: *mut prg_upgrade,
            state: *mut *mut c_void,
        ) -> i32,
    >,
    /// A connection has begun.
    pub ws_open: Option<unsafe extern "C" fn(user: *mut c_void, ws: *mut prg_ws)>,
    /// A message has come: UTF-8 if `is_text` is 1. `data` is valid in this call.
    pub ws_message: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            ws: *mut prg_ws,
            data: *const c_char,
            len: usize,
            is_text: i32,
        ),
    >,
    /// A slow client has caught up: more can be sent.
    pub ws_drain: Option<unsafe extern "C" fn(user: *mut c_void, ws: *mut prg_ws)>,
    /// A connection that had begun has ended, with this close code; 0 if there was none. `why` is for a log.
    pub ws_close: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            ws: *mut prg_ws,
            code: u16,
            why: *const c_char,
            why_len: usize,
        ),
    >,
    /// Frees the state of a connection: called exactly once for each call of `ws_accept` that returned 1. It may run on any
    /// thread.
    pub ws_drop: Option<unsafe extern "C" fn(state: *mut c_void)>,
}

// SAFETY: pointers, functions and numbers may be zero, and the size is first.
unsafe impl Versioned for prg_handler {}

pub(crate) struct App(pub(crate) prg_handler);

// SAFETY: the header says that the functions and `user` are used on several threads at once.
unsafe impl Send for App {}
// SAFETY: as above.
unsafe impl Sync for App {}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop {
            let user = self.0.user;
            // SAFETY: this is the last call with `user`.
            later(move || unsafe { drop(user) });
        }
    }
}

impl Handler for App {
    // Without `respond` and `pass`: their closures would not be inlined.
    #[inline(always)]
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        // SAFETY: the response does not leave this function, and C uses its pointer in the call only.
        let mut res = unsafe { prg_response::new(res) };
        if let Some(request) = self.0.request {
            let req = prg_request::of(req);
            // SAFETY: the pointers are valid in this call.
            unsafe { request(self.0.user, &raw const req, &raw mut res) }
        }
        res.end()
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let mut plan = prg_plan(BodyPlan::Buffer);
        if let Some(body_plan) = self.0.body_plan {
            // SAFETY: the pointers are valid in this call.
            pass(req, |req| unsafe {
                body_plan(self.0.user, req, &raw mut plan)
            });
        }
        plan.0
    }

    fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
        if let Some(function) = self.0.error {
            let text = error.to_string();
            // SAFETY: the text is valid in this call.
            unsafe { function(self.0.user, text.as_ptr().cast(), text.len()) }
        }
    }

    fn before_wait(&self) {
        enter_turn();
        if let Some(before_wait) = self.0.before_wait {
            // SAFETY: C gave the function with its argument.
            unsafe { before_wait(self.0.user) }
        }
    }

    fn after_wait(&self) {
        if let Some(after_wait) = self.0.after_wait {
            // SAFETY: as above.
            unsafe { after_wait(self.0.user) }
        }
    }
}

impl WebSocketHandler for App {
    type Conn = State;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<State> {
        let accept = self.0.ws_accept?;
        let mut state = std::ptr::null_mut();
        let upgrade = std::ptr::from_mut(upgrade).cast();
        // SAFETY: the pointers are valid in this call.
        let accepts = pass(req, |req| unsafe {
            accept(self.0.user, req, upgrade, &raw mut state)
        });
        (accepts == 1).then(|| State::new(state, self.0.ws_drop))
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, State>) {
        if let Some(open) = self.0.ws_open {
            // SAFETY: the pointers are valid in this call.
            call(ws, |ws| unsafe { open(self.0.user, ws) });
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, State>, message: Message<'_>) {
        if let Some(function) = self.0.ws_message {
            let is_text = i32::from(message.as_text().is_some());
            let bytes = message.as_bytes();
            let (data, len) = (bytes.as_ptr().cast(), bytes.len());
            // SAFETY: the pointers are valid in this call.
            call(ws, |ws| unsafe {
                function(self.0.user, ws, data, len, is_text)
            });
        }
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, State>, why: &Disconnect) {
        if let Some(close) = self.0.ws_close {
            let code = match why {
                Disconnect::Closed { code, .. } => *code,
                Disconnect::Failed(error) => error.close_code(),
                _ => 0,
            };
            let why = why.to_string();
            let (text, len) = (why.as_ptr().cast(), why.len());
            // SAFETY: the pointers are valid in this call.
            call(ws, |ws| unsafe { close(self.0.user, ws, code, text, len) });
        }
    }

    fn handle_ws_drain(&self, ws: &mut Ws<'_, State>) {
        if let Some(drain) = self.0.ws_drain {
            // SAFETY: the pointers are valid in this call.
            call(ws, |ws| unsafe { drain(self.0.user, ws) });
        }
    }
}
