"use strict";

// Draws each figure from the JSON beside it. `drawn` on the element tells that it is complete.
async function drawFigures() {
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    actions: { export: true, source: false, compiled: false, editor: false },
  };
  for (const place of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(document.getElementById(`definition-${place.dataset.name}`).textContent);
    try {
      await vegaEmbed(place, spec, { ...options, downloadFileName: place.dataset.name });
      place.dataset.drawn = "yes";
    } catch (error) {
      place.classList.add("failed");
      place.textContent = `This figure could not be drawn: ${error.message}`;
      console.error(error);
    }
  }
}

// Shows the rows that contain every word of the search field.
function filterRows(table, words) {
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}

function sortRows(table, column, header) {
  const up = header.getAttribute("aria-sort") !== "ascending";
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.order ?? row.cells[column].textContent;
  const compare = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
  const byNumber = (a, b) => Number(key(a)) - Number(key(b));
  const rows = [...table.tBodies[0].rows];
  const numbers = rows.every((row) => key(row) === "–" || !Number.isNaN(Number(key(row))));
  const known = rows.filter((row) => !numbers || key(row) !== "–");
  const missing = rows.filter((row) => numbers && key(row) === "–");
  known.sort(numbers ? byNumber : compare);
  table.tBodies[0].append(...(up ? known : known.reverse()), ...missing);
}

function prepareTable(section) {
  const table = section.querySelector("table");
  const field = section.querySelector("input");
  field?.addEventListener("input", () => {
    filterRows(table, field.value.toLowerCase().split(/\s+/));
  });
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.querySelector("button")?.addEventListener("click", () => sortRows(table, column, header));
  });
}

document.querySelectorAll(".table").forEach(prepareTable);
drawFigures();
