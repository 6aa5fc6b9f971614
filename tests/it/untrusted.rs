//! Untrusted text: removed characters, preserved characters, and the mark of untrusted content.

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::surface::find_builtin,
    security::sanitize::{sanitize_text, sanitize_value},
};
use portkey_operation::Operation;
use serde_json::{Value, json};
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::support::{
    official_client::connect_everywhere,
    upstream::{MockUpstream, json_response},
};

/// Texts that stay unchanged.
const UNCHANGED_TEXTS: &[&str] = &[
    "",
    "plain text,\n\twith lines and tabs",
    "Ünïcödé, Ελληνικά, Кириллица, 中文，日本語、한국어, עברית, العربية, ไทย",
    // A family, a pilot, a heart on fire, a rainbow flag, a couple of two tones, a keycap, a national flag.
    "👨‍👩‍👧‍👦 👩🏽‍✈️ ❤️‍🔥 🏳️‍🌈 👩🏻‍❤️‍💋‍👨🏿 1️⃣ #️⃣ 🇩🇪 ☎︎ ☎️ ™️ ↔️",
    // Wales and Scotland, spelt with tags.
    "🏴\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f} 🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    // Persian "I want" with a joint that does not join, Hindi with both, Bengali, Sinhala.
    "می\u{200c}خواهم",
    "क्\u{200d}ष क्\u{200c}ष श्री\u{200d}",
    "র\u{200d}\u{9cd}য",
    "ශ්\u{200d}රී ලංකා",
    // Format characters that are visible.
    "\u{600}123 \u{6dd}45",
    // An ideographic variation, Mongolian with a selector, old Korean with a filler.
    "葛\u{e0100}城 \u{1820}\u{180b} \u{1160}\u{11a8} \u{1102}\u{1160}",
    "non\u{a0}breaking, thin\u{2009}, ideographic\u{3000}",
];

/// Characters that a model reads and a human does not see.
const SANITIZED_TEXTS: &[(&str, &str)] = &[
    ("a\u{0}b\u{7}c\u{1b}[31m\u{7f}\u{9b}d\r\n", "abc[31md\n"),
    // Bidirectional controls, in code and in names.
    ("user\u{202e}nimda\u{202c}", "usernimda"),
    ("a\u{2066}b\u{2069}c\u{200e}d\u{200f}e\u{61c}f", "abcdef"),
    // Zero-width characters, inside words and at their ends.
    ("pass\u{200b}word\u{feff}\u{2060}\u{ad}", "password"),
    ("sk\u{200d}-\u{200c}x", "sk-x"),
    ("\u{200d}👍\u{200d}", "👍"),
    ("م\u{200c}\u{200c}\u{200c}ن", "م\u{200c}ن"),
    // An instruction in tag characters, alone and appended to a flag.
    (
        "hi\u{e0001}\u{e0069}\u{e0067}\u{e006e}\u{e006f}\u{e0072}\u{e0065}\u{e007f}",
        "hi",
    ),
    (
        "🏴\u{e0064}\u{e0072}\u{e006f}\u{e0070}\u{e0021}\u{e007f}",
        "🏴",
    ),
    (
        "🏴\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}\u{e0061}",
        "🏴\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
    ),
    // Bytes encoded in variation selectors.
    ("😊\u{fe0f}\u{fe01}\u{fe02}\u{e0110}\u{e0120}", "😊\u{fe0f}"),
    ("a\u{fe0f}b\u{fe00}c\u{e0100}", "abc"),
    ("葛\u{e0100}\u{e0101}", "葛\u{e0100}"),
    // Letters without a glyph.
    ("a\u{3164}b\u{ffa0}c\u{115f}d\u{34f}e\u{17b4}", "abcde"),
    ("one\u{2028}two\u{2029}three", "one\ntwo\nthree"),
    ("\u{fff9}a\u{fffa}b\u{fffb}", "ab"),
];

#[test]
fn text_is_sanitized_of_invisible_characters() {
    for text in UNCHANGED_TEXTS {
        assert_eq!(sanitize_text(text), None, "{text}");
    }
    for (text, expected) in SANITIZED_TEXTS {
        assert_eq!(
            sanitize_text(text).as_deref(),
            Some(*expected),
            "{}",
            text.escape_unicode()
        );
        assert_eq!(
            sanitize_text(expected),
            None,
            "{}",
            expected.escape_unicode()
        );
    }
}

/// Every character by itself between letters.
#[test]
fn isolated_invisible_character_is_removed() {
    for c in ('\u{80}'..=char::MAX).chain('\0'..='\u{1f}') {
        let text = format!("a{c}b");
        let stays = sanitize_text(&text).is_none();
        let unseen = matches!(
            get_general_category(c),
            GeneralCategory::Control | GeneralCategory::Format
        );
        let sign = matches!(
            c,
            '\n' | '\t' | '\u{600}'
                ..='\u{605}'
                    | '\u{6dd}'
                    | '\u{70f}'
                    | '\u{890}'
                    | '\u{891}'
                    | '\u{8e2}'
                    | '\u{110bd}'
                    | '\u{110cd}'
        );
        assert!(!(unseen && !sign && stays), "{} stays", c.escape_unicode());
        // Letters, numbers and marks of living scripts are never removed.
        let letter =
            c.is_alphanumeric() && !matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
        assert!(stays || !letter, "{} goes", c.escape_unicode());
    }
}

#[test]
fn results_are_sanitized_at_every_depth() {
    let mut answer =
        json!({ "a\u{202e}": ["x\u{200b}", { "b": "y\u{e0041}", "n": 1 }], "c": null });
    sanitize_value(&mut answer);
    assert_eq!(
        answer,
        json!({ "a": ["x", { "b": "y", "n": 1 }], "c": null })
    );
    assert_eq!(
        answer.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["a", "c"]
    );
}

#[tokio::test]
async fn results_are_sanitized_and_marked_as_untrusted() {
    let body = json!({ "id": "p", "string": "be\u{200b} kind\u{202e} 👨\u{200d}👩", "name": "n\u{e0041}" });
    let text = body.to_string();
    let upstream = MockUpstream::start(move |_| json_response(&text)).await;
    let args = ["--base-url", &upstream.base_url];
    let marked = |meta: Option<&rmcp::model::MetaObject>| {
        meta.is_some_and(|meta| meta.0.get("portkey-mcp/untrusted") == Some(&Value::Bool(true)))
    };
    for connected in connect_everywhere(&args, &[("PORTKEY_API_KEY", "any-key")]).await {
        let way = connected.way;
        let expected = json!({ "id": "p", "string": "be kind 👨\u{200d}👩", "name": "n" });
        assert_eq!(
            connected
                .call("get-prompt", json!({ "prompt_id": "p" }))
                .await
                .unwrap(),
            expected,
            "{way}"
        );
        let result = connected
            .result("get-prompt", json!({ "prompt_id": "p" }))
            .await;
        assert!(marked(result.meta.as_ref()), "{way}: {result:?}");
        let result = connected
            .result("get-integration", json!({ "slug": "p" }))
            .await;
        assert!(!marked(result.meta.as_ref()), "{way}: {result:?}");
        // The tools are marked as well.
        let catalog = Catalog::full();
        for tool in connected.tools().await {
            // Built-in tools that return parts of other results mark each result instead.
            let operation = catalog.find(&tool.name).ok().map(|entry| entry.operation);
            let says = operation
                .or(find_builtin(&tool.name).map(|own| own.operation))
                .is_some_and(Operation::has_untrusted_content);
            assert_eq!(marked(tool.meta.as_ref()), says, "{way}: {}", tool.name);
        }
    }
}

/// A key hidden by invisible characters is masked all the same.
#[tokio::test]
async fn key_with_invisible_characters_is_masked() {
    let body = json!({ "name": "sk-abcdefgh\u{200b}ijklmnopqrstuvwx", "api\u{200b}_key": "plain" })
        .to_string();
    let upstream = MockUpstream::start(move |_| json_response(&body)).await;
    let args = json!({ "workspace_id": "w" }).as_object().unwrap().clone();
    let dispatcher = crate::support::upstream::dispatcher(&upstream);
    let got = dispatcher
        .call_as_local(&crate::support::upstream::operator(), "get-workspace", args)
        .await
        .unwrap();
    let mask = portkey_mcp::security::secrets::MASK;
    assert_eq!(got, json!({ "name": mask, "api_key": mask }));
}
