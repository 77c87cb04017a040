"use strict";

const content = JSON.parse(document.getElementById("data").textContent);
const PAGE = 50; // rows of a table at once
const byId = (id) => document.getElementById(id);

// -- the table of cells ------------------------------------------------------------------------

const names = Object.keys(content.columns);
const isNumber = Object.fromEntries(names.map((n) => [n, "numbers" in content.columns[n]]));
const nCells = names.length ? lengthOf(content.columns[names[0]]) : 0;

function lengthOf(column) {
  return (column.numbers || column.codes).length;
}

function value(name, row) {
  const column = content.columns[name];
  if (!column) return null;
  return column.numbers ? column.numbers[row] : column.values[column.codes[row]];
}

function told(v) {
  if (v === null || v === undefined || v === "") return "–";
  if (typeof v !== "number") return String(v);
  return Number.isInteger(v) ? String(v) : String(Number(v.toPrecision(4)));
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// -- tables that sort, filter and turn pages ---------------------------------------------------

// columns: [{name, number}]; get(row, name) -> value; rows: array of row numbers;
// first(row) -> an element of an extra first column, optional
function table(place, columns, rows, get, label, first) {
  let shown = rows, sortedBy = null, down = false, page = 0;
  const filter = element("input", { type: "search", placeholder: "filter" });
  filter.setAttribute("aria-label", `Filter ${label}`);
  const count = element("span", { className: "note" });
  count.setAttribute("aria-live", "polite");
  const back = element("button", { type: "button", textContent: "Previous" });
  const forth = element("button", { type: "button", textContent: "Next" });
  const head = element("tr", {}), body = element("tbody", {});
  if (first) head.append(element("th", { scope: "col", textContent: "certificate" }));
  for (const column of columns) {
    const button = element("button", { type: "button", textContent: column.name });
    const cell = element("th", { scope: "col", className: column.number ? "number" : "" }, button);
    button.addEventListener("click", () => {
      down = sortedBy === column ? !down : false;
      sortedBy = column;
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      update();
    });
    head.append(cell);
  }
  const whole = element("table", {}, element("thead", {}, head), body);
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, whole);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", label);
  place.replaceChildren(element("div", { className: "bar" }, filter, count, back, forth), scroll);

  function update() {
    const wanted = filter.value.trim().toLowerCase();
    shown = rows.filter((row) => !wanted
      || columns.some((c) => told(get(row, c.name)).toLowerCase().includes(wanted)));
    if (sortedBy) {
      const sign = down ? -1 : 1;
      const key = (row) => get(row, sortedBy.name);
      shown.sort((a, b) => isMissing(key(a)) - isMissing(key(b))  // last in both orders
        || sign * compare(key(a), key(b)) || a - b);
    }
    page = 0;
    draw();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const begin = page * PAGE;
    body.replaceChildren(...shown.slice(begin, begin + PAGE).map((row) => element("tr", {},
      ...(first ? [element("td", {}, first(row))] : []),
      ...columns.map((c) => {
        const text = told(get(row, c.name));
        const verdict = ["holds", "fails", "unknown"].includes(text) ? text : "";
        const kind = c.number ? "number" : text.length > 60 ? "long" : verdict;
        return element("td", { className: kind, textContent: text });
      }))));
    count.textContent = `${shown.length} of ${rows.length}, page ${page + 1} of ${pages}`;
    back.disabled = page === 0;
    forth.disabled = page >= pages - 1;
    back.hidden = forth.hidden = pages === 1;
  }

  filter.addEventListener("input", update);
  back.addEventListener("click", () => { page -= 1; draw(); });
  forth.addEventListener("click", () => { page += 1; draw(); });
  update();
}

function isMissing(v) {
  return v === null || v === "";
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

// show objects that all have the same keys as a table
function objects(place, rows, label, keys) {
  const wanted = keys || Object.keys(rows[0]);
  const columns = wanted.map((name) => ({
    name, number: rows.some((r) => typeof r[name] === "number"),
  }));
  table(place, columns, rows.map((_, i) => i), (i, name) => rows[i][name], label);
}

const cellColumns = names.map((name) => ({ name, number: isNumber[name] }));
