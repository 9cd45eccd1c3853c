"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const one = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const said = (value) => (value >= 0 ? "+" : "") + Number(value.toPrecision(4));
  let target = 0;
  document.body.classList.add("moving");

  function choose(k) {
    target = k;
    for (const tab of all("[role=tab]")) tab.setAttribute("aria-selected", String(Number(tab.dataset.target) === k));
    for (const panel of all(".target")) panel.hidden = Number(panel.dataset.target) !== k;
    one("sentence").textContent = content.targets[k].sentence;
    for (const heading of all(".target h2, .target h2 + p")) heading.hidden = true;
    if (content.kind === "image") { part = null; draw(); }
  }

  for (const tab of all("[role=tab]")) {
    tab.addEventListener("click", () => choose(Number(tab.dataset.target)));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const tabs = all("[role=tab]");
      const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
  }
  for (const word of all(".word")) {
    const tell = () => {
      word.closest(".target").querySelector(".pointed").textContent = word.textContent + ": " + word.dataset.said;
    };
    word.addEventListener("pointerenter", tell);
    word.addEventListener("focus", tell);
  }

  // Images: maps in cells, summed to patches here; a patch of a sum is the sum of its patches.
  let part = null, cursor = null, drawn = null;
  const numbers = (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  };
  const maps = (content.maps || []).map((map) => ({ w: numbers(map.w), beta: numbers(map.beta) }));
  const parts = new Map(Object.entries(content.parts || {}).map(([name, text]) => [name, numbers(text)]));

  function cells() {
    const { w, beta } = maps[target];
    if (part !== null) return { w: new Float32Array(w.length), beta: parts.get(part) };
    const other = one("compare") && one("compare").value !== "" ? maps[Number(one("compare").value)] : null;
    if (!other) return { w, beta };
    return { w: w.map((value, k) => value - other.w[k]), beta: beta.map((value, k) => value - other.beta[k]) };
  }

  function patches(values, size) {
    const rows = Math.ceil(content.rows / size), columns = Math.ceil(content.columns / size);
    const sums = new Float64Array(rows * columns);
    for (let row = 0; row < content.rows; row++)
      for (let column = 0; column < content.columns; column++)
        sums[Math.floor(row / size) * columns + Math.floor(column / size)] += values[row * content.columns + column];
    return { sums, rows, columns };
  }

  function draw() {
    const size = Number(one("patch").value), pixels = size * content.cell, opacity = Number(one("opacity").value) / 100;
    const kind = document.querySelector("input[name=kind]:checked").value, found = cells();
    const w = patches(found.w, size), beta = patches(found.beta, size);
    const values = w.sums.map((value, k) => (kind === "beta" ? 0 : value) + (kind === "w" ? 0 : beta.sums[k]));
    const sizes = [...values].map(Math.abs).sort((a, b) => a - b);
    const limit = sizes[Math.min(sizes.length - 1, Math.floor(0.995 * sizes.length))] || 1;
    drawn = { w, beta, values, pixels };
    const canvas = one("map"), [height, width] = content.size, context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.filter = "grayscale(1)";
    context.drawImage(one("photo"), 0, 0, width, height);
    context.filter = "none";
    context.fillStyle = "rgba(255,255,255,0.5)";
    context.fillRect(0, 0, width, height);
    for (let k = 0; k < values.length; k++) {
      const strength = 0.9 * Math.min(1, Math.abs(values[k]) / limit) ** 0.7 * opacity;
      context.fillStyle = (values[k] > 0 ? "rgba(178,24,43," : "rgba(33,102,172,") + strength + ")";
      context.fillRect((k % w.columns) * pixels, Math.floor(k / w.columns) * pixels, pixels, pixels);
    }
    one("patch-said").textContent = pixels === 1 ? "of 1 pixel" : "of " + pixels + " x " + pixels + " pixels";
    one("scale").innerHTML = "<i></i><span><b></b><b>0</b><b></b></span>";
    const ends = one("scale").querySelectorAll("b");
    ends[0].textContent = said(-limit);
    ends[2].textContent = said(limit);
    for (const button of all("[data-source]")) button.setAttribute("aria-pressed", String(button.dataset.source === part));
    if (cursor !== null) tell(Math.min(cursor.row, w.rows - 1), Math.min(cursor.column, w.columns - 1));
  }

  function tell(row, column) {
    cursor = { row, column };
    const k = row * drawn.w.columns + column, w = drawn.w.sums[k], beta = drawn.beta.sums[k], { pixels } = drawn;
    const of = part === null ? "" : " (b of " + part + ")";
    const pointed = one("pointed");
    pointed.textContent = "patch at row " + row * pixels + ", column " + column * pixels + of + ": " + said(w + beta) +
      " = w * x " + said(w) + ", beta " + said(beta);
    Object.assign(pointed.dataset, { row, column, w, beta });
  }

  if (content.kind === "image") {
    const canvas = one("map");
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), [height, width] = content.size;
      const row = Math.floor(((event.clientY - box.top) / box.height) * height / drawn.pixels);
      const column = Math.floor(((event.clientX - box.left) / box.width) * width / drawn.pixels);
      if (row >= 0 && column >= 0 && row < drawn.w.rows && column < drawn.w.columns) tell(row, column);
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const { row, column } = cursor || { row: 0, column: 0 };
      tell(Math.max(0, Math.min(drawn.w.rows - 1, row + step[0])),
        Math.max(0, Math.min(drawn.w.columns - 1, column + step[1])));
    });
    let waiting = false;
    const later = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    };
    one("controls").addEventListener("input", later);
    for (const button of all("[data-source]"))
      button.addEventListener("click", () => {
        part = part === button.dataset.source ? null : button.dataset.source;
        draw();
      });
    const photo = one("photo");
    photo.decode().then(draw, draw);
  }
  choose(0);
})();
