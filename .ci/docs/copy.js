// A button that copies a block of code, in each page.
addEventListener("DOMContentLoaded", () => {
  if (!navigator.clipboard) return;
  for (const block of document.querySelectorAll("main pre, .pdoc-code")) {
    if (block.closest(".output_area, .jp-OutputArea, .signature") || block.querySelector("pre")) continue;
    const button = document.createElement("button");
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const text = block.innerText.replace(/\n?Copy$/, "");
      await navigator.clipboard.writeText(/^>>> /m.test(text) ? text.split("\n").filter(line => /^(>>>|\.\.\.)( |$)/.test(line)).map(line => line.slice(4)).join("\n") : text);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1200);
    });
    block.classList.add("copied");
    block.append(button);
  }
});
