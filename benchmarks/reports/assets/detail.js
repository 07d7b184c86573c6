// A click on a heading sorts its table, a second one the other way around.
function value(row, column) {
  const text = row.cells[column].textContent.replaceAll(",", "");
  return text === "" ? -Infinity : isNaN(text) ? text : Number(text);
}

function sortBy(table, column, falling) {
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [first, second] = [value(a, column), value(b, column)];
    const order = first < second ? -1 : first > second ? 1 : 0;
    return falling ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const cell = button.closest("th");
    const falling = cell.getAttribute("aria-sort") !== "descending";
    for (const other of cell.parentElement.cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
    sortBy(cell.closest("table"), cell.cellIndex, falling);
  });
}
