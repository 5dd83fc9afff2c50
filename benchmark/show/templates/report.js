"use strict";
// Sorting: a heading's button sorts its table's rows by data-value (numbers) or by their text.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is not known stays last
      const order = x - y || (Number.isNaN(x - y) ? x.localeCompare(y, "en", { numeric: true }) : 0);
      return up ? order : -order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
// Filtering: an element with data-<name> is shown when its value is the one that is chosen.
const form = document.querySelector("form.filters");
const names = [...form.querySelectorAll("select")].map((select) => select.name);
const filter = () => {
  const chosen = names.filter((name) => form.elements[name].value);
  const fits = (place) => (name) =>
    place.dataset[name] === undefined || place.dataset[name] === form.elements[name].value;
  const places = document.querySelectorAll(names.map((name) => `main [data-${name}]`).join(","));
  for (const place of places) place.hidden = !chosen.every(fits(place));
  const rows = [...document.querySelectorAll("#all tbody tr")];
  const shown = rows.filter((row) => !row.hidden).length;
  document.querySelector("#count").textContent = `${shown} of ${rows.length} shown.`;
};
form.addEventListener("change", filter);
form.addEventListener("reset", () => setTimeout(filter));
filter();
// A key leads to its details: open them.
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", open);
open();
