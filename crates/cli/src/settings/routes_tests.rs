use super::*;
use crate::settings::file::ConfigFile;
use crate::settings::flags::{Cli, Command};
use clap::Parser;
use std::collections::BTreeSet;
use std::time::Duration;

fn plan_with(flags: &str, file: &str) -> Result<TaskPlan, String> {
    let words = ["wasmrun", "run"].into_iter().chain(flags.split_whitespace());
    let Some(Command::Run(args)) = Cli::try_parse_from(words).expect("arguments").command else {
        panic!("another command")
    };
    let mut file = ConfigFile::parse(file, &"wasmrun.toml").map_err(|failure| failure.to_string())?;
    let worker = args.worker.over(std::mem::take(&mut file.worker));
    TaskPlan::new(args.component, args.task, &mut file, &worker).map_err(|failure| failure.to_string())
}

fn plan(file: &str) -> Result<TaskPlan, String> {
    plan_with("", file)
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn a_route_has_its_own_grants_and_the_limits_that_it_does_not_set_itself() {
    let file = "component = 'default.wasm'
        store.input = 's3://default:ro'
        env.A = 'default'
        limits.fuel = 5
        [[route]]
        name = 'photos'
        match.object-suffix = ['.png', '.jpg']
        component = 'photos.wasm'
        store.photos = 's3://photos:ro'
        send.next = 'next'
        allow-http = ['example.com']
        env.B = 'photos'
        config-value.size = '7'
        limits.memory = '1MiB'
        [[route]]
        name = 'acme'
        match.attribute = { tenant = 'acme', kind = ['a', 'b'] }
        match.group = 'g'";
    let plan = plan_with("--timeout 7s --send all=all", file).expect("a plan");
    let components: Vec<_> =
        plan.components().map(|(route, task)| (route, task.component.to_string())).collect();
    let expected = [(None, "default.wasm"), (Some("photos"), "photos.wasm"), (Some("acme"), "default.wasm")];
    assert_eq!(components, expected.map(|(route, component)| (route, component.to_owned())));
    let [photos, acme] = &plan.routes.routes[..] else { panic!("two routes") };
    let aliases: Vec<_> = photos.task.grants.stores.iter().map(|store| store.alias.as_str()).collect();
    assert_eq!(aliases, ["photos"]);
    let grants = &photos.task.grants;
    assert_eq!(grants.sends, [("next".to_owned(), "next".to_owned())].into());
    assert_eq!(grants.env, [("B".to_owned(), "photos".to_owned())]);
    assert_eq!((grants.http.rules.len(), grants.config_values["size"].as_str()), (1, "7"));
    let limits = &photos.task.limits;
    assert_eq!((limits.fuel, limits.memory_bytes, limits.timeout), (5, 1 << 20, Duration::from_secs(7)));
    assert_eq!(photos.conditions, [Condition::ObjectSuffix(set(&[".jpg", ".png"]))]);
    assert!(!acme.task.has_grants() && plan.has_grants());
    let conditions = [
        Condition::Attribute("kind".into(), set(&["a", "b"])),
        Condition::Attribute("tenant".into(), set(&["acme"])),
        Condition::Group(set(&["g"])),
    ];
    assert_eq!(acme.conditions, conditions);
}

#[test]
fn without_a_default_component_unmatched_messages_must_be_rejected() {
    let route = "[[route]]\nname = 'a'\ncomponent = 'a.wasm'\nmatch.group = 'a'";
    let rejecting = plan(&format!("unmatched = 'reject'\n{route}")).expect("a plan");
    assert_eq!(rejecting.components().map(|(route, _)| route).collect::<Vec<_>>(), [Some("a")]);
    assert_eq!(rejecting.name(), None);
    let error = plan(route).err().expect("refused");
    assert!(error.contains("unmatched = \"reject\""), "{error}");
    // A component of the file is then that of the routes which name none.
    let shared = plan("component = 'c.wasm'\nunmatched = 'reject'\n[[route]]\nname = 'a'\nmatch.group = 'a'")
        .expect("a plan");
    assert_eq!(shared.components().map(|(_, task)| task.component.name()).collect::<Vec<_>>(), ["c.wasm"]);
    let lost =
        plan_with("--store in=dir:in:ro", &format!("unmatched = 'reject'\n{route}")).err().expect("refused");
    assert!(lost.contains("move them into a route"), "{lost}");
}

#[test]
fn what_is_wrong_with_a_route_is_said_with_its_name() {
    let long = "x".repeat(257);
    let with = |text: &str| format!("component = 'c.wasm'\n[[route]]\nname = 'a'\n{text}");
    let many: String = (0..65).map(|n| format!("[[route]]\nname = 'r{n}'\nmatch.group = 'a'\n")).collect();
    for (file, said) in [
        (with(""), "in the route a: it has no condition"),
        (with("match = {}"), "in the route a: it has no condition"),
        (with("match.object-suffix = '.jpg'"), "in the route a: object-prefix and object-suffix match keys"),
        (with("match.object-suffix = '.jpg'\nstore.out = 'dir:out:wo'"), "it may read none"),
        (with("match.attribute = { wasmrun = 'x' }"), "the attribute wasmrun is that of dead letters"),
        (with("match.group = 'a'\nlimits.fuel = 0"), "in the route a: --fuel 0 is too small"),
        (
            with(&format!("match.group = 'a'\nconfig-value.x = '{}'", "x".repeat(128 << 10))),
            "in the route a: the configuration values of tasks",
        ),
        (with("match.group = 'a'\ncommand.output-object = 'x'"), "in the route a: --output-object x"),
        (with("match.group = 'a'\nassume-role.x = 'arn:aws:iam::123456789012:role/r'"), "in the route a: "),
        (with("match.group = 'a'\nenv.AWS_SECRET_ACCESS_KEY = true"), "in the route a: "),
        (
            with("match.group = 'a'\nsend.next = 'sqlite:{key}.db'"),
            "in the route a: the queue sqlite:{key}.db",
        ),
        (with("match.group = []"), "between 1 and 64 texts"),
        (with("match.group = ''"), "between 1 and 256 bytes"),
        (with(&format!("match.group = '{long}'")), "between 1 and 256 bytes"),
        (with(&format!("match.attribute = {{ {long} = 'x' }}")), "between 1 and 256 bytes"),
        (with("match.group = 5"), "expected text in quotes, or a list of texts"),
        (with("match.groups = 'a'"), "did you mean group?"),
        (with("stores.in = 'dir:in:ro'"), "did you mean store?"),
        (with("match.group = 'a'\n[[route]]\nname = 'a'\nmatch.group = 'b'"), "two routes have the name a"),
        ("component = 'c'\n[[route]]\nmatch.group = 'a'".into(), "a table [[route]] has no name"),
        ("component = 'c'\n[[route]]\nname = 'A b'".into(), "the name \"A b\" of a route is not allowed"),
        (format!("component = 'c'\n{many}"), "the configuration has 65 routes, more than 64"),
        ("component = 'c'\nunmatched = 'reject'".into(), "`unmatched` has no effect without a route"),
        (
            "component = 'c'\nunmatched = 'drop'".into(),
            "line 2, at 'drop': expected \"default\" or \"reject\"",
        ),
        ("[[route]]\nname = 'a'\nmatch.group = 'a'".into(), "no component"),
    ] {
        let error = plan(&file).err().unwrap_or_else(|| panic!("{file} is refused"));
        assert!(error.contains(said), "{error} for {file}");
    }
}
