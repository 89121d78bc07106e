//! What one request costs in the parts that it passes, beside what others do for the same; see
//! benches/README.md. The bodies of the benches are here: `benches/micro.rs` has criterion time them,
//! `bin/count.rs` runs one of them a given number of times for valgrind to count.

mod fields;
mod forms;
mod paths;
mod request;
mod response;
mod routes;
mod websocket;

/// One thing to measure. Those of a group do the same; the last of it is what the others are compared
/// to.
pub struct Bench {
    pub group: &'static str,
    pub name: &'static str,
    pub run: Box<dyn FnMut()>,
}

impl Bench {
    /// Names it among all of them.
    pub fn full_name(&self) -> String {
        format!("{}: {}", self.group, self.name)
    }
}

/// All of them, those of a group one after the other.
pub fn benches() -> Vec<Bench> {
    let mut benches = Benches(Vec::new());
    request::add(&mut benches);
    response::add(&mut benches);
    paths::add(&mut benches);
    routes::add(&mut benches);
    forms::add(&mut benches);
    fields::add(&mut benches);
    websocket::add(&mut benches);
    benches.0
}

struct Benches(Vec<Bench>);

impl Benches {
    fn add(&mut self, group: &'static str, name: &'static str, run: impl FnMut() + 'static) {
        let run = Box::new(run);
        self.0.push(Bench { group, name, run });
    }
}
