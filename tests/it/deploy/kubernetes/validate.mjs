// Checks objects of KEDA and of the Prometheus operator, a list in JSON from standard input, by these projects' types.
// The argument is the folder with node_modules.
import { readFileSync, readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";

const packages = `${process.argv[2]}/node_modules`;
const of = { "keda.sh/v1alpha1": "@kubernetes-models/keda", "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator" };

// The schemas don't refuse unknown fields, and neither does a cluster, which drops them. So each field must occur in
// some schema. `metadata` of a trigger and labels have names of their own.
const known = [...Object.values(of), "kubernetes-models", "@kubernetes-models/apimachinery"]
    .map((name) => `${packages}/${name}/_schemas`)
    .flatMap((folder) => readdirSync(folder).map((file) => readFileSync(`${folder}/${file}`, "utf8")))
    .join("\n");
const FREE = ["metadata", "matchLabels", "labels", "annotations", "nodeSelector", "limits", "requests"];

function unknown(value, path) {
    if (Array.isArray(value)) return value.flatMap((item, index) => unknown(item, `${path}/${index}`));
    if (value === null || typeof value !== "object") return [];
    return Object.entries(value).flatMap(([key, inner]) => {
        const wrong = known.includes(`data.${key}`) ? [] : [`${path}/${key} is in no schema`];
        return wrong.concat(FREE.includes(key) ? [] : unknown(inner, `${path}/${key}`));
    });
}

const wrong = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
    const { apiVersion, kind } = object;
    const module = await import(pathToFileURL(`${packages}/${of[apiVersion]}/${apiVersion}/${kind}.js`));
    try {
        new module[kind](object).validate();
    } catch (error) {
        wrong.push(`${kind}: ${error.message}`);
    }
    wrong.push(...unknown(object.spec, `${kind}: /spec`));
}
if (wrong.length > 0) {
    console.error(wrong.join("\n"));
    process.exit(1);
}
