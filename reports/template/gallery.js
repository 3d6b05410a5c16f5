// The gallery makes cards from the data embedded in the page, a few at a time. Every text goes in as text, never as HTML.
const PER_PAGE = 8;
const MOST_MISSED = 3; // photographs beside a finding
const subset = (part) => `${part === "train" ? "training" : spoken(part)} set`;

// What can be chosen from a list: how it is named in the address and on the page, and which of it a case has.
// Until something is chosen, cases are those of the subset in the matrix, and errors.
function facetsOf(data) {
  const named = (names) => names.map((name) => ({ value: name, words: spoken(name) }));
  const groups = data.groups.map(([field, value, words]) => ({ value: `${field}:${value}`, words }));
  const pinned = (state) => state.patient || state.ticked;
  return [
    { key: "part", options: data.parts.map((value) => ({ value, words: subset(value) })), of: (one) => [one.part], unless: pinned },
    { key: "outcome", options: data.outcomes.map(([value, words]) => ({ value, words })), of: (one) => [one.outcome], unless: (state) => pinned(state) || (state.truth && state.predicted) },
    { key: "truth", options: named(data.classes), of: (one) => [one.truth] },
    { key: "predicted", options: named(data.classes), of: (one) => [one.predicted] },
    { key: "group", options: groups, of: (one) => one.groups },
    { key: "finding", options: named(data.findings), of: (one) => one.findings },
  ];
}

// The value of a facet that holds now: chosen, or the first one where the facet starts with it; "all" and "" are any.
const holds = (facet, state) => state[facet.key] || (facet.unless && !facet.unless(state) ? facet.options[0].value : "");

const ORDERS = {
  "": ["most harmful errors first", (a, b) => b.cost * b.confidence - a.cost * a.confidence || b.off - a.off],
  confident: ["most confident errors first", (a, b) => b.off - a.off],
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
    const value = holds(facet, state), wanted = facet.options.findIndex((option) => option.value === value);
    if (wanted >= 0) tests.push({ facet: n, passes: (one) => facet.of(one).includes(wanted) });
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
    one.case, one.image, one.file, data.patients[one.patient], spoken(data.classes[one.truth]), spoken(data.classes[one.predicted]),
    ...one.groups.map((n) => data.groups[n].join(" ")), ...one.findings.map((n) => spoken(data.findings[n])),
  ].join(" ").toLowerCase());
  const ofPatient = Map.groupBy ? Map.groupBy(cases, (one) => one.patient) : grouped(cases);
  const dialog = enlarger((one) => enlarged(one, data, ofPatient.get(one.patient), ticked.has(one)), {
    moved: (one) => address.choose({ case: one.case }, { typing: true }),
    left: (one) => { address.choose({ case: "" }, { typing: true }); returnTo(one); },
  });
  let page = 0, shown = [], last = null;

  address.keys = [...new Set([...address.keys, ...facets.map((facet) => facet.key), "patient", "from", "to", "text", "sort", "ticked", "case"])];

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
    const filters = JSON.stringify({ ...state, photographs: "", matrix: "", diagonal: "", case: "" });
    if (filters !== last) { // else only photographs were hidden, a card was enlarged, or the matrix is shown differently
      last = filters;
      page = 0;
      fill(state, look(state));
      summarise(state);
      draw();
    }
    const wanted = state.case ? cases.find((one) => one.case === state.case) : null;
    if (wanted && !dialog.isAt(wanted)) dialog.open(shown.includes(wanted) ? shown : [wanted], wanted);
    else if (!wanted) dialog.close();
  }

  function fill(state, counts) {
    facets.forEach((facet, n) => {
      const select = form.elements[facet.key];
      if (!select) return;
      const everything = facet.unless ? { value: "all", words: facet.key === "part" ? "all subsets" : "all cases" } : { value: "", words: "any" };
      const chosen = holds(facet, state);
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
    const prefix = { truth: "reference diagnosis ", predicted: "predicted " };
    const chosen = facets.map((facet) => {
      const option = facet.options.find(({ value }) => value === holds(facet, state));
      return option ? (prefix[facet.key] ?? "") + option.words : "";
    });
    if (state.patient) chosen.push(`patient ${state.patient}`);
    if (state.from || state.to) chosen.push(`confidence ${state.from || 0} to ${state.to || 1}`);
    if (state.text) chosen.push(`text “${state.text}”`);
    const support = `${counted(shown.length, "case")}${data.patients.length > 1 ? ` / ${counted(patients, data.unit)}` : ""}`;
    const instead = state.truth && !state.predicted ? mostly(shown.filter((one) => one.truth !== one.predicted)) : "";
    byId("showing").textContent = `${support}: ${chosen.filter(Boolean).join(", ") || "all"}${instead && `; predicted instead: ${instead}`}`;
    byId("everything").hidden = !Object.keys(state).some((key) => !["photographs", "matrix", "diagonal", "sort", "case"].includes(key));
  }

  function mostly(wrong) {
    const times = new Map();
    for (const one of wrong) times.set(one.predicted, (times.get(one.predicted) || 0) + 1);
    return [...times].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([name, n]) => `${spoken(data.classes[name])} ${n}`).join(", ");
  }

  function draw() {
    const first = page * PER_PAGE, here = shown.slice(first, first + PER_PAGE);
    const cards = here.map((one) => card(one, data, ticked.has(one)));
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

  // Back from a case that was enlarged: to its card, on whichever page of the selection it is.
  function returnTo(one) {
    const place = shown.indexOf(one);
    if (place < 0) return;
    if (Math.floor(place / PER_PAGE) !== page) { page = Math.floor(place / PER_PAGE); draw(); }
    byId("cards").children[place % PER_PAGE].querySelector("button.enlarge")?.focus();
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

  // The photographs of a finding on the first screen: the most harmful errors of what its link selects.
  function missed() {
    for (const place of all("[data-missed]")) {
      const parameters = new URLSearchParams(place.dataset.missed);
      const facetsHere = facets.filter((facet) => parameters.has(facet.key));
      const own = cases.filter((one) => facetsHere.every((facet) => facet.of(one).includes(facet.options.findIndex((option) => option.value === parameters.get(facet.key)))));
      own.sort((a, b) => ORDERS[""][1](a, b) || a.place - b.place);
      place.replaceChildren(...own.slice(0, MOST_MISSED).map((one) => {
        const words = `${spoken(data.classes[one.truth])}, predicted ${spoken(data.classes[one.predicted])}`;
        const button = make("button", { type: "button", class: "enlarge", "aria-label": `Enlarge case ${one.case}: ${words}` },
          ...picture(one), make("span", { class: "small" }, `predicted ${spoken(data.classes[one.predicted])}`));
        button.addEventListener("click", () => address.turnTo(place.dataset.missed, { case: one.case }));
        return button;
      }));
    }
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => { if (target.name !== "text") address.choose({ [target.name]: target.value }); });
  form.addEventListener("input", ({ target }) => { if (target.name === "text") address.choose({ text: target.value }, { typing: true }); });
  for (const place of [byId("cards"), byId("enlarged")]) {
    place.addEventListener("change", ({ target }) => {
      if (!target.dataset.place) return;
      ticked[target.checked ? "add" : "delete"](cases[Number(target.dataset.place)]);
      for (const box of all(`input[data-place="${target.dataset.place}"]`)) box.checked = target.checked;
      weigh();
    });
    place.addEventListener("click", ({ target }) => {
      const button = target.closest("button[data-patient], button[data-open]");
      if (!button) return;
      if (button.dataset.patient) address.choose({ ...nothing(), patient: button.dataset.patient });
      else address.choose({ case: button.dataset.open });
    });
  }
  const nothing = () => Object.fromEntries([...facets.map((facet) => facet.key), "patient", "from", "to", "text", "ticked", "case"].map((key) => [key, ""]));
  byId("everything").addEventListener("click", () => address.choose(nothing()));
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));
  byId("take").addEventListener("click", take);
  byId("only").addEventListener("click", () => { last = null; address.choose({ ...nothing(), ticked: "only" }); });
  byId("untick").addEventListener("click", () => { ticked.clear(); weigh(); last = null; address.choose({ ticked: "" }); });
  byId("printed").addEventListener("change", ({ target }) => root.classList.toggle("with-cards", target.checked));
  address.watchers.push(show);
  missed();
  saving(data.name);
}

// A link within the page to a selection turns the gallery to it and goes there.
function arrived() {
  const chosen = Object.keys(address.state).some((key) => !["photographs", "matrix", "diagonal", "sort"].includes(key));
  if (byId("gallery") && chosen) goToGallery();
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"][href*="="]');
    if (!link || !byId("gallery")) return;
    event.preventDefault();
    address.turnTo(link.getAttribute("href").slice(1));
    goToGallery();
  });
}

function goToGallery() {
  byId("gallery").scrollIntoView();
  byId("showing").focus({ preventScroll: true });
}

// Selections by name, kept by this browser for this run's page: each is what stands behind # in the address.
function saving(name) {
  const place = `lesion-toolkit ${name}`, box = byId("saved");
  if (!box) return;
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(place) || "{}");
  } catch { // this browser keeps nothing for a page that is a file: selections last as long as the page is open
  }

  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify(kept));
    } catch {
      byId("kept").textContent = "This browser keeps nothing for this page: copy the link instead.";
    }
    list();
  }

  function list() {
    box.querySelector("ul").replaceChildren(...Object.keys(kept).sort().map((title) => {
      const remove = make("button", { type: "button", class: "link", "aria-label": `Remove ${title}` }, "remove");
      remove.addEventListener("click", () => { delete kept[title]; keep(); });
      return make("li", {}, make("a", { href: `#${kept[title] || "part="}` }, make("bdi", {}, title)), " ", remove);
    }));
  }

  box.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const title = event.target.elements.title.value.trim();
    if (!title) return;
    kept[title] = new URLSearchParams(Object.entries(address.state).filter(([key]) => !["photographs", "ticked"].includes(key))).toString();
    event.target.reset();
    keep();
    byId("kept").textContent = `Saved as “${title}”.`;
  });
  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      byId("kept").textContent = "The link is copied.";
    } catch {
      byId("kept").textContent = `Copy this link: ${location.href}`;
    }
  });
  list();
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

// What a card says; the rest is in what it is enlarged to.
function card(one, data, isTicked) {
  const title = `case-${one.case}`, findings = one.findings.map((n) => spoken(data.findings[n]));
  const open = make("button", { type: "button", class: "enlarge", "data-open": one.case, "aria-label": `Enlarge case ${one.case}` }, ...picture(one));
  const about = [one.cost ? `harm ${one.cost}` : "", one.readings ? `${one.agreeing} of ${counted(one.readings, "reading")} agree` : ""].filter(Boolean).join(" · ");
  return make("li", { class: "case", "data-case": one.case },
    make("article", { "aria-labelledby": title },
      one.fault ? make("p", { class: "fault" }, one.fault) : open,
      make("h3", { id: title }, ...classesOf(one, data)),
      about && make("p", { class: "small" }, about),
      findings.length ? make("ul", { class: "tags", "aria-label": "Findings" }, ...findings.map((finding) => make("li", {}, finding))) : null,
      one.image === "" ? null : make("p", { class: "small ids" }, make("label", { class: "choice" }, tick(one, isTicked), ` case ${one.case}`))));
}

function classesOf(one, data) {
  const labelled = (word, place, look, chance = "") => make("span", { class: look }, make("span", { class: "word" }, word), " ", make("bdi", {}, spoken(data.classes[place])), chance);
  const sure = ` ${one.confidence.toFixed(3)}`;
  const predictions = one.before === null || one.before === undefined
    ? [labelled("predicted", one.predicted, "predicted", sure)]
    : [labelled("before", one.before, "predicted"), labelled("after", one.predicted, "predicted", sure)];
  return [labelled("reference diagnosis", one.truth, "truth"), ...predictions];
}

function tick(one, isTicked) {
  const box = make("input", { type: "checkbox", "data-place": one.place });
  box.checked = isTicked;
  return box;
}

// The lesion as the model saw it, or the whole photograph where there is no ROI.
function picture(one) {
  if (one.fault) return [make("span", { class: "fault" }, one.fault)];
  const words = one.crop ? `ROI of case ${one.case}` : `Photograph of case ${one.case}, without ROI`;
  const frame = make("span", { class: "photo" }, make("img", { src: one.crop || one.photograph, alt: words, loading: "lazy", decoding: "async" }));
  return one.crop ? [frame] : [frame, make("span", { class: "whole" }, "whole photograph, without ROI")];
}

// What a case is enlarged to: its pictures, and all that is known of it.
function enlarged(one, data, family, isTicked) {
  const file = (name) => (one.large ? `photographs/${one.case}${name}.jpg` : "");
  const outline = one.roi && one.width ? { box: one.roi, of: [one.width, one.height] } : null;
  const whole = one.photograph && { words: "the whole photograph", large: file(""), small: one.photograph, outline };
  const close = one.crop && { words: "the lesion", large: file("-roi"), small: one.crop, outline: null };
  const pictures = [whole, close].filter(Boolean);
  const tags = [...one.findings.map((n) => spoken(data.findings[n])), ...one.groups.map((n) => data.groups[n][2])];
  return {
    title: `Case ${one.case}`,
    pictures,
    facts: [
      make("h3", {}, ...classesOf(one, data)),
      one.fault ? make("p", { class: "fault" }, one.fault) : "",
      chances(one, data),
      make("p", { class: "small" }, `${subset(data.parts[one.part])} · probability on the study’s answers ${one.mass.toFixed(3)}${one.cost ? ` · harm ${one.cost}` : ""}`),
      ...readings(one, data),
      one.suggestion ? make("p", {}, make("strong", {}, `The label may be wrong: perhaps ${spoken(one.suggestion[0])}.`), ` Probability that it is wrong: ${one.suggestion[1].toFixed(3)}. ${one.suggestion[2].charAt(0).toUpperCase()}${one.suggestion[2].slice(1)}.`) : "",
      tags.length ? make("ul", { class: "tags", "aria-label": "Findings and groups" }, ...tags.map((tag) => make("li", {}, tag))) : "",
      one.image === "" ? "" : make("p", { class: "small ids" }, make("label", { class: "choice" }, tick(one, isTicked), ` case ${one.case}`), make("br"), `photograph ${one.image}`,
        ...(one.file ? [make("br"), "file ", make("bdi", {}, one.file)] : []),
        ...(one.address ? [make("br"), make("a", { href: one.address, rel: "noreferrer" }, "open in Labelbox")] : [])),
      others(one, data, family),
    ].filter((fact) => fact !== null && fact !== ""),
  };
}

// The readers' votes, each by its annotator.
function readings(one, data) {
  if (!one.readings && !one.votes.length) return [];
  const words = one.readings ? `${one.agreeing} of ${counted(one.readings, "reading")} gave the reference diagnosis (${spoken(one.resolved)}).` : "No reading counts for the reference diagnosis.";
  const votes = one.votes.map(([reader, name, counts]) => make("li", {}, make("bdi", {}, name ? spoken(name) : "no answer"), ` by ${data.readers[reader] || "somebody who is not recorded"}${counts ? "" : ", not counted"}`));
  return [make("p", { class: "small" }, words), votes.length ? make("ul", { class: "votes small", "aria-label": "Readings" }, ...votes) : ""];
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
  const few = rest.slice(0, 8).map((other) => make("li", {},
    make("button", { type: "button", class: "enlarge", "data-open": other.case, "aria-label": `Enlarge case ${other.case} of the same patient` }, ...picture(other)),
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
  for (const table of all("table.confusion")) roving(table);
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
      if (!again && (below || event.detail === 0)) goToGallery(); // beside the matrix a pointer stays; the keyboard goes on in the gallery
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

// One stop of the Tab key for a whole table; the arrow keys, Home and End go from cell to cell.
function roving(table) {
  const grid = [...table.rows].map((row) => [...row.cells].map((cell) => cell.querySelector("button")));
  const buttons = grid.flat().filter(Boolean);
  if (!buttons.length) return;
  const hold = (button) => buttons.forEach((other) => { other.tabIndex = other === button ? 0 : -1; });
  hold(buttons.find((button) => button.dataset.cases) || buttons[0]);
  table.addEventListener("focusin", ({ target }) => { if (buttons.includes(target)) hold(target); });
  table.addEventListener("keydown", (event) => {
    const row = grid.findIndex((cells) => cells.includes(event.target)), column = row < 0 ? -1 : grid[row].indexOf(event.target);
    const along = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    let next = null;
    if (row >= 0 && along) for (let r = row + along[0], c = column + along[1]; !next && grid[r] && c >= 0 && c < grid[r].length; r += along[0], c += along[1]) next = grid[r][c];
    if (row >= 0 && event.key === "Home") next = grid[row].find(Boolean);
    if (row >= 0 && event.key === "End") next = grid[row].findLast(Boolean);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}
