// Shared by all pages: filters stand in the address, photographs can be hidden all at once, queries can be copied.
const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

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

function copying() {
  for (const details of all("details.sql")) {
    details.addEventListener("toggle", () => {
      const panel = details.querySelector(".panel");
      if (!details.open || panel.querySelector("button")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        const query = panel.querySelector("pre");
        getSelection().selectAllChildren(query);
        try {
          await navigator.clipboard.writeText(query.textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Selected: press Ctrl+C";
        }
      });
      panel.append(button);
    });
  }
}

addEventListener("DOMContentLoaded", () => {
  hiding();
  copying();
  if (typeof matrices === "function") matrices();
  if (typeof gallery === "function" && byId("data")) gallery(JSON.parse(byId("data").textContent));
  addEventListener("hashchange", address.read);
  addEventListener("popstate", address.read);
  address.read();
  address.notify();
});
