//! Kubernetes: probes, and rolling updates without a lost request.
//!
//! When a pod is deleted, its container gets SIGTERM, and at the same time the cluster begins to tell all nodes that it
//! is gone. So new connections come for some seconds after SIGTERM. [`Config::drain_delay`](crate::Config::drain_delay)
//! covers them; a `preStop` hook that sleeps is not needed.
//!
//! ```no_run
//! use peregrine::server::Health;
//! use peregrine::{Config, Router, Server};
//! use std::time::Duration;
//!
//! # #[cfg(feature = "signals")]
//! fn main() -> std::io::Result<()> {
//!     let health = Health::new();
//!     let app = Router::new()
//!         .get("/", |_, res| res.text("Hello, World!"))
//!         .mount("/health", health.clone()); // /health/livez, /health/readyz
//!     let config = Config::default()
//!         .allowed_hosts(["app.example"])
//!         .drain_delay(Duration::from_secs(15))
//!         .buffered_bytes(512 << 20);
//!     let server = Server::new(app).config(config).health(&health);
//!     server.bind("0.0.0.0:8080").stop_on_signals().run()?;
//!     Ok(())
//! }
//! # #[cfg(not(feature = "signals"))]
//! # fn main() {}
//! ```
//!
#![doc = concat!("```yaml\n", include_str!("recipes/kubernetes.yaml"), "```")]
//!
//! # The numbers
//!
//! | number | why |
//! |---|---|
//! | `drain_delay` 15 s | 2 failures of a probe each 5 s, and 5 s in which the nodes are told |
//! | `terminationGracePeriodSeconds` 45 | the drain, the close of the WebSockets, `stop_timeout`, and some more; then SIGKILL |
//! | `livenessProbe` 3 × 10 s | a restart is the last resort: the probe stays 200 during a drain |
//! | `memory` 1 GiB | [`Config::buffered_bytes`](crate::Config::buffered_bytes) does not follow the limit of the container |
//!
//! No limit of CPU stands there: the number of workers follows it ([`Config::workers`](crate::Config::workers)), and a worker
//! that is throttled is slow.
//!
//! # Probes
//!
//! A service of type `NodePort`, or with `externalTrafficPolicy: Cluster`, gives clients the address of the node. Probes come
//! from there, too. Then the limits per address, which are on by default, count them together: one client with 4,096
//! connections makes the probes fail, the pod is restarted, and the load goes to the next one. Overload of the whole server
//! (503) does the same. A second server on a port of its own, which no service leads to, has limits of its own:
//!
//! ```no_run
//! use peregrine::server::Health;
//! use peregrine::{Config, Server};
//! use std::time::Duration;
//!
//! # #[cfg(feature = "signals")]
//! fn main() -> std::io::Result<()> {
//!     let health = Health::new();
//!     let config = Config::default().drain_delay(Duration::from_secs(15));
//!     let server = Server::from_fn(|_, res| res.text("Hello, World!")).config(config);
//!     let server = server.health(&health).bind("0.0.0.0:8080").stop_on_signals().start()?;
//!     let probes = Server::new(health.clone()).config(Config::default().workers(1));
//!     let _probes = probes.bind("0.0.0.0:8081").start()?; // ends after the other one
//!     server.wait()?;
//!     Ok(())
//! }
//! # #[cfg(not(feature = "signals"))]
//! # fn main() {}
//! ```
//!
//! The probes ask `port: 8081` then, with the same paths and without `httpHeaders`. The page for
//! [metrics](crate::guide::operation#an-address-for-operators) belongs there, too. Do not add the address of the node to
//! [`Config::trusted_proxies`](crate::Config::trusted_proxies) instead if clients can have it: they would have no limits.
//!
//! # Errors
//!
//! | what | meaning |
//! |---|---|
//! | `Readiness probe failed: HTTP probe failed with statuscode: 503` | a check fails, or the pod drains; the response has the reason |
//! | `Liveness probe failed`, and the program is well | a limit was met by clients with the address of the probe: see [probes](#probes) |
//! | statuscode 421 | the `Host` of the probe is not in [`Config::allowed_hosts`](crate::Config::allowed_hosts) |
//! | exit code 137 | SIGKILL: the grace period was shorter than the stop, or the memory was used up |
//! | clients get `connection refused` in an update | `drain_delay` is shorter than the cluster takes |
//! | all clients have one address | an ingress controller or a gateway is a [proxy](crate::guide::proxies): its pods belong to [`Config::trusted_proxies`](crate::Config::trusted_proxies). A service with `externalTrafficPolicy: Cluster` hides the address |
