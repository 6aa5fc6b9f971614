//! The console with `--admin-auth oauth`: access tokens of people who may decide.

use std::fs;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    auth::oauth::{claims_with, settings},
    support::{
        approvals::{AdminFolder, SLUG, TOOL, ticket_id},
        console::Browser,
        oauth_issuer::Issuer,
        process::run_cli,
        requests::{call_request, send_request},
        server::ServerProcess,
        token_signer::Signer,
    },
};

const CONSOLE: &str = "[console]\nrole = \"approver\"\nclaim = \"realm.roles\"\naudience = \"console\"\nname_claim = \"email\"\n";
const TENANT: &str = "[[tenant]]\nvalue = \"alice\"\nportkey_key = \"env:CARGO_PKG_NAME\"\n";

/// A server with a console, and the issuer of the tokens for both.
struct Fixture {
    issuer: Issuer,
    signer: Signer,
    admin: AdminFolder,
    _folder: TempDir,
    oauth_file: std::path::PathBuf,
    server: ServerProcess,
}

impl Fixture {
    async fn start() -> Self {
        let signer = Signer::es256("a");
        let issuer = Issuer::with_keys(&[signer.jwk()]).await;
        let folder = tempfile::tempdir().unwrap();
        let oauth_file = folder.path().join("oauth.toml");
        fs::write(&oauth_file, settings(&issuer, CONSOLE, TENANT)).unwrap();
        let admin = AdminFolder::new();
        let file = admin.file_path();
        let server = ServerProcess::http()
            .sandbox()
            .auth("oauth")
            .args(&[
                "--auth-file",
                oauth_file.to_str().unwrap(),
                "--approve-deletes",
            ])
            .args(&[
                "--admin-auth",
                "oauth",
                "--admin-listen",
                "0.0.0.0:0",
                "--admin-file",
                &file,
            ])
            .args(&["--admin-url", "https://approvals.example.com"])
            .start();
        Self {
            issuer,
            signer,
            admin,
            _folder: folder,
            oauth_file,
            server,
        }
    }

    /// Returns a token of an approver with this address, with changed claims.
    fn token(&self, email: &str, changes: Value) -> String {
        let mut claims = claims_with(
            &self.issuer,
            json!({
                "aud": "console", "sub": email, "email": email, "realm": { "roles": ["staff", "approver"] },
            }),
        );
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.signer.token(&claims)
    }

    /// Returns a browser behind a proxy that sends this token.
    fn browser(&self, token: &str) -> Browser {
        Browser::new(&self.admin).with_header("authorization", &format!("Bearer {token}"))
    }

    async fn signed_in(&self, email: &str) -> Browser {
        let mut browser = self.browser(&self.token(email, json!({})));
        browser.keep_session().await;
        browser
    }

    /// Makes a call that waits, and returns the id of its ticket.
    async fn wait_for_deletion(&self) -> String {
        let claims = claims_with(
            &self.issuer,
            json!({ "scope": "portkey:read portkey:write portkey:delete" }),
        );
        let request = call_request(&self.server, TOOL, json!({ "slug": SLUG }));
        let request = request.bearer_auth(self.signer.token(&claims));
        let (_, answer) = send_request(request).await;
        let text = answer["result"]["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("{answer}"));
        ticket_id(text)
    }
}

#[tokio::test]
async fn decision_is_recorded_with_the_name_in_the_token() {
    let fixture = Fixture::start().await;
    let id = fixture.wait_for_deletion().await;
    let dana = fixture.signed_in("dana@example.com").await;
    let inbox = dana.get("/").await;
    assert_eq!(inbox.status, StatusCode::OK, "{inbox:?}");
    assert!(inbox.html.contains("dana@example.com"), "{}", inbox.html);
    let decided = dana.decide(&id, "deny", &[]).await;
    assert_eq!(decided.status, StatusCode::SEE_OTHER, "{decided:?}");
    let (ok, shown, log) = fixture.admin.run_approvals(&["show", &id]);
    assert!(ok && shown.contains("dana@example.com"), "{shown}{log}");
}

#[tokio::test]
async fn only_tokens_of_approvers_reach_the_console() {
    struct Case {
        changes: Value,
        status: StatusCode,
    }

    let fixture = Fixture::start().await;
    let cases = [
        Case {
            changes: json!({}),
            status: StatusCode::SEE_OTHER,
        },
        Case {
            changes: json!({ "realm": { "roles": ["staff"] } }),
            status: StatusCode::FORBIDDEN,
        },
        Case {
            changes: json!({ "realm": { "roles": "approver" } }),
            status: StatusCode::SEE_OTHER,
        },
        Case {
            changes: json!({ "realm.roles": ["staff"] }),
            status: StatusCode::FORBIDDEN,
        },
        Case {
            changes: json!({ "email": " " }),
            status: StatusCode::FORBIDDEN,
        },
        Case {
            changes: json!({ "email": 7 }),
            status: StatusCode::FORBIDDEN,
        },
        Case {
            changes: json!({ "aud": "https://mcp.example.com/mcp" }),
            status: StatusCode::UNAUTHORIZED,
        },
        Case {
            changes: json!({ "aud": ["console", "https://mcp.example.com/mcp"] }),
            status: StatusCode::UNAUTHORIZED,
        },
        Case {
            changes: json!({ "aud": ["console", "other"] }),
            status: StatusCode::SEE_OTHER,
        },
        Case {
            changes: json!({ "exp": 1 }),
            status: StatusCode::UNAUTHORIZED,
        },
        Case {
            changes: json!({ "iss": "https://other.example.com" }),
            status: StatusCode::UNAUTHORIZED,
        },
    ];
    for Case { changes, status } in cases {
        let token = fixture.token("dana@example.com", changes.clone());
        for path in [
            "/sign-in",
            "/",
            "/calls/3f9a51",
            "/audit",
            "/changes",
            "/events",
        ] {
            let page = fixture.browser(&token).get(path).await;
            let expected = match (status, path) {
                (StatusCode::SEE_OTHER, "/events") => StatusCode::UNAUTHORIZED,
                (status, _) => status,
            };
            assert_eq!(page.status, expected, "{changes} {path} {page:?}");
            assert!(!page.html.contains(&token), "{page:?}");
        }
    }
}

#[tokio::test]
async fn other_ways_to_sign_in_are_closed() {
    let fixture = Fixture::start().await;
    let id = fixture.wait_for_deletion().await;
    let secret = fixture.admin.read_field("token");
    let mut browser = Browser::new(&fixture.admin);
    for path in ["/sign-in", "/", "/audit", &format!("/calls/{id}")] {
        assert_eq!(
            browser.get(path).await.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    let page = browser.sign_in(&secret, "Mallory").await;
    assert_eq!(
        (page.status, browser.cookie.is_none()),
        (StatusCode::UNAUTHORIZED, true)
    );
    // Two tokens, of which one may be the client's own.
    let dana = fixture.token("dana@example.com", json!({}));
    let eve = fixture.token("eve@example.com", json!({ "realm": {} }));
    let mixed = fixture
        .browser(&dana)
        .with_header("x-forwarded-access-token", &eve);
    assert_eq!(mixed.get("/sign-in").await.status, StatusCode::UNAUTHORIZED);
    // The cookie of one person does not serve another.
    let signed_in = fixture.signed_in("dana@example.com").await;
    let mut other = fixture.browser(&fixture.token("erin@example.com", json!({})));
    other.cookie = signed_in.cookie.clone();
    let page = other.get("/").await;
    assert_eq!(page.location.as_deref(), Some("/sign-in"), "{page:?}");
    // A cookie without a token serves nobody.
    let mut stolen = Browser::new(&fixture.admin);
    stolen.cookie = signed_in.cookie.clone();
    assert_eq!(stolen.get("/").await.status, StatusCode::UNAUTHORIZED);
    // Programs on the machine of the server use the token of the file.
    let (ok, listed, log) = fixture.admin.run_approvals(&["list"]);
    assert!(ok && listed.contains(TOOL), "{listed}{log}");
}

#[tokio::test]
async fn change_of_the_file_withdraws_the_console() {
    let fixture = Fixture::start().await;
    let dana = fixture.signed_in("dana@example.com").await;
    let file = &fixture.oauth_file;
    fs::write(
        file,
        settings(
            &fixture.issuer,
            &CONSOLE.replace("approver", "other"),
            TENANT,
        ),
    )
    .unwrap();
    let mut server = fixture.server;
    server.read_until("reloaded");
    assert_eq!(dana.get("/").await.status, StatusCode::FORBIDDEN);
}

/// Each case: options, and words of the error.
#[test]
fn start_fails_without_what_the_console_needs() {
    struct Case {
        options: &'static [&'static str],
        words: &'static str,
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oauth.toml");
    let text = format!(
        "resource = \"https://mcp.example.com/mcp\"\nissuer = \"https://id.example.com\"\n{TENANT}"
    );
    fs::write(&file, &text).unwrap();
    let broken = folder.path().join("broken.toml");
    fs::write(
        &broken,
        text.replace(
            "[[tenant]]",
            "[console]\nrole = \" \"\naudience = \"c\"\n[[tenant]]",
        ),
    )
    .unwrap();
    let (file, broken) = (file.to_str().unwrap(), broken.to_str().unwrap());
    let cases = [
        Case {
            options: &["--admin-listen", "0.0.0.0:0"],
            words: "--admin-auth oauth",
        },
        Case {
            options: &["--admin-listen", "0.0.0.0:0", "--admin-auth", "oauth"],
            words: "--admin-url",
        },
        Case {
            options: &["--admin-listen", "127.0.0.1:0", "--admin-auth", "oauth"],
            words: "[console]",
        },
    ];
    for Case { options, words } in cases {
        let auth = [
            "http",
            "--sandbox",
            "--listen",
            "127.0.0.1:0",
            "--auth",
            "oauth",
            "--auth-file",
            file,
        ];
        let (ok, _, log) = run_cli(&[&auth[..], options].concat());
        assert!(!ok && log.contains(words), "{options:?}: {log}");
    }
    let auth = [
        "http",
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--auth",
        "oauth",
        "--auth-file",
        broken,
    ];
    let (ok, _, log) = run_cli(&auth);
    assert!(!ok && log.contains("line 4: role and audience"), "{log}");
    let shared = folder.path().join("shared.toml");
    let console = "[console]\nrole = \"r\"\naudience = \"https://mcp.example.com/mcp\"\n[[tenant]]";
    fs::write(&shared, text.replace("[[tenant]]", console)).unwrap();
    let auth = auth.map(|arg| {
        if arg == broken {
            shared.to_str().unwrap()
        } else {
            arg
        }
    });
    let (ok, _, log) = run_cli(&auth);
    assert!(
        !ok && log.contains("line 5: audience of [console]"),
        "{log}"
    );
    // The one process of a client has no issuer.
    let stdio = [
        "stdio",
        "--sandbox",
        "--approve-deletes",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-auth",
        "oauth",
    ];
    let (ok, _, log) = run_cli(&stdio);
    assert!(!ok && log.contains("--auth oauth"), "{log}");
}
