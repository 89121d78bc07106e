//! The response to a fault of the server in a debug build: the error and the request.

use super::{Problem, TYPES};
use crate::http::accept;
use crate::http::html::Escaped;
use crate::http::request::Request;
use crate::http::request::credentials::CREDENTIALS;
use crate::http::response::{Done, Response};

/// `causes`: the text of the error and its causes.
#[cold]
pub(super) fn respond(
    problem: Problem,
    causes: &str,
    req: &Request<'_>,
    res: Response<'_>,
) -> Done {
    match accept::prefers_page(req, &TYPES) {
        true => res
            .status(problem.status())
            .header("Vary", "Accept")
            .html(page(&problem, causes, req)),
        false => problem.detail(causes.to_owned()).respond_to(req, res),
    }
}

fn page(problem: &Problem, causes: &str, req: &Request<'_>) -> String {
    let title = problem.to_string();
    let title = Escaped(&title);
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui;margin:2em;max-width:60em}}pre{{background:#eee;padding:1em;\
         white-space:pre-wrap;overflow-wrap:anywhere}}</style><h1>{} {title}</h1><pre>{}</pre>\
         <h2>Request</h2><pre>{} {}\n",
        problem.status(),
        Escaped(causes),
        Escaped(req.method()),
        Escaped(req.target()),
    );
    for (name, value) in req.headers() {
        // A picture of the page must not give the session away.
        let value = match CREDENTIALS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            true => "(not shown)".into(),
            false => String::from_utf8_lossy(value),
        };
        page.push_str(&format!("{}: {}\n", Escaped(name), Escaped(&value)));
    }
    page.push_str("</pre><p>Only a build with debug assertions shows this page.</p>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Connection;

    #[test]
    fn the_page_has_the_causes_and_the_request_and_nothing_of_them_is_markup() {
        let app = crate::from_fn(|req, res| {
            respond(Problem::new(500), "no <b>table</b>: notes", req, res)
        });
        for (accept, expected) in [
            (
                "text/html,*/*;q=0.8",
                "<pre>no &lt;b&gt;table&lt;/b&gt;: notes</pre>",
            ),
            ("text/html,*/*;q=0.8", "<pre>GET /?a=&lt;i&gt;\n"),
            ("application/json", r#""detail":"no <b>table</b>: notes"}"#),
            ("*/*", "Internal Server Error: no <b>table</b>: notes\n"),
        ] {
            let mut client = Connection::new(&app);
            let head = format!(
                "GET /?a=<i> HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nCookie: id=secret\r\n\
                 AUTHORIZATION: Bearer secret\r\nX-Api-Key: secret\r\n\r\n"
            );
            client.send(head.as_bytes());
            let received = String::from_utf8_lossy(client.received()).into_owned();
            assert!(received.contains(expected), "{accept}: {received}");
            assert!(!received.contains("secret"), "{accept}: {received}");
        }
    }
}
