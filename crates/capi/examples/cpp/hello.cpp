// A greeting, an echo, a WebSocket echo, and handlers that throw.
//
//     ./hello-cpp 8080
#include "peregrine.hpp"
#include <csignal>
#include <iostream>

int main(int argc, char **argv) {
    // They are waited for below, and not by the threads of the server.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    peregrine::Handler app;
    app.request = [](const peregrine::Request &req, peregrine::Response &res) {
        if (req.path() == "/")
            res.send(200, "text/plain", "Hello, World!");
        else if (req.path() == "/echo")
            res.body(req.body());
        else if (req.path() == "/throw")
            throw std::runtime_error("as asked");
        else if (req.path() == "/throw-number")
            throw 7;
        else
            res.send(404, "text/plain", "nothing here\n");
    };
    app.accept = [](const peregrine::Request &req) { return req.path() == "/ws"; };
    app.message = [](peregrine::Socket &ws, std::string_view data, bool is_text) {
        if (data == "throw")
            throw std::runtime_error("as asked");
        ws.send(data, is_text);
    };
    app.failed = [](const char *what) { std::cerr << "a handler failed: " << what << std::endl; };
    try {
        peregrine::Server server(app, std::string("127.0.0.1:") + (argc > 1 ? argv[1] : "8080"));
        std::cout << "listening on http://127.0.0.1:" << server.port() << std::endl;
        int signal = 0;
        sigwait(&signals, &signal);
    } catch (const std::exception &error) {
        std::cerr << error.what() << std::endl;
        return 1;
    }
    std::cout << "stopped" << std::endl;
}
