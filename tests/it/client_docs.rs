//! The pages about clients: every block parses, every command is accepted, and every entry is the one that `setup`
//! writes.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::support::process::command;

const FOLDER: &str = "docs/clients";

/// Objects that hold servers.
const SERVERS: [&str; 4] = ["mcpServers", "servers", "context_servers", "mcp_servers"];

/// A code block of a page.
struct Block {
    language: String,
    text: String,
}

fn pages() -> BTreeMap<String, String> {
    let entries = fs::read_dir(FOLDER).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open = None::<Block>;
    for line in page.lines() {
        match (line.trim().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text += line.trim_start();
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

fn parse(block: &Block) -> Option<Value> {
    match block.language.as_str() {
        "json" => Some(serde_json::from_str(&block.text).unwrap()),
        "toml" => Some(toml::from_str(&block.text).unwrap()),
        _ => None,
    }
}

/// Returns the entry of this server.
fn entry(file: &Value) -> &Value {
    let servers = SERVERS.iter().find_map(|name| file.get(name)).unwrap();
    &servers["portkey"]
}

#[track_caller]
fn assert_accepted(page: &str, args: &[&str]) {
    let words = std::iter::once("portkey-mcp").chain(args.iter().copied());
    if let Err(error) = portkey_mcp::cli::command().try_get_matches_from(words) {
        panic!("{page}: {args:?}: {error}");
    }
}

#[test]
fn entries_of_client_pages_are_accepted_by_the_server() {
    let mut count = 0;
    for (name, page) in pages() {
        for block in blocks(&page) {
            let args = match (parse(&block), block.language.as_str()) {
                (Some(file), _) => entry(&file)["args"].clone(),
                (None, "python") => match block.text.split_once("\"args\": ") {
                    Some((_, rest)) => {
                        let end = rest.find(']').unwrap();
                        serde_json::from_str(&rest[..=end]).unwrap()
                    }
                    None => Value::Null,
                },
                _ => continue,
            };
            // An entry for HTTP has none.
            let Some(args) = args.as_array() else {
                continue;
            };
            let args: Vec<_> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
            assert_accepted(&name, &args);
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} entries are checked");
}

#[test]
fn commands_of_client_pages_are_accepted() {
    let mut count = 0;
    let mut pages = pages();
    let more = fs::read_to_string("docs/troubleshooting.md").unwrap();
    pages.insert("troubleshooting".to_owned(), more);
    for (name, page) in pages {
        for block in blocks(&page)
            .into_iter()
            .filter(|block| ["sh", "console"].contains(&block.language.as_str()))
        {
            let text = block.text.replace("\\\n", " ");
            let lines = text.lines().map(|line| line.trim_start_matches("$ "));
            for line in lines.filter_map(|line| line.strip_prefix("portkey-mcp ")) {
                let line = line.split(" #").next().unwrap_or_default();
                let args: Vec<_> = line.split_whitespace().collect();
                assert_accepted(&name, &args);
                count += 1;
            }
        }
    }
    assert!(count >= 14, "only {count} commands are checked");
}

/// The blocks of a page are what `setup --print` prints: the first for stdio, the second for HTTP.
#[test]
fn entries_of_client_pages_are_those_that_setup_writes() {
    const HTTP: &[&str] = &[
        "--url",
        "https://mcp.example.com/mcp",
        "--token",
        "reference",
    ];
    let home = tempfile::tempdir().unwrap();
    let printed = |client: &str, args: &[&str]| {
        let mut setup = command(&[&["setup", client, "--print"], args].concat());
        let output = setup.env("HOME", home.path()).output().unwrap();
        assert!(output.status.success(), "{client}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.replace(env!("CARGO_BIN_EXE_portkey-mcp"), "portkey-mcp")
    };
    for (client, page, has_http) in [
        ("claude-desktop", "claude-desktop", false),
        ("claude-code", "claude-code", true),
        ("cursor", "cursor", true),
        ("vscode", "vscode", true),
        ("codex", "codex", true),
        ("gemini", "gemini", true),
        ("windsurf", "windsurf", true),
        // The token stands in their files.
        ("zed", "zed", false),
        ("cline", "cline", false),
        ("jetbrains", "jetbrains", false),
    ] {
        let path = Path::new(FOLDER).join(page).with_extension("md");
        let files: Vec<_> = blocks(&fs::read_to_string(path).unwrap())
            .iter()
            .filter_map(|block| Some((block.language.clone(), parse(block)?)))
            .collect();
        let mut cases = vec![(0, printed(client, &[]))];
        if has_http {
            cases.push((1, printed(client, HTTP)));
        }
        for (number, text) in cases {
            let (language, shown) = &files[number];
            let written = parse(&Block {
                language: language.clone(),
                text,
            });
            assert_eq!(written.as_ref(), Some(shown), "{page}");
        }
    }
}

#[test]
fn every_client_page_is_listed() {
    let list = fs::read_to_string("docs/clients/README.md").unwrap();
    let readme = fs::read_to_string("README.md").unwrap();
    for name in pages().keys().filter(|name| *name != "README") {
        assert!(list.contains(&format!("]({name}.md)")), "{name}");
        assert!(
            readme.contains(&format!("](docs/clients/{name}.md)")),
            "{name}"
        );
    }
}
