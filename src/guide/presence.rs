//! Presence: who is on a topic.
//!
//! [`Presence`] knows who is in a room, on all machines. A person with two tabs, or with a phone and a laptop on different
//! machines, is there once. The program is told when a person comes and when the last tab has gone.
//!
//! ```
//! use peregrine::Router;
//! use peregrine::presence::{Change, MemoryPresence, Presence};
//! use peregrine::sse::EventHub;
//!
//! let hub = EventHub::new();
//! let tell = hub.clone();
//! let presence = Presence::builder(MemoryPresence::new())
//!     .on_change(move |topic, person, change| {
//!         let what = if change == Change::Joined { "has come" } else { "has gone" };
//!         let _ = tell.deliver(topic, format!("{person} {what}"));
//!     })
//!     .build();
//! let listed = presence.clone();
//!
//! let app = Router::new()
//!     .get("/room/{person}", move |req, res| {
//!         // A real program takes the person from its session.
//!         let person = req.param_str("person").unwrap_or_default().to_owned();
//!         let (done, page) = res.events();
//!         if let Ok(stay) = presence.enter("room", &person) {
//!             page.on_gone(move || drop(stay)); // the person leaves with the page
//!             let _ = hub.subscribe(page, ["room"]);
//!         }
//!         done
//!     })
//!     .get("/who", move |_, res| {
//!         let (done, responder) = res.defer();
//!         listed.members("room", move |members| {
//!             let _ = match members {
//!                 Ok(members) => responder.send(|res| res.text(&members.names.join("\n"))),
//!                 Err(_) => responder.send(|res| res.status(503).text("try again later\n")),
//!             };
//!         });
//!         done
//!     });
//! # let mut page = peregrine::testing::Connection::new(&app);
//! # page.send(b"GET /room/ann HTTP/1.1\r\nHost: a\r\n\r\n");
//! # let mut who = peregrine::testing::Connection::new(&app);
//! # who.send(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
//! # while !who.received().ends_with(b"\r\n\r\nann") {
//! #     assert!(who.wait(std::time::Duration::from_secs(60)));
//! # }
//! ```
//!
//! With a WebSocket, the [`Stay`] is a field of the state of the connection, which is dropped with it.
//!
//! # Several machines
//!
//! [`MemoryPresence`] is for one process. The crate `peregrine-redis` has a store that all machines share:
//!
//! - Each process renews one lease. No process is ever asked who is there.
//! - The entries of a process that was killed vanish when its lease ends, and the others are told, once.
//! - A process that was cut off for longer enters its persons again when it is back.
//! - When all were cut off for longer, because Redis was away or failed over, persons stay. Those who have gone meanwhile vanish one
//!   lease later.
//!
//! Each process that has a person on the topic is told of a change, so send it to the clients of this process only
//! ([`EventHub::deliver`](crate::sse::EventHub::deliver), `Hub::deliver`).
//!
//! # Limits
//!
//! | what | default | what happens |
//! |---|---|---|
//! | persons on topics in this process, each counted for each topic | 65,536 | [`PresenceError::Full`] |
//! | bytes of a name of a topic or person | 256 | [`PresenceError::Name`] |
//! | names in a list | 1,000 | the list is cut; `count` has all |
//!
//! **Memory.** A person takes its two names and about 300 bytes here, and as much again in a [`MemoryPresence`]. While the store is
//! behind, as when Redis is away, those of whom it has still to be told that they have gone count, too: at most twice
//! [`PresenceLimits::entries`] persons are kept, and [`Presence::enter`] fails above that. So with the longest names, `entries` of
//! 65,536 are about 100 MB at most, and twice that with a [`MemoryPresence`].
//!
//! All who ask for the list of a topic at the same time share one list ([`Presence::members`] gives an `Arc`).
//!
//! A page that is loaded again leaves and joins. A program that does not want to show that waits a few seconds before it shows
//! that a person has left, for example with [`Timers`](crate::timers::Timers).
//!
//! [`MemoryPresence`]: crate::presence::MemoryPresence
//! [`Presence`]: crate::presence::Presence
//! [`Presence::enter`]: crate::presence::Presence::enter
//! [`Presence::members`]: crate::presence::Presence::members
//! [`PresenceError::Full`]: crate::presence::PresenceError::Full
//! [`PresenceError::Name`]: crate::presence::PresenceError::Name
//! [`PresenceLimits::entries`]: crate::presence::PresenceLimits::entries
//! [`Stay`]: crate::presence::Stay
