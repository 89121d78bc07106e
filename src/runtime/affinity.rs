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

/// Returns a function that lets a new thread run on all CPUs that the calling thread may use now. It is
/// needed because a thread that a worker starts inherits the CPU to which the worker is bound. Without bound
/// workers it does nothing.
#[cfg(target_os = "linux")]
pub(crate) fn keep(are_bound: bool) -> impl Fn() + Send + Sync + 'static {
    use rustix::thread::{sched_getaffinity, sched_setaffinity};

    let allowed = are_bound.then(|| sched_getaffinity(None).ok()).flatten();
    move || {
        if let Some(allowed) = &allowed {
            // If it fails, the thread stays bound to one CPU, and works.
            let _ = sched_setaffinity(None, allowed);
        }
    }
}

/// Threads are not bound on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keep(_are_bound: bool) -> impl Fn() + Send + Sync + 'static {
    || {}
}

/// Not supported on this system: it chooses where threads run.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bind_thread(_index: usize) {}
