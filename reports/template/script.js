"use strict";
// The choice lives in the address: #part=test&truth=nevus&predicted=melanoma&photographs=hidden
(() => {
  const root = document.documentElement;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const cases = all(".case"), cells = all("button.cell"), parts = all("button.part"), matrices = all(".matrix");
  const status = document.getElementById("showing"), everything = document.getElementById("everything");
  const hide = document.getElementById("hide"), gallery = document.getElementById("gallery");
  const first = matrices.length ? matrices[0].dataset.part : "";
  const total = status.textContent.split(" of ")[1];
  const KEYS = ["part", "truth", "predicted", "photographs"];
  let state = {};

  const spoken = (name) => name.replaceAll("_", " ");
  const same = (data, keys) => keys.every((key) => !state[key] || data[key] === state[key]);

  function read() {
    if (location.hash && !location.hash.includes("=")) return; // a link to a section
    const given = new URLSearchParams(location.hash.slice(1));
    state = Object.fromEntries(KEYS.filter((key) => given.get(key)).map((key) => [key, given.get(key)]));
    if (!matrices.some((matrix) => matrix.dataset.part === state.part)) delete state.part;
    show();
  }

  function choose(change) {
    state = { ...state, ...change };
    const given = new URLSearchParams(KEYS.filter((key) => state[key]).map((key) => [key, state[key]]));
    location.hash = given.size ? given.toString() : "part=all";
    show(); // the event of the changed address comes later
  }

  function show() {
    const part = state.part || first;
    for (const matrix of matrices) matrix.classList.toggle("off", matrix.dataset.part !== part);
    for (const button of parts) button.setAttribute("aria-pressed", String(button.dataset.part === part));
    let asked = 0, shown = 0;
    for (const cell of cells) {
      const chosen = Boolean(state.truth && state.predicted) && same({ part: first, ...cell.dataset }, ["part", "truth", "predicted"]);
      const pressed = chosen && cell.dataset.part === part;
      cell.setAttribute("aria-pressed", String(pressed));
      if (pressed) asked = Number(cell.dataset.cases);
    }
    for (const card of cases) {
      card.hidden = !same(card.dataset, ["part", "truth", "predicted"]);
      shown += !card.hidden;
    }
    const chosen = [state.part && spoken(state.part), state.truth && `truth ${spoken(state.truth)}`, state.predicted && `predicted ${spoken(state.predicted)}`].filter(Boolean);
    const cut = asked > shown ? ` (${asked} in all; the gallery holds the most confident ones)` : "";
    status.textContent = `Showing ${shown} of ${total}${chosen.length ? `: ${chosen.join(", ")}` : ""}${cut}`;
    everything.hidden = chosen.length === 0;
    const hidden = state.photographs === "hidden";
    root.classList.toggle("concealed", hidden);
    hide.setAttribute("aria-pressed", String(hidden));
    hide.textContent = hidden ? "Show photographs (h)" : "Hide photographs (h)";
  }

  const flip = () => choose({ photographs: state.photographs === "hidden" ? "" : "hidden" });

  for (const button of parts) button.addEventListener("click", () => choose({ part: button.dataset.part, truth: "", predicted: "" }));
  for (const cell of cells) {
    cell.addEventListener("click", (event) => {
      const again = cell.getAttribute("aria-pressed") === "true";
      const { part, truth, predicted } = cell.dataset;
      choose(again ? { truth: "", predicted: "" } : { part, truth, predicted });
      const below = gallery.getBoundingClientRect().top > window.innerHeight - 200;
      if (!again && event.detail > 0 && below) gallery.scrollIntoView(); // a pointer's click; the keyboard stays where it is
    });
  }
  everything.addEventListener("click", () => choose({ part: "", truth: "", predicted: "" }));
  hide.addEventListener("click", flip);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "h" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) flip();
  });
  window.addEventListener("hashchange", read);
  read();
  show();
})();
