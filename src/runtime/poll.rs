//! Waits for sockets. The only file that uses `polling`.
//!
//! Events are level-triggered, so a connection is registered once and needs one read per event. `polling` has
//! no such mode on Windows; there the interest is renewed after each event.
//!
//! On Linux the wait calls epoll with the poller's own descriptor, because release 3.11 of `polling` arms a
//! timer and renews its notifier around every wait: five system calls instead of one. The wake-up is then an
//! eventfd of this file. The test `linux_waits_see_what_polling_registered` checks the assumption.
#![allow(unsafe_code)]

pub(crate) use super::token::Token;

use super::clock::Clock;
use polling::{AsRawSource, AsSource, Event, PollMode, Poller};
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, Timespec, epoll, eventfd},
    fd::OwnedFd,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags},
};

/// The token of a wake-up. `polling` reserves this value for itself.
#[cfg(target_os = "linux")]
const WAKE: Token = Token::of(usize::MAX);

/// The token of the timer of [`Poll::wait_until`]. No listener has so high a number.
#[cfg(target_os = "linux")]
const ALARM: Token = Token::of(usize::MAX - 1);

/// The most events that one wait returns.
const EVENTS: usize = 512;

/// What the poller watches a socket for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    Both,
    /// Nothing but its failure, where the system reports it.
    Nothing,
}

impl Interest {
    /// Bytes that can be read.
    pub(crate) fn is_read(self) -> bool {
        matches!(self, Interest::Read | Interest::Both)
    }

    /// Room for bytes that are written.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Interest::Write | Interest::Both)
    }

    /// The same, and room for bytes that are written.
    pub(crate) fn and_write(self) -> Interest {
        match self {
            Interest::Read | Interest::Both => Interest::Both,
            Interest::Write | Interest::Nothing => Interest::Write,
        }
    }

    fn event(self, token: Token) -> Event {
        match self {
            Interest::Read => Event::readable(token.number()),
            Interest::Write => Event::writable(token.number()),
            Interest::Both => Event::all(token.number()),
            Interest::Nothing => Event::none(token.number()),
        }
    }
}

/// What has happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// The poller of one thread.
pub(crate) struct Poll {
    poller: Arc<Poller>,
    mode: PollMode,
    #[cfg(target_os = "linux")]
    wake: Arc<OwnedFd>,
    #[cfg(target_os = "linux")]
    alarm: Alarm,
}

/// A timer among the sockets; see [`Poll::wait_until`].
#[cfg(target_os = "linux")]
struct Alarm {
    timer: OwnedFd,
    /// When the timer expires, or expired.
    at: Duration,
}

/// Ends the current wait of another thread, or its next one.
#[derive(Clone, Debug)]
pub(crate) struct Waker {
    #[cfg(target_os = "linux")]
    wake: Arc<OwnedFd>,
    #[cfg(not(target_os = "linux"))]
    poller: Arc<Poller>,
}

impl Waker {
    pub(crate) fn wake(&self) {
        // It fails only if the counter is full. Then a wake-up is pending already.
        #[cfg(target_os = "linux")]
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        #[cfg(not(target_os = "linux"))]
        let _ = self.poller.notify();
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Poll> {
        let poller = Arc::new(Poller::new()?);
        let mode = match poller.supports_level() {
            true => PollMode::Level,
            false => PollMode::Oneshot,
        };
        #[cfg(target_os = "linux")]
        let (wake, timer) = {
            let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
            // Edge-triggered: each write, or each end of the timer, is an event of its own, and no read is
            // needed.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            for (fd, token) in [(&wake, WAKE), (&timer, ALARM)] {
                epoll::add(
                    &*poller,
                    fd,
                    epoll::EventData::new_u64(token.number() as u64),
                    flags,
                )?;
            }
            (Arc::new(wake), timer)
        };
        Ok(Poll {
            poller,
            mode,
            #[cfg(target_os = "linux")]
            wake,
            #[cfg(target_os = "linux")]
            alarm: Alarm {
                timer,
                at: Duration::ZERO,
            },
        })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker {
            #[cfg(target_os = "linux")]
            wake: self.wake.clone(),
            #[cfg(not(target_os = "linux"))]
            poller: self.poller.clone(),
        }
    }

    /// Registers `source`. Where [`Poll::must_remove`], it is removed before it is closed.
    pub(crate) fn add<'a, S: AsSource>(
        &self,
        source: &'a S,
        token: Token,
        interest: Interest,
    ) -> io::Result<()>
    where
        &'a S: AsRawSource,
    {
        // SAFETY: `source` is an open socket. It must not outlive its registration: epoll and
        // kqueue drop the registration when the socket is closed, and on other systems the owners
        // call `remove` first, as `must_remove` tells them. epoll does so when the last descriptor of
        // the socket is closed: a child process by a plain `fork` has one, too. Events that it causes
        // carry a token of an earlier generation, which stands for no connection.
        unsafe {
            self.poller
                .add_with_mode(source.raw(), interest.event(token), self.mode)
        }
    }

    /// Changes the interest in `source`.
    pub(crate) fn modify(
        &self,
        source: &impl AsSource,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.poller
            .modify_with_mode(source, interest.event(token), self.mode)
    }

    pub(crate) fn remove(&self, source: &impl AsSource) -> io::Result<()> {
        self.poller.delete(source)
    }

    /// Whether a socket must be removed before it is closed. Some kernels do it themselves.
    pub(crate) const fn must_remove() -> bool {
        cfg!(not(any(
            target_os = "linux",
            target_os = "android",
            target_os = "macos",
            target_os = "ios",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
        )))
    }

    /// Whether interest ends with each event and has to be renewed.
    pub(crate) fn is_oneshot(&self) -> bool {
        self.mode == PollMode::Oneshot
    }

    /// Waits until something happens, a wake-up comes, or `timeout` has passed.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.wait_for(events, timeout.map(timespec).as_ref())
    }

    #[cfg(target_os = "linux")]
    #[inline]
    fn wait_for(&self, events: &mut Events, timeout: Option<&Timespec>) -> io::Result<()> {
        events.list.clear();
        match epoll::wait(&*self.poller, spare_capacity(&mut events.list), timeout) {
            Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until something happens, a wake-up comes, or `timeout` has passed.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.list.clear();
        match self.poller.wait(&mut events.list, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

/// The wait of a loop that is woken often, with a timeout each time.
impl Poll {
    /// Waits like [`Poll::wait`], until `due`, a moment since the start of `clock`; forever without one. May return
    /// early. It does not wait if `due` is no later than the last tick.
    ///
    /// The timeout is a separate timer, which is set only if it would expire too late, so that it need not be
    /// set at each wake-up. A timeout of the wait itself costs two reads of the clock and, if the thread has
    /// to wait, a kernel timer that is created and removed: 1 to 2 % of the time of a server with few
    /// connections.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn wait_until(
        &mut self,
        clock: &Clock,
        events: &mut Events,
        due: Option<Duration>,
    ) -> io::Result<()> {
        if due.is_some_and(|due| due != self.alarm.at || due <= clock.now()) {
            return self.wait_with_alarm(clock, events, due);
        }
        self.wait_for(events, None)
    }

    /// The same, of which the timer is perhaps not set.
    #[cfg(target_os = "linux")]
    #[inline(never)]
    fn wait_with_alarm(
        &mut self,
        clock: &Clock,
        events: &mut Events,
        due: Option<Duration>,
    ) -> io::Result<()> {
        let now = clock.now();
        let Some(due) = due.filter(|due| *due > now) else {
            return self.wait(events, Some(Duration::ZERO));
        };
        if self.alarm.at <= now || self.alarm.at > due {
            let left = due.saturating_sub(clock.elapsed());
            let once = Itimerspec {
                it_interval: timespec(Duration::ZERO),
                // A value of 0 would disarm the timer.
                it_value: timespec(left.max(Duration::from_nanos(1))),
            };
            let flags = TimerfdTimerFlags::empty();
            rustix::time::timerfd_settime(&self.alarm.timer, flags, &once)?;
            self.alarm.at = due;
        }
        self.wait(events, None)
    }

    /// Waits like [`Poll::wait`], until `due`, a moment since the start of `clock`; forever without one.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn wait_until(
        &mut self,
        clock: &Clock,
        events: &mut Events,
        due: Option<Duration>,
    ) -> io::Result<()> {
        self.wait(events, due.map(|due| due.saturating_sub(clock.elapsed())))
    }
}

#[cfg(target_os = "linux")]
fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: time.subsec_nanos() as _,
    }
}

/// The events of one wait.
pub(crate) struct Events {
    #[cfg(target_os = "linux")]
    list: Vec<epoll::Event>,
    #[cfg(not(target_os = "linux"))]
    list: polling::Events,
}

impl Events {
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> Events {
        Events {
            list: Vec::with_capacity(EVENTS),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> Events {
        let capacity = std::num::NonZeroUsize::new(EVENTS).expect("not zero");
        Events {
            list: polling::Events::with_capacity(capacity),
        }
    }

    /// Forgets the events of the last wait.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// The sockets. Wake-ups are left out: a thread that is woken looks at its mailbox and its clock.
    #[cfg(target_os = "linux")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ready> {
        use epoll::EventFlags as Flags;
        let read = Flags::IN | Flags::PRI | Flags::HUP | Flags::ERR;
        let write = Flags::OUT | Flags::HUP | Flags::ERR;
        self.list.iter().filter_map(move |event| {
            let (flags, token) = (event.flags, Token::of(event.data.u64() as usize));
            (token != WAKE && token != ALARM).then_some(Ready {
                token,
                readable: flags.intersects(read),
                writable: flags.intersects(write),
            })
        })
    }

    /// The sockets. Wake-ups are left out: a thread that is woken looks at its mailbox.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ready> {
        self.list.iter().map(|event| Ready {
            token: Token::of(event.key),
            readable: event.readable,
            writable: event.writable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    const SEVEN: Token = Token::of(7);
    const LONG: Option<Duration> = Some(Duration::from_secs(30));

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
        (client, listener.accept().expect("the same connection").0)
    }

    #[test]
    fn linux_waits_see_what_polling_registered() {
        let poll = Poll::new().expect("a poller");
        let (mut client, server) = connected();
        let mut events = Events::new();
        poll.add(&server, SEVEN, Interest::Read)
            .expect("registered");
        client.write_all(b"x").expect("sent");
        for _ in 0..2 {
            // The socket is not read, so the event is reported again, unless the system needs renewed
            // interest.
            poll.wait(&mut events, LONG).expect("an event");
            let ready: Vec<Ready> = events.iter().collect();
            assert_eq!(ready.len(), 1);
            assert_eq!((ready[0].token, ready[0].readable), (SEVEN, true));
            if poll.is_oneshot() {
                poll.modify(&server, SEVEN, Interest::Read)
                    .expect("renewed");
            }
        }
        poll.modify(&server, SEVEN, Interest::Write)
            .expect("changed");
        poll.wait(&mut events, LONG).expect("an event");
        assert!(
            events
                .iter()
                .all(|ready| ready.token == SEVEN && ready.writable)
        );
        poll.remove(&server).expect("removed");
    }

    #[test]
    fn a_wait_ends_after_its_timeout() {
        let mut poll = Poll::new().expect("a poller");
        let mut events = Events::new();
        let mut clock = Clock::new();
        poll.waker().wake();
        let hour = Some(Duration::from_secs(3600));
        poll.wait_until(&clock, &mut events, hour).expect("woken");
        // The timer that was set before would expire too late, or has expired.
        for ms in [20, 30, 10] {
            clock.tick();
            let due = clock.now() + Duration::from_millis(ms);
            while clock.now() < due {
                poll.wait_until(&clock, &mut events, Some(due))
                    .expect("time");
                assert_eq!(events.iter().count(), 0);
                clock.tick();
            }
        }
    }

    #[test]
    fn every_wake_up_ends_a_wait() {
        let poll = Poll::new().expect("a poller");
        let mut events = Events::new();
        for _ in 0..3 {
            poll.waker().wake();
            poll.wait(&mut events, None).expect("woken");
            assert_eq!(events.iter().count(), 0);
        }
        let waker = poll.waker();
        let thread = std::thread::spawn(move || waker.wake());
        poll.wait(&mut events, None)
            .expect("woken by another thread");
        thread.join().expect("no panic");
    }
}
