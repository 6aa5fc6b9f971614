//! The OAuth settings file and its errors.

use std::{fs, path::Path};

use portkey_api::catalog::Catalog;
use portkey_mcp::auth::{
    oauth::OAuthConfig,
    principal::{Credentials, MissingKey},
};

use super::TOOLSETS;

const HEAD: &str =
    "resource = \"https://mcp.example.com/mcp\"\nissuer = \"https://login.example.com\"\n";
const TENANT: &str = "[[tenant]]\nvalue = \"a\"\nportkey_key = \"env:CARGO_PKG_NAME\"\n";

#[test]
fn complete_file_is_parsed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "pk-planted-secret\n").unwrap();
    let file = key.to_str().unwrap();
    let text = format!(
        "resource = \"http://localhost:8787/mcp\"
        issuer = \"http://[::1]:9000/realms/one\"
        audiences = [\"api://portkey-mcp\"]
        leeway_seconds = 300
        scopes_supported = [\"openid\", \"portkey:read\"]
        [introspection]
        url = \"https://login.example.com/introspect?tenant=1\"
        client_id = \"mcp\"
        client_secret = \"file:{file}\"
        [[tenant]]
        claim = \"org.id\"
        value = \"acme\"
        name = \"acme\"
        portkey_key = \"file:{file}\"
        enkrypt_key = \"env:CARGO_PKG_NAME\"
        toolsets = [\"prompts\"]
        scopes = [\"portkey:read\", \"portkey:prompts:write\"]
        policy = \"own.yaml\""
    );
    let policy = folder.path().join("own.yaml");
    fs::write(&policy, "version: '1'").unwrap();
    let config = OAuthConfig::parse(&text, folder.path(), TOOLSETS, None).unwrap();
    assert_eq!(config.files(), [key.clone(), key.clone(), policy]);
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("planted") && shown.contains(&format!("file:{file}")),
        "{shown}"
    );
}

#[test]
fn invalid_file_is_reported_with_its_line() {
    struct Case {
        text: String,
        line: usize,
        words: &'static str,
    }

    let with = |line: &str| format!("{HEAD}{line}\n{TENANT}");
    let tenant = |line: &str| format!("{HEAD}{TENANT}{line}\n");
    let resource = |uri: &str| format!("issuer = \"https://a\"\nresource = \"{uri}\"\n{TENANT}");
    let introspection = |more: &str, id: &str| {
        let url = "url = \"https://a\"\nclient_secret = \"env:CARGO_PKG_NAME\"";
        format!("{HEAD}{more}[introspection]\nclient_id = \"{id}\"\n{url}\n{TENANT}")
    };
    for Case { text, line, words } in [
        Case {
            text: "resource".to_owned(),
            line: 1,
            words: "expected",
        },
        Case {
            text: HEAD.to_owned(),
            line: 1,
            words: "there is no [[tenant]]",
        },
        Case {
            text: format!("issuer = \"https://a\"\n{TENANT}"),
            line: 1,
            words: "missing field `resource`",
        },
        Case {
            text: with("audience = \"x\""),
            line: 3,
            words: "unknown field `audience`",
        },
        Case {
            text: tenant("key = \"x\""),
            line: 6,
            words: "unknown field `key`",
        },
        Case {
            text: resource("mcp"),
            line: 2,
            words: "give one such as",
        },
        Case {
            text: resource("http://mcp.example.com/"),
            line: 2,
            words: "only https",
        },
        Case {
            text: resource("ftp://mcp.example.com/"),
            line: 2,
            words: "only https",
        },
        Case {
            text: resource("https://mcp.example.com/#a"),
            line: 2,
            words: "fragment",
        },
        Case {
            text: resource("https://me:pw@mcp.example.com/"),
            line: 2,
            words: "password",
        },
        Case {
            text: resource("https://mcp.example.com/?a=b"),
            line: 2,
            words: "query",
        },
        Case {
            text: with("jwks_url = \"http://keys.example.com\""),
            line: 3,
            words: "only https",
        },
        Case {
            text: with("jwks_url = \"http://localhost.example.com\""),
            line: 3,
            words: "only https",
        },
        Case {
            text: with("audiences = [\"\"]"),
            line: 3,
            words: "an audience is empty",
        },
        Case {
            text: with("algorithms = []"),
            line: 3,
            words: "at least one",
        },
        Case {
            text: with("algorithms = [\"none\"]"),
            line: 3,
            words: "choose among RS256",
        },
        Case {
            text: with("algorithms = [\"RS256\", \"HS256\"]"),
            line: 3,
            words: "choose among RS256",
        },
        Case {
            text: with("leeway_seconds = 301"),
            line: 3,
            words: "at most 300",
        },
        Case {
            text: with("leeway_seconds = -1"),
            line: 3,
            words: "invalid value",
        },
        Case {
            text: with("scopes_supported = [\"portkey:read write\"]"),
            line: 3,
            words: "no blanks",
        },
        Case {
            text: introspection("jwks_url = \"https://a\"\n", "a"),
            line: 5,
            words: "leave out",
        },
        Case {
            text: introspection("algorithms = [\"RS256\"]\n", "a"),
            line: 5,
            words: "leave out",
        },
        Case {
            text: introspection("", " "),
            line: 4,
            words: "client_id is empty",
        },
        Case {
            text: tenant("enkrypt_key = \"env:NO_SUCH_VARIABLE_HERE\""),
            line: 6,
            words: "NO_SUCH_VARIABLE_HERE is not set",
        },
        Case {
            text: tenant("enkrypt_key = \"file:/no/such/file\""),
            line: 6,
            words: "/no/such/file",
        },
        Case {
            text: tenant("enkrypt_key = \"pk-planted-secret\""),
            line: 6,
            words: "env:VARIABLE or file:PATH",
        },
        Case {
            text: tenant("enkrypt_key = pk-planted-secret"),
            line: 6,
            words: "string",
        },
        Case {
            text: tenant("toolsets = [\"prompt\"]"),
            line: 6,
            words: "there is no toolset `prompt`",
        },
        Case {
            text: tenant("scopes = [\"portkey:all\"]"),
            line: 6,
            words: "`portkey:all`: it is no scope",
        },
        Case {
            text: tenant("scopes = [\"portkey:prompt:read\"]"),
            line: 6,
            words: "there is no toolset `prompt`",
        },
        Case {
            text: tenant("name = \"a\\nb\""),
            line: 6,
            words: "1 to 64 letters",
        },
        Case {
            text: tenant("scopes = []"),
            line: 6,
            words: "could do nothing",
        },
        Case {
            text: tenant("policy = \"no-such.yaml\""),
            line: 6,
            words: "no-such.yaml",
        },
        Case {
            text: format!("{HEAD}{}", TENANT.replace("\"a\"", "\"\"")),
            line: 4,
            words: "value is empty",
        },
    ] {
        let error = OAuthConfig::parse(&text, Path::new(""), TOOLSETS, None)
            .unwrap_err()
            .to_string();
        let expected = format!("line {line}: ");
        assert!(
            error.starts_with(&expected) && error.contains(words),
            "{text}\n{error}"
        );
        assert!(!error.contains("planted"), "{error}");
    }
}

#[test]
fn documented_example_is_valid() {
    let text = fs::read_to_string("docs/authentication.md").unwrap();
    let examples = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let whole: Vec<_> = examples
        .filter(|example| example.contains("issuer = "))
        .collect();
    assert_eq!(whole.len(), 1);
    let anyone = Credentials {
        portkey: None,
        enkrypt: None,
        missing_key: MissingKey::Caller,
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auditors.yaml"), "version: '1'").unwrap();
    OAuthConfig::parse(whole[0], folder.path(), &Catalog::domains(), Some(&anyone)).unwrap();
}
