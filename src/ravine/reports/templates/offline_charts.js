// The curves of an offline page as charts, against steps, epochs or time. The drawings that they stand for stay in the
// page: for paper, and where no script runs.
"use strict";
for (const host of document.querySelectorAll("[data-charts]")) {
  const { Chart, timeline, element } = RavineCharts, { CHARTS, curvesOf, marksOf, scoreTitle } = RunCurves;
  const { axis, measure, charts, axes } = JSON.parse(host.querySelector("script").textContent);
  const tools = element("div", "", host, "tools"), label = element("label", "Axis ", tools);
  const choice = element("select", "", label), place = element("div", "", host, "charts"), time = timeline();
  for (const [name, text] of [["step", "step"], ["epoch", "epoch"], ["elapsed", "time"]])
    if (axes[name]) element("option", text, choice).value = name;
  choice.value = axes[axis] ? axis : "step";
  element("span", "Shift and the wheel move, Ctrl and the wheel zoom, two clicks show all; arrow keys read values.", tools, "note");
  const made = (charts || CHARTS).map(one => ({ one, chart: new Chart(place, time, charts ? one : { ...one, room: 84 }) }));
  // A page of a race has its curves as they are drawn, that of a run what the live page is sent.
  const curves = (found, one) => charts ? found.curves[one.name] : curvesOf(one, [{ name: "", answer: found }]);
  function draw() {
    const found = axes[choice.value], [low, high] = found.span;
    time.name = choice.value;
    time.window = time.cursor = null;
    time.full = high > low ? [low, high] : [low, low + 1];
    for (const { one, chart } of made) {
      const lines = curves(found, one), known = lines.some(line => line.y.some(v => v !== null));
      if (one.name === "accuracy" && measure) chart.rename(scoreTitle(measure));
      chart.figure.hidden = !known;
      chart.set(lines, marksOf(found));
    }
  }
  choice.addEventListener("change", draw);
  draw();
  host.hidden = false;
  document.getElementById(host.dataset.charts).classList.add("drawn");
}
