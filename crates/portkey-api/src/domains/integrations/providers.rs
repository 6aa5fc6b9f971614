//! The AI providers that this version knows.

use portkey_operation::{Findings, JsonMap, did_you_mean};
use serde_json::Value;

/// Ids of AI providers, as the open-source gateway has them, and those of Portkey's OpenAPI document.
///
/// No schema lists them, because Portkey adds some every month.
const PROVIDERS: &[&str] = &[
    "302ai",
    "ai21",
    "anthropic",
    "anyscale",
    "azure-ai",
    "azure-openai",
    "bedrock",
    "bytez",
    "cerebras",
    "cohere",
    "cometapi",
    "cortex",
    "dashscope",
    "deepbricks",
    "deepinfra",
    "deepseek",
    "featherless-ai",
    "fireworks-ai",
    "github",
    "google",
    "groq",
    "huggingface",
    "hyperbolic",
    "inference-net",
    "jina",
    "kluster-ai",
    "krutrim",
    "lambda",
    "lemonfox-ai",
    "lepton",
    "lingyi",
    "matterai",
    "meshy",
    "milvus",
    "mistral-ai",
    "modal",
    "monsterapi",
    "moonshot",
    "ncompass",
    "nebius",
    "nextbit",
    "nomic",
    "novita-ai",
    "nscale",
    "ollama",
    "openai",
    "openrouter",
    "palm",
    "perplexity-ai",
    "portkey",
    "predibase",
    "qdrant",
    "recraft-ai",
    "reka-ai",
    "replicate",
    "sagemaker",
    "sambanova",
    "segmind",
    "siliconflow",
    "stability-ai",
    "together-ai",
    "triton",
    "tripo3d",
    "upstage",
    "vertex-ai",
    "voyage",
    "workers-ai",
    "x-ai",
    "z-ai",
    "zhipu",
];

/// Warns of a provider that this version does not know. It is passed on.
pub(in crate::domains) fn warn_of_unknown_provider(
    argument: &str,
    args: &JsonMap,
    findings: &mut Findings,
) {
    let Some(given) = args.get(argument).and_then(Value::as_str) else {
        return;
    };
    if PROVIDERS.contains(&given) || !findings.reserve_comparison() {
        return;
    }
    let hint = did_you_mean(given, PROVIDERS.iter().copied());
    let shown: String = given.chars().take(60).collect();
    findings.warn(format_args!(
        "`{argument}`: `{shown}` is not known to this version and was passed on unchecked{hint}"
    ));
}
