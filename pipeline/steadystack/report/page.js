"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const root = document.documentElement;
  root.classList.add("scripted");

  const theme = get("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const compared = [...document.querySelectorAll(".compare")];
  if (compared.length) {
    const cut = get("cut"), flick = get("flick");
    let timer = null;
    const show = () => compared.forEach((one, at) => one.classList.toggle("shown", at === +get("which").value));
    const slide = (value) => root.style.setProperty("--cut", value);
    const rest = () => { clearInterval(timer); timer = null; flick.setAttribute("aria-pressed", "false"); };
    get("compare-controls").hidden = false;
    get("which").addEventListener("change", show);
    cut.addEventListener("input", () => { rest(); slide(cut.value); });
    flick.addEventListener("click", () => {
      if (timer) { rest(); slide(cut.value); return; }
      let after = true;
      slide(0);
      flick.setAttribute("aria-pressed", "true");
      timer = setInterval(() => { after = !after; slide(after ? 0 : 100); }, 600);
    });
    show();
    slide(cut.value);
  }

  const { names, columns } = JSON.parse(get("frame-data").textContent);
  const rows = columns[0].map((_, row) => row);
  const status = columns[names.indexOf("status")];
  const table = get("frames"), size = 100;
  let order = { column: 0, up: true }, page = 0;

  const compare = (a, b) => {
    const values = columns[order.column], one = values[a], two = values[b];
    if (one === null || two === null) return (one === null) - (two === null) || a - b;
    return (order.up ? 1 : -1) * (one < two ? -1 : one > two ? 1 : 0) || a - b;
  };
  const cell = (row, value) => { row.insertCell().textContent = value === null ? "" : value; };
  const draw = () => {
    const wanted = rows.filter((row) => !get("doubtful").checked || status[row] !== "ok").sort(compare);
    const pages = Math.max(Math.ceil(wanted.length / size), 1);
    page = Math.min(Math.max(page, 0), pages - 1);
    const body = table.tBodies[0];
    body.replaceChildren();
    for (const row of wanted.slice(page * size, (page + 1) * size)) {
      const line = body.insertRow();
      line.classList.toggle("doubtful", status[row] !== "ok");
      columns.forEach((values) => cell(line, values[row]));
    }
    get("place").textContent = `${page + 1} of ${pages}`;
    get("previous").disabled = page === 0;
    get("next").disabled = page === pages - 1;
    [...head.cells].forEach((one, at) => one.setAttribute("aria-sort",
      at !== order.column ? "none" : order.up ? "ascending" : "descending"));
  };
  const head = table.tHead.insertRow();
  names.forEach((name, at) => {
    const title = document.createElement("th"), button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      order = { column: at, up: order.column === at ? !order.up : true };
      page = 0;
      draw();
    });
    title.append(button);
    head.append(title);
  });
  get("table-controls").hidden = false;
  get("doubtful").addEventListener("change", () => { page = 0; draw(); });
  get("previous").addEventListener("click", () => { page -= 1; draw(); });
  get("next").addEventListener("click", () => { page += 1; draw(); });
  draw();
})();
