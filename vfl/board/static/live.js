// Keeps the moving parts of the first page current: asks for them every few seconds, not while nobody looks.

import { checkStatus } from "./check.js";

const EVERY = 5000; // ms
const pause = document.querySelector("#pause");
let timer = null;

async function refresh() {
  const answer = await fetch("/board/live");
  if (!answer.ok) {
    return;
  }
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const fresh of found.querySelectorAll("[data-live]")) {
    const old = document.getElementById(fresh.id);
    // What has the keyboard's focus stays: a person is on it.
    if (old && !old.contains(document.activeElement) && old.innerHTML !== fresh.innerHTML) {
      old.replaceChildren(...document.importNode(fresh, true).childNodes);
    }
  }
  await checkStatus(document.querySelector('[data-check="status"]'));
}

function go() {
  clearInterval(timer);
  const still = document.hidden || pause.getAttribute("aria-pressed") === "true";
  timer = still ? null : setInterval(() => refresh().catch(() => {}), EVERY); // a server that is away is asked again
}

pause.hidden = false;
pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", String(pause.getAttribute("aria-pressed") !== "true"));
  go();
});
document.addEventListener("visibilitychange", go);
go();
