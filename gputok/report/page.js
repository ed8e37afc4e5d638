$("summary").textContent = data.summary;
const [documents, bytes, characters, words] = data.text.map(number);
$("about").textContent = `${documents} documents, ${bytes} bytes, ${characters} characters, ${words} words`;
$("made").append(...data.made.flatMap(([name, value]) =>
  [node("dt", {}, name), node("dd", {}, name === "command" ? code(value) : value)]));
const measured = data.table.map(([name, ...cells], i) => [[key(i), name], ...cells]);
$("table").append(...tabular(["tokenizer", ...data.columns], measured));

// -- charts

const legend = () => node("div", {class: "legend"},
  ...data.tokenizers.map((one, i) => node("span", {}, key(i), one.name)));
const short = n => n >= 1e9 ? n / 1e9 + "G" : n >= 1e6 ? n / 1e6 + "M" : n >= 1e3 ? n / 1e3 + "k" : String(n);

function chart(target, series, {log = false, logX = log, xLabel, percent = false}) {
  const [w, h, left, bottom] = [460, 240, 44, 34];
  const points = series.flatMap(one => one.points).filter(([, y]) => !log || y > 0);
  const [xs, ys] = [0, 1].map(i => points.map(p => p[i]));
  const maxX = Math.max(...xs, log ? 10 : 1), maxY = Math.max(...ys, log ? 10 : 0.01);
  const minX = log || !logX ? 1 : Math.min(...xs, maxX / 10);
  const x = v => left + (w - left - 8) * (logX ? Math.log10(v / minX) / Math.log10(maxX / minX) : v / maxX);
  const minY = Math.min(1, ...ys); // means of rare merges are below 1
  const y = v => h - bottom - (h - bottom - 8) * (log ? Math.log10(v / minY) / Math.log10(maxY / minY) : v / maxY);
  const ticks = (min, max, log) => {
    const [first, last] = [Math.ceil(Math.log10(min)), Math.floor(Math.log10(max))];
    if (log) return Array.from({length: last - first + 1}, (_, i) => 10 ** (first + i));
    const raw = max / 5, base = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find(k => k * base >= raw) * base;
    return Array.from({length: Math.floor(max / step) + 1}, (_, i) => i * step);
  };
  const title = target.parentNode.querySelector("h2").textContent;
  const svg = node("svg:svg", {viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": title});
  const write = (x, y, text, anchor = "middle") => svg.append(node("svg:text", {x, y, "text-anchor": anchor}, text));
  for (const v of ticks(minY, maxY, log)) {
    svg.append(node("svg:line", {x1: left, x2: w - 8, y1: y(v), y2: y(v), stroke: "var(--grid)"}));
    write(left - 7, y(v) + 4, percent ? `${+(100 * v).toFixed(3)}%` : short(v), "end");
  }
  for (const v of ticks(minX, maxX, logX)) write(x(v), h - bottom + 16, short(v));
  write((w + left) / 2, h - 3, xLabel);
  for (const one of series) {
    const drawn = one.points.filter(([, v]) => !log || v > 0);
    const places = drawn.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
    const line = {fill: "none", stroke: colour(one.index), "stroke-width": 2, "stroke-linejoin": "round"};
    svg.append(node("svg:polyline", {points: places, ...line}));
  }
  target.append(...(data.tokenizers.length > 1 ? [legend()] : []), svg);
}
const sum = values => values.reduce((a, b) => a + b, 0);
const share = values => values.slice(0, 33).map((v, i) => [i, v / (sum(values) || 1)]);
const series = pick => data.tokenizers.map((one, index) => ({index, points: pick(one)})).filter(one => one.points);
chart($("lengths"), series(one => share(one.lengths[0])), {xLabel: "bytes", percent: true});
chart($("textLengths"), series(one => share(one.lengths[1])), {xLabel: "bytes", percent: true});
chart($("usage"), series(one => one.usage), {log: true, xLabel: "tokens, most frequent first"});
const merging = series(one => one.merges && one.merges.length ? one.merges : null);
$("mergesBox").hidden = !merging.length;
if (merging.length) chart($("merges"), merging, {log: true, xLabel: "merges, first to last"});
const bySize = series(one => one.sizes);
$("sizesBox").hidden = !bySize.length;
if (bySize.length) chart($("sizes"), bySize, {logX: true, xLabel: "tokens of the vocabulary"});

// -- groups, scripts and longest tokens

if (data.groups) {
  const [[heads, ...rows], said] = data.groups;
  $("groupsBy").textContent = heads[0];
  $("groupsNote").textContent = `The groups with most bytes first. ${said.join("; ")}`;
  const keys = new Map(data.tokenizers.map((one, i) => [one.name, i]));
  const cells = rows.map(([group, name, ...numbers]) => [group, [key(keys.get(name)), name], ...numbers]);
  $("groups").append(...tabular(heads, cells));
} else $("groupsBox").hidden = true;

const rare = i => 1000 * data.characters[i] < sum(data.characters);
const nRare = data.scripts.filter((_, i) => rare(i)).length;
if (nRare) $("rare").textContent = `Left out: ${nRare} with less than 0.1% of the characters.`;
const ofScript = (one, i) => `${number(one.scriptTokens[i])} tokens, ` +
  `${(100 * one.scriptCovered[i] / data.characters[i]).toFixed(1)}%`;
$("scripts").append(...tabular(["script", "characters", ...data.tokenizers.map((one, i) => [key(i), one.name])],
  data.scripts.flatMap((script, i) => rare(i) ? [] :
    [[script, number(data.characters[i]), ...data.tokenizers.map(one => ofScript(one, i))]])));
$("longest").append(...data.tokenizers.map((one, i) => boxed(i, one, "",
  node("table", {}, tabular([], one.longest.map(([text, n]) => [code(text), number(n)]))[1]))));

// -- texts, coloured by token

const visible = data.tokenizers.map(() => true);
if (data.tokenizers.length > 1) $("shown").append(...data.tokenizers.map((one, i) => {
  const box = node("input", {type: "checkbox"});
  box.checked = true;
  box.addEventListener("change", () => { visible[i] = box.checked; show(); });
  return node("label", {}, box, " ", key(i), one.name);
}));

// Lower case by characters, so that places in it are those of the text.
const lower = text => Array.from(text, letter => letter.toLowerCase());
const lowered = data.samples.map(lower);

function hits(letters, wanted) { // for each letter: is it in a hit of the search?
  const marked = new Array(letters.length).fill(false);
  if (!wanted) return marked;
  const whole = letters.join(""), at = [];
  letters.forEach((letter, i) => { for (let k = 0; k < letter.length; k++) at.push(i); });
  for (let unit = whole.indexOf(wanted); unit >= 0; unit = whole.indexOf(wanted, unit + 1))
    for (let k = unit; k < unit + wanted.length; k++) marked[at[k]] = true;
  return marked;
}

function show() {
  const chosen = $("sample").value, none = chosen === "", wanted = lower($("find").value).join("");
  $("texts").replaceChildren(...(none ? [] : data.tokenizers.map((one, i) =>
    visible[i] ? panel(one, i, data.samples[chosen], one.samples[chosen], hits(lowered[chosen], wanted)) : "")));
  $("detail").textContent = none ? "No sample has that." : "";
  $("back").disabled = $("sample").selectedIndex <= 0;
  $("next").disabled = $("sample").selectedIndex >= $("sample").options.length - 1;
  const first = document.querySelector("#texts mark");
  if (first) for (const text of document.querySelectorAll("#texts .text")) {
    const hit = text.querySelector("mark");
    if (hit) text.scrollTop = hit.offsetTop - text.offsetTop - 40;
  }
}

function list() {
  const wanted = lower($("find").value).join("");
  const found = data.samples.map((text, i) => [text, i]).filter(([, i]) => lowered[i].join("").includes(wanted));
  const beginning = text => Array.from(text).slice(0, 80).join("").replace(/\s+/g, " ");
  $("sample").replaceChildren(...found.map(([text, i]) => node("option", {value: i}, `${i + 1}: ${beginning(text)}`)));
  show();
}

pointing($("texts"), $("detail"));
$("find").addEventListener("input", list);
$("sample").addEventListener("change", show);
for (const [id, step] of [["back", -1], ["next", 1]])
  $(id).addEventListener("click", () => { $("sample").selectedIndex += step; show(); });
list();

// -- a text that is typed

// The beginning of a sample, so that the box shows what it does
$("typing").hidden = !data.tokenizers.some(one => one.kit);
if (!$("typing").hidden) typingBox($("typing"))(Array.from(data.samples[0] || "").slice(0, 240).join(""));

// -- tables that are wider than the page

const wide = [...document.querySelectorAll("section > .scroll")];
function sideways() { for (const box of wide) box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1); }
for (const box of wide) {
  box.after(node("p", {class: "sideways"}, "Scroll the table sideways to see all of it. →"));
  for (const [name, value] of [["tabindex", 0], ["role", "region"], ["aria-label", "Table, can be scrolled sideways"]])
    box.setAttribute(name, value);
}
addEventListener("resize", sideways);
sideways();
