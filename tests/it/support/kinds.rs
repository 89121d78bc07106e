//! Responses that are complete at once, of each kind, as they are and prepared.

use peregrine::{Done, Handler, PreparedResponse, Response, from_fn};

type Respond = fn(Response<'_>) -> Done;

/// Longer than what is copied.
const LARGE: usize = 20_000;

pub(crate) const KINDS: &[(&str, Respond)] = &[
    ("body", |res| res.body("hello")),
    ("empty", |res| res.body("")),
    ("text", |res| res.text("hello")),
    ("as", |res| res.body_as("a/b", "hello")),
    ("fields", |res| {
        let res = res.header("a", "b").header("content-type", "x/y");
        let res = res.header("a", "c").header("Content-Type", "a/b");
        res.header("Vary", "x").body("hello")
    }),
    ("404", |res| res.status(404).header("a", "b").body("hello")),
    ("204", |res| res.status(204).header("a", "b").body("hello")),
    ("205", |res| res.status(205).body("hello")),
    ("304", |res| res.status(304).body("hello")),
    ("close", |res| res.close().body("hello")),
    ("upgrade", |res| {
        res.status(426).header("Upgrade", "h2c").body("hello")
    }),
    ("redirect", |res| res.redirect(303, "/a")),
    ("large", |res| res.send(vec![b'x'; LARGE])),
];

/// Responds to `/direct/KIND` in the way of this kind, after `before`, and to `/prepared/KIND` by what was prepared in this way.
pub(crate) fn app(before: for<'r> fn(Response<'r>) -> Response<'r>) -> impl Handler {
    let prepare = |(name, respond): &(&'static str, Respond)| {
        let prepared = PreparedResponse::new(respond).expect("a response");
        (*name, *respond, prepared)
    };
    let all: Vec<_> = KINDS.iter().map(prepare).collect();
    from_fn(move |req, res| {
        let res = before(res);
        let (how, name) = req.path()[1..].split_once('/').expect("how and which");
        let kind = all.iter().find(|kind| kind.0 == name).expect("a kind");
        match how {
            "direct" => kind.1(res),
            "prepared" => res.send_prepared(&kind.2),
            "later" => {
                let (done, responder) = res.defer();
                let _ = responder.send(|res| res.send_prepared(&kind.2));
                done
            }
            _ => panic!("no such way"),
        }
    })
}
