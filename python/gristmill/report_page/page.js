"use strict";
// One tip for the whole page; it floats, so that nothing moves when it comes and goes.
const tip = document.getElementById("tip");
let shownFor = null;
function show(target) {
  shownFor = target;
  tip.textContent = target.dataset.tip;
  place();
}
function place() {
  const box = shownFor && shownFor.getClientRects()[0];
  if (!box || box.bottom < 0 || box.top > innerHeight) return hide();
  const width = tip.offsetWidth, height = tip.offsetHeight, room = 8;
  const left = box.left + box.width / 2 - width / 2;
  const above = box.top - height - room;
  const below = Math.min(box.bottom + room, innerHeight - height - room);
  tip.style.left = Math.max(room, Math.min(left, document.documentElement.clientWidth - width - room)) + "px";
  tip.style.top = (above < room ? below : above) + "px";
  tip.style.visibility = "visible";
}
function hide() { shownFor = null; tip.style.visibility = "hidden"; }
const tipped = (event) => event.target instanceof Element && event.target.closest("[data-tip]");
for (const name of ["pointerover", "focusin", "click"]) {
  document.addEventListener(name, (event) => { const target = tipped(event); target ? show(target) : hide(); });
}
document.addEventListener("focusout", hide);
document.addEventListener("scroll", () => { if (shownFor) place(); }, true);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
// One stop of the tab key for each group; arrow keys, Home and End move inside.
for (const group of document.querySelectorAll("[data-rove]")) {
  const items = [...group.querySelectorAll("[data-tip]")];
  if (!items.length) continue;
  let current = 0;
  items[0].tabIndex = 0;
  const go = (next) => {
    items[current].tabIndex = -1;
    current = Math.max(0, Math.min(items.length - 1, next));
    items[current].tabIndex = 0;
  };
  group.addEventListener("focusin", (event) => { const at = items.indexOf(event.target); if (at >= 0) go(at); });
  group.addEventListener("click", (event) => { const target = tipped(event); if (target) target.focus(); });
  group.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: current + 1, ArrowDown: current + 1, ArrowLeft: current - 1, ArrowUp: current - 1, Home: 0, End: items.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    go(moves[event.key]);
    items[current].focus();
  });
}
