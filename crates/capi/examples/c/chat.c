/* A chat: what one client says, all others hear. The server says how many there are.
 *
 *     ./chat --port 8080, then connect WebSockets to ws://localhost:8080/room?name=ada
 */
#include "common.h"

typedef struct {
    char name[32];
} guest;

static void request(void *user, const prg_request *req, prg_response *res) {
    (void)user;
    (void)req;
    prg_response_send(res, 404, PRG_TEXT("text/plain"), PRG_TEXT("connect a WebSocket to /room?name=...\n"));
}

static int32_t accept_guest(void *user, const prg_request *req, prg_upgrade *upgrade, void **state) {
    guest *g;
    int64_t len;
    (void)user;
    if (!prg_is(prg_request_path(req), PRG_TEXT("/room")))
        return 0;
    g = calloc(1, sizeof *g);
    len = g ? prg_request_query(req, PRG_TEXT("name"), g->name, sizeof g->name) : PRG_ARGUMENT;
    if (len <= 0 || (size_t)len >= sizeof g->name) {
        free(g);
        prg_upgrade_refuse(upgrade, 400, PRG_TEXT("a name of up to 31 bytes, please\n"));
        return 0;
    }
    *state = g;
    return 1;
}

static void say(prg_ws *ws, const char *verb, const char *text, size_t len) {
    guest *g = prg_ws_state(ws);
    char message[1100];
    int n = snprintf(message, sizeof message, "%s %s%.*s", g->name, verb, (int)(len > 1024 ? 1024 : len), text);
    /* A text must be UTF-8: a long one that is divided within a character is not sent. */
    prg_ws_publish(ws, PRG_TEXT("room"), message, (size_t)n, 1, 0);
}

static void opened(void *user, prg_ws *ws) {
    (void)user;
    prg_ws_subscribe(ws, PRG_TEXT("room"));
    say(ws, "has come", "", 0);
}

static void message(void *user, prg_ws *ws, const char *data, size_t len, int32_t is_text) {
    char count[64];
    int n;
    if (is_text && len == 6 && memcmp(data, "count?", 6) == 0) {
        n = snprintf(count, sizeof count, "%lu", (unsigned long)prg_hub_connections(user));
        prg_ws_send(ws, count, (size_t)n, 1);
    } else if (is_text) {
        say(ws, "says ", data, len);
    } else {
        prg_ws_close(ws, 1003, PRG_TEXT("texts only"));
    }
}

static void closed(void *user, prg_ws *ws, uint16_t code, const char *why, size_t why_len) {
    (void)user;
    (void)code;
    (void)why;
    (void)why_len;
    say(ws, "has left", "", 0);
}

int main(int argc, char **argv) {
    prg_hub *hub = prg_hub_new();
    prg_handler handler = {0};
    int result;
    handler.size = sizeof handler;
    handler.user = hub;
    handler.request = request;
    handler.ws_accept = accept_guest;
    handler.ws_open = opened;
    handler.ws_message = message;
    handler.ws_close = closed;
    handler.ws_drop = free;
    result = serve(&handler, hub, argc, argv);
    prg_hub_free(hub);
    return result;
}
