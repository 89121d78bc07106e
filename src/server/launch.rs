//! Binds addresses and starts threads.

#[cfg(feature = "http3")]
use super::datagrams;
use super::places::{Places, cannot_bind};
use super::running::Running;
#[cfg(feature = "http3")]
use crate::config::Http3;
use crate::config::{Config, ConfigError};
use crate::http::deferred::worker_handle::WorkerHandle;
use crate::http::driver::Worker;
use crate::http::handler::Handler;
use crate::http::upgrade::UpgradeMode;
use crate::metrics::{MostOf, Stats, WorkerMetrics};
use crate::runtime::acceptor::Acceptor;
use crate::runtime::connection_limit::ConnectionLimit;
use crate::runtime::listener::{BindAddr, ListenAddr, Listener, ListenerId};
use crate::runtime::phase::Phase;
use crate::runtime::poll::{Poll, Waker};
#[cfg(feature = "http3")]
use crate::runtime::quic::Port;
use crate::runtime::server_state::{ServerState, WorkerShared};
use crate::runtime::thread_pool::{Size, ThreadPool};
use crate::runtime::transport::ListenerConfig;
use crate::runtime::transport::OverSocket;
use crate::runtime::{affinity, descriptors, listener};
use crate::shared::id::Slot;
use crate::shared::memory_budget::MemoryBudget;
use crate::timers::Timers;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A server whose addresses are bound and whose threads are about to start. A drop stops the threads that
/// have started.
pub(crate) struct Launch {
    pub(crate) config: Arc<Config>,
    pub(crate) control: Arc<ServerState>,
    worker_polls: Vec<Poll>,
    acceptor_polls: Vec<Poll>,
    /// The listeners of each accept thread.
    sets: Vec<Vec<(ListenerId, Listener)>>,
    /// The sockets for HTTP/3 of each worker.
    #[cfg(feature = "http3")]
    ports: Vec<Vec<Port>>,
    running: Running,
}

impl Launch {
    /// `others` wakes threads of other protocols.
    pub(crate) fn new(
        config: Config,
        places: Places,
        others: Vec<Waker>,
        timers: Timers,
    ) -> io::Result<Launch> {
        config.check()?;
        let config = Arc::new(config);
        let accept_threads = config.acceptors();
        let threads = match accept_threads {
            0 => config.workers,
            n => n,
        };
        let shared = threads > 1 && listener::CAN_SHARE;
        let bound = bind_all(places, shared, threads, &config)?;

        let pollers = config.workers + accept_threads + others.len();
        let listeners = bound.kept.len() + bound.sets.iter().map(Vec::len).sum::<usize>();
        #[cfg(feature = "http3")]
        let listeners = listeners + bound.ports.iter().map(Vec::len).sum::<usize>();
        let fit = descriptors::connections_that_fit(&config, pollers, listeners);
        let polls = |n| (0..n).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>();
        let (worker_polls, acceptor_polls) = (polls(config.workers)?, polls(accept_threads)?);
        let size = Size {
            threads: config.pool_threads,
            queue: config.pool_queue,
            stack: config.stack_size,
        };
        let pool = ThreadPool::new(size, affinity::keep(config.cpu_affinity));
        let budget = Arc::new(MemoryBudget::new(config.buffered_bytes));
        let workers = worker_polls
            .iter()
            .map(|poll| WorkerShared::new(poll.waker()))
            .collect();
        let handles = worker_polls.iter().map(|poll| {
            let (pool, budget, waker) = (pool.clone(), budget.clone(), poll.waker());
            let wake = move || waker.wake();
            let most_timers = config.timers_per_worker;
            let handle = WorkerHandle::new(&config.limits, most_timers, pool, budget, wake);
            Arc::new(handle)
        });
        let handles: Vec<_> = handles.collect();
        let wakers = acceptor_polls.iter().map(Poll::waker).collect();
        let capacity = ConnectionLimit::new(&config);
        let accepting = capacity.counters.clone();
        let control = Arc::new(ServerState::new(
            workers,
            capacity,
            budget,
            bound.configs,
            (wakers, others),
            pool.clone(),
            (Phase::new(&config), config.stop_timeout),
        ));
        control.keep_listeners(bound.kept);
        timers.start(handles.clone());
        Ok(Launch {
            running: Running {
                control: control.clone(),
                addrs: bound.addrs,
                acceptors: Vec::new(),
                workers: Vec::new(),
                others: vec![pool.counters(), accepting],
                timers,
                handles,
                fit,
                #[cfg(feature = "signals")]
                signals: None,
                #[cfg(target_os = "linux")]
                watchdog: None,
            },
            config,
            control,
            worker_polls,
            acceptor_polls,
            sets: bound.sets,
            #[cfg(feature = "http3")]
            ports: bound.ports,
        })
    }

    /// Starts a thread of another protocol.
    #[cfg(feature = "websocket")]
    pub(crate) fn add_other(
        &mut self,
        kind: &str,
        index: usize,
        counters: Arc<crate::metrics::WorkerCounters>,
        run: impl FnOnce() -> io::Result<crate::runtime::event_loop::Ended> + Send + 'static,
    ) -> io::Result<()> {
        let thread = spawn(kind, index, &self.config, &self.control, run);
        // These threads would wait for workers that never start.
        let thread = thread.inspect_err(|_| self.control.cut())?;
        self.running.workers.push(thread);
        self.running.others.push(counters);
        Ok(())
    }

    /// Starts the workers, each with its own mode, and the accept threads.
    pub(crate) fn start<H: Handler, M: UpgradeMode<H, T>, T: OverSocket>(
        self,
        handler: Arc<H>,
        stats: &Stats,
        mode: impl Fn() -> M,
    ) -> io::Result<Running> {
        let Launch {
            config,
            control,
            worker_polls,
            acceptor_polls,
            mut sets,
            #[cfg(feature = "http3")]
            mut ports,
            mut running,
        } = self;
        // This comes before the first request, whose handler might read them.
        let counters = control.workers.iter().map(|worker| worker.counters.clone());
        let (shared, ws) = running.others.split_at(2);
        let workers = WorkerMetrics {
            counters: counters.collect(),
            routes: running.handles.iter().map(|h| h.routes.clone()).collect(),
        };
        let most = MostOf {
            buffered: config.buffered_bytes as u64,
            connections: running.fit as u64,
            jobs: config.pool_queue as u64,
        };
        let shared = [&shared[0], &shared[1]];
        stats.add(workers, ws, shared, &control.budget, most);
        let queues = running.handles.iter().enumerate().map(|(i, handle)| {
            let handle = Arc::downgrade(handle);
            let messages = move || Some(handle.upgrade()?.inbox.len() as u64);
            ServerState::queues(&control, i, messages)
        });
        stats.add_queues(queues.collect(), Vec::new());
        for (index, poll) in worker_polls.into_iter().enumerate() {
            let listeners = match acceptor_polls.len() {
                0 => sets.remove(0),
                _ => Vec::new(),
            };
            let worker = Worker {
                index,
                handler: handler.clone(),
                handle: running.handles[index].clone(),
                config: config.clone(),
                control: control.clone(),
                poll,
                listeners,
                mode: mode(),
                transport: PhantomData,
                #[cfg(feature = "http3")]
                datagrams: (std::mem::take(&mut ports[index]), running.handles.clone()),
            };
            let run = move || worker.run();
            let thread = spawn("worker", index, &config, &control, run);
            let thread = thread.inspect_err(|_| control.cut())?;
            running.workers.push(thread);
        }
        for (index, (poll, listeners)) in acceptor_polls.into_iter().zip(sets).enumerate() {
            let acceptor = Acceptor::new(poll, listeners, control.clone(), config.clone());
            let run = move || acceptor.run();
            let thread = spawn("accept", index, &config, &control, run);
            let thread = thread.inspect_err(|_| control.cut())?;
            running.acceptors.push(thread);
        }
        Ok(running)
    }
}

/// The listeners of a server and their addresses.
struct Bound {
    /// In the order of the places.
    addrs: Vec<ListenAddr>,
    /// In the order of the places.
    configs: Vec<ListenerConfig>,
    /// The listeners of each accept thread.
    sets: Vec<Vec<(ListenerId, Listener)>>,
    /// One more listener for each queue of connections, for a successor.
    kept: Vec<Listener>,
    /// The sockets for HTTP/3 of each worker.
    #[cfg(feature = "http3")]
    ports: Vec<Vec<Port>>,
}

/// Binds listeners for `threads` threads. Each set has a listener for each place.
fn bind_all(places: Places, shared: bool, threads: usize, config: &Config) -> io::Result<Bound> {
    if places.addrs.is_empty() {
        return Err(ConfigError::NoAddress.into());
    }
    if places.addrs.len() > Slot::RESERVED {
        return Err(ConfigError::TooManyListeners(Slot::RESERVED).into());
    }
    let mut bound = Bound {
        addrs: Vec::new(),
        configs: Vec::new(),
        sets: (0..threads).map(|_| Vec::new()).collect(),
        kept: Vec::new(),
        #[cfg(feature = "http3")]
        ports: Vec::new(),
    };
    #[cfg(feature = "http3")]
    let modes: Vec<Http3> = (0..places.addrs.len())
        .map(|index| datagrams::mode(&places, index, config))
        .collect();
    #[cfg(feature = "http3")]
    let mut sockets = Vec::new();
    let v4_ports: Vec<u16> = places.addrs.iter().flat_map(wildcard_v4_ports).collect();
    for (index, place) in places.addrs.into_iter().enumerate() {
        let id = ListenerId(index as u16);
        let listener = ListenerConfig::new(config);
        #[cfg(feature = "http3")]
        if modes[index] == Http3::Only {
            let (addr, bound_to) = datagrams::bind_place(place, config.workers, &v4_ports)?;
            bound.addrs.push(addr);
            bound.configs.push(listener);
            sockets.push((index, bound_to));
            continue;
        }
        let listen = |place| queues(place, shared, threads, &v4_ports, &listener);
        #[cfg(feature = "http3")]
        let queues = {
            let beside = (modes[index], config.workers, &v4_ports[..]);
            let (queues, bound_to) = datagrams::bind_beside(beside, place, listen)?;
            sockets.extend(bound_to.map(|bound_to| (index, bound_to)));
            queues
        };
        #[cfg(not(feature = "http3"))]
        let queues = listen(place)?;
        bound.addrs.push(queues[0].addr()?);
        bound.configs.push(listener);
        // Each listener has its own queue, so each needs a thread. Each thread needs a listener.
        for i in 0..threads.max(queues.len()) {
            let set = &mut bound.sets[i % threads];
            if set.len() == Slot::RESERVED {
                return Err(ConfigError::TooManyListeners(Slot::RESERVED).into());
            }
            set.push((id, queues[i % queues.len()].same()?));
        }
        if cfg!(unix) {
            bound.kept.extend(queues);
        }
    }
    #[cfg(feature = "http2")]
    for (place, http2) in places.http2 {
        bound.configs[place].http2 = http2;
    }
    super::proxied::expect_headers(&mut bound.configs, &places.proxied, config)?;
    #[cfg(feature = "tls")]
    super::places::secure(
        &mut bound.configs,
        &mut bound.addrs,
        places.secured,
        &places.redirecting,
    )?;
    #[cfg(feature = "http3")]
    {
        bound.ports = datagrams::ports(sockets, &mut bound.configs, config)?;
    }
    Ok(bound)
}

/// The IPv4 ports of a place that is bound to every address, without ports that the system chooses.
fn wildcard_v4_ports(place: &BindAddr) -> Vec<u16> {
    let addrs = match place {
        BindAddr::Tcp(Ok(addrs)) => addrs.clone(),
        BindAddr::Inherited(listeners) => {
            let addrs = listeners.iter().map(TcpListener::local_addr);
            addrs.filter_map(Result::ok).collect()
        }
        _ => Vec::new(),
    };
    let wild = |addr: &SocketAddr| addr.is_ipv4() && addr.ip().is_unspecified() && addr.port() != 0;
    let ports = addrs.iter().filter(|addr| wild(addr));
    ports.map(SocketAddr::port).collect()
}

/// The listeners of one place: one, or one for each thread where the system distributes connections.
/// Connections over IPv4 to `v4_ports` belong to other places.
fn queues(
    place: BindAddr,
    shared: bool,
    threads: usize,
    v4_ports: &[u16],
    config: &ListenerConfig,
) -> io::Result<Vec<Listener>> {
    match place {
        BindAddr::Tcp(addrs) => {
            let first = bind_first(addrs?, shared, v4_ports, config)?;
            let others = if shared { 1..threads } else { 0..0 };
            let others: io::Result<Vec<_>> = others.map(|_| first.another(config)).collect();
            Ok(std::iter::once(first).chain(others?).collect())
        }
        // They cannot be shared: they may have been bound without that option.
        BindAddr::Inherited(listeners) => {
            let ours = |listener| Listener::inherited(listener, config);
            listeners.into_iter().map(ours).collect()
        }
        #[cfg(unix)]
        BindAddr::Unix(path, mode) => {
            let bound = Listener::unix(&path, mode, config);
            let bound = bound.map_err(|error| cannot_bind(path.display(), &error));
            Ok(vec![bound?])
        }
        #[cfg(unix)]
        BindAddr::InheritedUnix(listener, file) => {
            Ok(vec![Listener::inherited_unix(listener, file)?])
        }
    }
}

fn bind_first(
    addrs: Vec<SocketAddr>,
    shared: bool,
    v4_ports: &[u16],
    config: &ListenerConfig,
) -> io::Result<Listener> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in addrs {
        let only_v6 = v4_ports.contains(&addr.port());
        match Listener::tcp(addr, shared, only_v6, config) {
            Ok(listener) => return Ok(listener),
            Err(e) => error = cannot_bind(addr, &e),
        }
    }
    Err(error)
}

/// Starts a named thread. When it ends, in any way, the server stops: no such thread ends before the server.
fn spawn<T: Send + 'static>(
    kind: &str,
    index: usize,
    config: &Config,
    control: &Arc<ServerState>,
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<T>>> {
    struct StopOthers(Arc<ServerState>);
    impl Drop for StopOthers {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let guard = StopOthers(control.clone());
    // Linux shows 15 bytes of a name.
    let mut builder = thread::Builder::new().name(format!("pg-{kind}-{index}"));
    if let Some(bytes) = config.stack_size {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(move || {
        let _guard = guard;
        run()
    })
}
