'use strict';
const $ = id => document.getElementById(id);
const table = document.querySelector('table'), body = table.tBodies[0];
const PICTURE = /\.(avif|gif|jpe?g|png|svg|webp)$/i;
let entries = [], rights = {}, sort = 'name', descending = false, complete = true;

const make = (name, values, ...children) => {
  const made = Object.assign(document.createElement(name), values);
  made.append(...children);
  return made;
};
// A name in its own direction, without characters that hide or turn text.
const shown = name => make('bdi', { textContent: name.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, c => c === '\u200c' || c === '\u200d' ? c : '\ufffd') });
const size = n => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (n >= 1024 && at < 4) { n /= 1024; at += 1; }
  return (at ? n.toFixed(1) : n) + ' ' + units[at];
};
const time = text => text ? new Date(text).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }) : '';

const crumbs = () => {
  const names = location.pathname.split('/').filter(Boolean);
  let path = '/';
  const parts = names.length ? [make('a', { href: '/', textContent: '/', ariaLabel: 'Top folder' })] : ['/'];
  names.forEach((name, at) => {
    path += name + '/';
    let text = name;
    try { text = decodeURIComponent(name); } catch { /* Not UTF-8: shown as it is. */ }
    parts.push(make('i', { textContent: '\u203a' }), at + 1 < names.length ? make('a', { href: path }, shown(text)) : shown(text));
    document.title = text + '/';
  });
  $('crumbs').replaceChildren(...parts);
};

const order = (a, b) => {
  if ((a.type === 'folder') !== (b.type === 'folder')) return a.type === 'folder' ? -1 : 1;
  const names = a.name.localeCompare(b.name, undefined, { numeric: true, sensitivity: 'base' });
  const by = sort === 'size' ? (a.size || 0) - (b.size || 0) : sort === 'modified' ? (a.modified || '').localeCompare(b.modified || '') : names;
  return (descending ? -by : by) || names;
};

const remove = async entry => {
  if (!confirm(`Delete ${entry.name}?`)) return;
  const response = await fetch(entry.url, { method: 'DELETE' });
  $('summary').textContent = response.ok ? `Deleted ${entry.name}` : `${entry.name}: ${await response.text()}`;
  if (response.ok) load();
};

const show = () => {
  const wanted = $('filter').value.toLowerCase();
  const list = entries.filter(entry => entry.name.toLowerCase().includes(wanted)).sort(order);
  const rows = list.map(entry => {
    const folder = entry.type === 'folder';
    const link = make('a', { href: entry.url }, shown(entry.name), folder ? '/' : '');
    const row = make('tr', { className: folder ? 'folder' : '' }, make('td', {}, link),
      make('td', { textContent: folder ? '' : size(entry.size), title: folder ? '' : `${entry.size} bytes` }), make('td', { textContent: time(entry.modified) }));
    if (rights.delete) {
      const button = make('button', { type: 'button', textContent: '\u2715', ariaLabel: `Delete ${entry.name}`, onclick: () => remove(entry) });
      row.append(make('td', {}, button));
    }
    return row;
  });
  if (location.pathname !== '/') rows.unshift(make('tr', { className: 'folder' }, make('td', {}, make('a', { href: '../', textContent: '../' })), make('td'), make('td')));
  body.replaceChildren(...rows);
  for (const button of table.querySelectorAll('[data-sort]')) {
    const head = button.parentElement;
    if (button.dataset.sort === sort) head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    else head.removeAttribute('aria-sort');
  }
  const files = list.filter(entry => entry.type !== 'folder');
  const bytes = files.reduce((sum, entry) => sum + entry.size, 0);
  $('summary').textContent = `${list.length - files.length} folders, ${files.length} files, ${size(bytes)}` + (complete ? '' : ' – the list is incomplete');
  const pictures = list.filter(entry => PICTURE.test(entry.name));
  const wall = $('grid').getAttribute('aria-pressed') === 'true';
  $('grid').hidden = !entries.some(entry => PICTURE.test(entry.name));
  $('pictures').hidden = !wall;
  table.hidden = wall;
  $('pictures').replaceChildren(...(wall ? pictures.map(entry =>
    make('li', {}, make('a', { href: entry.url }, make('img', { src: entry.url, loading: 'lazy', alt: '' }), shown(entry.name)))) : []));
  document.body.dataset.rows = list.length;
};

const readme = async () => {
  const file = entries.find(entry => /^readme\.md$/i.test(entry.name));
  $('readme').hidden = !file;
  if (!file) return;
  const response = await fetch(`${file.url}?view=html`);
  // The server has made text of all HTML in it, and the policy of the page runs none.
  if (response.ok) $('readme').innerHTML = await response.text();
};

const load = async () => {
  const response = await fetch(location.pathname, { headers: { Accept: 'application/json' } });
  if (!response.ok) { $('summary').textContent = await response.text(); return; }
  const list = await response.json();
  [entries, complete] = [list.entries, list.complete];
  show();
  await readme();
};

const upload = async files => {
  for (const file of files) {
    $('summary').textContent = `Uploading ${file.name}`;
    const response = await fetch('./' + encodeURIComponent(file.name), { method: 'PUT', body: file });
    if (!response.ok) { $('summary').textContent = `${file.name}: ${await response.text()}`; return; }
  }
  // The server may keep its list for a second.
  setTimeout(load, 1100);
};

$('filter').oninput = show;
$('tools').onsubmit = event => event.preventDefault();
$('grid').onclick = () => { $('grid').setAttribute('aria-pressed', $('grid').getAttribute('aria-pressed') !== 'true'); show(); };
$('files').onchange = () => upload($('files').files);
for (const button of table.querySelectorAll('[data-sort]')) {
  button.onclick = () => {
    const by = button.dataset.sort;
    descending = by === sort ? !descending : by !== 'name';
    sort = by;
    show();
  };
}
(async () => {
  crumbs();
  const response = await fetch('/.peregrine/rights.json');
  if (response.ok) rights = await response.json();
  $('pick').hidden = !rights.upload;
  document.querySelector('.del').hidden = !rights.delete;
  if (rights.upload) {
    document.body.ondragover = event => { event.preventDefault(); document.body.classList.add('over'); };
    document.body.ondragleave = () => document.body.classList.remove('over');
    document.body.ondrop = event => { event.preventDefault(); document.body.classList.remove('over'); upload(event.dataTransfer.files); };
  }
  await load();
})();
