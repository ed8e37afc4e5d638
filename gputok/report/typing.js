// What the page of a report and the playground share: the colours of tokens, and the box where text is typed.
// Text reaches the page through textContent only, so none of it can become markup.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const number = n => n.toLocaleString("en");
const colour = i => `var(--s${i % 6})`;

function node(name, attributes = {}, ...children) {
  const svg = name.startsWith("svg:") ? name.slice(4) : "";
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", svg) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value); else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
// The parts of a table; a cell is a text, a node or a list of these.
function tabular(heads, rows) {
  const row = (kind, cells) => node("tr", {}, ...cells.map(cell => node(kind, {}, ...[cell].flat())));
  return [node("thead", {}, row("th", heads)), node("tbody", {}, ...rows.map(cells => row("td", cells)))];
}
const key = i => node("span", {class: "key", style: `background:${colour(i)}`});
const code = text => node("code", {}, text);
// A box about one tokenizer, with its name.
const boxed = (i, {name}, facts, ...children) => node("div", {class: "panel"},
  node("h3", {}, node("span", {}, key(i), name), ...(facts ? [node("small", {}, facts)] : [])), ...children);

// Where each code point of a text begins in its UTF-8.
function byteOffsets(letters) {
  const offsets = [0];
  for (const letter of letters) offsets.push(offsets.at(-1) + utf8.encode(letter).length);
  return offsets;
}

const SHOWN = {" ": "·", "\t": "→\t", "\n": "⏎\n", "\r": "␍", "\u00a0": "⍽", "\u3000": "□"};
const withSpaces = text => text.replace(/[ \t\n\r\u00a0\u3000]/g, space => SHOWN[space]);

// A text, coloured: ids, and the first and last + 1 code point of each token.
function panel(one, index, whole, [ids, starts, ends], marked = [], spaces = false) {
  const letters = Array.from(whole); // offsets count code points
  const text = node("div", {class: "text", dir: "auto"});
  let at = 0, colourOf = 0;
  const put = (target, a, b) => { // with the hits of the search marked
    for (let last; a < b; a = last) {
      for (last = a + 1; last < b && Boolean(marked[last]) === Boolean(marked[a]); last++);
      const part = spaces ? withSpaces(letters.slice(a, last).join("")) : letters.slice(a, last).join("");
      target.append(marked[a] ? node("mark", {}, part) : part);
    }
  };
  for (let i = 0; i < ids.length;) { // tokens that share characters are shown as one span
    let last = i, end = ends[i];
    while (last + 1 < ids.length && starts[last + 1] < end) end = Math.max(end, ends[++last]);
    const begin = Math.max(starts[i], at);
    if (end > begin) {
      put(text, at, begin);
      const style = `background:var(--t${colourOf++ % 5})`, place = `characters ${begin} to ${end}`;
      const span = node("span", {class: last > i ? "token pieces" : "token", style});
      Object.assign(span.dataset, {tokenizer: index, ids: ids.slice(i, last + 1).join(" "), place});
      put(span, begin, end);
      text.append(span);
      at = end;
    }
    i = last + 1;
  }
  put(text, at, letters.length);
  const size = utf8.encode(whole).length;
  const each = (size / Math.max(ids.length, 1)).toFixed(2);
  const facts = [`${number(ids.length)} tokens`, `${number(letters.length)} characters`, `${number(size)} bytes`];
  return boxed(index, one, [...facts, `${each} bytes a token`].join(", "), text);
}

// -- pointing at a token, and marking it wherever it occurs

const texts = new Map(); // the vocabulary of each tokenizer, by id, made when it is needed
function textOf(one, id) {
  if (one.tokens && one.tokens[id]) return one.tokens[id][0];
  if (!one.kit) return undefined;
  if (!texts.has(one)) {
    const {model, added} = one.kit, tokens = model.tokens.map((text, i) => [model.ids ? model.ids[i] : i, text]);
    texts.set(one, new Map([...tokens, ...added.flat().map(([text, id]) => [id, text])]));
  }
  return texts.get(one).get(Number(id));
}
function describe(one, id) {
  const times = one.tokens && one.tokens[id] ? `, ${number(one.tokens[id][1])} times in the text` : "";
  return `${JSON.stringify(textOf(one, id))} is ${id} of ${one.name}${times}`;
}
function pointing(box, detail) {
  const token = event => event.target.closest ? event.target.closest(".token") : null;
  box.addEventListener("mouseover", event => {
    const span = token(event);
    if (!span) return;
    const one = data.tokenizers[span.dataset.tokenizer];
    const said = span.dataset.ids.split(" ").map(id => describe(one, id));
    detail.textContent = [...said, span.dataset.place].join("; ");
  });
  box.addEventListener("click", event => {
    const span = token(event), marked = span && span.classList.contains("same");
    for (const other of document.querySelectorAll(".token.same")) other.classList.remove("same");
    if (!span || marked) return;
    const {tokenizer, ids} = span.dataset;
    for (const other of document.querySelectorAll(".token"))
      if (other.dataset.tokenizer === tokenizer && other.dataset.ids === ids) other.classList.add("same");
  });
}

// -- a text that is typed

async function copy(text, button) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // the browser gives this page no clipboard
    const area = node("textarea", {class: "copied"});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = said; }, 1200);
}

// A part of a panel that is opened and closed, and stays so for the next text.
function folded(opened, name, make) {
  const box = node("details", {}, node("summary", {}, name));
  const fill = () => { if (box.open && box.children.length === 1) box.append(...make()); };
  box.open = opened.has(name);
  fill();
  box.addEventListener("toggle", () => { if (box.open) opened.add(name); else opened.delete(name); fill(); });
  return box;
}

const LONG = 20000; // code units; a longer text waits until the keys rest

// Fills a section: a box, its controls and those of `more`, a panel for each tokenizer. Returns what sets the text.
function typingBox(section, {own = false, more = [], removable = false} = {}) {
  const encoders = new Map(), opened = new Set(own ? ["Ids"] : []);
  const area = node("textarea", {id: "typed", spellcheck: "false", dir: "auto", "aria-label": "Text to tokenize",
    placeholder: "Type or paste a text", oninput: later});
  const spaces = node("input", {type: "checkbox", id: "spaces", onchange: show});
  const panels = node("div", {class: "texts", id: "typedTexts"});
  const detail = node("p", {class: "detail", id: "typedDetail"});
  let waiting;

  function one(tokenizerOf, i, text) {
    if (!tokenizerOf.kit)
      return boxed(i, tokenizerOf, "", node("p", {class: "note"}, `Not in the page: ${tokenizerOf.whyNot}.`));
    if (text && !encoders.has(tokenizerOf)) encoders.set(tokenizerOf, tokenizer(tokenizerOf.kit));
    const encoding = text ? encoders.get(tokenizerOf)(text) : [[], [], []], [ids, starts, ends] = encoding;
    const made = panel(tokenizerOf, i, text, encoding, [], spaces.checked);
    made.append(
      folded(opened, "Ids", () => {
        const list = `[${ids.join(", ")}]`;
        const button = node("button", {class: "copy", onclick: () => copy(list, button)}, "Copy ids");
        return [node("code", {class: "ids"}, list), button];
      }),
      folded(opened, "Offsets", () => {
        const bytes = byteOffsets(Array.from(text));
        const rows = ids.map((id, k) => [code(JSON.stringify(textOf(tokenizerOf, id))), id, `${starts[k]}–${ends[k]}`,
          `${bytes[starts[k]]}–${bytes[ends[k]]}`]);
        const table = node("table", {class: "offsets"}, ...tabular(["token", "id", "characters", "bytes"], rows));
        return [node("div", {class: "scroll"}, table)];
      }));
    return made;
  }
  function show() {
    const text = area.value.toWellFormed();
    detail.textContent = "";
    panels.replaceChildren(...data.tokenizers.map((tokenizerOf, i) => {
      const made = one(tokenizerOf, i, text), label = `Remove ${tokenizerOf.name}`;
      const remove = () => { data.tokenizers.splice(i, 1); show(); };
      if (removable) made.querySelector("h3").append(
        node("button", {class: "remove", "aria-label": label, onclick: remove}, "×"));
      return made;
    }));
  }
  function later() {
    clearTimeout(waiting);
    if (area.value.length < LONG) show(); else waiting = setTimeout(show, 300);
  }
  section.append(
    node("p", {class: "note"}, "The page itself tokenizes the text and sends nothing anywhere. " +
      "Special tokens around a text are left out."),
    area, node("div", {class: "controls"}, node("label", {}, spaces, " Show spaces"), ...more), panels, detail);
  pointing(panels, detail);
  return (text = area.value) => { area.value = text; show(); };
}
