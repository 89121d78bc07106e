//! Server-sent events.

use crate::body_out::of_try;
use crate::codes::{PRG_UNSUPPORTED, of_send, of_subscribe};
use crate::guard::{exclusive, free, give, guard, guard_or, shared, take};
use crate::values::{Notify, Versioned, prg_bytes, prg_notify, read, text};
use peregrine::sse::{Event, EventHub, EventSender};
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// A stream of events to one client. It is owned by the program and may move to another thread. It stays valid after the client has
/// left and after the server has stopped; sending returns PRG_GONE then.
pub struct prg_events(pub(crate) EventSender);

/// Events to the subscribers of topics. It is owned by the program. All functions may be called from any threads at once.
pub struct prg_event_hub(EventHub);

/// One event. All views are read in the call and not kept. A view with a NULL pointer is a missing part.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct prg_event {
    /// sizeof(prg_event).
    pub size: usize,
    /// The text; it may have several lines.
    pub data: prg_bytes,
    /// The type of the event.
    pub event: prg_bytes,
    /// The id, which a client that comes back sends as Last-Event-ID.
    pub id: prg_bytes,
    /// After how many milliseconds a client that has lost its connection comes back. 0: it decides.
    pub retry_millis: u32,
    /// 0. It is for members of later versions; without it the struct would have padding, which may have any value.
    pub reserved: u32,
}

// SAFETY: pointers and numbers may be zero, and the size is first.
unsafe impl Versioned for prg_event {}

unsafe fn event(event: *const prg_event) -> Result<Event, i32> {
    let from = read(event)?;
    if from.reserved != 0 {
        return Err(PRG_UNSUPPORTED);
    }
    let mut event = Event::new();
    if !from.data.ptr.is_null() {
        event = event.data(text(from.data.ptr, from.data.len)?);
    }
    if !from.event.ptr.is_null() {
        event = event.event(text(from.event.ptr, from.event.len)?);
    }
    if !from.id.ptr.is_null() {
        event = event.id(text(from.id.ptr, from.id.len)?);
    }
    if from.retry_millis > 0 {
        event = event.retry(Duration::from_millis(from.retry_millis.into()));
    }
    Ok(event)
}

/// Sends an event, and blocks while the client has too many unsent bytes.
///
/// Errors: PRG_GONE, PRG_WOULD_BLOCK on a thread of the server, PRG_FIELD, PRG_ARGUMENT, PRG_UNSUPPORTED. Thread: any, and
/// not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_events_send(events: *mut prg_events, event: *const prg_event) -> i32 {
    guard(|| {
        let event = self::event(event)?;
        exclusive(events)?.0.send(event).map_err(of_send)
    })
}

/// Sends an event, or returns PRG_FULL if the client has too many unsent bytes.
///
/// Errors: those of prg_events_send, without PRG_WOULD_BLOCK. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_events_try_send(
    events: *mut prg_events,
    event: *const prg_event,
) -> i32 {
    guard(|| {
        let event = self::event(event)?;
        exclusive(events)?.0.try_send(event).map_err(of_try)
    })
}

/// 1 if the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_events_is_gone(events: *const prg_events) -> i32 {
    guard_or(1, || {
        shared(events).map_or(1, |events| i32::from(events.0.is_gone()))
    })
}

/// Calls `f` when the stream ends, for whatever reason.
///
/// Errors: PRG_ARGUMENT; `f` is not called then. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_events_on_gone(
    events: *const prg_events,
    f: prg_notify,
    user: *mut c_void,
) -> i32 {
    guard(|| {
        let events = shared(events)?;
        Notify::new(f, user)?.register(|f| events.0.on_gone(f));
        Ok(())
    })
}

/// Ends the stream. Frees `events` in any case. Errors: PRG_GONE, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_events_finish(events: *mut prg_events) -> i32 {
    guard(|| take(events)?.0.finish().map_err(of_send))
}

/// Frees a stream: its connection is closed, and browsers come back. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_events_free(events: *mut prg_events) {
    free(events);
}

/// Makes a hub. The caller owns it: it ends with prg_event_hub_free. NULL only if the library panicked. Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn prg_event_hub_new() -> *mut prg_event_hub {
    guard_or(std::ptr::null_mut(), || {
        give(prg_event_hub(EventHub::new()))
    })
}

/// Subscribes a client to a topic. The hub owns `events` from now on, in any case: do not use or free it.
///
/// Errors: PRG_LIMIT, PRG_GONE, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_event_hub_subscribe(
    hub: *const prg_event_hub,
    events: *mut prg_events,
    topic: *const c_char,
    topic_len: usize,
) -> i32 {
    guard(|| {
        let events = take(events)?.0;
        let topic = text(topic, topic_len)?;
        shared(hub)?
            .0
            .subscribe(events, [topic])
            .map_err(of_subscribe)
    })
}

/// Sends an event to the subscribers of a topic. It never blocks: a client that is too slow loses its stream.
///
/// Returns the number of clients. Errors: PRG_FIELD, PRG_ARGUMENT, PRG_UNSUPPORTED. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_event_hub_publish(
    hub: *const prg_event_hub,
    topic: *const c_char,
    topic_len: usize,
    event: *const prg_event,
) -> i64 {
    crate::request::length(|| {
        let (topic, event) = (text(topic, topic_len)?, self::event(event)?);
        let count = shared(hub)?.0.publish(topic, event).map_err(of_send)?;
        Ok(count as i64)
    })
}

/// Frees a hub: its streams end. NULL is allowed. Thread: any, when no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_event_hub_free(hub: *mut prg_event_hub) {
    free(hub);
}
