"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const WARNED = 3, QUARANTINED = 4, FAILED = 7, DAY = 86400000, FIT = 92;
  const first = Date.parse(data.first + "T00:00:00Z");
  const map = document.getElementById("map");
  const detail = document.getElementById("detail");
  const iso = (number) => new Date(first + number * DAY).toISOString().slice(0, 10);
  const numberOf = (day) => Math.round((Date.parse(day + "T00:00:00Z") - first) / DAY);
  const stateOf = (table, number) => Number(table.states[number]);
  const percent = (part, whole) => {
    if (!whole) return "–";
    if (part && part * 10000 < whole) return "< 0.01 %";
    return ((100 * part) / whole).toFixed(part && part * 1000 < whole ? 2 : 1) + " %";
  };
  const count = (number) => (number === null ? "–" : number.toLocaleString("en"));

  // An element. Whatever comes from data is text, never markup.
  function el(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
    return made;
  }

  // Columns: single days, weeks from Monday, or months.
  function columnsBy(unit) {
    const key = (number) => {
      const at = new Date(first + number * DAY);
      if (unit === "day") return number;
      if (unit === "month") return at.getUTCFullYear() * 12 + at.getUTCMonth();
      return Math.floor((first / DAY + number + 3) / 7);
    };
    const columns = [];
    for (let number = 0; number < data.days; number++) {
      const last = columns[columns.length - 1];
      if (last && key(last.from) === key(number)) last.to = number;
      else columns.push({ from: number, to: number });
    }
    return columns;
  }

  function worst(table, column) {
    let found = column.from;
    for (let n = column.from; n <= column.to; n++) if (stateOf(table, n) > stateOf(table, found)) found = n;
    return found;
  }

  // How much of a day's rows broke a rule: 1 below 1 %, 2 below 5 %, 3 from there.
  function heat(table, number) {
    const cell = table.cells[number];
    const rate = cell ? Math.max(0, ...cell.at(-1).map((rule) => (rule[1] ? rule[2] / rule[1] : 0))) : 0;
    return rate < 0.01 ? 1 : rate < 0.05 ? 2 : 3;
  }

  let unit = data.days > FIT ? "week" : "day";
  let columns = [], chosen = null;

  function draw() {
    columns = columnsBy(unit);
    const months = el("tr", {}, el("th", {}));
    const days = el("tr", {}, el("th", {}));
    for (let at = 0; at < columns.length; ) {
      const month = iso(columns[at].from).slice(0, 7);
      let end = at;
      while (end < columns.length && iso(columns[end].from).slice(0, 7) === month) end++;
      if (unit !== "month") months.append(el("th", { colspan: end - at, scope: "colgroup" }, end - at > 2 ? month : ""));
      at = end;
    }
    for (const column of columns) {
      days.append(el("th", { class: "num", scope: "col" }, unit === "month" ? iso(column.from).slice(0, 7) : iso(column.from).slice(8)));
    }
    const body = el("tbody", {});
    data.tables.forEach((table, row) => {
      const line = el("tr", {}, el("th", { scope: "row" }, table.name));
      columns.forEach((column, place) => {
        const number = worst(table, column), state = stateOf(table, number);
        const range = column.from === column.to ? iso(column.from) : `${iso(column.from)} to ${iso(column.to)}`;
        const said = `${table.name}, ${range}: ${data.states[state].name}`;
        const hot = state === QUARANTINED ? ` h${heat(table, number)}` : "";
        line.append(el("td", { role: "gridcell", tabindex: -1, class: `cell s${state}${hot}`, "data-at": `${row},${place}`,
          "aria-label": said, "aria-selected": "false", title: said }, data.states[state].glyph));
      });
      body.append(line);
    });
    map.replaceChildren(el("table", { role: "grid", "aria-label": `Tables by ${unit}` }, el("thead", {}, months, days), body));
    for (const button of document.querySelectorAll("#tools [data-unit]")) {
      button.setAttribute("aria-pressed", String(button.dataset.unit === unit));
    }
    const start = chosen ? cellAt(chosen.row, placeOf(chosen.number)) : cellAt(0, columns.length - 1);
    start.tabIndex = 0;
    if (chosen) start.setAttribute("aria-selected", "true");
    map.scrollLeft = chosen ? start.offsetLeft - map.clientWidth / 2 : map.scrollWidth;
  }

  const cellAt = (row, place) => map.querySelector(`[data-at="${row},${place}"]`);
  const placeOf = (number) => columns.findIndex((column) => column.from <= number && number <= column.to);
  const where = (cell) => cell.dataset.at.split(",").map(Number);

  function focusCell(row, place) {
    const cell = cellAt(row, place);
    if (!cell) return;
    for (const other of map.querySelectorAll('td[tabindex="0"]')) other.tabIndex = -1;
    cell.tabIndex = 0;
    cell.focus({ preventScroll: true });
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  function choose(row, number) {
    chosen = { row, number };
    for (const cell of map.querySelectorAll('[aria-selected="true"]')) cell.setAttribute("aria-selected", "false");
    const place = placeOf(number);
    cellAt(row, place).setAttribute("aria-selected", "true");
    history.replaceState(null, "", `#${data.tables[row].name}/${iso(number)}`);
    show(data.tables[row], number, columns[place]);
  }

  function show(table, number, column) {
    const state = stateOf(table, number), cell = table.cells[number], day = iso(number);
    const row = data.tables.indexOf(table);
    detail.hidden = false;
    detail.replaceChildren();
    if (column.to > column.from) {
      const days = el("div", { class: "days", role: "group", "aria-label": "Days of this cell" });
      for (let n = column.from; n <= column.to; n++) {
        const of = data.states[stateOf(table, n)];
        const button = el("button", { type: "button", "aria-pressed": String(n === number), "aria-label": `${iso(n)}: ${of.name}` },
          el("span", { class: `cell s${stateOf(table, n)}` }, of.glyph), " ", iso(n).slice(5));
        button.addEventListener("click", () => choose(row, n));
        days.append(button);
      }
      detail.append(days);
    }
    detail.append(el("h2", {}, table.name, " ", day, " ",
      el("span", { class: `state s${state}` }, `${data.states[state].glyph} ${data.states[state].name}`)));
    const why = el("ul", { class: "why" }, ...(table.why[number] || []).map((text) => el("li", {}, text)));
    detail.append(el("p", {}, data.states[state].meaning[0].toUpperCase() + data.states[state].meaning.slice(1) + "."), why);
    if (!cell) return;
    const [run, judged, version, rowsIn, kept, quarantined, duplicates, ties, code, set, asked, broken] = cell;
    const facts = el("dl", { class: "facts" });
    const fact = (name, value, big) => facts.append(el("div", {}, el("dt", {}, name), el("dd", big ? { class: "big" } : {}, value)));
    fact("rows in", count(rowsIn), true);
    fact("kept", count(kept), true);
    fact(version === null ? "to be quarantined" : "quarantined", count(quarantined), true);
    fact("exact duplicates", count(duplicates), true);
    if (ties) fact("ties broken", count(ties), true);
    detail.append(facts);
    const record = el("dl", { class: "facts" });
    const said = (name, value) => record.append(el("div", {}, el("dt", {}, name), el("dd", {}, el("code", {}, value))));
    said("run", data.runs[run]);
    said("judged", judged);
    said("Delta version", version === null ? "nothing committed" : version);
    said("code", data.codes[code] || "–");
    detail.append(record);
    detail.append(el("pre", {}, commands(table, day, state, quarantined)));
    rulesOf(table, day, set, asked, broken);
  }

  function commands(table, day, state, quarantined) {
    if (state === FAILED) {
      return table.inputs.map((name) => `lakehouse sql "SELECT * FROM ${name} WHERE feed_day = '${day}'"`).join("\n");
    }
    const lines = [`lakehouse lineage ${table.name} --day ${day}`];
    if (quarantined) lines.push(`lakehouse quarantine list ${table.name} --day ${day} --rows`);
    return lines.join("\n");
  }

  function rulesOf(table, day, set, asked, broken) {
    const results = new Map(broken.map((rule) => [rule[0], rule]));
    const dimensions = new Map();
    for (const number of table.sets[set]) {
      const dimension = table.rules[number][2];
      if (!dimensions.has(dimension)) dimensions.set(dimension, []);
      dimensions.get(dimension).push(number);
    }
    const weight = (numbers) => Math.max(0, ...numbers.map((n) => (results.has(n) ? (results.get(n)[3] ? 1 : 2) : 0)));
    const ordered = [...dimensions].sort((a, b) => weight(b[1]) - weight(a[1]));
    for (const [dimension, numbers] of ordered) {
      const bad = numbers.filter((n) => results.has(n)), good = numbers.filter((n) => !results.has(n));
      const said = bad.length ? `${bad.length} of ${numbers.length} rules broken` : `${good.length} of ${good.length} rules passed`;
      detail.append(el("h3", {}, dimension, " ", el("span", {}, `— ${said}`)));
      if (bad.length) {
        const body = el("tbody", {});
        bad.sort((a, b) => results.get(a)[3] - results.get(b)[3] || results.get(b)[2] - results.get(a)[2]);
        for (const n of bad) body.append(...brokenRule(table, day, results.get(n)));
        detail.append(el("table", { class: "rules" }, heading(), body));
      }
      if (good.length) {
        const body = el("tbody", {});
        for (const n of good) body.append(ruleLine(table.rules[n], "✓ passed", count(asked), 0, asked));
        detail.append(el("details", {}, el("summary", {}, `${good.length} ${good.length === 1 ? "rule" : "rules"} passed`),
          el("table", { class: "rules" }, heading(), body)));
      }
    }
  }

  function heading() {
    const names = [["result"], ["rule"], ["says"], ["action"], ["rows", "n"], ["broken", "n"], ["rate", "n"]];
    return el("thead", {}, el("tr", {}, ...names.map(([name, kind]) => el("th", kind ? { class: kind, scope: "col" } : { scope: "col" }, name))));
  }

  function ruleLine(rule, result, rows, failed, asked, kind) {
    const [, name, , action, , about] = rule;
    const rate = el("td", { class: "n" }, percent(failed, asked));
    if (failed) rate.append(el("meter", { min: 0, max: 1, value: asked ? failed / asked : 0, "aria-hidden": "true" }));
    return el("tr", kind ? { class: kind } : {}, el("td", {}, result), el("td", {}, el("code", {}, name)), el("td", { class: "about" }, about),
      el("td", {}, action), el("td", { class: "n" }, rows), el("td", { class: "n" }, count(failed)), rate);
  }

  function brokenRule(table, day, [number, rows, failed, passed, query, sampled, samples]) {
    const rule = table.rules[number], tolerated = passed ? `${data.states[rule[3] === "warn" ? WARNED : QUARANTINED].glyph} tolerated` : rule[4] ? "✗ fails the day" : "~ late";
    const line = ruleLine(rule, tolerated, count(rows), failed, rows, "broken");
    const inside = [];
    if (query >= 0) {
      const sql = table.sql[query].replaceAll("{day}", day);
      const copy = el("button", { type: "button" }, "Copy");
      copy.addEventListener("click", () => navigator.clipboard.writeText(sql).then(() => { copy.textContent = "Copied"; }));
      inside.push(el("pre", {}, sql), copy);
    }
    if (samples.length) inside.push(el("p", {}, `${samples.length} of ${count(failed)} rows, without personal data:`), sampleTable(samples));
    if (!inside.length) return [line];
    const what = query >= 0 ? "SQL that lists the rows, and samples" : "samples";
    const more = el("details", passed ? {} : { open: "" }, el("summary", {}, what), ...inside);
    return [line, el("tr", { class: "rows" }, el("td", {}), el("td", { colspan: 6 }, more))];
  }

  function sampleTable(samples) {
    const names = [...new Set(samples.flatMap((sample) => Object.keys(sample)))];
    const cell = (value) => el("td", value === null || value === undefined ? {} : { title: value },
      value === null || value === undefined ? el("i", {}, "NULL") : value);
    return el("div", { class: "samples" }, el("table", {}, el("thead", {}, el("tr", {}, ...names.map((name) => el("th", {}, name)))),
      el("tbody", {}, ...samples.map((sample) => el("tr", {}, ...names.map((name) => cell(sample[name])))))));
  }

  function openCell(cell) {
    const [row, place] = where(cell);
    const number = worst(data.tables[row], columns[place]);
    choose(row, number);
    focusCell(row, place);
  }

  // The next failed day, in the order of days, then of tables; or the one before.
  function jump(step) {
    const red = [];
    for (let n = 0; n < data.days; n++) data.tables.forEach((table, row) => { if (stateOf(table, n) === FAILED) red.push({ row, number: n }); });
    if (!red.length) return;
    const at = chosen ? red.findIndex((one) => one.row === chosen.row && one.number === chosen.number) : -1;
    const next = red[(at < 0 ? (step > 0 ? 0 : red.length - 1) : at + step + red.length) % red.length];
    choose(next.row, next.number);
    focusCell(next.row, placeOf(next.number));
  }

  function follow() {
    const found = /^#(.+)\/(\d{4}-\d\d-\d\d)$/.exec(decodeURIComponent(location.hash));
    if (!found) return;
    const row = data.tables.findIndex((table) => table.name === found[1]), number = numberOf(found[2]);
    if (row < 0 || number < 0 || number >= data.days) return;
    choose(row, number);
    focusCell(row, placeOf(number));
    detail.scrollIntoView({ block: "nearest" });
  }

  map.addEventListener("click", (event) => { const cell = event.target.closest("td"); if (cell) openCell(cell); });
  map.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td");
    if (!cell) return;
    const [row, place] = where(cell), last = columns.length - 1;
    const to = { ArrowLeft: [row, place - 1], ArrowRight: [row, place + 1], ArrowUp: [row - 1, place], ArrowDown: [row + 1, place],
      Home: [row, 0], End: [row, last], PageUp: [row, Math.max(0, place - 7)], PageDown: [row, Math.min(last, place + 7)] }[event.key];
    if (to) focusCell(...to);
    else if (event.key === "Enter" || event.key === " ") openCell(cell);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n") jump(1);
    if (event.key === "p") jump(-1);
  });
  addEventListener("hashchange", follow);

  const tools = document.getElementById("tools");
  for (const name of ["day", "week", "month"]) {
    const button = el("button", { type: "button", "data-unit": name, "aria-pressed": "false" }, `By ${name}`);
    button.addEventListener("click", () => { unit = name; draw(); if (chosen) choose(chosen.row, chosen.number); });
    tools.append(button);
  }
  const before = el("button", { type: "button" }, "‹ Failed day"), after = el("button", { type: "button" }, "Failed day ›");
  before.addEventListener("click", () => jump(-1));
  after.addEventListener("click", () => jump(1));
  tools.append(before, after, el("span", { class: "hint" }, "Keys: arrows move, Enter opens, n and p go to the next and previous failed day."));
  tools.hidden = false;
  draw();
  follow();
})();
