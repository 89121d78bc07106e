// A greeting, an echo, a WebSocket echo and handlers that throw, on the CLR: peregrine through P/Invoke.
//
//     mcs Hello.cs && LD_LIBRARY_PATH=... mono Hello.exe 8080
using System;
using System.Runtime.InteropServices;
using System.Text;

static class Hello
{
    const string Lib = "peregrine_c";

    [StructLayout(LayoutKind.Sequential)]
    struct Bytes
    {
        public IntPtr Ptr;
        public UIntPtr Len;

        // A copy: a view ends with its callback.
        public byte[] Copy()
        {
            var bytes = new byte[(int)Len];
            if (Ptr != IntPtr.Zero) Marshal.Copy(Ptr, bytes, 0, bytes.Length);
            return bytes;
        }
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    delegate void OnRequest(IntPtr user, IntPtr req, IntPtr res);
    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    delegate int OnAccept(IntPtr user, IntPtr req, IntPtr upgrade, IntPtr state);
    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    delegate void OnMessage(IntPtr user, IntPtr ws, IntPtr data, UIntPtr len, int isText);

    // prg_handler: members that are not set are NULL.
    [StructLayout(LayoutKind.Sequential)]
    struct HandlerTable
    {
        public UIntPtr Size;
        public IntPtr User, Drop, Request, BodyPlan, Error, BeforeWait, AfterWait, Accept, Open, Message, Drain, Close, WsDrop;
    }

    [DllImport(Lib)] static extern uint prg_abi_version();
    [DllImport(Lib)] static extern Bytes prg_request_path(IntPtr req);
    [DllImport(Lib)] static extern Bytes prg_request_body(IntPtr req);
    [DllImport(Lib)] static extern int prg_response_send(IntPtr res, ushort status, byte[] type, UIntPtr typeLen, byte[] body, UIntPtr bodyLen);
    [DllImport(Lib)] static extern int prg_ws_send(IntPtr ws, byte[] data, UIntPtr len, int isText);
    [DllImport(Lib)] static extern int prg_ws_close(IntPtr ws, ushort code, byte[] reason, UIntPtr len);
    [DllImport(Lib)] static extern int prg_server_new(ref HandlerTable handler, out IntPtr server);
    [DllImport(Lib)] static extern int prg_server_bind(IntPtr server, byte[] addr, UIntPtr len);
    [DllImport(Lib)] static extern int prg_server_stop_on_signals(IntPtr server);
    [DllImport(Lib)] static extern int prg_server_start(IntPtr server, out IntPtr running);
    [DllImport(Lib)] static extern void prg_server_free(IntPtr server);
    [DllImport(Lib)] static extern int prg_running_port(IntPtr running);
    [DllImport(Lib)] static extern int prg_running_wait(IntPtr running, IntPtr stopped);

    // Kept by static fields: the library has pointers to them, which the garbage collector does not see.
    static readonly OnRequest Request = Handle;
    static readonly OnAccept Accept = (user, req, upgrade, state) => 1;
    static readonly OnMessage Message = HandleMessage;

    static void Send(IntPtr res, ushort status, string type, byte[] body)
    {
        var kind = Encoding.UTF8.GetBytes(type);
        prg_response_send(res, status, kind, (UIntPtr)kind.Length, body, (UIntPtr)body.Length);
    }

    // No exception may leave a callback. Without a response the client gets 500.
    static void Handle(IntPtr user, IntPtr req, IntPtr res)
    {
        try
        {
            switch (Encoding.UTF8.GetString(prg_request_path(req).Copy()))
            {
                case "/": Send(res, 200, "text/plain", Encoding.UTF8.GetBytes("Hello, World!")); break;
                case "/echo": Send(res, 200, "", prg_request_body(req).Copy()); break;
                case "/throw": throw new InvalidOperationException("as asked");
                case "/error": (user == IntPtr.Zero ? null : "").Trim(); break;
                default: Send(res, 404, "text/plain", Encoding.UTF8.GetBytes("nothing here\n")); break;
            }
        }
        catch (Exception error)
        {
            Console.Error.WriteLine("a handler failed: " + error.Message);
        }
    }

    static void HandleMessage(IntPtr user, IntPtr ws, IntPtr data, UIntPtr len, int isText)
    {
        try
        {
            var message = new Bytes { Ptr = data, Len = len }.Copy();
            if (Encoding.UTF8.GetString(message) == "throw") throw new InvalidOperationException("as asked");
            prg_ws_send(ws, message, len, isText);
        }
        catch (Exception error)
        {
            Console.Error.WriteLine("a handler failed: " + error.Message);
            prg_ws_close(ws, 1011, null, UIntPtr.Zero);
        }
    }

    static void Must(int code, string what)
    {
        if (code != 0) throw new InvalidOperationException(what + ": code " + code);
    }

    static void Main(string[] args)
    {
        IntPtr server, running;
        var handler = new HandlerTable
        {
            Size = (UIntPtr)Marshal.SizeOf(typeof(HandlerTable)),
            Request = Marshal.GetFunctionPointerForDelegate(Request),
            Accept = Marshal.GetFunctionPointerForDelegate(Accept),
            Message = Marshal.GetFunctionPointerForDelegate(Message),
        };
        Must(prg_server_new(ref handler, out server), "a server");
        var addr = Encoding.UTF8.GetBytes("127.0.0.1:" + (args.Length > 0 ? args[0] : "8080"));
        Must(prg_server_bind(server, addr, (UIntPtr)addr.Length), "an address");
        Must(prg_server_stop_on_signals(server), "signals");
        Must(prg_server_start(server, out running), "the start");
        prg_server_free(server);
        Console.WriteLine("listening on http://127.0.0.1:" + prg_running_port(running));
        Must(prg_running_wait(running, IntPtr.Zero), "the end");
        Console.WriteLine("stopped");
    }
}
