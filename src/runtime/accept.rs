//! Accepts connections from listeners.

use super::accept_error;
use super::accept_error::{AcceptFailure, Reserve};
use super::connection_limit::{QUIET, Wait};
use super::greeting;
use super::greeting::Greetings;
use super::listener::{Listener, ListenerId};
use super::poll::{Interest, Poll, Token};
use super::server_state::{Accepted, ServerState};
use crate::config::Config;
use crate::log::event;
use crate::metrics::WorkerCounters;
use crate::shared::panic_guard::catch;
use std::io;
use std::time::{Duration, Instant};

/// The most connections that are accepted in one turn of the loop.
pub(crate) const BATCH: usize = 256;

/// How long accepting pauses when there is no room. The close of a connection ends the pause earlier.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(50);

/// A search for idle connections that found none says so for this time. They become idle by themselves.
const SEARCH_HOLDS: Duration = BACK_OFF.saturating_mul(4);

/// While not all workers have responded, or other threads take the places, a client is refused only after this time.
const PATIENCE: Duration = BACK_OFF.saturating_mul(100);

/// Why accepting ended for now.
#[derive(Debug)]
enum Pause {
    /// The backlog is empty, or the batch is full. The poller reports the listener when there is more.
    Drained,
    /// The limit on connections is reached.
    Full,
    /// Out of descriptors or memory.
    Exhausted(io::Error),
}

/// The listeners of one thread, all registered or none.
pub(crate) struct Listeners {
    list: Vec<(ListenerId, Listener)>,
    greetings: Greetings,
    watched: bool,
    reserve: Reserve,
    /// When accepting continues, unless a connection closes before.
    resume: Option<(Instant, Wait)>,
    /// When the limit or the lack of descriptors was met, if no connection was accepted since.
    short_since: Option<Instant>,
    /// When the workers were last asked for idle connections, and the wait for one of them.
    asked: Option<(Instant, Wait)>,
}

impl Listeners {
    pub(crate) fn new(list: Vec<(ListenerId, Listener)>) -> Listeners {
        Listeners {
            reserve: Reserve::new(!list.is_empty()),
            list,
            greetings: Greetings::default(),
            watched: false,
            resume: None,
            short_since: None,
            asked: None,
        }
    }

    /// Starts or stops to watch the listeners.
    pub(crate) fn watch(&mut self, on: bool, poll: &Poll) -> io::Result<()> {
        if self.watched == on {
            return Ok(());
        }
        for (i, (_, listener)) in self.list.iter().enumerate() {
            let done = match on {
                true => poll.add(listener, Token::of_listener(i), Interest::Read),
                false => poll.remove(listener),
            };
            if done.is_err() && on {
                // All or none.
                for (_, listener) in &self.list[..i] {
                    poll.remove(listener)?;
                }
            }
            done?;
        }
        self.watched = on;
        Ok(())
    }

    /// Handles the event of a listener, or of a connection whose PROXY header is incomplete.
    pub(crate) fn ready(
        &mut self,
        token: Token,
        most: usize,
        shop: (&ServerState, &Config, &Poll),
        mut take: impl FnMut(Accepted),
    ) -> io::Result<()> {
        if let Some(index) = token.listener().filter(|&i| i < self.list.len()) {
            return self.accept(index, most, shop, take);
        }
        let (control, config, poll) = shop;
        if let Some(accepted) = self.greetings.ready(token, (control, poll)) {
            admit(accepted, (control, config), &mut take);
        }
        Ok(())
    }

    /// Renews the interest in the listener on systems that need it.
    fn renew(&self, index: usize, poll: &Poll) -> io::Result<()> {
        match poll.is_oneshot() && self.watched {
            true => poll.modify(
                &self.list[index].1,
                Token::of_listener(index),
                Interest::Read,
            ),
            false => Ok(()),
        }
    }

    /// The time until [`Listeners::resume`] has something to do. `None`: it has nothing to do.
    #[inline]
    pub(crate) fn timeout(&self, control: &ServerState) -> Option<Duration> {
        if self.list.is_empty() {
            return None;
        }
        match self.watched {
            true if !self.greetings.is_empty() => Some(greeting::CHECK),
            true => control.capacity.is_short().then_some(QUIET),
            false => Some(BACK_OFF),
        }
    }

    /// Accepts again if there may be room.
    #[inline]
    pub(crate) fn resume(&mut self, control: &ServerState, poll: &Poll) -> io::Result<()> {
        self.timeout(control)
            .map_or(Ok(()), |_| self.resume_short(control, poll))
    }

    #[cold]
    #[inline(never)]
    fn resume_short(&mut self, control: &ServerState, poll: &Poll) -> io::Result<()> {
        self.greetings.expire(control, poll);
        if self.watched {
            control.capacity.tell_over();
            return Ok(());
        }
        let is_due = |(at, wait)| Instant::now() >= at || !control.capacity.is_vain(wait);
        if self.resume.is_some_and(|resume| !is_due(resume)) {
            return Ok(());
        }
        self.resume = None;
        self.reserve.fill();
        if let Err(error) = self.watch(true, poll) {
            // The likely reason is a lack of memory, as for the pause itself.
            event!(Warn, "accepting goes on later: {error}");
            let wait = control.capacity.wait();
            self.resume = Some((Instant::now() + BACK_OFF, wait));
        }
        Ok(())
    }

    /// Accepts up to `most` connections of one listener. If there is no room, asks the workers for room and
    /// pauses.
    fn accept(
        &mut self,
        index: usize,
        most: usize,
        (control, config, poll): (&ServerState, &Config, &Poll),
        mut take: impl FnMut(Accepted),
    ) -> io::Result<()> {
        let (id, listener) = &self.list[index];
        let accept = || {
            if !control.capacity.take() {
                return Ok(None);
            }
            let accepted = guarded(&control.capacity.counters, || {
                take_one(*id, listener, control)
            });
            accepted
                .map(Some)
                .inspect_err(|_| control.capacity.give_unused())
        };
        let greetings = &mut self.greetings;
        let (taken, pause) = take_some(most, accept, |accepted| {
            if let Some(accepted) = greetings.begin(accepted, (control, poll)) {
                admit(accepted, (control, config), &mut take);
            }
        });
        if taken > 0 {
            self.short_since = None;
        }
        let can_turn_away = match &pause {
            Pause::Drained => return self.renew(index, poll),
            Pause::Full => {
                control.capacity.tell_full();
                true
            }
            Pause::Exhausted(error) => {
                control.capacity.tell_exhausted(error);
                accept_error::is_descriptor(error)
            }
        };
        // Idle connections are closed first. If there are none, the client is refused, because a wait would
        // be in vain.
        if can_turn_away && self.has_asked(control) {
            self.turn_one_away(index, control, config);
        }
        self.short_since.get_or_insert_with(Instant::now);
        self.pause(matches!(pause, Pause::Full), control, poll)?;
        self.renew(index, poll)
    }

    /// The workers were asked for idle connections a moment ago, in vain: all have responded, or have had the time to
    /// respond, and no connection has closed. Otherwise another thread has taken the place, and there may be more.
    fn has_asked(&self, control: &ServerState) -> bool {
        let was_vain = |(at, wait): (Instant, Wait)| {
            at.elapsed() < SEARCH_HOLDS && control.has_responded() && control.capacity.is_vain(wait)
        };
        self.short_since
            .is_some_and(|since| self.asked.is_some_and(was_vain) || since.elapsed() > PATIENCE)
    }

    /// `full`: the reason is the limit on connections, not a lack of descriptors.
    fn pause(&mut self, full: bool, control: &ServerState, poll: &Poll) -> io::Result<()> {
        let wait = control.capacity.wait();
        // A connection may have closed just before. Then no idle one has to be closed.
        if full && control.capacity.has_room() {
            return Ok(());
        }
        control.ask_for_room();
        self.asked = Some((Instant::now(), wait));
        self.resume = Some((Instant::now() + BACK_OFF, wait));
        self.watch(false, poll)
    }

    /// Accepts one connection with the descriptor of the reserve, and refuses it.
    fn turn_one_away(&mut self, index: usize, control: &ServerState, config: &Config) {
        self.reserve.empty();
        let result = guarded(&control.capacity.counters, || {
            let (id, listener) = &self.list[index];
            let accepted = take_one(*id, listener, control)?;
            turn_away(accepted, control, config);
            Ok(())
        });
        let is_empty = |error| matches!(accept_error::failure(&error), AcceptFailure::Empty);
        if result.is_err_and(is_empty) {
            // The client was that of another thread with the same listener.
            self.short_since = None;
        }
        self.reserve.fill();
    }

    /// Accepts the connections in the backlog, because these clients are already connected, and closes the
    /// listeners; or leaves the backlog to another process.
    pub(crate) fn close(
        &mut self,
        (control, poll): (&ServerState, &Poll),
        mut take: impl FnMut(Accepted),
    ) -> io::Result<()> {
        // The listeners are closed in any case, and with them the interest in them.
        let _ = self.watch(false, poll);
        let list = match control.leaves_backlog() {
            true => &[],
            false => &self.list[..],
        };
        for (id, listener) in list {
            let backlog = control.listener_config(*id).backlog;
            let backlog = usize::try_from(backlog).unwrap_or(0).max(BATCH);
            let accept = || {
                let take = || take_one(*id, listener, control);
                guarded(&control.capacity.counters, take).map(Some)
            };
            // The place of a connection comes first: it may be given back at once.
            let (_, _) = take_some(backlog, accept, |accepted| {
                control.capacity.take_anyway(1);
                if let Some(accepted) = self.greetings.begin(accepted, (control, poll)) {
                    let counted = accepted.counted_addr();
                    control.capacity.addresses.enter_anyway(counted);
                    take(accepted);
                }
            });
        }
        self.greetings.end(control, poll);
        self.list.clear();
        self.reserve.empty();
        Ok(())
    }
}

/// Passes a connection on, unless its address has reached a limit.
fn admit(
    accepted: Accepted,
    (control, config): (&ServerState, &Config),
    take: &mut impl FnMut(Accepted),
) {
    let counted = accepted.counted_addr();
    if !control.capacity.may_connect(counted) {
        drop(accepted);
        return control.give_back(None);
    }
    match control.capacity.addresses.enter(counted) {
        true => take(accepted),
        false => {
            control.give_back(None);
            control.capacity.tell_crowded(counted);
            turn_away(accepted, control, config);
        }
    }
}

fn take_one(id: ListenerId, listener: &Listener, control: &ServerState) -> io::Result<Accepted> {
    let (socket, peer) = listener.accept(control.listener_config(id))?;
    Ok(Accepted {
        socket,
        peer,
        proxied: None,
        listener: id,
    })
}

/// Accepts one connection. A panic closes only this connection.
fn guarded<T>(counters: &WorkerCounters, take: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch(take).unwrap_or_else(|panic| {
        counters.connection_errors.add_shared(1);
        counters.internal_errors.add_shared(1);
        event!(
            Error,
            "accepting a connection panicked: {}",
            panic.message()
        );
        Err(io::ErrorKind::ConnectionAborted.into())
    })
}

/// Refuses a connection for which there is no room.
fn turn_away(accepted: Accepted, control: &ServerState, config: &Config) {
    // Counted first, because the client can see the response at once.
    control.capacity.counters.turned_away.add_shared(1);
    // A client that speaks TLS could not read it, and a handshake takes long.
    #[cfg(feature = "tls")]
    if control.listener_config(accepted.listener).tls.is_some() {
        return;
    }
    accept_error::turn_away(accepted.socket, config);
}

/// Accepts up to `most` connections and returns their number. `accept` returns `None` if there is no room.
fn take_some(
    most: usize,
    mut accept: impl FnMut() -> io::Result<Option<Accepted>>,
    mut take: impl FnMut(Accepted),
) -> (usize, Pause) {
    let (mut taken, mut failed) = (0, 0);
    while taken < most {
        match accept() {
            Ok(Some(accepted)) => {
                take(accepted);
                taken += 1;
            }
            // The backlog may be empty now. If it is not, the poller reports the listener again.
            Ok(None) if taken > 0 => break,
            Ok(None) => return (0, Pause::Full),
            Err(error) => match accept_error::failure(&error) {
                AcceptFailure::Empty => break,
                // A listener that only reports errors must not keep the thread busy.
                AcceptFailure::One if failed < BATCH => failed += 1,
                // This counts too: some systems look for a descriptor before they look for a client.
                _ if taken > 0 => break,
                AcceptFailure::One | AcceptFailure::All => return (taken, Pause::Exhausted(error)),
            },
        }
    }
    (taken, Pause::Drained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::transport::Plain;
    use std::net::{TcpListener, TcpStream};

    const ONE: io::Result<Option<()>> = Ok(Some(()));

    /// Accepts the connections of a script. Returns their number and why it ended. `None`: there is no room.
    fn script(most: usize, mut results: Vec<io::Result<Option<()>>>) -> (usize, Pause, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let addr = listener.local_addr().expect("bound");
        results.reverse();
        let mut given = 0;
        let accept = || {
            let next = results.pop();
            match next.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))? {
                Some(()) => Ok(Some(Accepted {
                    socket: Plain::Tcp(TcpStream::connect(addr)?),
                    peer: None,
                    proxied: None,
                    listener: ListenerId(0),
                })),
                None => Ok(None),
            }
        };
        let (taken, pause) = take_some(most, accept, |_| given += 1);
        assert_eq!(taken, given);
        (taken, pause, results.len())
    }

    #[test]
    fn errors_of_one_connection_affect_no_other() {
        let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
        let results = vec![ONE, aborted(), aborted(), ONE, ONE];
        let (taken, pause, left) = script(2, results);
        assert!(matches!(pause, Pause::Drained), "{pause:?}");
        assert_eq!((taken, left), (2, 1));
    }

    #[test]
    fn a_panic_closes_one_connection() {
        let counters = WorkerCounters::default();
        let mut left = 3;
        let accept = || {
            guarded(&counters, || {
                left -= 1;
                match left {
                    2 => std::panic::resume_unwind(Box::new("as planned")),
                    _ => Err(io::ErrorKind::WouldBlock.into()),
                }
            })
        };
        let (taken, pause) = take_some(BATCH, accept, |_| {});
        assert!(matches!(pause, Pause::Drained), "{pause:?}");
        assert_eq!(
            (taken, left, counters.snapshot().internal_errors),
            (0, 1, 1)
        );
    }

    #[test]
    fn accepting_pauses_at_the_limit_on_connections() {
        let (taken, pause, left) = script(BATCH, vec![Ok(None), ONE]);
        assert!(matches!(pause, Pause::Full), "{pause:?}");
        assert_eq!((taken, left), (0, 1));
        let (taken, pause, left) = script(BATCH, vec![ONE, Ok(None), ONE]);
        assert!(matches!(pause, Pause::Drained), "there may be no more");
        assert_eq!((taken, left), (1, 1));
    }

    #[test]
    fn a_listener_that_only_fails_is_not_polled_without_end() {
        let results = (0..10 * BATCH).map(|_| Err(io::ErrorKind::ConnectionAborted.into()));
        let (taken, pause, left) = script(BATCH, results.collect());
        assert!(matches!(pause, Pause::Exhausted(_)), "{pause:?}");
        assert_eq!((taken, left), (0, 9 * BATCH - 1));
    }

    #[cfg(unix)]
    #[test]
    fn accepting_pauses_without_descriptors_or_memory() {
        use rustix::io::Errno;
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let (taken, pause, left) = script(BATCH, vec![Err(errno.into()), ONE]);
            assert!(matches!(pause, Pause::Exhausted(_)), "{pause:?}");
            assert_eq!((taken, left), (0, 1));
            let (taken, pause, left) = script(BATCH, vec![ONE, Err(errno.into()), ONE]);
            assert!(matches!(pause, Pause::Drained), "there may be no more");
            assert_eq!((taken, left), (1, 1));
        }
    }
}
