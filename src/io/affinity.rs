//! Binding a thread to a CPU.

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

/// Not on this system: threads run where it puts them.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bind_thread(_index: usize) {}
