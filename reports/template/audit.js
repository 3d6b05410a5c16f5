"use strict";
// Photographs can be hidden all at once: by the button, or by the key h.
(() => {
  const root = document.documentElement, hide = document.getElementById("hide");
  if (!hide) return;
  const flip = () => {
    const hidden = root.classList.toggle("concealed");
    hide.setAttribute("aria-pressed", String(hidden));
    hide.textContent = hidden ? "Show photographs (h)" : "Hide photographs (h)";
  };
  hide.addEventListener("click", flip);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "h" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) flip();
  });
})();
