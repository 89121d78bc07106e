//! HTTP/3 connections in memory.

mod attacks;
mod ends;
mod musts;
mod responses;
mod splits;

use super::*;
use crate::h3::check::{Client, Driver, Seen, control, get, headers, request, with_header};
