//! The page of a worker, in a real browser.

use crate::harness::{
    Browser, Process, World, installed_below, png, repository, status, wait_for_tasks, wait_until,
    wait_within,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use std::{env, fs};

/// Starts a worker with HTTP endpoints.
pub(super) fn watched(world: &World, arguments: &[&str]) -> (Process, SocketAddr) {
    let worker = world.run("misbehave").args(["--status", "0"]).args(arguments).start();
    let address = worker.listens_on();
    (worker, address)
}

/// Opens the page and waits until it shows the worker.
fn open(browser: &mut Browser, address: SocketAddr) {
    browser.open(&format!("http://{address}/"));
    browser.wait_until("the worker is shown", &says("state", "ready"));
}

/// An expression that is true if an element's text is this one.
fn says(id: &str, text: &str) -> String {
    format!("document.getElementById('{id}').textContent === {}", json!(text))
}

/// The rows of a table, each with the texts of its cells.
fn rows(browser: &mut Browser, id: &str) -> Vec<Vec<String>> {
    let script =
        format!("[...document.getElementById('{id}').rows].map(r => [...r.cells].map(c => c.textContent))");
    serde_json::from_value(browser.value(&script)).expect("rows")
}

#[track_caller]
fn nothing_is_wrong(browser: &mut Browser, address: SocketAddr) {
    assert_eq!(browser.complaints(), [""; 0]);
    let here = format!("http://{address}/");
    let elsewhere =
        |url: &String| !(url.starts_with(&here) || url.starts_with("data:,") || url == "about:blank");
    assert!(!browser.requested().iter().any(elsewhere), "{:?}", browser.requested());
}

#[test]
fn the_page_shows_what_happens_while_it_is_open() {
    let Some(mut browser) = Browser::start() else { return };
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["ok"]);
    let (worker, address) = watched(&world, &["--fuel", "100000000", "--instances", "4"]);
    open(&mut browser, address);
    assert_eq!(browser.value("document.title"), "misbehave.wasm – wasmrun");
    browser.wait_until(
        "the first task is counted",
        "document.getElementById('outcomes').textContent === 'completed1'",
    );
    assert_eq!(rows(&mut browser, "failures"), [["No task has failed."]]);
    assert_eq!(rows(&mut browser, "running"), [["No task is running."]]);

    world.send(["ok", "ok", "loop", "reject it is no picture", "sleep 60000"]);
    browser.wait_until("all is shown", "document.getElementById('failures').rows.length === 2 && document.getElementById('running').textContent.includes(' s')");
    browser.wait_until(
        "the others have completed",
        "document.getElementById('outcomes').textContent.includes('completed3')",
    );
    let failures = rows(&mut browser, "failures");
    let failed = |outcome: &str| failures.iter().find(|row| row[1] == outcome).expect("its row");
    assert_eq!((&*failed("rejected")[2], &*failed("rejected")[4]), ("1", "it is no picture"));
    assert!(failed("limit-exceeded")[4].contains("fuel"), "{failures:?}");
    assert_eq!(rows(&mut browser, "limits"), [["fuel", "1"]]);
    let message = status(address)["running"][0]["message_id"].as_str().expect("an id").to_owned();
    assert_eq!(rows(&mut browser, "running")[0][1..], ["1".to_owned(), message]);
    let now = browser.value("document.getElementById('now').innerText");
    assert!(now.as_str().is_some_and(|now| now.contains("limit 4, fixed")), "{now}");
    let durations = &rows(&mut browser, "percentiles")[1];
    assert!(durations.len() == 5 && durations[1..].iter().all(|time| time.ends_with('s')), "{durations:?}");

    // Lines are drawn: some of the canvas' pixels aren't transparent, in both charts.
    for chart in ["throughput", "backlog"] {
        let drawn = format!(
            "(() => {{ const c = document.querySelector('#{chart} canvas'); return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0); }})()"
        );
        browser.wait_until("the chart is drawn", &drawn);
        let caption = browser.value(&format!("document.getElementById('{chart}-values').textContent"));
        assert!(
            caption.as_str().is_some_and(|caption| caption.contains(|c: char| c.is_ascii_digit())),
            "{caption}"
        );
    }
    // The browser connects again after each stream.
    let streams =
        |browser: &mut Browser| browser.requested().iter().filter(|url| url.ends_with("/events")).count();
    wait_until("another stream has begun", || streams(&mut browser) >= 2);
    nothing_is_wrong(&mut browser, address);

    // Open pages don't keep a worker from stopping.
    worker.signal(Signal::TERM);
    worker.signal(Signal::TERM);
    worker.finish();
    browser.wait_until("the worker's end is shown", &says("state", "no answer from the worker"));
}

#[test]
fn what_a_guest_says_is_text_on_the_page() {
    let Some(mut browser) = Browser::start() else { return };
    let world = World::with_queue(&["--max-receives", "1"]);
    let hostile = [
        "<img src=x onerror=\"document.title='forged'\">".to_owned(),
        "</script></style><script>document.title='forged'</script>".to_owned(),
        "\"}]}\n\ndata: {\"forged\": true}\n\nevent: forged".to_owned(),
        "javascript:alert(1)//&lt;b&gt;{{7*7}}".to_owned(),
        "\u{202e}gnp.exe\u{7f}\u{9b}2J\u{2028}\u{200f}.".to_owned(),
        "a\u{0300}\u{0301}\u{0302}\u{0303}\u{0304}".repeat(50),
        "x".repeat(5000),
        "\u{5d0}\u{5d1}\u{5d2} https://else.example/".to_owned(),
    ];
    // A worker that fails so often, or in which no task completes, would slow down.
    world.send(["ok"]);
    let (worker, address) = watched(&world, &["--instances", "4", "--max-consecutive-failures", "100"]);
    wait_for_tasks(address, 1);
    browser.screen(360, 740, "light");
    open(&mut browser, address);
    world.send(hostile.iter().map(|reason| format!("reject {reason}")));
    browser.wait_until(
        "all failures are shown",
        &format!("document.getElementById('failures').rows.length === {}", hostile.len()),
    );
    let shown: Vec<String> =
        rows(&mut browser, "failures").into_iter().map(|mut row| row.remove(4)).collect();
    let has = |text: &str| assert!(shown.iter().any(|reason| reason.starts_with(text)), "{text}: {shown:?}");
    for reason in &hostile[..2] {
        has(reason);
    }
    has("\"}]}\\u{a}\\u{a}data: {\"forged\": true}");
    has(&hostile[3]);
    has("\\u{202e}gnp.exe\\u{7f}\\u{9b}2J\\u{2028}\\u{200f}.");
    has(&hostile[5][..100]);
    has(&"x".repeat(900));
    has(&hostile[7]);
    assert_eq!(browser.value("document.querySelectorAll('main img, main script, main a').length"), 0);
    assert_eq!(browser.value("document.title"), "misbehave.wasm – wasmrun");
    let wider = "document.documentElement.scrollWidth > innerWidth";
    assert_eq!(browser.value(wider), false, "a long reason makes the page scroll sideways");
    nothing_is_wrong(&mut browser, address);
    worker.stop();
}

/// Returns the lowest contrast between text and background (WCAG 2.2, 1.4.3) and its element.
const CONTRAST: &str = "(() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parse(colour).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (parse(colour)[3] !== 0) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const all = [...document.querySelectorAll('h1,h2,p,dt,dd,small,th,td,figcaption span,figcaption b,button')];
    const contrast = (e) => {
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
        return [(a + 0.05) / (b + 0.05), e.outerHTML];
    };
    return all.filter((e) => e.checkVisibility()).map(contrast).sort((a, b) => a[0] - b[0])[0];
})()";

#[test]
fn the_page_is_read_on_a_phone_in_both_colour_schemes_and_used_with_a_keyboard() {
    let Some(mut browser) = Browser::start() else { return };
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject it is no picture", "sleep 60000"]);
    let (worker, address) = watched(&world, &["--instances", "2", "--stop-timeout", "0s"]);
    let mut backgrounds = Vec::new();
    for (width, height) in [(360, 740), (1280, 900)] {
        for scheme in ["light", "dark"] {
            browser.screen(width, height, scheme);
            open(&mut browser, address);
            browser.wait_until(
                "it shows both tasks",
                "document.querySelectorAll('td .none, td.none').length === 1",
            );
            assert_eq!(
                browser.value("document.documentElement.scrollWidth <= innerWidth"),
                true,
                "{width} {scheme}"
            );
            let least = browser.value(CONTRAST);
            assert!(least[0].as_f64() >= Some(4.5), "{scheme}: {least}");
            backgrounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
            assert!(browser.picture().starts_with(b"\x89PNG"));
        }
    }
    assert_eq!((&backgrounds[0], &backgrounds[1]), (&backgrounds[2], &backgrounds[3]));
    assert_ne!(backgrounds[0], backgrounds[1]);

    // Tab leads to the button and to each table that may scroll, and shows where it is.
    let regions =
        browser.value("document.querySelectorAll('[role=region]').length").as_u64().expect("a count");
    let mut reached = Vec::new();
    for _ in 0..=regions {
        browser.press("Tab", "");
        let focus = "(() => { const e = document.activeElement; return [e.id || e.getAttribute('aria-labelledby'), getComputedStyle(e).outlineStyle]; })()";
        let focus = browser.value(focus);
        assert_eq!(focus[1], "solid", "the focus is visible: {focus}");
        reached.push(focus[0].clone());
    }
    assert_eq!(reached[0], "pause");
    reached.dedup();
    assert_eq!(reached.len() as u64, regions + 1, "{reached:?}");
    // Each table, figure and section has a name.
    let named = "[...document.querySelectorAll('[aria-labelledby]')].every(e => document.getElementById(e.getAttribute('aria-labelledby')).textContent)";
    assert_eq!(browser.value(named), true);
    assert_eq!(
        browser.value("document.querySelectorAll('[aria-live], [role=status], [role=alert]').length"),
        1
    );

    // Space pauses.
    browser.value("document.getElementById('pause').focus()");
    browser.press(" ", " ");
    browser.wait_until("it is paused", &says("state", "paused"));
    let before = browser.requested().len();
    assert_eq!(browser.value("document.getElementById('pause').getAttribute('aria-pressed')"), "true");
    assert_eq!(browser.requested().len(), before, "a paused page asks for nothing");
    browser.press("Enter", "\r");
    browser.wait_until("it continues", &says("state", "ready"));
    nothing_is_wrong(&mut browser, address);
    worker.stop();
}

#[test]
fn the_page_says_that_a_worker_hangs_and_that_it_answers_again() {
    let Some(mut browser) = Browser::start() else { return };
    let world = World::with_queue(&[]);
    let (worker, address) = watched(&world, &[]);
    open(&mut browser, address);
    worker.signal(Signal::STOP);
    browser.wait_until("the worker is lost", &says("state", "no answer from the worker"));
    worker.signal(Signal::CONT);
    browser.wait_until("the worker is back", &says("state", "ready"));
    worker.kill();
}

#[test]
fn the_chart_library_is_the_published_one() {
    let package =
        installed_below("uplot", "WASMRUN_MONITORING_TOOLS", "node/node_modules/uplot/package.json");
    let Some(package) = package else { return };
    let package = package.parent().expect("a folder");
    let here = repository().join("crates/watch/src/page");
    for (published, ours) in [
        ("dist/uPlot.iife.min.js", "uPlot.iife.min.js"),
        ("dist/uPlot.min.css", "uPlot.min.css"),
        ("LICENSE", "uPlot.LICENSE"),
    ] {
        let [published, ours] =
            [package.join(published), here.join(ours)].map(|path| fs::read(path).expect("a file"));
        assert!(published == ours, "{}", here.display());
    }
    // What npm checked is what the source names.
    let lock = fs::read(package.join("../.package-lock.json")).expect("npm's list");
    let lock: Value = serde_json::from_slice(&lock).expect("JSON");
    let uplot = &lock["packages"]["node_modules/uplot"];
    let [version, integrity] = ["version", "integrity"].map(|field| uplot[field].as_str().expect("a text"));
    let source = fs::read_to_string(repository().join("crates/watch/src/page.rs")).expect("the source");
    assert!(source.contains(&format!("uplot {version}, MIT, {integrity}\n")), "{uplot}");
}

/// Makes a picture of the page, of a worker that is busy with waves of photographs. Some of each wave are no
/// photographs, and one is too large.
#[test]
#[ignore = "makes the picture in the README: cargo xtask picture"]
fn the_picture_of_the_page() {
    const WAVES: u64 = 3;
    let mut browser = Browser::start().expect("a browser");
    // The queue's path is in the picture.
    let world = World::in_memory_with_queue(&["--max-receives", "2"]);
    for entry in repository().join("demo/photographs").read_dir().expect("the photographs") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_str().expect("text").to_owned();
        fs::copy(&path, world.path("in").join(&name)).expect("copied");
        for copy in 0..500 {
            let copied = world.path("in").join(format!("{copy:03}-{name}"));
            fs::hard_link(world.path("in").join(&name), copied).expect("linked");
        }
    }
    for copy in (0..500).step_by(20) {
        world.write(&format!("in/{copy:03}-notes.txt"), "no photograph at all");
    }
    world.write("in/400-large.png", png::random(&mut fastrand::Rng::with_seed(2), 4000, 3000));
    let arguments = ["--instances", "1..8", "--fuel", "1000000000", "--status", "0"];
    let worker = world.run("thumbnail").args(arguments).start();
    let address = worker.listens_on();
    browser.screen(1160, 1060, "light");
    open(&mut browser, address);
    let pictures = world.keys("in").len() as u64;
    for wave in 1..=WAVES {
        world.announce();
        // The picture is taken in the middle of the last wave.
        let ended = if wave == WAVES { wave * pictures - pictures / 3 } else { wave * pictures };
        wait_within(Duration::from_secs(300), "the wave has passed", || {
            status(address)["tasks"].as_u64().is_some_and(|tasks| tasks >= ended)
        });
    }
    let path = env::var_os("WASMRUN_PICTURE").expect("a path");
    fs::write(path, browser.picture()).expect("written");
    worker.kill();
}
