// Layers × time, or a loss surface, as colours; a Panel of chart.js.
"use strict";
const RavineHeat = (() => {
  const { Panel, css, brief, LEFT, RIGHT, TOP, BOTTOM } = RavineCharts;
  // viridis (van der Walt, Smith 2015), eight of its colours; between them linear
  const VIRIDIS = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 194, 109], [159, 218, 58], [253, 231, 37]];
  function viridis(share) {
    const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1), k = Math.min(VIRIDIS.length - 2, Math.floor(at)), f = at - k;
    return VIRIDIS[k].map((v, n) => Math.round(v + (VIRIDIS[k + 1][n] - v) * f));
  }
  function rangeOf(rows) {
    let low = Infinity, high = -Infinity;
    for (const row of rows) for (const v of row) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
    return low <= high ? [low, high] : [0, 1];
  }
  // rows (values, null where not known) as pixels, one each
  function imageOf(rows, [low, high], missing) {
    const canvas = document.createElement("canvas"), tall = rows.length, wide = rows[0].length;
    canvas.width = wide; canvas.height = tall;
    const pen = canvas.getContext("2d"), image = pen.createImageData(wide, tall);
    rows.forEach((row, j) => row.forEach((v, i) => {
      const [r, g, b] = v === null ? missing : viridis((v - low) / ((high - low) || 1));
      image.data.set([r, g, b, 255], 4 * (j * wide + i));
    }));
    pen.putImageData(image, 0, 0);
    return canvas;
  }

  class HeatMap extends Panel {
    constructor(host, timeline, options) {
      super(host, timeline, { height: 160, ...options });
      this.unit = options.unit; this.rows = []; this.names = []; this.x = [];
    }
    // x of each column; names of the rows; rows of base-10 logarithms
    set(x, names, rows) {
      const same = rows.length && rows[0].length;
      this.x = same ? x : []; this.names = names; this.rows = same ? rows : [];
      this.figure.hidden = !same;
      if (!same) return;
      this.tall = Math.max(70, Math.min(240, 12 * names.length)) + TOP + BOTTOM;
      this.canvas.style.height = `${this.tall}px`;
      this.range = rangeOf(rows);
      this.image = imageOf(rows, this.range, [213, 94, 0]);
      this.redraw();
    }
    draw() {
      if (!this.rows.length || !this.begin()) return;
      const { pen } = this, top = TOP, inner = this.tall - TOP - BOTTOM, count = this.x.length;
      pen.save(); pen.beginPath(); pen.rect(LEFT, top, this.wide - LEFT - this.right, inner); pen.clip();
      pen.imageSmoothingEnabled = false;
      for (let k = 0; k < count; k++) {
        const left = this.px(this.x[k]), right = k + 1 < count ? this.px(this.x[k + 1]) : Math.max(left + 2, this.px(this.timeline.high));
        if (right < LEFT || left > this.wide - this.right) continue;
        pen.drawImage(this.image, k, 0, 1, this.rows.length, left, top, right - left + 0.6, inner);
      }
      pen.restore();
      this.rowNames(inner); this.scaleBar(inner); this.timeAxis(); this.crosshair(); this.say();
    }
    rowNames(inner) {
      if (this.right < RIGHT) return;
      const { pen } = this, each = inner / this.names.length, every = Math.ceil(13 / each);
      pen.fillStyle = css("dim"); pen.textAlign = "left"; pen.textBaseline = "middle";
      this.names.forEach((name, k) => {
        if (k % every) return;
        let text = name;
        while (text.length > 1 && pen.measureText(text).width > RIGHT - 12) text = `…${text.slice(2)}`;
        pen.fillText(text, this.wide - RIGHT + 7, TOP + (k + 0.5) * each);
      });
    }
    scaleBar(inner) {
      const { pen } = this, left = 40, wide = 9;
      for (let k = 0; k < inner; k++) { pen.fillStyle = `rgb(${viridis(1 - k / inner).join()})`; pen.fillRect(left, TOP + k, wide, 1.5); }
      pen.fillStyle = css("dim"); pen.textAlign = "right"; pen.textBaseline = "middle";
      const [low, high] = this.range, short = v => { const text = brief(10 ** v); return text.length > 5 ? `1e${Math.round(v)}`.replace("-", "−") : text; };
      pen.fillText(short(high), left - 3, TOP + 5); pen.fillText(short(low), left - 3, TOP + inner - 5);
    }
    say() {
      const { cursor } = this.timeline, inner = this.tall - TOP - BOTTOM;
      const label = `${this.title}: ${this.names.length} rows by ${this.x.length} snapshots, from ${brief(10 ** this.range[0])} to ${brief(10 ** this.range[1])}. Arrow keys move the cursor.`;
      if (cursor === null) { this.readout.textContent = ""; this.canvas.setAttribute("aria-label", label); return; }
      let k = 0;
      while (k + 1 < this.x.length && this.x[k + 1] <= cursor) k++;
      const row = this.pointedY == null ? null : Math.floor((this.pointedY - TOP) / inner * this.names.length);
      const named = row !== null && row >= 0 && row < this.names.length ? [row] : [0, this.names.length - 1];
      const value = n => this.rows[n][k] === null ? "not finite, or not known" : brief(10 ** this.rows[n][k]);
      this.readout.textContent = `${this.timeline.text(this.x[k])}: ${named.map(n => `${this.names[n]} ${value(n)}`).join(", ")}`;
    }
  }
  return { HeatMap, viridis, rangeOf, imageOf };
})();
