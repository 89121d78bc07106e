//! A command, with what is filled in when it is sent.

use crate::resp::Value;

/// A part of a command.
pub(crate) enum Part {
    Bytes(Vec<u8>),
    /// The number of a command that is kept. It is given under the lock of the queue, so it rises in the order of sending.
    Number,
    /// The number of the kept command that was sent before and is not answered; 0 if there is none. A server that has refused
    /// that one must refuse this one, too.
    Before,
}

impl<B: Into<Vec<u8>>> From<B> for Part {
    fn from(bytes: B) -> Part {
        Part::Bytes(bytes.into())
    }
}

/// Receives the reply to a command; `None` if there is none.
pub(crate) type OnReply = Box<dyn FnOnce(Option<Value>) + Send>;

/// A command whose reply has not come.
pub(crate) struct Command {
    /// The script that it calls, by its number in [`crate::scripts::ALL`]; the arguments follow. Otherwise all parts.
    pub(crate) script: Option<usize>,
    pub(crate) parts: Vec<Part>,
    /// It is sent again until it is answered.
    pub(crate) is_kept: bool,
    /// It goes before those that wait.
    pub(crate) is_first: bool,
    /// [`Driver::send`](super::Driver::send) sets it, if the command is kept.
    pub(super) number: u64,
    /// It was sent, and it is not known whether it was carried out.
    pub(super) is_unsure: bool,
    pub(crate) on_reply: OnReply,
}

impl Command {
    pub(crate) fn new(
        script: Option<usize>,
        parts: Vec<Part>,
        is_kept: bool,
        on_reply: OnReply,
    ) -> Command {
        Command {
            script,
            parts,
            is_kept,
            is_first: false,
            number: 0,
            is_unsure: false,
            on_reply,
        }
    }

    /// What it counts in the queue.
    pub(super) fn bytes(&self) -> usize {
        let parts = self.parts.iter().map(|part| match part {
            Part::Bytes(bytes) => bytes.len() + 16,
            Part::Number | Part::Before => 32,
        });
        parts.sum::<usize>() + 64
    }
}
