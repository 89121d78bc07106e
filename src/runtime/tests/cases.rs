//! The cases of `tests/cases` over a transport that fails. The responses must be those of a connection in
//! memory, which `tests/it/cases.rs` compares with the tables.

use super::{
    config, connect, end, exchange_over, nothing_is_left, plans, short, start, undated,
    without_and_with_tls,
};
use crate::checks::seeds;
use crate::http::handler::from_fn;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::runtime::transport::faulty::FaultPlan;
use crate::server::Server;
use crate::testing::Connection;
use peregrine_protocol::limits::Limits;
use std::collections::BTreeMap;
use std::sync::Arc;

fn echo(req: &Request<'_>, res: Response<'_>) -> Done {
    let line = format!("{} {} {} ", req.method(), req.target(), req.version());
    res.body([line.as_bytes(), req.body()].concat())
}

/// Removes interim responses, which are not sent to a client that has not waited for them.
fn final_responses(bytes: Vec<u8>) -> Vec<u8> {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut bytes = undated(bytes);
    while let Some(at) = memchr::memmem::find(&bytes, CONTINUE) {
        bytes.drain(at..at + CONTINUE.len());
    }
    bytes
}

/// What a client receives that sends these bytes and then closes its sending half.
fn in_memory(sent: &[u8], limits: Limits) -> Vec<u8> {
    let handler = from_fn(echo);
    let mut connection = Connection::with_limits(&handler, limits);
    connection.send(sent);
    connection.send_eof();
    assert!(connection.is_closed());
    final_responses(connection.received().to_vec())
}

#[test]
fn every_case_has_its_responses_under_every_plan() {
    for &is_secure in without_and_with_tls() {
        every_case(is_secure);
    }
}

fn every_case(is_secure: bool) {
    let mut groups = BTreeMap::<Vec<String>, Vec<Vec<u8>>>::new();
    for case in seeds::cases() {
        groups.entry(case.limits).or_default().push(case.sent);
    }
    let mut count = 0;
    for (names, inputs) in &groups {
        let mut limits = Limits::default();
        names
            .iter()
            .for_each(|l| super::limit::set_limit(&mut limits, l));
        let server = Server::new(from_fn(echo)).config(config(limits));
        let server = start(server, is_secure);
        for sent in inputs {
            let wanted = in_memory(sent, limits);
            // The long cases test limits, and they take too long byte by byte.
            let is_long = sent.len() > 4096;
            let is_quick =
                |plan: &FaultPlan| (plan.read > 9 || !is_long) && (plan.write != 1 || !is_secure);
            for (name, plan) in plans().into_iter().filter(|(_, plan)| is_quick(plan)) {
                let client = connect(&server, plan);
                let responses = exchange_over(is_secure, &client, sent, true);
                let responses = final_responses(responses);
                assert!(
                    responses == wanted,
                    "{name}, {names:?}, TLS {is_secure}: {}\n{}\ninstead of\n{}",
                    short(sent),
                    short(&responses),
                    short(&wanted),
                );
                count += 1;
            }
        }
        nothing_is_left(&server, &Arc::new(()), 1);
        end(server);
    }
    let least = if is_secure { 900 } else { 1200 };
    assert!(count >= least, "only {count} connections");
}
