"use strict";
// Comfort only: the page can be read without any of this.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // A link to something folded away unfolds it.
  const open = () => {
    let name;
    try { name = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    const target = name && document.getElementById(name);
    if (!target) return;
    const claim = target.closest("[data-word]");
    if (claim && claim.hidden) show("");
    let folded = false;
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS" && !node.open) { node.open = true; folded = true; }
    }
    if (folded || claim) target.scrollIntoView();
  };

  // Show the claims with one word.
  const show = (word) => {
    all("article[data-word]").forEach((a) => { a.hidden = Boolean(word) && a.dataset.word !== word; });
    all(".filter button").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.word === word)));
  };
  all(".filter").forEach((group) => {
    group.hidden = false;
    group.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const before = group.getBoundingClientRect().top;
      show(button.dataset.word);
      scrollBy(0, group.getBoundingClientRect().top - before);
    });
  });

  // Clicking a link mark copies the address as well.
  all("a.link").forEach((a) => a.addEventListener("click", () => {
    if (!navigator.clipboard) return;
    navigator.clipboard.writeText(a.href).then(() => {
      a.textContent = "copied";
      setTimeout(() => { a.textContent = "#"; }, 1200);
    }, () => {});
  }));

  // Contents: folded on narrow screens; the section in view is marked.
  const toc = document.querySelector(".toc");
  const narrow = matchMedia("(max-width: 62rem)");
  const fold = () => { toc.open = !narrow.matches; };
  fold();
  narrow.addEventListener("change", fold);
  all("a", toc).forEach((a) => a.addEventListener("click", () => { if (narrow.matches) toc.open = false; }));
  const links = new Map(all("a[href^='#']", toc).map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      links.forEach((a) => a.removeAttribute("aria-current"));
      links.get(entry.target.id).setAttribute("aria-current", "true");
    });
  }, { rootMargin: "-20% 0px -75% 0px" });
  all("main > section").forEach((section) => { if (links.has(section.id)) seen.observe(section); });

  addEventListener("hashchange", open);
  open();
})();
