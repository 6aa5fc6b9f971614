//! Prompts: the built-in ones are valid, custom ones are validated, and clients get them with their
//! arguments.

use std::fs;

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::{
    prompts::{PromptLibrary, PromptTemplate},
    surface::find_builtin,
};
use portkey_operation::ToolNames;
use rmcp::{
    ServiceError,
    model::{ErrorCode, GetPromptRequestParams},
};
use serde_json::{Value, json};

use crate::support::{
    official_client::connect_everywhere,
    process::run_cli,
    requests::{send_request, stateless_request},
    server::{ServerProcess, serve_sandbox},
};

const CUSTOM_PROMPT: &str = "---\nname: own\ntitle: Own\ndescription: Of ours.\narguments:\n  - name: who\n    \
                   description: Whom.\n    required: true\n  - name: how\n    description: How.\n    \
                   default: well\n---\nGreet {{who}} {{ how }}, then {{who}} again.\n";

#[test]
fn built_in_prompts_name_existing_tools() {
    let library = PromptLibrary::built_in();
    let catalog = Catalog::full();
    assert_eq!(library.iter().count(), 9);
    for prompt in library.iter() {
        let mut tools = 0;
        let mut workflows = 0;
        for name in prompt.mentioned_tools() {
            if let Some(own) = find_builtin(name) {
                workflows += 1;
                assert_eq!(own.operation.name(), name);
                continue;
            }
            let entry = catalog
                .find(name)
                .unwrap_or_else(|e| panic!("{}: {e}", prompt.name()));
            assert_eq!(
                entry.operation.name(),
                name,
                "{} has an alias",
                prompt.name()
            );
            tools += 1;
        }
        assert!(workflows > 0, "{} names no workflow", prompt.name());
        assert!(tools > 5, "{} names {tools} tools", prompt.name());
        assert!(prompt.description().len() < 160 && prompt.title().len() < 60);
        for argument in prompt.arguments() {
            assert_ne!(
                argument.required,
                argument.default.is_some(),
                "{}",
                argument.name
            );
        }
        let text = prompt
            .render(&fill_arguments(prompt), ToolNames::Hyphen)
            .unwrap();
        assert!(
            !text.contains("{{") && text.len() < 4_000,
            "{}: {text}",
            prompt.name()
        );
    }
}

#[test]
fn prompt_reference_lists_every_prompt_and_argument() {
    let text = fs::read_to_string("docs/prompts.md").unwrap();
    for prompt in PromptLibrary::built_in().iter() {
        let (_, section) = text
            .split_once(&format!("### `{}`\n", prompt.name()))
            .unwrap();
        let section = section.split("\n#").next().unwrap();
        assert!(section.contains(prompt.description()), "{}", prompt.name());
        for argument in prompt.arguments() {
            let needed = if argument.required { "yes" } else { "no" };
            let row = format!(
                "| `{}` | {needed} | {}",
                argument.name, argument.description
            );
            assert!(section.contains(&row), "{}: {row}", prompt.name());
        }
        let rows = section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .count();
        assert_eq!(rows, prompt.arguments().len(), "{}", prompt.name());
    }
}

/// Returns every argument with its own name as the value.
fn fill_arguments(prompt: &PromptTemplate) -> serde_json::Map<String, Value> {
    let names = prompt
        .arguments()
        .iter()
        .map(|argument| argument.name.clone());
    names
        .map(|name| (name.clone(), Value::from(name)))
        .collect()
}

#[test]
fn invalid_prompt_file_is_reported_with_its_line() {
    struct Case {
        text: String,
        line: usize,
        reason: &'static str,
    }

    let front = |more: &str, body: &str| {
        format!("---\nname: a\ntitle: A\ndescription: An a.\n{more}---\n{body}")
    };
    let argument = "arguments:\n  - name: x\n    description: X.\n";
    let cases = [
        Case {
            text: String::new(),
            line: 1,
            reason: "front matter",
        },
        Case {
            text: "Just text.".to_owned(),
            line: 1,
            reason: "front matter",
        },
        Case {
            text: "---\nname: a\n".to_owned(),
            line: 1,
            reason: "no end",
        },
        Case {
            text: "---\ntitle: A\ndescription: B\n---\nText.".to_owned(),
            line: 2,
            reason: "name",
        },
        Case {
            text: front("colour: red\n", "Text."),
            line: 5,
            reason: "colour",
        },
        Case {
            text: front("title: [\n", "Text."),
            line: 5,
            reason: "",
        },
        Case {
            text: front("", ""),
            line: 1,
            reason: "empty",
        },
        Case {
            text: front("", "One.\nTwo {{y}}."),
            line: 7,
            reason: "`{{y}}`",
        },
        // The text in between would be lost.
        Case {
            text: front(argument, "{{x}}\n{{\nTwo.\n}}"),
            line: 10,
            reason: "not closed",
        },
        Case {
            text: front(argument, "{{x}} {{x"),
            line: 9,
            reason: "not closed",
        },
        Case {
            text: front(argument, "Text."),
            line: 1,
            reason: "`x` is never used",
        },
        Case {
            text: front(&format!("{argument}    needed: true\n"), "{{x}}"),
            line: 8,
            reason: "needed",
        },
        Case {
            text: front(&format!("{argument}    completes: dogs\n"), "{{x}}"),
            line: 1,
            reason: "dogs",
        },
        Case {
            text: front(
                &format!("{argument}  - name: x\n    description: X.\n"),
                "{{x}}",
            ),
            line: 1,
            reason: "twice",
        },
        Case {
            text: front("", "Text.").replace("name: a", "name: A b"),
            line: 1,
            reason: "`name`",
        },
    ];
    for Case { text, line, reason } in cases {
        let error = PromptTemplate::parse(&text).unwrap_err();
        assert!(error.reason.contains(reason), "{text:?}: {error}");
        assert!(
            error.line.abs_diff(line) <= 1,
            "{text:?}: {error}, not {line}"
        );
    }
}

#[test]
fn prompt_arguments_are_sanitized_and_validated() {
    let own = PromptTemplate::parse(CUSTOM_PROMPT).unwrap();
    let long = "x".repeat(1_001);
    let cases = [
        (
            json!({ "who": "Ada" }),
            Ok("Greet Ada well, then Ada again."),
        ),
        (
            json!({ "who": "Ada", "how": "" }),
            Ok("Greet Ada well, then Ada again."),
        ),
        (
            json!({ "who": "A\u{7}d\u{202e}a\n\nx", "how": "so" }),
            Ok("Greet Ada x so, then Ada x again."),
        ),
        (
            json!({ "who": "{{how}}" }),
            Ok("Greet {{how}} well, then {{how}} again."),
        ),
        (json!({}), Err("`who`")),
        (json!({ "who": " \n" }), Err("`who`")),
        (json!({ "who": 5 }), Err("`who`")),
        (json!({ "who": long }), Err("1000")),
        (json!({ "who": "Ada", "whom": "Bob" }), Err("`who`, `how`")),
    ];
    for (args, expected) in cases {
        match (
            own.render(args.as_object().unwrap(), ToolNames::Hyphen),
            expected,
        ) {
            (Ok(text), Ok(expected)) => assert_eq!(text, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (outcome, _) => panic!("{args}: {outcome:?}"),
        }
    }
}

#[test]
fn custom_prompts_are_loaded_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("own.md", CUSTOM_PROMPT);
    write(
        "ours.md",
        &CUSTOM_PROMPT.replace("name: own", "name: weekly-digest"),
    );
    write("notes.txt", "not one of them");
    let library = PromptLibrary::watch_folder(folder.path()).unwrap();
    let library = library.get();
    assert_eq!(library.iter().count(), 10);
    assert_eq!(library.find("weekly-digest").unwrap().title(), "Own");
    assert_eq!(library.find("own").unwrap().title(), "Own");
    write("twice.md", CUSTOM_PROMPT);
    let error = format!(
        "{:#}",
        PromptLibrary::watch_folder(folder.path()).unwrap_err()
    );
    assert!(
        error.contains("twice.md") && error.contains("own.md"),
        "{error}"
    );
    write(
        "twice.md",
        "---\nname: b\ntitle: B\ndescription: B.\nwrong: 1\n---\nText.\n",
    );
    let (ok, _, stderr) = run_cli(&["--sandbox", "--prompts", folder.path().to_str().unwrap()]);
    assert!(
        !ok && stderr.contains("twice.md") && stderr.contains("line 5"),
        "{stderr}"
    );
}

/// Files can change, appear and disappear. An invalid file is reported, and the previous version
/// stays.
#[test]
fn custom_prompts_are_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("own.md"), CUSTOM_PROMPT).unwrap();
    let mut server = serve_sandbox(&["--prompts", folder.path().to_str().unwrap()]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let titles = |server: &ServerProcess| {
        let (_, body) = runtime.block_on(send_request(stateless_request(
            server,
            "prompts/list",
            json!({}),
        )));
        let prompts = body["result"]["prompts"].as_array().unwrap().clone();
        let own = |prompt: &Value| prompt["name"].as_str().unwrap().starts_with("own");
        let own = prompts
            .into_iter()
            .filter(own)
            .map(|prompt| prompt["title"].clone());
        assert_eq!(
            body["result"]["prompts"].as_array().unwrap().len() - own.clone().count(),
            9
        );
        own.collect::<Vec<_>>()
    };
    assert_eq!(titles(&server), ["Own"]);
    fs::write(
        path("own.md"),
        CUSTOM_PROMPT.replace("title: Own", "title: Changed"),
    )
    .unwrap();
    server.read_until("reloaded the changed file");
    assert_eq!(titles(&server), ["Changed"]);
    fs::write(
        path("second.md"),
        CUSTOM_PROMPT.replace(": own", ": own-second"),
    )
    .unwrap();
    server.read_until("reloaded the changed file");
    assert_eq!(titles(&server), ["Changed", "Own"]);
    fs::write(path("own.md"), CUSTOM_PROMPT.replace("{{who}}", "{{whom}}")).unwrap();
    // The file may be read while it is still empty.
    while !server
        .read_until("the previous content remains in use")
        .contains("own.md: line 13: `{{whom}}`")
    {}
    assert_eq!(titles(&server), ["Changed", "Own"]);
    fs::remove_file(path("own.md")).unwrap();
    server.read_until("reloaded the changed file");
    assert_eq!(titles(&server), ["Own"]);
}

#[tokio::test]
async fn clients_list_and_get_prompts() {
    struct Case {
        name: &'static str,
        args: Value,
        part: &'static str,
    }

    for connected in connect_everywhere(&["--sandbox"], &[]).await {
        let client = &connected.client;
        let way = connected.way;
        let prompts = client.list_all_prompts().await.unwrap();
        assert_eq!(prompts.len(), 9, "{way}");
        let rotate = prompts
            .iter()
            .find(|prompt| prompt.name == "rotate-api-keys")
            .unwrap();
        let arguments = rotate.arguments.as_ref().unwrap();
        let listed: Vec<_> = arguments
            .iter()
            .map(|one| (&*one.name, one.required))
            .collect();
        assert_eq!(
            listed,
            [("workspace", Some(true)), ("older_than_days", Some(false))],
            "{way}"
        );
        let get = |name: &str, args: Value| {
            let args = args.as_object().unwrap().clone();
            client.get_prompt(GetPromptRequestParams::new(name).with_arguments(args))
        };
        let got = get("rotate-api-keys", json!({ "workspace": "ws-shared" }))
            .await
            .unwrap();
        let text = serde_json::to_value(&got.messages[0]).unwrap();
        assert_eq!(text["role"], "user", "{way}");
        let text = text["content"]["text"].as_str().unwrap();
        assert!(
            text.contains("\"ws-shared\"") && text.contains("`rotate-api-key`"),
            "{text}"
        );
        for Case { name, args, part } in [
            Case {
                name: "rotate-api-keys",
                args: json!({}),
                part: "`workspace`",
            },
            Case {
                name: "rotate-api-keys",
                args: json!({ "workspace": "w", "key": "k" }),
                part: "no argument",
            },
            Case {
                name: "no-such-prompt",
                args: json!({}),
                part: "no such prompt",
            },
        ] {
            let Err(ServiceError::McpError(error)) = get(name, args).await else {
                panic!("{way}")
            };
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{way}: {error}");
            assert!(error.message.contains(part), "{way}: {error}");
        }
    }
}

#[tokio::test]
async fn prompt_without_any_available_tool_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("own.md"), CUSTOM_PROMPT).unwrap();
    let own = folder.path().to_str().unwrap();
    for (left, expected) in [("prompts", true), ("collections", false)] {
        let args = ["--sandbox", "--toolsets", left, "--prompts", own];
        for connected in connect_everywhere(&args, &[]).await {
            let prompts = connected.client.list_all_prompts().await.unwrap();
            let has = |name: &str| prompts.iter().any(|prompt| prompt.name == name);
            assert_eq!(has("promote-prompt"), expected, "{}, {left}", connected.way);
            // A prompt that names no tool is available to everybody.
            assert!(
                has("own") && !has("monthly-showback"),
                "{}, {left}",
                connected.way
            );
            let args = json!({ "prompt": "p" }).as_object().unwrap().clone();
            let request = GetPromptRequestParams::new("promote-prompt").with_arguments(args);
            let got = connected.client.get_prompt(request).await;
            assert_eq!(got.is_ok(), expected, "{}, {left}", connected.way);
        }
    }
}
