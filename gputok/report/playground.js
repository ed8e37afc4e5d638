const files = node("input", {type: "file", id: "files", accept: ".json,application/json", multiple: "", hidden: ""});
files.addEventListener("change", () => open(files.files));
const link = node("button", {id: "link", onclick: () => {
  history.replaceState(null, "", `#${encodeURIComponent($("typed").value.toWellFormed())}`);
  copy(location.href, link);
}}, "Copy link");
const more = [link, node("button", {onclick: () => files.click()}, "Open a tokenizer.json"), files];
const write = typingBox($("typing"), {own: true, more, removable: true});

async function open(list) {
  for (const file of list) {
    const one = {name: file.name, kit: null};
    try {
      one.kit = opened(JSON.parse(await file.text()), data.parts);
      tokenizer(one.kit);
    } catch (error) {
      one.kit = null;
      one.whyNot = error instanceof NotOpened ? error.message : `it is no tokenizer.json (${error.message})`;
    }
    data.tokenizers.push(one);
    write();
  }
}
addEventListener("dragover", event => event.preventDefault());
addEventListener("drop", event => { event.preventDefault(); open(event.dataTransfer.files); });

// The text that the address carries
function linked() {
  const text = location.hash.slice(1);
  try { return decodeURIComponent(text); } catch { return text; }
}
addEventListener("hashchange", () => write(linked()));
write(location.hash ? linked() : data.text);
