// Follows the node: redraws the parts of the page that changed, and lets a dot run along an arrow when shards arrive.
// The page is complete without it; the server draws everything.
"use strict";
(() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const say = (text) => {
    const at = document.getElementById("live");
    if (at) at.textContent = text;
  };
  let state = "";
  let wanted = false;
  let busy = false;

  // Takes over new parts by their id; what did not change is left alone, so that selections and scrolling stay.
  const redraw = async () => {
    if (busy || document.hidden) { wanted = true; return; }
    busy = true;
    wanted = false;
    try {
      const answer = await fetch("/body", { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const ids = [...fresh.querySelectorAll("[id]")].map((e) => e.id)
        .filter((id) => ["head", "tiles", "swarm", "course", "details", "peers", "happenings", "ledger"].includes(id));
      if (ids.some((id) => !document.getElementById(id))) {
        document.getElementById("main").replaceWith(fresh.getElementById("main"));
      }
      for (const id of ids) {
        const [now, next] = [document.getElementById(id), fresh.getElementById(id)];
        if (now && next && now.dataset.drawn !== next.outerHTML) {
          const drawn = next.outerHTML;
          const scrolled = [...now.querySelectorAll(".wide")].map((e) => e.scrollLeft);
          now.replaceWith(next);
          next.querySelectorAll(".wide").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
          next.dataset.drawn = drawn;
        }
      }
      say(state);
    } catch {
      say("the node does not answer");
    }
    busy = false;
  };

  // A dot from the node whose update was pulled to this one.
  const fly = (from) => {
    const arrow = [...document.querySelectorAll("path.pull")].find((p) => p.dataset.pull.startsWith(from));
    if (!arrow || calm || document.hidden) return;
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("class", arrow.getAttribute("class").replace("pull", "dot").replace("faded", ""));
    dot.setAttribute("r", "5");
    arrow.parentNode.append(dot);
    const [begun, length] = [performance.now(), arrow.getTotalLength()];
    const move = (now) => {
      const part = (now - begun) / 900;
      if (part >= 1 || !arrow.isConnected) { dot.remove(); return; }
      const at = arrow.getPointAtLength(length * part * (2 - part));
      dot.setAttribute("cx", at.x);
      dot.setAttribute("cy", at.y);
      requestAnimationFrame(move);
    };
    requestAnimationFrame(move);
  };

  const follow = () => {
    const source = new EventSource("/v1/events");
    source.onopen = () => { state = "live"; say(state); };
    source.onerror = () => {
      state = "waiting for the node";
      say(state);
      // The browser gives up after a refusal; try again later.
      if (source.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
    };
    source.onmessage = (message) => {
      wanted = true;
      try {
        const event = JSON.parse(message.data);
        if (event.event === "pulled") fly(event.peer);
      } catch { /* a line of another version */ }
    };
  };

  setInterval(() => { if (wanted) redraw(); }, 1000);
  setInterval(() => { wanted = true; }, 5000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) redraw(); });
  follow();
})();
