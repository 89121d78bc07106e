// peregrine for C++17: the handles of peregrine.h with destructors, and handlers that may throw.
//
// An exception that leaves a handler becomes a 500; it never reaches the library. Handlers are called on several threads
// at once. A Request, a Response and a Socket are valid until the handler returns that got them.
#ifndef PEREGRINE_HPP
#define PEREGRINE_HPP

#include "peregrine.h"
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace peregrine {

// A function has returned a code.
class Error : public std::runtime_error {
public:
    explicit Error(std::int32_t code) : std::runtime_error(prg_code_text(code)), code(code) {}
    Error(std::int32_t code, const std::string &text) : std::runtime_error(text), code(code) {}
    const std::int32_t code;
};

inline void check(std::int32_t code) {
    if (code != PRG_OK)
        throw Error(code);
}

inline std::string_view view(prg_bytes bytes) {
    return bytes.ptr == nullptr ? std::string_view() : std::string_view(bytes.ptr, bytes.len);
}

template <typename T, void (*Free)(T *)> struct Freed {
    void operator()(T *handle) const noexcept { Free(handle); }
};

class Request {
public:
    explicit Request(const prg_request *req) : req_(req) {}
    std::string_view method() const { return view(prg_request_method(req_)); }
    std::string_view path() const { return view(prg_request_path(req_)); }
    std::string_view body() const { return view(prg_request_body(req_)); }
    // Empty if there is no such field.
    std::string_view header(std::string_view name) const { return view(prg_request_header(req_, name.data(), name.size())); }
    // The decoded value; empty if there is none.
    std::string query(std::string_view name) const {
        const std::int64_t len = prg_request_query(req_, name.data(), name.size(), nullptr, 0);
        if (len <= 0)
            return {};
        std::string value(static_cast<std::size_t>(len) + 1, '\0');
        prg_request_query(req_, name.data(), name.size(), &value[0], value.size());
        value.pop_back();
        return value;
    }
    const prg_request *get() const { return req_; }

private:
    const prg_request *req_;
};

// Sends a response later, from any thread. Without a response the client gets 500.
class Responder {
public:
    explicit Responder(prg_responder *responder) : responder_(responder) {}
    // False if the client has left.
    bool send(std::uint16_t status, std::string_view type, std::string_view body) {
        if (!responder_)
            throw Error(PRG_STATE);
        const auto code = prg_responder_send(responder_.release(), status, type.data(), type.size(), body.data(), body.size());
        if (code != PRG_GONE)
            check(code);
        return code == PRG_OK;
    }

private:
    std::unique_ptr<prg_responder, Freed<prg_responder, prg_responder_free>> responder_;
};

// Sends a body in pieces. A body that is destroyed before finish() does not look complete to the client.
class Body {
public:
    explicit Body(prg_body *body) : body_(body) {}
    // Blocks while the client is too slow; not for threads of the server. False if the client has left.
    bool send(std::string_view piece) {
        const auto code = prg_body_send(body_.get(), piece.data(), piece.size());
        if (code != PRG_GONE)
            check(code);
        return code == PRG_OK;
    }
    void finish() {
        const auto code = prg_body_finish(body_.release());
        if (code != PRG_GONE)
            check(code);
    }

private:
    std::unique_ptr<prg_body, Freed<prg_body, prg_body_free>> body_;
};

// A whole response that is sent often, by Response::send. Any threads may send it at once.
class Prepared {
public:
    Prepared(std::uint16_t status, std::string_view type, std::string_view body) {
        prg_prepared *out = nullptr;
        check(prg_prepared_new(status, type.data(), type.size(), body.data(), body.size(), &out));
        prepared_.reset(out);
    }
    const prg_prepared *get() const { return prepared_.get(); }

private:
    std::unique_ptr<prg_prepared, Freed<prg_prepared, prg_prepared_free>> prepared_;
};

class Response {
public:
    explicit Response(prg_response *res) : res_(res) {}
    Response &status(std::uint16_t status) { return check(prg_response_status(res_, status)), *this; }
    Response &header(std::string_view name, std::string_view value) {
        return check(prg_response_header(res_, name.data(), name.size(), value.data(), value.size())), *this;
    }
    void body(std::string_view body) { check(prg_response_body(res_, body.data(), body.size())); }
    void send(std::uint16_t status, std::string_view type, std::string_view body) {
        check(prg_response_send(res_, status, type.data(), type.size(), body.data(), body.size()));
    }
    void send(const Prepared &prepared) { check(prg_response_send_prepared(res_, prepared.get())); }
    Responder defer() {
        prg_responder *out = nullptr;
        check(prg_response_defer(res_, &out));
        return Responder(out);
    }
    Body stream(std::int64_t length = -1) {
        prg_body *out = nullptr;
        check(prg_response_stream(res_, length, &out));
        return Body(out);
    }
    prg_response *get() const { return res_; }

private:
    prg_response *res_;
};

class Socket {
public:
    explicit Socket(prg_ws *ws) : ws_(ws) {}
    std::uint64_t id() const { return prg_ws_id(ws_); }
    // False if the client is too slow or has left.
    bool send(std::string_view data, bool is_text = true) { return prg_ws_send(ws_, data.data(), data.size(), is_text) == PRG_OK; }
    void subscribe(std::string_view topic) { check(prg_ws_subscribe(ws_, topic.data(), topic.size())); }
    void publish(std::string_view topic, std::string_view data, bool is_text = true) {
        prg_ws_publish(ws_, topic.data(), topic.size(), data.data(), data.size(), is_text, 1);
    }
    void close(std::uint16_t code, std::string_view why) { prg_ws_close(ws_, code, why.data(), why.size()); }

private:
    prg_ws *ws_;
};

struct Handler {
    std::function<void(const Request &, Response &)> request;
    // Accepts a WebSocket. If it is empty, the server has none.
    std::function<bool(const Request &)> accept;
    std::function<void(Socket &)> open;
    std::function<void(Socket &, std::string_view, bool is_text)> message;
    std::function<void(const char *what)> failed; // an exception has left one of the others
};

// A server that runs. Its destructor stops it and waits.
class Server {
public:
    Server(Handler handler, const std::string &address, std::size_t workers = 0) {
        auto *own = new Handler(std::move(handler));
        prg_handler table = {};
        table.size = sizeof table;
        table.user = own;
        table.drop = [](void *user) { delete static_cast<Handler *>(user); };
        table.request = [](void *user, const prg_request *req, prg_response *res) {
            Response response(res);
            guarded(user, [&](const Handler &h) { h.request(Request(req), response); });
        };
        if (own->accept)
            table.ws_accept = [](void *user, const prg_request *req, prg_upgrade *, void **) -> std::int32_t {
                bool accepts = false;
                guarded(user, [&](const Handler &h) { accepts = h.accept(Request(req)); });
                return accepts ? 1 : 0;
            };
        if (own->open)
            table.ws_open = [](void *user, prg_ws *ws) { on_socket(user, ws, [](const Handler &h, Socket &s) { h.open(s); }); };
        if (own->message)
            table.ws_message = [](void *user, prg_ws *ws, const char *data, std::size_t len, std::int32_t is_text) {
                on_socket(user, ws, [&](const Handler &h, Socket &s) { h.message(s, std::string_view(data, len), is_text != 0); });
            };
        prg_server *server = nullptr;
        if (const auto code = prg_server_new(&table, &server); code != PRG_OK) {
            delete own;
            throw Error(code);
        }
        std::unique_ptr<prg_server, Freed<prg_server, prg_server_free>> freed(server);
        prg_config config = {};
        config.size = sizeof config;
        config.workers = workers;
        check(prg_server_configure(server, &config));
        check(prg_server_bind(server, address.data(), address.size()));
        prg_running *running = nullptr;
        if (const auto code = prg_server_start(server, &running); code != PRG_OK) {
            char text[256] = "";
            prg_server_message(server, text, sizeof text);
            throw Error(code, text);
        }
        running_.reset(running);
    }
    int port() const { return prg_running_port(running_.get()); }
    void stop() { check(prg_running_stop(running_.get())); }

private:
    template <typename F> static void guarded(void *user, F f) noexcept {
        const auto &handler = *static_cast<Handler *>(user);
        try {
            try {
                f(handler);
            } catch (const std::exception &error) {
                if (handler.failed)
                    handler.failed(error.what());
            }
        } catch (...) { // not an exception of std, or one of `failed`
        }
    }
    // A connection whose handler throws is closed with 1011.
    template <typename F> static void on_socket(void *user, prg_ws *ws, F f) noexcept {
        Socket socket(ws);
        bool done = false;
        guarded(user, [&](const Handler &h) {
            f(h, socket);
            done = true;
        });
        if (!done)
            prg_ws_close(ws, 1011, nullptr, 0);
    }
    std::unique_ptr<prg_running, Freed<prg_running, prg_running_free>> running_;
};

} // namespace peregrine

#endif
