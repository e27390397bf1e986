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
    if (claim && claim.hidden) show(claim.closest(".paper"), "");
    let folded = false;
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS" && !node.open) { node.open = true; folded = true; }
    }
    if (folded || claim) target.scrollIntoView();
  };

  // Show the claims of a paper with one word.
  const show = (paper, word) => {
    all("article[data-word]", paper).forEach((a) => { a.hidden = Boolean(word) && a.dataset.word !== word; });
    all(".filter button", paper).forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.word === word)));
  };
  all(".filter").forEach((group) => {
    group.hidden = false;
    group.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const before = group.getBoundingClientRect().top;
      show(group.closest(".paper"), button.dataset.word);
      scrollBy(0, group.getBoundingClientRect().top - before);
    });
  });

  // The ledger: claims by paper and by word.
  all(".pick").forEach((bar) => {
    bar.hidden = false;
    const rows = all("tbody tr", bar.nextElementSibling);
    const choose = () => {
      const wanted = all("select", bar).map((s) => [s.dataset.column, s.value]);
      rows.forEach((row) => { row.hidden = wanted.some(([name, v]) => v && row.dataset[name] !== v); });
      bar.querySelector("output").textContent = `${rows.filter((r) => !r.hidden).length} of ${rows.length}`;
    };
    all("select", bar).forEach((s) => s.addEventListener("change", choose));
    choose();
  });

  // Long tables: show the lines that hold some words. A line is one row, or a body of several.
  const hasBodies = (table) => table.matches(".results:not(.compact)");
  const lines = (table) => (hasBodies(table)
    ? [...table.tBodies].filter((b) => !b.classList.contains("group"))
    : [...table.tBodies[0].rows].filter((r) => !r.classList.contains("group")));
  all("table[data-filter]").forEach((table) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.className = "find";
    input.type = "search";
    label.append(`Find ${table.dataset.filter} `, input);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      lines(table).forEach((line) => {
        const text = line.textContent.toLowerCase();
        line.hidden = !words.every((word) => text.includes(word));
      });
    });
  });

  // Sort by a column: lines move within their group; the third click restores the first order.
  // A cell whose text has a unit of its own says in data-sort what it is sorted by.
  const number = (text) => {
    const found = /[-+\u2212]?(\d[\d\u202f]*(\.\d+)?|\.\d+)(e[-\u2212]?\d+)?/i.exec(text);
    return found ? Number(found[0].replace(/\u202f/g, "").replace(/\u2212/g, "-")) : NaN;
  };
  const key = (line, column, columns) => {
    if (line.tagName === "TR") {
      const cell = line.cells[column];
      return cell.dataset.sort ?? cell.textContent.trim();
    }
    if (column === 0) return line.rows[0].cells[0].textContent.trim();
    const cells = ["ours", "printed", "reference"].map((kind) => line.querySelector(`tr.${kind}`))
      .filter(Boolean).map((row) => row.cells[row.cells.length - columns + column]);
    const full = cells.find((cell) => cell && /\d/.test(cell.textContent));
    return full ? full.textContent.trim() : "";
  };
  const order = (table, places, column, way) => {
    const bodies = hasBodies(table);
    const parts = [[]];
    for (const line of bodies ? [...table.tBodies] : [...table.tBodies[0].rows]) {
      if (line.classList.contains("group")) parts.push([line], []);
      else parts[parts.length - 1].push(line);
    }
    const columns = table.tHead.rows[0].cells.length;
    const texts = new Map(lines(table).map((line) => [line, key(line, column, columns)]));
    const numeric = [...texts.values()].every((text) => !text || /^(\u2248?[-+\u2212]?\.?\d|\u2013|not measured)/.test(text));
    const compare = (a, b) => {
      if (!way) return places.get(a) - places.get(b);
      if (!numeric) return way * texts.get(a).localeCompare(texts.get(b));
      const [x, y] = [number(texts.get(a)), number(texts.get(b))];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return way * (x - y);
    };
    const parent = bodies ? table : table.tBodies[0];
    parts.forEach((part) => parent.append(...part.sort(compare)));
  };
  all("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    const places = new Map(lines(table).map((line, place) => [line, place]));
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[head.ariaSort] || "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next !== "none") head.setAttribute("aria-sort", next);
        order(table, places, column, { ascending: 1, descending: -1, none: 0 }[next]);
      });
    });
  });

  // A card that is unfolded takes in what all trainings of its experiment share.
  all("details.run").forEach((card) => card.addEventListener("toggle", () => {
    const besides = card.querySelector(".besides");
    const there = besides && document.getElementById(besides.querySelector("a").getAttribute("href").slice(1));
    if (there) besides.replaceWith(there.querySelector("dl").cloneNode(true));
  }));

  // Only what scrolls is a stop of the Tab key.
  const stops = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }));
  all(".scroll, pre").forEach((part) => stops.observe(part));

  // Clicking a link mark copies the address as well.
  all("a.link").forEach((a) => a.addEventListener("click", () => {
    if (!navigator.clipboard) return;
    navigator.clipboard.writeText(a.href).then(() => {
      a.textContent = "copied";
      setTimeout(() => { a.textContent = "#"; }, 1200);
    }, () => {});
  }));

  // Contents: folded on narrow screens; the part in view is marked.
  const toc = document.querySelector(".toc");
  const narrow = matchMedia("(max-width: 62rem)");
  const fold = () => { toc.open = !narrow.matches; };
  fold();
  narrow.addEventListener("change", fold);
  all("a", toc).forEach((a) => a.addEventListener("click", () => { if (narrow.matches) toc.open = false; }));
  const links = new Map(all("ol a[href^='#']", toc).map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      links.forEach((a) => a.removeAttribute("aria-current"));
      links.get(entry.target.id).setAttribute("aria-current", "true");
    });
  }, { rootMargin: "-20% 0px -75% 0px" });
  links.forEach((_, name) => seen.observe(document.getElementById(name)));

  addEventListener("hashchange", open);
  open();
})();
