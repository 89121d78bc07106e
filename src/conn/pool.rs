//! Buffers that one thread's connections take turns with.

use super::{input::Input, output::Output};

/// How many of each kind are kept. A connection needs them only while a request of it is incomplete
/// or its answer unsent; most turns begin and end without.
const KEEP: usize = 64;

/// Last in, first out: the buffer that is still in the cache is the next one taken.
#[derive(Default)]
pub(crate) struct Pool {
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    inputs: Vec<Box<Input>>,
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    outputs: Vec<Box<Output>>,
}

impl Pool {
    pub(crate) fn input(&mut self) -> Box<Input> {
        self.inputs.pop().unwrap_or_else(|| Box::new(Input::new()))
    }

    pub(crate) fn output(&mut self) -> Box<Output> {
        self.outputs.pop().unwrap_or_default()
    }

    /// Takes a buffer back. What it still holds is dropped here: no byte of one connection can
    /// reach another.
    pub(crate) fn give_input(&mut self, mut input: Box<Input>) {
        if self.inputs.len() < KEEP {
            input.recycle();
            self.inputs.push(input);
        }
    }

    pub(crate) fn give_output(&mut self, mut output: Box<Output>) {
        if self.outputs.len() < KEEP {
            output.clear();
            self.outputs.push(output);
        }
    }
}
