// The slider of an account's page. It stops at the moments that the page lists, and shows the account as it stood there.
// Without this script the fields beside it do the same.

const PAUSE = 120;
let waiting = 0;
let asked = 0;

const place = (slider) => document.getElementById("places").options[slider.value];

function addressOf(option) {
  const query = new URLSearchParams(location.search);
  for (const name of ["at", "time", "at_position", "did", "how", "as", "seal"]) query.delete(name);
  for (const [name, value] of new URLSearchParams(option.dataset.query)) query.set(name, value);
  return query.size ? `${location.pathname}?${query}` : location.pathname;
}

async function show(address) {
  const number = ++asked;
  const answer = await fetch(address, { headers: { Accept: "text/html" } }).catch(() => null);
  if (answer?.redirected) return location.reload();
  if (!answer?.ok || number !== asked) return;
  const made = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (number !== asked) return;
  for (const part of [".sentence", "#stood"]) {
    const fresh = made.querySelector(part);
    if (fresh) document.querySelector(part).replaceWith(document.adoptNode(fresh));
  }
  history.replaceState(null, "", address);
}

document.addEventListener("input", ({ target }) => {
  if (target.id !== "slider") return;
  const option = place(target);
  document.getElementById("slid").textContent = option.label;
  target.setAttribute("aria-valuetext", option.label);
  clearTimeout(waiting);
  waiting = setTimeout(() => show(addressOf(option)), PAUSE);
});
// Sliding fills in nothing, so the page goes on.
document.addEventListener("change", ({ target }) => {
  if (target.id === "slider") delete target.form.dataset.touched;
});
