// The pages that letters lead to. The token stands behind the #, so no server and no log sees it before it is used.
"use strict";

const token = new URLSearchParams(location.hash.slice(1)).get("token");
const said = document.getElementById("said");
const ask = document.getElementById("ask");
const withToken = document.getElementById("verify") || document.getElementById("reset");
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
      say(ok ? told.message : problem, !ok);
      form.hidden = ok;
      if (!ok && ["token_invalid", "token_expired"].includes(told.code)) {
        form.hidden = true;
        ask.hidden = false;
      }
    } catch {
      say("The bank cannot be reached. Try again in a moment.", true);
    } finally {
      button.disabled = false;
    }
  });
}

on(ask, () => post(ask.dataset.path, { email: ask.elements.email.value }));
on(withToken, () =>
  withToken.id === "verify"
    ? post("email-verifications", { token })
    : post("password-resets", { token, new_password: withToken.elements.password.value }),
);
const show = document.getElementById("show");
if (show) {
  show.addEventListener("change", () => {
    withToken.elements.password.type = show.checked ? "text" : "password";
  });
}
(token ? withToken : ask).hidden = false;
