// Keys, timing, and going on only when the server has said that the answer is saved. The page works without it.
"use strict";
const answer = document.getElementById("answer");
const undo = document.getElementById("undo");
const problem = document.getElementById("problem");
const guideline = document.getElementById("guideline");
const keys = document.getElementById("keys");
const comment = document.getElementById("comment");
const shown = performance.now();
const TOO_SOON_MS = 250; // a key meant for the item before
let hiddenMs = 0;
let hiddenSince = document.hidden ? shown : null;
let isSending = false;

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hiddenSince = performance.now();
  } else if (hiddenSince !== null) {
    hiddenMs += performance.now() - hiddenSince;
    hiddenSince = null;
  }
});

function say(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

async function send(form, button) {
  if (isSending) return;
  isSending = true;
  say("");
  answer.page_seconds.value = ((performance.now() - shown) / 1000).toFixed(2);
  answer.hidden_seconds.value = (hiddenMs / 1000).toFixed(2);
  const fields = new URLSearchParams(new FormData(form));
  if (button && button.name) fields.set(button.name, button.value);
  if (button) button.classList.add("pressed");
  try {
    const response = await fetch(form.action, { method: "POST", body: fields, headers: { Accept: "application/json" } });
    const said = await response.json();
    if (!response.ok) throw new Error(said.problem);
    location.replace(said.next);
  } catch (error) {
    say(error instanceof TypeError || error instanceof SyntaxError
      ? "The server does not answer, so nothing was saved. Is `curate label` still running? Try again." : error.message);
    if (button) button.classList.remove("pressed");
    isSending = false;
  }
}

for (const form of [answer, undo]) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, event.submitter);
  });
}

document.addEventListener("keydown", (event) => {
  if (event.target === comment) {
    if (event.key === "Escape") document.getElementById("item").focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || keys.open) return;
  const key = event.key.toLowerCase();
  const button = answer.querySelector(`button[data-key="${CSS.escape(key)}"]`);
  if (button && !button.disabled) {
    event.preventDefault();
    if (performance.now() - shown > TOO_SOON_MS) send(button.form, button);
  } else if (key === "c") {
    event.preventDefault();
    comment.focus();
  } else if (key === "g") {
    guideline.open = !guideline.open;
  } else if (key === "?") {
    keys.showModal();
  }
});

document.getElementById("help").addEventListener("click", () => keys.showModal());

// The guideline stays as the rater left it, closed at first where it would push the text away; a new one opens.
const isNarrow = matchMedia("(max-width: 860px)").matches;
const before = sessionStorage.getItem("guideline");
if (!("new" in guideline.dataset)) guideline.open = before === null ? !isNarrow : before === "open";
guideline.addEventListener("toggle", () => sessionStorage.setItem("guideline", guideline.open ? "open" : "closed"));

document.getElementById("item").focus({ preventScroll: true });
const previous = document.querySelector(".previous");
const told = document.querySelector(".progress").textContent + (previous ? previous.textContent : "");
setTimeout(() => { document.getElementById("said").textContent = told.replace(/\s+/g, " "); }, 150);
