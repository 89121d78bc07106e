//! A room on several machines: messages with a history, and who is there.
//!
//! ```sh
//! cargo run -p peregrine-redis --example redis_node -- --redis 127.0.0.1:6379 --port 8080
//! ```

use peregrine::history::{History, Start};
use peregrine::presence::{Change, Presence};
use peregrine::server::Health;
use peregrine::sse::{Event, EventHub};
use peregrine::{Done, Request, Response, Router, Server};
use peregrine_redis::{Config, Redis};
use std::time::Duration;

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><title>A room</title>
<form><input autofocus aria-label="Message"><button>Say</button></form>
<p>Here: <span></span></p><ol></ol>
<script>
const name = prompt("Your name?") || "guest";
function show(text) {
  const line = document.createElement("li");
  line.textContent = text;
  document.querySelector("ol").append(line);
}
async function who() {
  document.querySelector("span").textContent = await (await fetch("/who")).text();
}
const room = new EventSource("/room");
room.onmessage = (event) => show(event.data);
room.addEventListener("lost", () => show("(some messages are lost)"));
const present = new EventSource("/present?person=" + encodeURIComponent(name));
present.onopen = who;
present.onmessage = who;
document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  const input = document.querySelector("input");
  fetch("/say", { method: "POST", body: name + ": " + input.value });
  input.value = "";
};
</script>
"#;

const ROOM: &str = "room";

fn say(history: &History, req: &Request<'_>, res: Response<'_>) -> Done {
    if !req.is_same_origin() {
        return res.status(403).text("wrong origin\n");
    }
    let text = String::from_utf8_lossy(req.body()).into_owned();
    match history.publish(ROOM, text) {
        Ok(()) => res.status(204).body(""),
        Err(error) => res.status(503).text(format!("{error}\n")),
    }
}

/// A page that is present as long as its stream of events.
fn present(presence: &Presence, hub: &EventHub, req: &Request<'_>, res: Response<'_>) -> Done {
    let person = req.query("person").unwrap_or_default().into_owned();
    let Ok(stay) = presence.enter(ROOM, &person) else {
        return res.status(400).text("another name, please\n");
    };
    let (done, page) = res.events();
    page.on_gone(move || drop(stay));
    let _ = hub.subscribe(page, [ROOM]);
    done
}

fn who(presence: &Presence, res: Response<'_>) -> Done {
    let (done, responder) = res.defer();
    presence.members(ROOM, move |members| {
        let _ = match members {
            Ok(members) => responder.send(|res| res.text(members.names.join(", "))),
            Err(error) => responder.send(|res| res.status(503).text(format!("{error}\n"))),
        };
    });
    done
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut addr, mut port, mut lease) = ("127.0.0.1:6379".to_owned(), 8080_u16, 30_000_u64);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        use lexopt::ValueExt as _;
        match arg {
            lexopt::Arg::Long("redis") => addr = args.value()?.string()?,
            lexopt::Arg::Long("port") => port = args.value()?.parse()?,
            lexopt::Arg::Long("lease-ms") => lease = args.value()?.parse()?,
            arg => return Err(arg.unexpected().into()),
        }
    }
    let redis = Redis::connect(Config::new(&addr).lease(Duration::from_millis(lease)))?;
    let history = History::builder(redis.log())
        .events(&EventHub::new())
        .build();
    let hub = EventHub::new();
    let tell = hub.clone();
    let presence = Presence::builder(redis.presence()?).on_change(move |topic, person, change| {
        let name = if change == Change::Joined {
            "joined"
        } else {
            "left"
        };
        let _ = tell.deliver(topic, Event::new().data(format!("{name} {person}")));
    });
    let presence = presence.build();
    let watched = redis.clone();
    let health = Health::new().check("redis", move || match watched.is_connected() {
        true => Ok(()),
        false => Err("not connected"),
    });
    let (published, listed) = (history.clone(), presence.clone());
    let app = Router::new()
        .get("/", |_, res| res.html(PAGE))
        .get("/room", move |req, res| {
            history.respond(req, res, ROOM, Start::Last(20))
        })
        .post("/say", move |req, res| say(&published, req, res))
        .get("/present", move |req, res| {
            present(&presence, &hub, req, res)
        })
        .get("/who", move |_, res| who(&listed, res))
        .mount("/health", health.clone());
    let server = Server::new(app)
        .health(&health)
        .bind(("127.0.0.1", port))
        .stop_on_signals();
    let running = server.start()?;
    eprintln!(
        "listening on http://{}",
        running.local_addr().expect("an address")
    );
    running.wait()?;
    redis.flush(Duration::from_secs(1));
    Ok(())
}
