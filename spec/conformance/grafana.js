// The dashboards of conf/grafana against Grafana's own types: every member is one that Grafana knows, with a value it takes.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import ts from "typescript";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const folder = join(here, "../../conf/grafana/dashboards");
const dashboards = readdirSync(folder).map((name) => [name, JSON.parse(readFileSync(join(folder, name), "utf8"))]);

const composable = "@grafana/schema/dist/esm/raw/composable";
const kinds = { bargauge: "BarGauge", heatmap: "Heatmap", piechart: "PieChart", stat: "Stat", timeseries: "TimeSeries" };

// Enumerations are text in JSON; a panel's options need not all be there.
const prelude = `
import type { Dashboard } from "@grafana/schema";
${Object.entries(kinds).map(([kind, name]) =>
  `import type * as ${kind} from "${composable}/${kind}/panelcfg/x/${name}PanelCfg_types.gen";`).join("\n")}
type Plain<T> = T extends string ? \`\${T}\` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Some<T> = T extends (infer E)[] ? Some<E>[] : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;
`;

function source(dashboard) {
  const lines = [prelude, `export const whole: Plain<Dashboard> = ${JSON.stringify(dashboard)};`];
  for (const { id, type, options, fieldConfig } of dashboard.panels) {
    if (type === "row") continue;
    lines.push(`export const options${id}: Plain<Some<${type}.Options>> = ${JSON.stringify(options)};`);
    if (type === "timeseries") {
      const custom = JSON.stringify(fieldConfig.defaults.custom);
      lines.push(`export const custom${id}: Plain<Some<${type}.FieldConfig>> = ${custom};`);
    }
  }
  return lines.join("\n");
}

/** What the compiler says of a text, as one would have it in a file beside this one. */
function complaints(text) {
  const name = join(here, "dashboard.ts");
  const options = {
    strict: true, noEmit: true, skipLibCheck: true, types: [],
    target: ts.ScriptTarget.ES2020, moduleResolution: ts.ModuleResolutionKind.Node10,
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists } = host;
  host.fileExists = (path) => path === name || fileExists(path);
  host.readFile = (path) => (path === name ? text : readFile(path));
  const { getSourceFile } = host;
  host.getSourceFile = (path, ...rest) =>
    path === name ? ts.createSourceFile(name, text, rest[0]) : getSourceFile(path, ...rest);
  return ts.getPreEmitDiagnostics(ts.createProgram([name], options, host))
    .map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"));
}

const queries = (dashboard) => dashboard.panels.flatMap((panel) => panel.targets ?? []);

for (const [name, dashboard] of dashboards) {
  test(`grafana: ${name} is a dashboard by Grafana's types`, () => {
    assert.deepEqual(complaints(source(dashboard)), []);
  });

  test(`grafana: ${name} asks one data source, job and instance, and says what each panel shows`, () => {
    for (const target of queries(dashboard)) {
      assert.equal(target.datasource.uid, "${datasource}");
      assert.match(target.expr, /job=~"\$job", instance=~"\$instance"/);
    }
    for (const panel of dashboard.panels) {
      if (panel.type === "row") continue;
      assert.ok(panel.description, panel.title);
      assert.ok(panel.fieldConfig.defaults.unit, panel.title);
    }
  });
}

test("grafana: a mistake in a dashboard is seen", () => {
  const wrong = structuredClone(dashboards[0][1]);
  const panel = wrong.panels.find(({ type }) => type === "timeseries");
  panel.options.legend.displayMode = "tables";
  assert.equal(complaints(source(wrong)).length, 1);
});
