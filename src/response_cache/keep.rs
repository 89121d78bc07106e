//! Keeps the response of a handler, and answers the conditions of its request.

use super::computation::Duty;
use super::kept::{Kept, Left};
use super::rules::{self, Verdict};
use crate::http::entity_tag::{self, Comparison};
use crate::http::request::{OwnedRequest, Request};
use crate::http::response::filter::{RecordedResponse, ResponseFilter};
use crate::http::response::prepared::PreparedResponse;
use peregrine_protocol::http::field_block;
use peregrine_protocol::payload::Payload;
use std::time::Duration;

/// Whether the client has this response already (RFC 9110 section 13.2.2). A date is compared as text, as it was sent to the
/// client.
pub(super) fn is_known(fields: &[u8], req: &Request<'_>) -> bool {
    let mut tags = req.header_all("if-none-match").peekable();
    if tags.peek().is_some() {
        let tag =
            field_block::value(fields, "etag").map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag));
        // `*` is any response, with a tag or without.
        let tag = tag.unwrap_or_default();
        return tags.any(|line| entity_tag::is_listed(line, tag, Comparison::Weak));
    }
    let mut dates = req.header_all("if-modified-since");
    let date = field_block::value(fields, "last-modified");
    date.is_some() && dates.next() == date && dates.next().is_none()
}

/// For so long it is known that a response is not kept. A handler may have a reason that passes.
const NOT_KEPT: Duration = Duration::from_secs(5);

/// Keeps one response, and gives it to the requests that wait for it.
pub(super) struct Keep {
    pub(super) duty: Duty,
    pub(super) request: OwnedRequest,
}

impl ResponseFilter for Keep {
    fn apply(self: Box<Self>, response: &mut RecordedResponse<'_>) {
        let request = self.request.as_request();
        keep(self.duty, response, &request);
        answer_conditions(response, &request);
    }
}

fn keep(duty: Duty, response: &mut RecordedResponse<'_>, req: &Request<'_>) {
    let shared = duty.core.shared.clone();
    let now = shared.now();
    let verdict = rules::judge(response, &shared.config);
    let kept = match verdict {
        Verdict::Keep(life) => prepared(response).map(|prepared| (prepared, life)),
        Verdict::NotKept => None,
        Verdict::Gone => return duty.end_alone(Left::Gone),
        Verdict::Other => return duty.end_alone(Left::AsItWas),
        // The drop passes the duty on.
        Verdict::Failed => return,
    };
    let Some((prepared, life)) = kept else {
        let until = now.saturating_add(shared.config.ttl.min(NOT_KEPT));
        return duty.end_alone(Left::NotKept { until });
    };
    let kept = Kept::new(prepared, &life, duty.begun.at, now);
    let kept = shared.store().keep(&duty.begun, kept, life.vary, req);
    duty.end_with(&kept);
}

/// Makes 304 of a response that the client has already. The handler was called without the conditions of the request.
fn answer_conditions(response: &mut RecordedResponse<'_>, req: &Request<'_>) {
    let is_whole = response.streamed.is_none() && !response.is_replacement;
    if response.head.status != 200 || !is_whole {
        return;
    }
    if is_known(response.fields(), req) {
        let fields = entity_tag::not_modified_fields(response.fields());
        response.head.status = 304;
        response.replace(&fields, Vec::new());
    }
}

/// A copy of a response without its `Age`. `None` if its body is not in memory.
fn prepared(response: &mut RecordedResponse<'_>) -> Option<PreparedResponse> {
    let mut own = Vec::new();
    for (name, value) in field_block::fields(response.fields()) {
        if !name.eq_ignore_ascii_case(b"age") {
            field_block::push(name, value, &mut own);
        }
    }
    let body = Payload::from(response.body()?.concat());
    Some(PreparedResponse::of_age(own, body))
}
