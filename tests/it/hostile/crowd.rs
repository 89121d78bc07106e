//! Many clients on one thread, none of them well-behaved: each follows a script, and what becomes of
//! it is kept.

use super::polite::Place;
use super::script::{End, Leave, Script, Takes, Then};
use super::seen::Seen;
use crate::support::Stream;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use socket2::{Domain, SockRef, Socket, Type};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a crowd is hostile to.
#[cfg_attr(
    not(feature = "tls-self-signed"),
    allow(dead_code, reason = "there is no TLS to attack")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attacks {
    /// Over TLS, if the server has it.
    Http,
    /// The same, in HTTP/2.
    Http2,
    /// Their bytes are records, and those of the server are not looked at.
    Tls,
    /// The same, with so many connections in a second.
    TlsInASecond(usize),
}

impl Attacks {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Attacks::Tls | Attacks::TlsInASecond(_))
    }
}

/// Connections that are being made at the same time.
const AT_ONCE: usize = 500;
/// What one turn of a flood sends.
const TURN: usize = 64 << 10;
/// Bytes that one read takes.
const READ: usize = 64 << 10;

pub(crate) struct Crowd {
    place: Place,
    attacks: Attacks,
    began: Instant,
    poll: OwnedFd,
    events: Vec<epoll::Event>,
    members: Vec<Member>,
    /// How many of them have begun.
    begun: usize,
    connecting: usize,
    gone: usize,
    /// More of them than this are never open.
    most: usize,
    /// Addresses that they come from; ports run out sooner.
    sources: usize,
    /// All come from this one.
    own: Option<Ipv4Addr>,
    /// See [`Scale::late`](super::attack::Scale::late).
    late: u64,
    /// Those that have more to send.
    again: VecDeque<usize>,
    ticked: Instant,
    buffer: Vec<u8>,
}

struct Member {
    script: Script,
    stream: Option<Stream>,
    since: Instant,
    connected: bool,
    sent: usize,
    /// Responses that it has gone on after.
    asked: u32,
    /// How often it has dribbled, and seconds in which it has read a byte.
    dribbled: u64,
    taken: u64,
    seen: Seen,
    end: Option<(End, Duration)>,
    leaves: bool,
}

impl Crowd {
    pub(crate) fn new(place: Place, scripts: impl Iterator<Item = Script>) -> Crowd {
        let now = Instant::now();
        let member = |script| Member {
            script,
            stream: None,
            since: now,
            connected: false,
            sent: 0,
            asked: 0,
            dribbled: 0,
            taken: 0,
            seen: Seen::default(),
            end: None,
            leaves: false,
        };
        let members: Vec<_> = scripts.map(member).collect();
        Crowd {
            place,
            attacks: Attacks::Http,
            began: now,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll descriptor"),
            events: Vec::with_capacity(1024),
            most: members.len(),
            sources: members.len().div_ceil(10_000),
            own: None,
            late: 120,
            members,
            begun: 0,
            connecting: 0,
            gone: 0,
            again: VecDeque::new(),
            ticked: now,
            buffer: vec![0; READ],
        }
    }

    /// Has at most this number of connections open at a time.
    pub(crate) fn at_most(mut self, most: usize) -> Crowd {
        self.most = most;
        self
    }

    /// Has them speak TLS or not, whatever the server does.
    pub(crate) fn attacks(mut self, attacks: Attacks) -> Crowd {
        self.attacks = attacks;
        if attacks.is_tls() {
            // Fewer of each address than it may have.
            self.sources = self.members.len().div_ceil(1000);
        }
        self
    }

    pub(crate) fn late_after(mut self, seconds: u64) -> Crowd {
        self.late = seconds;
        self
    }

    /// Has them come from this address.
    pub(crate) fn all_from(mut self, own: Option<Ipv4Addr>) -> Crowd {
        self.own = own;
        self
    }

    /// Connects from this number of addresses, at most 250.
    pub(crate) fn spread_over(mut self, sources: usize) -> Crowd {
        self.sources = sources;
        self
    }

    pub(crate) fn all_connected(&self) -> bool {
        self.begun == self.members.len() && self.connecting == 0
    }

    pub(crate) fn all_gone(&self) -> bool {
        self.gone == self.members.len()
    }

    pub(crate) fn gone(&self) -> usize {
        self.gone
    }

    /// How many have had this many responses.
    pub(crate) fn answered(&self, answers: u32) -> usize {
        let has = |member: &&Member| member.seen.answers >= answers;
        self.members.iter().filter(has).count()
    }

    /// Goes on until it is so; false if that took too long.
    pub(crate) fn run_until(&mut self, most: Duration, is_so: impl Fn(&Crowd) -> bool) -> bool {
        let limit = Instant::now() + most;
        while !is_so(self) {
            if Instant::now() > limit {
                return false;
            }
            self.turn();
        }
        true
    }

    /// All connected clients send this, and then act as this says.
    pub(crate) fn send_all(&mut self, bytes: &Arc<[u8]>) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if member.stream.is_some() {
                member.script.first = bytes.clone();
                member.sent = 0;
                self.push(at);
            }
        }
    }

    /// How each of them ended and when, counted from its connect, beside what was expected.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (End, Option<(End, Duration)>)> {
        let ends = self.members.iter();
        ends.map(|member| (member.script.expects, member.end))
    }

    fn turn(&mut self) {
        while self.begun < self.members.len()
            && self.connecting < AT_ONCE
            && self.begun - self.gone < self.most
            && self.is_time()
        {
            self.begin();
        }
        for _ in 0..self.again.len() {
            if let Some(at) = self.again.pop_front() {
                self.push(at);
            }
        }
        let wait = match self.again.is_empty() {
            true => Duration::from_millis(20),
            false => Duration::ZERO,
        };
        let wait = Timespec::try_from(wait).expect("a short time");
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("epoll_wait: {error}"),
        }
        for event in events.drain(..) {
            self.ready(event.data.u64() as usize, event.flags);
        }
        self.events = events;
        if self.ticked.elapsed() > Duration::from_millis(50) {
            self.ticked = Instant::now();
            for at in 0..self.begun {
                self.tick(at);
            }
        }
    }

    /// Whether the next one may begin.
    fn is_time(&self) -> bool {
        match self.attacks {
            Attacks::TlsInASecond(rate) => {
                self.begun < rate * self.began.elapsed().as_millis() as usize / 1000
            }
            Attacks::Http | Attacks::Http2 | Attacks::Tls => true,
        }
    }

    fn begin(&mut self) {
        let at = self.begun;
        self.begun += 1;
        self.connecting += 1;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // The handshake of one that is to speak HTTP is made at once.
        let is_secure = self.place.is_secure && !self.attacks.is_tls();
        socket.set_nonblocking(!is_secure).expect("a socket");
        if self.members[at].script.takes != Takes::All {
            // Or the system takes the megabytes that the client does not.
            socket.set_recv_buffer_size(4096).expect("a socket");
        }
        let number = u8::try_from(at % self.sources + 1).expect("few addresses");
        let one_of = Ipv4Addr::new(127, 0, 9, number);
        let own = SocketAddr::from((self.own.unwrap_or(one_of), 0));
        if self.own.is_some() || self.sources > 1 {
            socket.bind(&own.into()).expect("an address");
        }
        match socket.connect(&self.place.addr.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => panic!("connecting: {error}"),
        }
        let socket = match is_secure {
            true => Stream::secure(socket.into()),
            false => Stream::plain(socket.into()),
        };
        socket.set_nonblocking(true).expect("a socket");
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP;
        let data = epoll::EventData::new_u64(at as u64);
        epoll::add(&self.poll, &socket, data, flags | epoll::EventFlags::ET).expect("added");
        let member = &mut self.members[at];
        member.stream = Some(socket);
        member.since = Instant::now();
    }

    fn ready(&mut self, at: usize, flags: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        let member = &mut self.members[at];
        if member.stream.is_none() {
            return;
        }
        if !member.connected && flags.intersects(Flags::OUT | Flags::ERR | Flags::HUP) {
            member.connected = true;
            self.connecting -= 1;
        }
        if flags.contains(Flags::OUT) {
            self.push(at);
        }
        let member = &self.members[at];
        match member.script.takes {
            Takes::All => self.pull(at),
            // It need not read to learn that the connection is no more.
            _ if flags.intersects(Flags::ERR | Flags::HUP | Flags::RDHUP) => self.end(at),
            _ => {}
        }
    }

    /// Sends what is to be sent.
    fn push(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(mut stream) = member.stream.as_ref() else {
            return;
        };
        // What is encrypted already goes first.
        let _ = stream.flush();
        let mut budget = TURN;
        while budget > 0 {
            let rest = match &member.script.then {
                _ if member.sent < member.script.first.len() => &member.script.first[member.sent..],
                Then::Floods(bytes) => {
                    let at = (member.sent - member.script.first.len()) % bytes.len();
                    &bytes[at..]
                }
                _ => break,
            };
            match stream.write(rest) {
                Ok(n) => {
                    member.sent += n;
                    budget = budget.saturating_sub(n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A read will report what it is.
                Err(_) => {
                    return match member.script.takes {
                        Takes::All => self.pull(at),
                        Takes::Slowly | Takes::Nothing => self.end(at),
                    };
                }
            }
        }
        if budget == 0 {
            self.again.push_back(at);
            return;
        }
        match member.script.then {
            Then::HalfCloses => {
                let _ = stream.shutdown(Shutdown::Write);
            }
            Then::Leaves { answers, by } if member.seen.answers >= answers => self.leave(at, by),
            _ => {}
        }
    }

    fn leave(&mut self, at: usize, by: Leave) {
        let member = &mut self.members[at];
        member.leaves = true;
        if let (Leave::Reset, Some(stream)) = (by, &member.stream) {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.end(at);
    }

    /// Reads what there is.
    fn pull(&mut self, at: usize) {
        loop {
            let member = &mut self.members[at];
            let Some(mut stream) = member.stream.as_ref() else {
                return;
            };
            match stream.read(&mut self.buffer) {
                Ok(0) => return self.end(at),
                Ok(_) if self.attacks.is_tls() => member.seen.answers += 1,
                Ok(n) if self.attacks == Attacks::Http2 => {
                    member.seen.received_frames(&self.buffer[..n])
                }
                Ok(n) => member.seen.received(&self.buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.end(at),
            }
            let is_sent = member.sent == member.script.first.len();
            match member.script.then {
                Then::Leaves { answers, by } if is_sent && member.seen.answers >= answers => {
                    return self.leave(at, by);
                }
                Then::Asks { times } if is_sent && member.seen.answers > member.asked => {
                    member.asked += 1;
                    if member.asked == times {
                        return self.leave(at, Leave::Close);
                    }
                    member.sent = 0;
                    self.push(at);
                }
                _ => {}
            }
        }
    }

    /// What a second brings.
    fn tick(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(mut stream) = member.stream.as_ref().filter(|_| member.connected) else {
            return;
        };
        let seconds = member.since.elapsed().as_secs();
        let dribble = match member.script.then {
            Then::Dribbles(bytes) => Some((1, bytes)),
            Then::DribblesEvery(every, bytes) => Some((every, bytes)),
            _ => None,
        };
        if let Some((every, bytes)) = dribble {
            let times = seconds / every;
            if member.dribbled < times {
                let n = member.dribbled as usize % bytes.len();
                member.dribbled = times;
                let _ = stream.write(&bytes[n..=n]);
            }
        }
        if member.script.takes == Takes::Slowly && member.taken < seconds {
            member.taken = seconds;
            let step = if seconds < self.late { 1 } else { 4096 };
            let read = stream.read(&mut vec![0; step]);
            let is_over = match read {
                Ok(n) => n == 0,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
            if is_over {
                self.end(at);
            }
        }
    }

    fn end(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(stream) = member.stream.take() else {
            return;
        };
        if !member.leaves {
            // Nothing more is to come; an ordinary close would have the system wait for it.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        if !member.connected {
            self.connecting -= 1;
        }
        self.gone += 1;
        let end = match member.leaves {
            true => End::Left,
            false => member.seen.end(),
        };
        member.end = Some((end, member.since.elapsed()));
    }
}
