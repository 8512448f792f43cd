// What the live page shows of one run, or of several laid over each other: curves, layers, findings.
"use strict";
const RunPanels = (() => {
  const { Chart, timeline, element, brief, percent, clock } = RavineCharts;
  const { HeatMap, viridis, rangeOf } = RavineHeat;
  const { CHARTS, short, curvesOf, marksOf, scoreTitle } = RunCurves;
  const HEATS = [
    { name: "output", title: "Standard deviation of outputs, layers by time", rows: "layers" },
    { name: "gradient", title: "Standard deviation of gradients by output", rows: "layers" },
    { name: "update_ratio", title: "Update ‖Δw‖ over ‖w‖", rows: "parameters" },
    { name: "gradient_norm", title: "Gradient norm by tensor of weights", rows: "parameters" },
  ];
  const time = timeline();
  const charts = {}, heats = {};
  let shown = [];  // names of the runs
  const found = new Map();  // by run: the last answer of /api/series, and its version

  function build(chartHost, heatHost) {
    for (const one of CHARTS) charts[one.name] = new Chart(chartHost, time, one);
    for (const one of HEATS) heats[one.name] = new HeatMap(heatHost, time, one);
    let waiting = null;
    // The window is drawn at once from what is here; finer values follow.
    time.onwindow = () => { clearTimeout(waiting); waiting = setTimeout(() => { for (const kept of found.values()) kept.version = ""; refresh().catch(() => {}); }, 120); };  // a server that has ended is said by the page's own clock
  }
  const answers = () => shown.map(name => ({ name, answer: found.get(name)?.answer }));
  const marks = () => shown.length === 1 ? marksOf(found.get(shown[0])?.answer) : [];
  function draw() {
    const spans = shown.map(name => found.get(name)?.answer?.span).filter(Boolean);
    if (!spans.length) return;
    const full = [Math.min(...spans.map(s => s[0])), Math.max(...spans.map(s => s[1]))];
    const before = time.full, follows = time.window && Math.abs(time.high - before[1]) < (before[1] - before[0]) * 1e-6;
    time.full = full[1] > full[0] ? full : [full[0], full[0] + 1];
    if (follows) time.window = [time.window[0] + time.full[1] - before[1], time.full[1]];
    charts.accuracy.rename(scoreTitle(found.get(shown[0])?.answer?.state?.measure));
    for (const one of CHARTS) charts[one.name].set(curvesOf(one, answers()), marks());
  }
  async function answerOf(path, query) {
    const response = await fetch(`${path}?${new URLSearchParams(query)}`);
    return response.status === 200 ? response.json() : null;
  }
  async function refresh() {
    const names = shown.slice(), window_ = time.window ? { low: time.low, high: time.high } : {};
    const buckets = Math.max(200, Math.min(1200, Math.round(charts.loss.wide || 600)));
    let changed = false;
    for (const name of names) {
      const kept = found.get(name) || { version: "" };
      const answer = await answerOf("/api/series", { run: name, axis: time.name, buckets, version: kept.version, ...window_ });
      if (!answer || !shown.includes(name)) continue;
      if (answer.axis !== time.name) continue;
      found.set(name, { version: answer.version, answer });
      changed = true;
    }
    if (changed) draw();
    return changed;
  }
  async function refreshLayers() {
    const single = shown.length === 1 ? shown[0] : null;
    const answer = single ? await answerOf("/api/layers", { run: single, axis: time.name }) : null;
    for (const one of HEATS) heats[one.name].set(answer?.x || [], answer?.[one.rows] || [], answer?.[one.name] || []);
  }
  function show(names, axis) {
    shown = names.slice(); time.name = axis; time.window = null; found.clear();
    for (const one of CHARTS) charts[one.name].set([]);
  }

  // ---- findings, race, surfaces, mistakes, tables ---------------------------------------------
  function findings(host) {
    const rows = shown.length === 1 ? found.get(shown[0])?.answer?.findings || [] : [];
    host.replaceChildren();
    for (const row of rows) {
      const box = element("div", "", host, `finding is-${["critical", "warning"].includes(row.severity) ? row.severity : "note"}`);
      element("strong", `${row.severity || ""} ${row.code || ""}`.trim(), box, row.severity === "critical" ? "critical" : "");
      const where = [row.layer && `layer ${row.layer}`, row.step != null && `since step ${row.step}`, row.found != null && `found at step ${row.found}`].filter(Boolean).join(", ");
      if (where) element("span", ` (${where})`, box, "note");
      element("span", ` ${row.text || ""}. ${row.cause ? `Why: ${row.cause}. ` : ""}${row.cure ? `Cure: ${row.cure}.` : ""}`, box);
    }
  }
  // The losses of a race's runs on one axis of steps: a curve that ends early was stopped on its rung.
  let raceChart = null;
  const raceTime = timeline();
  function raceCurves(host, curves) {
    if (!raceChart) {
      const place = element("div", "");
      place.id = "race-curves";
      host.before(place);
      raceChart = new Chart(place, raceTime, { title: "Training loss of each run, to its rung", flags: true });
    }
    raceChart.figure.hidden = !curves.length;
    const named = new Set(), full = [0, Math.max(1, ...curves.map(one => one.x[one.x.length - 1]))];
    raceTime.name = "step"; raceTime.full = full;
    raceChart.set(curves.map(one => {
      const name = named.has(one.candidate) ? "" : one.candidate;
      named.add(one.candidate);
      return { name, colour: one.colour, x: one.x, y: one.y, kind: "line" };
    }), []);
  }
  function race(host, found) {
    host.replaceChildren();
    if (found || raceChart) raceCurves(host, found?.curves || []);
    if (!found) return;
    if (found.verdict) element("p", found.verdict, host);
    if (found.closed) element("p", `Closed: ${found.closed}`, host, "note");
    element("h3", "Jobs on their rungs", host);
    for (const one of found.candidates) {
      const lane = element("div", "", host, "lane");
      element("b", one.name, lane);
      for (const job of one.jobs) {
        const box = element("div", "", lane, ["ended", "paused", "running"].includes(job.status) ? "job" : "job lost");
        element("i", "", box).style.width = `${100 * job.done}%`;
        const value = job.final ?? job.accuracy, seed = job.run.includes("-seed-") ? "seed " : "";
        element("span", value != null ? `${seed}${percent(value)}` : `${seed}${brief(Number(job.share) * 100)} %`, box);
        box.title = `${job.run}, ${brief(Number(job.share) * 100)} % of its steps: ${job.status}${job.loss != null ? `, loss ${brief(job.loss)}` : ""}`;
      }
    }
    element("p", "Bars: how far a job has come; numbers: its accuracy, else the share of its steps.", host, "note");
  }
  function surfaces(host, list) {
    host.replaceChildren();
    if (list.length) element("h3", "Loss surfaces", host);
    for (const one of list) surface(host, one);
  }
  function surface(host, one) {
    const figure = element("figure", "", host, "surface"), canvas = element("canvas", "", figure), pen = canvas.getContext("2d");
    const wide = 320, tall = one.y.length > 1 ? Math.max(60, Math.round(wide * Math.min(1, one.y.length / one.x.length))) : 60;
    canvas.width = wide; canvas.height = tall;
    const logs = one.loss.map(row => row.map(v => v === null || v <= 0 ? null : Math.log10(v))), range = rangeOf(logs);
    const w = wide / one.x.length, h = tall / one.y.length;
    logs.forEach((row, j) => row.forEach((v, i) => {
      if (v === null) return;
      pen.fillStyle = `rgb(${viridis((v - range[0]) / ((range[1] - range[0]) || 1)).join()})`;
      pen.fillRect(i * w, tall - (j + 1) * h, w + 0.5, h + 0.5);
    }));
    const at = p => [(p[0] - one.x[0]) / (one.x.at(-1) - one.x[0]) * wide, tall - (p[1] - one.y[0]) / ((one.y.at(-1) - one.y[0]) || 1) * tall];
    pen.strokeStyle = "#ffffff"; pen.lineWidth = 1.5; pen.beginPath();
    one.points.forEach((p, k) => k ? pen.lineTo(...at(p)) : pen.moveTo(...at(p))); pen.stroke();
    const caption = `${one.name}: ${one.done} of ${one.of} nodes, loss ${brief(10 ** range[0])} to ${brief(10 ** range[1])}`;
    element("figcaption", caption, figure);
    canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", caption);
  }
  let shownMistakes = "";
  function mistakes(host, run, list, ended) {
    const now = JSON.stringify([run, list]);
    if (now === shownMistakes) return;
    shownMistakes = now;
    host.replaceChildren();
    if (!list.length) return;
    element("h3", ended ? "Most confident errors" : "Most confident errors of the last validation", host);
    const grid = element("div", "", host, "grid");
    for (const row of list) {
      const figure = element("figure", "", grid), image = element("img", "", figure);
      image.src = `/picture?${new URLSearchParams({ run, image: row.image, of: row.name })}`;
      image.alt = `${row.true}, predicted as ${row.predicted}`; image.loading = "lazy";
      element("figcaption", `${row.predicted} ${percent(row.probability)}, is ${row.true}: ${row.name}`, figure);
    }
  }
  function table(host, head, rows) {
    host.replaceChildren();
    const made = element("table", "", host, "plain"), line = element("tr", "", element("thead", "", made)), body = element("tbody", "", made);
    for (const text of head) element("th", text, line).scope = "col";
    for (const row of rows) { const tr = element("tr", "", body); for (const text of row) element("td", text, tr); }
  }
  function epochs(host) {
    const answer = shown.length === 1 ? found.get(shown[0])?.answer : null;
    const ends = answer?.epochs?.loss?.[0] || [], column = name => answer.epochs[name][1];
    const rows = ends.map((at, k) => [time.text(at), brief(column("train_loss")[k]), percent(column("train_accuracy")[k]), brief(column("loss")[k]), percent(column("accuracy")[k])]);
    table(host, [time.name, "training loss", "training accuracy", "validation loss", "validation accuracy"], rows.slice(-200));
  }
  const isComplete = () => shown.every(name => found.get(name)?.answer?.complete ?? true);  // one that is gone is not waited for
  const shownValue = v => v === null || v === "" || (Array.isArray(v) && !v.length) ? "–" : typeof v === "number" ? brief(v) : String(v);
  const settingOf = (name, v) => name === "budget" && typeof v === "number" ? `${brief(v)}s` : shownValue(v);
  function settings(host, one) { table(host, ["setting", "value"], Object.entries(one).map(([name, v]) => [name, settingOf(name, v)])); }
  function differences(host, names, all) {
    host.replaceChildren();
    if (names.length < 2) return;
    const keys = [...new Set(all.flatMap(one => Object.keys(one)))].filter(key => new Set(all.map(one => JSON.stringify(one[key] ?? null))).size > 1);
    element("h3", "What differs in the recipes", host);
    const box = element("div", "", host, "scroll");
    if (keys.length) table(box, ["setting", ...names.map(short)], keys.map(key => [key, ...all.map(one => settingOf(key, one[key] ?? null))]));
    else element("p", "Nothing.", box);
  }
  return { build, show, refresh, refreshLayers, findings, race, surfaces, mistakes, epochs, settings, differences, answerOf, isComplete, time, get shown() { return shown; }, stateOf: name => found.get(name)?.answer?.state, clock };
})();
