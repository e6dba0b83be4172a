// Prints what the rules and the dashboard ask Prometheus, as JSON: each expression with its selectors and the labels
// that it groups by, as Prometheus' own grammar reads it. The arguments are the folder with node_modules and `deploy`.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, deploy] = process.argv.slice(2);
const require = createRequire(`${folder}/node_modules/`);
const { parser } = require("@prometheus-io/lezer-promql");
const yaml = require("yaml");
const read = (file) => readFileSync(`${deploy}/${file}`, "utf8");

// Grafana's variables, as a time or a pattern for all.
const filled = (text) =>
    text.replaceAll("$__rate_interval", "1m").replaceAll("$__range", "1h").replace(/"\$\w+"/g, '".*"');

function parsed(where, written) {
    const expression = filled(written);
    const text = (node) => expression.slice(node.from, node.to);
    const selectors = [];
    const labels = new Set();
    parser.parse(expression).iterate({
        enter(node) {
            if (node.type.isError) throw new Error(`${where}: not PromQL at ${node.from}: ${expression}`);
            if (node.name === "VectorSelector") {
                const matchers = node.node.getChild("LabelMatchers")?.getChildren("UnquotedLabelMatcher") ?? [];
                selectors.push({
                    metric: text(node.node.getChild("Identifier")),
                    matchers: matchers.map((matcher) => ({
                        label: text(matcher.getChild("LabelName")),
                        value: JSON.parse(text(matcher.getChild("StringLiteral"))),
                    })),
                });
            }
            if (node.name === "GroupingLabels") {
                for (const label of node.node.getChildren("LabelName")) labels.add(text(label));
            }
        },
    });
    return { where, expression, selectors, labels: [...labels] };
}

const rules = yaml.parse(read("prometheus/rules.yaml")).groups.flatMap((group) => group.rules);
const cases = yaml.parse(read("prometheus/rules_test.yaml")).tests.flatMap((test) => test.alert_rule_test);
const dashboard = JSON.parse(read("grafana/wasmrun.json"));

const panels = dashboard.panels.flatMap((panel) =>
    (panel.targets ?? []).map((target) => parsed(`panel ${panel.title}`, target.expr)),
);
const variables = dashboard.templating.list
    .filter((variable) => variable.type === "query")
    .map((variable) => {
        // A function of Grafana's, not of PromQL.
        const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(variable.query.query);
        const one = parsed(`variable ${variable.name}`, selector);
        return { ...one, labels: [label] };
    });

console.log(
    JSON.stringify({
        rules: rules.map((rule) => ({ ...rule, severity: rule.labels?.severity, ...parsed(rule.alert ?? rule.record, rule.expr) })),
        cases: cases.map((one) => ({ alert: one.alertname, fires: one.exp_alerts.length > 0 })),
        panels,
        variables,
    }),
);
