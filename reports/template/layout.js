// Shared by all pages: filters stand in the address, photographs can be hidden all at once, queries can be copied.
const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const spoken = (name) => name.replaceAll("_", " ");
const count = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function make(tag, attributes = {}, ...children) {
  const element = ["svg", "rect"].includes(tag) ? document.createElementNS(document.querySelector("svg").namespaceURI, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

// #truth=nevus&predicted=melanoma can be mailed; a hash without "=" is a link to a section.
const address = {
  state: {},
  keys: ["photographs"],
  watchers: [],
  read() {
    if (location.hash && !location.hash.includes("=")) return;
    const parameters = new URLSearchParams(location.hash.slice(1));
    address.state = Object.fromEntries(address.keys.filter((key) => parameters.get(key)).map((key) => [key, parameters.get(key)]));
    address.notify();
  },
  choose(change, { typing = false } = {}) {
    const state = { ...address.state, ...change };
    address.state = Object.fromEntries(address.keys.filter((key) => state[key]).map((key) => [key, state[key]]));
    const hash = new URLSearchParams(address.state).toString();
    const target = location.href.split("#")[0] + (hash ? `#${hash}` : "");
    history[typing ? "replaceState" : "pushState"](null, "", target);
    address.notify();
  },
  // What stands in the address and nothing else: what a link, a saved selection or a cell of the matrix asks for.
  turnTo(hash, also = {}) {
    const parameters = new URLSearchParams(hash);
    address.choose({ ...Object.fromEntries(address.keys.map((key) => [key, parameters.get(key) ?? ""])), photographs: address.state.photographs, ...also });
  },
  notify() {
    for (const watcher of address.watchers) watcher(address.state);
  },
};

function hiding() {
  const button = byId("hide");
  if (!button) return;
  const flip = () => address.choose({ photographs: address.state.photographs === "hidden" ? "" : "hidden" });
  address.watchers.push((state) => {
    const hidden = state.photographs === "hidden";
    root.classList.toggle("concealed", hidden);
    button.setAttribute("aria-pressed", String(hidden));
    button.textContent = hidden ? "Show photographs (h)" : "Hide photographs (h)";
  });
  button.addEventListener("click", flip);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input:not([type=checkbox]), select, textarea");
    if (event.key.toLowerCase() === "h" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) flip();
  });
}

// Tables wider than the screen say so; which ones are depends on the width.
function scrolling() {
  const measure = () => {
    for (const box of all(".scroll")) box.classList.toggle("overflows", box.scrollWidth > box.clientWidth + 1);
  };
  measure();
  addEventListener("resize", measure);
  for (const details of all("details")) details.addEventListener("toggle", measure);
}

function copying() {
  for (const details of all("details.sql")) {
    details.addEventListener("toggle", () => {
      const panel = details.querySelector(".panel");
      if (!details.open || panel.querySelector("button")) return;
      for (const query of all("pre", panel)) {
        const button = make("button", { type: "button" }, "Copy");
        button.addEventListener("click", async () => {
          getSelection().selectAllChildren(query);
          try {
            await navigator.clipboard.writeText(query.textContent);
            button.textContent = "Copied";
          } catch {
            button.textContent = "Selected: press Ctrl+C";
          }
        });
        query.after(button);
      }
    });
  }
}

// The values of a chart: those of the point nearest to the pointer; with the arrow keys along a line and from line to line.
function reading() {
  for (const box of all("[data-readout]")) {
    const { across, up, lines = [] } = JSON.parse(box.dataset.readout), svg = box.querySelector("svg"), output = box.parentElement.querySelector(".readout");
    if (!svg || !lines.some((line) => line.points.length)) continue;
    const mark = document.createElementNS(svg.namespaceURI, "circle");
    mark.setAttribute("r", "3.5");
    mark.setAttribute("class", "readout-mark");
    mark.setAttribute("visibility", "hidden");
    svg.append(mark);
    let line = 0, point = -1;
    const tell = () => {
      const [x, y, a, b] = lines[line].points[point];
      mark.setAttribute("cx", x);
      mark.setAttribute("cy", y);
      mark.setAttribute("visibility", "visible");
      output.textContent = `${lines[line].label}: ${across} ${a}, ${up} ${b}`;
    };
    const away = () => { mark.setAttribute("visibility", "hidden"); output.textContent = ""; };
    svg.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = 18 ** 2;
      lines.forEach((each, n) => each.points.forEach(([x, y], k) => {
        const far = (x - at.x) ** 2 + (y - at.y) ** 2;
        if (far < best) { best = far; line = n; point = k; }
      }));
      if (best < 18 ** 2) tell(); else away();
    });
    svg.addEventListener("pointerleave", away);
    box.addEventListener("blur", away);
    box.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      line = (line + step[0] + lines.length) % lines.length;
      point = Math.min(Math.max(point + step[1], 0), lines[line].points.length - 1);
      if (point >= 0) tell();
    });
  }
}

// What is folded on the screen and belongs on paper is unfolded there.
function printing() {
  const folded = () => all("details.printed");
  let opened = [];
  addEventListener("beforeprint", () => { opened = folded().filter((details) => !details.open); for (const details of opened) details.open = true; });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
}

addEventListener("DOMContentLoaded", () => {
  hiding();
  copying();
  scrolling();
  reading();
  printing();
  if (typeof enlargeable === "function") enlargeable();
  if (typeof matrices === "function") matrices();
  if (typeof gallery === "function" && byId("data")) gallery(JSON.parse(byId("data").textContent));
  addEventListener("hashchange", address.read);
  addEventListener("popstate", address.read);
  address.read();
  address.notify();
  if (typeof arrived === "function") arrived();
});
