//! Links between the documents of the repository: each leads to a file, and to a heading that there is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};

use super::PAGES;

/// The links that lead nowhere, each with its document; and the book's pages that its table of contents lacks.
pub(super) fn broken(root: &Path) -> Result<Vec<String>> {
    let mut documents = Vec::new();
    collect(root, root, &mut documents)?;
    let read = |document: &Path| {
        fs::read_to_string(root.join(document)).with_context(|| format!("cannot read {}", document.display()))
    };
    let mut broken = Vec::new();
    let mut contents = BTreeSet::new();
    for document in &documents {
        for link in links(&read(document)?) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = document.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { Some(document.clone()) } else { joined(folder, file) };
            let leads = match &target {
                Some(target) if root.join(target).exists() => {
                    heading.is_empty() || headings(&read(target)?).contains(heading)
                }
                _ => false,
            };
            // The built book has nothing else.
            let stays = !document.starts_with(PAGES)
                || target.as_ref().is_some_and(|target| target.starts_with(PAGES));
            if !leads || !stays {
                broken.push(format!("{}: {link}", document.display()));
            }
            if document.ends_with("SUMMARY.md") {
                contents.extend(target);
            }
        }
    }
    for page in documents.iter().filter(|page| page.starts_with(PAGES) && !page.ends_with("SUMMARY.md")) {
        if !contents.contains(page) {
            broken.push(format!("{PAGES}/SUMMARY.md: {} is missing", page.display()));
        }
    }
    Ok(broken)
}

/// The Markdown files below a folder, from the repository's root.
fn collect(root: &Path, folder: &Path, documents: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // What is built, and what isn't the project's.
        if name == "target" || name.starts_with('.') && name != ".github" {
            continue;
        }
        if kind.is_dir() {
            collect(root, &path, documents)?;
        } else if name.ends_with(".md") {
            documents.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

/// A path in the repository. `None`: it leads out of it.
fn joined(folder: &Path, file: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in folder.join(file).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

/// The text without blocks and spans of code.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !line.starts_with("    ") {
            let spans = line.split('`').enumerate();
            // A span of one word may be what a link is written on.
            prose.extend(spans.filter(|(index, _)| index % 2 == 0).map(|(_, span)| span));
            prose.push('\n');
        }
    }
    prose
}

/// What links lead to, but for other sites.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let defined = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    let all = inline.chain(defined.map(|(_, target)| target));
    let is_elsewhere = |link: &str| link.contains("://") || link.starts_with("mailto:");
    all.filter(|link| !is_elsewhere(link)).map(|link| link.trim().to_owned()).collect()
}

/// The names by which links call a document's headings, as GitHub and mdBook make them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut headings = BTreeSet::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if is_code || title == line || !title.starts_with(' ') {
            continue;
        }
        let kept = |c: char| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || "-_".contains(c) => Some(c),
            _ => None,
        };
        let name: String = title.trim().to_lowercase().chars().filter_map(kept).collect();
        let others = (1..).map(|number| format!("{name}-{number}"));
        let name = std::iter::once(name.clone()).chain(others).find(|name| !headings.contains(name));
        headings.extend(name);
    }
    headings
}

#[cfg(test)]
mod tests {
    use super::{broken, headings, joined, links};
    use std::path::{Path, PathBuf};

    #[test]
    fn every_link_of_every_document_leads_somewhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        assert_eq!(broken(root).expect("documents"), Vec::<String>::new());
    }

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "See [a](a.md#b), [`c`](c.md) and [d](https://d.example/).\n\n    [no](no.md)\n\n```\n[no](no.md)\n```\n\
                    `[no](no.md)` ![e](e.svg)\n[f]: f.md\n";
        assert_eq!(links(text), ["a.md#b", "c.md", "e.svg", "f.md"]);
    }

    #[test]
    fn headings_have_the_names_that_links_call_them_by() {
        let names = headings("# A `b`, c\n\n## D-E\n## D-E\n```\n# no\n```\n");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a-b-c", "d-e", "d-e-1"]);
    }

    #[test]
    fn a_path_that_leads_out_of_the_repository_is_none() {
        assert_eq!(joined(Path::new("docs/src"), "../a.md"), Some(PathBuf::from("docs/a.md")));
        assert_eq!(joined(Path::new("docs"), "../../a.md"), None);
    }
}
