"use strict";
// Plays what a group carries, without a library: MPEG-TS with H.264 and AAC or MP3, and AAC or MP3 alone. Browsers have no
// demultiplexer for a transport stream, so this puts its pictures into fragments of MP4. Times are in units of 90 kHz.

const CLOCK = 90_000;
const PACKET = 188;
// Seconds that are kept behind what is shown, and how far behind the newest it may fall.
const KEPT = 20, FURTHEST_BEHIND = 4;
// More packets than a picture has: 6 MB. A stream that never ends one is not kept.
const MOST_PARTS = 32_768;

const TYPES = {
  0x01: "MPEG-1 video", 0x02: "MPEG-2 video", 0x03: "MPEG audio", 0x04: "MPEG audio", 0x0f: "AAC", 0x11: "AAC in LATM",
  0x1b: "H.264", 0x24: "H.265", 0x81: "AC-3", 0x87: "E-AC-3",
};
const VIDEO = [0x01, 0x02, 0x1b, 0x24];
const AUDIO_FORMATS = { 0x0f: "audio/aac", 0x03: "audio/mpeg", 0x04: "audio/mpeg" };

const concat = parts => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
};
const bytes32 = (...numbers) => numbers.flatMap(number => [number >>> 24 & 255, number >>> 16 & 255, number >>> 8 & 255, number & 255]);
const box = (name, ...parts) => {
  const body = concat(parts.map(part => part instanceof Uint8Array ? part : new Uint8Array(part)));
  return concat([new Uint8Array([...bytes32(body.length + 8), ...name].map(sign => typeof sign === "string" ? sign.charCodeAt(0) : sign)), body]);
};

// The bits of a sequence parameter set, without its emulation prevention.
class Bits {
  constructor(bytes) {
    this.bytes = bytes.filter((byte, at) => !(byte === 3 && at > 1 && bytes[at - 1] === 0 && bytes[at - 2] === 0));
    this.at = 0;
  }
  one() { return this.bytes[this.at >> 3] >> 7 - (this.at++ & 7) & 1; }
  some(count) { let value = 0; while (count--) value = value * 2 + this.one(); return value; }
  unsigned() { let zeros = 0; while (!this.one() && zeros < 32) zeros += 1; return 2 ** zeros - 1 + this.some(zeros); }
  signed() { const value = this.unsigned(); return value & 1 ? (value + 1) / 2 : -value / 2; }
}

// The size of the pictures (ITU-T H.264, 7.3.2.1.1).
function sizeOf(sps) {
  const bits = new Bits(sps.subarray(1));
  const profile = bits.some(8);
  bits.some(16);
  bits.unsigned();
  let chroma = 1;
  if ([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].includes(profile)) {
    chroma = bits.unsigned();
    if (chroma === 3) bits.one();
    bits.unsigned(); bits.unsigned(); bits.one();
    if (bits.one()) for (let list = 0; list < (chroma === 3 ? 12 : 8); list += 1) {
      if (!bits.one()) continue;
      for (let last = 8, next = 8, left = list < 6 ? 16 : 64; left > 0; left -= 1) {
        if (next) next = (last + bits.signed() + 256) % 256;
        last = next || last;
      }
    }
  }
  bits.unsigned();
  const order = bits.unsigned();
  if (order === 0) bits.unsigned();
  if (order === 1) {
    bits.one(); bits.signed(); bits.signed();
    for (let left = Math.min(bits.unsigned(), 255); left > 0; left -= 1) bits.signed();
  }
  bits.unsigned(); bits.one();
  const columns = bits.unsigned() + 1, rows = bits.unsigned() + 1, isWhole = bits.one();
  if (!isWhole) bits.one();
  bits.one();
  const crop = bits.one() ? [bits.unsigned(), bits.unsigned(), bits.unsigned(), bits.unsigned()] : [0, 0, 0, 0];
  const across = chroma === 1 || chroma === 2 ? 2 : 1, down = (chroma === 1 ? 2 : 1) * (2 - isWhole);
  return [columns * 16 - across * (crop[0] + crop[1]), (2 - isWhole) * rows * 16 - down * (crop[2] + crop[3])];
}

// The start of an MP4 with one track of H.264 (ISO/IEC 14496-12 and -15).
function head(sps, pps, [width, height]) {
  const size = [width >> 8, width & 255, height >> 8, height & 255];
  const matrix = bytes32(65536, 0, 0, 0, 65536, 0, 0, 0, 1073741824);
  const zeros = count => new Array(count).fill(0);
  const record = box("avcC", [1, sps[1], sps[2], sps[3], 255, 225, sps.length >> 8, sps.length & 255], sps, [1, pps.length >> 8, pps.length & 255], pps);
  const entry = box("avc1", zeros(6), [0, 1], zeros(16), size, bytes32(4718592, 4718592, 0), [0, 1], zeros(32), [0, 24, 255, 255], record);
  const empty = name => box(name, zeros(8));
  const table = box("stbl", box("stsd", bytes32(0, 1), entry), empty("stts"), empty("stsc"), box("stsz", zeros(12)), empty("stco"));
  const data = box("dinf", box("dref", bytes32(0, 1), box("url ", bytes32(1))));
  const media = box("mdia", box("mdhd", bytes32(0, 0, 0, CLOCK, 0), [85, 196, 0, 0]), box("hdlr", zeros(8), [118, 105, 100, 101], zeros(13)),
    box("minf", box("vmhd", bytes32(1), zeros(8)), data, table));
  const track = box("trak", box("tkhd", bytes32(3, 0, 0, 1, 0, 0, 0, 0, 0, 0), matrix, [...size.slice(0, 2), 0, 0, ...size.slice(2), 0, 0]), media);
  const movie = box("mvhd", bytes32(0, 0, 0, CLOCK, 0, 65536), [1, 0], zeros(10), matrix, zeros(24), bytes32(2));
  return concat([box("ftyp", [105, 115, 111, 53], bytes32(1), [105, 115, 111, 53]),
    box("moov", movie, track, box("mvex", box("trex", bytes32(0, 1, 1, 0, 0, 0))))]);
}

// A fragment with one picture.
function fragment(number, { decode, shown, isKey, bytes }, duration) {
  const flags = isKey ? 0x02000000 : 0x01010000;
  const times = box("tfdt", bytes32(0x01000000, Math.floor(decode / 2 ** 32), decode % 2 ** 32));
  const run = offset => box("trun", bytes32(0x01000f01, 1, offset, duration, bytes.length, flags, shown - decode));
  const movie = offset => box("moof", box("mfhd", bytes32(0, number)), box("traf", box("tfhd", bytes32(0x020000, 1)), times, run(offset)));
  return concat([movie(movie(0).length + 8), box("mdat", bytes)]);
}

// Where a unit ends: it has no zeros at its end.
function endOf(bytes, at) {
  while (at > 0 && bytes[at - 1] === 0) at -= 1;
  return at;
}

// The units of an access unit, which start codes separate.
function units(bytes) {
  const found = [];
  let start = -1;
  for (let at = 0; at + 2 < bytes.length; at += 1) {
    if (bytes[at] || bytes[at + 1] || bytes[at + 2] !== 1) continue;
    if (start >= 0) found.push(bytes.subarray(start, endOf(bytes, at)));
    start = at + 3;
    at += 2;
  }
  if (start >= 0) found.push(bytes.subarray(start, endOf(bytes, bytes.length)));
  return found.filter(unit => unit.length > 1);
}

// Takes a transport stream, and passes on what its streams are, and their packets.
class Demultiplexer {
  constructor(onStreams, onPacket) {
    Object.assign(this, { onStreams, onPacket, rest: new Uint8Array(0), tablePid: -1, parts: new Map(), types: null });
  }

  add(bytes) {
    let data = concat([this.rest, bytes]), at = 0;
    while (at + PACKET <= data.length) {
      if (data[at] !== 0x47) { at += 1; continue; }
      this.packet(data.subarray(at, at + PACKET));
      at += PACKET;
    }
    this.rest = data.slice(at);
  }

  packet(packet) {
    const pid = (packet[1] & 31) << 8 | packet[2], starts = packet[1] & 64;
    if (!(packet[3] & 16)) return;
    const payload = packet.subarray(packet[3] & 32 ? 5 + packet[4] : 4);
    if (pid === 0 && starts) {
      const section = payload.subarray(payload[0] + 1);
      for (let at = 8; at + 4 <= section.length - 4 && this.tablePid < 0; at += 4) {
        if (section[at] << 8 | section[at + 1]) this.tablePid = (section[at + 2] & 31) << 8 | section[at + 3];
      }
    } else if (pid === this.tablePid && starts && !this.types) {
      this.table(payload.subarray(payload[0] + 1));
    } else if (this.types?.has(pid)) {
      if (starts) {
        this.flush(pid);
        this.parts.set(pid, []);
      }
      const parts = this.parts.get(pid);
      if (parts && parts.push(payload) > MOST_PARTS) this.parts.delete(pid);
    }
  }

  table(section) {
    const end = 3 + ((section[1] & 15) << 8 | section[2]) - 4;
    const types = new Map();
    let at = 12 + ((section[10] & 15) << 8 | section[11]);
    for (; at + 5 <= Math.min(end, section.length); at += 5 + ((section[at + 3] & 15) << 8 | section[at + 4])) {
      types.set((section[at + 1] & 31) << 8 | section[at + 2], section[at]);
    }
    this.types = types;
    this.onStreams([...types.values()]);
  }

  flush(pid) {
    const parts = this.parts.get(pid);
    this.parts.delete(pid);
    const packet = parts && concat(parts);
    if (!packet || packet.length < 9 || packet[2] !== 1) return;
    const time = at => (packet[at] >> 1 & 7) * 2 ** 30 + (packet[at + 1] << 22 | packet[at + 2] >> 1 << 15 | packet[at + 3] << 7 | packet[at + 4] >> 1);
    const shown = packet[7] & 128 ? time(9) : null;
    this.onPacket(this.types.get(pid), shown, packet[7] & 64 ? time(14) : shown, packet.subarray(9 + packet[8]));
  }
}

// Appends to a track of the browser, one part after the other.
class Track {
  constructor(source, format, element) {
    this.buffer = source.addSourceBuffer(format);
    this.queue = [];
    this.element = element;
    this.buffer.onupdateend = () => this.next();
  }
  add(bytes) { this.queue.push(bytes); this.next(); }
  next() {
    if (this.buffer.updating || this.element.error) return;
    const { buffered } = this.buffer, now = this.element.currentTime;
    if (buffered.length && now - buffered.start(0) > 2 * KEPT) this.buffer.remove(0, now - KEPT);
    else if (this.queue.length) this.buffer.appendBuffer(concat(this.queue.splice(0)));
  }
}

// Plays what is at this address, until the signal; passes what it does, or why it does not, to `say`.
async function play(url, element, signal, say) {
  if (!window.MediaSource) throw new Error("this browser does not play streams that a page passes to it");
  const source = new MediaSource();
  const address = URL.createObjectURL(source);
  element.src = address;
  await new Promise(opened => source.addEventListener("sourceopen", opened, { once: true }));
  URL.revokeObjectURL(address);
  const failed = new Promise((_, fail) => { element.onerror = () => fail(new Error(element.error.message)); });
  let pictures = null, sounds = null, base = null, sps = null, pps = null, waiting = null, number = 0, types = [], heard = null, keys = 0;
  // Of MPEG audio, browsers play layer III.
  const isHeard = (type, bytes) => MediaSource.isTypeSupported(AUDIO_FORMATS[type]) && (type === 0x0f || (bytes[1] >> 1 & 3) === 1);
  const isPlayed = type => type === 0x1b || AUDIO_FORMATS[type] !== undefined && heard !== false;

  const describe = () => {
    const names = types.map(type => TYPES[type] ?? `type ${type}`);
    const lacking = types.filter(type => !isPlayed(type));
    const without = lacking.length ? `; a browser does not play ${lacking.map(type => TYPES[type] ?? `type ${type}`).join(" or ")}` : "";
    say(`${element.videoWidth ? `${element.videoWidth} × ${element.videoHeight}, ` : ""}${names.join(", ")}${without}`);
  };
  element.onloadedmetadata = describe;

  const onStreams = found => {
    types = found;
    const mayBeHeard = types.some(type => AUDIO_FORMATS[type]);
    if (!types.includes(0x1b) && (!mayBeHeard || types.some(type => VIDEO.includes(type)))) {
      throw new Error(`it carries ${types.map(type => TYPES[type] ?? `type ${type}`).join(", ")}, which browsers do not play`);
    }
    describe();
  };
  const startSounds = (type, shown) => {
    sounds = new Track(source, AUDIO_FORMATS[type], element);
    if (base !== null) sounds.buffer.timestampOffset = (shown - base) / CLOCK;
  };
  const onPicture = (shown, decode, bytes) => {
    const found = units(bytes), kinds = found.map(unit => unit[0] & 31), isKey = kinds.includes(5);
    sps = found[kinds.indexOf(7)]?.slice() ?? sps;
    pps = found[kinds.indexOf(8)]?.slice() ?? pps;
    if (!pictures) {
      if (!isKey || !sps || !pps) return;
      // Its sound is known by the first packet of it.
      if (heard === null && types.some(type => AUDIO_FORMATS[type]) && (keys += 1) < 3) return;
      base = decode;
      const codec = [...sps.subarray(1, 4)].map(byte => byte.toString(16).padStart(2, "0")).join("");
      pictures = new Track(source, `video/mp4; codecs="avc1.${codec}"`, element);
      if (heard) startSounds(types.find(type => AUDIO_FORMATS[type]), base);
      pictures.add(head(sps, pps, sizeOf(sps)));
    }
    // The clock of the stream wraps after 26 hours, or starts again with another stream.
    if (decode < base || waiting && Math.abs(decode - base - waiting.decode) > 10 * CLOCK) throw new Error("the stream has started again: play it again");
    const slices = found.filter((_, at) => ![7, 8, 9].includes(kinds[at]));
    const sample = concat(slices.flatMap(slice => [new Uint8Array(bytes32(slice.length)), slice]));
    const next = { decode: decode - base, shown: shown - base, isKey, bytes: sample };
    if (waiting) pictures.add(fragment(number += 1, waiting, Math.max(next.decode - waiting.decode, 1)));
    waiting = next;
  };
  let isFirstSound = true;
  const onPacket = (type, shown, decode, bytes) => {
    if (type === 0x1b && shown !== null) onPicture(shown, decode, bytes);
    else if (AUDIO_FORMATS[type] && shown !== null) {
      if (heard === null) {
        heard = isHeard(type, bytes);
        describe();
      }
      if (!heard && !types.includes(0x1b)) throw new Error("it carries MPEG audio of layer I or II, which browsers do not play");
      if (!heard) return;
      if (types.includes(0x1b)) {
        if (!sounds || shown < base) return;
        if (isFirstSound) sounds.buffer.timestampOffset = (shown - base) / CLOCK;
      } else if (!sounds) startSounds(type, shown);
      isFirstSound = false;
      sounds.add(bytes);
    }
  };

  const follow = setInterval(() => {
    const { buffered, currentTime } = element;
    if (!buffered.length) return;
    const last = buffered.length - 1, end = buffered.end(last);
    if (currentTime < buffered.start(last) || end - currentTime > FURTHEST_BEHIND) element.currentTime = Math.max(buffered.start(last), end - 1);
    if (element.paused && !element.ended && element.dataset.started !== "1") { element.dataset.started = "1"; element.play().catch(() => {}); }
  }, 250);
  try {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    say("waiting for data");
    const reader = answer.body.getReader(), demultiplexer = new Demultiplexer(onStreams, onPacket);
    let first = new Uint8Array(0), add = null;
    for (;;) {
      const { value, done } = await Promise.race([reader.read(), failed]);
      if (done) return;
      if (add) { add(value); continue; }
      first = concat([first, value]);
      if (first.length < 4 * PACKET) continue;
      const isPacket = at => [0, 1, 2].every(count => first[at + count * PACKET] === 0x47);
      const isSound = at => first[at] === 255 && (first[at + 1] & 0xe0) === 0xe0;
      const packet = [...first.keys()].slice(0, PACKET).find(isPacket), sound = [...first.keys()].find(isSound);
      if (packet !== undefined) {
        add = bytes => demultiplexer.add(bytes);
        add(first.subarray(packet));
      } else if (sound !== undefined) {
        types = [(first[sound + 1] & 6) === 0 ? 0x0f : 0x03];
        heard = isHeard(types[0], first.subarray(sound));
        if (!heard) throw new Error("it carries MPEG audio of layer I or II, which browsers do not play");
        describe();
        startSounds(types[0], null);
        add = bytes => sounds.add(bytes);
        add(first.slice(sound));
      } else throw new Error("this is neither MPEG-TS nor AAC nor MP3");
    }
  } finally {
    clearInterval(follow);
  }
}
