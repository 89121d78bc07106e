'use strict';

const $ = (id) => document.getElementById(id);
const state = $('state'), bars = $('bars'), log = $('log');
const MINUTE = 60, LINES = 3;

let source, turns = 0, previous = 0;

for (let i = 0; i < MINUTE; i++) {
  bars.append(document.createElement('i'));
  const mark = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  const five = i % 5 === 0;
  mark.setAttribute('y1', five ? -80 : -86);
  mark.setAttribute('y2', -89);
  mark.setAttribute('transform', `rotate(${i * 6})`);
  if (five) mark.classList.add('five');
  $('marks').append(mark);
}

function note(what) {
  const item = document.createElement('li');
  item.append(`${new Date().toLocaleTimeString([], { hour12: false })}  ${what}`);
  log.prepend(item);
  while (log.children.length > LINES) log.lastChild.remove();
}

function show(open) {
  state.textContent = open ? 'connected' : 'reconnecting';
  state.classList.toggle('open', open);
}

function hand(name, degrees) {
  $(name).style.transform = `rotate(${degrees}deg)`;
}

function tick({ data, lastEventId }) {
  const [at, watching] = data.split(' ').map(Number);
  const time = new Date(at), second = time.getSeconds();
  $('watching').textContent = `${watching} watching`;
  $('time').textContent = time.toLocaleTimeString([], { hour12: false });
  $('date').textContent = time.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
  // Always forwards, past the top, too.
  if (second < previous) turns += 1;
  previous = second;
  hand('second', turns * 360 + second * 6);
  hand('minute', time.getMinutes() * 6 + second / 10);
  hand('hour', time.getHours() * 30 + time.getMinutes() / 2);
  document.body.dataset.last = lastEventId;

  const late = Math.max(0, Date.now() - at);
  const bar = bars.children[second];
  bar.className = 'tick';
  // 1 ms, 10 ms, 100 ms and a second are as far apart.
  bar.style.height = `${Math.min(100, 10 + 30 * Math.log10(1 + late))}%`;
  bars.children[(second + 1) % MINUTE].className = '';
  $('late').textContent = `${late} ms`;
}

function hello({ data }) {
  const [, missed] = data.split(' ');
  document.body.dataset.hello = data;
  note(missed === undefined ? 'Hello. You are new here.' : `Welcome back. You have missed ${missed} s.`);
}

function connect() {
  source = new EventSource('/events');
  source.onopen = () => show(true);
  source.addEventListener('tick', tick);
  source.addEventListener('hello', hello);
  source.onerror = () => {
    if (state.classList.contains('open')) note('The server has gone. Waiting for it.');
    show(false);
    // It comes back by itself unless it was told to give up.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  };
}

connect();
