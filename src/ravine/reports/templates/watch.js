// The live page: a table of runs that sorts and filters, and what is chosen in it, as it grows.
"use strict";
(() => {
  const { element, brief, percent, between, clock } = RavineCharts;
  const $ = id => document.getElementById(id);
  const EVERY = 2000, LAYERS_EVERY = 3;  // milliseconds; every third time
  const rank = { critical: 0, warning: 1, note: 2 };
  const worst = row => row.findings.length ? `${row.findings[0].severity} ${row.findings[0].code}` : "";
  const stateOf = r => r.by_race ? `${r.by_race} by the race` : r.state === "stopped" ? "stopped or killed" : r.state;
  const COLUMNS = [
    { name: "run", value: r => r.name, text: r => r.name, up: true },
    { name: "state", value: r => r.state, text: r => stateOf(r), up: true },
    { name: "accuracy", value: r => r.accuracy ?? -1, text: r => r.accuracy == null ? "–" : percent(r.accuracy) + (r.measure === "mAP" ? " mAP" : ""), number: true },
    { name: "95 %", value: r => r.interval?.[0] ?? -1, text: r => r.interval ? between(r.interval) : "–", more: true, number: true },
    { name: "findings", value: r => r.findings.length ? rank[r.findings[0].severity] ?? 3 : 9, text: r => r.findings.length ? worst(r) + (r.findings.length > 1 ? ` +${r.findings.length - 1}` : "") : "–", up: true },
    { name: "left", value: r => r.left ?? -1, text: r => r.left == null ? "–" : clock(r.left), number: true },
    { name: "epoch", value: r => r.epoch, text: r => r.epoch ? brief(r.epoch) : "–", number: true, more: true },
    { name: "step", value: r => r.step, text: r => `${brief(r.step)}${r.total_steps ? ` / ${brief(r.total_steps)}` : ""}`, number: true, more: true },
    { name: "images/s", value: r => r.images_per_second ?? -1, text: r => r.images_per_second ? brief(Math.round(r.images_per_second)) : "–", number: true, more: true },
    { name: "network", value: r => r.model || "", text: r => r.model || "–", up: true },
    { name: "optimizer", value: r => r.optimizer || "", text: r => r.optimizer || "–", up: true, more: true },
    { name: "data", value: r => r.data || "", text: r => r.data || "–", up: true, more: true },
    { name: "changed", value: r => r.changed, text: r => new Date(1000 * r.changed).toLocaleString([], { dateStyle: "short", timeStyle: "short" }), more: true },
  ];
  let rows = [], version = "", sort = { name: "changed", up: false }, turn = 0, busy = false;
  const compared = new Set();

  // ---- the table -----------------------------------------------------------------------------
  function head() {
    const line = element("tr", "", document.querySelector("#runs thead"));
    element("th", "", line, "plain").append(element("span", "compare", null, "unseen"));
    for (const one of COLUMNS) {
      const cell = element("th", "", line, one.more ? "more" : "");
      cell.scope = "col";
      const button = element("button", one.name, cell);
      button.type = "button";
      button.addEventListener("click", () => { sort = { name: one.name, up: sort.name === one.name ? !sort.up : Boolean(one.up) }; table(); });
    }
  }
  function visible() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean), state = $("state").value;
    const text = r => `${r.name} ${r.model} ${r.optimizer} ${r.data} ${r.kind} ${r.state} ${r.findings.map(f => `${f.severity} ${f.code}`).join(" ")}`.toLowerCase();
    const kept = rows.filter(r => (!state || r.state === state) && words.every(word => text(r).includes(word)));
    const { value } = COLUMNS.find(one => one.name === sort.name);
    return kept.sort((a, b) => { const x = value(a), y = value(b); return (x < y ? -1 : x > y ? 1 : a.name < b.name ? -1 : 1) * (sort.up ? 1 : -1); });
  }
  const lines = new Map();  // by run: its row of the table and the cells
  function lineOf(name) {
    if (lines.has(name)) return lines.get(name);
    const tr = element("tr"), check = element("input", "", element("td", "", tr));
    check.type = "checkbox"; check.setAttribute("aria-label", `compare ${name}`);
    check.addEventListener("change", () => { if (check.checked) compared.add(name); else compared.delete(name); choose(check.checked || !compared.size ? chosen() || name : [...compared][0]); });
    const cells = COLUMNS.map(one => element("td", "", tr, `${one.number ? "n " : ""}${one.more ? "more" : ""}`));
    const open = element("button", name.replace(/^.*\/runs\//, "…/"), cells[0]);  // runs of one race differ at their ends
    open.title = name;
    open.type = "button"; open.addEventListener("click", () => { compared.clear(); choose(name); });
    const state = element("span", "", cells[1]);
    const made = { tr, cells, state, check };
    lines.set(name, made);
    return made;
  }
  function table() {
    const kept = visible(), body = document.querySelector("#runs tbody");
    document.querySelectorAll("#runs th[scope]").forEach((cell, k) => { if (COLUMNS[k].name === sort.name) cell.setAttribute("aria-sort", sort.up ? "ascending" : "descending"); else cell.removeAttribute("aria-sort"); });
    const now = new Set(RunPanels.shown);
    kept.forEach((row, k) => {
      const { tr, cells, state, check } = lineOf(row.name);
      COLUMNS.forEach((one, n) => { if (n === 0) return; const text = one.text(row), target = n === 1 ? state : cells[n]; if (target.textContent !== text) { target.textContent = text; cells[n].title = text; } });
      state.className = `state ${row.state}`;
      cells[4].className = row.findings[0]?.severity === "critical" ? "critical" : "";
      tr.className = `${now.has(row.name) ? "chosen" : ""} ${row.name.includes("/") ? "inner" : ""}`;
      check.checked = compared.has(row.name);
      if (body.children[k] !== tr) body.insertBefore(tr, body.children[k] || null);
    });
    while (body.children.length > kept.length) body.lastChild.remove();
    const of = text => rows.filter(r => stateOf(r) === text).length, said = text => of(text) ? `, ${of(text)} ${text}` : "";
    $("summary").textContent = rows.length ? `${rows.length} run${rows.length > 1 ? "s" : ""}: ${of("running")} running, ${of("ended")} ended${["stopped or killed", "ended by the race", "paused by the race"].map(said).join("")}` : "";
    $("none").hidden = rows.length > 0;
  }

  // ---- what is chosen --------------------------------------------------------------------------
  const place = () => new URLSearchParams(location.hash.slice(1));
  const chosen = () => place().get("run");
  function choose(name) {
    const at = new URLSearchParams({ run: name, axis: $("axis").value });
    for (const one of compared) at.append("with", one);
    history.replaceState(null, "", `#${at}`);
    open();
  }
  function open() {
    const name = chosen();
    $("run").hidden = !name;
    if (!name) return;
    const others = [...compared].filter(one => one !== name), names = compared.size ? [...new Set([...(compared.has(name) ? [name] : []), ...others])] : [name];
    RunPanels.show(names.slice(0, 8), $("axis").value);
    $("run-name").textContent = names.length > 1 ? names.join(" · ") : name;
    table(); turn = 0; poll(true);
  }
  function line(row) {
    if (!row) return "";
    if (row.kind === "race") return `A race, ${stateOf(row)}${row.left == null ? "" : `, about ${clock(row.left)} left`}`;
    const steps = `step ${brief(row.step)}${row.total_steps ? ` of ${brief(row.total_steps)}` : ""}`;
    const result = row.accuracy == null ? "no validation yet" : `${row.measure === "mAP" ? "mAP " : ""}${percent(row.accuracy)}${row.interval ? ` (${between(row.interval)})` : ""}${row.measured_on ? ` on ${row.measured_on} images` : " on the validation images"}`;
    if (row.state === "running") return `Running: ${steps}${row.left == null ? "" : `, about ${clock(row.left)} left`}; ${result}`;
    if (row.by_race) return `${row.by_race === "ended" ? "Ended" : "Paused"} by its race at ${steps}; ${result}`;
    if (row.state === "stopped" && row.name.includes("/runs/")) return `Stopped with its race, or killed, at ${steps}; ${result}. Go on with: ravine race --out ${$("root").textContent}/${row.name.replace(/\/runs\/.*$/, "")}`;
    if (row.state === "stopped") return `Stopped before its end, or killed, at ${steps}; ${result}. Go on with: ravine resume ${$("root").textContent}/${row.name}`;
    return `Ended after ${steps}${row.elapsed == null ? "" : `, ${clock(row.elapsed)}`}: ${result}`;
  }
  async function details(name) {
    const names = RunPanels.shown, all = [];
    for (const one of names) all.push(await RunPanels.answerOf("/api/details", { run: one }));
    if (names.join() !== RunPanels.shown.join() || all.includes(null)) return;
    RunPanels.differences($("differences"), names, all.map(one => one.settings));
    const single = names.length === 1 ? all[0] : null;
    RunPanels.race($("race"), single?.race);
    $("charts").hidden = Boolean(single?.race);  // a race has the curves of its runs
    RunPanels.surfaces($("surfaces"), single?.surfaces || []);
    RunPanels.mistakes($("mistakes"), name, single?.mistakes || [], RunPanels.stateOf(name)?.state === "ended");
    RunPanels.settings($("recipe").lastElementChild, all[0].settings);
    $("recipe").hidden = names.length > 1; $("epochs").hidden = names.length > 1;
  }
  async function poll(now) {
    if (busy && !now) return;
    busy = true;
    try {
      const answer = await RunPanels.answerOf("/api/runs", { version });
      if (answer) { rows = answer.runs; version = answer.version; $("root").textContent = answer.root; table(); }
      const name = chosen();
      if (!name && rows.length) { choose(rows[0].name); return; }
      if (name && !rows.some(row => row.name === name)) $("run-line").textContent = "There is no run of this name here.";
      else if (name) {
        const changed = await RunPanels.refresh();
        $("run-line").textContent = RunPanels.shown.length > 1 ? "Laid over each other." : line(rows.find(row => row.name === name));
        if (changed || turn === 0) { RunPanels.findings($("findings")); RunPanels.epochs($("epochs").lastElementChild); }
        if (turn % LAYERS_EVERY === 0 && (changed || turn === 0)) { await RunPanels.refreshLayers(); }
        if (turn === 0 || (changed && turn % LAYERS_EVERY === 0)) await details(name);
        turn++;
      }
      $("summary").classList.remove("critical");
    } catch (error) {
      $("summary").classList.add("critical");
      $("summary").textContent = "The server does not answer: ravine watch has ended.";
    } finally { busy = false; }
    // A long run is read in parts; the rest is asked for at once.
    document.body.dataset.complete = RunPanels.isComplete();
    if (chosen() && rows.length && !RunPanels.isComplete() && !$("summary").classList.contains("critical")) setTimeout(poll, 50);
  }
  head();
  RunPanels.build($("charts"), $("heats"));
  $("filter").addEventListener("input", table); $("state").addEventListener("change", table);
  $("axis").addEventListener("change", () => { if (chosen()) choose(chosen()); });
  const time = RunPanels.time, middle = () => (time.low + time.high) / 2, wide = () => time.high - time.low;
  $("in").addEventListener("click", () => time.zoom(0.5, middle())); $("out").addEventListener("click", () => time.zoom(2, middle()));
  $("left").addEventListener("click", () => time.pan(-wide() / 4)); $("right").addEventListener("click", () => time.pan(wide() / 4));
  $("all").addEventListener("click", () => time.show(...time.full));
  const at = place();
  for (const one of at.getAll("with")) compared.add(one);
  addEventListener("hashchange", () => { compared.clear(); for (const one of place().getAll("with")) compared.add(one); open(); });
  if (["epoch", "elapsed"].includes(at.get("axis"))) $("axis").value = at.get("axis");
  if (at.get("run")) open(); else poll();
  setInterval(() => { if (!document.hidden) poll(); }, EVERY);
})();
