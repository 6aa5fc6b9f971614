//! Cost of our own code per call and at start, without a transport or network.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up should stop loudly"
)]

use std::{
    fmt::Write,
    hint::black_box,
    sync::Arc,
    time::{Duration, SystemTime},
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use portkey_api::catalog::Catalog;
use portkey_mcp::{
    auth::principal::{Credentials, MissingKey, Principal},
    mcp::{
        reply::{StructuredForm, encode_response, shown_result},
        results::{ResultContent, ShownResult},
        search::SearchIndex,
        server::Server,
    },
    observability::{
        audit::{AuditLog, AuditSettings, AuditTarget, PendingEntry, SyncPolicy},
        call_record::{CallRecord, OutcomeKind},
        metrics::Metrics,
        observer::CallObserver,
        request::{RequestInfo, Transport},
    },
    pipeline::Dispatcher,
    security::{sanitize, secrets},
    upstream::{Addresses, RetrySettings, UpstreamClient, UpstreamSettings},
};
use portkey_operation::{CompiledOperation, JsonMap};
use portkey_policy::{Decision, NO_CLAIMS, Policy, PolicyInput, PolicyTarget};
use portkey_store::Store;
use rmcp::model::{ListToolsResult, RequestId};
use serde_json::{Value, json};

fn start(criterion: &mut Criterion) {
    criterion.bench_function("start/catalog", |bench| bench.iter(Catalog::full));
}

fn search(criterion: &mut Criterion) {
    let catalog = Catalog::full();
    let index = || SearchIndex::from_entries(catalog.iter());
    criterion.bench_function("search/index", |bench| bench.iter(index));
    let index = index();
    for words in [
        "delete an api key",
        "wich teamz may usse the opanai integraton in prodction",
        "who spent the most last month",
        "予算を超えているチームはどこですか",
    ] {
        criterion.bench_function(&format!("search/{words}"), |bench| {
            bench.iter(|| index.search(black_box(words), 10).len());
        });
    }
}

fn requests(criterion: &mut Criterion) {
    struct Case {
        size: &'static str,
        tool: &'static str,
        args: Value,
        is_valid: bool,
    }

    let catalog = Catalog::full();
    let cases = [
        Case {
            size: "small",
            tool: "get-integration",
            args: json!({ "slug": "openai-production" }),
            is_valid: true,
        },
        Case {
            size: "middling",
            tool: "update-mcp-integration",
            args: medium_arguments(),
            is_valid: true,
        },
        Case {
            size: "large",
            tool: "create-integration",
            args: large_arguments(),
            is_valid: true,
        },
        Case {
            size: "refused",
            tool: "create-integration",
            args: invalid_arguments(),
            is_valid: false,
        },
    ];
    for Case {
        size,
        tool,
        args,
        is_valid,
    } in cases
    {
        let published = catalog.find(tool).expect("the tool exists").compiled();
        let Value::Object(args) = args else { continue };
        let outcome = published.validate_and_build_request(args.clone());
        assert_eq!(outcome.is_ok(), is_valid, "{tool}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(error.errors().iter().count() > 4, "{error}");
        }
        criterion.bench_function(&format!("request/{size} {tool}"), |bench| {
            bench.iter_batched(
                || args.clone(),
                |args| validate_or_explain(published, args),
                BatchSize::SmallInput,
            );
        });
    }
}

/// Validates the arguments and builds the request; renders the error message if they are invalid.
fn validate_or_explain(published: &CompiledOperation, args: JsonMap) -> usize {
    match published.validate_and_build_request(args) {
        Ok(request) => black_box(request).target.len(),
        Err(error) => black_box(error.to_string()).len(),
    }
}

fn list(criterion: &mut Criterion) {
    let settings = UpstreamSettings {
        addresses: Addresses::from_single_host(
            &"http://127.0.0.1:1/v1".parse().expect("an address"),
        ),
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        max_response_bytes: 1,
        retries: RetrySettings::default(),
        extra_roots: Vec::new(),
        proxies: false,
    };
    let dispatcher = Dispatcher::new(Catalog::full(), UpstreamClient::new(settings));
    let server = Server::new(Arc::new(dispatcher), None);
    criterion.bench_function("tools-list/clone", |bench| {
        bench.iter(|| server.tools().to_vec())
    });
    let result = ListToolsResult::with_all_items(server.tools().to_vec());
    criterion.bench_function("tools-list/serialize", |bench| {
        bench.iter(|| serde_json::to_vec(&result));
    });
}

/// Measures the cost of observing a call while no log is read.
fn observe(criterion: &mut Criterion) {
    let credentials = Credentials {
        portkey: None,
        enkrypt: None,
        missing_key: MissingKey::Server,
    };
    let principal = Principal::local(credentials);
    let catalog = Catalog::full();
    let operation = catalog
        .find("list-all-integrations")
        .expect("the tool exists")
        .operation;
    for (name, on) in [("off", false), ("on", true)] {
        let metrics = Metrics::new(on);
        criterion.bench_function(&format!("observe/metrics {name}"), |bench| {
            bench.iter(|| {
                let mut call = CallObserver::begin(&metrics, RequestInfo::local(), &principal);
                call.request_and_record().1.operation = Some(operation);
                call.finish(OutcomeKind::Answered.into());
            });
        });
    }
}

/// Measures the cost of auditing a call: it hands over its entry, and another thread writes it.
fn audit(criterion: &mut Criterion) {
    let credentials = Credentials {
        portkey: None,
        enkrypt: None,
        missing_key: MissingKey::Server,
    };
    let principal = Principal::local(credentials);
    let catalog = Catalog::full();
    let published = catalog
        .find("update-mcp-integration")
        .expect("the tool exists")
        .compiled();
    let Value::Object(args) = medium_arguments() else {
        return;
    };
    let settings = AuditSettings {
        target: AuditTarget::File("/dev/null".into()),
        key: None,
        sync: SyncPolicy::Never,
        allow_unrecorded_writes: false,
        max_bytes: None,
        max_full_files: None,
    };
    let audit = AuditLog::start(settings).expect("an audit log");
    for (name, audit) in [("off", None), ("on", Some(&audit))] {
        let request_info = RequestInfo::local();
        criterion.bench_function(&format!("audit/{name}"), |bench| {
            bench.iter(|| {
                let mut record = CallRecord::default();
                let mut line =
                    PendingEntry::begin(audit, &principal, &request_info, &args, &mut record);
                line.record_arguments(published, &args);
                line.finish(OutcomeKind::Answered.into());
            });
        });
    }
}

/// Measures masking and sanitizing a response of 100 kB: a page of API keys, and a log with text.
fn results(criterion: &mut Criterion) {
    let key = json!({
        "id": "0b9f0d0e-6f0e-4b8e-9d52-0d8f5f2c1a11", "key": "ab*****xyz", "name": "Support",
        "organisation_id": "5c1b1d7e-93a4-4b0f-8e0a-77d7f1b0a001", "type": "workspace-service",
        "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 100 }], "status": "active",
        "usage_limits": { "credit_limit": 100, "alert_threshold": 80 }, "reset_usage": false,
        "scopes": ["logs.view", "configs.read", "prompts.render", "completions.write"],
        "created_at": "2026-01-01T00:00:00.000Z", "object": "api-key",
    });
    let text = "The quick brown fox asks the model for a jug of wine — über 5 €. ".repeat(20);
    let log = json!({ "role": "user", "content": text });
    let catalog = Catalog::full();
    for (tool, item, count) in [("list-all-api-keys", key, 210), ("get-log", log, 75)] {
        let operation = catalog.find(tool).expect("the tool exists").operation;
        let mut answer = json!({ "data": vec![item; count] });
        let bytes = answer.to_string().len();
        assert!((95_000..110_000).contains(&bytes), "{bytes}");
        criterion.bench_function(&format!("answer/clean {tool}"), |bench| {
            bench.iter(|| sanitize::sanitize_value(&mut answer));
        });
        criterion.bench_function(&format!("answer/mask {tool}"), |bench| {
            bench.iter(|| secrets::mask_response(operation, &mut answer));
        });
    }
}

/// Measures encoding the response to a call whose result has 680 bytes.
fn encode(criterion: &mut Criterion) {
    let model = json!({
        "id": "0b9f0d0e", "slug": "gpt-4o", "enabled": true, "is_custom": false, "pricing_config": null,
        "configurations": { "aws_region": "eu-west-1", "model": "gpt-4o \"latest\"" },
    });
    let structured = json!({ "object": "list", "total": 5, "data": vec![model; 4] });
    let text = structured.to_string();
    assert_eq!(text.len(), 680);
    let shown = ShownResult::Text(text);
    let result = shown_result(shown, ResultContent::default(), false, StructuredForm::Text);
    criterion.bench_function("answer/encode", |bench| {
        bench.iter_batched(
            || result.clone(),
            |result| encode_response(&RequestId::Number(1), result),
            BatchSize::SmallInput,
        );
    });
}

/// Measures evaluating a policy of 200 rules: spread over many tools, and all for this tool.
fn policy(criterion: &mut Criterion) {
    let catalog = Catalog::full();
    let entry = catalog.find("create-integration").expect("the tool exists");
    let Value::Object(args) = large_arguments() else {
        return;
    };
    let facts = PolicyInput {
        target: PolicyTarget::Tool {
            operation: entry.operation,
            domain: entry.domain.name,
        },
        claims: &NO_CLAIMS,
        source: None,
        called: None,
        unknown_fields: &[],
        args: &args,
        principal: "someone",
        client: Some("bench"),
        transport: Transport::Http,
        session: Some("session"),
        time: SystemTime::now(),
        tainted: false,
    };
    let store = Store::in_memory();
    for (how, text) in [
        ("spread", spread_rules(&catalog)),
        ("all about one", rules_for_one_tool()),
    ] {
        let policy = Policy::parse("bench.yaml", &text, &catalog).expect("it holds");
        assert_eq!(policy.len(), 200);
        let decide = || {
            policy
                .decide(&facts, &store)
                .now_or_never()
                .expect("memory is at hand")
        };
        assert_eq!(decide().decision, Decision::Allow);
        criterion.bench_function(&format!("policy/200 rules, {how}"), |bench| {
            bench.iter(decide)
        });
    }
}

/// Returns 100 tools with one rule each, and 100 rules of which ten concern the call: conditions,
/// caps, expressions and a limit.
fn spread_rules(catalog: &Catalog) -> String {
    let mut text = "version: '1'\ntools:\n".to_owned();
    // Writing to a string cannot fail.
    for entry in catalog
        .iter()
        .filter(|entry| entry.domain.name != "integrations")
        .take(100)
    {
        let name = entry.operation.name();
        let rule = "{ name: r, conditions: [{ path: args.name, op: exists, value: true }] }";
        _ = writeln!(text, "  {name}: {{ rules: [{rule}] }}");
    }
    text += "rules:\n";
    let domains = ["configs", "prompts", "api-keys"].iter().cycle().take(90);
    for (index, domain) in domains.enumerate() {
        _ = writeln!(
            text,
            "  - {{ name: d{index}, action: deny, match: {{ domains: [{domain}] }} }}"
        );
    }
    for index in 0..3 {
        _ = writeln!(
            text,
            "  - {{ name: c{index}, cap: {{ pricing_adjustments.multiplier.default: 1 }} }}"
        );
        _ = writeln!(
            text,
            "  - {{ name: e{index}, action: deny, when: 'effect == \"delete\" && tainted' }}"
        );
    }
    text += "  - { name: a1, action: deny, when: 'args.name.startsWith(\"prod-\") && principal != \"ci\"' }\n";
    text += "  - { name: a2, action: approve, when: 'has(args.tags.stage) && args.tags.stage == \"live\"' }\n";
    text += "  - { name: a3, action: deny, when: 'time.getHours(\"Europe/Berlin\") > 24' }\n";
    text += "  - { name: l, limits: [{ max: 1000000000, window: hour, scope: principal }] }\n";
    text
}

fn rules_for_one_tool() -> String {
    let mut text = "version: '1'\nrules:\n".to_owned();
    for index in 0..100 {
        _ = writeln!(
            text,
            "  - {{ name: c{index}, conditions: [{{ path: args.name, op: exists, value: true }}] }}"
        );
        _ = writeln!(
            text,
            "  - {{ name: e{index}, action: deny, when: 'args.name == \"{index}\"' }}"
        );
    }
    text
}

fn medium_arguments() -> Value {
    json!({
        "mcp_integration_id": "docs-search",
        "name": "Docs search",
        "description": null,
        "url": "https://docs.example.com/v2/mcp",
        "auth_type": "headers",
        "transport": "http",
        "configurations": {
            "custom_headers": { "authorization": "Bearer example", "x-team": "docs" },
        },
        "secret_mappings": [{
            "target_field": "configurations.custom_headers.authorization",
            "secret_reference_id": "docs-token",
            "secret_key": "token",
        }],
    })
}

fn large_arguments() -> Value {
    json!({
        "name": "Bedrock",
        "slug": "bedrock-everything",
        "description": "Everything that an integration can say about itself",
        "ai_provider_id": "bedrock",
        "configurations": {
            "aws_auth_type": "assumedRole",
            "aws_region": "eu-central-1",
            "aws_role_arn": "arn:aws:iam::000000000000:role/example",
            "aws_external_id": null,
        },
        "secret_mappings": [
            { "target_field": "key", "secret_reference_id": "bedrock-key", "secret_key": null,
              "value_format": "string" },
            { "target_field": "configurations.aws_role_arn", "secret_reference_id": "role",
              "secret_key": "arn", "value_format": "string" },
        ],
        "pricing_adjustments": {
            "multiplier": {
                "default": 0.8,
                "request_token": null,
                "response_token": 0.9,
                "image": { "default": 1.2 },
                "additional_units": { "web_search": 0.5, "file_search": 0.25 },
            },
        },
        "tags": { "team": "search", "cost-centre": "4711", "stage": "production" },
    })
}

fn invalid_arguments() -> Value {
    json!({
        "ai_provider_id": "bedrok",
        "slug": "no slug at all",
        "descripton": "misspelt",
        "configurations": ["no", "object"],
        "secret_mappings": [{ "target_field": 7, "secret_referenc_id": "bedrock-key" }],
        "tags": { "team": 5 },
    })
}

criterion_group!(
    benches, start, search, requests, list, observe, audit, results, encode, policy
);
criterion_main!(benches);
