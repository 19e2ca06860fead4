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

function element(tag, text, look) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (look) made.className = look;
  return made;
}

// What the models answered to one example: filled in when it is opened.
function answersOf(example, sheet) {
  const table = document.createElement("table");
  sheet.models.forEach((model, place) => {
    const row = table.insertRow();
    const right = example.answers[place] === example.gold;
    row.append(
      element("td", model),
      element("td", `${right ? "✓" : "✗"} ${sheet.labels[example.answers[place]]}`, right ? "gain" : "loss"),
      element("td", `${example.sure[place]} %`, "number"),
      element("td", place ? example.written[place] : "", "written"),
    );
  });
  return table;
}

function exampleOf(example, sheet) {
  const made = document.createElement("details");
  made.className = "example";
  made.dataset.label = sheet.labels[example.gold];
  const right = example.answers.filter((answer) => answer === example.gold).length;
  const head = element("summary", example.text);
  head.append(
    element("span", sheet.labels[example.gold], "label"),
    element("span", `${right} of ${sheet.models.length} right`, "count"),
  );
  made.append(head);
  made.addEventListener("toggle", () => {
    if (!made.open || made.childElementCount > 1) return;
    const thought = example.written[0];
    if (thought) made.append(element("p", `Teacher: ${thought}`, "thought"));
    made.append(answersOf(example, sheet));
  });
  return made;
}

function prepareAnswers(section) {
  const sheet = JSON.parse(section.querySelector(".sheet-data").textContent);
  const place = section.querySelector(".sheet");
  const [field, labels] = [section.querySelector("input"), section.querySelector("select")];
  for (const label of sheet.labels) labels.append(new Option(label, label));
  place.append(...sheet.examples.map((example) => exampleOf(example, sheet)));
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const example of place.children) {
      const text = example.firstChild.textContent.toLowerCase();
      const named = !labels.value || example.dataset.label === labels.value;
      example.hidden = !named || !words.every((word) => text.includes(word));
    }
  };
  field.addEventListener("input", show);
  labels.addEventListener("change", show);
}

document.querySelectorAll(".answers").forEach(prepareAnswers);
document.querySelectorAll(".table").forEach(prepareTable);
drawFigures();
