"use strict";
(() => {
  // Sorting: numbers by value, missing ones last in either direction; references stay where they are.
  const board = document.getElementById("board");
  const body = board.tBodies[0];
  const heads = [...board.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const first = button.dataset.first || "ascending";
      const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.sort;
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (button.dataset.text ? x.localeCompare(y) : Number(x) - Number(y));
      });
      body.append(...rows);
    });
  });

  const second = document.getElementById("second-columns");
  if (second) {
    const show = () => board.classList.toggle("with-second", second.checked);
    second.addEventListener("change", show);
    show();
  }

  // Figures: drawn when they come near the window, in the page's own colours.
  const source = document.getElementById("figures");
  if (!source || typeof Plotly === "undefined") return;
  const figures = JSON.parse(source.textContent);
  const places = [...document.querySelectorAll("[data-figure]")];
  const config = { displaylogo: false, responsive: true, displayModeBar: false, scrollZoom: false };
  const themed = (layout) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false, tickcolor: colour("--line"), exponentformat: "power" };
    const result = {
      ...layout,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("--ink") },
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    };
    for (const name of ["xaxis", "yaxis"]) result[name] = { ...axis, ...layout[name] };
    return result;
  };
  const draw = (place) => {
    const figure = figures[place.dataset.figure];
    place.style.height = figure.layout.height + "px";
    Plotly.react(place, figure.data, themed(figure.layout), config);
    place.dataset.drawn = "1";
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "800px" });
  places.forEach((place) => {
    place.style.height = figures[place.dataset.figure].layout.height + "px";
    near.observe(place);
  });
  const again = () => places.filter((place) => place.dataset.drawn).forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  window.addEventListener("beforeprint", () => places.forEach(draw));
})();
