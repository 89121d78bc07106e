//! Buffers that the connections of one thread share.

use super::output::Output;
use peregrine_protocol::h1::read_buf::Input;

/// How many buffers of each kind are kept. A connection needs them only while a request is incomplete or a
/// response is unsent; in most turns it begins and ends without one.
const KEEP: usize = 64;

/// Last in, first out, so the next buffer is one that is still in the CPU cache.
#[derive(Default)]
pub(crate) struct BufferPool {
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    inputs: Vec<Box<Input>>,
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    outputs: Vec<Box<Output>>,
    /// The number of buffers that are leased.
    #[cfg(test)]
    pub(crate) away: usize,
}

impl BufferPool {
    pub(crate) fn input(&mut self) -> Box<Input> {
        #[cfg(test)]
        {
            self.away += 1;
        }
        self.inputs.pop().unwrap_or_else(|| Box::new(Input::new()))
    }

    pub(crate) fn output(&mut self) -> Box<Output> {
        #[cfg(test)]
        {
            self.away += 1;
        }
        self.outputs.pop().unwrap_or_default()
    }

    /// Takes a buffer back. Its content is dropped here, so no byte of one connection can reach another.
    pub(crate) fn give_input(&mut self, mut input: Box<Input>) {
        #[cfg(test)]
        self.come_back();
        if self.inputs.len() < KEEP {
            input.recycle();
            self.inputs.push(input);
        }
    }

    pub(crate) fn give_output(&mut self, mut output: Box<Output>) {
        #[cfg(test)]
        self.come_back();
        if self.outputs.len() < KEEP {
            output.clear();
            self.outputs.push(output);
        }
    }

    /// Counts a buffer as returned. Also for a buffer that leaves the pool for good.
    #[cfg(test)]
    pub(crate) fn come_back(&mut self) {
        self.away = self.away.checked_sub(1).expect("given back once");
    }
}
