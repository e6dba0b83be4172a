//! Parses documents: the sections and their blocks.

use crate::harness::repository;
use std::fs;
use std::path::Path;

/// A section of a document that contains blocks.
pub(crate) struct Section {
    /// Path relative to the repository's root.
    pub(crate) file: String,
    pub(crate) heading: String,
    blocks: Vec<Block>,
}

struct Block {
    /// The language of the fence; empty for an indented block.
    language: String,
    text: String,
}

/// The sections of all documents of the repository that contain an example. Blocks marked as `text` are no examples:
/// they are diagrams and output.
pub(crate) fn all() -> Vec<Section> {
    let mut files = Vec::new();
    collect(repository(), &mut files);
    files.sort();
    files.iter().flat_map(|file| sections(file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str().expect("UTF-8");
        // Skip build output and files that aren't part of the project.
        if name == "target" || name.starts_with('.') {
            continue;
        }
        if entry.file_type().expect("its type").is_dir() {
            collect(&path, files);
        } else if name.ends_with(".md") && name != "CHANGELOG.md" {
            let file = path.strip_prefix(repository()).expect("a file of the repository");
            files.push(file.to_str().expect("UTF-8").to_owned());
        }
    }
}

/// Finds a section by its heading.
#[track_caller]
pub(crate) fn section(file: &str, heading: &str) -> Section {
    let found = sections(file).into_iter().find(|section| section.heading == heading);
    found.unwrap_or_else(|| panic!("{file} shows nothing in a section {heading:?}"))
}

fn sections(file: &str) -> Vec<Section> {
    let text = fs::read_to_string(repository().join(file)).expect("a document");
    let new = |heading: &str| Section { file: file.into(), heading: heading.into(), blocks: Vec::new() };
    let mut sections = vec![new("")];
    let mut lines = text.lines().peekable();
    let mut is_after_blank = true;
    while let Some(line) = lines.next() {
        let blocks = &mut sections.last_mut().expect("a section").blocks;
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { language: language.into(), text: text.join("\n") });
        } else if is_after_blank && line.starts_with("    ") {
            let mut text = vec![&line[4..]];
            while let Some(line) = lines.next_if(|line| line.starts_with("    ") || line.is_empty()) {
                text.push(line.get(4..).unwrap_or_default());
            }
            blocks.push(Block { language: String::new(), text: text.join("\n") });
            is_after_blank = true;
            continue;
        } else if let Some((_, heading)) =
            line.split_once("# ").filter(|(marks, _)| marks.chars().all(|c| c == '#'))
        {
            sections.push(new(heading));
        }
        is_after_blank = line.is_empty();
    }
    sections.retain(|section| section.blocks.iter().any(|block| block.language != "text"));
    sections
}

impl Section {
    /// All commands of the section, as one script.
    pub(crate) fn commands(&self) -> String {
        let blocks = self.blocks.iter().filter(|block| ["", "sh", "bash"].contains(&&*block.language));
        blocks.map(|block| format!("{}\n", block.text)).collect()
    }

    /// The blocks of a language.
    pub(crate) fn blocks(&self, language: &str) -> Vec<&str> {
        let blocks = self.blocks.iter().filter(|block| block.language == language);
        blocks.map(|block| &*block.text).collect()
    }

    /// The only block of a language.
    #[track_caller]
    pub(crate) fn block(&self, language: &str) -> &str {
        match self.blocks(language)[..] {
            [block] => block,
            ref blocks => panic!("{} blocks of {language} in {:?}", blocks.len(), self.heading),
        }
    }

    /// Languages that no test handles.
    pub(crate) fn unknown(&self) -> Vec<&str> {
        let known = ["", "sh", "bash", "toml", "rust", "json", "yaml", "dockerfile", "text", "js", "python"];
        let languages = self.blocks.iter().map(|block| &*block.language);
        languages.filter(|language| !known.contains(language)).collect()
    }
}
