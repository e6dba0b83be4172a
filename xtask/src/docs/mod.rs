//! The documentation: a book in `docs/`, of which some pages are written by the program itself.

mod help;
mod links;
mod metrics;
mod reference;

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    command::{self, name},
    guests::{self, Kinds},
    places::Places,
    tools::MDBOOK,
};

/// The folder of the book's pages, from the repository's root.
const PAGES: &str = "docs/src";
const REFERENCE: &str = "docs/src/reference";

/// Writes the pages that come from the program, checks all links, and builds the book into `target/book`.
///
/// # Errors
///
/// When a link leads nowhere, or mdBook warns.
pub(crate) fn build(places: &Places) -> Result<()> {
    guests::build(places, Kinds::Cargo)?;
    command::build(places)?;
    for (file, text) in reference::pages(places, None)? {
        let path = places.root.join(REFERENCE).join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    check_links(places)?;
    let book = places.target.join("book");
    let mut mdbook = Command::new(MDBOOK.ready(places)?);
    mdbook.current_dir(&places.root).args(["build", "docs", "--dest-dir"]).arg(&book);
    let output = mdbook.output().with_context(|| format!("cannot run {}", name(&mdbook)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let complains = |line: &str| line.contains("WARN") || line.contains("ERROR");
    if !output.status.success() || said.lines().any(complains) {
        bail!("mdbook complains:\n{said}");
    }
    println!("The book: {}", book.join("index.html").display());
    Ok(())
}

/// Fails where a page differs from what the program says, or a link leads nowhere. Program and guests must be built.
///
/// # Errors
///
/// Names each such page and link.
pub(crate) fn check(places: &Places) -> Result<()> {
    let mut outdated = Vec::new();
    let folder = places.root.join(REFERENCE);
    for (file, text) in reference::pages(places, Some(&folder))? {
        if fs::read_to_string(folder.join(file)).unwrap_or_default() != text {
            outdated.push(format!("{REFERENCE}/{file}"));
        }
    }
    if !outdated.is_empty() {
        bail!("{} differs from the program: run `cargo xtask docs`, and commit", outdated.join(", "));
    }
    check_links(places)
}

fn check_links(places: &Places) -> Result<()> {
    let broken = links::broken(&places.root)?;
    if !broken.is_empty() {
        bail!("links that lead nowhere:\n  {}", broken.join("\n  "));
    }
    Ok(())
}
