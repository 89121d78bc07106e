"use strict";

const show = (id, text) => { document.getElementById(id).textContent = text; };

let tag = null;

async function ask() {
  const from = performance.now();
  const headers = tag ? { "If-None-Match": tag } : {};
  const answer = await fetch("index.html", { headers, cache: "no-store" });
  const took = performance.now() - from;
  tag = answer.headers.get("ETag") ?? tag;
  show("took", `${took.toFixed(1)} ms`);
  show("version", answer.headers.get("Server") ?? "not said");
  show("tag", tag ?? "none");
  return answer.status;
}

document.getElementById("again").addEventListener("click", async () => {
  try {
    const status = await ask();
    const text = status === 304 ? "304: it is still the same." : `${status}: here it is in full.`;
    show("note", text);
  } catch {
    show("note", "No answer. Is the server still running?");
  }
});

ask().catch(() => show("note", "No answer. Is the server still running?"));
