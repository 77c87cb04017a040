// -- certificates ------------------------------------------------------------------------------

const VERDICTS = { h: "holds", f: "fails", u: "unknown" };

// return the checks of a cell: its numbers put between the pieces of the sentences
function certificate(row) {
  const { sentences, cells } = content.certificates;
  if (!cells[row]) return [];
  return cells[row].split(";").map((part) => {
    const [sentence, verdict, measured, threshold, ...numbers] = part.split(" ");
    const { check, source, pieces } = sentences[sentence];
    return {
      check,
      verdict: VERDICTS[verdict],
      measured: measured === "-" ? null : Number(measured),
      threshold: threshold === "-" ? null : Number(threshold),
      statement: pieces.map((piece, i) => piece + (numbers[i] || "")).join(""),
      source,
    };
  });
}

// describe the cell of a row
function named(row) {
  const kept = content.kind === "sweep"
    ? [...axes, "seed"]
    : names.filter((name) => name.startsWith("settings."));
  const settings = kept.filter((name) => !isMissing(value(name, row)))
    .map((name) => `${name.replace("settings.", "")} = ${told(value(name, row))}`);
  return [value(content.kind === "sweep" ? "label" : "claim", row), ...settings].join(", ");
}

function showCertificate(place, row) {
  const checks = certificate(row);
  place.replaceChildren();
  if (!checks.length) return;
  const inner = element("div", {});
  place.append(element("h3", { textContent: `Certificate of ${named(row)}` }), inner);
  objects(inner, checks, `certificate of ${named(row)}`);
}

// show records of cells, each with a button that shows its certificate at `place`
function cellTable(at, rows, label, place) {
  const button = (row) => {
    const checks = certificate(row);
    if (!checks.length) return "";
    const n = (verdict) => checks.filter((check) => check.verdict === verdict).length;
    const made = element("button", {
      type: "button",
      textContent: `${n("holds")} hold, ${n("fails")} fail, ${n("unknown")} unknown`,
    });
    made.setAttribute("aria-label", `Certificate of ${named(row)}: ${made.textContent}`);
    made.addEventListener("click", () => {
      showCertificate(place, row);
      place.scrollIntoView({ block: "nearest" });
    });
    return made;
  };
  const certified = rows.find((row) => content.certificates.cells[row]);
  table(at, cellColumns, rows, (row, name) => value(name, row), label,
    certified === undefined ? null : button);
  return certified;
}

function startCertificates() {
  const { verdicts, truth, uncertified } = content;
  if (!verdicts.length && !uncertified) return;
  const section = byId("certificates");
  section.hidden = false;
  const sentences = ["Number of cells by the verdict of each check. A check is about its own "
    + "statement; choose a cell in a table of cells to read it."];
  if (truth) {
    sentences.push(`${truth} is a metric that sees the truth. The last columns count the cells in `
      + "which the check held and the truth was missed, and those in which it failed and the truth "
      + "was found.");
  }
  if (uncertified) {
    sentences.push(`An earlier version recorded ${uncertified} cells without a certificate; `
      + "a new run has certificates.");
  }
  section.querySelector(".note").textContent = sentences.join(" ");
  if (verdicts.length) objects(section.querySelector(".table"), verdicts, "certificates by method");
}
