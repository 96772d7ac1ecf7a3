'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byID = id => document.getElementById(id);
const plural = (n, one, many) => n + ' ' + (n === 1 ? one : many || one + 's');
const make = (tag, cls, text) => {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  return e;
};
const worst = findings => findings.some(f => f.severity === 'error') ? 'error' : findings.length ? 'warning' : 'good';
const nodes = []; // of both columns
let chosen = null;

function row(node, count) {
  const b = make('button', 'row ' + node.state);
  b.type = 'button';
  b.setAttribute('aria-pressed', 'false');
  b.append(make('span', 'name', node.label));
  if (node.limit) {
    const m = make('meter');
    Object.assign(m, {min: 0, max: node.limit, high: node.limit - 3, optimum: 0, value: node.used});
    m.setAttribute('aria-label', node.used + ' of ' + node.limit + ' federated credentials used');
    b.append(m);
  }
  b.append(make('span', 'count', count));
  if (node.findings.length) b.append(make('span', 'count', plural(node.findings.length, 'finding')));
  b.addEventListener('click', () => choose(node));
  node.button = b;
  nodes.push(node);
  return b;
}

const identities = new Map();
for (const i of data.identities) {
  i.label = i.name || i.clientId;
  i.state = worst(i.findings);
  i.text = (i.label + ' ' + i.clientId).toLowerCase();
  i.of = 'identity';
  identities.set(i.clientId, i);
}
const namespaces = new Map();
for (const a of data.accounts) {
  a.label = a.name;
  a.state = worst(a.findings);
  a.text = (a.namespace + '/' + a.name + ' ' + a.clientId + ' ' + a.findings.map(f => f.code).join(' ')).toLowerCase();
  a.of = 'account';
  a.to = identities.get(a.clientId);
  if (!namespaces.has(a.namespace)) namespaces.set(a.namespace, []);
  namespaces.get(a.namespace).push(a);
}
const groups = [];
for (const [name, list] of namespaces) {
  const group = make('div');
  group.append(make('h3', '', name));
  for (const a of list) group.append(row(a, plural(a.pods, 'pod')));
  groups.push({element: group, list});
  byID('accounts').append(group);
  byID('namespace').append(new Option(name, name));
}
for (const i of data.identities) byID('identities').append(row(i, i.limit ? i.used + '/' + i.limit : ''));

const svg = byID('links');
const links = data.accounts.filter(a => a.to).map(a => {
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.append(path);
  return {a, path};
});

function draw() {
  const box = byID('map').getBoundingClientRect();
  const places = links.map(l => l.a.button.hidden || l.a.to.button.hidden ? null :
    [l.a.button.getBoundingClientRect(), l.a.to.button.getBoundingClientRect()]);
  links.forEach((l, n) => {
    const place = places[n];
    if (!place) { l.path.setAttribute('d', ''); return; }
    const [from, to] = place;
    const x1 = from.right - box.left, y1 = from.top + from.height / 2 - box.top;
    const x2 = to.left - box.left, y2 = to.top + to.height / 2 - box.top, bend = (x2 - x1) / 2;
    l.path.setAttribute('d', `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
    const picked = chosen && (chosen === l.a || chosen === l.a.to);
    l.path.setAttribute('class', picked ? 'chosen' : l.a.state === 'error' ? 'bad' : '');
  });
}

function filter() {
  const words = byID('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const show = byID('show').value, namespace = byID('namespace').value;
  const wanted = new Set();
  let shown = 0;
  for (const a of data.accounts) {
    const text = a.text + ' ' + (a.to ? a.to.text : '');
    const fits = words.every(w => text.includes(w)) && (!namespace || a.namespace === namespace) &&
      (show === 'all' || show === 'wrong' && a.state !== 'good' || show === 'unused' && a.pods === 0);
    a.button.hidden = !fits;
    if (fits) { shown++; if (a.to) wanted.add(a.to); }
  }
  const narrowed = words.length || namespace || show !== 'all';
  for (const i of data.identities) {
    i.button.hidden = narrowed && !wanted.has(i) && !(show === 'wrong' && i.state !== 'good' && !namespace && words.every(w => i.text.includes(w)));
  }
  for (const g of groups) g.element.hidden = g.list.every(a => a.button.hidden);
  byID('shown').textContent = plural(shown, 'service account') + ' shown';
  draw();
}

function fact(dl, name, value) {
  if (value === '' || value === undefined) return;
  dl.append(make('dt', '', name), make('dd', '', String(value)));
}

function choose(node) {
  chosen = chosen === node ? null : node;
  for (const n of nodes) n.button.setAttribute('aria-pressed', String(n === chosen));
  const box = byID('findings');
  box.replaceChildren();
  if (!chosen) {
    box.append(make('p', '', 'Choose a service account or an identity.'));
    draw();
    return;
  }
  const dl = make('dl');
  if (node.of === 'account') {
    fact(dl, 'Service account', node.namespace + '/' + node.name);
    fact(dl, 'Running pods', node.pods);
    fact(dl, 'Identity', node.to && node.to.label);
  } else {
    fact(dl, 'Identity', node.name);
    fact(dl, 'Federated credentials', node.limit ? node.used + ' of ' + node.limit : undefined);
    fact(dl, 'Service accounts', data.accounts.filter(a => a.to === node).length);
  }
  fact(dl, 'Client ID', node.clientId);
  box.append(dl);
  const list = make('ul');
  for (const f of node.findings) {
    const item = make('li', f.severity);
    item.append(make('strong', '', f.severity + ': ' + f.code), make('p', '', f.text));
    if (f.command) item.append(make('pre', '', f.command));
    list.append(item);
  }
  box.append(node.findings.length ? list : make('p', '', 'Nothing is wrong.'));
  draw();
}

byID('facts').textContent = data.facts;
for (const id of ['search', 'show', 'namespace']) byID(id).addEventListener('input', filter);
document.addEventListener('keydown', e => {
  if (e.key === '/' && document.activeElement !== byID('search')) { e.preventDefault(); byID('search').focus(); }
  if (e.key === 'Escape') { byID('search').value = ''; if (chosen) choose(chosen); filter(); }
});
addEventListener('resize', draw);
addEventListener('beforeprint', draw);
filter();
