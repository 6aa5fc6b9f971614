//! Files of projects, which other machines read.

use super::Home;

/// A file of a project is read on other machines.
#[test]
fn project_file_names_files_from_the_folder_of_the_project() {
    struct Case {
        client: &'static str,
        file: &'static str,
        /// Name of the policy in the file; without one it is the path on this machine.
        policy: Option<&'static str>,
    }
    let cases = [
        Case {
            client: "claude-code",
            file: ".mcp.json",
            policy: Some("${CLAUDE_PROJECT_DIR:-.}/rules/policy.yaml"),
        },
        Case {
            client: "cursor",
            file: ".cursor/mcp.json",
            policy: Some("${workspaceFolder}/rules/policy.yaml"),
        },
        Case {
            client: "vscode",
            file: ".vscode/mcp.json",
            policy: Some("${workspaceFolder}/rules/policy.yaml"),
        },
        Case {
            client: "gemini",
            file: ".gemini/settings.json",
            policy: None,
        },
    ];
    for case in cases {
        let home = Home::new();
        let args = [case.client, "--project", "--yes", "--policy"];
        let run = home.setup(&[&args[..], &["rules/policy.yaml"]].concat());
        let text = home.read(case.file);
        let folder = home.0.path().canonicalize().unwrap();
        let local = folder.join("rules/policy.yaml");
        let local = local.to_str().unwrap();
        let expected = format!("\"{}\"", case.policy.unwrap_or(local));
        assert!(text.contains(&expected), "{}: {text}", case.client);
        let is_warned = run.out.contains("others who use this file need");
        assert_eq!(is_warned, case.policy.is_none(), "{}", run.out);

        // Outside of the project nothing else can be written, and without --project nothing else is needed.
        let run = home.setup(&[&args[..], &["../policy.yaml"]].concat());
        assert!(
            run.out.contains("others who use this file need"),
            "{}",
            run.out
        );
        let run = home.setup(&[case.client, "--print", "--policy", "rules/policy.yaml"]);
        assert!(run.out.contains(local), "{}", run.out);
    }
}
