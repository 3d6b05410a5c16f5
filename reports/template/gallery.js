// The gallery makes cards from the data embedded in the page, a few at a time. Every text goes in as text, never as HTML.
const PER_PAGE = 12;
const spoken = (name) => name.replaceAll("_", " ");
const count = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
const subset = (part) => `${part === "train" ? "training" : spoken(part)} set`;
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function make(tag, attributes = {}, ...children) {
  const element = ["svg", "rect"].includes(tag) ? document.createElementNS(document.querySelector("svg").namespaceURI, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// What can be chosen from a list: how it is named in the address and on the page, and which of it a case has.
function facetsOf(data) {
  const named = (names) => names.map((name) => ({ value: name, words: spoken(name) }));
  const groups = data.groups.map(([field, value, words]) => ({ value: `${field}:${value}`, words }));
  return [
    { key: "part", options: data.parts.map((value) => ({ value, words: subset(value) })), of: (one) => [one.part] },
    { key: "outcome", options: data.outcomes.map(([value, words]) => ({ value, words })), of: (one) => [one.outcome] },
    { key: "truth", options: named(data.classes), of: (one) => [one.truth] },
    { key: "predicted", options: named(data.classes), of: (one) => [one.predicted] },
    { key: "group", options: groups, of: (one) => one.groups },
    { key: "finding", options: named(data.findings), of: (one) => one.findings },
  ];
}

const ORDERS = {
  "": ["most confident errors first", (a, b) => b.off - a.off],
  cost: ["most harmful errors first", (a, b) => b.cost * b.confidence - a.cost * a.confidence || b.off - a.off],
  unsure: ["least confident first", (a, b) => a.confidence - b.confidence],
  patient: ["by patient", (a, b) => a.patient - b.patient || b.off - a.off],
};

function casesOf(data) {
  return data.cases.map((row, place) => {
    const one = { place };
    data.columns.forEach((name, n) => { one[name] = row[n]; });
    one.confidence = one.chances[one.predicted];
    one.cost = data.costs[one.truth][one.predicted];
    one.off = one.truth === one.predicted ? 1 - one.confidence : one.confidence; // how wrong: confident errors, correct predictions of low confidence
    return one;
  });
}

// A test per filter that is set; a case that fails only one of them still counts in that filter's own list.
function testsOf(state, data, facets, text) {
  const tests = [];
  facets.forEach((facet, n) => {
    const wanted = facet.options.findIndex((option) => option.value === state[facet.key]);
    if (wanted >= 0) tests.push({ facet: n, passes: (one) => facet.of(one).includes(wanted) });
    else if (facet.key === "outcome" && state.outcome !== "all" && !(state.truth && state.predicted) && !state.patient && !state.ticked)
      tests.push({ facet: n, passes: (one) => one.outcome === 0 });
  });
  const from = Number(state.from || 0), to = Number(state.to || 1);
  if (from > 0 || to < 1) tests.push({ passes: (one) => one.confidence >= from && one.confidence <= to });
  if (state.patient) {
    const patient = data.patients.indexOf(state.patient);
    tests.push({ passes: (one) => one.patient === patient });
  }
  const words = (state.text || "").toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) tests.push({ passes: (one) => words.every((word) => text(one).includes(word)) });
  return tests;
}

function gallery(data) {
  const facets = facetsOf(data), cases = casesOf(data), ticked = new Set();
  const form = byId("filters");
  const texts = [];
  const text = (one) => (texts[one.place] ??= [
    one.case, one.image, data.patients[one.patient], spoken(data.classes[one.truth]), spoken(data.classes[one.predicted]),
    ...one.groups.map((n) => data.groups[n].join(" ")), ...one.findings.map((n) => spoken(data.findings[n])),
  ].join(" ").toLowerCase());
  const ofPatient = Map.groupBy ? Map.groupBy(cases, (one) => one.patient) : grouped(cases);
  let page = 0, shown = [], last = null;

  address.keys = [...new Set([...address.keys, ...facets.map((facet) => facet.key), "patient", "from", "to", "text", "sort", "ticked"])];

  function look(state) {
    const tests = testsOf(state, data, facets, text);
    if (state.ticked) tests.push({ passes: (one) => ticked.has(one) });
    const counts = facets.map((facet) => new Array(facet.options.length).fill(0));
    shown = [];
    for (const one of cases) {
      let failed = 0, which = null;
      for (const test of tests) if (!test.passes(one)) { failed += 1; which = test; if (failed > 1) break; }
      if (failed > 1) continue;
      facets.forEach((facet, n) => {
        if (!failed || which.facet === n) for (const place of facet.of(one)) counts[n][place] += 1;
      });
      if (!failed) shown.push(one);
    }
    const order = (ORDERS[state.sort] || ORDERS[""])[1];
    shown.sort((a, b) => a.part - b.part || order(a, b) || a.place - b.place);
    return counts;
  }

  function show(state) {
    const filters = JSON.stringify({ ...state, photographs: "", matrix: "", diagonal: "" });
    if (filters === last) return; // only photographs were hidden, or the matrix is shown differently
    last = filters;
    page = 0;
    fill(state, look(state));
    summarise(state);
    draw();
  }

  function fill(state, counts) {
    facets.forEach((facet, n) => {
      const select = form.elements[facet.key];
      if (!select) return;
      const everything = facet.key === "outcome" ? { value: "all", words: "all cases" } : { value: "", words: "any" };
      const chosen = state[facet.key] || (facet.key === "outcome" && !(state.truth && state.predicted) && !state.patient && !state.ticked ? facet.options[0].value : everything.value);
      const listed = [everything, ...facet.options.map((option, place) => ({ ...option, words: `${option.words} (${count(counts[n][place])})` }))];
      select.replaceChildren(...listed.map(({ value, words }) => make("option", { value }, words)));
      select.value = listed.some(({ value }) => value === chosen) ? chosen : everything.value;
    });
    for (const label of all("[data-facet]", form)) label.hidden = !facets.find((facet) => facet.key === label.dataset.facet).options.length;
    form.elements.sort.replaceChildren(...Object.entries(ORDERS).map(([value, [words]]) => make("option", { value }, words)));
    form.elements.sort.value = state.sort in ORDERS ? state.sort : "";
    for (const name of ["from", "to", "text"]) if (document.activeElement !== form.elements[name]) form.elements[name].value = state[name] || "";
  }

  function summarise(state) {
    const patients = new Set(shown.map((one) => one.patient)).size;
    const prefix = { truth: "reference diagnosis ", predicted: "predicted ", patient: "patient " };
    const wordsOf = (key) => facets.find((facet) => facet.key === key)?.options.find((option) => option.value === state[key])?.words ?? state[key];
    const chosen = ["part", "truth", "predicted", "group", "finding", "patient"].filter((key) => state[key]).map((key) => (prefix[key] ?? "") + wordsOf(key));
    const support = `${counted(shown.length, "case")}${data.patients.length > 1 ? ` / ${counted(patients, data.unit)}` : ""}`;
    const instead = state.truth && !state.predicted ? mostly(shown.filter((one) => one.truth !== one.predicted)) : "";
    byId("showing").textContent = `${support}${chosen.length ? `: ${chosen.join(", ")}` : ""}${instead && `; predicted instead: ${instead}`}`;
    byId("everything").hidden = !Object.keys(state).some((key) => !["photographs", "matrix", "diagonal", "sort"].includes(key));
  }

  function mostly(wrong) {
    const times = new Map();
    for (const one of wrong) times.set(one.predicted, (times.get(one.predicted) || 0) + 1);
    return [...times].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([name, n]) => `${spoken(data.classes[name])} ${n}`).join(", ");
  }

  function draw() {
    const first = page * PER_PAGE, here = shown.slice(first, first + PER_PAGE);
    const cards = here.map((one) => card(one, data, ofPatient.get(one.patient), ticked.has(one)));
    byId("cards").replaceChildren(...(cards.length ? cards : [make("li", { class: "fault" }, "No case matches these filters.")]));
    byId("pages").hidden = shown.length <= PER_PAGE;
    byId("page").textContent = `${count(first + 1)}–${count(first + here.length)} of ${count(shown.length)}`;
    byId("before").disabled = page === 0;
    byId("after").disabled = first + PER_PAGE >= shown.length;
  }

  function turn(by) {
    page += by;
    draw();
    byId("filters").scrollIntoView();
  }

  function weigh() {
    byId("tray").hidden = !ticked.size;
    byId("ticked").textContent = `${counted(ticked.size, "case")} ticked`;
  }

  function take() {
    const chosen = cases.filter((one) => ticked.has(one));
    const rows = chosen.map((one) => [one.case, one.image, data.parts[one.part], data.classes[one.truth], data.classes[one.predicted], one.confidence]);
    const file = new Blob([csv([["case_id", "image_id", "part", "truth", "predicted", "confidence"], ...rows], data.sheet)], { type: "text/csv" });
    const link = make("a", { href: URL.createObjectURL(file), download: `${data.name}-ticked.csv` });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => { if (target.name !== "text") address.choose({ [target.name]: target.value }); });
  form.addEventListener("input", ({ target }) => { if (target.name === "text") address.choose({ text: target.value }, { typing: true }); });
  byId("cards").addEventListener("change", ({ target }) => {
    ticked[target.checked ? "add" : "delete"](cases[Number(target.dataset.place)]);
    weigh();
  });
  byId("cards").addEventListener("click", ({ target }) => {
    if (target.dataset.patient) address.choose({ ...nothing(), patient: target.dataset.patient });
  });
  const nothing = () => Object.fromEntries([...facets.map((facet) => facet.key), "patient", "from", "to", "text", "ticked"].map((key) => [key, ""]));
  byId("everything").addEventListener("click", () => address.choose(nothing()));
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));
  byId("take").addEventListener("click", take);
  byId("only").addEventListener("click", () => { last = null; address.choose({ ...nothing(), ticked: "only" }); });
  byId("untick").addEventListener("click", () => { ticked.clear(); weigh(); last = null; address.choose({ ticked: "" }); });
  byId("printed").addEventListener("change", ({ target }) => root.classList.toggle("with-cards", target.checked));
  address.watchers.push(show);
}

function grouped(cases) {
  const found = new Map();
  for (const one of cases) found.has(one.patient) ? found.get(one.patient).push(one) : found.set(one.patient, [one]);
  return found;
}

// As toolkit/csv_files.py writes the files beside the page: a text that a spreadsheet would compute or change gets an apostrophe.
function csv(rows, sheet) {
  const [formula, value, whole] = [sheet.formula, sheet.value, sheet.whole].map((pattern) => new RegExp(pattern, "i"));
  const isChanged = (text) => formula.test(text) || (value.test(text.normalize("NFKC")) && !whole.test(text));
  const guarded = (cell) => (typeof cell === "string" && isChanged(cell) ? `'${cell}` : String(cell));
  return sheet.mark + rows.map((row) => row.map((value) => `"${guarded(value).replaceAll('"', '""')}"`).join(",") + "\n").join("");
}

function card(one, data, family, isTicked) {
  const title = `case-${one.case}`, name = (place) => spoken(data.classes[place]);
  const labelled = (word, place, look) => make("span", { class: look }, make("span", { class: "word" }, word), ` ${name(place)}`);
  const predictions = one.before === null || one.before === undefined
    ? [labelled("predicted", one.predicted, "predicted")]
    : [labelled("before", one.before, "predicted"), labelled("after", one.predicted, "predicted")];
  const readings = one.readings ? `${one.agreeing} of ${counted(one.readings, "reading")} gave the reference diagnosis (${spoken(one.resolved)})` : "";
  const tags = [...one.findings.map((n) => spoken(data.findings[n])), ...one.groups.map((n) => data.groups[n][2])];
  return make("li", { class: "case", "data-case": one.case },
    make("article", { "aria-labelledby": title },
      pictures(one),
      make("h3", { id: title }, labelled("reference diagnosis", one.truth, "truth"), ...predictions),
      readings && make("p", { class: "small" }, readings),
      chances(one, data),
      make("p", { class: "small" }, `${subset(data.parts[one.part])} · probability on the study’s answers ${one.mass.toFixed(3)}${one.cost ? ` · harm ${one.cost}` : ""}`),
      tags.length ? make("ul", { class: "tags", "aria-label": "Findings and groups" }, ...tags.map((tag) => make("li", {}, tag))) : null,
      others(one, data, family),
      one.image === "" ? null : make("p", { class: "small ids" }, make("label", { class: "choice" }, tick(one, isTicked), ` case ${one.case}`), make("br"), `photograph ${one.image}`),
    ));
}

function tick(one, isTicked) {
  const box = make("input", { type: "checkbox", "data-place": one.place });
  box.checked = isTicked;
  return box;
}

function pictures(one) {
  if (one.fault) return make("p", { class: "fault" }, one.fault);
  const words = one.roi ? "ROI outlined" : "without ROI";
  const whole = one.photograph === null ? null : photograph(one.photograph, `Photograph of case ${one.case}, ${words}`, one.roi && one);
  const close = one.crop === null ? make("p", { class: "whole" }, "There is no ROI: the whole photograph is the case.") : photograph(one.crop, `ROI of case ${one.case}`, null);
  return make("div", { class: whole ? "pair" : "pair single" }, whole, close);
}

function photograph(source, words, outlined) {
  const frame = make("div", { class: "photo" }, make("img", { src: source, alt: words, loading: "lazy", decoding: "async" }));
  if (!outlined) return frame;
  const [x, y, width, height] = outlined.roi;
  const outline = (look) => make("rect", { class: look, x, y, width, height });
  frame.append(make("svg", { viewBox: `0 0 ${outlined.width} ${outlined.height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, outline("halo"), outline("outline")));
  return frame;
}

function chances(one, data) {
  const body = make("tbody");
  data.classes.forEach((name, place) => {
    const chance = one.chances[place];
    const fill = make("svg", { class: "chance", viewBox: "0 0 100 8", width: 60, height: 8, preserveAspectRatio: "none", "aria-hidden": "true" },
      make("rect", { class: "track", width: 100, height: 8 }), make("rect", { class: "fill", width: (100 * chance).toFixed(1), height: 8 }));
    const look = place === one.predicted ? "predicted" : place === one.truth ? "reference" : "";
    body.append(make("tr", { class: look }, make("th", { scope: "row" }, spoken(name)), make("td", {}, chance.toFixed(3)), make("td", {}, fill)));
  });
  return make("table", { class: "chances" }, make("caption", { class: "over" }, "Probabilities"), body);
}

function others(one, data, family) {
  const rest = family.filter((other) => other !== one);
  if (one.image === "" || !data.patients[one.patient] || data.unit !== "patient") return null;
  const patient = data.patients[one.patient], here = data.limited ? " on this page" : "";
  if (!rest.length) return make("p", { class: "small" }, `There is no other case of patient ${patient}${here}.`);
  const few = rest.slice(0, 4).map((other) => make("li", {},
    other.crop || other.photograph ? make("div", { class: "photo" }, make("img", { src: other.crop || other.photograph, alt: `Case ${other.case} of the same patient`, loading: "lazy" })) : null,
    make("span", { class: "small" }, `${spoken(data.classes[other.truth])}, ${other.truth === other.predicted ? "correct" : `predicted ${spoken(data.classes[other.predicted])}`}`)));
  return make("div", { class: "family" },
    make("p", { class: "small" }, `Patient ${patient} has ${counted(rest.length, "other case")}${here}: `, make("button", { type: "button", class: "link", "data-patient": patient }, "show all")),
    make("ul", {}, ...few));
}

// A click on the confusion matrix filters the gallery; the matrix shows counts or shares, with its diagonal or without.
function matrices() {
  const cells = all("button.cell"), parts = all("button.part"), tables = all(".matrix"), looks = all("button.look-at");
  if (!tables.length) return;
  const first = tables[0].dataset.part;
  address.keys.push("part", "truth", "predicted", "matrix", "diagonal");
  for (const button of parts) button.addEventListener("click", () => address.choose({ part: button.dataset.part, truth: "", predicted: "", patient: "", ticked: "" }));
  for (const button of looks) button.addEventListener("click", () => {
    const { key, value } = button.dataset;
    address.choose({ [key]: address.state[key] === value ? "" : value });
  });
  for (const cell of cells) {
    cell.addEventListener("click", (event) => {
      const again = cell.getAttribute("aria-pressed") === "true";
      const { part, truth = "", predicted = "" } = cell.dataset;
      const rest = { outcome: "", patient: "", ticked: "" };
      address.choose(again ? { truth: "", predicted: "", ...rest } : { part, truth, predicted, ...rest });
      const below = byId("gallery").getBoundingClientRect().top > innerHeight - 200;
      if (!again && event.detail > 0 && below) byId("gallery").scrollIntoView(); // a pointer's click; the keyboard stays where it is
    });
  }
  address.watchers.push((state) => {
    const part = tables.some((table) => table.dataset.part === state.part) ? state.part : first;
    for (const table of tables) table.classList.toggle("off", table.dataset.part !== part);
    for (const button of parts) button.setAttribute("aria-pressed", String(button.dataset.part === part));
    for (const button of looks) button.setAttribute("aria-pressed", String(state[button.dataset.key] === button.dataset.value));
    for (const cell of cells) {
      const own = ["truth", "predicted"].every((key) => (cell.dataset[key] || "") === (state[key] || ""));
      cell.setAttribute("aria-pressed", String(own && Boolean(state.truth || state.predicted) && cell.dataset.part === part));
    }
    root.classList.toggle("shares", state.matrix === "shares");
    root.classList.toggle("errors-only", state.diagonal === "hidden");
    for (const cell of all("td[data-shade]")) cell.className = `${cell.dataset.look} heat h${state.diagonal === "hidden" ? cell.dataset.errors : cell.dataset.shade}`;
  });
}
