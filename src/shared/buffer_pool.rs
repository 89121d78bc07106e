//! Buffers that the connections of one thread share.

use super::output::Output;
use peregrine_protocol::h1::read_buf::Input;

/// How many of each kind are kept. A connection needs them only while a request of it is incomplete
/// or its response unsent; most turns begin and end without.
const KEEP: usize = 64;

/// Last in, first out: the buffer that is still in the cache is the next one taken.
#[derive(Default)]
pub(crate) struct BufferPool {
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    inputs: Vec<Box<Input>>,
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    outputs: Vec<Box<Output>>,
    /// Leased and not given back.
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

    /// Takes a buffer back. What it still holds is dropped here: no byte of one connection can
    /// reach another.
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

    /// Also for a buffer that goes elsewhere for good.
    #[cfg(test)]
    pub(crate) fn come_back(&mut self) {
        self.away = self.away.checked_sub(1).expect("given back once");
    }
}
