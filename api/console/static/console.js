// What every page does beyond being read: it stays up to date, says when the service is away, and listens to keys.

const away = document.getElementById("away");
const MOMENT = 1000;
let lost = null;

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const main = () => document.getElementById("main");

// A form that somebody fills in, or text that is selected, is not replaced.
const isInUse = () =>
  main().contains(document.activeElement?.closest("form") ?? null) ||
  [...main().querySelectorAll("form")].some((form) => form.dataset.touched) ||
  main().contains(getSelection().anchorNode) && !getSelection().isCollapsed;

function say(words) {
  if (away.textContent !== words) away.textContent = words;
  away.hidden = !words;
}

function tellLoss(asked) {
  lost ??= asked;
  const since = lost.toISOString().slice(11, 19);
  say(`The service does not answer since ${since} UTC. This page shows what was known then, and goes on by itself.`);
}

const alike = ({ tagName, id, href }) =>
  [...document.querySelectorAll(tagName)].filter((part) => part.id === id && part.href === href);

function replace(text) {
  const made = new DOMParser().parseFromString(text, "text/html");
  const fresh = made.getElementById("main");
  if (!fresh) return location.reload();
  const open = new Set([...main().querySelectorAll("details[open][id]")].map((part) => part.id));
  const held = document.activeElement ?? document.body;
  const place = alike(held).indexOf(held);
  for (const part of fresh.querySelectorAll("details[id]")) part.open ||= open.has(part.id);
  const whole = document.querySelector(".top form") === null && made.querySelector(".top form") !== null;
  if (whole) return location.reload();
  main().replaceWith(document.adoptNode(fresh));
  document.title = made.title;
  if (!held.isConnected) (alike(held)[place] ?? main()).focus({ preventScroll: true });
  document.dispatchEvent(new Event("shown"));
}

async function follow() {
  while (main()?.hasAttribute("data-live")) {
    await sleep(document.hidden ? 10 * MOMENT : MOMENT);
    if (isInUse()) continue;
    const began = location.href, asked = new Date();
    let answer, text;
    try {
      answer = await fetch(began, {
        headers: { "Console-State": main().dataset.state, Accept: "text/html" },
        signal: AbortSignal.timeout(20 * MOMENT),
      });
      text = await answer.text();
      if (answer.status >= 500) throw answer;
    } catch {
      tellLoss(asked);
      continue;
    }
    if (answer.status === 401) return location.reload();
    lost = null;
    say("");
    if (began === location.href && !isInUse()) replace(text);
  }
}

let isAfterG = false;

function listen(event) {
  const isTyping = event.target.closest?.("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  if (isAfterG) {
    isAfterG = false;
    const way = document.querySelector(`nav a[data-letter="${CSS.escape(event.key)}"]`);
    if (way) location.assign(way.href);
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("open")?.select();
  } else if (event.key === "g") {
    isAfterG = true;
    setTimeout(() => (isAfterG = false), 1.5 * MOMENT);
  } else if (event.key === "?") {
    document.getElementById("keys")?.showModal();
  }
}

document.addEventListener("keydown", listen);
document.addEventListener("input", (event) => {
  const form = event.target.closest("main form");
  if (form) form.dataset.touched = "yes";
});
// A form is sent once.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));
follow();
