import com.sun.jna.Callback;
import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.Structure.FieldOrder;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;

/** A greeting, an echo, a WebSocket echo and handlers that throw, on the JVM: peregrine through JNA. Any JDK from 8 on. */
public final class Hello {
    /** The functions of peregrine.h that this program uses. size_t is a long on 64-bit systems. */
    public interface Lib extends Library {
        int prg_abi_version();
        String prg_code_text(int code);
        Bytes prg_request_path(Pointer req);
        Bytes prg_request_body(Pointer req);
        int prg_response_send(Pointer res, short status, byte[] type, long typeLen, byte[] body, long bodyLen);
        int prg_ws_send(Pointer ws, byte[] data, long len, int isText);
        int prg_ws_close(Pointer ws, short code, byte[] reason, long len);
        int prg_server_new(HandlerTable handler, PointerByReference out);
        int prg_server_bind(Pointer server, byte[] addr, long len);
        int prg_server_start(Pointer server, PointerByReference out);
        void prg_server_free(Pointer server);
        int prg_running_port(Pointer running);
        void prg_running_free(Pointer running);
    }

    @FieldOrder({"ptr", "len"})
    public static class Bytes extends Structure implements Structure.ByValue {
        public Pointer ptr;
        public long len;

        /** Copies them: a view ends with its callback. */
        byte[] copy() {
            return ptr == null ? new byte[0] : ptr.getByteArray(0, (int) len);
        }
    }

    public interface OnRequest extends Callback { void call(Pointer user, Pointer req, Pointer res); }
    public interface OnAccept extends Callback { int call(Pointer user, Pointer req, Pointer upgrade, Pointer state); }
    public interface OnMessage extends Callback { void call(Pointer user, Pointer ws, Pointer data, long len, int isText); }

    /** prg_handler: members that are not set are NULL. */
    @FieldOrder({"size", "user", "drop", "request", "bodyPlan", "error", "beforeWait", "afterWait", "accept", "open", "message",
        "drain", "close", "wsDrop"})
    public static class HandlerTable extends Structure {
        public long size;
        public Pointer user, drop;
        public OnRequest request;
        public Pointer bodyPlan, error, beforeWait, afterWait;
        public OnAccept accept;
        public Pointer open;
        public OnMessage message;
        public Pointer drain, close, wsDrop;
    }

    static final Lib LIB = Native.load("peregrine_c", Lib.class);
    /** Kept by a static field: the library has a pointer to it, which the garbage collector does not see. */
    static final HandlerTable HANDLER = new HandlerTable();

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void send(Pointer res, int status, String type, byte[] body) {
        byte[] kind = bytes(type);
        LIB.prg_response_send(res, (short) status, kind, kind.length, body, body.length);
    }

    static void handle(Pointer req, Pointer res) {
        switch (new String(LIB.prg_request_path(req).copy(), StandardCharsets.UTF_8)) {
            case "/": send(res, 200, "text/plain", bytes("Hello, World!")); break;
            case "/echo": send(res, 200, "", LIB.prg_request_body(req).copy()); break;
            case "/throw": throw new IllegalStateException("as asked");
            case "/error": throw new StackOverflowError("as asked");
            default: send(res, 404, "text/plain", bytes("nothing here\n"));
        }
    }

    static void must(int code, String what) {
        if (code != 0) {
            throw new IllegalStateException(what + ": " + LIB.prg_code_text(code));
        }
    }

    public static void main(String[] args) throws InterruptedException {
        // No Throwable may leave a callback. Without a response the client gets 500.
        HANDLER.request = (user, req, res) -> {
            try {
                handle(req, res);
            } catch (Throwable error) {
                System.err.println("a handler failed: " + error);
            }
        };
        HANDLER.accept = (user, req, upgrade, state) -> 1;
        HANDLER.message = (user, ws, data, len, isText) -> {
            try {
                byte[] message = data.getByteArray(0, (int) len);
                if (new String(message, StandardCharsets.UTF_8).equals("throw")) {
                    throw new IllegalStateException("as asked");
                }
                LIB.prg_ws_send(ws, message, len, isText);
            } catch (Throwable error) {
                System.err.println("a handler failed: " + error);
                LIB.prg_ws_close(ws, (short) 1011, null, 0);
            }
        };
        HANDLER.size = HANDLER.size();
        PointerByReference server = new PointerByReference(), running = new PointerByReference();
        must(LIB.prg_server_new(HANDLER, server), "a server");
        byte[] addr = bytes("127.0.0.1:" + (args.length > 0 ? args[0] : "8080"));
        must(LIB.prg_server_bind(server.getValue(), addr, addr.length), "an address");
        must(LIB.prg_server_start(server.getValue(), running), "the start");
        LIB.prg_server_free(server.getValue());
        System.out.println("listening on http://127.0.0.1:" + LIB.prg_running_port(running.getValue()));
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            LIB.prg_running_free(running.getValue());
            System.out.println("stopped");
        }));
        main.join();
    }
}
