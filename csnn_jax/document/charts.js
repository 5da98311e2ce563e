"use strict";
// Draws the charts of a page with Plotly, in the colors of its style, and again if these switch between light and dark.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const coarse = matchMedia("(pointer: coarse)");
  const plots = [...document.querySelectorAll(".plot")];
  const specs = new Map(plots.map((plot) => [plot, JSON.parse(plot.nextElementSibling.textContent)]));
  const drawn = new Set();

  // Replaces every "var(--name)" by its current value in the style.
  function resolved(value, style) {
    if (typeof value === "string") {
      const match = /^var\((--[\w-]+)\)$/.exec(value);
      return match ? style.getPropertyValue(match[1]).trim() : value;
    }
    if (Array.isArray(value)) {
      return typeof value[0] === "number" ? value : value.map((one) => resolved(one, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one, style)]));
    }
    return value;
  }

  function axis(settings) {
    const line = { gridcolor: "var(--grid)", zerolinecolor: "var(--grid)", linecolor: "var(--muted)", automargin: true };
    const title = { standoff: 8, ...settings.title };
    return { ...line, ...settings, title };
  }

  function layout(settings) {
    const axes = Object.entries(settings).filter(([key]) => /^[xy]axis/.test(key));
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: narrow.matches ? 11 : 12, color: "var(--ink)" },
      hoverlabel: { bgcolor: "var(--card)", bordercolor: "var(--muted)", font: { color: "var(--ink)" } },
      margin: { l: 12, r: 12, t: 10, b: 10 },
      showlegend: false,
      dragmode: coarse.matches || narrow.matches ? false : "zoom", // a finger scrolls the page
      ...settings,
      ...Object.fromEntries(axes.map(([key, one]) => [key, axis(one)])),
    };
  }

  function draw(plot) {
    if (plot.offsetParent === null) return; // inside a collapsed part
    const spec = specs.get(plot);
    const style = getComputedStyle(document.documentElement);
    const config = { displayModeBar: false, responsive: true };
    Plotly.react(plot, resolved(spec.data, style), resolved(layout(spec.layout), style), config);
    drawn.add(plot);
  }

  // One at a time, so the page can be scrolled meanwhile.
  function drawAll(left) {
    if (!left.length) {
      document.documentElement.dataset.charts = "drawn";
      return;
    }
    draw(left[0]);
    setTimeout(() => drawAll(left.slice(1)), 0);
  }

  function switchGroup(button) {
    const plot = button.closest("figure").querySelector(".plot");
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const trace of specs.get(plot).data) {
      if (trace.legendgroup === button.dataset.group) trace.visible = shown;
    }
    draw(plot);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".legend button");
    if (button) switchGroup(button);
  });
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => {
      for (const plot of details.querySelectorAll(".plot")) if (!drawn.has(plot)) draw(plot);
    });
  }
  for (const query of [dark, narrow]) query.addEventListener("change", () => drawAll([...drawn]));
  if (document.readyState === "complete") drawAll(plots);
  else addEventListener("load", () => drawAll(plots));
})();
