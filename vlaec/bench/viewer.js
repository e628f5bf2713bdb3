// The report's viewer: a divider between two crops, and the curves that are shown.
"use strict";
const byId = (id) => document.getElementById(id);

for (const box of document.querySelectorAll("#legend input")) {
  box.addEventListener("change", () => {
    for (const curve of document.querySelectorAll(".curve"))
      if (curve.dataset.row === box.dataset.row) curve.classList.toggle("off", !box.checked);
  });
}

const exhibits = JSON.parse(byId("data").textContent);
const state = { image: 0, rate: null, left: "original", right: null, split: 50,
  zoom: 1, x: 0, y: 0 };

function shot(row) {
  const exhibit = exhibits[state.image];
  if (row === "original") return { source: exhibit.original, text: "original" };
  const found = exhibit.shots[state.rate][row];
  const off = found.bpp / state.rate;
  const warning = off > 1.1 ? " (above the rate)" : off < 0.9 ? " (below the rate)" : "";
  return { source: found.source, text: row + " · " + found.bpp.toFixed(3) + " bpp" + warning };
}

function choices(parent, values, texts, picked, choose) {
  parent.replaceChildren(...values.map((value, i) => {
    const button = document.createElement("button");
    button.textContent = texts[i];
    button.setAttribute("aria-pressed", value === picked);
    button.addEventListener("click", () => { choose(value); draw(); });
    return button;
  }), " ");
}

function options(select, values, texts, picked) {
  select.replaceChildren(...values.map((value, i) => new Option(texts[i], value)));
  select.value = picked;
}

function place() {
  const stage = byId("stage"), slack = 1 - state.zoom;
  stage.classList.toggle("zoomed", state.zoom > 1);
  state.x = Math.min(0, Math.max(slack * stage.clientWidth, state.x));
  state.y = Math.min(0, Math.max(slack * stage.clientHeight, state.y));
  for (const id of ["img-left", "img-right"])
    byId(id).style.transform =
      "translate(" + state.x + "px," + state.y + "px) scale(" + state.zoom + ")";
  byId("over").style.clipPath = "inset(0 0 0 " + state.split + "%)";
  byId("handle").style.left = state.split + "%";
  byId("handle").setAttribute("aria-valuenow", Math.round(state.split));
}

function zoomTo(zoom, x, y) {
  zoom = Math.min(8, Math.max(1, zoom));
  state.x = x - (x - state.x) * zoom / state.zoom;
  state.y = y - (y - state.y) * zoom / state.zoom;
  state.zoom = zoom;
}

function picture(source, text) {
  const button = document.createElement("button"), image = new Image();
  const span = document.createElement("span");
  image.src = source; image.alt = ""; span.textContent = text;  // the caption names it
  button.append(image, span);
  return button;
}

function draw() {
  const exhibit = exhibits[state.image], stage = byId("stage");
  const rows = ["original", ...Object.keys(exhibit.shots[state.rate])];
  const rates = Object.keys(exhibit.shots);
  options(byId("image"), exhibits.map((_, i) => i), exhibits.map((e) => e.image), state.image);
  choices(byId("rates"), rates, rates.map((r) => r + " bpp"), state.rate,
    (r) => { state.rate = r; });
  choices(byId("zooms"), [1, 2, 4], ["whole", "2×", "4×"], state.zoom,
    (z) => zoomTo(z, stage.clientWidth / 2, stage.clientHeight / 2));
  options(byId("left"), rows, rows, state.left);
  options(byId("right"), rows, rows, state.right);
  for (const side of ["left", "right"]) {
    const found = shot(state[side]);
    byId("img-" + side).src = found.source;
    byId("img-" + side).alt = found.text;
    byId("tag-" + side).textContent = found.text;
  }
  byId("strip").replaceChildren(...rows.map((row) => {
    const found = shot(row), button = picture(found.source, found.text);
    button.classList.toggle("on", row === state.right);
    button.addEventListener("click", () => { state.right = row; draw(); });
    return button;
  }));
  const dials = Object.entries(exhibit.dial);
  byId("dial-section").hidden = dials.length === 0;
  byId("dial-note").textContent = "One file, decoded with more and more resampled texture: "
    + "0 is the most faithful picture. " + dials.map(([row]) => row).join(", ")
    + " at the lowest of the rates above.";
  byId("dial").replaceChildren(...dials.flatMap(([, shots]) => shots.map(
    ([text, source]) => picture(source, text))));
  place();
}

function dragging(element, move) {
  element.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary) return;  // a second finger pinches the page
    event.stopPropagation();
    element.setPointerCapture(event.pointerId);
    let last = event;
    const go = (e) => { move(e, e.clientX - last.clientX, e.clientY - last.clientY); last = e; place(); };
    element.addEventListener("pointermove", go);
    for (const end of ["lostpointercapture", "pointercancel"])
      element.addEventListener(end, () => element.removeEventListener("pointermove", go), { once: true });
  });
}

if (exhibits.length) {
  const stage = byId("stage");
  const rates = Object.keys(exhibits[0].shots);
  state.rate = rates[0];
  const rows = Object.keys(exhibits[0].shots[state.rate]);
  const anchor = byId("viewer").dataset.anchor;
  state.left = anchor !== rows[0] && rows.includes(anchor) ? anchor : "original";
  state.right = rows[0];
  byId("viewer").hidden = false;
  byId("img-left").addEventListener("load", (event) => {
    stage.style.aspectRatio = event.target.naturalWidth + " / " + event.target.naturalHeight;
  });
  byId("image").addEventListener("change", (e) => { state.image = +e.target.value; draw(); });
  for (const side of ["left", "right"])
    byId(side).addEventListener("change", (e) => { state[side] = e.target.value; draw(); });
  const divide = (e) => {
    const box = stage.getBoundingClientRect();
    state.split = Math.min(100, Math.max(0, 100 * (e.clientX - box.left) / box.width));
  };
  dragging(byId("handle"), divide);
  dragging(stage, (e, x, y) => {
    if (state.zoom === 1) divide(e);
    else { state.x += x; state.y += y; }
  });
  byId("handle").addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -2, ArrowRight: 2 }[e.key];
    if (step) { state.split = Math.min(100, Math.max(0, state.split + step)); place(); }
  });
  stage.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;  // without them the wheel scrolls the page
    e.preventDefault();
    const box = stage.getBoundingClientRect();
    zoomTo(state.zoom * Math.exp(-e.deltaY / 400), e.clientX - box.left, e.clientY - box.top);
    place();
  }, { passive: false });
  addEventListener("resize", place);
  draw();
}
