// Keeps the list of notes up to date while another window changes it: by a WebSocket, or with `?sse` in the address by
// server-sent events.
const state = document.getElementById('state');
let newest = 0;

async function refresh() {
    const turn = ++newest;
    const response = await fetch(location.href, { headers: { 'X-Requested-With': 'script', Accept: 'text/html' } });
    if (response.redirected) return location.reload(); // not logged in any more
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    const notes = page.getElementById('notes');
    // A slow response must not replace a newer one.
    if (notes && turn === newest) document.getElementById('notes').replaceWith(notes);
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
