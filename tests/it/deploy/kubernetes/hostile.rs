//! Texts that YAML, Kubernetes, Helm and shells read otherwise stay what they are.

use super::*;

/// A configuration whose values contain what YAML, Kubernetes, Helm and shells read otherwise.
const HOSTILE: &str = "component = \"s3://components/a.wasm\"\r
queue = \"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs\"
# --- \t {{ .Values.name }} {{ fail \"x\" }} $(HOSTNAME) ${HOME} $$ `id` %TAG & * ! | > ' \" \\
[env]
NORWAY = \"no\"
LINES = \"a\\nb: c\\n--- \\n\\u0085\\u2028\"
[config-value]
\"a: b\" = \"{{ .Release.Name }}\"
";
const HOSTILE_TEXTS: [&str; 14] = [
    "no",
    "1:20",
    "a: b #c",
    "- a",
    "a\nkind: Secret\n---\nb",
    "$(HOSTNAME) ${HOME} $$",
    "{{ .Values.name }}",
    "'\"\\",
    "\u{85}\u{2028}\u{202e}\u{feff}\u{7f}",
    "*a &b !c",
    " ",
    "",
    "-x",
    "ü 😀\t\r",
];

/// What Kubernetes passes to a container: it replaces `$$` by `$`, and `$(NAME)` by a variable.
fn expanded(text: &str) -> String {
    assert!(!text.replace("$$", "").contains("$("), "a variable would be replaced: {text}");
    text.replace("$$", "$")
}

#[test]
fn hostile_texts_stay_what_they_are() {
    let world = World::new();
    let mut arguments = Vec::new();
    for text in HOSTILE_TEXTS {
        arguments.push(format!("--arg={text}"));
    }
    let mut flags: Vec<_> = arguments.iter().map(String::as_str).collect();
    let yaml = printed(&world, HOSTILE, &flags);
    let Some(objects) = objects(&world, &yaml) else { return };
    let args = |objects: &[Value]| {
        let args = &of_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
        args.as_array()
            .expect("arguments")
            .iter()
            .map(|arg| expanded(arg.as_str().expect("text")))
            .collect::<Vec<_>>()
    };
    let found = args(&objects);
    let passed: Vec<_> = HOSTILE_TEXTS
        .iter()
        .flat_map(|text| match text.starts_with('-') {
            true => vec![format!("--arg={text}")],
            false => vec!["--arg".to_owned(), (*text).to_owned()],
        })
        .collect();
    assert!(found.windows(passed.len()).any(|part| part == passed), "{found:?}");
    assert_eq!(of_kind(&objects, "ConfigMap")["data"]["wasmrun.toml"], HOSTILE);
    assert_eq!(objects.len(), 8);

    flags.push("--helm-values");
    let values =
        script(&world, "values.py", &printed(&world, HOSTILE, &flags)).expect("a parser").succeeds().json();
    assert_eq!(values["config"], HOSTILE);
    let chart = rendered(&world, &values).expect("a renderer");
    assert_eq!(chart, by_kind(objects));

    // A task definition has no file, and its command nothing that is expanded.
    world.write("worker.toml", HOSTILE);
    let task = task_definition(manifest(&world, ["ecs", "--config", "worker.toml"]));
    let command = task["containerDefinitions"][0]["command"].to_string();
    for text in
        [r#""NORWAY=no""#, r#""a: b={{ .Release.Name }}""#, "LINES=a\\nb: c\\n--- \\n\u{85}\u{2028}\""]
    {
        assert!(command.contains(text), "{text} in {command}");
    }
}
