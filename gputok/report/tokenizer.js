// A tokenizer in the page: the steps that gputok/report/portable.py describes, on the text that is typed.
// A piece is a list of characters [code point, first, last + 1]: what it is, and where in the typed text it comes from.

const BYTES = (() => { // the character that stands for each byte in the ByteLevel alphabet
  const printed = b => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({length: 256}, (_, b) => printed(b) ? b : next++);
})();
const SPACES = new Set([9, 10, 11, 12, 13, 32, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000]);
for (let code = 0x2000; code <= 0x200a; code++) SPACES.add(code);
const stringOf = piece => piece.map(([code]) => String.fromCodePoint(code)).join("");
const codesOf = text => Array.from(text, c => c.codePointAt(0));
const utf8 = new TextEncoder();

function unpacked(runs) { // [length, value, length, value, ...]
  const values = [];
  for (let i = 0; i < runs.length; i += 2) for (let n = runs[i]; n > 0; n--) values.push(runs[i + 1]);
  return values;
}

// -- cutting by an automaton: tests/reference/split.py

function automaton(tables) {
  if (tables.text !== undefined) return literal(codesOf(tables.text));
  const [page, member, delta, accept] = ["page", "member", "delta", "accept"].map(name => unpacked(tables[name]));
  return {classOf: code => member[page[code >> 7] * 128 + (code & 127)], delta, accept, width: tables.classes + 1};
}

function literal(codes) { // finds a text
  const letters = [...new Set(codes)], width = letters.length + 2, index = new Map(letters.map((code, i) => [code, i]));
  const delta = new Array((codes.length + 1) * width).fill(0xffff);
  const accept = delta.map((_, at) => at >= codes.length * width);
  codes.forEach((code, i) => { delta[i * width + index.get(code)] = i + 1; });
  return {classOf: code => index.get(code) ?? width - 2, delta, accept, width};
}

function* spans(piece, {classOf, delta, accept, width}) { // gaps and matches: [first, last + 1, is a match]
  const classes = piece.map(([code]) => classOf(code)), n = piece.length;
  let p = 0, gap = 0, lastMatch = -1;
  while (p <= n) {
    let found = -1, state = 0;
    for (let q = p; q <= n; q++) {
      const at = state * width + (q < n ? classes[q] : width - 1);
      if (accept[at]) found = q;
      state = delta[at];
      if (state === 0xffff) break;
    }
    if (found < 0 || (p === found && found === lastMatch)) { p++; continue; }
    if (gap < p) yield [gap, p, 0];
    yield [p, found, 1];
    p = gap = lastMatch = found;
  }
  if (gap < n) yield [gap, n, 0];
}

function cut(piece, machine, [cuts, drop]) {
  const pieces = [], all = [...spans(piece, machine)];
  let begin = 0;
  all.forEach(([, stop, flag], k) => {
    if (k + 1 < all.length && !cuts[flag][all[k + 1][2]]) return;
    if (begin < stop && !drop[flag]) pieces.push(piece.slice(begin, stop));
    begin = stop;
  });
  return pieces;
}

// -- normalizers: piece -> piece

const NORMALIZERS = {
  form(name) { // characters that change together come from all of their origins
    return piece => {
      const result = [];
      for (let i = 0; i < piece.length;) {
        let j = i + 1; // up to the next character before which nothing composes or moves
        for (; j < piece.length; j++) {
          const [before, code] = [stringOf(piece.slice(i, j)), String.fromCodePoint(piece[j][0])];
          const apart = before.normalize(name) + code.normalize(name);
          if ((before + code).normalize(name) === apart && !/\p{M}/u.test(code)) break;
        }
        const codes = codesOf(stringOf(piece.slice(i, j)).normalize(name));
        if (codes.length === j - i) codes.forEach((code, k) => result.push([code, piece[i + k][1], piece[i + k][2]]));
        else codes.forEach(code => result.push([code, piece[i][1], piece[j - 1][2]]));
        i = j;
      }
      return result;
    };
  },
  map(runs, texts) { // a rule for each code point: it stays (0), vanishes (1), gets spaces (2), becomes texts[rule - 3]
    const ends = [], rules = [];
    for (let i = 0, end = 0; i < runs.length; i += 2) { end += runs[i]; ends.push(end); rules.push(runs[i + 1]); }
    const ruleOf = code => {
      let low = 0, high = ends.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (code < ends[middle]) high = middle; else low = middle + 1;
      }
      return rules[low];
    };
    return piece => piece.flatMap(([code, a, b]) => {
      const rule = ruleOf(code);
      if (rule === 0) return [[code, a, b]];
      if (rule === 1) return [];
      return rule === 2 ? [[32, a, b], [code, a, b], [32, a, b]] : codesOf(texts[rule - 3]).map(one => [one, a, b]);
    });
  },
  prepend(text) {
    const codes = codesOf(text);
    return piece => piece.length ? [...codes.map(code => [code, piece[0][1], piece[0][2]]), ...piece] : piece;
  },
  replace(tables, content) {
    const machine = automaton(tables), codes = codesOf(content);
    return piece => [...spans(piece, machine)].flatMap(([first, last, flag]) => {
      if (!flag) return piece.slice(first, last);
      const [a, b] = first < last ? [piece[first][1], piece[last - 1][2]] : [0, 0];
      return codes.map(code => [code, a, b]);
    });
  },
  precompiled(base64, page, member) { // tests/reference/precompiled.py
    const blob = Uint8Array.from(atob(base64), c => c.charCodeAt(0)), view = new DataView(blob.buffer);
    const n = view.getUint32(0, true) >> 2, texts = blob.subarray(4 + 4 * n);
    const trie = Uint32Array.from({length: n}, (_, i) => view.getUint32(4 + 4 * i, true));
    const step = unit => (unit >>> 10) << ((unit & 512) >>> 6);
    const lookUp = text => {
      let at = n ? step(trie[0]) : 0;
      for (const byte of utf8.encode(text)) {
        at ^= byte;
        if (byte === 0 || at < 0 || at >= n || (trie[at] & 0x800000ff) !== byte) return null;
        const leaf = trie[at] >> 8 & 1;
        at ^= step(trie[at]);
        if (leaf) {
          const value = at >= 0 && at < n ? trie[at] & 0x7fffffff : texts.length;
          if (value >= texts.length) return null;
          const end = texts.indexOf(0, value);
          return new TextDecoder().decode(texts.subarray(value, end < 0 ? texts.length : end));
        }
      }
      return null;
    };
    const [pages, members] = [unpacked(page), unpacked(member)];
    const kindOf = code => String.fromCharCode(97 + members[pages[code >> 7] * 128 + (code & 127)]);
    const joined = (history, kind) => { // rules GB3 to GB9c and GB11 of UAX #29, for a cluster of these kinds
      const step = history.at(-1) + kind;
      return step === "cd" || (!/[bcd].|.[bcd]/.test(step) && (/i[ijlm]|[lj][jk]|[mk]k|.[efgpq]|h./.test(step) ||
        (kind === "o" && /o[pqf]*p[pqf]*$/.test(history)) || (kind === "n" && /n[epq]*f$/.test(history))));
    };
    return piece => {
      const result = [];
      for (let i = 0, j; i < piece.length; i = j) {
        let history = kindOf(piece[i][0]);
        for (j = i + 1; j < piece.length && joined(history, kindOf(piece[j][0])); j++) history += kindOf(piece[j][0]);
        const cluster = piece.slice(i, j), text = stringOf(cluster);
        const whole = utf8.encode(text).length < 6 ? lookUp(text) : null;
        const origin = k => cluster[Math.min(k, cluster.length - 1)].slice(1);
        if (whole !== null) result.push(...codesOf(whole).map((code, k) => [code, ...origin(k)]));
        else for (const [code, a, b] of cluster) {
          const alone = String.fromCodePoint(code);
          result.push(...codesOf(lookUp(alone) ?? alone).map(one => [one, a, b]));
        }
      }
      return result;
    };
  },
  strip(left, right) {
    return piece => {
      let [a, b] = [0, piece.length];
      while (left && a < b && SPACES.has(piece[a][0])) a++;
      while (right && a < b && SPACES.has(piece[b - 1][0])) b--;
      return piece.slice(a, b);
    };
  },
};

// -- pre-tokenizers: piece -> pieces

const byteCharacters = piece => piece.flatMap(([code, a, b]) =>
  Array.from(utf8.encode(String.fromCodePoint(code)), byte => [BYTES[byte], a, b]));
const SPLITTERS = {
  cut(tables, rule) { const machine = automaton(tables); return piece => cut(piece, machine, rule); },
  space() {
    return piece => piece.length && piece[0][0] !== 32 ? [[[32, piece[0][1], piece[0][2]], ...piece]] : [piece];
  },
  bytes() { return piece => [byteCharacters(piece)]; },
  metaspace(replacement, scheme, split) {
    const meta = replacement.codePointAt(0);
    return piece => {
      if (!piece.length) return [];
      const marked = scheme === "always" || (scheme === "first" && piece[0][1] === 0);
      const written = piece.map(([code, a, b]) => [code === 32 ? meta : code, a, b]);
      if (marked && written[0][0] !== meta) written.unshift([meta, piece[0][1], piece[0][2]]);
      if (!split) return [written];
      const pieces = [];
      for (const one of written)
        if (one[0] === meta || !pieces.length) pieces.push([one]); else pieces.at(-1).push(one);
      return pieces;
    };
  },
};

// -- models: piece -> tokens [id, first, last + 1], as positions of characters of the piece

function vocabulary(model) {
  const ids = new Map();
  model.tokens.forEach((token, i) => ids.set(token, model.ids ? model.ids[i] : i));
  return ids;
}

// A vocabulary can be larger than what a call takes as arguments, so that Math.max(...) fails
const longestOf = model => model.tokens.reduce((most, token) => Math.max(most, Array.from(token).length), 0);
const byteToken = byte => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

const MODELS = {
  bpe(model) { // tests/reference/encode_words.py
    const ids = vocabulary(model), texts = new Map(Array.from(ids, ([token, id]) => [id, token]));
    const ranks = new Map(), made = [], size = 2 ** 26, {prefix, suffix} = model;
    for (let i = 0; i < model.merges.length; i += 2) {
      const [left, right] = [model.merges[i], model.merges[i + 1]];
      ranks.set(left * size + right, i / 2);
      made.push(ids.get(texts.get(left) + texts.get(right).slice(prefix.length)));
    }
    const unknown = model.unk === null ? null : ids.get(model.unk);
    function first(characters) { // [id, first, last + 1] of each symbol
      const symbols = [];
      let waiting = null;
      characters.forEach((character, i) => {
        const text = (i ? prefix : "") + character + (i === characters.length - 1 ? suffix : "");
        const id = ids.get(text);
        if (id !== undefined) {
          if (waiting) symbols.push(waiting);
          waiting = null;
          symbols.push([id, i, i + 1]);
          return;
        }
        if (model.byteFallback) {
          const bytes = Array.from(utf8.encode(text), byte => ids.get(byteToken(byte)));
          if (bytes.every(byte => byte !== undefined)) { symbols.push(...bytes.map(byte => [byte, i, i + 1])); return; }
        }
        if (unknown === null) return;
        if (waiting && model.fuseUnk) waiting[2] = i + 1;
        else { if (waiting) symbols.push(waiting); waiting = [unknown, i, i + 1]; }
      });
      if (waiting) symbols.push(waiting);
      return symbols;
    }
    function merge(symbols) {
      const n = symbols.length, before = symbols.map((_, i) => i - 1), after = symbols.map((_, i) => i + 1), heap = [];
      const ahead = (x, y) => x[0] < y[0] || (x[0] === y[0] && x[1] < y[1]);
      const rankAt = left => ranks.get(symbols[left][0] * size + symbols[after[left]][0]);
      const offer = left => {
        if (left < 0 || after[left] >= n) return;
        const rank = rankAt(left);
        if (rank === undefined) return;
        let i = heap.push([rank, left]) - 1;
        for (let up; i && ahead(heap[i], heap[up = (i - 1) >> 1]); i = up) [heap[i], heap[up]] = [heap[up], heap[i]];
      };
      const take = () => {
        const top = heap[0], last = heap.pop();
        if (!heap.length) return top;
        heap[0] = last;
        for (let i = 0;;) {
          let least = i;
          for (const down of [2 * i + 1, 2 * i + 2])
            if (down < heap.length && ahead(heap[down], heap[least])) least = down;
          if (least === i) return top;
          [heap[i], heap[least]] = [heap[least], heap[i]];
          i = least;
        }
      };
      for (let i = 0; i < n; i++) offer(i);
      while (heap.length) {
        const [rank, at] = take(), right = after[at];
        if (!symbols[at] || right >= n) continue;
        const now = rankAt(at);
        if (now === undefined || made[now] !== made[rank]) continue;
        symbols[at] = [made[now], symbols[at][1], symbols[right][2]];
        after[at] = after[right];
        if (after[at] < n) before[after[at]] = at;
        symbols[right] = null;
        offer(before[at]);
        offer(at);
      }
      return symbols.filter(symbol => symbol);
    }
    return piece => {
      const characters = piece.map(([code]) => String.fromCodePoint(code));
      if (model.ignoreMerges && ids.has(characters.join(""))) return [[ids.get(characters.join("")), 0, piece.length]];
      return merge(first(characters));
    };
  },
  unigram(model) {
    const ids = vocabulary(model), longest = longestOf(model);
    const {scores, unk} = model, unkScore = scores.reduce((a, b) => Math.min(a, b), Infinity) - 10;
    return piece => {
      const characters = piece.map(([code]) => String.fromCodePoint(code)), n = characters.length;
      const best = [[0, 0, -1]]; // score, where the last token begins, that token
      for (let p = 0; p < n; p++) {
        if (!best[p]) continue;
        const arcs = [];
        let text = "";
        for (let q = p + 1; q <= Math.min(n, p + longest); q++) {
          text += characters[q - 1];
          if (ids.has(text)) arcs.push([q, scores[ids.get(text)], ids.get(text)]);
        }
        if (!arcs.length || arcs[0][0] !== p + 1) arcs.push([p + 1, unkScore, unk]);
        for (const [q, score, token] of arcs)
          if (!best[q] || score + best[p][0] > best[q][0]) best[q] = [score + best[p][0], p, token];
      }
      const path = [];
      for (let q = n; q > 0; q = best[q][1]) {
        const [, p, token] = best[q];
        if (token === unk && path.length && path.at(-1)[0] === unk) path.at(-1)[1] = p; else path.push([token, p, q]);
      }
      return path.reverse().flatMap(([token, p, q]) => {
        const text = characters.slice(p, q).join("");
        if (token !== unk || ids.has(text)) return [[token === unk ? ids.get(text) : token, p, q]];
        const bytes = Array.from(utf8.encode(text), byte => ids.get(byteToken(byte)));
        return model.byteFallback && !bytes.includes(undefined) ? bytes.map(byte => [byte, p, q]) : [[token, p, q]];
      });
    };
  },
  wordpiece(model) {
    const ids = vocabulary(model), longest = longestOf(model);
    return piece => {
      const characters = piece.map(([code]) => String.fromCodePoint(code)), n = characters.length, tokens = [];
      for (let p = 0; p < n;) {
        let q = n > model.maxChars ? p : Math.min(n, p + longest);
        while (q > p && !ids.has((p ? model.prefix : "") + characters.slice(p, q).join(""))) q--;
        if (q === p) return [[ids.get(model.unk), 0, n]];
        tokens.push([ids.get((p ? model.prefix : "") + characters.slice(p, q).join("")), p, q]);
        p = q;
      }
      return tokens;
    };
  },
  wordlevel(model) {
    const ids = vocabulary(model);
    return piece => {
      const id = ids.get(stringOf(piece)) ?? ids.get(model.unk);
      return id === undefined ? [] : [[id, 0, piece.length]];
    };
  },
};

// -- added tokens

function finder(tokens) { // [text, id, lstrip, rstrip]: the leftmost one, of several there the longest
  const known = new Map(tokens.map(token => [token[0], token]));
  const longestFirst = [...known.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map(text => text.replace(/[\\^$.*+?()[\]{}|\/-]/g, "\\$&")).join("|"), "gu");
  return piece => {
    const text = stringOf(piece), index = new Map(); // code unit -> index of the character
    let unit = 0;
    piece.forEach(([code], i) => { index.set(unit, i); unit += code > 0xffff ? 2 : 1; });
    index.set(unit, piece.length);
    const pieces = [];
    let done = 0;
    for (const match of text.matchAll(pattern)) {
      const [, id, lstrip, rstrip] = known.get(match[0]);
      let first = index.get(match.index), last = index.get(match.index + match[0].length);
      if (lstrip) while (first > 0 && SPACES.has(piece[first - 1][0])) first--;
      first = Math.max(first, lstrip ? done : first);
      if (rstrip) while (last < piece.length && SPACES.has(piece[last][0])) last++;
      if (first >= last) { done = first; continue; }
      if (done < first) pieces.push({piece: piece.slice(done, first)});
      pieces.push({piece: piece.slice(first, last), id});
      done = last;
    }
    if (done < piece.length) pieces.push({piece: piece.slice(done)});
    return pieces;
  };
}

function normalizing(steps) {
  const changes = steps.map(([name, ...options]) => NORMALIZERS[name](...options));
  return piece => changes.reduce((now, change) => change(now), piece);
}

// The function from a text to [ids, first, last + 1], the positions counted in code points of the text.
function tokenizer(kit) {
  const [raw, normal] = kit.added.map(tokens => tokens.length ? finder(tokens) : piece => [{piece}]);
  const normalize = normalizing(kit.normalizer);
  const splitters = kit.splits.map(([name, ...options]) => SPLITTERS[name](...options));
  const model = MODELS[kit.model.type](kit.model);
  const each = (pieces, change) => pieces.flatMap(one => one.id === undefined ? change(one.piece) : [one]);
  return text => {
    const whole = codesOf(text).map((code, i) => [code, i, i + 1]);
    let pieces = each([{piece: whole}], raw);
    pieces = each(pieces, piece => [{piece: normalize(piece)}]);
    pieces = each(pieces, normal);
    for (const split of splitters) pieces = each(pieces, piece => split(piece).map(one => ({piece: one})));
    const tokens = pieces.filter(({piece}) => piece.length).flatMap(({piece, id}) => {
      const found = id === undefined ? model(piece) : [[id, 0, piece.length]];
      return found.map(([token, a, b]) => [token, piece[a][1], piece[b - 1][2]]);
    });
    return [0, 1, 2].map(i => tokens.map(token => token[i]));
  };
}
