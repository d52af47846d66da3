// Checks in the browser what a form of the pages on proofs names, and says in words what was found.

import { isBeginning, isIncluded, leafHash, readCheckpoint, requireSigned, whyNot } from "./proofs.js";

async function ask(path) {
  const answer = await fetch(`/console/audit/${path}`);
  if (answer.redirected) location.reload(); // the session has ended
  return answer.ok ? answer : Promise.reject(Error((await answer.json()).detail));
}

// Returns the newest checkpoint and the keys: those given in the form, or those that the service states.
async function today({ keys }) {
  const vkeys = keys?.value.trim() || (await (await ask("verifier-key")).text());
  const newest = readCheckpoint(await (await ask("checkpoint")).text());
  const signers = await requireSigned(newest, vkeys);
  return { vkeys, newest, signed: `Signed by ${signers}, ${keys?.value.trim() ? "as you" : "as the service"} gave it.` };
}

async function checkSaved(given) {
  const saved = readCheckpoint(given.note.value);
  const { vkeys, newest, signed } = await today(given);
  await requireSigned(saved, vkeys);
  if (saved.size > newest.size) throw Error(`It covers ${saved.size} events, and today's covers ${newest.size}.`);
  const { path } = await (await ask(`proofs/consistency?from=${saved.size}&to=${newest.size}`)).json();
  if (saved.origin !== newest.origin || !(await isBeginning(saved.size, newest.size, saved.root, newest.root, path)))
    throw Error(`The history was rewritten: its first ${saved.size} events are not those that were signed.`);
  return ["Yes: this history is the one that was signed.", signed,
    `Today's ${newest.size} events begin with the ${saved.size} events of this checkpoint.`];
}

async function checkEvent(given) {
  const { newest, signed } = await today(given);
  const position = BigInt(given.position.value);
  const { path, leaf_hash } = await (await ask(`proofs/inclusion?position=${position}&size=${newest.size}`)).json();
  const leaf = document.getElementById("leaf");
  const hash = leaf ? await leafHash(leaf.textContent) : given.leaf_hash.value.trim() || leaf_hash;
  if (!(await isIncluded(hash, position - 1n, newest.size, newest.root, path)))
    throw Error(`The event with the leaf hash ${hash} is not at position ${position} of the signed journal.`);
  return ["Yes: this event is in the journal that was signed.", signed,
    `The event with the leaf hash ${hash} stands at position ${position} of ${newest.size}.`];
}

const CHECKS = { saved: checkSaved, inclusion: checkEvent };

async function check(form) {
  form.dataset.touched = "yes"; // what was found stays on the page
  const found = form.querySelector("output");
  let words = [await whyNot(), "The server can check it instead, if you trust it."], tone = "wait";
  if (!words[0])
    [words, tone] = await CHECKS[form.id](form.elements).then(
      (said) => [[...said, "Computed in this browser."], "good"],
      (reason) => [["Refused.", reason.message], "bad"],
    );
  found.className = `notice ${tone}`;
  found.replaceChildren(...words.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
}

document.addEventListener("submit", (event) => {
  if (!CHECKS[event.target.id] || event.submitter?.name === "by") return;
  event.preventDefault();
  delete event.target.dataset.sent;
  check(event.target);
});
document.addEventListener("change", async ({ target }) => {
  if (target.type !== "file") return;
  target.form.elements.note.value = await target.files[0].text();
  target.form.requestSubmit();
});
