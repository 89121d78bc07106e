/* What a program may do wrong, or in another order than usual: every case ends with the right code, and with nothing
 * leaked, used after its end or freed twice. It is run under valgrind and AddressSanitizer. */
#define _POSIX_C_SOURCE 200809L
#include "peregrine.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "FAILED %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

/* Waits for what another thread does, with a limit that only a failure reaches. */
#define WAIT(condition)                                       \
    do {                                                      \
        struct timespec pause_ = {0, 1000000};                \
        int left_ = 60000;                                    \
        while (!(condition) && left_-- > 0)                   \
            nanosleep(&pause_, NULL);                         \
        CHECK(condition);                                     \
    } while (0)

typedef struct {
    atomic_int requests, drops, errors, befores, afters, notified, missed, sink_drops, accepted, opened, state_drops, closed;
    _Atomic(prg_responder *) responder;
    _Atomic(prg_body *) body;
    _Atomic(prg_events *) events;
    prg_server *server;
    _Atomic(prg_resumer *) resumer;
    _Atomic(prg_running *) running;
    _Atomic(prg_stopper *) stopper;
    atomic_ullong ws_id;
    _Atomic(prg_ws_responder *) ws_responder;
    _Atomic(prg_timer *) timer;
    atomic_int code;
    prg_files *files;
    prg_event_hub *hub;
} app;

/* ------------------------------------------------------------------------------------------ a client */

static int connected(int port) {
    struct sockaddr_in addr = {0};
    struct timeval limit = {60, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t)port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    return fd;
}

static void say(int fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        CHECK(n > 0);
        text += n;
        len -= (size_t)n;
    }
}

/* All bytes until the server closes. */
static size_t hear(int fd, char *buf, size_t room) {
    size_t len = 0;
    ssize_t n;
    while (len < room - 1 && (n = recv(fd, buf + len, room - 1 - len, 0)) > 0)
        len += (size_t)n;
    buf[len] = 0;
    close(fd);
    return len;
}

static char answer[1 << 16];

static const char *ask(int port, const char *method, const char *path, const char *body) {
    char request[512];
    int fd = connected(port);
    int len = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                       method, path, strlen(body), body);
    say(fd, request, (size_t)len);
    hear(fd, answer, sizeof answer);
    return answer;
}

static int begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* ------------------------------------------------------------------------------------------ the program */

static void notified(void *user, int32_t happened) {
    app *a = user;
    atomic_fetch_add(happened ? &a->notified : &a->missed, 1);
}

/* A body that goes on whenever there is room, and ends itself. */
typedef struct {
    prg_body *body;
    atomic_int sent, finished;
} pump;

static void pumps(void *user, int32_t happened) {
    static _Thread_local int depth;
    pump *p = user;
    CHECK(happened == 1 && depth++ == 0);
    if (atomic_fetch_add(&p->sent, 1) < 5000) {
        CHECK(prg_body_try_send(p->body, "x", 1) == PRG_OK && prg_body_on_ready(p->body, pumps, p) == PRG_OK);
    } else {
        CHECK(prg_body_finish(p->body) == PRG_OK);
        atomic_store(&p->finished, 1);
    }
    depth--;
}

/* Handles that end in a function that was registered with them. */
static void frees_body(void *user, int32_t happened) {
    app *a = user;
    prg_body_free(atomic_exchange(&a->body, NULL));
    atomic_fetch_add(happened ? &a->notified : &a->missed, 1);
}

static void frees_gone_body(void *user, int32_t happened) {
    app *a = user;
    CHECK(happened == 1 && prg_body_is_gone(atomic_load(&a->body)));
    prg_body_free(atomic_exchange(&a->body, NULL));
}

static void frees_events(void *user, int32_t happened) {
    app *a = user;
    CHECK(happened == 1 && prg_events_is_gone(atomic_load(&a->events)));
    prg_events_free(atomic_exchange(&a->events, NULL));
}

static void fill(void *user, prg_response *res) {
    (void)user;
    CHECK(prg_response_status(res, 201) == PRG_OK);
    CHECK(prg_response_body(res, PRG_TEXT("filled")) == PRG_OK);
}

static void fill_nothing(void *user, prg_response *res) { (void)user, (void)res; }

static void sink_drop(void *user);

static int32_t answers(void *user) {
    app *a = user;
    CHECK(prg_responder_send(atomic_exchange(&a->responder, NULL), 200, NULL, 0, PRG_TEXT("in time")) == PRG_OK);
    return 0;
}

static void request(void *user, const prg_request *req, prg_response *res) {
    app *a = user;
    prg_bytes path = prg_request_path(req), name, value;
    prg_responder *responder = NULL;
    prg_body *body = NULL;
    prg_events *events = NULL;
    char text[64];
    int32_t code;
    atomic_fetch_add(&a->requests, 1);
    if (prg_is(path, PRG_TEXT("/none"))) {
        return;
    } else if (prg_is(path, PRG_TEXT("/twice"))) {
        CHECK(prg_response_send(res, 200, NULL, 0, PRG_TEXT("once")) == PRG_OK);
        CHECK(prg_response_body(res, PRG_TEXT("twice")) == PRG_STATE);
        CHECK(prg_response_status(res, 500) == PRG_STATE);
        CHECK(prg_response_header(res, PRG_TEXT("a"), PRG_TEXT("b")) == PRG_STATE);
        CHECK(prg_response_defer(res, &responder) == PRG_STATE && responder == NULL);
        CHECK(prg_response_stream(res, -1, &body) == PRG_STATE && body == NULL);
        CHECK(prg_response_events(res, &events) == PRG_STATE && events == NULL);
    } else if (prg_is(path, PRG_TEXT("/views"))) {
        CHECK(prg_is(req->method, PRG_TEXT("POST")) && prg_is(req->path, PRG_TEXT("/views")));
        CHECK(prg_is(prg_request_method(req), PRG_TEXT("POST")) && prg_is(prg_request_target(req), PRG_TEXT("/views?a=%20b")));
        CHECK(prg_is(prg_request_query_string(req), PRG_TEXT("a=%20b")) && prg_is(prg_request_host(req), PRG_TEXT("a")));
        CHECK(prg_request_query(req, PRG_TEXT("a"), text, sizeof text) == 2 && strcmp(text, " b") == 0);
        CHECK(prg_request_query(req, PRG_TEXT("a"), text, 2) == 2 && strcmp(text, " ") == 0);
        CHECK(prg_request_query(req, PRG_TEXT("a"), NULL, 0) == 2 && prg_request_query(req, PRG_TEXT("a"), NULL, 1) == PRG_ARGUMENT);
        CHECK(prg_request_query(req, PRG_TEXT("z"), text, sizeof text) == PRG_NOT_FOUND);
        CHECK(prg_request_header(req, PRG_TEXT("x-none")).ptr == NULL && prg_is(prg_request_header(req, PRG_TEXT("HOST")), PRG_TEXT("a")));
        CHECK(prg_request_header_count(req) == 3 && prg_request_header_at(req, 3, &name, &value) == PRG_NOT_FOUND);
        CHECK(prg_request_header_at(req, 0, &name, &value) == PRG_OK && prg_is(value, PRG_TEXT("a")));
        CHECK(prg_request_version(req) == 11 && prg_request_is_secure(req) == 0);
        CHECK(prg_request_client(req, text, sizeof text) > 9 && begins(text, "127.0.0.1:"));
        CHECK(prg_request_cookie(req, PRG_TEXT("none")).ptr == NULL && prg_request_trailer(req, PRG_TEXT("none")).ptr == NULL);
        value = prg_request_body(req);
        prg_response_body(res, value.ptr, value.len);
    } else if (prg_is(path, PRG_TEXT("/invalid"))) {
        CHECK(prg_response_status(res, 99) == PRG_OK);
        CHECK(prg_response_header(res, PRG_TEXT("a b"), PRG_TEXT("c\r\nd: e")) == PRG_OK);
        CHECK(prg_response_header(res, "\xff", 1, PRG_TEXT("c")) == PRG_ARGUMENT);
        prg_response_body(res, PRG_TEXT("x"));
    } else if (prg_is(path, PRG_TEXT("/free"))) {
        CHECK(prg_response_defer(res, &responder) == PRG_OK);
        prg_responder_free(responder);
    } else if (prg_is(path, PRG_TEXT("/send-nothing"))) {
        /* An error, and the responder is freed. */
        CHECK(prg_response_defer(res, &responder) == PRG_OK);
        CHECK(prg_responder_send(responder, 200, NULL, 0, NULL, 1) == PRG_ARGUMENT);
    } else if (prg_is(path, PRG_TEXT("/fill-null"))) {
        CHECK(prg_response_defer(res, &responder) == PRG_OK && prg_responder_fill(responder, NULL, a) == PRG_ARGUMENT);
    } else if (prg_is(path, PRG_TEXT("/events-nowhere"))) {
        CHECK(prg_response_events(res, &events) == PRG_OK);
        CHECK(prg_event_hub_subscribe(a->hub, events, "\xff", 1) == PRG_ARGUMENT);
    } else if (prg_is(path, PRG_TEXT("/fill"))) {
        CHECK(prg_response_header(res, PRG_TEXT("X-Kept"), PRG_TEXT("yes")) == PRG_OK);
        CHECK(prg_response_defer(res, &responder) == PRG_OK && !prg_responder_is_gone(responder));
        CHECK(prg_responder_fill(responder, fill, a) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/fill-nothing"))) {
        CHECK(prg_response_defer(res, &responder) == PRG_OK);
        CHECK(prg_responder_fill(responder, fill_nothing, a) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/keep"))) {
        CHECK(prg_response_timeout(res, 600000) == PRG_OK && prg_response_defer(res, &responder) == PRG_OK);
        atomic_store(&a->responder, responder);
    } else if (prg_is(path, PRG_TEXT("/timer"))) {
        prg_timers *timers = NULL;
        CHECK(prg_response_timers(res, &timers) == PRG_OK && prg_response_defer(res, &responder) == PRG_OK);
        CHECK(prg_response_timers(res, &timers) == PRG_STATE);
        atomic_store(&a->responder, responder);
        CHECK(prg_timers_call(timers, 1, answers, a, sink_drop, NULL) == PRG_OK);
        prg_timers_free(timers);
    } else if (prg_is(path, PRG_TEXT("/stream"))) {
        CHECK(prg_response_stream(res, -2, &body) == PRG_ARGUMENT && prg_response_stream(res, -1, &body) == PRG_OK);
        CHECK(prg_body_on_gone(body, notified, a) == PRG_OK && prg_body_on_ready(body, NULL, a) == PRG_ARGUMENT);
        CHECK(prg_body_trailer(body, PRG_TEXT("X-End"), PRG_TEXT("yes")) == PRG_OK);
        CHECK(prg_body_trailer(body, PRG_TEXT("Content-Type"), PRG_TEXT("no")) == PRG_FIELD);
        atomic_store(&a->body, body);
    } else if (prg_is(path, PRG_TEXT("/block"))) {
        /* Without a reader: a thread of the server must not wait for itself. */
        static char large[1 << 20];
        CHECK(prg_response_stream(res, -1, &body) == PRG_OK);
        while ((code = prg_body_send(body, large, sizeof large)) == PRG_OK) {
        }
        CHECK(prg_body_wait_ready(body, 3600000) == 0 && prg_body_try_send(body, large, 1) == PRG_FULL);
        CHECK(prg_body_on_ready(body, notified, a) == PRG_OK && prg_body_backlog(body) > 0);
        atomic_store(&a->code, code);
        prg_body_free(body);
    } else if (prg_is(path, PRG_TEXT("/pipe"))) {
        static char large[200000];
        atomic_store(&a->code, 1);
        WAIT(atomic_load(&a->code) == 2);
        CHECK(prg_body_try_send(atomic_load(&a->body), large, sizeof large) == PRG_OK);
        prg_response_body(res, PRG_TEXT("sent"));
    } else if (prg_is(path, PRG_TEXT("/length"))) {
        CHECK(prg_response_stream(res, 3, &body) == PRG_OK);
        CHECK(prg_body_send(body, PRG_TEXT("ab")) == PRG_OK && prg_body_finish(body) == PRG_LENGTH);
    } else if (prg_is(path, PRG_TEXT("/file"))) {
        CHECK(prg_files_serve(a->files, PRG_TEXT("/hostile.txt"), req, res) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/outside"))) {
        CHECK(prg_files_serve(a->files, PRG_TEXT("/../../etc/passwd"), req, res) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/events"))) {
        CHECK(prg_response_events(res, &events) == PRG_OK);
        CHECK(prg_event_hub_subscribe(a->hub, events, PRG_TEXT("news")) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/own-events"))) {
        CHECK(prg_response_events(res, &events) == PRG_OK);
        atomic_store(&a->events, events);
        CHECK(prg_events_on_gone(events, frees_events, a) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/pump"))) {
        static pump own;
        CHECK(prg_response_stream(res, -1, &own.body) == PRG_OK && prg_body_on_ready(own.body, pumps, &own) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/wait"))) {
        CHECK(prg_running_wait(atomic_load(&a->running), NULL) == PRG_WOULD_BLOCK);
        prg_response_body(res, PRG_TEXT("not waited"));
    } else if (prg_is(path, PRG_TEXT("/stop"))) {
        CHECK(prg_stopper_stop(atomic_load(&a->stopper)) == PRG_OK);
        prg_response_body(res, PRG_TEXT("stopping"));
    } else if (prg_is(path, PRG_TEXT("/free-running"))) {
        prg_running_free(atomic_exchange(&a->running, NULL));
        prg_response_body(res, PRG_TEXT("freed"));
    } else {
        prg_response_redirect(res, 303, PRG_TEXT("/none"));
    }
}

static int32_t piece(void *user, const char *data, size_t len, prg_incoming *incoming) {
    app *a = user;
    prg_resumer *resumer = NULL;
    CHECK(data != NULL && len > 0 && prg_incoming_received(incoming) >= len);
    CHECK(prg_incoming_resumer(incoming, NULL) == PRG_ARGUMENT);
    CHECK(prg_incoming_resumer(incoming, &resumer) == PRG_OK);
    resumer = atomic_exchange(&a->resumer, resumer);
    prg_resumer_free(resumer);
    return PRG_PAUSE;
}

static void finish(void *user, const prg_request *req, prg_response *res) {
    (void)user, (void)req;
    prg_response_body(res, PRG_TEXT("sunk"));
}

static void sink_drop(void *user) { atomic_fetch_add(&((app *)user)->sink_drops, 1); }

static void begin(void *user, prg_incoming *incoming) {
    prg_resumer *resumer = NULL;
    CHECK(prg_incoming_received(incoming) == 0 && prg_incoming_resumer(incoming, &resumer) == PRG_OK);
    atomic_store(&((app *)user)->resumer, resumer);
}

static void body_plan(void *user, const prg_request *req, prg_plan *plan) {
    prg_sink sink = {sizeof sink, user, piece, finish, sink_drop, NULL}, none = {sizeof none, user, NULL, NULL, sink_drop, NULL};
    prg_bytes path = prg_request_path(req);
    if (prg_is(path, PRG_TEXT("/sink"))) {
        CHECK(prg_plan_stream(plan, &none, 100) == PRG_ARGUMENT && prg_plan_stream(plan, NULL, 1) == PRG_ARGUMENT);
        /* The second one counts, and the first one is freed. */
        CHECK(prg_plan_stream(plan, &sink, 100) == PRG_OK && prg_plan_stream(plan, &sink, 1000) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/early"))) {
        sink.begin = begin;
        CHECK(prg_plan_stream(plan, &sink, 1000) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/refuse"))) {
        CHECK(prg_plan_refuse(plan, 403) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/small"))) {
        CHECK(prg_plan_buffer(plan, 2) == PRG_OK);
    } else if (prg_is(path, PRG_TEXT("/unread"))) {
        CHECK(prg_plan_unread(plan) == PRG_OK);
    }
}

static void drop(void *user) { atomic_fetch_add(&((app *)user)->drops, 1); }

static void drop_with_server(void *user) {
    prg_server_free(((app *)user)->server);
    drop(user);
}

static void before_wait(void *user) { atomic_fetch_add(&((app *)user)->befores, 1); }
static void after_wait(void *user) { atomic_fetch_add(&((app *)user)->afters, 1); }

static void failed(void *user, const char *text, size_t len) {
    CHECK(text != NULL && len > 0);
    atomic_fetch_add(&((app *)user)->errors, 1);
}

/* The state of a connection is counted. */
typedef struct {
    app *a;
} state;

static state *state_of(app *a) {
    state *s = malloc(sizeof *s);
    CHECK(s);
    s->a = a;
    atomic_fetch_add(&a->accepted, 1);
    return s;
}

static int32_t ws_accept(void *user, const prg_request *req, prg_upgrade *upgrade, void **out) {
    (void)req;
    CHECK(prg_upgrade_protocol(upgrade, PRG_TEXT("none")) == PRG_NOT_FOUND);
    CHECK(prg_upgrade_header(upgrade, PRG_TEXT("X-Ws"), PRG_TEXT("yes")) == PRG_OK);
    *out = state_of(user);
    return 1;
}

/* The decision comes later: what a thread does with it is its path. */
static int32_t ws_later(void *user, const prg_request *req, prg_upgrade *upgrade, void **out) {
    app *a = user;
    prg_ws_responder *responder = NULL, *second = NULL;
    CHECK(prg_upgrade_defer(upgrade, NULL) == PRG_ARGUMENT && prg_upgrade_defer(upgrade, &responder) == PRG_OK);
    CHECK(prg_upgrade_defer(upgrade, &second) == PRG_STATE && !second && !prg_ws_responder_is_gone(responder));
    atomic_store(&a->ws_responder, responder);
    if (prg_is(req->path, PRG_TEXT("/at-once"))) {
        CHECK(prg_upgrade_refuse(upgrade, 403, PRG_TEXT("no")) == PRG_OK);
        return 0;
    }
    *out = state_of(a);
    return 1;
}

static void ws_pauses(void *user, prg_ws *ws, const char *data, size_t len, int32_t is_text) {
    atomic_fetch_add(&((app *)user)->notified, 1);
    if (len == 5 && memcmp(data, "pause", 5) == 0)
        CHECK(prg_ws_pause(ws) == PRG_OK);
    else
        CHECK(prg_ws_send(ws, data, len, is_text) == PRG_OK && prg_ws_resume(ws) == PRG_OK);
}

static void ws_open(void *user, prg_ws *ws) {
    app *a = user;
    CHECK(prg_ws_subscribe(ws, PRG_TEXT("all")) == PRG_OK && prg_ws_unsubscribe(ws, PRG_TEXT("none")) == PRG_NOT_FOUND);
    CHECK(((state *)prg_ws_state(ws))->a == a);
    atomic_store(&a->ws_id, prg_ws_id(ws));
    atomic_fetch_add(&a->opened, 1);
}

static void ws_message(void *user, prg_ws *ws, const char *data, size_t len, int32_t is_text) {
    static const char zeros[126];
    (void)user;
    CHECK(prg_ws_send(ws, "\xff", 1, 1) == PRG_ARGUMENT && prg_ws_ping(ws, zeros, 126) == PRG_ARGUMENT);
    CHECK(prg_ws_send(ws, data, len, is_text) == PRG_OK && prg_ws_backlog(ws) > 0);
}

static void ws_close(void *user, prg_ws *ws, uint16_t code, const char *why, size_t why_len) {
    app *a = user;
    (void)code;
    CHECK(why && why_len > 0 && prg_ws_send(ws, "x", 1, 1) == PRG_GONE && prg_ws_subscribe(ws, PRG_TEXT("a")) == PRG_GONE);
    atomic_fetch_add(&a->closed, 1);
}

static void ws_drop(void *user) {
    state *s = user;
    atomic_fetch_add(&s->a->state_drops, 1);
    free(s);
}

static prg_handler handler_of(app *a) {
    prg_handler h = {0};
    h.size = sizeof h;
    h.user = a;
    h.drop = drop;
    h.request = request;
    h.body_plan = body_plan;
    h.error = failed;
    h.before_wait = before_wait;
    h.after_wait = after_wait;
    return h;
}

static prg_running *started(const prg_handler *h, const prg_hub *hub, int *port, size_t workers) {
    prg_server *server = NULL;
    prg_running *running = NULL;
    prg_config config = {0};
    config.size = sizeof config;
    config.workers = workers;
    config.ws_threads = 2;
    config.stop_timeout_millis = 500;
    CHECK(prg_server_new(h, &server) == PRG_OK && prg_server_configure(server, &config) == PRG_OK);
    CHECK(prg_server_bind(server, PRG_TEXT("127.0.0.1:0")) == PRG_OK);
    if (hub)
        CHECK(prg_server_hub(server, hub) == PRG_OK);
    CHECK(prg_server_start(server, &running) == PRG_OK && running != NULL);
    CHECK(prg_server_start(server, &running) == PRG_STATE && prg_server_bind(server, PRG_TEXT("x")) == PRG_STATE);
    /* What was started goes on. */
    prg_server_free(server);
    *port = prg_running_port(running);
    CHECK(*port > 0);
    return running;
}

/* ------------------------------------------------------------------------------------------ the cases */

static void nothing_is_null(void) {
    prg_bytes none = prg_request_method(NULL);
    prg_server *server = NULL;
    prg_handler h = {0};
    prg_stats stats = {0};
    CHECK(none.ptr == NULL && none.len == 0 && prg_is(none, "", 0) == 0);
    CHECK(prg_server_new(NULL, &server) == PRG_ARGUMENT && prg_server_new(&h, &server) == PRG_ARGUMENT);
    h.size = sizeof h;
    CHECK(prg_server_new(&h, &server) == PRG_ARGUMENT && prg_server_new(&h, NULL) == PRG_ARGUMENT && server == NULL);
    CHECK(prg_server_start(NULL, NULL) == PRG_ARGUMENT && prg_server_bind(NULL, "a", 1) == PRG_ARGUMENT);
    CHECK(prg_response_body(NULL, NULL, 0) == PRG_ARGUMENT && prg_response_body(NULL, NULL, 1) == PRG_ARGUMENT);
    CHECK(prg_responder_send(NULL, 200, NULL, 0, NULL, 0) == PRG_ARGUMENT && prg_responder_fill(NULL, NULL, NULL) == PRG_ARGUMENT);
    CHECK(prg_body_finish(NULL) == PRG_ARGUMENT && prg_events_finish(NULL) == PRG_ARGUMENT && prg_ws_send(NULL, NULL, 0, 0) == PRG_ARGUMENT);
    CHECK(prg_running_wait(NULL, NULL) == PRG_ARGUMENT && prg_running_stats(NULL, &stats) == PRG_ARGUMENT && prg_running_port(NULL) == PRG_ARGUMENT);
    CHECK(prg_hub_publish(NULL, "a", 1, "b", 1, 1) == PRG_ARGUMENT && prg_event_hub_publish(NULL, "a", 1, NULL) == PRG_ARGUMENT);
    CHECK(prg_request_header_count(NULL) == 0 && prg_request_version(NULL) == PRG_ARGUMENT && prg_ws_id(NULL) == 0);
    prg_server_free(NULL);
    prg_running_free(NULL);
    prg_responder_free(NULL);
    prg_prepared_free(NULL);
    prg_body_free(NULL);
    prg_events_free(NULL);
    prg_event_hub_free(NULL);
    prg_resumer_free(NULL);
    prg_stopper_free(NULL);
    prg_files_free(NULL);
    prg_hub_free(NULL);
    CHECK(strlen(prg_code_text(PRG_GONE)) > 0 && strlen(prg_code_text(-1000)) > 0);
}

/* A struct with padding at its end could not grow: a later member would have the value of the padding. */
#define ENDS_WITH(type, member) _Static_assert(offsetof(type, member) + sizeof(((type *)0)->member) == sizeof(type), #type)
ENDS_WITH(prg_handler, ws_drop);
ENDS_WITH(prg_sink, begin);
ENDS_WITH(prg_event, reserved);
ENDS_WITH(prg_config, drain_delay_millis);
ENDS_WITH(prg_stopped, aborted);
ENDS_WITH(prg_stats, ws_published);

/* A program that was built with an older or newer header. */
static void structs_may_grow(void) {
    app a = {0};
    prg_server *server = NULL;
    struct {
        prg_handler known;
        void *unknown;
    } newer;
    prg_handler older = handler_of(&a);
    memset(&newer, 0, sizeof newer);
    newer.known = handler_of(&a);
    newer.known.size = sizeof newer;
    CHECK(prg_server_new(&newer.known, &server) == PRG_OK);
    prg_server_free(server);
    CHECK(atomic_load(&a.drops) == 1);
    newer.unknown = &a;
    CHECK(prg_server_new(&newer.known, &server) == PRG_UNSUPPORTED && atomic_load(&a.drops) == 1);
    older.size = offsetof(prg_handler, body_plan);
    CHECK(prg_server_new(&older, &server) == PRG_OK);
    prg_server_free(server);
    CHECK(atomic_load(&a.drops) == 2);
    older.size = (size_t)-1;
    CHECK(prg_server_new(&older, &server) == PRG_ARGUMENT);
}

static void a_start_may_fail(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    prg_server *server = NULL;
    prg_running *running = NULL;
    char message[200];
    CHECK(prg_server_new(&h, &server) == PRG_OK && prg_server_bind(server, PRG_TEXT("not an address")) == PRG_OK);
    CHECK(prg_server_bind_tls(server, PRG_TEXT("127.0.0.1:0"), PRG_TEXT("/none"), PRG_TEXT("/none")) == PRG_IO);
    CHECK(prg_server_start(server, &running) == PRG_IO && running == NULL);
    CHECK(prg_server_message(server, message, sizeof message) > 5 && strlen(message) > 5);
    CHECK(prg_server_start(server, &running) == PRG_STATE);
    prg_server_free(server);
    CHECK(atomic_load(&a.drops) == 1);
}

/* The failed start drops the handler, which frees the server. */
static void a_server_may_be_freed_by_its_handler(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    prg_running *running = NULL;
    h.drop = drop_with_server;
    CHECK(prg_server_new(&h, &a.server) == PRG_OK && prg_server_bind(a.server, PRG_TEXT("not an address")) == PRG_OK);
    CHECK(prg_server_start(a.server, &running) == PRG_IO && running == NULL && atomic_load(&a.drops) == 1);
}

static void *resume(void *user) {
    app *a = user;
    WAIT(atomic_load(&a->resumer) != NULL);
    CHECK(prg_resumer_resume(atomic_load(&a->resumer)) == PRG_OK && prg_resumer_respond(NULL) == PRG_ARGUMENT);
    return NULL;
}

static void responses(app *a, int port) {
    int fd;
    pthread_t other;
    int errors = atomic_load(&a->errors);
    CHECK(begins(ask(port, "GET", "/none", ""), "HTTP/1.1 500 "));
    CHECK(begins(ask(port, "GET", "/twice", ""), "HTTP/1.1 200 ") && strstr(answer, "\r\n\r\nonce"));
    CHECK(begins(ask(port, "POST", "/views?a=%20b", "hello"), "HTTP/1.1 200 ") && strstr(answer, "\r\n\r\nhello"));
    CHECK(begins(ask(port, "GET", "/invalid", ""), "HTTP/1.1 500 ") && !strstr(answer, "d: e"));
    CHECK(begins(ask(port, "GET", "/free", ""), "HTTP/1.1 500 "));
    CHECK(begins(ask(port, "GET", "/send-nothing", ""), "HTTP/1.1 500 ") && begins(ask(port, "GET", "/fill-null", ""), "HTTP/1.1 500 "));
    CHECK(begins(ask(port, "GET", "/events-nowhere", ""), "HTTP/1.1 200 "));
    CHECK(begins(ask(port, "GET", "/fill", ""), "HTTP/1.1 201 ") && strstr(answer, "X-Kept: yes") && strstr(answer, "filled"));
    CHECK(begins(ask(port, "GET", "/fill-nothing", ""), "HTTP/1.1 500 "));
    CHECK(begins(ask(port, "GET", "/other", ""), "HTTP/1.1 303 ") && strstr(answer, "Location: /none"));
    CHECK(begins(ask(port, "POST", "/refuse", "x"), "HTTP/1.1 403 ") && begins(ask(port, "POST", "/small", "xyz"), "HTTP/1.1 413 "));
    CHECK(begins(ask(port, "POST", "/unread", "xyz"), "HTTP/1.1 303 "));
    CHECK(begins(ask(port, "GET", "/file", ""), "HTTP/1.1 200 ") && strstr(answer, "a file"));
    CHECK(begins(ask(port, "GET", "/outside", ""), "HTTP/1.1 404 "));
    CHECK(begins(ask(port, "GET", "/length", ""), "HTTP/1.1 200 ") && strstr(answer, "Content-Length: 3\r\n"));
    CHECK(strcmp(strstr(answer, "\r\n\r\n"), "\r\n\r\nab") == 0);
    CHECK(begins(ask(port, "GET", "/wait", ""), "HTTP/1.1 200 "));
    CHECK(atomic_load(&a->errors) >= errors + 4);
    /* A body that another thread lets go on. */
    CHECK(pthread_create(&other, NULL, resume, a) == 0);
    CHECK(begins(ask(port, "POST", "/sink", "hello"), "HTTP/1.1 200 ") && strstr(answer, "sunk"));
    CHECK(pthread_join(other, NULL) == 0);
    WAIT(atomic_load(&a->sink_drops) == 2);
    prg_resumer_free(atomic_exchange(&a->resumer, NULL));
    /* A response before the first byte of a body. */
    fd = connected(port);
    say(fd, PRG_TEXT("POST /early HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"));
    WAIT(atomic_load(&a->resumer));
    CHECK(prg_resumer_respond(atomic_load(&a->resumer)) == PRG_OK);
    hear(fd, answer, sizeof answer);
    CHECK(begins(answer, "HTTP/1.1 200 ") && strstr(answer, "sunk"));
    close(fd);
    prg_resumer_free(atomic_exchange(&a->resumer, NULL));
}

static void streams(app *a, int port) {
    static char piece_of[50000];
    int fd = connected(port), i;
    prg_body *body;
    prg_event event = {0};
    char text[256];
    memset(piece_of, 'x', sizeof piece_of);
    say(fd, PRG_TEXT("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a->body) != NULL);
    body = atomic_exchange(&a->body, NULL);
    for (i = 0; i < 1000 && prg_body_try_send(body, piece_of, sizeof piece_of) == PRG_OK; i++) {
    }
    CHECK(i < 1000 && !prg_body_is_ready(body) && prg_body_backlog(body) > 0);
    CHECK(prg_body_on_ready(body, notified, a) == PRG_OK && atomic_load(&a->notified) == 0);
    /* The client leaves: both functions are called, once each. */
    close(fd);
    WAIT(atomic_load(&a->notified) == 2 && atomic_load(&a->missed) == 0);
    WAIT(prg_body_is_gone(body));
    CHECK(prg_body_send(body, "x", 1) == PRG_GONE && prg_body_finish(body) == PRG_GONE);
    /* A body that is complete, with a trailer. */
    fd = connected(port);
    say(fd, PRG_TEXT("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    WAIT(atomic_load(&a->body) != NULL);
    body = atomic_exchange(&a->body, NULL);
    CHECK(prg_body_send(body, PRG_TEXT("all")) == PRG_OK && prg_body_wait_ready(body, 60000) && prg_body_finish(body) == PRG_OK);
    hear(fd, answer, sizeof answer);
    CHECK(strstr(answer, "3\r\nall\r\n0\r\nX-End: yes\r\n\r\n"));
    /* One that is not: it does not look complete. */
    fd = connected(port);
    say(fd, PRG_TEXT("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a->body) != NULL);
    prg_body_free(atomic_exchange(&a->body, NULL));
    hear(fd, answer, sizeof answer);
    CHECK(!strstr(answer, "0\r\n\r\n"));
    WAIT(atomic_load(&a->notified) == 4 && atomic_load(&a->missed) == 0);
    /* A thread of the server. */
    fd = connected(port);
    say(fd, PRG_TEXT("GET /block HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a->code) == PRG_WOULD_BLOCK);
    close(fd);
    WAIT(atomic_load(&a->notified) == 5 && atomic_load(&a->missed) == 0);
    /* Events. */
    fd = connected(port);
    say(fd, PRG_TEXT("GET /events HTTP/1.1\r\nHost: a\r\n\r\n"));
    event.size = sizeof event;
    event.data.ptr = "line one\nline two";
    event.data.len = 17;
    WAIT(prg_event_hub_publish(a->hub, PRG_TEXT("news"), &event) == 1);
    event.event.ptr = "a\nb";
    event.event.len = 3;
    CHECK(prg_event_hub_publish(a->hub, PRG_TEXT("news"), &event) == PRG_FIELD);
    event.event.len = 1;
    event.reserved = 1;
    CHECK(prg_event_hub_publish(a->hub, PRG_TEXT("news"), &event) == PRG_UNSUPPORTED);
    for (i = 0; i < 250 && !(i > 17 && strstr(text, "data: line two\n\n"));) {
        CHECK(recv(fd, text + i, 1, 0) == 1);
        text[++i] = 0;
    }
    CHECK(strstr(text, "data: line one\n"));
    close(fd);
}

/* A function that was registered may do all with its handle, whatever call of the library it is called in. */
static void handles_end_in_functions(app *a, int port) {
    static char piece_of[50000];
    pump p = {0};
    int fd, before;
    /* On a thread of the server, and on this one. */
    CHECK(begins(ask(port, "GET", "/pump", ""), "HTTP/1.1 200 ") && strstr(answer, "x\r\n0\r\n\r\n"));
    fd = connected(port);
    say(fd, PRG_TEXT("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    WAIT(atomic_load(&a->body) != NULL);
    p.body = atomic_exchange(&a->body, NULL);
    CHECK(prg_body_on_ready(p.body, pumps, &p) == PRG_OK);
    CHECK(hear(fd, answer, sizeof answer) > 6 * 5000 && strstr(answer, "x\r\n0\r\nX-End: yes\r\n\r\n"));
    WAIT(atomic_load(&p.finished));
    /* The second function replaces the first one, which gets 0 and frees the handle in this call. */
    fd = connected(port);
    say(fd, PRG_TEXT("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a->body) != NULL);
    while (prg_body_try_send(atomic_load(&a->body), piece_of, sizeof piece_of) == PRG_OK) {
    }
    before = atomic_load(&a->missed);
    CHECK(prg_body_on_ready(atomic_load(&a->body), frees_body, a) == PRG_OK && atomic_load(&a->body) != NULL);
    CHECK(prg_body_on_ready(atomic_load(&a->body), notified, a) == PRG_OK);
    CHECK(atomic_load(&a->body) == NULL && atomic_load(&a->missed) > before);
    close(fd);
    /* The client has left: the function is called at once. */
    fd = connected(port);
    say(fd, PRG_TEXT("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a->body) != NULL);
    close(fd);
    WAIT(prg_body_is_gone(atomic_load(&a->body)));
    CHECK(prg_body_on_gone(atomic_load(&a->body), frees_gone_body, a) == PRG_OK);
    WAIT(atomic_load(&a->body) == NULL);
    fd = connected(port);
    say(fd, PRG_TEXT("GET /own-events HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a->events) != NULL);
    close(fd);
    WAIT(atomic_load(&a->events) == NULL);
}

static void *ask_often(void *user) {
    int port = *(int *)user, i;
    for (i = 0; i < 20; i++) {
        char buf[1000];
        int fd = connected(port);
        say(fd, PRG_TEXT("GET /twice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        hear(fd, buf, sizeof buf);
        CHECK(begins(buf, "HTTP/1.1 200 "));
    }
    return NULL;
}

static void http(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    prg_stopped stopped = {0};
    prg_stats stats = {0};
    prg_stopper *stopper = NULL;
    prg_responder *late;
    pthread_t others[4];
    int port, i, fd;
    char message[100];
    stopped.size = sizeof stopped;
    stats.size = sizeof stats;
    CHECK(prg_files_open(PRG_TEXT("/no/such/folder"), &a.files, message, sizeof message) == PRG_IO && strlen(message) > 5);
    CHECK(prg_files_open(PRG_TEXT("."), &a.files, NULL, 0) == PRG_OK);
    a.hub = prg_event_hub_new();
    atomic_store(&a.running, started(&h, NULL, &port, 2));
    CHECK(prg_running_stopper(atomic_load(&a.running), &stopper) == PRG_OK);
    atomic_store(&a.stopper, stopper);
    responses(&a, port);
    streams(&a, port);
    handles_end_in_functions(&a, port);
    for (i = 0; i < 4; i++)
        CHECK(pthread_create(&others[i], NULL, ask_often, &port) == 0);
    for (i = 0; i < 4; i++)
        CHECK(pthread_join(others[i], NULL) == 0);
    CHECK(prg_running_stats(atomic_load(&a.running), &stats) == PRG_OK && stats.requests > 90 && stats.responses_5xx >= 4);
    CHECK(prg_running_prometheus(atomic_load(&a.running), NULL, 0) > 1000);
    stats.size = sizeof(size_t) * 2;
    stats.responses_2xx = 77;
    CHECK(prg_running_stats(atomic_load(&a.running), &stats) == PRG_OK && stats.responses_2xx == 77);
    /* A responder outlives its client, its server and the handles of both. */
    fd = connected(port);
    say(fd, PRG_TEXT("GET /keep HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a.responder) != NULL);
    late = atomic_load(&a.responder);
    CHECK(strstr(ask(port, "GET", "/stop", ""), "stopping"));
    /* An error keeps the handle. */
    stopped.size = sizeof(size_t) - 1;
    CHECK(prg_running_wait(atomic_load(&a.running), &stopped) == PRG_ARGUMENT);
    stopped.size = (size_t)-1;
    CHECK(prg_running_wait(atomic_load(&a.running), &stopped) == PRG_ARGUMENT);
    stopped.size = sizeof stopped;
    CHECK(prg_running_wait(atomic_load(&a.running), &stopped) == PRG_OK && stopped.aborted == 1);
    CHECK(atomic_load(&a.drops) == 1 && atomic_load(&a.befores) > atomic_load(&a.afters));
    CHECK(prg_responder_is_gone(late) && prg_responder_send(late, 200, NULL, 0, "x", 1) == PRG_GONE);
    close(fd);
    CHECK(prg_stopper_stop(stopper) == PRG_OK && prg_stopper_stop_now(stopper) == PRG_OK && prg_stopper_drain(stopper) == PRG_OK);
    prg_stopper_free(stopper);
    prg_event_hub_free(a.hub);
    prg_files_free(a.files);
}

/* A client has reset its connection when the server writes: a SIGPIPE would end this program. The one worker is busy, so that it does
 * not see the reset before it writes. */
static void a_broken_pipe(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    int port, fd, busy;
    char first;
    prg_running *running = started(&h, NULL, &port, 1);
    fd = connected(port);
    say(fd, PRG_TEXT("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    WAIT(atomic_load(&a.body) != NULL);
    CHECK(prg_body_send(atomic_load(&a.body), PRG_TEXT("a piece")) == PRG_OK && recv(fd, &first, 1, 0) == 1);
    busy = connected(port);
    say(busy, PRG_TEXT("GET /pipe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    WAIT(atomic_load(&a.code) == 1);
    /* First the end, then, because of bytes that are not read, a reset. */
    CHECK(shutdown(fd, SHUT_WR) == 0 && close(fd) == 0);
    atomic_store(&a.code, 2);
    hear(busy, answer, sizeof answer);
    CHECK(strstr(answer, "sent"));
    WAIT(prg_body_is_gone(atomic_load(&a.body)));
    prg_body_free(atomic_load(&a.body));
    prg_running_free(running);
    CHECK(atomic_load(&a.drops) == 1);
}

/* The handle of a server is freed by one of its own threads. */
static void freed_by_itself(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    int port;
    atomic_store(&a.running, started(&h, NULL, &port, 2));
    CHECK(strstr(ask(port, "GET", "/free-running", ""), "freed"));
    WAIT(atomic_load(&a.drops) == 1);
}

static void hear_head(int fd) {
    size_t len = 0;
    do {
        CHECK(recv(fd, answer + len, 1, 0) == 1);
        answer[++len] = 0;
    } while (!strstr(answer, "\r\n\r\n"));
}

static int ws_connected(int port) {
    int fd = connected(port);
    say(fd, PRG_TEXT("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
    hear_head(fd);
    CHECK(begins(answer, "HTTP/1.1 101 ") && strstr(answer, "X-Ws: yes"));
    return fd;
}

static void expect(int fd, const char *bytes, size_t len) {
    char got[100];
    CHECK(recv(fd, got, len, MSG_WAITALL) == (ssize_t)len && memcmp(got, bytes, len) == 0);
}

static void websockets(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    prg_hub *hub = prg_hub_new();
    prg_running *running;
    int port, fds[3], i;
    uint64_t ids[3];
    h.ws_accept = ws_accept;
    h.ws_open = ws_open;
    h.ws_message = ws_message;
    h.ws_close = ws_close;
    h.ws_drop = ws_drop;
    CHECK(prg_hub_publish(hub, PRG_TEXT("all"), PRG_TEXT("early"), 1) == PRG_GONE);
    running = started(&h, hub, &port, 2);
    for (i = 0; i < 3; i++) {
        fds[i] = ws_connected(port);
        WAIT(atomic_load(&a.opened) == i + 1);
        ids[i] = atomic_load(&a.ws_id);
    }
    WAIT(prg_hub_connections(hub) == 3);
    for (i = 0; i < 3; i++) {
        /* The mask is zero. The echo says that the connection has subscribed. */
        say(fds[i], PRG_TEXT("\x81\x82\0\0\0\0hi"));
        expect(fds[i], "\x81\x02hi", 4);
    }
    CHECK(prg_hub_publish(hub, PRG_TEXT("all"), PRG_TEXT("to all"), 1) == PRG_OK && prg_hub_broadcast(hub, "\xff", 1, 0) == PRG_OK);
    CHECK(prg_hub_publish(hub, PRG_TEXT("all"), "\xff", 1, 1) == PRG_ARGUMENT);
    for (i = 0; i < 3; i++)
        expect(fds[i], "\x81\x06to all\x82\x01\xff", 11);
    close(fds[0]);
    WAIT(atomic_load(&a.closed) == 1 && atomic_load(&a.state_drops) == 1);
    CHECK(prg_hub_send(hub, 0xffffffffffffffffull, "x", 1, 1) == PRG_GONE);
    WAIT(prg_hub_connections(hub) == 2);
    CHECK(prg_hub_close(hub, ids[0], 4000, PRG_TEXT("bye")) == PRG_GONE);
    CHECK(prg_hub_close(hub, ids[1], 4000, "\xff", 1) == PRG_ARGUMENT && prg_hub_close(hub, ids[1], 4000, PRG_TEXT("bye")) == PRG_OK);
    expect(fds[1], "\x88\x05\x0f\xa0" "bye", 7);
    /* The other clients do nothing: they are aborted at the end of the stop. */
    prg_running_free(running);
    CHECK(atomic_load(&a.closed) == 3 && atomic_load(&a.state_drops) == 3 && atomic_load(&a.accepted) == 3 && atomic_load(&a.drops) == 1);
    CHECK(prg_hub_publish(hub, PRG_TEXT("all"), PRG_TEXT("late"), 1) == PRG_GONE && prg_hub_send(hub, 1, "x", 1, 1) == PRG_GONE);
    prg_hub_free(hub);
    for (i = 1; i < 3; i++)
        close(fds[i]);
}

static prg_ws_responder *decides(app *a) {
    WAIT(atomic_load(&a->ws_responder));
    return atomic_exchange(&a->ws_responder, NULL);
}

static int asks_for_ws(int port, const char *path) {
    char head[300];
    int fd = connected(port), len;
    len = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n"
                                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path);
    say(fd, head, (size_t)len);
    return fd;
}

static void handshakes_are_decided_later(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    prg_hub *hub = prg_hub_new();
    prg_running *running;
    prg_ws_responder *responder;
    int port, fd;
    CHECK(prg_upgrade_defer(NULL, NULL) == PRG_ARGUMENT && prg_ws_responder_accept(NULL) == PRG_ARGUMENT);
    CHECK(prg_ws_responder_respond(NULL, fill, NULL) == PRG_ARGUMENT && prg_ws_responder_is_gone(NULL) == 1);
    CHECK(prg_ws_responder_header(NULL, PRG_TEXT("a"), PRG_TEXT("b")) == PRG_ARGUMENT);
    CHECK(prg_ws_responder_protocol(NULL, PRG_TEXT("a")) == PRG_ARGUMENT);
    CHECK(prg_ws_pause(NULL) == PRG_ARGUMENT && prg_ws_resume(NULL) == PRG_ARGUMENT);
    CHECK(prg_hub_pause(NULL, 1) == PRG_ARGUMENT && prg_hub_resume(NULL, 1) == PRG_ARGUMENT);
    CHECK(prg_hub_pause(hub, 1) == PRG_GONE && prg_hub_resume(hub, 1) == PRG_GONE);
    prg_ws_responder_free(NULL);
    h.ws_accept = ws_later;
    h.ws_open = ws_open;
    h.ws_message = ws_pauses;
    h.ws_close = ws_close;
    h.ws_drop = ws_drop;
    running = started(&h, hub, &port, 1);

    fd = asks_for_ws(port, "/ws");
    responder = decides(&a);
    /* The one worker serves others meanwhile. */
    CHECK(begins(ask(port, "GET", "/", ""), "HTTP/1.1 "));
    CHECK(prg_ws_responder_protocol(responder, PRG_TEXT("c")) == PRG_NOT_FOUND && prg_ws_responder_protocol(responder, PRG_TEXT("b")) == PRG_OK);
    CHECK(prg_ws_responder_header(responder, PRG_TEXT("Upgrade"), PRG_TEXT("x")) == PRG_ARGUMENT);
    CHECK(prg_ws_responder_header(responder, PRG_TEXT("X-Late"), PRG_TEXT("yes")) == PRG_OK && prg_ws_responder_accept(responder) == PRG_OK);
    hear_head(fd);
    CHECK(begins(answer, "HTTP/1.1 101 ") && strstr(answer, "X-Late: yes") && strstr(answer, "Sec-WebSocket-Protocol: b"));
    WAIT(atomic_load(&a.opened) == 1);
    /* Masks are zero. What follows a pause waits. */
    say(fd, PRG_TEXT("\x81\x85\0\0\0\0pause\x81\x82\0\0\0\0hi"));
    WAIT(atomic_load(&a.notified) == 1);
    CHECK(prg_hub_broadcast(hub, PRG_TEXT("x"), 1) == PRG_OK);
    expect(fd, "\x81\x01x", 3);
    CHECK(atomic_load(&a.notified) == 1 && prg_hub_resume(hub, atomic_load(&a.ws_id)) == PRG_OK);
    expect(fd, "\x81\x02hi", 4);
    close(fd);
    WAIT(atomic_load(&a.state_drops) == 1);

    fd = asks_for_ws(port, "/ws");
    CHECK(prg_ws_responder_respond(decides(&a), fill, &a) == PRG_OK);
    hear_head(fd);
    CHECK(!begins(answer, "HTTP/1.1 101 ") && !begins(answer, "HTTP/1.1 500 "));
    close(fd);
    fd = asks_for_ws(port, "/ws");
    prg_ws_responder_free(decides(&a));
    hear_head(fd);
    CHECK(begins(answer, "HTTP/1.1 500 "));
    close(fd);
    fd = asks_for_ws(port, "/ws");
    CHECK(prg_ws_responder_respond(decides(&a), NULL, NULL) == PRG_ARGUMENT);
    hear_head(fd);
    CHECK(begins(answer, "HTTP/1.1 500 "));
    close(fd);
    fd = asks_for_ws(port, "/at-once");
    hear_head(fd);
    CHECK(begins(answer, "HTTP/1.1 403 ") && prg_ws_responder_accept(decides(&a)) == PRG_GONE);
    close(fd);
    fd = asks_for_ws(port, "/ws");
    responder = decides(&a);
    close(fd);
    WAIT(prg_ws_responder_is_gone(responder));
    CHECK(prg_ws_responder_accept(responder) == PRG_GONE);
    /* One that outlives the server. */
    fd = asks_for_ws(port, "/ws");
    responder = decides(&a);
    close(fd);
    prg_running_free(running);
    CHECK(prg_ws_responder_accept(responder) == PRG_GONE);
    CHECK(atomic_load(&a.state_drops) == atomic_load(&a.accepted) && atomic_load(&a.drops) == 1);
    prg_hub_free(hub);
}

/* ------------------------------------------------------------------------------------------ prepared responses */

static void fill_fields(void *user, prg_response *res) {
    (void)user;
    CHECK(prg_response_status(res, 404) == PRG_OK && prg_response_header(res, PRG_TEXT("X-A"), PRG_TEXT("b")) == PRG_OK);
    CHECK(prg_response_send(res, 404, PRG_TEXT("text/x"), PRG_TEXT("missing")) == PRG_OK);
    CHECK(prg_response_send(res, 404, PRG_TEXT("text/x"), PRG_TEXT("missing")) == PRG_STATE);
}

static void fill_later(void *user, prg_response *res) {
    prg_responder *responder;
    CHECK(prg_response_defer(res, &responder) == PRG_OK);
    *(prg_responder **)user = responder;
}

static void fill_invalid(void *user, prg_response *res) {
    (void)user;
    CHECK(prg_response_header(res, PRG_TEXT("X-A"), PRG_TEXT("b\nc")) == PRG_OK && prg_response_body(res, "", 0) == PRG_OK);
}

static prg_prepared *prepared_ones[3];

static void gives_prepared(void *user, const prg_request *req, prg_response *res) {
    (void)user;
    if (prg_is(req->path, PRG_TEXT("/twice")))
        CHECK(prg_response_send_prepared(res, prepared_ones[0]) == PRG_OK);
    if (prg_is(req->path, PRG_TEXT("/null")))
        CHECK(prg_response_send_prepared(res, NULL) == PRG_ARGUMENT);
    else if (prg_is(req->path, PRG_TEXT("/set"))) {
        CHECK(prg_response_status(res, 203) == PRG_OK);
        CHECK(prg_response_header(res, PRG_TEXT("X-B"), PRG_TEXT("c")) == PRG_OK);
        CHECK(prg_response_send_prepared(res, prepared_ones[0]) == PRG_OK);
    } else if (prg_is(req->path, PRG_TEXT("/filled")))
        CHECK(prg_response_send_prepared(res, prepared_ones[1]) == PRG_OK);
    else if (prg_is(req->path, PRG_TEXT("/large"))) {
        CHECK(prg_response_send_prepared(res, prepared_ones[2]) == PRG_OK);
        /* The client has not got it yet. */
        prg_prepared_free(prepared_ones[2]);
        prepared_ones[2] = NULL;
    } else
        CHECK(prg_response_send_prepared(res, prepared_ones[0]) ==
              (prg_is(req->path, PRG_TEXT("/twice")) ? PRG_STATE : PRG_OK));
}

static void prepared(void) {
    static char large[50000];
    prg_handler h = {.size = sizeof h, .request = gives_prepared};
    prg_prepared *none = NULL;
    prg_responder *responder = NULL;
    prg_running *running;
    int port;
    memset(large, 'x', sizeof large);
    CHECK(prg_prepared_new(200, PRG_TEXT("a/b"), PRG_TEXT("c"), NULL) == PRG_ARGUMENT);
    CHECK(prg_prepared_new(199, PRG_TEXT("a/b"), PRG_TEXT("c"), &none) == PRG_ARGUMENT && !none);
    CHECK(prg_prepared_new(200, PRG_TEXT("a\nb"), PRG_TEXT("c"), &none) == PRG_FIELD && !none);
    CHECK(prg_prepared_new(200, NULL, 1, PRG_TEXT("c"), &none) == PRG_ARGUMENT && !none);
    CHECK(prg_prepared_fill(NULL, NULL, &none) == PRG_ARGUMENT && !none);
    CHECK(prg_prepared_fill(fill_nothing, NULL, &none) == PRG_STATE && !none);
    CHECK(prg_prepared_fill(fill_invalid, NULL, &none) == PRG_FIELD && !none);
    CHECK(prg_prepared_fill(fill_later, &responder, &none) == PRG_STATE && !none);
    CHECK(prg_responder_send(responder, 200, NULL, 0, PRG_TEXT("to no client")) == PRG_GONE);
    CHECK(prg_response_send_prepared(NULL, NULL) == PRG_ARGUMENT);
    CHECK(prg_prepared_new(200, PRG_TEXT("text/plain"), PRG_TEXT("hello"), &prepared_ones[0]) == PRG_OK);
    CHECK(prg_prepared_fill(fill_fields, NULL, &prepared_ones[1]) == PRG_OK);
    CHECK(prg_prepared_new(200, NULL, 0, large, sizeof large, &prepared_ones[2]) == PRG_OK);
    running = started(&h, NULL, &port, 1);
    CHECK(begins(ask(port, "GET", "/", ""), "HTTP/1.1 200 ") && strstr(answer, "\r\nContent-Type: text/plain\r\n"));
    CHECK(strstr(answer, "\r\nContent-Length: 5\r\n") && strstr(answer, "\r\n\r\nhello"));
    CHECK(begins(ask(port, "HEAD", "/", ""), "HTTP/1.1 200 ") && !strstr(answer, "hello"));
    CHECK(begins(ask(port, "GET", "/twice", ""), "HTTP/1.1 200 "));
    CHECK(begins(ask(port, "GET", "/null", ""), "HTTP/1.1 500 "));
    CHECK(begins(ask(port, "GET", "/set", ""), "HTTP/1.1 203 ") && strstr(answer, "\r\nX-B: c\r\n") && strstr(answer, "hello"));
    CHECK(begins(ask(port, "GET", "/filled", ""), "HTTP/1.1 404 ") && strstr(answer, "\r\nX-A: b\r\n") && strstr(answer, "missing"));
    CHECK(begins(ask(port, "GET", "/large", ""), "HTTP/1.1 200 ") && strlen(strstr(answer, "\r\n\r\n") + 4) == sizeof large);
    prg_running_free(running);
    prg_prepared_free(prepared_ones[0]);
    prg_prepared_free(prepared_ones[1]);
}

/* ------------------------------------------------------------------------------------------ timers */

static int32_t tick(void *user) {
    app *a = user;
    return atomic_fetch_add(&a->notified, 1) + 1 < 3;
}

static int32_t cancels_itself(void *user) {
    app *a = user;
    WAIT(atomic_load(&a->timer));
    prg_timer_cancel(atomic_exchange(&a->timer, NULL));
    atomic_fetch_add(&a->missed, 1);
    return 1;
}

static void timers(void) {
    app a = {0};
    prg_handler h = handler_of(&a);
    prg_running *running;
    prg_timers *timers;
    prg_timer *timer = NULL;
    int port;
    CHECK(prg_running_timers(NULL, &timers) == PRG_ARGUMENT && prg_response_timers(NULL, &timers) == PRG_ARGUMENT);
    prg_timers_free(NULL);
    prg_timer_free(NULL);
    prg_timer_cancel(NULL);
    /* In an error, too, the argument is dropped. */
    CHECK(prg_timers_call(NULL, 1, tick, &a, sink_drop, NULL) == PRG_ARGUMENT && atomic_load(&a.sink_drops) == 1);
    running = started(&h, NULL, &port, 1);
    CHECK(prg_running_timers(running, NULL) == PRG_ARGUMENT && prg_running_timers(running, &timers) == PRG_OK);
    CHECK(prg_timers_call(timers, 1, NULL, &a, sink_drop, &timer) == PRG_ARGUMENT && !timer && atomic_load(&a.sink_drops) == 2);
    CHECK(prg_timers_call(timers, 1, tick, &a, sink_drop, &timer) == PRG_OK);
    prg_timer_free(timer);
    WAIT(atomic_load(&a.sink_drops) == 3);
    CHECK(atomic_load(&a.notified) == 3);
    CHECK(prg_timers_call(timers, 1, cancels_itself, &a, sink_drop, &timer) == PRG_OK);
    atomic_store(&a.timer, timer);
    WAIT(atomic_load(&a.sink_drops) == 4);
    CHECK(atomic_load(&a.missed) == 1);
    CHECK(prg_timers_call(timers, 3600000, tick, &a, sink_drop, &timer) == PRG_OK);
    prg_timer_cancel(timer);
    CHECK(atomic_load(&a.sink_drops) == 5);
    /* One that is never due ends with the server. */
    CHECK(prg_timers_call(timers, 3600000, tick, &a, sink_drop, NULL) == PRG_OK);
    CHECK(strstr(ask(port, "GET", "/timer", ""), "in time"));
    WAIT(atomic_load(&a.sink_drops) == 6);
    prg_running_free(running);
    WAIT(atomic_load(&a.sink_drops) == 7);
    CHECK(prg_timers_call(timers, 1, tick, &a, sink_drop, NULL) == PRG_GONE && atomic_load(&a.sink_drops) == 8);
    prg_timers_free(timers);
}

int main(void) {
    CHECK(prg_abi_version() == PRG_ABI_VERSION);
    nothing_is_null();
    structs_may_grow();
    a_start_may_fail();
    a_server_may_be_freed_by_its_handler();
    http();
    freed_by_itself();
    a_broken_pipe();
    websockets();
    handshakes_are_decided_later();
    prepared();
    timers();
    puts("ok hostile");
    return 0;
}
