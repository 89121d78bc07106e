// A greeting, an echo, a WebSocket and a handler that throws, in Node.js: peregrine through koffi. The callbacks of the server run on the thread of
// JavaScript, one after the other; the thread of the server waits for each.
//
//     npm install && PEREGRINE=../../build/libperegrine_c.so node hello.js 8080
const koffi = require('koffi');

const lib = koffi.load(process.env.PEREGRINE || 'libperegrine_c.so');
const Bytes = koffi.struct('prg_bytes', { ptr: 'void *', len: 'size_t' });
koffi.proto('void on_request(void *user, const void *req, void *res)');
koffi.proto('int on_ws_accept(void *user, const void *req, void *upgrade, void *state)');
koffi.proto('void on_ws_message(void *user, void *ws, const void *data, size_t len, int is_text)');
// In the order of the header.
const handlerType = { size: 'size_t', user: 'void *', drop: 'void *', request: koffi.pointer('on_request') };
for (const name of ['body_plan', 'error', 'before_wait', 'after_wait']) handlerType[name] = 'void *';
Object.assign(handlerType, { ws_accept: koffi.pointer('on_ws_accept'), ws_open: 'void *', ws_message: koffi.pointer('on_ws_message') });
for (const name of ['ws_drain', 'ws_close', 'ws_drop']) handlerType[name] = 'void *';
const Handler = koffi.struct('prg_handler', handlerType);

const path = lib.func('prg_bytes prg_request_path(const void *req)');
const body = lib.func('prg_bytes prg_request_body(const void *req)');
const send = lib.func('int prg_response_send(void *res, uint16_t status, const char *type, size_t type_len, const void *body, size_t body_len)');
const wsSend = lib.func('int prg_ws_send(void *ws, const void *data, size_t len, int is_text)');
const wsClose = lib.func('int prg_ws_close(void *ws, uint16_t code, const char *reason, size_t reason_len)');
const serverNew = lib.func('int prg_server_new(const prg_handler *handler, _Out_ void **out)');
const bind = lib.func('int prg_server_bind(void *server, const char *addr, size_t len)');
const start = lib.func('int prg_server_start(void *server, _Out_ void **out)');
const port = lib.func('int prg_running_port(void *running)');
const stop = lib.func('int prg_running_stop(void *running)');
const wait = lib.func('int prg_running_wait(void *running, void *stopped)');
const serverFree = lib.func('void prg_server_free(void *server)');

// A copy: a view ends with its callback.
const bytes = (ptr, len) => (ptr && len ? Buffer.from(koffi.decode(ptr, koffi.array('uint8_t', Number(len), 'Typed'))) : Buffer.alloc(0));
const copy = (view) => bytes(view.ptr, view.len);

const reply = (res, status, type, bytes) => send(res, status, type, type.length, bytes, bytes.length);

// No exception may leave a callback. Without a response the client gets 500.
const request = koffi.register((user, req, res) => {
  try {
    switch (copy(path(req)).toString()) {
      case '/': return void reply(res, 200, 'text/plain', Buffer.from('Hello, World!'));
      case '/echo': return void reply(res, 200, '', copy(body(req)));
      case '/throw': throw new Error('as asked');
      default: return void reply(res, 404, 'text/plain', Buffer.from('nothing here\n'));
    }
  } catch (error) {
    console.error('a handler failed:', error.message);
  }
}, koffi.pointer('on_request'));

const wsAccept = koffi.register((user, req) => (copy(path(req)).toString() === '/ws' ? 1 : 0), koffi.pointer('on_ws_accept'));

const wsMessage = koffi.register((user, ws, data, len, isText) => {
  try {
    const message = bytes(data, len);
    if (message.toString() === 'throw') throw new Error('as asked');
    wsSend(ws, message, message.length, isText);
  } catch (error) {
    console.error('a message failed:', error.message);
    wsClose(ws, 1011, '', 0);
  }
}, koffi.pointer('on_ws_message'));

const must = (code, what) => {
  if (code !== 0) throw new Error(`${what}: code ${code}`);
};

const handler = Object.fromEntries(Object.keys(handlerType).map((name) => [name, null]));
Object.assign(handler, { size: koffi.sizeof(Handler), request, ws_accept: wsAccept, ws_message: wsMessage });
const out = [null];
must(serverNew(handler, out), 'a server');
const server = out[0];
const addr = `127.0.0.1:${process.argv[2] || 8080}`;
must(bind(server, addr, addr.length), 'an address');
must(start(server, out), 'the start');
const running = out[0];
serverFree(server);
console.log(`listening on http://127.0.0.1:${port(running)}`);
const alive = setInterval(() => {}, 1 << 30);
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stop(running);
    // Beside the thread of JavaScript, which callbacks may still need.
    wait.async(running, null, (error) => {
      clearInterval(alive);
      console.log(error ? String(error) : 'stopped');
    });
  });
}
