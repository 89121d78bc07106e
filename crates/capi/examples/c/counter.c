/* A batch: requests are kept until the end of a turn, and all of them are answered together, with one number for the turn.
 *
 *     ./counter --port 8080 & curl localhost:8080
 */
#include "common.h"

/* More than one turn can have. What does not fit is answered at once. */
#define MOST 64

/* The responders of the turn of one thread. */
typedef struct {
    prg_responder *waiting[MOST];
    size_t count;
    unsigned long turns, requests;
} turn;

/* With one worker, one thread calls all functions. */
static void request(void *user, const prg_request *req, prg_response *res) {
    turn *t = user;
    (void)req;
    t->requests++;
    if (t->count == MOST || prg_response_defer(res, &t->waiting[t->count]) != PRG_OK) {
        prg_response_send(res, 503, PRG_TEXT("text/plain"), PRG_TEXT("too many in one turn\n"));
        return;
    }
    t->count++;
}

static void before_wait(void *user) {
    turn *t = user;
    char text[64];
    size_t i;
    int len;
    if (t->count == 0)
        return;
    t->turns++;
    len = snprintf(text, sizeof text, "request %lu, turn %lu, with %lu others\n", t->requests, t->turns,
                   (unsigned long)(t->count - 1));
    for (i = 0; i < t->count; i++)
        /* PRG_GONE: the client has left. The responder is freed in any case. */
        prg_responder_send(t->waiting[i], 200, PRG_TEXT("text/plain"), text, (size_t)len);
    t->count = 0;
}

/* The last call: what is kept is freed. */
static void drop(void *user) {
    turn *t = user;
    while (t->count > 0)
        prg_responder_free(t->waiting[--t->count]);
    free(t);
}

int main(int argc, char **argv) {
    prg_handler handler = {0};
    char *one[] = {argv[0], "--workers", "1", "--port", argc > 2 ? argv[2] : "8080"};
    handler.size = sizeof handler;
    handler.user = calloc(1, sizeof(turn));
    handler.drop = drop;
    handler.request = request;
    handler.before_wait = before_wait;
    return serve(&handler, NULL, 5, one);
}
