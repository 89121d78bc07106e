//! Properties of responses for tests and fuzzing.

use crate::checks::Choices;
use crate::checks::responses;
use crate::checks::responses::ParsedResponse;
use crate::testing::Connection;
use crate::{Done, Handler, Request, Response};
use peregrine_protocol::h1::chunked::check::{is_token, is_value};
use std::io::Write as _;

const REQUESTS: [&str; 6] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
];

/// Fields that a handler cannot set.
const OURS: [&str; 5] = [
    "date",
    "server",
    "connection",
    "content-length",
    "transfer-encoding",
];

#[derive(Clone, Debug)]
struct Plan {
    request: &'static str,
    /// When the status is set: before all fields, or after this number of them.
    status_after: usize,
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    ending: u8,
    body: Vec<u8>,
}

impl Handler for Plan {
    fn takes_special(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        self.response(res)
    }
}

/// For every response of a handler, the client gets exactly this response or a 500. There is no additional
/// field or response, the length is that of the body, and the head has no control byte.
pub(crate) fn check(bytes: &[u8]) {
    let plan = Plan::from(&mut Choices(bytes));
    let mut connection = Connection::new(&plan);
    connection.send(plan.request.as_bytes());
    let is_head = plan.request.starts_with("HEAD");
    let parsed = responses::read(connection.received(), |_| is_head);
    let [response] = &parsed[..] else {
        panic!("{} parsed", parsed.len());
    };
    let says_close = response.field("connection") == Some(b"close");
    assert_eq!(connection.is_closed(), says_close);
    match plan.is_good() {
        true => plan.is_kept(response),
        false => {
            assert_eq!(response.status, 500);
            let names = [
                "Server",
                "Date",
                "Content-Type",
                "Content-Length",
                "Connection",
            ];
            assert!(response.fields.iter().map(|field| &field.0).eq(names));
            assert!(says_close);
        }
    }
}

impl Plan {
    fn from(choices: &mut Choices<'_>) -> Plan {
        let request = REQUESTS[choices.below(REQUESTS.len())];
        let status = 200 + choices.below(404) as u16 - 2;
        let count = choices.below(8);
        let status_after = choices.below(10);
        let ending = choices.byte() % 7;
        let mut fields = Vec::new();
        for _ in 0..count {
            let name = String::from_utf8_lossy(choices.text(20)).into_owned();
            fields.push((name, choices.text(40).to_vec()));
        }
        let mut body = choices.0.to_vec();
        if body.first() == Some(&b'L') {
            // Long enough to be sent without a copy.
            body.resize(20_000, b'L');
        }
        Plan {
            request,
            status_after,
            status,
            fields,
            ending,
            body,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn response(&self, mut res: Response<'_>) -> Done {
        for (i, (name, value)) in self.fields.iter().enumerate() {
            if i == self.status_after {
                res = res.status(self.status);
            }
            res = res.header(name, value);
        }
        if self.sets_status() && self.status_after >= self.fields.len() {
            res = res.status(self.status);
        }
        match self.ending {
            0 => res.body(&self.body),
            1 => res.text(self.text()),
            2 => res.html(self.text()),
            3 => res.send(self.body.clone()),
            4 => res.write_with(|out| {
                self.body
                    .chunks(7)
                    .try_for_each(|piece| out.write_all(piece))
            }),
            5 => res.redirect(302, self.text()),
            _ => res.body_as(self.text(), &self.body),
        }
    }

    /// Some responses keep the status 200.
    fn sets_status(&self) -> bool {
        self.status_after < 9
    }

    fn final_status(&self) -> u16 {
        match (self.ending, self.sets_status()) {
            (5, _) => 302,
            (_, true) => self.status,
            (_, false) => 200,
        }
    }

    fn is_good(&self) -> bool {
        let good = |(name, value): &(String, Vec<u8>)| is_token(name.as_bytes()) && is_value(value);
        let status = !self.sets_status() || (200..600).contains(&self.status);
        // A location, or a type.
        let value = self.ending < 5 || is_value(self.text().as_bytes());
        self.fields.iter().all(good) && status && value
    }

    /// Compares the response with the plan.
    fn is_kept(&self, response: &ParsedResponse) {
        assert_eq!(response.status, self.final_status());
        let text = self.text().into_bytes();
        let (added, body): (Option<(&str, &[u8])>, &[u8]) = match self.ending {
            1 => (Some(("Content-Type", b"text/plain; charset=utf-8")), &text),
            2 => (Some(("Content-Type", b"text/html; charset=utf-8")), &text),
            5 => (Some(("Location", &text)), b""),
            6 => (Some(("Content-Type", &text)), &self.body),
            _ => (None, &self.body),
        };
        let ours = |name: &str| OURS.contains(&&*name.to_ascii_lowercase());
        let meant = self
            .fields
            .iter()
            .map(|(name, value)| (&name[..], &value[..]));
        let meant = meant.filter(|(name, _)| !ours(name)).chain(added);
        let meant = meant.map(|(name, value)| (name.to_owned(), trim(value).to_vec()));
        let got = response
            .fields
            .iter()
            .filter(|field| !ours(&field.0))
            .cloned();
        assert_eq!(got.collect::<Vec<_>>(), meant.collect::<Vec<_>>());

        let length = response.field("content-length");
        let tunnel = self.request.starts_with("CONNECT") && response.status < 300;
        let body = match response.status {
            205 => b"",
            _ => body,
        };
        match response.status {
            204 | 304 => assert_eq!((length, &response.body[..]), (None, &b""[..])),
            _ if tunnel => assert_eq!((length, &response.body[..]), (None, &b""[..])),
            _ => assert_eq!(length, Some(body.len().to_string().as_bytes())),
        }
        if length.is_some() && !self.request.starts_with("HEAD") {
            assert!(response.body == body, "another body");
        }
    }
}

/// A reader removes white space around a value.
fn trim(value: &[u8]) -> &[u8] {
    let text = |b: &u8| !matches!(b, b' ' | b'\t');
    match (value.iter().position(text), value.iter().rposition(text)) {
        (Some(first), Some(last)) => &value[first..=last],
        _ => b"",
    }
}
