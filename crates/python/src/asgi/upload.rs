//! A request body that comes in pieces.

use super::inbox::{Event, Inbox};
use peregrine::body::{BodySink, Flow, Incoming, Resumer};
use peregrine::{Done, Request, Responder, Response};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes that wait for the application.
const ROOM: usize = 256 << 10;

/// Shared by the worker, which receives, and the exchange.
pub(crate) struct Upload {
    pub(super) number: u64,
    inbox: Arc<Inbox>,
    state: Mutex<UploadState>,
}

#[derive(Default)]
struct UploadState {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
    paused: bool,
    resumer: Option<Resumer>,
    /// The application responds before the end of the body.
    enough: bool,
    /// The body is complete, or the application has enough of it.
    ended: bool,
    /// The body will never be complete.
    gone: bool,
    responder: Option<Responder>,
}

/// What an application receives next.
pub(super) enum Piece {
    Next(Vec<u8>),
    End,
    Gone,
    Wait,
}

impl Upload {
    pub(crate) fn new(inbox: &Arc<Inbox>) -> Arc<Upload> {
        Arc::new(Upload {
            number: inbox.number(),
            inbox: inbox.clone(),
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, UploadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.inbox.push(Event::Changed(self.number));
    }

    pub(super) fn next(&self) -> Piece {
        let mut state = self.lock();
        if let Some(piece) = state.pieces.pop_front() {
            state.bytes -= piece.len();
            if state.paused && state.bytes <= ROOM / 2 {
                state.paused = false;
                if let Some(resumer) = &state.resumer {
                    resumer.resume();
                }
            }
            return Piece::Next(piece);
        }
        match (state.gone, state.ended) {
            (true, _) => Piece::Gone,
            (false, true) => Piece::End,
            (false, false) => Piece::Wait,
        }
    }

    /// Whether [`Upload::next`] has something.
    pub(super) fn has_next(&self) -> bool {
        let state = self.lock();
        !state.pieces.is_empty() || state.gone || state.ended
    }

    /// The responder, if there is one yet; asks for it otherwise. `None` in the error: the client has gone.
    pub(super) fn responder(&self) -> Result<Option<Responder>, ()> {
        let mut state = self.lock();
        if state.gone {
            return Err(());
        }
        if let Some(responder) = state.responder.take() {
            return Ok(Some(responder));
        }
        if !state.enough && !state.ended {
            state.enough = true;
            if let Some(resumer) = &state.resumer {
                resumer.respond();
            }
        }
        Ok(None)
    }
}

/// The end of the worker.
pub(crate) struct Sink {
    upload: Arc<Upload>,
    finished: bool,
}

impl Sink {
    pub(crate) fn new(upload: Arc<Upload>) -> Sink {
        Sink {
            upload,
            finished: false,
        }
    }
}

impl BodySink for Sink {
    fn begin(&mut self, body: &mut Incoming<'_>) {
        let resumer = body.resumer();
        let mut state = self.upload.lock();
        if state.enough {
            resumer.respond();
        }
        state.resumer = Some(resumer);
    }

    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        let mut state = self.upload.lock();
        if state.enough {
            return Flow::Respond;
        }
        state.pieces.push_back(piece.to_vec());
        state.bytes += piece.len();
        state.paused = state.bytes > ROOM;
        let flow = if state.paused {
            Flow::Pause
        } else {
            Flow::Continue
        };
        drop(state);
        self.upload.tell();
        flow
    }

    fn finish(mut self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        let (done, responder) = res.defer();
        self.finished = true;
        let mut state = self.upload.lock();
        state.ended = true;
        state.responder = Some(responder);
        drop(state);
        self.upload.tell();
        done
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !self.finished {
            self.upload.lock().gone = true;
            self.upload.tell();
        }
    }
}
