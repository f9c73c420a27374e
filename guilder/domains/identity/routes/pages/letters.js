// The pages that letters lead to. The token stands behind the #, so no server and no log sees it before it is used.
"use strict";

const said = document.getElementById("said");
const ask = document.getElementById("ask");
const withToken = document.querySelector("form[data-token]");
const kept = `letter ${location.pathname}`;
const fragment = new URLSearchParams(location.hash.slice(1));
// A reload in the same tab finds the token again; a new tab does not, nor does anybody after it was used.
if (fragment.get("token")) {
  sessionStorage.setItem(kept, fragment.toString());
}
const given = new URLSearchParams(sessionStorage.getItem(kept) || "");
const token = given.get("token");
history.replaceState(null, "", location.pathname);
// Another link opened in the same tab changes only what stands behind the #.
addEventListener("hashchange", () => location.reload());

async function post(path, body) {
  const answer = await fetch(`/api/v1/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return { ok: answer.ok, told: await answer.json() };
}

function say(words, bad) {
  said.textContent = words;
  said.classList.toggle("bad", bad);
}

function on(form, send) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    say("", false);
    try {
      const { ok, told } = await send();
      const problem = (told.errors || []).map((one) => one.message).join(" ") || told.detail;
      const dead = ["token_invalid", "token_expired"].includes(told.code);
      if (form === withToken && (ok || dead)) {
        sessionStorage.removeItem(kept);
      }
      say(ok ? told.message : problem, !ok && !told.already_confirmed);
      form.hidden = ok || dead;
      if (dead && !told.already_confirmed) {
        ask.hidden = false;
      }
    } catch {
      say("The bank cannot be reached. Try again in a moment.", true);
    } finally {
      button.disabled = false;
    }
  });
}

if (ask.elements) {
  on(ask, () => post(ask.dataset.path, { email: ask.elements.email.value }));
}
const password = withToken.elements.password;
on(withToken, () => post(withToken.dataset.path, password ? { token, new_password: password.value } : { token }));
const show = document.getElementById("show");
if (show) {
  withToken.elements.username.value = given.get("email") || "";
  show.addEventListener("change", () => {
    password.type = show.checked ? "text" : "password";
  });
}
(token ? withToken : ask).hidden = false;
