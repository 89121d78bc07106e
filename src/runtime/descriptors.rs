//! How many file descriptors the process may have.

use crate::config::Config;
use crate::log::event;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors of each thread: those of its poller, and a reserve.
const PER_THREAD: usize = 4;

/// Standard streams, and what a program opens itself: an estimate.
const SPARE: usize = 16;

/// How many of [`Config::connections`] have a descriptor, after those of `threads` and listeners. Raises the
/// limit of the process first if the configuration asks for it, and writes an event to the log if there are
/// too few.
pub(crate) fn connections_that_fit(config: &Config, threads: usize, listeners: usize) -> usize {
    let own = threads * PER_THREAD + listeners + SPARE;
    if config.raise_descriptors {
        limit::raise(config.connections.saturating_add(own));
    }
    let Some(most) = limit::get() else {
        return config.connections;
    };
    let fit = most.saturating_sub(own).min(config.connections);
    // Once for all servers of the process that want as many or fewer.
    let is_short = fit < config.connections;
    if is_short && TOLD.fetch_max(config.connections, Ordering::Relaxed) < config.connections {
        let wanted = config.connections;
        let remedy = remedy(config.raise_descriptors);
        event!(
            Warn,
            "Config::connections is {wanted}, but the process may have {most} descriptors: there is room for \
             about {fit} connections; {remedy}"
        );
    }
    fit
}

/// The most connections for which the log has said that there are too few descriptors.
static TOLD: AtomicUsize = AtomicUsize::new(0);

/// What the operator can do about too few descriptors.
fn remedy(is_raised: bool) -> &'static str {
    match is_raised {
        true => "the hard limit allows no more (ulimit -Hn, LimitNOFILE= of systemd)",
        false => "Config::raise_descriptors raises the limit, as does ulimit -n",
    }
}

#[cfg(unix)]
mod limit {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// `None`: there is none.
    pub(crate) fn get() -> Option<usize> {
        let most = getrlimit(Resource::Nofile).current?;
        Some(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// Raises the limit to `wanted`, or as far as the system allows.
    pub(crate) fn raise(wanted: usize) {
        let wanted = wanted as u64;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_none_or(|current| current >= wanted) {
            return;
        }
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // The caller reads the new limit.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

/// On Windows sockets are not descriptors, and the process has no limit on them.
#[cfg(not(unix))]
mod limit {
    pub(crate) fn get() -> Option<usize> {
        None
    }

    pub(crate) fn raise(_: usize) {}
}
