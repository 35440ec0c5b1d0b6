// Shows the state of the network, which comes as JSON, and follows its events. Everything from the network is added as text, never
// as HTML. It changes nothing.
'use strict';

const MAX_ROWS = 250, MAX_HOSTS = 36, MINUTE = 60, SILENT = 5;
const byId = id => document.getElementById(id);
const SECTIONS = ['streams', 'members', 'services', 'findings'];
const state = { streams: {}, members: {}, services: {}, findings: {}, n: {}, minutes: {}, hours: {}, changes: [], sum: {}, examined: null, time: 0 };
const drawn = {};
let filter = '', kind = '', plotted = null, dirty = new Set(SECTIONS), offline = false;

/** Returns an element with attributes and children; texts become text nodes. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  return fill(element, attributes, children);
}
function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}
function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}
function text(element, value) { if (element.textContent !== value) element.textContent = value; }

function short(number) {
  let scaled = number;
  for (const prefix of ['', 'k', 'M', 'G', 'T']) {
    if (scaled < 999.5) return (scaled < 99.95 && prefix ? scaled.toFixed(1) : scaled.toFixed(0)) + ' ' + prefix;
    scaled /= 1000;
  }
  return scaled.toFixed(0) + ' P';
}
const bits = number => short(number) + 'bit/s';
const percent = number => number === null || number === undefined ? '–' : number === 0 ? '0 %' : number < 0.01 ? '<0.01 %' : number.toFixed(number < 10 ? 2 : 1) + ' %';
const clock = time => new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
function micros(number) {
  return number === null || number === undefined ? '–' : number < 1000 ? number + ' µs' : (number / 1000).toFixed(number < 10000 ? 2 : 1) + ' ms';
}
const counted = (number, noun) => number.toLocaleString('en') + ' ' + noun + (number === 1 ? '' : 's');
const at = (address, port) => (address.includes(':') ? '[' + address + ']' : address) + ':' + port;
const segment = item => item.if + (item.vlan ? '.' + item.vlan : '');
const values = name => Object.values(state[name]);

/** Compares addresses by their numbers, where they are of IPv4. */
function byAddress(a, b) {
  const key = address => address.split('.').map(part => part.padStart(3, '0')).join('.');
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
}
function matches(...texts) {
  if (!filter) return true;
  const all = texts.flat(2).filter(Boolean).join(' ').toLowerCase();
  return filter.split(/\s+/).every(word => all.includes(word));
}

// --- state

function take(full) {
  for (const name of SECTIONS) state[name] = full[name] || {};
  Object.assign(state, { n: full.n || {}, minutes: full.minutes || {}, hours: full.hours || {}, changes: full.changes || [] });
  head(full);
  text(byId('place'), place());
  dirty = new Set(SECTIONS);
  draw();
}
function head(from) {
  state.sum = from.sum; state.examined = from.examined; state.time = from.time;
}
function apply(event) {
  head(event);
  for (const name of SECTIONS) {
    const change = event[name];
    if (!change) continue;
    dirty.add(name);
    Object.assign(state[name], change.set);
    for (const key of change.gone) delete state[name][key];
  }
  Object.assign(state.n, event.n);
  for (const id of Object.keys(state.n)) {
    if (!(id in state.streams)) { delete state.n[id]; delete state.minutes[id]; continue; }
    const [rates, losses] = state.minutes[id] ||= [[], []];
    rates.push(state.n[id][0]); losses.push(state.n[id][2] || 0);
    if (rates.length > MINUTE) { rates.shift(); losses.shift(); }
  }
  state.changes.push(...event.changes);
  const old = state.time - 3600e3;
  while (state.changes.length && (state.changes[0].time < old || state.changes.length > 1000)) state.changes.shift();
  draw();
}
const place = () => (state.sum.interfaces ? 'on ' + state.sum.interfaces : '') + (offline ? ' – snapshot of ' + new Date(state.time).toLocaleString() : '');

// --- drawing

function draw() {
  if (document.hidden) return;
  tiles();
  findings();
  streams();
  if (dirty.size || drawn.filter !== filter || drawn.width !== innerWidth) {
    map();
    services();
    drawn.width = innerWidth;
  }
  changes();
  dirty.clear();
  drawn.filter = filter;
  if (plotted) plot(plotted, false);
}

function tiles() {
  const losing = Object.entries(state.n).filter(([id, n]) => id in state.streams && n[2] > 0).length;
  const severities = values('findings').map(finding => finding.severity);
  const faults = severities.filter(severity => severity === 'fault').length, warnings = severities.filter(severity => severity === 'warning').length;
  const hosts = new Set(values('members').map(member => member.host)).size;
  const tile = (number, noun) => counted(number, noun).split(' ');
  const list = [
    tile(values('streams').length, 'stream'),
    [bits(state.sum.bits || 0), short(state.sum.rate || 0).trim() + ' datagrams/s'],
    [String(losing), 'losing now', losing ? 'bad' : 'good'],
    tile(hosts, 'member'),
    tile(values('services').length, 'service'),
    state.examined ? [faults ? counted(faults, 'fault') : warnings ? counted(warnings, 'warning') : 'healthy', 'this machine', faults ? 'bad' : warnings ? 'warn' : 'good'] : ['…', 'this machine'],
  ];
  const box = byId('tiles');
  while (box.children.length < list.length) box.append(make('div', {}, make('b'), make('span')));
  list.forEach(([value, label, level], number) => {
    const one = box.children[number];
    one.className = 'tile ' + (level || '');
    text(one.children[0], value); text(one.children[1], label);
  });
  const { omitted = {}, over } = state.sum, trouble = [];
  if (over) trouble.push('The capture has ended.');
  if (omitted.streams) trouble.push(counted(omitted.streams, 'stream') + ' omitted: the table is full.');
  if (omitted.members) trouble.push(counted(omitted.members, 'member') + ' omitted: the table is full.');
  if (omitted.announcements) trouble.push(counted(omitted.announcements, 'announcement') + ' dropped: there are too many.');
  if (omitted.packets) trouble.push(counted(omitted.packets, 'packet') + ' not captured: they arrived too fast.');
  byId('trouble').hidden = !trouble.length;
  text(byId('trouble'), trouble.join(' '));
}

function findings() {
  const examined = state.examined;
  text(byId('examined'), !examined ? 'examining' : examined.failed ? 'the examination failed: ' + examined.failed : 'examined at ' + clock(examined.at) + ': interfaces, routes, packet filter and sockets of this machine, and for 3 s what arrives for its programs, every 30 s. Any other group: mcast doctor GROUP:PORT');
  if (!dirty.has('findings')) return;
  const list = values('findings').sort((a, b) => a.order - b.order), body = byId('findings').querySelector('.body');
  const open = new Set([...body.querySelectorAll('details[open]')].map(details => details.dataset.key));
  body.replaceChildren(...list.map(finding => {
    const key = finding.id + finding.cause;
    const details = make('details', { open: open.has(key) || finding.severity === 'fault' || undefined }, make('summary', {}, 'Evidence and remedy'),
      make('ul', {}, ...finding.evidence.map(evidence => make('li', {}, evidence.where + ': ' + (evidence.before ? evidence.before + ' → ' : '') + evidence.value))),
      ...finding.remedies.map(remedy => remedy.command ? make('pre', {}, make('code', {}, remedy.text)) : make('p', {}, remedy.text)));
    details.dataset.key = key;
    const more = finding.evidence.length || finding.remedies.length;
    return make('div', { class: 'finding ' + finding.severity }, make('b', {}, finding.cause), ' ', make('span', { class: 'quiet' }, finding.id), more ? details : null);
  }));
  if (!list.length) body.append(make('p', { class: 'empty' }, examined ? 'Nothing is wrong with multicast on this machine.' : 'The first examination is running.'));
}

function level(loss) { return loss > 1 ? 'bad' : loss > 0 ? 'warn' : ''; }

function streams() {
  const body = byId('streams').querySelector('.body');
  if (!drawn.rows) {
    const head = [['group'], ['source'], ['rate, loss'], ['rate', 'number'], ['loss', 'number'], ['jitter', 'number wide']];
    drawn.rows = new Map();
    drawn.table = make('tbody');
    drawn.note = make('p', { class: 'empty' });
    body.replaceChildren(make('table', {}, make('thead', {}, make('tr', {}, ...head.map(([name, style]) => make('th', { class: style }, name)))), drawn.table), drawn.note);
  }
  const shown = Object.entries(state.streams).filter(([, s]) => matches(at(s.group, s.port), s.name, s.source, segment(s), s.format, s.here, s.tunnel));
  const lately = id => (state.minutes[id]?.[1] || []).some(loss => loss > 0) ? 1 : 0;
  shown.sort(([a, s], [b, t]) => lately(b) - lately(a) || byAddress(s.group, t.group) || s.port - t.port || byAddress(s.source, t.source) || a - b);
  const kept = new Set();
  let before = null;
  for (const [id, stream] of shown.slice(0, MAX_ROWS)) {
    kept.add(id);
    let row = drawn.rows.get(id);
    if (!row) drawn.rows.set(id, row = streamRow(id));
    showStream(row, id, stream);
    const place = before ? before.nextSibling : drawn.table.firstChild;
    if (place !== row.line) drawn.table.insertBefore(row.line, place);
    before = row.line;
  }
  for (const [id, row] of drawn.rows) if (!kept.has(id)) { row.line.remove(); drawn.rows.delete(id); }
  const all = values('streams').length, more = shown.length - kept.size;
  text(byId('streams').querySelector('.count'), shown.length === all ? String(all) : shown.length + ' of ' + all);
  text(drawn.note, more > 0 ? 'and ' + more + ' more: filter to see them' : all ? '' : 'No datagrams to groups have arrived yet. Behind a snooping switch, only joined groups are seen.');
}

function streamRow(id) {
  const cells = Object.fromEntries(['group', 'source', 'spark', 'rate', 'loss', 'jitter'].map(name => [name, make('td')]));
  const small = cell => { cell.append(make('span'), make('small')); return cell; };
  small(cells.group); small(cells.source);
  cells.spark.className = 'spark';
  for (const name of ['rate', 'loss', 'jitter']) cells[name].className = 'number' + (name === 'jitter' ? ' wide' : '');
  const line = make('tr', { class: 'stream', tabindex: 0 }, ...Object.values(cells));
  line.addEventListener('click', () => plot(id, true));
  line.addEventListener('keydown', event => { if (event.key === 'Enter') plot(id, true); });
  return { line, cells };
}

function showStream({ line, cells }, id, stream) {
  const n = state.n[id] || [0, 0, null, null, null, null], [rates, losses] = state.minutes[id] || [[], []];
  const silent = rates.length >= SILENT && rates.slice(-SILENT).every(rate => rate === 0);
  line.className = 'stream' + (silent ? ' silent' : '');
  text(cells.group.children[0], at(stream.group, stream.port));
  text(cells.group.children[1], [stream.name, stream.format, stream.sealed && 'sealed', segment(stream), stream.tunnel].filter(Boolean).join(' · '));
  text(cells.source.children[0], stream.source);
  const receivers = values('members').filter(member => member.group === stream.group && !member.ours && member.if === stream.if).length;
  text(cells.source.children[1], [stream.ours && 'this machine', receivers && counted(receivers, 'member'), stream.here.length && 'here: ' + stream.here.join(', ')].filter(Boolean).join(' · '));
  cells.spark.replaceChildren(spark(rates, losses, 120, 28));
  text(cells.rate, bits(n[0]));
  text(cells.loss, percent(n[3]));
  cells.loss.className = 'number ' + level(n[3]);
  cells.loss.title = n[4] === null ? 'the datagrams are not numbered' : counted(n[4], 'datagram') + ' lost';
  text(cells.jitter, micros(n[5]));
}

/** Draws a rate as an area, and losses as bars from above. */
function spark(rates, losses, width, height) {
  const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  if (rates.length < 2) return root;
  const top = Math.max(...rates, 1), step = width / (MINUTE - 1), from = width - (rates.length - 1) * step;
  const points = rates.map((rate, number) => `${(from + number * step).toFixed(1)},${(height - 1 - rate / top * (height - 4)).toFixed(1)}`);
  root.append(svg('path', { class: 'area', d: `M${from.toFixed(1)},${height} L${points.join(' L')} L${width},${height}` }), svg('path', { class: 'rate', d: 'M' + points.join(' L') }));
  losses.forEach((loss, number) => {
    if (loss > 0) root.append(svg('rect', { class: 'loss', x: (from + number * step - step / 2).toFixed(1), y: 0, width: step.toFixed(1), height: Math.max(3, Math.min(loss / 10, 0.6) * height).toFixed(1) }));
  });
  return root;
}

// --- plot of one stream

async function plot(id, opens) {
  const stream = state.streams[id], box = byId('plot'), body = box.querySelector('.body');
  if (!stream) return;
  if (opens) {
    plotted = id;
    box.addEventListener('close', () => { plotted = null; }, { once: true });
    text(box.querySelector('h2'), at(stream.group, stream.port) + ' from ' + at(stream.source, stream.sport));
    body.replaceChildren(make('div'), make('div'), make('dl'));
    box.showModal();
    if (!offline) {
      try {
        const history = await (await fetch('history.json?stream=' + id)).json();
        state.hours[id] = history.hour;
      } catch { /* the last minute remains */ }
    }
  }
  if (!body.children.length) return;
  body.children[0].replaceChildren(chart(state.minutes[id] || [[], []], 1, body.clientWidth));
  if (opens) body.children[1].replaceChildren((state.hours[id]?.[0].length || 0) > 1 ? chart(state.hours[id], 10, body.clientWidth) : '');
  const n = state.n[id] || [], members = values('members').filter(member => member.group === stream.group && member.if === stream.if);
  const facts = { name: stream.name, payload: stream.format, interface: segment(stream), tunnel: stream.tunnel, TTL: stream.ttl, rate: bits(n[0] || 0) + ', ' + (n[1] || 0) + ' datagrams/s',
    loss: n[4] === null ? 'not known: the datagrams are not numbered' : percent(n[3]) + ', ' + counted(n[4] || 0, 'datagram'), jitter: micros(n[5]),
    members: members.map(member => member.host).sort(byAddress).join(', '), 'on this machine': stream.here.join(', ') };
  body.children[2].replaceChildren(...Object.entries(facts).filter(([, value]) => value || value === 0).flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, String(value))]));
}

function chart([rates, losses], seconds, room) {
  const length = rates.length * seconds, label = length > 120 ? 'last ' + Math.round(length / 60) + ' min' : 'last ' + length + ' s';
  const width = Math.max(280, room), height = 190, left = 78, bottom = 22, top = 16, most = Math.max(...rates, 1), worst = Math.max(...losses, 0);
  const x = number => left + (rates.length < 2 ? 0 : number / (rates.length - 1)) * (width - left - 8), y = rate => top + (1 - rate / most) * (height - top - bottom);
  const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label });
  for (const part of [0, 0.5, 1]) {
    root.append(svg('line', { class: 'axis', x1: left, x2: width - 8, y1: y(most * part), y2: y(most * part) }),
      svg('text', { class: 'tick', x: left - 8, y: y(most * part) + 4, 'text-anchor': 'end' }, bits(most * part)));
  }
  losses.forEach((loss, number) => {
    if (loss > 0) root.append(svg('rect', { class: 'loss', x: x(number) - 1.5, y: top, width: 3, height: Math.max(4, loss / Math.max(worst, 1) * (height - top - bottom)) }));
  });
  const line = rates.map((rate, number) => `${x(number).toFixed(1)},${y(rate).toFixed(1)}`).join(' L');
  if (rates.length > 1) root.append(svg('path', { class: 'area', d: `M${x(0)},${y(0)} L${line} L${x(rates.length - 1)},${y(0)}` }), svg('path', { class: 'rate', d: 'M' + line }));
  root.append(svg('text', { class: 'tick', x: left, y: height - 5 }, label),
    svg('text', { class: 'tick', x: width - 8, y: height - 5, 'text-anchor': 'end' }, worst > 0 ? 'red: loss ≤ ' + percent(worst) : 'no loss seen'));
  return root;
}

// --- map

function map() {
  const segments = new Map();
  const on = item => {
    const name = segment(item);
    if (!segments.has(name)) segments.set(name, { routers: new Map(), hosts: new Map() });
    return segments.get(name);
  };
  const host = (place, address) => {
    if (!place.hosts.has(address)) place.hosts.set(address, { sends: new Set(), joins: new Set(), ours: false });
    return place.hosts.get(address);
  };
  const router = (place, address, about, ours) => {
    const known = place.routers.get(address) || { about: new Set(), ours: false };
    known.about.add(about); known.ours ||= ours;
    place.routers.set(address, known);
  };
  for (const item of values('services')) {
    if (item.kind === 'neighbor') router(on(item), item.name, 'switch', false);
    else if (['router', 'querier'].includes(item.kind)) {
      const lost = item.fields.some(([name, value]) => name === 'elected' && value === 'no');
      router(on(item), item.addresses[0] || item.from, item.protocol.toUpperCase() + ' ' + item.kind + (lost ? ' (not elected)' : ''), item.ours);
    }
  }
  for (const item of values('members')) { const known = host(on(item), item.host); known.joins.add(item.group); known.ours ||= item.ours; }
  for (const item of values('streams')) { const known = host(on(item), item.source); known.sends.add(item.group); known.ours ||= item.ours; }
  const body = byId('map').querySelector('.body'), width = Math.max(body.clientWidth, 240);
  const names = [...segments.keys()].sort();
  text(byId('map').querySelector('.count'), names.length ? counted(names.length, 'segment') : '');
  body.replaceChildren(...names.map(name => make('div', { class: 'segment' }, make('h3', {}, name), drawSegment(segments.get(name), width))));
  if (!names.length) body.append(make('p', { class: 'empty' }, 'Nobody has joined, sent or asked yet.'));
}

function drawSegment({ routers, hosts }, width) {
  const columns = Math.max(1, Math.floor(width / 150)), cell = width / columns, high = 40, gap = 16, root = svg('svg', { width });
  const upper = [...routers].map(([address, { about, ours }]) => ({ address, about: [...about].sort().join(', '), style: 'router' + (ours ? ' self' : ''), key: address }));
  const order = [...hosts].sort(([a], [b]) => byAddress(a, b));
  const lower = order.slice(0, MAX_HOSTS).map(([address, { sends, joins, ours }]) => ({
    address, about: [sends.size && '▲ sends ' + sends.size, joins.size && '▼ joined ' + joins.size].filter(Boolean).join('  '), style: ours ? 'self' : '', key: [address, ...sends, ...joins].join(' '),
  }));
  let y = 2;
  const wires = [];
  const rows = (nodes, isUpper) => {
    for (let start = 0; start < nodes.length; start += columns) {
      const line = nodes.slice(start, start + columns);
      line.forEach((node, number) => {
        const middle = cell * (number + 0.5), wide = cell - 10;
        wires.push([middle, isUpper ? y + high : y]);
        const cut = (value, size) => { const most = Math.floor((wide - 12) / size); return value.length > most ? value.slice(0, most - 1) + '…' : value; };
        root.append(svg('g', { class: 'node ' + node.style + (matches(node.key) ? '' : ' dim'), tabindex: 0, onclick: () => setFilter(filter === node.address.toLowerCase() ? '' : node.address) },
          svg('title', {}, node.address + '\n' + node.about), svg('rect', { x: middle - wide / 2, y, width: wide, height: high, rx: 7 }),
          svg('text', { x: middle - wide / 2 + 7, y: y + 17 }, cut(node.address, 6.9)), svg('text', { x: middle - wide / 2 + 7, y: y + 33 }, cut(node.about, 6))));
      });
      y += high + gap;
    }
  };
  rows(upper, true);
  const bus = y;
  y += gap;
  rows(lower, false);
  root.prepend(svg('line', { class: 'bus', x1: 6, x2: width - 6, y1: bus, y2: bus }));
  for (const [x, end] of wires) root.prepend(svg('line', { class: 'wire', x1: x, x2: x, y1: bus, y2: end }));
  const more = hosts.size - lower.length;
  if (more > 0) { root.append(svg('text', { class: 'tick', x: 6, y: y + 4 }, 'and ' + counted(more, 'more host'))); y += 14; }
  root.setAttribute('height', y);
  root.setAttribute('viewBox', `0 0 ${width} ${y}`);
  return root;
}

// --- services and changes

function services() {
  const list = values('services'), kinds = [...new Set(list.map(service => service.kind))].sort();
  if (!kinds.includes(kind)) kind = '';
  byId('services').querySelector('.chips').replaceChildren(...(kinds.length > 1 ? ['', ...kinds] : []).map(name =>
    make('button', { type: 'button', 'aria-pressed': String(kind === name), onclick: () => { kind = name; dirty.add('services'); draw(); } }, name || 'all')));
  const shown = list.filter(service => (!kind || service.kind === kind) && matches(service.name, service.kind, service.protocol, service.service, service.host, service.addresses, segment(service), service.fields))
    .sort((a, b) => a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : a.name.localeCompare(b.name));
  const body = byId('services').querySelector('.body');
  const open = new Set([...body.querySelectorAll('details[open]')].map(details => details.dataset.key));
  const rows = shown.slice(0, MAX_ROWS).map(service => {
    const key = service.protocol + service.name + segment(service) + service.service;
    const facts = [...service.fields, ['announced by', service.from], ['since', new Date(service.first).toLocaleString()]];
    const where = service.url || service.addresses.map(address => service.port ? at(address, service.port) : address).join(', ');
    const details = make('details', { open: open.has(key) || undefined }, make('summary', {}, service.service || service.kind), ...facts.map(([name, value]) => make('small', {}, name + (value ? ' = ' + value : ''))));
    details.dataset.key = key;
    return make('tr', {}, make('td', {}, service.name, make('small', {}, [service.kind, service.protocol, segment(service)].join(' · '))), make('td', {}, where, service.host ? make('small', {}, service.host) : null, details));
  });
  const more = shown.length - rows.length;
  text(byId('services').querySelector('.count'), shown.length === list.length ? String(list.length) : shown.length + ' of ' + list.length);
  body.replaceChildren(rows.length ? make('table', {}, make('tbody', {}, ...rows)) : make('p', { class: 'empty' }, list.length ? 'No service matches.' : 'Nothing has announced itself yet. mcast discover --ask asks.'));
  if (more > 0) body.append(make('p', { class: 'empty' }, 'and ' + more + ' more: filter to see them'));
}

function changes() {
  const newest = state.changes.at(-1), key = filter + state.changes.length + (newest ? newest.time + newest.text : '');
  if (drawn.changes === key) return;
  drawn.changes = key;
  const shown = state.changes.filter(change => matches(change.kind, change.text)).reverse();
  const style = change => change.kind === 'loss' && change.event === 'new' ? 'bad' : change.event === 'gone' || change.event === 'silent' ? 'warn' : change.event === 'new' ? 'good' : '';
  byId('changes').querySelector('.body').replaceChildren(...shown.slice(0, MAX_ROWS).map(change => make('p', {}, make('time', {}, clock(change.time)),
    make('span', { class: 'what ' + style(change) }, change.kind + ' ' + change.event), make('span', { class: 'text' }, change.text))));
  if (!shown.length) byId('changes').querySelector('.body').append(make('p', { class: 'empty' }, 'Nothing has changed.'));
  text(byId('changes').querySelector('.count'), shown.length ? String(shown.length) : '');
}

// --- events

function setFilter(value) {
  byId('filter').value = value;
  filter = value.trim().toLowerCase();
  draw();
}
function status(isOn, words) {
  byId('live').className = 'live ' + (isOn ? 'on' : 'off');
  text(byId('live'), words);
}
async function follow() {
  let full;
  try {
    const response = await fetch('state.json');
    if (!response.ok) throw new Error(response.status === 401 ? 'the token is missing: open the URL that mcast top printed' : 'status ' + response.status);
    full = await response.json();
  } catch (error) {
    status(false, error instanceof TypeError ? 'not reachable' : error.message);
    setTimeout(follow, 3000);
    return;
  }
  take(full);
  const source = new EventSource('events?last-event-id=' + encodeURIComponent(full.last));
  let watch;
  const restart = () => { source.close(); clearTimeout(watch); follow(); };
  source.onopen = () => status(true, 'live');
  source.onerror = () => { status(false, 'connection lost'); if (source.readyState === EventSource.CLOSED) { clearTimeout(watch); source.close(); setTimeout(follow, 3000); } };
  source.addEventListener('reset', restart);
  source.onmessage = message => {
    status(true, 'live');
    clearTimeout(watch);
    watch = setTimeout(() => status(false, 'nothing received for 10 s'), 10000);
    apply(JSON.parse(message.data));
  };
}

byId('filter').addEventListener('input', event => setFilter(event.target.value));
addEventListener('resize', () => draw());
document.addEventListener('visibilitychange', () => { dirty = new Set(SECTIONS); if (state.time) draw(); });
if (new URLSearchParams(location.search).has('token')) history.replaceState(null, '', location.pathname);
const saved = byId('snapshot');
if (saved) {
  offline = true;
  byId('save').remove();
  byId('live').remove();
  take(JSON.parse(saved.textContent));
} else follow();
