// Checks a dashboard, as JSON from standard input, by the types that Grafana publishes. The arguments are the folder with
// node_modules and an empty folder.
import { spawnSync } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";

const [folder, work] = process.argv.slice(2);
const dashboard = JSON.parse(readFileSync(0, "utf8"));
const options = { stat: "stat", table: "table", timeseries: "timeseries" };
const files = { stat: "StatPanelCfg", table: "TablePanelCfg", timeseries: "TimeSeriesPanelCfg" };

const imports = Object.keys(options).map((type) => {
    const path = `@grafana/schema/dist/esm/raw/composable/${type}/panelcfg/x/${files[type]}_types.gen`;
    return `import type * as ${type} from "${path}";`;
});
// Values of enums are written as plain texts and numbers in JSON.
const head = `import type { Dashboard, GraphFieldConfig, TableFieldOptions } from "@grafana/schema";
${imports.join("\n")}
type Plain<T> = T extends string ? \`\${T}\`
    : T extends number ? (\`\${T}\` extends \`\${infer N extends number}\` ? N : number)
    : T extends (infer I)[] ? Plain<I>[]
    : T extends object ? { [K in keyof T]: Plain<T[K]> }
    : T;
`;
const checks = [`export const dashboard: Plain<Dashboard> = ${JSON.stringify(dashboard)};`];
for (const [index, panel] of dashboard.panels.entries()) {
    if (panel.type === "row") continue;
    if (!(panel.type in options)) throw new Error(`${panel.title}: no types for ${panel.type}`);
    const custom = { stat: "Record<string, never>", table: "Partial<TableFieldOptions>", timeseries: "GraphFieldConfig" };
    checks.push(
        `export const options${index}: Partial<Plain<${panel.type}.Options>> = ${JSON.stringify(panel.options)};`,
        `export const custom${index}: Plain<${custom[panel.type]}> = ${JSON.stringify(panel.fieldConfig.defaults.custom ?? {})};`,
    );
}
writeFileSync(`${work}/dashboard.ts`, head + checks.join("\n"));
symlinkSync(`${folder}/node_modules`, `${work}/node_modules`);
const flags = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext", "--target", "esnext"];
const run = spawnSync(process.execPath, [`${folder}/node_modules/typescript/bin/tsc`, ...flags, "dashboard.ts"], {
    cwd: work,
    stdio: ["ignore", "inherit", "inherit"],
});
process.exit(run.status ?? 1);
