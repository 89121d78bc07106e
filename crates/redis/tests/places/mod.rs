//! Servers that are found: by Sentinels, in a cluster, over TLS, and with version 2 of RESP.

mod cluster;
mod presence;
mod sentinel;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_places;
mod version_2;

use super::{MS, texts};
