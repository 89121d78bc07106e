//! Sends the messages of a history to pages and WebSockets.

use super::log::LogMessage;
use super::position::Position;
use super::track::{Kept, Outlet};
use crate::http::deferred::{Event, EventHub, EventSender};
use crate::shared::panic_guard::catch;
#[cfg(feature = "websocket")]
use crate::websocket::{hub::Hub, peer_table::Seat, topics::Ticket};
use peregrine_protocol::payload::Payload;
#[cfg(feature = "websocket")]
use peregrine_protocol::ws::prepared::PreparedMessage;

/// What is sent to clients: a message, or a notice about the subscription. The functions of
/// [`HistoryBuilder`](super::HistoryBuilder) turn it into the format of the program.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Update<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Where the client stands after this update. A client that comes back with it gets what it has missed. `None` while
    /// the log cannot be read.
    pub position: Option<Position>,
    /// What it is.
    pub kind: UpdateKind<'a>,
}

/// The kinds of [`Update`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum UpdateKind<'a> {
    /// A message, missed or new.
    Message(&'a LogMessage),
    /// The client has got all that it has missed, and is subscribed now.
    Current,
    /// Messages before this position may be missing, and cannot be sent any more. The client is subscribed. It should load
    /// anew what the messages are about.
    Lost,
}

pub(super) type Format<T> = Box<dyn Fn(&Update<'_>) -> Option<T> + Send + Sync>;

/// The default format of events.
pub(super) fn event(update: &Update<'_>) -> Option<Event> {
    match update.kind {
        UpdateKind::Message(message) => Some(match message.as_text() {
            Some(text) => Event::from(text),
            None => Event::from(String::from_utf8_lossy(message.as_bytes()).into_owned()),
        }),
        UpdateKind::Current => Some(Event::new()),
        UpdateKind::Lost => Some(Event::new().event("lost").data("")),
    }
}

/// A message in the forms in which it is sent.
#[derive(Clone, Debug)]
pub(super) struct Forms {
    event: Option<Payload>,
    #[cfg(feature = "websocket")]
    message: Option<PreparedMessage>,
}

impl Forms {
    fn bytes(&self) -> usize {
        let event = self.event.as_ref();
        let bytes = event.map_or(0, |event| event.as_bytes().len());
        #[cfg(feature = "websocket")]
        let bytes = bytes + self.message.as_ref().map_or(0, PreparedMessage::frame_len);
        bytes
    }
}

/// Where a history sends.
#[derive(Default)]
pub(super) struct Outlets {
    pub(super) events: Option<(EventHub, Format<Event>)>,
    #[cfg(feature = "websocket")]
    pub(super) sockets: Option<(Hub, Format<PreparedMessage>)>,
}

impl Outlets {
    /// A panic in the function of the program leaves the message out.
    pub(super) fn format(&self, update: &Update<'_>) -> Forms {
        let event = self.events.as_ref().and_then(|(_, format)| {
            let event = catch(|| format(update)).ok().flatten()?;
            let event = match update.position {
                Some(position) => event.id(position.to_string()),
                None => event,
            };
            event.into_shared().ok()
        });
        Forms {
            event,
            #[cfg(feature = "websocket")]
            message: self
                .sockets
                .as_ref()
                .and_then(|(_, format)| catch(|| format(update)).ok().flatten()),
        }
    }

    pub(super) fn kept(
        &self,
        topic: &str,
        position: Position,
        message: &LogMessage,
    ) -> Kept<Forms> {
        let forms = self.format(&Update {
            topic,
            position: Some(position),
            kind: UpdateKind::Message(message),
        });
        Kept {
            offset: position.offset,
            // With what an empty one takes.
            bytes: forms.bytes() + size_of::<Kept<Forms>>(),
            forms,
        }
    }
}

/// A client that subscribes.
pub(super) enum Client {
    Page(EventSender),
    #[cfg(feature = "websocket")]
    Socket(Seat),
}

/// One topic.
pub(super) struct TopicOutlet<'a> {
    pub(super) outlets: &'a Outlets,
    pub(super) topic: &'a str,
    #[cfg(feature = "websocket")]
    pub(super) sockets: &'a Ticket,
}

/// Bytes of missed events that are sent to a page as one piece, or a little more.
const JOINED: usize = 16 * 1024;

impl TopicOutlet<'_> {
    fn notice(&self, position: Option<Position>, kind: UpdateKind<'_>) -> Forms {
        self.outlets.format(&Update {
            topic: self.topic,
            position,
            kind,
        })
    }

    fn send_all(&self, forms: &Forms) {
        if let (Some((hub, _)), Some(event)) = (&self.outlets.events, &forms.event) {
            hub.send(Some(self.topic), event);
        }
        #[cfg(feature = "websocket")]
        if let (Some((hub, _)), Some(message)) = (&self.outlets.sockets, &forms.message) {
            // Those for which it does not fit are closed, or have chosen to miss messages: `WsLimits::backlog_policy`.
            hub.deliver(Some(self.topic), message.clone());
        }
    }

    /// A page that has no room for all of it ends. It comes back with the id of the last event that it has got.
    fn serve_page(&self, mut page: EventSender, forms: &[&Forms]) {
        let mut joined = Vec::new();
        for event in forms.iter().filter_map(|forms| forms.event.as_ref()) {
            joined.extend_from_slice(event.as_bytes());
            if joined.len() > JOINED && !page.try_send_payload(std::mem::take(&mut joined).into()) {
                return;
            }
        }
        let all = joined.is_empty() || page.try_send_payload(joined.into());
        if let (true, Some((hub, _))) = (all, &self.outlets.events) {
            // With a name that is too long, the stream ends.
            let _ = hub.subscribe(page, [self.topic]);
        }
    }

    /// Everything goes by the hub: what it gets on one thread reaches a connection in order.
    #[cfg(feature = "websocket")]
    fn serve_socket(&self, seat: Seat, forms: &[&Forms]) {
        if let Some((hub, _)) = &self.outlets.sockets {
            let messages = forms.iter().filter_map(|forms| forms.message.clone());
            hub.join(seat, self.topic, messages.collect(), self.sockets.clone());
        }
    }
}

impl Outlet<Client, Forms> for TopicOutlet<'_> {
    fn publish(&mut self, message: &Kept<Forms>) {
        self.send_all(&message.forms);
    }

    fn lost(&mut self, position: Position) {
        let forms = self.notice(Some(position), UpdateKind::Lost);
        self.send_all(&forms);
    }

    fn serve(
        &mut self,
        client: Client,
        missed: Option<Vec<&Kept<Forms>>>,
        position: Option<Position>,
    ) {
        let kind = match missed {
            Some(_) => UpdateKind::Current,
            None => UpdateKind::Lost,
        };
        let notice = self.notice(position, kind);
        let missed = missed.unwrap_or_default().into_iter();
        let mut forms: Vec<_> = missed.map(|kept| &kept.forms).collect();
        forms.push(&notice);
        match client {
            Client::Page(page) => self.serve_page(page, &forms),
            #[cfg(feature = "websocket")]
            Client::Socket(seat) => self.serve_socket(seat, &forms),
        }
    }
}
