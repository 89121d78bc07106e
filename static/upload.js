'use strict';

const $ = (id) => document.getElementById(id);
const form = $('form'), files = $('files'), drop = $('drop'), list = $('list');
const waiting = [];
let busy = false;

document.body.classList.add('script');
$('here').textContent = `${location.origin}/`;

function size(bytes) {
  for (const [unit, name] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) {
    if (bytes >= unit) return `${+(Math.floor(bytes * 10 / unit) / 10).toFixed(1)} ${name}`;
  }
  return bytes === 1 ? '1 byte' : `${bytes} bytes`;
}

function add(parent, kind, text = '') {
  const element = document.createElement(kind);
  element.textContent = text;
  parent.append(element);
  return element;
}

function row(file) {
  const item = document.createElement('li');
  add(item, 'b', file.name);
  const state = add(item, 'span', 'waiting');
  const bar = add(item, 'progress');
  bar.max = 100;
  bar.value = 0;
  bar.setAttribute('aria-label', file.name);
  list.prepend(item);
  return { file, item, state, bar };
}

function failed({ item, state }, why) {
  item.className = 'failed';
  state.textContent = 'not kept';
  add(item, 'em', why);
}

// The server's answer: a line of size, SHA-1 and name for the file, or a line that says what is wrong.
function answered(upload, status, text) {
  const [, length, sha1, name] = text.match(/^(\d+) ([0-9a-f]{40}) (.*)\n$/) ?? [];
  if (status !== 200 || !sha1) return failed(upload, text.trim() || `The server said ${status}.`);
  const { file, item, state, bar } = upload;
  bar.value = 100;
  item.className = 'done';
  item.firstChild.textContent = name;
  state.textContent = Number(length) === file.size ? size(file.size) : `${length} of ${file.size} bytes`;
  add(item, 'code', sha1);
}

function send(upload, done) {
  const { file, state, bar } = upload;
  const request = new XMLHttpRequest();
  request.upload.onprogress = ({ loaded, total }) => {
    bar.value = total ? 100 * loaded / total : 100;
    state.textContent = `${Math.floor(bar.value)} % of ${size(file.size)}`;
  };
  request.onload = () => answered(upload, request.status, request.responseText);
  request.onerror = () => failed(upload, 'The connection was lost.');
  request.onloadend = done;
  request.open('POST', form.action);
  request.setRequestHeader('Accept', 'text/plain');
  const body = new FormData();
  body.append(files.name, file);
  request.send(body);
}

// One after the other: each has the whole line to itself.
function next() {
  busy = waiting.length > 0;
  if (busy) send(waiting.shift(), next);
}

function take(chosen) {
  waiting.push(...[...chosen].map(row));
  if (!busy) next();
}

files.onchange = () => {
  take(files.files);
  files.value = '';
};
form.onsubmit = (event) => event.preventDefault();

// Anywhere on the page, so that a near miss does not open the file instead.
let depth = 0;
const over = (by) => drop.classList.toggle('over', (depth = Math.max(0, depth + by)) > 0);
document.ondragenter = () => over(1);
document.ondragleave = () => over(-1);
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  over(-depth);
  take(event.dataTransfer.files);
};
