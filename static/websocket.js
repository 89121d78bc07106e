'use strict';

const $ = (id) => document.getElementById(id);
const lines = $('lines'), wire = $('wire'), form = $('form'), text = $('text'), state = $('state');
const WIRE = 60, LINES = 300, SLOWEST = 10000;

let socket, own = '', pause = 250, sent = 0, received = 0;

function add(list, most, item) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(item);
  while (list.children.length > most) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function onWire(bytes, out) {
  const item = document.createElement('li');
  item.className = out ? 'out' : 'in';
  item.append(bytes.replaceAll('\t', ' · '));
  add(wire, WIRE, item);
  $('sent').textContent = out ? ++sent : sent;
  $('received').textContent = out ? received : ++received;
}

function note(what) {
  const item = document.createElement('li');
  item.className = 'note';
  item.append(what);
  add(lines, LINES, item);
}

function line(name, what) {
  const item = document.createElement('li'), who = document.createElement('b');
  const bubble = document.createElement('span');
  item.className = name === own ? 'own' : '';
  who.append(name === own ? 'you' : name);
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  who.style.setProperty('--hue', `hsl(${hue} 45% 52%)`);
  bubble.append(what);
  item.append(who, bubble);
  add(lines, LINES, item);
}

function show(open) {
  state.textContent = open ? 'connected' : 'reconnecting';
  state.classList.toggle('open', open);
  form.querySelector('button').disabled = !open;
}

function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, 'ws') + '/ws');
  socket.onopen = () => { pause = 250; show(true); };
  socket.onmessage = ({ data }) => {
    onWire(data, false);
    const [kind, first, ...rest] = data.split('\t');
    if (kind === 'you') { own = first; note(`You are ${own}.`); }
    if (kind === 'said') line(first, rest.join('\t'));
    if (kind === 'online') $('online').textContent = `${first} online`;
  };
  // Also when it never opened. Some randomness, so that all pages do not come back at once.
  socket.onclose = () => {
    show(false);
    setTimeout(connect, pause * (0.75 + Math.random() / 2));
    pause = Math.min(2 * pause, SLOWEST);
  };
}

form.onsubmit = (event) => {
  event.preventDefault();
  const what = text.value.trim();
  if (!what || socket.readyState !== WebSocket.OPEN) return;
  socket.send(what);
  onWire(what, true);
  text.value = '';
};

show(false);
state.textContent = 'connecting';
connect();
