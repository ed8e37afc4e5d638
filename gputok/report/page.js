$("summary").textContent = data.summary;
const [documents, bytes, characters, words] = data.text.map(number);
$("about").textContent = `${documents} documents, ${bytes} bytes, ${characters} characters, ${words} words`;
$("made").append(...data.made.flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, name === "command" ? node("code", {}, value) : value)]));

$("table").append(...tabular(["tokenizer", ...data.columns], data.table.map(([name, ...cells], i) => [[key(i), name], ...cells])));

// -- charts

const legend = () => node("div", {class: "legend"}, ...data.tokenizers.map((one, i) => node("span", {}, key(i), one.name)));
const short = n => n >= 1e9 ? n / 1e9 + "G" : n >= 1e6 ? n / 1e6 + "M" : n >= 1e3 ? n / 1e3 + "k" : String(n);

function chart(target, series, {log = false, logX = log, xLabel, percent = false}) {
  const [w, h, left, bottom] = [460, 240, 44, 34];
  const points = series.flatMap(one => one.points).filter(([, y]) => !log || y > 0);
  const maxX = Math.max(...points.map(p => p[0]), log ? 10 : 1), maxY = Math.max(...points.map(p => p[1]), log ? 10 : 0.01);
  const minX = log || !logX ? 1 : Math.min(...points.map(p => p[0]), maxX / 10);
  const x = v => left + (w - left - 8) * (logX ? Math.log10(v / minX) / Math.log10(maxX / minX) : v / maxX);
  const minY = Math.min(1, ...points.map(p => p[1])); // means of rare merges are below 1
  const y = v => h - bottom - (h - bottom - 8) * (log ? Math.log10(v / minY) / Math.log10(maxY / minY) : v / maxY);
  const ticks = (min, max, log) => {
    if (log) return Array.from({length: Math.floor(Math.log10(max)) - Math.ceil(Math.log10(min)) + 1}, (_, i) => 10 ** (Math.ceil(Math.log10(min)) + i));
    const raw = max / 5, base = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find(k => k * base >= raw) * base;
    return Array.from({length: Math.floor(max / step) + 1}, (_, i) => i * step);
  };
  const svg = node("svg:svg", {viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": target.parentNode.firstChild.textContent});
  for (const v of ticks(minY, maxY, log)) svg.append(
    node("svg:line", {x1: left, x2: w - 8, y1: y(v), y2: y(v), stroke: "var(--grid)"}),
    node("svg:text", {x: left - 7, y: y(v) + 4, "text-anchor": "end"}, percent ? `${+(100 * v).toFixed(3)}%` : short(v)));
  for (const v of ticks(minX, maxX, logX)) svg.append(node("svg:text", {x: x(v), y: h - bottom + 16, "text-anchor": "middle"}, short(v)));
  svg.append(node("svg:text", {x: (w + left) / 2, y: h - 3, "text-anchor": "middle"}, xLabel));
  for (const one of series) {
    const drawn = one.points.filter(([, v]) => !log || v > 0);
    svg.append(node("svg:polyline", {points: drawn.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" "), fill: "none", stroke: colour(one.index), "stroke-width": 2, "stroke-linejoin": "round"}));
  }
  target.append(...(data.tokenizers.length > 1 ? [legend()] : []), svg);
}
const share = values => { const sum = values.reduce((a, b) => a + b, 0) || 1; return values.slice(0, 33).map((v, i) => [i, v / sum]); };
const series = pick => data.tokenizers.map((one, index) => ({index, points: pick(one)})).filter(one => one.points);
chart($("lengths"), series(one => share(one.lengths[0])), {xLabel: "bytes", percent: true});
chart($("textLengths"), series(one => share(one.lengths[1])), {xLabel: "bytes", percent: true});
chart($("usage"), series(one => one.usage), {log: true, xLabel: "tokens, most frequent first"});
const merging = series(one => one.merges && one.merges.length ? one.merges : null);
if (merging.length) chart($("merges"), merging, {log: true, xLabel: "merges, first to last"}); else $("mergesBox").hidden = true;
const bySize = series(one => one.sizes);
if (bySize.length) chart($("sizes"), bySize, {logX: true, xLabel: "tokens of the vocabulary"}); else $("sizesBox").hidden = true;

// -- groups, scripts and longest tokens

if (data.groups) {
  const [[heads, ...rows], said] = data.groups;
  $("groupsBy").textContent = heads[0];
  $("groupsNote").textContent = `The groups with most bytes first. ${said.join("; ")}`;
  const keys = new Map(data.tokenizers.map((one, i) => [one.name, i]));
  $("groups").append(...tabular(heads, rows.map(row => row.map((cell, j) => j === 1 ? [key(keys.get(cell)), cell] : cell))));
} else $("groupsBox").hidden = true;

const rare = i => 1000 * data.characters[i] < data.characters.reduce((a, b) => a + b, 0);
const nRare = data.scripts.filter((_, i) => rare(i)).length;
if (nRare) $("rare").textContent = `Left out: ${nRare} with less than 0.1% of the characters.`;
$("scripts").append(...tabular(["script", "characters", ...data.tokenizers.map((one, i) => [key(i), one.name])],
  data.scripts.flatMap((script, i) => rare(i) ? [] : [[script, number(data.characters[i]),
    ...data.tokenizers.map(one => `${number(one.scriptTokens[i])} tokens, ${(100 * one.scriptCovered[i] / data.characters[i]).toFixed(1)}%`)]])));
$("longest").append(...data.tokenizers.map((one, i) => node("div", {class: "panel"}, node("h3", {}, node("span", {}, key(i), one.name)),
  node("table", {}, node("tbody", {}, ...one.longest.map(([text, n]) => node("tr", {}, node("td", {}, node("code", {}, text)), node("td", {}, number(n)))))))));

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
  $("sample").replaceChildren(...found.map(([text, i]) => node("option", {value: i}, `${i + 1}: ${Array.from(text).slice(0, 80).join("").replace(/\s+/g, " ")}`)));
  show();
}

pointing($("texts"), $("detail"));
$("find").addEventListener("input", list);
$("sample").addEventListener("change", show);
for (const [id, step] of [["back", -1], ["next", 1]]) $(id).addEventListener("click", () => { $("sample").selectedIndex += step; show(); });
list();

// -- a text that is typed

// The beginning of a sample, so that the box shows what it does
if (data.tokenizers.some(one => one.kit)) typingBox($("typing"))(Array.from(data.samples[0] || "").slice(0, 240).join("")); else $("typing").hidden = true;

// -- tables that are wider than the page

function sideways() { for (const box of document.querySelectorAll(".scroll")) box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1); }
for (const box of document.querySelectorAll(".scroll")) { box.tabIndex = 0; box.setAttribute("role", "region"); box.setAttribute("aria-label", "Table, can be scrolled sideways"); }
addEventListener("resize", sideways);
sideways();
