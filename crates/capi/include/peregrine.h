/*
 * The C interface of peregrine, an HTTP and WebSocket server. README.md has the first steps.
 *
 * Text is a pointer and a length, and need not end with NUL; PRG_TEXT("...") makes both of a literal.
 * Borrowed pointers (prg_request, prg_response, prg_ws, prg_upgrade, prg_plan, prg_incoming) live until the callback
 * returns that got them, and on its thread only. All other pointers are handles that the program owns; each
 * is ended by exactly one call, and must not be used after it. Functions that return int32_t return PRG_OK or a
 * negative code; those that return int64_t return a length or a negative code.
 */


#ifndef PEREGRINE_H
#define PEREGRINE_H

/* Made by cbindgen from crates/capi/src: RENEW=1 cargo test --test header. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* A literal as a pointer and its length: two arguments. */
#define PRG_TEXT(literal) (literal), (sizeof(literal) - 1)


// prg_sink.piece returns it: further pieces are wanted.
#define PRG_CONTINUE 0

// prg_sink.piece returns it: nothing more is read from this client until prg_resumer_resume.
#define PRG_PAUSE 1

// prg_sink.piece returns it: prg_sink.finish is called now, and the rest of the body is discarded.
#define PRG_RESPOND 2

// Done.
#define PRG_OK 0

// A pointer is NULL that must not be, a text is not UTF-8, or a number is out of range. Nothing was done, but a function that frees a
// handle in any case has freed it.
#define PRG_ARGUMENT -1

// The call does not fit the state of the handle: the response has been given, or the server has been started.
#define PRG_STATE -2

// The client has left, or its connection is closing.
#define PRG_GONE -3

// There is no room now. Nothing was sent.
#define PRG_FULL -4

// The call would block a thread of the server.
#define PRG_WOULD_BLOCK -5

// The operating system refused. The handle has a message.
#define PRG_IO -6

// There is no such thing.
#define PRG_NOT_FOUND -7

// The library panicked. This is a bug of the library; please report it. A function that frees a handle has freed it; free any other
// handle, and do not use it otherwise.
#define PRG_PANIC -8

// The library was built without this feature, or a struct has members that this version does not know.
#define PRG_UNSUPPORTED -9

// More bytes than the declared length were sent, or fewer.
#define PRG_LENGTH -10

// A name or value has bytes that it must not have.
#define PRG_FIELD -11

// A limit of the server is reached.
#define PRG_LIMIT -12

// The first version of this interface. A function, a member of a struct or a code is only added within a version.
#define PRG_ABI_VERSION 1

// A response body that is sent in pieces. It is owned by the program and may move to another thread. It stays valid after the
// client has left and after the server has stopped; sending returns PRG_GONE then.
typedef struct prg_body prg_body;

// Events to the subscribers of topics. It is owned by the program. All functions may be called from any threads at once.
typedef struct prg_event_hub prg_event_hub;

// A stream of events to one client. It is owned by the program and may move to another thread. It stays valid after the client has
// left and after the server has stopped; sending returns PRG_GONE then.
typedef struct prg_events prg_events;

// A folder whose files are served, with ranges, conditional requests and content types. It is owned by the program. prg_files_serve may be
// called from any threads at once.
typedef struct prg_files prg_files;

// Reaches the WebSockets of one server. It is owned by the program. All functions may be called from any threads at once, also
// before the server has started and after it has ended; they return PRG_GONE then.
typedef struct prg_hub prg_hub;

// A piece of a body that has come. It is borrowed: it is valid in prg_sink.piece and prg_sink.begin only.
typedef struct prg_incoming prg_incoming;

// What is to happen to a request body. It is borrowed: it is valid in prg_handler.body_plan only. The last call counts; without
// one the body is read into memory.
typedef struct prg_plan prg_plan;

// A whole response that is given often, by prg_response_send_prepared. It is owned by the program. Any threads may give it at once.
typedef struct prg_prepared prg_prepared;

// What sends a response later. It is owned by the program, and used once. It may move to another thread. It stays valid after the
// client has left and after the server has stopped; sending returns PRG_GONE then.
typedef struct prg_responder prg_responder;

// A response that is not given yet. It is borrowed: it is valid until the callback returns that got it, and on the thread of that callback
// only. One of the functions that give it must be called once; otherwise the client gets 500. After that all functions
// return PRG_STATE.
//
// A status, name or value that is not valid is reported when the response is sent: the client gets 500, and prg_handler.error is called.
typedef struct prg_response prg_response;

// Ends the pause of a request body. It is owned by the program and may move to another thread.
typedef struct prg_resumer prg_resumer;

// A server that runs. It is owned by the program: it ends with prg_running_wait or prg_running_free.
typedef struct prg_running prg_running;

// A server before its start. It is owned by the program: it ends with prg_server_free, also after its start.
typedef struct prg_server prg_server;

// Stops a server from any thread, also from a callback and while another thread is in prg_running_wait. It is owned by the program, and
// stays valid after the server has ended.
typedef struct prg_stopper prg_stopper;

// A call that is to come. It is owned by the program.
typedef struct prg_timer prg_timer;

// Calls functions after a time. It is owned by the program. All functions may be called from any threads at once, also after the
// server has ended.
typedef struct prg_timers prg_timers;

// A WebSocket handshake that is not decided yet. It is borrowed: it is valid in prg_handler.ws_accept only.
typedef struct prg_upgrade prg_upgrade;

// A WebSocket connection. It is borrowed: it is valid until the callback returns that got it, and on the thread of that callback only.
// Keep prg_ws_id to reach the connection later, with a prg_hub.
typedef struct prg_ws prg_ws;

// What decides about a handshake later. It is owned by the program, and used once. It may move to another thread. It stays valid after
// the client has left and after the server has stopped; the decision returns PRG_GONE then.
typedef struct prg_ws_responder prg_ws_responder;

// Bytes that belong to another: a view. It is valid as long as the comment of the function says that gives it. It does not
// end with NUL. A missing one has a NULL pointer.
typedef struct {
  // The first byte, or NULL.
  const char *ptr;
  // The number of bytes.
  size_t len;
} prg_bytes;

// A request. It is borrowed: it is valid until the callback returns that got it, and on the thread of that callback only. All views of
// it are valid as long. Copy what you need later. The program makes none, so members may be added.
typedef struct {
  // As prg_request_method, without a call.
  prg_bytes method;
  // As prg_request_path, without a call.
  prg_bytes path;
  // For the library.
  const void *rest;
} prg_request;

// What receives a body in pieces. All calls for one request come one after the other, on one thread of the server.
typedef struct {
  // sizeof(prg_sink).
  size_t size;
  // Passed to each function.
  void *user;
  // A piece has come. `data` is valid in this call only. Returns PRG_CONTINUE, PRG_PAUSE or PRG_RESPOND; anything else is
  // PRG_RESPOND.
  int32_t (*piece)(void *user, const char *data, size_t len, prg_incoming *incoming);
  // The body is complete, or `piece` returned PRG_RESPOND: gives the response. It is not called if the client leaves before.
  void (*finish)(void *user, const prg_request *req, prg_response *res);
  // Called exactly once, as the last one: frees `user`. May be NULL. It may run on any thread.
  void (*drop)(void *user);
  // Called once, before the first piece. May be NULL. A sink that may respond before a piece has come keeps a
  // prg_incoming_resumer here.
  void (*begin)(void *user, prg_incoming *incoming);
} prg_sink;

// A function that is called exactly once: with 1 when what it waits for has happened, or with 0 when that cannot happen any
// more. So the memory behind `user` can be freed in it. It must not block.
//
// It is called on a thread of the server, or on any thread at the end of another call of this library. This may be before the call
// has returned that registered it. The library does not use the handle meanwhile, so the function may send with it, finish or free it,
// and register again; a function that is due at once is called after this one has returned then. If another thread may be
// in a call with the same handle, the program must prevent that both overlap.
typedef void (*prg_notify)(void *user, int32_t happened);

// One event. All views are read in the call and not kept. A view with a NULL pointer is a missing part.
typedef struct {
  // sizeof(prg_event).
  size_t size;
  // The text; it may have several lines.
  prg_bytes data;
  // The type of the event.
  prg_bytes event;
  // The id, which a client that comes back sends as Last-Event-ID.
  prg_bytes id;
  // After how many milliseconds a client that has lost its connection comes back. 0: it decides.
  uint32_t retry_millis;
  // 0. It is for members of later versions; without it the struct would have padding, which may have any value.
  uint32_t reserved;
} prg_event;

// Gives a response: it must call one of the functions of prg_response that do, on the calling thread, before it returns.
typedef void (*prg_fill)(void *user, prg_response *res);

// Counters since the start.
typedef struct {
  // sizeof(prg_stats).
  size_t size;
  // Requests with a complete head.
  uint64_t requests;
  // Responses by class.
  uint64_t responses_2xx;
  // Responses by class.
  uint64_t responses_3xx;
  // Responses by class.
  uint64_t responses_4xx;
  // Responses by class.
  uint64_t responses_5xx;
  // Connections that were accepted.
  uint64_t accepted;
  // Connections that were closed.
  uint64_t closed;
  // Bytes from clients.
  uint64_t bytes_read;
  // Bytes to clients.
  uint64_t bytes_written;
  // Responses of the program that could not be sent; see prg_handler.error.
  uint64_t handler_errors;
  // Messages of WebSockets that came.
  uint64_t ws_received;
  // Messages that were published.
  uint64_t ws_published;
} prg_stats;

// How a server has ended.
typedef struct {
  // sizeof(prg_stopped).
  size_t size;
  // Connections that ended by themselves during the stop.
  uint64_t drained;
  // Connections that were still open at the end of the stop, and were aborted.
  uint64_t aborted;
} prg_stopped;

// The program. The struct is copied by prg_server_new. Every member but `size` and `request` may be NULL.
//
// The server calls the functions on its threads: several at once, with the same `user`. No exception, longjmp or other
// unwinding may leave them. While one runs, all other clients of its thread wait, so it must not block for long.
typedef struct {
  // sizeof(prg_handler).
  size_t size;
  // Passed to each function. It is used on several threads at once.
  void *user;
  // Called exactly once, after all other functions: frees `user`. It may run on any thread.
  void (*drop)(void *user);
  // Gives the response to a request, now or later. Without a response the client gets 500.
  void (*request)(void *user, const prg_request *req, prg_response *res);
  // Decides what happens to the body of a request, before it is read.
  void (*body_plan)(void *user, const prg_request *req, prg_plan *plan);
  // Something went wrong on a connection; `text` says what, and is valid in this call. The server has reacted already.
  void (*error)(void *user, const char *text, size_t len);
  // The end of a turn: this thread has handled all that has come, and waits next. Responders that are used here send
  // their responses at once, so that a program can respond to all requests of a turn together. The calls of a thread
  // alternate with `after_wait`; the first and the last one of a thread is this one.
  void (*before_wait)(void *user);
  // The wait of this thread has ended. Between `before_wait` and this no other function is called on this thread.
  void (*after_wait)(void *user);
  // A WebSocket handshake has come: returns 1 to accept it, after which `*state` belongs to the connection. Returns 0 to
  // refuse it, after prg_upgrade_refuse; without that `request` is called. NULL: the server has no WebSockets.
  int32_t (*ws_accept)(void *user, const prg_request *req, prg_upgrade *upgrade, void **state);
  // A connection has begun.
  void (*ws_open)(void *user, prg_ws *ws);
  // A message has come: UTF-8 if `is_text` is 1. `data` is valid in this call.
  void (*ws_message)(void *user, prg_ws *ws, const char *data, size_t len, int32_t is_text);
  // A slow client has caught up: more can be sent.
  void (*ws_drain)(void *user, prg_ws *ws);
  // A connection that had begun has ended, with this close code; 0 if there was none. `why` is for a log.
  void (*ws_close)(void *user, prg_ws *ws, uint16_t code, const char *why, size_t why_len);
  // Frees the state of a connection: called exactly once for each call of `ws_accept` that returned 1. It may run on any
  // thread.
  void (*ws_drop)(void *state);
} prg_handler;

// Settings. A member that is 0 has the default of the library.
typedef struct {
  // sizeof(prg_config).
  size_t size;
  // Threads that serve connections. Default: one for each CPU.
  size_t workers;
  // Threads that serve WebSockets. Default: one for each CPU.
  size_t ws_threads;
  // The most connections at a time.
  size_t connections;
  // The largest request body that is read into memory, in bytes.
  size_t body_bytes;
  // How long a response that comes later may take, in milliseconds.
  uint64_t response_timeout_millis;
  // How long a stop waits for open connections, in milliseconds.
  uint64_t stop_timeout_millis;
  // How long a drain serves on, in milliseconds.
  uint64_t drain_delay_millis;
} prg_config;

// Called on a thread of the server that serves connections, so it must not block for long. It returns 1 to be called again, after the
// same period, and 0 to end.
typedef int32_t (*prg_tick)(void *user);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Reads the body into memory, up to `most` bytes; a longer one gets 413.
//
// Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_plan_buffer(prg_plan *plan, size_t most);

// Calls prg_handler.request at once, without the body.
//
// Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_plan_unread(prg_plan *plan);

// Refuses the request with this status, 400 to 599, and closes the connection.
//
// Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_plan_refuse(prg_plan *plan, uint16_t status);

// Passes the body in pieces to `sink`, up to `most` bytes; a longer one gets 413. The struct is copied.
//
// Errors: PRG_ARGUMENT (a missing member, too), PRG_UNSUPPORTED; sink.drop is not called then. Thread: that of the callback.
int32_t prg_plan_stream(prg_plan *plan,
                        const prg_sink *sink,
                        uint64_t most);

// Makes a resumer, in prg_sink.begin, or in prg_sink.piece before it returns PRG_PAUSE.
//
// `*out` is owned by the caller: it ends with prg_resumer_free. Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_incoming_resumer(prg_incoming *incoming, prg_resumer **out);

// The bytes of the body that have come before this piece and with it. Thread: that of the callback.
uint64_t prg_incoming_received(const prg_incoming *incoming);

// Further pieces are wanted. Errors: PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_resumer_resume(const prg_resumer *resumer);

// Ends the body: prg_sink.finish is called. Errors: PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_resumer_respond(const prg_resumer *resumer);

// 1 if the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
int32_t prg_resumer_is_gone(const prg_resumer *resumer);

// Frees a resumer. A body that is paused then goes on to be paused, until its time limit. NULL is allowed. Thread: any.
void prg_resumer_free(prg_resumer *resumer);

// Sends a piece, and blocks while the client has too many unsent bytes. The bytes are copied.
//
// Errors: PRG_GONE if the client has left: stop then. PRG_WOULD_BLOCK on a thread of the server. PRG_LENGTH, PRG_ARGUMENT.
// Thread: any, and not two calls at once with the same handle.
int32_t prg_body_send(prg_body *body,
                      const char *piece,
                      size_t len);

// Sends a piece, or returns PRG_FULL if the client has too many unsent bytes; nothing is sent then. The bytes are copied.
//
// Errors: those of prg_body_send, without PRG_WOULD_BLOCK. Thread: any, and not two calls at once with the same handle.
int32_t prg_body_try_send(prg_body *body,
                          const char *piece,
                          size_t len);

// 1 if a piece can be sent now, or the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
int32_t prg_body_is_ready(const prg_body *body);

// Blocks until a piece can be sent or the client has left, for at most this time. 1 if so, 0 if the time has passed.
//
// On a thread of a server it does not wait. Thread: any, and not two calls at once with the same handle.
int32_t prg_body_wait_ready(const prg_body *body, uint64_t millis);

// Calls `f` when a piece can be sent or the client has left. It replaces the function of an earlier call, which gets 0.
//
// Errors: PRG_ARGUMENT; `f` is not called then. Thread: any, and not two calls at once with the same handle.
int32_t prg_body_on_ready(const prg_body *body, prg_notify f, void *user);

// Calls `f` when the stream ends, for whatever reason.
//
// Errors: PRG_ARGUMENT; `f` is not called then. Thread: any, and not two calls at once with the same handle.
int32_t prg_body_on_gone(const prg_body *body, prg_notify f, void *user);

// 1 if the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
int32_t prg_body_is_gone(const prg_body *body);

// Bytes that were given and are unsent. Thread: any, and not two calls at once with the same handle.
size_t prg_body_backlog(const prg_body *body);

// Adds a field to the trailer section. It is omitted if the body is not chunked.
//
// Errors: PRG_FIELD, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_body_trailer(prg_body *body, const char *name, size_t name_len, const char *value, size_t value_len);

// Ends the body, which is complete. Frees `body` in any case.
//
// Errors: PRG_GONE, PRG_LENGTH, PRG_ARGUMENT. Thread: any.
int32_t prg_body_finish(prg_body *body);

// Frees a body that is not complete: the connection is closed, so that the client does not take it for complete. NULL is allowed.
// Thread: any.
void prg_body_free(prg_body *body);

// The version of the interface of the library that is loaded. Compare it with PRG_ABI_VERSION of the header.
//
// Thread: any. Errors: none.
uint32_t prg_abi_version(void);

// What a code means, in English, for a log.
//
// Returns a text that ends with NUL and lives as long as the program; do not free it. Thread: any. Errors: none; an unknown code has a
// text, too.
const char *prg_code_text(int32_t code);

// Sends an event, and blocks while the client has too many unsent bytes.
//
// Errors: PRG_GONE, PRG_WOULD_BLOCK on a thread of the server, PRG_FIELD, PRG_ARGUMENT, PRG_UNSUPPORTED. Thread: any, and
// not two calls at once with the same handle.
int32_t prg_events_send(prg_events *events,
                        const prg_event *event);

// Sends an event, or returns PRG_FULL if the client has too many unsent bytes.
//
// Errors: those of prg_events_send, without PRG_WOULD_BLOCK. Thread: any, and not two calls at once with the same handle.
int32_t prg_events_try_send(prg_events *events,
                            const prg_event *event);

// 1 if the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
int32_t prg_events_is_gone(const prg_events *events);

// Calls `f` when the stream ends, for whatever reason.
//
// Errors: PRG_ARGUMENT; `f` is not called then. Thread: any, and not two calls at once with the same handle.
int32_t prg_events_on_gone(const prg_events *events, prg_notify f, void *user);

// Ends the stream. Frees `events` in any case. Errors: PRG_GONE, PRG_ARGUMENT. Thread: any.
int32_t prg_events_finish(prg_events *events);

// Frees a stream: its connection is closed, and browsers come back. NULL is allowed. Thread: any.
void prg_events_free(prg_events *events);

// Makes a hub. The caller owns it: it ends with prg_event_hub_free. NULL only if the library panicked. Thread: any.
prg_event_hub *prg_event_hub_new(void);

// Subscribes a client to a topic. The hub owns `events` from now on, in any case: do not use or free it.
//
// Errors: PRG_LIMIT, PRG_GONE, PRG_ARGUMENT. Thread: any.
int32_t prg_event_hub_subscribe(const prg_event_hub *hub, prg_events *events, const char *topic, size_t topic_len);

// Sends an event to the subscribers of a topic. It never blocks: a client that is too slow loses its stream.
//
// Returns the number of clients. Errors: PRG_FIELD, PRG_ARGUMENT, PRG_UNSUPPORTED. Thread: any.
int64_t prg_event_hub_publish(const prg_event_hub *hub, const char *topic, size_t topic_len, const prg_event *event);

// Frees a hub: its streams end. NULL is allowed. Thread: any, when no other call uses it.
void prg_event_hub_free(prg_event_hub *hub);

// Opens a folder. Nothing outside of it can be reached.
//
// `*out` is owned by the caller: it ends with prg_files_free, after the server has ended. Errors: PRG_IO; a text is in `message` then, with
// a NUL, as far as `room` bytes allow. PRG_ARGUMENT. Thread: any.
int32_t prg_files_open(const char *path,
                       size_t path_len,
                       prg_files **out,
                       char *message,
                       size_t room);

// Gives the response to a request for a file. `path` is the path below the folder, percent-encoded, or no bytes for the path of the
// request.
//
// Errors: PRG_STATE, PRG_ARGUMENT. A missing file is the response 404 and no error. Thread: that of the callback.
int32_t prg_files_serve(const prg_files *files,
                        const char *path,
                        size_t path_len,
                        const prg_request *req,
                        prg_response *res);

// Frees a folder that no callback uses any more. NULL is allowed. Thread: any.
void prg_files_free(prg_files *files);

// Prepares a whole response: status, Content-Type (none if its length is 0) and body. The bytes are copied.
//
// `*out` is owned by the caller: it ends with prg_prepared_free. Errors: PRG_ARGUMENT; PRG_FIELD if the Content-Type is not valid. `*out`
// is not changed then. Thread: any.
int32_t prg_prepared_new(uint16_t status,
                         const char *content_type,
                         size_t content_type_len,
                         const char *body,
                         size_t body_len,
                         prg_prepared **out);

// Prepares the response that `fill` gives with the functions of prg_response, for example with other header fields. `fill` is called
// once, at once, on this thread.
//
// `*out` is owned by the caller: it ends with prg_prepared_free. Errors: PRG_STATE if `fill` gives no response, or one that comes later, in
// pieces, or from a file; PRG_FIELD if a header field is not valid; PRG_ARGUMENT. `*out` is not changed then. Thread: any.
int32_t prg_prepared_fill(prg_fill fill,
                          void *user,
                          prg_prepared **out);

// Gives a response that was prepared: the fastest way to give one. A status of 200 leaves one that was set before, and header fields
// are added to those that were set before, or replace them, as with prg_response_header. `prepared` is used in this call only.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_send_prepared(prg_response *res,
                                   const prg_prepared *prepared);

// Frees a prepared response that no call uses meanwhile. Clients may still receive it. NULL is allowed. Thread: any.
void prg_prepared_free(prg_prepared *prepared);

// The method, for example GET.
//
// Returns a view of `req`, or no bytes if `req` is NULL. Thread: that of the callback.
prg_bytes prg_request_method(const prg_request *req);

// The path without the query, as it was sent: percent-encoded.
//
// Returns a view of `req`, or no bytes if `req` is NULL. Thread: that of the callback.
prg_bytes prg_request_path(const prg_request *req);

// The target: the path and the query, as they were sent.
//
// Returns a view of `req`, or no bytes if `req` is NULL. Thread: that of the callback.
prg_bytes prg_request_target(const prg_request *req);

// The query without its question mark, as it was sent.
//
// Returns a view of `req`; its pointer is NULL if there is no query. Thread: that of the callback.
prg_bytes prg_request_query_string(const prg_request *req);

// The body, if it was read into memory: by default, and with prg_plan_buffer.
//
// Returns a view of `req`, which may have no bytes. Thread: that of the callback.
prg_bytes prg_request_body(const prg_request *req);

// The host of the request, without its port.
//
// Returns a view of `req`; its pointer is NULL if there is none. Thread: that of the callback.
prg_bytes prg_request_host(const prg_request *req);

// The value of a header field, if it is UTF-8 and the field came once. Upper and lower case of the name do not matter.
//
// Returns a view of `req`; its pointer is NULL if there is no such field. Thread: that of the callback.
prg_bytes prg_request_header(const prg_request *req, const char *name, size_t name_len);

// The value of a cookie, as it was sent.
//
// Returns a view of `req`; its pointer is NULL if there is no such cookie. Thread: that of the callback.
prg_bytes prg_request_cookie(const prg_request *req, const char *name, size_t name_len);

// The value of a field of the trailer section. It is there in prg_sink.finish and for bodies that were read.
//
// Returns a view of `req`; its pointer is NULL if there is no such field. Thread: that of the callback.
prg_bytes prg_request_trailer(const prg_request *req, const char *name, size_t name_len);

// The number of header fields, with repeated ones. 0 if `req` is NULL. Thread: that of the callback.
size_t prg_request_header_count(const prg_request *req);

// A header field by its number, in the order in which they came. `name` and `value` get views of `req`.
//
// Errors: PRG_NOT_FOUND if `index` is too large, PRG_ARGUMENT for NULL. Thread: that of the callback.
int32_t prg_request_header_at(const prg_request *req, size_t index, prg_bytes *name, prg_bytes *value);

// Copies the decoded value of a query parameter into `buf`, with a NUL, as far as `room` bytes allow.
//
// Returns the length of the whole value without NUL, which may be larger than `room`. Errors: PRG_NOT_FOUND, PRG_ARGUMENT.
// Thread: that of the callback.
int64_t prg_request_query(const prg_request *req,
                          const char *name,
                          size_t name_len,
                          char *buf,
                          size_t room);

// Copies the address of the client into `buf`, for example 127.0.0.1:4711, with a NUL, as far as `room` bytes allow.
//
// Returns the length of the whole text without NUL. Errors: PRG_NOT_FOUND over a Unix socket, PRG_ARGUMENT. Thread: that of the callback.
int64_t prg_request_client(const prg_request *req,
                           char *buf,
                           size_t room);

// 1 if the request came over TLS, to this server or to a trusted proxy; 0 if not, or if `req` is NULL. Thread: that of the callback.
int32_t prg_request_is_secure(const prg_request *req);

// The version of HTTP: 10, 11 or 20. PRG_ARGUMENT if `req` is NULL. Thread: that of the callback.
int32_t prg_request_version(const prg_request *req);

// Sends a whole response, as prg_response_send does. Frees `responder` in any case.
//
// Errors: PRG_GONE if the client has left, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_responder_send(prg_responder *responder,
                           uint16_t status,
                           const char *content_type,
                           size_t content_type_len,
                           const char *body,
                           size_t body_len);

// Lets `fill` give the response with all functions of prg_response. `fill` runs at once on this thread, unless the client has
// left. Frees `responder` in any case.
//
// Errors: PRG_GONE if the client has left, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_responder_fill(prg_responder *responder,
                           prg_fill fill,
                           void *user);

// 1 if the client has left, and the work for its response can end; 0 if not.
//
// Thread: any, and not two calls at once with the same handle.
int32_t prg_responder_is_gone(const prg_responder *responder);

// Frees a responder that was not used: the client gets 500. NULL is allowed. Thread: any.
void prg_responder_free(prg_responder *responder);

// Sets the status, 200 to 599. Default: 200.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_status(prg_response *res, uint16_t status);

// Adds a header field. Name and value are copied. Fields of framing (Content-Length, Transfer-Encoding, Connection) are the library's.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_header(prg_response *res,
                            const char *name,
                            size_t name_len,
                            const char *value,
                            size_t value_len);

// Makes this the last response of its connection.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_close(prg_response *res);

// Sets how long a response that comes later may take, in milliseconds, in place of the limit of the server.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_timeout(prg_response *res, uint64_t millis);

// Gives the response with this body. The bytes are copied.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_body(prg_response *res, const char *body, size_t body_len);

// Gives a whole response in one call: status, Content-Type (none if its length is 0) and body. The bytes are copied.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_send(prg_response *res,
                          uint16_t status,
                          const char *content_type,
                          size_t content_type_len,
                          const char *body,
                          size_t body_len);

// Redirects to `location`, with status 301, 302, 303, 307 or 308.
//
// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_redirect(prg_response *res, uint16_t status, const char *location, size_t location_len);

// Gives the response later: the responder sends it, from any thread. Status and fields that were set are kept.
//
// `*out` is owned by the caller: it ends with prg_responder_send, prg_responder_fill or prg_responder_free.
// Errors: PRG_STATE, PRG_ARGUMENT; `*out` is not changed then. Thread: that of the callback.
int32_t prg_response_defer(prg_response *res, prg_responder **out);

// Gives the response with a body in pieces. `length` is its length in bytes, or -1 if it is not known.
//
// `*out` is owned by the caller: it ends with prg_body_finish or prg_body_free.
// Errors: PRG_STATE, PRG_ARGUMENT; `*out` is not changed then. Thread: that of the callback.
int32_t prg_response_stream(prg_response *res, int64_t length, prg_body **out);

// Gives the response as a stream of server-sent events.
//
// `*out` is owned by the caller: it ends with prg_events_finish, prg_events_free or prg_event_hub_subscribe.
// Errors: PRG_STATE, PRG_ARGUMENT; `*out` is not changed then. Thread: that of the callback.
int32_t prg_response_events(prg_response *res, prg_events **out);

// The port of the first TCP address, with or without TLS. Errors: PRG_NOT_FOUND, PRG_ARGUMENT. Thread: any.
int32_t prg_running_port(const prg_running *running);

// Copies the address with this number, in the order of the bind calls, into `buf`, with a NUL, as far as `room` bytes allow. For example
// http://127.0.0.1:8080 or https://[::1]:8443.
//
// Returns the length of the whole text without NUL. Errors: PRG_NOT_FOUND, PRG_ARGUMENT. Thread: any.
int64_t prg_running_addr(const prg_running *running,
                         size_t index,
                         char *buf,
                         size_t room);

// Begins to stop and returns at once. Requests that have come are responded to. Errors: PRG_ARGUMENT. Thread: any, but use a prg_stopper
// while another thread may be in prg_running_wait or prg_running_free.
int32_t prg_running_stop(const prg_running *running);

// Says that the server is not ready, serves on for drain_delay_millis, and stops then. Returns at once. Errors: PRG_ARGUMENT. Thread: as
// prg_running_stop.
int32_t prg_running_drain(const prg_running *running);

// Makes a stopper. `*out` is owned by the caller: it ends with prg_stopper_free. Errors: PRG_ARGUMENT. Thread: as prg_running_stop.
int32_t prg_running_stopper(const prg_running *running,
                            prg_stopper **out);

// Reads the counters. `out->size` must be set. Errors: PRG_ARGUMENT. Thread: as prg_running_stop.
int32_t prg_running_stats(const prg_running *running, prg_stats *out);

// Copies all counters and times in the text format of Prometheus into `buf`, with a NUL, as far as `room` bytes allow.
//
// Returns the length of the whole text without NUL. Errors: PRG_ARGUMENT. Thread: as prg_running_stop.
int64_t prg_running_prometheus(const prg_running *running, char *buf, size_t room);

// Blocks until the server has stopped: by a stopper, by prg_running_stop before, or by a signal. Frees `running`, unless it returns
// PRG_WOULD_BLOCK or PRG_ARGUMENT. `out` may be NULL; otherwise `out->size` must be set.
//
// Errors: PRG_WOULD_BLOCK on a thread of a server, which would wait for itself, PRG_ARGUMENT: `running` is still to be freed. PRG_IO if
// a thread of the server failed. Thread: any that is not one of a server.
int32_t prg_running_wait(prg_running *running,
                         prg_stopped *out);

// Stops the server, waits until it has stopped, and frees it. On a thread of a server it does not wait: another thread does. NULL is
// allowed. Thread: any.
void prg_running_free(prg_running *running);

// Begins to stop and returns at once. Errors: PRG_ARGUMENT. Thread: any, several at once.
int32_t prg_stopper_stop(const prg_stopper *stopper);

// As prg_running_drain. Errors: PRG_ARGUMENT. Thread: any, several at once.
int32_t prg_stopper_drain(const prg_stopper *stopper);

// Stops at once: open connections are aborted. Errors: PRG_ARGUMENT. Thread: any, several at once.
int32_t prg_stopper_stop_now(const prg_stopper *stopper);

// Frees a stopper. The server is not changed. NULL is allowed. Thread: any, when no other call uses it.
void prg_stopper_free(prg_stopper *stopper);

// Makes a server. The struct is copied.
//
// `*out` is owned by the caller: it ends with prg_server_free. handler.drop is called when neither the server nor what was started
// with it needs `user` any more. Errors: PRG_ARGUMENT (`request` is missing, too), PRG_UNSUPPORTED; handler.drop is not called then.
// Thread: any.
int32_t prg_server_new(const prg_handler *handler,
                       prg_server **out);

// Applies settings. The struct is copied. Errors: PRG_STATE after the start, PRG_ARGUMENT, PRG_UNSUPPORTED. Thread: any, one at a time.
int32_t prg_server_configure(prg_server *server,
                             const prg_config *config);

// Adds an address, for example 127.0.0.1:8080. Port 0 takes any free one.
//
// Errors: PRG_STATE after the start, PRG_ARGUMENT. What is wrong with the address is an error of prg_server_start. Thread: any, one at a
// time.
int32_t prg_server_bind(prg_server *server,
                        const char *addr,
                        size_t addr_len);

// Adds a Unix socket. Errors: PRG_STATE after the start, PRG_ARGUMENT; PRG_UNSUPPORTED of prg_server_start on other systems. Thread: any, one at
// a time.
int32_t prg_server_bind_unix(prg_server *server,
                             const char *path,
                             size_t path_len);

// Adds an address with TLS 1.3. `certificates` and `key` are paths of files in PEM.
//
// Errors: PRG_IO with a message, PRG_UNSUPPORTED if the library was built without it, PRG_STATE after the start, PRG_ARGUMENT.
// Thread: any, one at a time.
int32_t prg_server_bind_tls(prg_server *server,
                            const char *addr,
                            size_t addr_len,
                            const char *certificates,
                            size_t certificates_len,
                            const char *key,
                            size_t key_len);

// Connects a hub to the WebSockets of this server. Both keep their own handle. Errors: PRG_STATE after the start, PRG_ARGUMENT. Thread: any,
// one at a time.
int32_t prg_server_hub(prg_server *server,
                       const prg_hub *hub);

// Lets SIGTERM drain and SIGINT stop the server, of the whole process. Errors: PRG_STATE after the start, PRG_ARGUMENT. Thread: any, one at a
// time.
int32_t prg_server_stop_on_signals(prg_server *server);

// Starts the server, and returns when it listens. It can be started once, also if that fails. The threads of the server block SIGPIPE;
// programs that are executed in a callback inherit this.
//
// `*out` is owned by the caller: it ends with prg_running_wait or prg_running_free. `server` is still to be freed. Errors: PRG_IO with a
// message (prg_server_message), PRG_STATE, PRG_ARGUMENT. Thread: any, one at a time.
int32_t prg_server_start(prg_server *server,
                         prg_running **out);

// Copies the message of the last call that returned PRG_IO into `buf`, with a NUL, as far as `room` bytes allow.
//
// Returns the length of the whole text without NUL. Errors: PRG_ARGUMENT. Thread: any, one at a time.
int64_t prg_server_message(const prg_server *server, char *buf, size_t room);

// Frees a server. What was started with it goes on. NULL is allowed. Thread: any.
void prg_server_free(prg_server *server);

// Makes timers that call on the threads of this server, one after the other. `*out` is owned by the caller: it ends with
// prg_timers_free. Errors: PRG_ARGUMENT. Thread: any.
int32_t prg_running_timers(const prg_running *running,
                           prg_timers **out);

// Makes timers that call on the thread of this request. `*out` is owned by the caller: it ends with prg_timers_free. Errors: PRG_STATE,
// PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_response_timers(const prg_response *res,
                            prg_timers **out);

// Calls `call` after `millis`, and again after each further `millis` while it returns 1. At least 1 ms passes between two calls; those that a busy thread has missed are omitted.
//
// `drop` may be NULL. It is called exactly once with `user`, after the last call, or at once if this function returns an error; on any
// thread. `*out` is owned by the caller: it ends with prg_timer_cancel or prg_timer_free. `out` may be NULL. Errors: PRG_LIMIT if
// 65,536 calls of a thread wait, PRG_GONE after the end of the server, PRG_ARGUMENT. Thread: any.
int32_t prg_timers_call(const prg_timers *timers,
                        uint64_t millis,
                        prg_tick call,
                        void *user,
                        void (*drop)(void *user),
                        prg_timer **out);

// Frees timers. The calls that are to come stay. NULL is allowed. Thread: any, when no other call uses it.
void prg_timers_free(prg_timers *timers);

// Ends the calls: none begins after this, and one that runs goes on. Frees `timer`. NULL is allowed. Thread: any, also in the call itself.
void prg_timer_cancel(prg_timer *timer);

// Frees a timer. Its calls go on. NULL is allowed. Thread: any.
void prg_timer_free(prg_timer *timer);

// Adds a header field to the response 101. Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_upgrade_header(prg_upgrade *upgrade,
                           const char *name,
                           size_t name_len,
                           const char *value,
                           size_t value_len);

// Chooses a subprotocol that the client offers. Errors: PRG_NOT_FOUND if it does not, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_upgrade_protocol(prg_upgrade *upgrade,
                             const char *name,
                             size_t name_len);

// Refuses the handshake with this status and text; prg_handler.ws_accept returns 0 then. A prg_ws_responder has no effect any more.
//
// Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_upgrade_refuse(prg_upgrade *upgrade,
                           uint16_t status,
                           const char *reason,
                           size_t reason_len);

// The state that prg_handler.ws_accept has set. NULL if `ws` is NULL. Thread: that of the callback.
void *prg_ws_state(const prg_ws *ws);

// The id of the connection, for prg_hub_send. It never belongs to another connection of this server, and may be 0. 0
// if `ws` is NULL. Thread: that of the callback.
uint64_t prg_ws_id(const prg_ws *ws);

// Sends a message. If `is_text` is not 0, it must be UTF-8. The bytes are copied.
//
// Errors: PRG_FULL if the client has too many unsent bytes, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_send(prg_ws *ws, const char *data, size_t len, int32_t is_text);

// Subscribes to a topic. Errors: PRG_LIMIT, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_subscribe(prg_ws *ws, const char *topic, size_t topic_len);

// Ends a subscription. Errors: PRG_NOT_FOUND if there was none, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_unsubscribe(prg_ws *ws, const char *topic, size_t topic_len);

// Publishes a message to the subscribers of a topic, in all threads. If `to_self` is 0, this connection does not get it.
//
// Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_publish(prg_ws *ws,
                       const char *topic,
                       size_t topic_len,
                       const char *data,
                       size_t len,
                       int32_t is_text,
                       int32_t to_self);

// Sends a ping with up to 125 bytes. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_ping(prg_ws *ws, const char *data, size_t len);

// Begins the close handshake, with a code and a reason of up to 123 bytes. Errors: PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_close(prg_ws *ws,
                     uint16_t code,
                     const char *reason,
                     size_t reason_len);

// Reads nothing more from this client, until prg_ws_resume or prg_hub_resume, for 300 s at most: then the connection is closed with
// 1013. The client soon cannot send more. Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_pause(prg_ws *ws);

// Reads again from this client. Errors: PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_ws_resume(prg_ws *ws);

// Bytes of messages that the client has not taken yet. Thread: that of the callback.
size_t prg_ws_backlog(const prg_ws *ws);

// Makes a hub for prg_server_hub. The caller owns it: it ends with prg_hub_free. NULL only if the library panicked. Thread: any.
prg_hub *prg_hub_new(void);

// Publishes a message to the subscribers of a topic. The bytes are copied.
//
// Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
int32_t prg_hub_publish(const prg_hub *hub,
                        const char *topic,
                        size_t topic_len,
                        const char *data,
                        size_t len,
                        int32_t is_text);

// Sends a message to all connections. The bytes are copied. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
int32_t prg_hub_broadcast(const prg_hub *hub, const char *data, size_t len, int32_t is_text);

// Sends a message to the connection with this id. The bytes are copied. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
int32_t prg_hub_send(const prg_hub *hub,
                     uint64_t id,
                     const char *data,
                     size_t len,
                     int32_t is_text);

// Begins the close handshake of the connection with this id. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
int32_t prg_hub_close(const prg_hub *hub, uint64_t id, uint16_t code, const char *reason, size_t reason_len);

// As prg_ws_pause, for the connection with this id. Messages that its thread has read already still come. Errors: PRG_GONE,
// PRG_ARGUMENT. Thread: any.
int32_t prg_hub_pause(const prg_hub *hub,
                      uint64_t id);

// As prg_ws_resume, for the connection with this id. Errors: PRG_GONE, PRG_ARGUMENT. Thread: any.
int32_t prg_hub_resume(const prg_hub *hub, uint64_t id);

// The number of connections. Thread: any.
size_t prg_hub_connections(const prg_hub *hub);

// Frees a hub. The connections stay. NULL is allowed. Thread: any, when no other call uses it.
void prg_hub_free(prg_hub *hub);

// Leaves the decision to any thread, while the server goes on. prg_handler.ws_accept returns 1 as ever, after which `*state`
// belongs to the connection, which opens if the program accepts it; in all other cases prg_handler.ws_drop is called.
//
// The client waits for the time of prg_config.response_timeout_millis, and gets 503 then. `*out` is owned by the caller: it ends with
// prg_ws_responder_accept, prg_ws_responder_respond or prg_ws_responder_free. Errors: PRG_STATE after the first call,
// PRG_ARGUMENT. Thread: that of the callback.
int32_t prg_upgrade_defer(prg_upgrade *upgrade,
                          prg_ws_responder **out);

// Adds a header field to the response 101. Errors: PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_ws_responder_header(prg_ws_responder *responder,
                                const char *name,
                                size_t name_len,
                                const char *value,
                                size_t value_len);

// Chooses a subprotocol that the client offers. Errors: PRG_NOT_FOUND if it does not, PRG_ARGUMENT. Thread: any, and not two calls
// at once with the same handle.
int32_t prg_ws_responder_protocol(prg_ws_responder *responder,
                                  const char *name,
                                  size_t name_len);

// Accepts the connection: prg_handler.ws_open is next. Frees `responder` in any case. Errors: PRG_GONE if the client has left,
// PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_ws_responder_accept(prg_ws_responder *responder);

// Refuses the connection: `fill` gives the response with all functions of prg_response. It runs at once on this thread, unless the
// client has left. Frees `responder` in any case.
//
// Errors: PRG_GONE if the client has left, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
int32_t prg_ws_responder_respond(prg_ws_responder *responder,
                                 prg_fill fill,
                                 void *user);

// 1 if the client has left, and the work for the decision can end; 0 if not.
//
// Thread: any, and not two calls at once with the same handle.
int32_t prg_ws_responder_is_gone(const prg_ws_responder *responder);

// Frees a responder that was not used: the client gets 500. NULL is allowed. Thread: any.
void prg_ws_responder_free(prg_ws_responder *responder);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PEREGRINE_H */

/* 1 if a view has these bytes, 0 if not, or if it is missing. */
static inline int prg_is(prg_bytes view, const char *text, size_t len) {
  return view.len == len && (len == 0 ? view.ptr != NULL : memcmp(view.ptr, text, len) == 0);
}
