// A dialog that shows one thing of a selection as large as the screen allows, and goes on to the next by arrow keys.
// `contents(item)` says what stands in it: { title, pictures: [{ words, large, small, outline }], together, facts: [nodes] }.
function enlarger(contents, { moved = () => {}, left = () => {} } = {}) {
  const dialog = byId("enlarged"), find = (name) => dialog.querySelector(`.${name}`);
  let items = [], place = 0, look = { picture: 0, outlined: true };

  function open(list, item) {
    items = list;
    place = Math.max(list.indexOf(item), 0);
    look.picture = 0;
    draw();
    if (!dialog.open) dialog.showModal();
  }

  function draw() {
    const { title, pictures, together = false, facts } = contents(items[place]);
    find("title").textContent = title;
    find("place").textContent = `${count(place + 1)} of ${count(items.length)}`;
    look.picture = Math.min(look.picture, Math.max(pictures.length - 1, 0));
    const drawn = (together ? pictures : pictures.slice(look.picture, look.picture + 1)).map((picture) => enlargedPicture(picture, look.outlined));
    find("pictures").replaceChildren(...(drawn.length ? drawn : [make("p", { class: "fault" }, "There is no photograph to enlarge.")]));
    find("facts").replaceChildren(...facts);
    find("facts").scrollTop = 0;
    find("previous").disabled = place === 0;
    find("next").disabled = place >= items.length - 1;
    find("other").hidden = together || pictures.length < 2;
    if (pictures.length > 1) find("other").textContent = `Show ${pictures[(look.picture + 1) % pictures.length].words} (w)`;
    find("outline").hidden = !pictures.some((picture) => picture.outline);
    find("outline").setAttribute("aria-pressed", String(look.outlined));
  }

  function step(by) {
    if (place + by < 0 || place + by >= items.length) return;
    place += by;
    draw();
    moved(items[place]);
  }

  function other() {
    look.picture = (look.picture + 1) % Math.max(contents(items[place]).pictures.length, 1);
    draw();
  }

  function outline() {
    look.outlined = !look.outlined;
    draw();
  }

  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("other").addEventListener("click", other);
  find("outline").addEventListener("click", outline);
  find("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => left(items[place]));
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const does = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), w: other, r: outline }[event.key];
    if (does) { event.preventDefault(); does(); }
  });
  return { open, close: () => dialog.close(), isAt: (item) => dialog.open && items[place] === item };
}

// The larger file beside the page; where it is gone, for one because the page was sent alone, the thumbnail in the page.
function enlargedPicture({ words, large, small, outline }, outlined) {
  const image = make("img", { src: large || small, alt: words });
  const frame = make("div", { class: "photo" }, image);
  image.addEventListener("load", () => {
    const shape = image.naturalWidth / image.naturalHeight;
    frame.style.width = `min(100%, calc((94vh - 130px) * ${shape}))`;
  });
  const note = make("p", { class: "small" }, large ? "" : "A larger picture of it is not kept beside this page.");
  if (large) image.addEventListener("error", () => {
    image.src = small;
    note.textContent = "The folder with larger pictures is not beside this page: this is the thumbnail.";
  }, { once: true });
  if (outline && outlined) frame.append(outlineOf(outline));
  return make("div", { class: "enlarged-picture" }, frame, note);
}

function outlineOf({ box: [x, y, width, height], of: [across, down] }) {
  const drawn = (look) => make("rect", { class: look, x, y, width, height });
  return make("svg", { viewBox: `0 0 ${across} ${down}`, preserveAspectRatio: "none", "aria-hidden": "true" }, drawn("halo"), drawn("outline"));
}

// Cards that stand in the page itself: some at a time, each enlarged with its own pictures and what it keeps for this.
const CARDS_PER_PAGE = 6;

function enlargeable() {
  for (const list of all("ol[data-enlarge]")) {
    const cards = all("li.case", list), turnTo = paged(list, cards);
    const dialog = enlarger(contentsOf, { left: (card) => { turnTo(cards.indexOf(card)); card.querySelector("button.enlarge").focus(); } });
    list.addEventListener("click", ({ target }) => {
      const button = target.closest("button.enlarge");
      if (button) dialog.open(cards, button.closest("li.case"));
    });
  }
}

// Shows the page of a list on which a card stands; without this script all cards are shown.
function paged(list, cards) {
  const pages = Math.ceil(cards.length / CARDS_PER_PAGE);
  if (pages < 2) return () => {};
  let page = 0;
  const previous = make("button", { type: "button" }, "Previous"), next = make("button", { type: "button" }, "Next"), words = make("span", { role: "status" });
  const show = (wanted) => {
    page = wanted;
    cards.forEach((card, n) => { card.hidden = Math.floor(n / CARDS_PER_PAGE) !== page; });
    const first = page * CARDS_PER_PAGE;
    words.textContent = `${count(first + 1)}–${count(Math.min(first + CARDS_PER_PAGE, cards.length))} of ${count(cards.length)}`;
    previous.disabled = page === 0;
    next.disabled = page === pages - 1;
  };
  previous.addEventListener("click", () => { show(page - 1); list.scrollIntoView(); });
  next.addEventListener("click", () => { show(page + 1); list.scrollIntoView(); });
  list.after(make("div", { class: "pages" }, previous, words, next));
  show(0);
  return (place) => show(Math.floor(place / CARDS_PER_PAGE));
}

function contentsOf(card) {
  const facts = [...card.querySelector("article").children].filter((child) => !child.matches(".enlarge")).map((child) => {
    const copy = child.cloneNode(true);
    copy.hidden = false;
    for (const element of [copy, ...copy.querySelectorAll("[id]")]) element.removeAttribute("id");
    return copy;
  });
  const pictures = all("img", card).map((image) => ({ words: image.alt, large: image.dataset.large || "", small: image.src, outline: null }));
  return { title: card.querySelector(".enlarge").getAttribute("aria-label").replace(/^Enlarge /, ""), pictures, together: true, facts };
}
