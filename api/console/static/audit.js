// Checks in the browser what a form of the pages on proofs names, and says in words what was found.

import { isBeginning, isIncluded, leafHash, readCheckpoint, requireSigned, whyNot } from "./proofs.js";

class Unanswered extends Error {}

// The installation of a placement whose log is meant.
const { log } = document.getElementById("main").dataset;

async function ask(path) {
  const on = log ? `${path.includes("?") ? "&" : "?"}installation=${log}` : "";
  const answer = await fetch(`/console/audit/${path}${on}`);
  if (answer.redirected) location.reload(); // the session has ended
  if (answer.ok) return answer.text();
  const { detail, errors } = await answer.json();
  throw new Unanswered(errors?.map((error) => `${error.pointer} ${error.detail}`).join("; ") ?? detail);
}

// Returns the newest checkpoint and the keys: those given in the form, or those that the service states.
async function today({ keys }) {
  const given = keys?.value.trim();
  const [vkeys, note] = await Promise.all([given || ask("verifier-key"), ask("checkpoint")]);
  const newest = readCheckpoint(note);
  const signers = await requireSigned(newest, vkeys).catch(({ message }) => {
    throw Error(`The newest checkpoint: ${message}`);
  });
  return { vkeys, newest, signed: `Signed by ${signers}. ${given ? "You gave" : "The service states"} this key.` };
}

async function checkSaved(given) {
  const saved = readCheckpoint(given.note.value);
  const { vkeys, newest, signed } = await today(given);
  await requireSigned(saved, vkeys);
  if (saved.size > newest.size) throw Error(`It covers ${saved.size} events, and today's covers ${newest.size}.`);
  const { path } = JSON.parse(await ask(`proofs/consistency?from=${saved.size}&to=${newest.size}`));
  if (saved.origin !== newest.origin || !(await isBeginning(saved.size, newest.size, saved.root, newest.root, path)))
    throw Error(`The history was rewritten: its first ${saved.size} events are not those that were signed.`);
  return ["Yes: this history is the one that was signed.", signed,
    `Today's ${newest.size} events begin with the ${saved.size} events of this checkpoint.`];
}

async function checkEvent(given) {
  const { newest, signed } = await today(given);
  const position = BigInt(given.position.value);
  const proof = JSON.parse(await ask(`proofs/inclusion?position=${position}&size=${newest.size}`));
  const leaf = document.getElementById("leaf");
  const hash = leaf ? await leafHash(leaf.textContent) : given.leaf_hash.value.trim() || proof.leaf_hash;
  if (!(await isIncluded(hash, position - 1n, newest.size, newest.root, proof.path)))
    throw Error(`The event with the leaf hash ${hash} is not at position ${position} of the signed journal.`);
  return ["Yes: this event is in the journal that was signed.", signed,
    `The event with the leaf hash ${hash} stands at position ${position} of ${newest.size}.`];
}

const CHECKS = { saved: checkSaved, inclusion: checkEvent };

async function found(form) {
  const unable = await whyNot();
  if (unable) return ["wait", unable, "The server can check it instead, if you trust it."];
  try {
    return ["good", ...(await CHECKS[form.id](form.elements)), "Computed in this browser."];
  } catch (reason) {
    const isOpen = reason instanceof Unanswered || reason instanceof TypeError; // as fetch throws
    return isOpen ? ["wait", "Not checked.", reason.message] : ["bad", "Refused.", reason.message];
  }
}

async function check(form) {
  form.dataset.touched = "yes"; // what was found stays on the page
  const [tone, ...words] = await found(form);
  const output = form.querySelector("output");
  output.className = `notice ${tone}`;
  output.replaceChildren(...words.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
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
