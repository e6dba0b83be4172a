//! `wasmrun top`: shows the state of a worker, live in a terminal.
//!
//! It requests the worker's `/status` once a second. The answer is treated as hostile: only a bounded part is read,
//! and no text reaches the terminal unescaped.

mod history;
mod view;

use self::history::History;
use crate::output::failure::Failure;
use crate::output::to_stdout;
use crate::settings::flags::TopArgs;
use crate::wiring::watch::resolve;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wasmrun_watch::probe;

/// Interval between requests to the worker.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for a key press between two draws.
const KEYS: Duration = Duration::from_millis(100);
/// Columns and rows of the text that `--once` prints.
const PICTURE: (u16, u16) = (110, 36);
/// Number of answers that the text of `--once` shows.
const MOMENTS: u32 = 60;

pub(crate) async fn top(args: TopArgs) -> Result<ExitCode, Failure> {
    let address = resolve(args.address).await.map_err(Failure::backend)?;
    // A worker that doesn't answer is reported before the terminal is taken over.
    let mut history = History::default();
    history.add(Instant::now(), ask(address).await?);
    if let Some(time) = args.once {
        for _ in 1..MOMENTS {
            tokio::time::sleep(time / MOMENTS).await;
            history.add(Instant::now(), ask(address).await?);
        }
        return picture(&history);
    }
    if !io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is no terminal: add --once for one picture of text"));
    }
    // Reading keys blocks its thread.
    let here = Handle::current();
    let shown = tokio::task::spawn_blocking(move || show(&here, address, history));
    let ended = shown.await.map_err(|error| Failure::backend(error.to_string()))?;
    ended.map_err(|error| Failure::backend(format!("the terminal cannot be used: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(address: SocketAddr) -> Result<Value, Failure> {
    probe::status(address).await.map_err(Failure::backend)
}

/// Draws until a key ends the command. The terminal is restored on return and after a panic.
fn show(here: &Handle, address: SocketAddr, mut history: History) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let ended = (|| {
        let mut asked = Instant::now();
        loop {
            terminal.draw(|frame| view::draw(frame, &history))?;
            if event::poll(KEYS)? && ends(&event::read()?) {
                return Ok(());
            }
            if asked.elapsed() >= EVERY {
                asked = Instant::now();
                match here.block_on(probe::status(address)) {
                    Ok(status) => history.add(asked, status),
                    Err(why) => history.lost(why),
                }
            }
        }
    })();
    ratatui::try_restore()?;
    ended
}

fn ends(event: &Event) -> bool {
    let Event::Key(KeyEvent { code, modifiers, .. }) = event else { return false };
    match code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

/// Prints the screen as text.
fn picture(history: &History) -> Result<ExitCode, Failure> {
    // Writing to memory doesn't fail.
    let lines = lines(history, PICTURE).unwrap_or_default();
    to_stdout(lines.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn lines(history: &History, (width, height): (u16, u16)) -> io::Result<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(io::Error::other)?;
    let drawn = terminal.draw(|frame| view::draw(frame, history)).map_err(io::Error::other)?;
    let rows = drawn.buffer.content().chunks(usize::from(width));
    let line = |row: &[ratatui::buffer::Cell]| {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        format!("{}\n", line.trim_end())
    };
    Ok(rows.map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(tasks: u64, visible: u64, instances: u64) -> Value {
        json!({
            "version": "0.1.0", "component": "thumbnail.wasm", "queue": "sqlite:jobs.db", "uptime_seconds": 3723.5,
            "ready": {"is": true}, "alive": {"is": true},
            "instances": {"running": 3, "allowed": instances, "min": 0, "max": 64, "because": "scale-in-delay"},
            "depth": {"visible": visible, "in_flight": 3, "delayed": 1, "seconds_ago": 1.0},
            "running": [{"message_id": "5fea7756-0ea4-451a-a703-a558b933e274", "receive_count": 2, "age_seconds": 12.5}],
            "failures": [{"message_id": "bad", "receive_count": 1, "outcome": "trapped", "reason": "x\u{1b}[2J\ny", "seconds_ago": 3.0}],
            "counts": {"released": 4, "dead_lettered": 5},
            "tasks": tasks, "outcomes": {"completed": tasks, "trapped": 1},
            "percentiles": {"wall_us": {"p50": 1500, "p95": 20_000, "p99": 3_300_000, "max": 4_000_000}},
        })
    }

    fn history() -> History {
        let (mut history, began) = (History::default(), Instant::now());
        for second in 0..60 {
            let at = began + Duration::from_secs(second);
            history.add(at, status(second * 50, 1000 - second * 10, 1 + second));
        }
        history
    }

    #[test]
    fn everything_that_is_known_is_on_the_picture() {
        let text = lines(&history(), PICTURE).expect("a picture");
        for part in [
            "thumbnail.wasm",
            "sqlite:jobs.db",
            "1h 2m",
            "ready",
            "60 of 0..64: scale-in-delay",
            "410",
            "50.0/s",
            "completed",
            "2950",
            "trapped",
            "1.50 ms",
            "20.0 ms",
            "3.30 s",
            "5fea7756-0ea4-451a-a703-a558b933e274",
            "12.5 s",
            "bad",
            "dead-lettered",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn no_text_of_a_guest_moves_the_cursor() {
        let text = lines(&history(), PICTURE).expect("a picture");
        assert!(text.contains("\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(text.lines().count(), usize::from(PICTURE.1));
    }

    #[test]
    fn nonsense_and_small_terminals_are_drawn_all_the_same() {
        let mut nonsense = History::default();
        for value in
            [json!(null), json!([1, 2]), json!({"instances": "many", "running": 7, "failures": {"a": 1}})]
        {
            nonsense.add(Instant::now(), value);
        }
        nonsense.lost("gone".into());
        for size in [(1, 1), (10, 3), (40, 10), (300, 100)] {
            for history in [&History::default(), &nonsense, &history()] {
                assert!(lines(history, size).is_ok(), "{size:?}");
            }
        }
        assert!(lines(&nonsense, PICTURE).expect("a picture").contains("gone"));
    }
}
