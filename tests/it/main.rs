//! All integration tests: one binary, so they link once and share their helpers.

mod cases;
mod tidy;
