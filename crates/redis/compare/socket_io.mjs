// A node of socket.io with its adapter for Redis, for run.py: node socket_io.mjs PORT REDIS_PORT
import { createServer } from "node:http";
import { Server } from "socket.io";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";

const [port, redisPort] = process.argv.slice(2);
const publish = createClient({ url: `redis://127.0.0.1:${redisPort}` });
const subscribe = publish.duplicate();
await Promise.all([publish.connect(), subscribe.connect()]);
const http = createServer();
// The connection of the publisher is kept, and so are clients that read nothing for a while.
http.keepAliveTimeout = 0;
// Without compression and without other transports: the fastest settings.
const io = new Server(http, {
  adapter: createAdapter(publish, subscribe),
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  pingInterval: 600_000,
});
io.on("connection", (socket) => socket.join("t"));
http.prependListener("request", (req, res) => {
  if (req.url !== "/publish") return;
  let body = "";
  req.on("data", (part) => (body += part));
  req.on("end", () => {
    io.to("t").emit("m", body);
    res.end();
  });
});
http.listen(Number(port), "127.0.0.1", () => console.error(`listening on http://127.0.0.1:${port}`));
