// Reads the figures of a page: a line and the values under the pointer or by the arrow keys. Without it they stand as
// they are.
"use strict";
(() => {
  const number = v => {
    const size = Math.abs(v);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? v.toExponential(2) : String(Number(v.toPrecision(4)));
  };
  const share = (v, [low, high], log) => log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
  const value = (s, [low, high], log) => log ? low * (high / low) ** s : low + s * (high - low);

  // The place of the point of a line that is nearest to x; of lines without a value there, -1.
  function nearest(line, x) {
    let best = -1;
    line.x.forEach((at, k) => {
      if (at !== null && line.y[k] !== null && (best < 0 || Math.abs(at - x) < Math.abs(line.x[best] - x))) best = k;
    });
    return best;
  }

  function read(svg) {
    const panels = JSON.parse(svg.dataset.readings), said = document.createElement("p");
    const marks = document.createElementNS(svg.namespaceURI, "g");
    let panel = 0, x = null;
    said.className = "reading";
    said.setAttribute("role", "status");
    svg.after(said);
    svg.append(marks);
    svg.tabIndex = 0;
    svg.parentElement.removeAttribute("tabindex");
    svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")}; arrow keys read the values`);

    function mark(kind, facts) {
      const made = document.createElementNS(svg.namespaceURI, kind);
      for (const [name, text] of Object.entries(facts)) made.setAttribute(name, text);
      marks.append(made);
    }
    function draw() {
      marks.replaceChildren();
      said.textContent = "";
      if (x === null) return;
      const { box: [left, top, right, bottom], lines, ...p } = panels[panel], texts = [];
      const across = v => left + share(v, p.x, p.logx) * (right - left);
      const place = across(x);
      mark("line", { x1: place, x2: place, y1: top, y2: bottom, stroke: "currentColor", "stroke-width": 0.6 });
      for (const line of lines) {
        const k = nearest(line, x);
        if (k < 0) continue;
        const y = line.y[k], down = bottom - share(y, p.y, p.logy) * (bottom - top);
        if (down >= top - 1 && down <= bottom + 1)
          mark("circle", { cx: across(line.x[k]), cy: down, r: 2.6, style: `fill: ${line.colour}` });
        texts.push(`${line.name} ${p.percent ? `${number(100 * y)} %` : number(y)}`);
      }
      said.textContent = `${p.name} ${number(x)}: ${p.title ? `${p.title} ` : ""}${texts.join(", ")}`;
    }
    // All the places of a panel's points, for the keys.
    const stops = () => [...new Set(panels[panel].lines.flatMap(line => line.x))].filter(at => at !== null).sort((a, b) => a - b);

    svg.addEventListener("pointermove", event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const over = panels.findIndex(({ box: [l, t, r, b] }) => at.x >= l && at.x <= r && at.y >= t && at.y <= b);
      if (over < 0) x = null;
      else {
        const { box: [left, , right], x: limits, logx } = panels[panel = over], all = stops();
        const under = value((at.x - left) / (right - left), limits, logx);
        x = all.reduce((best, one) => Math.abs(one - under) < Math.abs(best - under) ? one : best, all[0]);
      }
      draw();
    });
    svg.addEventListener("pointerleave", () => { x = null; draw(); });
    svg.addEventListener("keydown", event => {
      const all = stops(), at = x === null ? -1 : all.findIndex(one => one >= x), last = all.length - 1;
      const moves = { ArrowRight: Math.min(last, at + 1), ArrowLeft: at < 0 ? last : Math.max(0, at - 1), Home: 0, End: last };
      if (event.key in moves) x = all[moves[event.key]];
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        panel = (panel + (event.key === "ArrowDown" ? 1 : panels.length - 1)) % panels.length;
        x = stops()[0];
      } else if (event.key === "Escape") x = null;
      else return;
      event.preventDefault();
      draw();
    });
  }

  document.querySelectorAll("svg[data-readings]").forEach(read);
})();
