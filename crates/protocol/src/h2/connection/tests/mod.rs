//! Tests of the state machine, by a client that checks every frame that it gets.

mod attacks;
mod ends;
mod flow;
mod musts;
mod responses;

use super::super::check::{Client, Driver, Seen, frame, get, headers, request, settings};
use super::*;
