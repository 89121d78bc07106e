// Keeps the list of notes up to date while another window changes it: by a WebSocket, or with `?sse` in the address by
// server-sent events.
const state = document.getElementById('state');
const shown = document.getElementById('notes');
let isOld = false;
let isAsking = false;

// One request at a time. A change during a request leads to another one, and an error too, after a second.
async function refresh() {
    isOld = true;
    if (isAsking) return;
    isAsking = true;
    while (isOld) {
        isOld = false;
        try {
            await replace();
        } catch {
            isOld = true;
            await new Promise(resume => setTimeout(resume, 1000));
        }
    }
    isAsking = false;
}

async function replace() {
    const response = await fetch(location.href, { headers: { 'X-Requested-With': 'script', Accept: 'text/html' } });
    if (response.redirected) return location.reload(); // not logged in any more
    if (!response.ok) throw new Error(response.status);
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    const notes = page.getElementById('notes');
    if (notes.innerHTML === shown.innerHTML) return;
    // Notes that have not changed stay the same elements, also that with the focus.
    const own = new Map([...shown.children].map(note => [note.outerHTML, note]));
    const focused = document.activeElement;
    shown.replaceChildren(...[...notes.children].map(note => own.get(note.outerHTML) ?? note));
    if (focused.isConnected && focused !== document.activeElement) focused.focus();
}

function show(live) {
    state.textContent = live ? 'live' : 'reconnecting';
    state.classList.toggle('live', live);
    if (live) refresh(); // what changed while there was no connection
}

function connect() {
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/notes/ws');
    socket.onopen = () => show(true);
    socket.onmessage = refresh;
    socket.onclose = () => { show(false); setTimeout(connect, 1000 + Math.random() * 1000); };
}

if (new URLSearchParams(location.search).has('sse')) {
    const events = new EventSource('/notes/events');
    events.onopen = () => show(true);
    events.onmessage = refresh;
    events.onerror = () => show(false);
} else {
    connect();
}
