/* What the examples share: --port, a server on it, and a stop by signals. */
#ifndef COMMON_H
#define COMMON_H

#include "peregrine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with a message if a call has failed. */
static void must(int32_t code, const char *what) {
    if (code != PRG_OK) {
        fprintf(stderr, "%s: %s\n", what, prg_code_text(code));
        exit(1);
    }
}

/* Serves until SIGINT or SIGTERM. `hub` may be NULL. */
static int serve(const prg_handler *handler, const prg_hub *hub, int argc, char **argv) {
    char address[64] = "127.0.0.1:8080", message[256];
    prg_server *server;
    prg_running *running;
    prg_config config = {0};
    prg_stopped stopped = {0};
    int i;
    config.size = sizeof config;
    stopped.size = sizeof stopped;
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            snprintf(address, sizeof address, "127.0.0.1:%s", argv[i + 1]);
        else if (strcmp(argv[i], "--workers") == 0)
            config.workers = (size_t)atoi(argv[i + 1]);
    }
    if (prg_abi_version() != PRG_ABI_VERSION) {
        fprintf(stderr, "the library has another version\n");
        return 1;
    }
    must(prg_server_new(handler, &server), "a server");
    must(prg_server_configure(server, &config), "settings");
    must(prg_server_bind(server, address, strlen(address)), "an address");
    must(prg_server_stop_on_signals(server), "signals");
    if (hub)
        must(prg_server_hub(server, hub), "a hub");
    if (prg_server_start(server, &running) != PRG_OK) {
        prg_server_message(server, message, sizeof message);
        fprintf(stderr, "%s\n", message);
        prg_server_free(server);
        return 1;
    }
    prg_server_free(server);
    prg_running_addr(running, 0, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);
    must(prg_running_wait(running, &stopped), "the end");
    printf("stopped: %llu connections were aborted\n", (unsigned long long)stopped.aborted);
    return 0;
}

#endif
