//! Binds a thread to a CPU.

/// Binds the calling thread to the `index`-th of the CPUs it may use, modulo their number.
#[cfg(target_os = "linux")]
pub(crate) fn bind_thread(index: usize) {
    use crate::log::event;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let bind = || {
        let allowed = sched_getaffinity(None)?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| allowed.is_set(cpu))
            .collect();
        let mut one = CpuSet::new();
        one.set(cpus[index % cpus.len()]);
        sched_setaffinity(None, &one)
    };
    if let Err(error) = bind() {
        event!(Warn, "worker {index} is not bound to a CPU: {error}");
    }
}

/// What lets a thread run where the calling one may now, whoever starts it: threads inherit the CPU
/// that a worker is bound to. Nothing to do unless workers are.
#[cfg(target_os = "linux")]
pub(crate) fn keep(are_bound: bool) -> impl Fn() + Send + Sync + 'static {
    use rustix::thread::{sched_getaffinity, sched_setaffinity};

    let allowed = are_bound.then(|| sched_getaffinity(None).ok()).flatten();
    move || {
        if let Some(allowed) = &allowed {
            // Where it fails the thread is bound to a CPU, and works.
            let _ = sched_setaffinity(None, allowed);
        }
    }
}

/// Nobody is bound on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keep(_are_bound: bool) -> impl Fn() + Send + Sync + 'static {
    || {}
}

/// Not on this system: threads run where it puts them.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bind_thread(_index: usize) {}
