/* A greeting, an echo, and a 404.
 *
 *     make -C crates/capi && ./hello --port 8080
 *     curl localhost:8080; curl -d text localhost:8080/echo
 */
#include "common.h"

static void request(void *user, const prg_request *req, prg_response *res) {
    const prg_prepared *greeting = user;
    prg_bytes method = req->method, path = req->path, body;
    if (prg_is(path, PRG_TEXT("/")) && (prg_is(method, PRG_TEXT("GET")) || prg_is(method, PRG_TEXT("HEAD")))) {
        prg_response_send_prepared(res, greeting);
    } else if (prg_is(path, PRG_TEXT("/echo")) && prg_is(method, PRG_TEXT("POST"))) {
        body = prg_request_body(req);
        prg_response_body(res, body.ptr, body.len);
    } else if (prg_is(path, PRG_TEXT("/")) || prg_is(path, PRG_TEXT("/echo"))) {
        prg_response_header(res, PRG_TEXT("Allow"), PRG_TEXT("GET, HEAD, POST"));
        prg_response_send(res, 405, PRG_TEXT("text/plain"), PRG_TEXT("not allowed\n"));
    } else {
        prg_response_send(res, 404, PRG_TEXT("text/plain"), PRG_TEXT("nothing here\n"));
    }
}

int main(int argc, char **argv) {
    prg_handler handler = {0};
    prg_prepared *greeting;
    int status;
    /* It is the same for all requests. */
    must(prg_prepared_new(200, PRG_TEXT("text/plain"), PRG_TEXT("Hello, World!"), &greeting), "a greeting");
    handler.size = sizeof handler;
    handler.request = request;
    handler.user = greeting;
    status = serve(&handler, NULL, argc, argv);
    prg_prepared_free(greeting);
    return status;
}
