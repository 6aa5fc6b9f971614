//! Masking: secrets in results, and masked values in arguments.

use portkey_api::catalog::Catalog;
use portkey_mcp::security::secrets::{MASK, mask_line, mask_response, mask_text};
use serde_json::{Value, json};

use crate::{
    catalog::with_required_change,
    support::{
        official_client::connect_everywhere,
        upstream::{KEY, MockUpstream, dispatcher, http_response, json_response, operator},
    },
};

struct MaskingCase {
    tool: &'static str,
    response: &'static str,
    /// `#` stands for `MASK`.
    masked: &'static str,
}

const MASKING_CASES: &[MaskingCase] = &[
    // Declared fields, at every depth.
    MaskingCase {
        tool: "get-virtual-key",
        response: r#"{"key":"abcdefgh","slug":"v"}"#,
        masked: r##"{"key":"#","slug":"v"}"##,
    },
    MaskingCase {
        tool: "get-virtual-key",
        response: r#"{"key":"","masked_api_key":null}"#,
        masked: r#"{"key":"","masked_api_key":null}"#,
    },
    MaskingCase {
        tool: "list-all-api-keys",
        response: r#"{"data":[{"key":"abcdefgh","name":"a"},{"key":"ab*****xyz"}]}"#,
        masked: r##"{"data":[{"key":"#","name":"a"},{"key":"ab*****xyz"}]}"##,
    },
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":{"targets":[{"provider":"@a","api_key":"plain","custom_host":"https://u:p@h/v1","forward_headers":["x-a"]}]}}"#,
        masked: r##"{"config":{"targets":[{"provider":"@a","api_key":"#","custom_host":"https://#@h/v1","forward_headers":["x-a"]}]}}"##,
    },
    // Documents encoded as text.
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":"{\"api_key\":\"plain\",\"retry\":{\"attempts\":3}}"}"#,
        masked: r##"{"config":"{\"api_key\":\"#\",\"retry\":{\"attempts\":3}}"}"##,
    },
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":"{\"retry\":  1}"}"#,
        masked: r#"{"config":"{\"retry\":  1}"}"#,
    },
    // A document encoded as text in a document.
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":{"note":"{\"api_key\":\"v\",\"more\":\"[{\\\"pwd\\\":\\\"v\\\"}]\"}","text":"{no json}"}}"#,
        masked: r##"{"config":{"note":"{\"api_key\":\"#\",\"more\":\"[{\\\"pwd\\\":\\\"#\\\"}]\"}","text":"{no json}"}}"##,
    },
    // A duplicate name.
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":"{\"api_key\":\"v\",\"api_key\":null,\"n\":1}"}"#,
        masked: r#"{"config":"{\"api_key\":null,\"n\":1}"}"#,
    },
    MaskingCase {
        tool: "get-guardrail",
        response: r#"{"checks":[{"id":"default.webhook","parameters":{"webhookURL":"https://h/p","headers":{"X-Any":"v"}}},{"id":"x","parameters":{"apiKey":"v","credentials":{"apiKey":"v","domain":"d"}}}]}"#,
        masked: r##"{"checks":[{"id":"default.webhook","parameters":{"webhookURL":"https://h/p","headers":{"X-Any":"#"}}},{"id":"x","parameters":{"apiKey":"#","credentials":{"apiKey":"#","domain":"#"}}}]}"##,
    },
    MaskingCase {
        tool: "get-integration",
        response: r#"{"masked_key":"ab*****xyz","configurations":{"aws_region":"r","masked_aws_secret_access_key":"*****","custom_headers":{"authorization":"v"},"vertex_service_account_json":{"private_key":"v","client_email":"e"}}}"#,
        masked: r##"{"masked_key":"ab*****xyz","configurations":{"aws_region":"r","masked_aws_secret_access_key":"*****","custom_headers":{"authorization":"#"},"vertex_service_account_json":{"private_key":"#","client_email":"#"}}}"##,
    },
    MaskingCase {
        tool: "get-mcp-registry-server",
        response: r#"{"mcp_config":{"config":{"command":"c","env":{"ANY":"v"}},"oauth_config":{"client_id":"i","client_secret":"v"}}}"#,
        masked: r##"{"mcp_config":{"config":{"command":"c","env":{"ANY":"#"}},"oauth_config":{"client_id":"i","client_secret":"#"}}}"##,
    },
    MaskingCase {
        tool: "list-audit-logs",
        response: r#"{"records":[{"request_body":"{\"name\":\"n\",\"key\":\"v\"}","query_params":"no json","client_ip":"1.2.3.4"}]}"#,
        masked: r##"{"records":[{"request_body":"{\"name\":\"n\",\"key\":\"#\"}","query_params":"#","client_ip":"1.2.3.4"}]}"##,
    },
    MaskingCase {
        tool: "get-log",
        response: r#"{"request":{"body":{"messages":[{"content":"hi"}]},"headers":{"x":"v"}},"portkeyHeaders":{"x-portkey-api-key":"v"},"response":{"usage":{"total_tokens":3,"prompt_tokens":1}}}"#,
        masked: r##"{"request":{"body":{"messages":[{"content":"hi"}]},"headers":{"x":"#"}},"portkeyHeaders":{"x-portkey-api-key":"#"},"response":{"usage":{"total_tokens":3,"prompt_tokens":1}}}"##,
    },
    // Undeclared fields with secret names, and similar harmless names.
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"clientSecret":"v","access-token":"v","Authorization":"v","signedUrl":"v","db_password":{"now":"v"},"inviteLink":"v","aws_access_key_id":"v"}"#,
        masked: r##"{"clientSecret":"#","access-token":"#","Authorization":"#","signedUrl":"#","db_password":{"now":"#"},"inviteLink":"#","aws_access_key_id":"#"}"##,
    },
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"key":"k","secret_mappings":[{"secret_key":"n","secret_reference_id":"r","target_field":"key"}],"secret_path":"p","key_transition_expires_at":"t","max_tokens":5,"metadata":{"key":"team"},"conditions":[{"key":"metadata.x","value":"y"}],"request_token":{"price":0.1},"users":[{"email":"a@b.c","first_name":"A"}]}"#,
        masked: r#"{"key":"k","secret_mappings":[{"secret_key":"n","secret_reference_id":"r","target_field":"key"}],"secret_path":"p","key_transition_expires_at":"t","max_tokens":5,"metadata":{"key":"team"},"conditions":[{"key":"metadata.x","value":"y"}],"request_token":{"price":0.1},"users":[{"email":"a@b.c","first_name":"A"}]}"#,
    },
    // The name of a setting may stand in a field that is masked itself.
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":{"x":[{"key":"Authorization","value":"v"},{"name":"n","header":"X-Api-Key","value":"v"},{"name":"mode","value":"w"}]}}"#,
        masked: r##"{"config":{"x":[{"key":"Authorization","value":"#"},{"name":"n","header":"X-Api-Key","value":"#"},{"name":"mode","value":"w"}]}}"##,
    },
    MaskingCase {
        tool: "get-integration",
        response: r#"{"configurations":{"x":[{"key":"v","value":"w"},{"key":"password","value":"v"}]}}"#,
        masked: r##"{"configurations":{"x":[{"key":"#","value":"w"},{"key":"password","value":"#"}]}}"##,
    },
    MaskingCase {
        tool: "list-registry-mcp-servers",
        response: r#"{"servers":[{"remotes":[{"headers":[{"name":"X-Key","description":"d","value":"v"}]}]}]}"#,
        masked: r##"{"servers":[{"remotes":[{"headers":[{"name":"X-Key","description":"d","value":"#"}]}]}]}"##,
    },
    // The id of a key is no secret, except where keys are stored.
    MaskingCase {
        tool: "get-analytics-grouped-data",
        response: r#"{"data":[{"api_key":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001","cost":1},{"api_key":"support-bot"},{"api_key":"sk-abcdefghijklmnopqrstuvwx"}]}"#,
        masked: r##"{"data":[{"api_key":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001","cost":1},{"api_key":"support-bot"},{"api_key":"#"}]}"##,
    },
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"api_key":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001","apiKey":["183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"],"api-key":["183497e5-6d60-4f2f-9d6e-5f2cf2e2a001","v"],"vault_secret_id":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001","access_token":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"}"#,
        masked: r##"{"api_key":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001","apiKey":["183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"],"api-key":["#","#"],"vault_secret_id":"#","access_token":"#"}"##,
    },
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":{"virtual_key":"openai-5cd6b6","targets":[{"api_key":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001","passwd":"v","auth_key":"v","weight":0.5}]}}"#,
        masked: r##"{"config":{"virtual_key":"openai-5cd6b6","targets":[{"api_key":"#","passwd":"#","auth_key":"#","weight":0.5}]}}"##,
    },
    MaskingCase {
        tool: "get-usage-limits-policy",
        response: r#"{"conditions":[{"key":"api_key","value":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"}],"group_by":[{"key":"api_key"}],"value_key_usage_map":{"api_key:183497e5-6d60-4f2f-9d6e-5f2cf2e2a001":5}}"#,
        masked: r#"{"conditions":[{"key":"api_key","value":"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"}],"group_by":[{"key":"api_key"}],"value_key_usage_map":{"api_key:183497e5-6d60-4f2f-9d6e-5f2cf2e2a001":5}}"#,
    },
    MaskingCase {
        tool: "list-audit-logs",
        response: r#"{"records":[{"request_body":"{\"group_by\":[{\"key\":\"api_key\"}],\"virtual_key\":\"v\"}"}]}"#,
        masked: r#"{"records":[{"request_body":"{\"group_by\":[{\"key\":\"api_key\"}],\"virtual_key\":\"v\"}"}]}"#,
    },
    // Any type: objects, lists of any values, numbers. A token price is no secret.
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"api_key":{"value":"v","more":[{"x":"v"},7]},"apiKey":["v",{"a":"v"},7,[8]],"client_secret":12345678,"accessToken":12.5,"secrets":{"A":"v","B":{"name":"n"},"db_password":{"now":["v"]},"C":["v",{"name":"n"}]},"is_secret":true}"#,
        masked: r##"{"api_key":{"value":"#","more":[{"x":"#"},"#"]},"apiKey":["#",{"a":"#"},"#",["#"]],"client_secret":"#","accessToken":"#","secrets":{"A":"#","B":{"name":"n"},"db_password":{"now":["#"]},"C":["#",{"name":"n"}]},"is_secret":true}"##,
    },
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"request_token":{"price":0.1},"response_token":7,"max_tokens":5,"has_password":true,"api_key":null,"password":""}"#,
        masked: r#"{"request_token":{"price":0.1},"response_token":7,"max_tokens":5,"has_password":true,"api_key":null,"password":""}"#,
    },
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":{"headers":{"x-a":1,"x-b":true,"x-c":[1,{"d":"v"}]},"passwd":77,"pwd":{"now":"v"}}}"#,
        masked: r##"{"config":{"headers":{"x-a":"#","x-b":"#","x-c":["#",{"d":"#"}]},"passwd":"#","pwd":{"now":"#"}}}"##,
    },
    MaskingCase {
        tool: "get-virtual-key",
        response: r#"{"key":1234567890}"#,
        masked: r##"{"key":"#"}"##,
    },
    MaskingCase {
        tool: "get-virtual-key",
        response: r#"{"key":["v",{"key":"v"}]}"#,
        masked: r##"{"key":["#",{"key":"#"}]}"##,
    },
    // Names of any length, and keys as names; two such names stay different.
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_api_key":"v"}"#,
        masked: r##"{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_api_key":"#"}"##,
    },
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"usage":{"sk-abcdefghijklmnopqrstuvwx":1,"sk-abcdefghijklmnopqrstuvwy":2,"of sk-abcdefghijklmnopqrstuvwx":3}}"#,
        masked: r##"{"usage":{"#":1,"# (2)":2,"of #":3}}"##,
    },
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"access_tokens":{"k3Jx9Qm2Zt7Lw4Vb8Ny1Rc6P":{"x":"w"},"prod":"v","n":5},"api_keys":["v",{"id":"i"},"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"],"tokens":["Hel","lo"],"headers":{"x-amz-date":"v","k3Jx9Qm2Zt7Lw4Vb8Ny1Rc6P":1}}"#,
        masked: r##"{"access_tokens":{"#":{"x":"w"},"prod":"#","n":"#"},"api_keys":["#",{"id":"i"},"183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"],"tokens":["Hel","lo"],"headers":{"x-amz-date":"#","#":"#"}}"##,
    },
    // A setting as an object with its name.
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":{"params":[{"name":"X-Api-Key","value":"v","default":"v","description":"d"},{"name":"mode","value":"w"}],"headers":{"name":"v","value":"v"}}}"#,
        masked: r##"{"config":{"params":[{"name":"X-Api-Key","value":"#","default":"#","description":"d"},{"name":"mode","value":"w"}],"headers":{"name":"#","value":"#"}}}"##,
    },
    // A named item is no setting.
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"limits":[{"id":"i","name":"secret-project","unit":"rpm","value":9}],"variables":[{"name":"CLIENT_SECRET","value":"v","is_secret":true}]}"#,
        masked: r##"{"limits":[{"id":"i","name":"secret-project","unit":"rpm","value":9}],"variables":[{"name":"CLIENT_SECRET","value":"#","is_secret":true}]}"##,
    },
    // The schema of a field is no secret; a value in it is.
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"properties":{"token":{"type":"string","description":"d","default":"v","enum":["v"]},"api_key":{"type":"string","value":"v"}}}"#,
        masked: r##"{"properties":{"token":{"type":"string","description":"d","default":"#","enum":["#"]},"api_key":{"type":"#","value":"#"}}}"##,
    },
    MaskingCase {
        tool: "get-mcp-gateway",
        response: r#"{"servers_config":{"servers":[{"input_guardrails_config":{"additional_config":{"key":"v","auth":{"a":"v"},"level":3}}}]}}"#,
        masked: r##"{"servers_config":{"servers":[{"input_guardrails_config":{"additional_config":{"key":"#","auth":{"a":"#"},"level":3}}}]}}"##,
    },
    // A credential as a JSON text, and names with a suffix such as a number.
    MaskingCase {
        tool: "get-virtual-key",
        response: r#"{"key":"{\"type\":\"service_account\",\"project_id\":\"v\"}","masked_api_key":"[\"v\"]","model_config":"{\"zone\":\"z\",\"key\":\"v\"}"}"#,
        masked: r##"{"key":"#","masked_api_key":"#","model_config":"{\"zone\":\"z\",\"key\":\"#\"}"}"##,
    },
    MaskingCase {
        tool: "get-virtual-key",
        response: r#"{"key":{"zone":"v","n":[1,true]}}"#,
        masked: r##"{"key":{"zone":"#","n":["#",true]}}"##,
    },
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"api_key_2":"v","apikey1":7,"x_api_key_value":"v","token_value":["v"],"tokens":"v","admin_tokens":"v","signed_urls":["v"],"variables":[{"name":"API_KEY_2","value":"v"},{"name":"tokens","value":"v"}]}"#,
        masked: r##"{"api_key_2":"#","apikey1":"#","x_api_key_value":"#","token_value":["#"],"tokens":"#","admin_tokens":"#","signed_urls":["#"],"variables":[{"name":"API_KEY_2","value":"#"},{"name":"tokens","value":"#"}]}"##,
    },
    MaskingCase {
        tool: "get-workspace",
        response: r#"{"tokens":123,"max_tokens":"auto","total_tokens":"4096","prompt_tokens":1,"token_count":2,"usage":{"tokens":"17","completion_tokens_2":3},"variables":[{"name":"tokens","value":9}]}"#,
        masked: r#"{"tokens":123,"max_tokens":"auto","total_tokens":"4096","prompt_tokens":1,"token_count":2,"usage":{"tokens":"17","completion_tokens_2":3},"variables":[{"name":"tokens","value":9}]}"#,
    },
    MaskingCase {
        tool: "get-config",
        response: r#"{"config":{"key2":"v","key_value":"v","keys":"v","keys_2":["name"],"passphrases":["v"],"stop":"v2"}}"#,
        masked: r##"{"config":{"key2":"#","key_value":"#","keys":"#","keys_2":["name"],"passphrases":["#"],"stop":"v2"}}"##,
    },
    // One-time secrets are masked in other calls, and in an update that returns none.
    MaskingCase {
        tool: "get-deployment",
        response: r#"{"client_auth":"v","id":"d"}"#,
        masked: r##"{"client_auth":"#","id":"d"}"##,
    },
    MaskingCase {
        tool: "update-deployment",
        response: r#"{"client_auth":"v","id":"d"}"#,
        masked: r##"{"client_auth":"#","id":"d"}"##,
    },
];

#[tokio::test]
async fn results_are_masked() {
    for MaskingCase {
        tool,
        response,
        masked,
    } in MASKING_CASES
    {
        let upstream = MockUpstream::start(|_| json_response(response)).await;
        let catalog = Catalog::full();
        let published = catalog.find(tool).unwrap().compiled();
        let args = Value::Object(required_arguments(published.full_schema()));
        let args = with_required_change(published, args, |_, _| json!("x"));
        let Value::Object(args) = args else {
            panic!("{tool}")
        };
        let got = dispatcher(&upstream)
            .call_as_local(&operator(), tool, args)
            .await
            .unwrap();
        let expected: Value = serde_json::from_str(&masked.replace('#', MASK)).unwrap();
        assert_eq!(got, expected, "{tool}");
        // Masking is idempotent.
        let mut again = got.clone();
        mask_response(published.operation(), &mut again);
        assert_eq!(got, again, "{tool}");
    }
}

/// Returns the required arguments, as texts.
fn required_arguments(schema: &Value) -> serde_json::Map<String, Value> {
    let text = |name: &Value| match name.as_str().unwrap() {
        "start_time" | "end_time" => "2026-01-01T00:00:00Z".into(),
        "time_of_generation_min" | "time_of_generation_max" => "2026-01-01T00:00:00Z".into(),
        "group_by" => "api_key".into(),
        _ => json!("sample"),
    };
    let required = schema["required"].as_array().into_iter().flatten();
    required
        .map(|name| (name.as_str().unwrap().to_owned(), text(name)))
        .collect()
}

#[tokio::test]
async fn one_time_secret_is_returned_unmasked() {
    let key = "sk-live0123456789abcdefghijkl";
    for (tool, body) in [
        ("create-api-key", json!({ "id": "i", "key": key })),
        ("rotate-api-key", json!({ "id": "i", "key": key })),
        ("invite-user", json!({ "invite_link": key })),
        ("resend-invite", json!({ "inviteLink": key })),
        ("download-log-export", json!({ "signed_url": key })),
        (
            "update-deployment",
            json!({ "client_auth": key, "credentials": { "username": "u", "password": key } }),
        ),
    ] {
        let shown = std::fs::read_to_string(format!("tests/data/calls/{tool}.json")).unwrap();
        let args = serde_json::from_str::<Value>(&shown).unwrap()[0]["arguments"].take();
        let text = body.to_string();
        let upstream = MockUpstream::start(move |_| json_response(&text)).await;
        let args = args.as_object().unwrap().clone();
        let got = dispatcher(&upstream)
            .call_as_local(&operator(), tool, args)
            .await
            .unwrap();
        assert_eq!(got, body, "{tool}");
    }
}

/// Known key formats, and similar texts.
#[test]
fn known_key_formats_are_masked_in_text() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N";
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpA\nIBAAKC\n-----END RSA PRIVATE KEY-----";
    let cut = "-----BEGIN PRIVATE KEY-----\\nMIIEpA";
    for key in [
        "sk-abcdefghijklmnopqrstuvwx",
        "sk-proj-Ab_cdef-0123456789abcdefghij_x",
        "sk-ant-api03-0123456789abcdefABCDEF",
        "pk-lf-6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "sk_live_0123456789abcdefgh",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abcdefghijklmnop0123",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "xoxb-0123456789-abcdef",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        "ASIAIOSFODNN7EXAMPLE",
        "BEARER  abcdefghijklmnop0123",
        "rk_test_0123456789abcdefgh",
        "ghu_0123456789abcdefghijABCDEFGHIJ",
        "github_pat_0123456789abcdefghij_ABC",
        "glpat-0123456789abcdefghij",
        "hooks.slack.com/services/T0/B0/abc",
        "hf_0123456789abcdefghijABCDEF",
        "gsk_0123456789abcdefghijABCDEF",
        "hvs.0123456789abcdefghijABCDEF",
        jwt,
        pem,
        cut,
    ] {
        for (before, after) in [("", ""), ("the key '", "' is wrong"), ("\\n", "\\n")] {
            if key == cut && !after.is_empty() {
                continue;
            }
            let text = format!("{before}{key}{after}");
            assert_eq!(mask_text(&text), format!("{before}{MASK}{after}"), "{text}");
        }
    }
    for harmless in [
        "",
        "task-abcdefghijklmnopqrstuvwx is late",
        "sk-learn-classification",
        "pk-team-openai-production-eu-west",
        "a bearer authentication-mechanism",
        "Authorization: Bearer {{token}}",
        "https://example.com:8080/a@b",
        "eyJ is how a cursor begins",
        "-----BEGIN CERTIFICATE-----",
        MASK,
    ] {
        assert_eq!(mask_text(harmless), harmless);
    }
    for (line, masked) in [
        ("x-portkey-api-key: abcdefghij", "x-portkey-api-key: #"),
        (
            r#"{"api_key":"abcdefghij","n":1}"#,
            r##"{"api_key":"#","n":1}"##,
        ),
        ("api_key_2=abcdefghij", "api_key_2=#"),
        (r#"{"apiKey1":"abcdefghij"}"#, r##"{"apiKey1":"#"}"##),
        ("x_api_key_value: abcdefghij", "x_api_key_value: #"),
        (
            r#""{\"password\": \"abcdefghij\"}""#,
            r##""{\"password\": \"#\"}""##,
        ),
        ("redis://user:abcdefghij@host:6379", "redis://#@host:6379"),
        (
            "call tool=get-api-key duration_ms=0.5",
            "call tool=get-api-key duration_ms=0.5",
        ),
    ] {
        assert_eq!(mask_line(line), masked.replace('#', MASK));
    }
}

/// A masked value would overwrite the secret.
#[tokio::test]
async fn masked_argument_is_rejected() {
    struct Case {
        tool: &'static str,
        args: Value,
        at: &'static str,
    }

    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = dispatcher(&upstream);
    for Case { tool, args, at } in [
        Case {
            tool: "update-integration",
            args: json!({ "slug": "s", "key": MASK }),
            at: "`key`",
        },
        Case {
            tool: "update-integration",
            args: json!({ "slug": "s", "key": "ab*****xyz" }),
            at: "`key`",
        },
        Case {
            tool: "update-config",
            args: json!({ "slug": "s", "config": { "targets": [{ "provider": "a" }, { "api_key": MASK }] } }),
            at: "`config.targets[1].api_key`",
        },
        Case {
            tool: "update-prompt",
            args: json!({ "prompt_id": "p", "name": format!("a {MASK} b") }),
            at: "`name`",
        },
    ] {
        let args = args.as_object().unwrap().clone();
        let error = dispatcher
            .call_as_local(&operator(), tool, args)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(at) && error.contains("Leave the field out"),
            "{error}"
        );
    }
    // A create call has nothing to overwrite.
    for Case { tool, args, at } in [
        Case {
            tool: "create-config",
            args: json!({ "name": "n", "config": { "targets": [{ "api_key": "sk-***" }] } }),
            at: "`config.targets[0].api_key`",
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "ai_provider_id": "openai", "key": MASK }),
            at: "`key`",
        },
    ] {
        let args = args.as_object().unwrap().clone();
        let error = dispatcher
            .call_as_local(&operator(), tool, args)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(at) && error.contains("is a placeholder"),
            "{error}"
        );
        assert!(!error.contains("overwrite"), "{error}");
    }
    assert_eq!(upstream.count(), 0);
    let fine = json!({ "slug": "s", "key": "real-***-key-with-stars-in-it" });
    dispatcher
        .call_as_local(
            &operator(),
            "update-integration",
            fine.as_object().unwrap().clone(),
        )
        .await
        .unwrap();
}

/// An upstream may repeat its key, and the arguments.
#[tokio::test]
async fn key_repeated_by_the_upstream_is_masked() {
    let body = format!(r#"{{"name":"your key is {KEY}"}}"#);
    let refused = format!(
        r#"{{"success":false,"data":{{"message":"no key {KEY} or sk-abcdefghijklmnopqrstuvwx"}}}}"#
    );
    let upstream = MockUpstream::start(move |before| match before % 2 {
        0 => json_response(&body),
        _ => http_response("401 Unauthorized", "", &refused),
    })
    .await;
    let args = ["--base-url", &upstream.base_url];
    for connected in connect_everywhere(&args, &[("PORTKEY_API_KEY", KEY)]).await {
        let get = || connected.call("get-workspace", json!({ "workspace_id": "w" }));
        let way = connected.way;
        assert_eq!(
            get().await.unwrap()["name"],
            format!("your key is {MASK}"),
            "{way}"
        );
        let error = get().await.unwrap_err();
        assert!(
            error.contains(&format!("no key {MASK} or {MASK}")),
            "{way}: {error}"
        );
    }
}

/// Returns a value at a declared path such as `data[].key`.
fn value_at_path(path: &str, value: Value) -> Value {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let below = if rest.is_empty() {
        value
    } else {
        value_at_path(rest, value)
    };
    match (step, step.strip_suffix("[]")) {
        ("*", _) => json!({ "any.name[0]": below }),
        (_, Some(name)) => json!({ name: [{ "id": "i" }, below] }),
        (name, None) => json!({ name: below }),
    }
}

/// Declared fields that are documents: their secret names are masked, and the rest is shown.
const DOCUMENT_FIELDS: [&str; 11] = [
    "auth_config",
    "common_overrides",
    "config",
    "configurations",
    "expanded_servers",
    "mcp_config",
    "model_config",
    "parameters",
    "query_params",
    "request_body",
    "servers_config",
];

/// Any other declared field is a credential and is masked as a whole.
#[test]
fn declared_credential_is_masked_as_a_whole() {
    let word = "planted word of nobody";
    let mut places = 0;
    for entry in Catalog::full().iter() {
        let operation = entry.operation;
        for path in operation
            .secret_fields()
            .iter()
            .chain(operation.one_time_secrets())
        {
            let last = path.rsplit('.').next().unwrap().trim_end_matches("[]");
            if DOCUMENT_FIELDS.contains(&last) {
                continue;
            }
            places += 1;
            for value in [
                json!(json!({ "type": "service_account", "project_id": word }).to_string()),
                json!(json!([[word], { "zone": word }]).to_string()),
                json!({ "zone": word, "more": [{ "note": word }] }),
                json!([word, { "zone": word }]),
            ] {
                let mut answer = value_at_path(path, value);
                mask_response(operation, &mut answer);
                assert!(
                    !answer.to_string().contains(word),
                    "{}, {path}: {answer}",
                    operation.name()
                );
            }
        }
    }
    assert!(places > 10, "{places}");
}

#[test]
fn declared_secret_of_any_type_is_masked() {
    let catalog = Catalog::full();
    let word = "planted word of nobody";
    let number = 731_904_482_615_u64;
    let mut places = 0;
    for entry in catalog.iter() {
        let operation = entry.operation;
        for path in operation
            .secret_fields()
            .iter()
            .chain(operation.one_time_secrets())
        {
            places += 1;
            for value in [
                json!(word),
                json!(number),
                json!([word, number, [[number], word]]),
                json!({ "api_key": word, "x.y": { "client_secret": [number, { "v": word }] } }),
                json!([{ "passwd": { "": word } }]),
                json!(json!({ "key": word, "n": { "pwd": number } }).to_string()),
                json!(json!([word, { "jwt": [word] }]).to_string()),
            ] {
                let mut answer = value_at_path(path, value);
                let before = answer.to_string();
                mask_response(operation, &mut answer);
                let shown = answer.to_string();
                let shows = shown.contains(word) || shown.contains(&number.to_string());
                assert!(!shows, "{}, {path}: {before} -> {shown}", operation.name());
            }
        }
    }
    assert!(places > 30, "{places}");
}
