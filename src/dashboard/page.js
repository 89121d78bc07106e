'use strict';
const SAMPLES = 120, SVG = 'http://www.w3.org/2000/svg', MAX_ROWS = 12, MAX_ROUTES = 64, AGAIN = 3000;
const $ = id => document.getElementById(id);
const series = { s2: [], s3: [], s4: [], s5: [], hp50: [], hp99: [], rp50: [], rp99: [], http: [], ws: [], out: [], in: [] };
let ends = [], before = null, paused = false;

const short = (n, units, step) => {
  let at = 0;
  while (n >= step && at < units.length - 1) { n /= step; at += 1; }
  const digits = at === 0 && n >= 10 || n >= 100 ? 0 : n === 0 ? 0 : n < 10 ? 2 : 1;
  return (at === 0 && Number.isInteger(n) ? String(n) : n.toFixed(digits)) + units[at];
};
const count = n => short(n, ['', ' k', ' M', ' G'], 1000);
const whole = n => n.toLocaleString('en');
const bytes = n => short(n, [' B', ' KiB', ' MiB', ' GiB', ' TiB'], 1024);
const time = s => s === null ? '–' : s < 1e-3 ? (s * 1e6).toFixed(0) + ' µs' : s < 1 ? (s * 1e3).toPrecision(3) + ' ms' : s.toFixed(2) + ' s';

// The time within which a part of the calls between two samples was done.
const quantile = (now, then, part) => {
  const counts = now.map((n, at) => n - (then[at] || 0));
  const all = counts.reduce((sum, n) => sum + n, 0);
  if (all === 0) return null;
  let below = 0;
  for (let at = 0; at < counts.length; at += 1) {
    if (below + counts[at] >= part * all && counts[at] > 0) {
      const from = at > 0 ? ends[at - 1] : 0, to = ends[at] === undefined ? from : ends[at];
      return from + (to - from) * (part * all - below) / counts[at];
    }
    below += counts[at];
  }
  return null;
};

const element = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  return made;
};
// A round number that is not below `n`.
const ceiling = n => {
  if (!(n > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= n * 0.999999);
};
const plot = (id, lines, format, how) => {
  const svg = $(id), W = 600, H = 100;
  svg.setAttribute('viewBox', `0 0 ${W} ${H}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  const length = Math.max(...lines.map(line => line.values.length));
  const x = at => W - (length - 1 - at) * W / (SAMPLES - 1);
  const shapes = [1, 2, 3, 4].map(n => element('line', { class: 'grid', x1: 0, x2: W, y1: H * (n - 1) / 4, y2: H * (n - 1) / 4 }));
  shapes.push(element('line', { class: 'grid', x1: 0, x2: W, y1: H, y2: H }));
  let top = 1, base = new Array(length).fill(0);
  const totals = how === 'stack' ? base.map((_, at) => lines.reduce((sum, line) => sum + line.values[at], 0)) : lines.flatMap(line => line.values);
  top = ceiling(Math.max(0, ...totals.filter(n => n !== null)));
  const y = n => H - H * n / top;
  for (const line of lines) {
    let path = '', open = false;
    if (how === 'stack') {
      const upper = base.map((n, at) => n + line.values[at]);
      path = upper.map((n, at) => `${at ? 'L' : 'M'}${x(at).toFixed(1)} ${y(n).toFixed(2)}`).join('') +
        base.map((n, at) => `L${x(at).toFixed(1)} ${y(n).toFixed(2)}`).reverse().join('') + 'Z';
      base = upper;
    } else {
      line.values.forEach((n, at) => {
        if (n === null) { open = false; return; }
        path += `${open ? 'L' : 'M'}${x(at).toFixed(1)} ${y(n).toFixed(2)}`;
        if (!open && (at + 1 === length || line.values[at + 1] === null)) path += 'h2';
        open = true;
      });
    }
    if (path) shapes.push(element('path', { class: `${how === 'stack' ? 'area' : 'line'} ${line.of}`, d: path }));
  }
  svg.replaceChildren(...shapes);
  const caption = svg.nextElementSibling;
  caption.replaceChildren(...[`${SAMPLES} s`, `top: ${format(top)}`, 'now'].map(text => Object.assign(document.createElement('span'), { textContent: text })));
  const last = lines.map(line => `${line.name} ${line.values.length && line.values.at(-1) !== null ? format(line.values.at(-1)) : 'none'}`);
  svg.setAttribute('aria-label', `${svg.parentElement.parentElement.querySelector('h2').textContent}: ${last.join(', ')}`);
};

const cell = (text, kind) => Object.assign(document.createElement('td'), { textContent: text, className: kind || '' });
const bar = part => {
  const made = Object.assign(document.createElement('span'), { className: 'bar' });
  made.style.setProperty('--part', Math.max(0, Math.min(100, part * 100)).toFixed(1));
  return made;
};
const rows = (id, list) => $(id).tBodies[0].replaceChildren(...list.map(cells => {
  const row = document.createElement('tr');
  row.append(...cells);
  return row;
}));
const meter = (name, value, limit, format) => {
  const row = document.createElement('div');
  row.append(Object.assign(document.createElement('dt'), { textContent: name }),
    Object.assign(document.createElement('dd'), { textContent: limit ? `${format(value)} of ${format(limit)}` : format(value) }));
  if (limit) row.append(bar(value / limit));
  return row;
};

const ERRORS = { responses_5xx: 'Responses 5xx', refused: 'Refused requests', refused_slow: 'Refused: too slow', refused_large: 'Refused: too large',
  overloaded: 'Refused: memory', turned_away: 'Connections turned away', handler_errors: 'Errors of handlers', panics: 'Panics',
  response_timeouts: 'Responses too late', handlers_blocking: 'Handlers that blocked', connection_errors: 'Errors of connections', clients_gone: 'Clients gone',
  ws_dropped: 'WebSocket messages dropped', jobs_refused: 'Jobs refused' };

const show = (now, then) => {
  const seconds = Math.max(now.at - then.at, 0.001);
  const rate = name => Math.max(0, now.counters[name] - then.counters[name]) / seconds;
  const push = (name, value) => { series[name].push(value); if (series[name].length > SAMPLES) series[name].shift(); };
  for (const of of [2, 3, 4, 5]) push(`s${of}`, rate(`responses_${of}xx`));
  for (const [name, of] of [['hp50', 'handlers'], ['hp99', 'handlers'], ['rp50', 'responses'], ['rp99', 'responses']])
    push(name, quantile(now[of], then[of], name.endsWith('50') ? 0.5 : 0.99));
  push('http', now.open - now.websockets); push('ws', now.websockets);
  push('out', rate('bytes_written')); push('in', rate('bytes_read'));
  if (paused) return;
  const requests = rate('requests');
  const errors = rate('responses_5xx') + rate('connection_errors');
  for (const [id, text] of [['requests', count(requests)], ['p50', time(series.hp50.at(-1))], ['p99', time(series.hp99.at(-1))],
    ['connections', count(now.open)], ['ws', count(now.websockets)], ['errors', count(errors)]]) $('n-' + id).textContent = text;
  const line = (of, name, values) => ({ of, name, values: series[values] });
  plot('p-classes', ['2', '3', '4', '5'].map(n => line('s' + n, n + 'xx', 's' + n)), n => count(n) + '/s', 'stack');
  plot('p-handlers', [line('a', 'p50', 'hp50'), line('b', 'p99', 'hp99')], time);
  plot('p-responses', [line('a', 'p50', 'rp50'), line('b', 'p99', 'rp99')], time);
  plot('p-connections', [line('a', 'HTTP', 'http'), line('b', 'WebSockets', 'ws')], count);
  plot('p-bytes', [line('a', 'out', 'out'), line('b', 'in', 'in')], n => bytes(n) + '/s');
  $('meters').replaceChildren(
    meter('Bytes in buffers', now.buffered, now.limits.buffered, bytes),
    meter('Connections', now.open, now.limits.connections, whole),
    meter('Jobs that wait', now.queues.jobs, now.limits.jobs, whole),
    meter('Connections that wait for a thread', now.queues.connections, 0, count),
    meter('Messages that wait for a thread', now.queues.messages, 0, count));
  rows('workers', now.workers.map((worker, at) => {
    const old = then.workers[at] || worker;
    const turns = worker.turns - old.turns, timed = worker.timed - old.timed;
    const load = timed > 0 ? (worker.nanos - old.nanos) / timed * turns / 1e9 / seconds : worker.busy > 0.1 ? 1 : 0;
    const bars = cell(''); bars.append(bar(load)); bars.title = `${Math.round(Math.min(load, 1) * 100)} %`;
    return [cell(worker.name), bars, cell(count((worker.requests - old.requests) / seconds)), cell(count(worker.waiting)),
      cell(worker.busy >= 0.1 ? time(worker.busy) : '–', worker.busy >= 0.1 ? 'stuck' : 'soft')];
  }));
  const old = new Map(then.routes);
  // A route that has not been among the most frequent ones has an unknown number before.
  const first = n => then.routes.length < MAX_ROUTES ? 0 : n;
  const routes = now.routes.map(([name, n]) => [name, (n - (old.has(name) ? old.get(name) : first(n))) / seconds, n]);
  routes.sort((a, b) => b[1] - a[1] || b[2] - a[2]);
  if (routes.length) rows('routes', routes.slice(0, MAX_ROWS).map(([name, per, n]) => [cell(name), cell(count(per)), cell(count(n), 'soft')]));
  rows('errors', Object.entries(ERRORS).filter(([key], at) => now.counters[key] > 0 || at < 3)
    .map(([key, name]) => [cell(name), cell(count(rate(key)), rate(key) > 0 ? 'stuck' : ''), cell(count(now.counters[key]), 'soft')]));
  document.body.dataset.samples = series.s2.length;
};

const state = (text, open) => { $('state').textContent = text; $('state').classList.toggle('open', open); };
const connect = () => {
  const source = new EventSource('./events');
  source.addEventListener('ends', event => { ends = JSON.parse(event.data); before = null; state('connected', true); });
  source.addEventListener('sample', event => {
    const now = JSON.parse(event.data);
    if (before) show(now, before);
    before = now;
  });
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return state('reconnecting', false);
    // After a response that is no stream, a browser does not try again.
    state('refused: too many pages, or no server; trying again', false);
    setTimeout(connect, AGAIN);
  };
};
connect();
$('pause').onclick = () => {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', paused);
  $('pause').textContent = paused ? 'Go on' : 'Pause';
};
