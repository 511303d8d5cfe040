// Keeps the page live, copies addresses and presses buttons without leaving the page. Everything else works without it.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  // --- live: each section comes as HTML of our own server whenever it changes ---

  let stream = null;

  function connect() {
    if (stream !== null || !root.dataset.seen) return;
    stream = new EventSource(`/events?seen=${root.dataset.seen}`);
    stream.addEventListener("stamp", (event) => {
      if (event.data === root.dataset.stamp) return;
      disconnect(); // what follows is for a page that may load pictures from elsewhere, or has other buttons
      location.reload();
    });
    stream.addEventListener("seen", (event) => {
      root.dataset.seen = event.data;
    });
    stream.addEventListener("open", () => tell("live"));
    stream.addEventListener("error", () => tell("not connected; trying again"));
    for (const section of document.querySelectorAll("section[data-live]")) {
      stream.addEventListener(section.id, (event) => stream === event.target && update(section, event.data));
    }
  }

  function disconnect() {
    if (stream !== null) stream.close();
    stream = null;
  }

  function tell(words) {
    document.getElementById("live").textContent = words;
  }

  function update(section, html) {
    const fresh = new DOMParser().parseFromString(`<body>${html}</body>`, "text/html").body;
    merge(section, fresh);
  }

  // Makes `old` hold what `fresh` holds. Elements that stay the same stay the same objects: focus, open menus and loaded
  // pictures survive.
  function merge(old, fresh) {
    const known = new Map();
    for (const child of old.children) if (child.id) known.set(child.id, child);
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = wanted.id ? known.get(wanted.id) : place;
      if (found && !alike(found, wanted)) found = null;
      if (found && !wanted.id && found.id && known.has(found.id)) found = null;
      if (!found) {
        old.insertBefore(document.importNode(wanted, true), place);
        continue;
      }
      if (found === place) place = place.nextSibling;
      else old.insertBefore(found, place);
      adopt(found, wanted);
    }
    while (place !== null) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
  }

  function adopt(found, wanted) {
    if (found.isEqualNode(wanted)) return;
    if (found.nodeType !== Node.ELEMENT_NODE) {
      found.nodeValue = wanted.nodeValue;
      return;
    }
    for (const { name } of [...found.attributes]) {
      if (!wanted.hasAttribute(name) && name !== "open" && name !== "hidden") found.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (found.getAttribute(name) !== value) found.setAttribute(name, value);
    }
    merge(found, wanted);
  }

  // --- copying ---

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyOfOld(text); // not allowed, or not offered: the page came over plain http from another machine
    }
  }

  function copyOfOld(text) {
    const field = document.createElement("textarea");
    field.value = text;
    field.setAttribute("readonly", "");
    field.className = "away";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button !== null) {
      const done = await copy(button.dataset.copy);
      button.focus();
      say(done ? "Copied." : "The browser does not let a page copy; select the address instead.");
      const menu = button.closest("details");
      if (menu !== null) close(menu);
      return;
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    const menu = event.target.closest ? event.target.closest("details.menu[open]") : null;
    if (event.key === "Escape" && menu !== null) close(menu);
  });

  function close(menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }

  // --- buttons ---

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.method !== "post" || !root.dataset.seen) return;
    event.preventDefault();
    const pressed = form.querySelector("button");
    pressed.disabled = true;
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { Accept: "application/json" },
      });
      if (!answer.ok) throw new Error(`answer ${answer.status}`);
      say((await answer.json()).notice);
    } catch (problem) {
      say(`That did not work (${problem.message}). Load the page anew and try again.`);
    } finally {
      pressed.disabled = false;
    }
  });

  function say(words) {
    document.getElementById("notice").textContent = words;
  }

  // --- a tab that nobody sees needs no stream: browsers open only a few at a time to one place ---

  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  document.addEventListener(
    "error",
    (event) => {
      if (event.target.matches && event.target.matches(".picture img")) event.target.hidden = true; // private, or gone
    },
    true,
  );
  if (!document.hidden) connect();
})();
