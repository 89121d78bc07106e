//! TLS over another transport, for the connections of listeners that have it.
//!
//! What is read is decrypted in a buffer of the thread, and what is sent is encrypted into one. A connection keeps
//! what of that is left over at the end of a call, in an allocation of that size: a partial record, plaintext for
//! which its protocol had no room, and encrypted bytes for which the socket had none.

mod state;
mod unsent;

use super::{ListenerConfig, OverSocket, Plain, Transport, Unserved, Wants, Written};
use crate::runtime::tls::{Session, TlsInfo};
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use state::{End, Read, SCRATCH, State};
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use unsent::Unsent;

/// A transport with TLS, if its listener has that.
pub(crate) struct Secure<S = Plain> {
    inner: S,
    layer: Layer,
}

enum Layer {
    Tls(Box<State>),
    /// The transport beneath alone.
    Plain,
    /// The same, and no request is served.
    Unserved(Unserved),
}

impl<S> Secure<S> {
    /// `most`: bytes that the client may send in its handshake, which has to be complete at `deadline`.
    pub(crate) fn new(
        inner: S,
        (session, most): (Session, u32),
        deadline: Seconds,
        plain_http: Unserved,
        fields: ListenerFields,
    ) -> Secure<S> {
        let state = State {
            session,
            received: Vec::new(),
            decrypted: Vec::new(),
            unsent: Unsent::default(),
            handshake: Some(deadline),
            shaken: 0,
            most,
            plain_http,
            fields,
            told_eof: false,
            end: End::Open,
        };
        Secure {
            inner,
            layer: Layer::Tls(Box::new(state)),
        }
    }

    fn tls(&self) -> Option<&State> {
        match &self.layer {
            Layer::Tls(tls) => Some(tls),
            _ => None,
        }
    }
}

#[cfg(all(test, unix, feature = "tls-self-signed"))]
impl<S> Secure<S> {
    /// Bytes of memory that unsent bytes take.
    pub(crate) fn unsent(&self) -> usize {
        self.tls().map_or(0, |tls| tls.unsent.held())
    }
}

impl<S: Transport> Transport for Secure<S> {
    const HAS_HANDSHAKE: bool = true;

    fn socket(&self) -> Option<&Plain> {
        self.inner.socket()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = match &mut self.layer {
            Layer::Tls(tls) if tls.end != End::Shut => tls,
            _ => return self.inner.read(buffer),
        };
        if !tls.decrypted.is_empty() {
            return Ok(tls.give_rest(buffer));
        }
        let inner = &mut self.inner;
        match SCRATCH.with_borrow_mut(|scratch| tls.read(inner, buffer, scratch))? {
            Read::Plain(n) => Ok(n),
            Read::Http(n) => {
                self.layer = Layer::Unserved(tls.plain_http);
                Ok(n)
            }
        }
    }

    /// With TLS, bytes go by [`Transport::send`] alone: what is encrypted and finds no room has to be in the
    /// output.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.layer {
            Layer::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.inner.write(bytes),
        }
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.layer {
            Layer::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.inner.write_more(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.layer {
            Layer::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.inner.write_vectored(slices),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        self.inner.send_file(file, offset, most)
    }

    fn send(&mut self, output: &Output) -> io::Result<Written> {
        match &mut self.layer {
            Layer::Tls(tls) => {
                SCRATCH.with_borrow_mut(|scratch| tls.send(&mut self.inner, output, scratch))
            }
            _ => self.inner.send(output),
        }
    }

    fn wants(&self) -> Wants {
        match self.tls() {
            None => self.inner.wants(),
            Some(tls) => Wants {
                write: !tls.unsent.is_empty() || self.inner.wants().write,
                read: tls.is_ahead() || self.inner.wants().read,
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()?;
        match &mut self.layer {
            Layer::Tls(tls) => tls.unsent.write(&mut self.inner),
            _ => Ok(()),
        }
    }

    fn handshake(&self) -> Option<Seconds> {
        self.tls()?.handshake
    }

    fn has_begun_handshake(&self) -> bool {
        self.tls().is_some_and(|tls| tls.shaken > 0)
    }

    #[inline]
    fn listener_fields(&self) -> ListenerFields {
        self.tls()
            .map_or_else(ListenerFields::default, |tls| tls.fields)
    }

    fn held(&self) -> usize {
        let held =
            |tls: &State| tls.received.capacity() + tls.decrypted.capacity() + tls.unsent.held();
        self.tls().map_or(0, held)
    }

    fn near_end(&mut self) {
        match &mut self.layer {
            Layer::Tls(tls) if tls.end == End::Open => tls.end = End::Near,
            _ => {}
        }
    }

    fn end_write(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            SCRATCH.with_borrow_mut(|scratch| tls.close(&mut self.inner, &mut scratch.out));
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.end_write();
        match &mut self.layer {
            // It has failed: nothing is decrypted any more.
            Layer::Tls(tls) if tls.handshake.is_some() => {
                self.layer = Layer::Unserved(Unserved::Refuse);
            }
            Layer::Tls(tls) => tls.end = End::Shut,
            _ => {}
        }
        self.inner.shutdown_write()
    }

    fn reset(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.end = End::Reached;
        }
        self.inner.reset();
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local_addr()
    }

    #[cfg(feature = "websocket")]
    fn take_unsent(&mut self, bytes: usize) {
        self.inner.take_unsent(bytes);
    }

    fn unserved(&self) -> Option<Unserved> {
        match self.layer {
            Layer::Unserved(unserved) => Some(unserved),
            _ => None,
        }
    }

    #[cfg(feature = "http2")]
    fn has_chosen_http2(&self) -> bool {
        self.tls().is_some_and(|tls| tls.session.has_chosen_http2())
    }

    fn is_secure(&self) -> bool {
        self.tls().is_some()
    }

    fn is_resumed(&self) -> bool {
        (self.tls()).is_some_and(|tls| tls.session.is_resumed())
    }

    fn tls(&self) -> Option<TlsInfo> {
        let tls = self.tls().filter(|tls| tls.handshake.is_none());
        tls.map(|tls| tls.session.info())
    }
}

impl<S: OverSocket> OverSocket for Secure<S> {
    fn accepted(socket: Plain, listener: &ListenerConfig, now: Seconds) -> Secure<S> {
        let inner = S::accepted(socket, listener, now);
        let layer = match (&listener.tls, listener.redirect) {
            (Some(tls), redirect) => {
                let plain_http = redirect.map_or(Unserved::Refuse, Unserved::Redirect);
                let deadline = now.after(listener.handshake_timeout);
                match tls.session() {
                    Ok(session) => {
                        let session = (session, tls.handshake_bytes());
                        let fields = listener.fields(tls);
                        return Secure::new(inner, session, deadline, plain_http, fields);
                    }
                    Err(_) => {
                        // Nothing is ever read from it.
                        let shut = |socket: &Plain| socket.shutdown(Shutdown::Both);
                        let _ = inner.socket().map(shut);
                        Layer::Unserved(plain_http)
                    }
                }
            }
            (None, Some(port)) => Layer::Unserved(Unserved::Redirect(port)),
            (None, None) => Layer::Plain,
        };
        Secure { inner, layer }
    }
}
