//! Rules of `mcpAuthorization` in the configuration of agentgateway.

use serde_json::Value;

use super::{
    ImportError, ImportedRule, Output, RuleEffect, Subjects,
    expression::{ErrorRule, Literal, Node, Parser},
    line_of, parse_yaml,
    tokens::tokenize,
};

/// Maximum number of alternatives of a rule.
const MAX_ALTERNATIVES: usize = 32;

/// Kind of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleKind {
    Allow,
    Deny,
    Require,
}

pub(super) fn import(text: &str, output: &mut Output) -> Result<(), ImportError> {
    let document = parse_yaml(text)?;
    let mut blocks = Vec::new();
    find_blocks(&document, &mut blocks, 0);
    let no_rules = || ImportError("the file has no `mcpAuthorization` with `rules`".to_owned());
    let (first, others) = blocks.split_first().ok_or_else(no_rules)?;
    let mut offset = 0;
    for rule in first.iter() {
        add_rule(text, rule, &mut offset, output);
    }
    for rule in others.iter().flat_map(|block| block.iter()) {
        let (kind, source) = read_rule(rule);
        let line = find_line(text, source.unwrap_or_default(), &mut offset);
        let reason = "it is of another `mcpAuthorization` than the first; import each by itself";
        output.report(line, kind.effect(), reason);
    }
    Ok(())
}

impl RuleKind {
    const fn effect(self) -> RuleEffect {
        match self {
            Self::Allow => RuleEffect::Allow,
            Self::Deny | Self::Require => RuleEffect::Deny,
        }
    }
}

/// Finds the lists of rules, at any depth.
fn find_blocks<'a>(value: &'a Value, blocks: &mut Vec<&'a Vec<Value>>, depth: usize) {
    if depth > 32 {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let is_block = matches!(&**name, "mcpAuthorization" | "mcp_authorization");
                match inner.get("rules").and_then(Value::as_array) {
                    Some(rules) if is_block => blocks.push(rules),
                    _ => find_blocks(inner, blocks, depth + 1),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                find_blocks(item, blocks, depth + 1);
            }
        }
        _ => {}
    }
}

/// Returns the kind of a rule and its expression.
fn read_rule(rule: &Value) -> (RuleKind, Option<&str>) {
    let single = match rule {
        Value::String(text) => return (RuleKind::Allow, Some(text)),
        Value::Object(map) if map.len() == 1 => map.iter().next(),
        _ => None,
    };
    match single.map(|(name, text)| (name.as_str(), text.as_str())) {
        Some(("allow", text)) => (RuleKind::Allow, text),
        Some(("deny", text)) => (RuleKind::Deny, text),
        Some(("require", text)) => (RuleKind::Require, text),
        // What is not understood may deny.
        _ => (RuleKind::Deny, None),
    }
}

/// Returns the line of a rule's text, searched after those before it.
fn find_line(text: &str, rule: &str, offset: &mut usize) -> u64 {
    let first = rule.lines().next().unwrap_or_default().trim();
    let rest = text.get(*offset..).unwrap_or_default();
    if !first.is_empty()
        && let Some(found) = rest.find(first)
    {
        *offset += found + first.len();
    }
    line_of(text, *offset)
}

fn add_rule(text: &str, rule: &Value, offset: &mut usize, output: &mut Output) {
    let (kind, source) = read_rule(rule);
    output.denies_by_default |= kind == RuleKind::Allow;
    let line = find_line(text, source.unwrap_or_default(), offset);
    let Some(source) = source else {
        output.report(
            line,
            kind.effect(),
            "it is neither a text nor one of allow, deny, require",
        );
        return;
    };
    match map_rule(kind, source) {
        Ok(rules) => {
            for (index, (subjects, when)) in rules.into_iter().enumerate() {
                let part = match index {
                    0 => String::new(),
                    index => format!(", part {}", index + 1),
                };
                let rule = ImportedRule {
                    name: format!("agentgateway, line {line}{part}"),
                    effect: kind.effect(),
                    subjects,
                    when,
                };
                output.add(line, rule);
            }
        }
        Err(reason) => output.report(line, kind.effect(), &reason),
    }
}

type Mapped = Vec<(Subjects, Option<String>)>;

fn map_rule(kind: RuleKind, source: &str) -> Result<Mapped, String> {
    let tokens = tokenize(source, 1).map_err(|(_, reason)| reason)?;
    let mut parser = Parser::new(&tokens);
    let node = parser.parse_condition()?;
    if parser.peek().is_some() {
        return Err("a part of the expression does not map".to_owned());
    }
    if kind == RuleKind::Require {
        // It is not satisfied where the expression is false, or an error.
        let satisfied = node.to_cel(true, ErrorRule::IsAbsorbed, map_path)?;
        return Ok(vec![(Subjects::all(), Some(format!("!{satisfied}")))]);
    }
    let mut alternatives = Vec::new();
    split_or(node, &mut alternatives);
    if alternatives.len() > MAX_ALTERNATIVES {
        return Err("the expression has too many alternatives".to_owned());
    }
    alternatives.into_iter().map(map_alternative).collect()
}

fn split_or(node: Node, alternatives: &mut Vec<Node>) {
    match node {
        Node::Or(a, b) => {
            split_or(*a, alternatives);
            split_or(*b, alternatives);
        }
        node => alternatives.push(node),
    }
}

fn split_and(node: Node, terms: &mut Vec<Node>) {
    match node {
        Node::And(a, b) => {
            split_and(*a, terms);
            split_and(*b, terms);
        }
        node => terms.push(node),
    }
}

/// Maps a conjunction: at most one term names the subject, and the others are about the caller.
fn map_alternative(node: Node) -> Result<(Subjects, Option<String>), String> {
    let mut terms = Vec::new();
    split_and(node, &mut terms);
    let mut subjects = None;
    let mut conditions = Vec::new();
    for term in terms {
        match map_subject(&term)? {
            Some(_) if subjects.is_some() => {
                return Err("it names its tool or prompt more than once".to_owned());
            }
            Some(found) => subjects = Some(found),
            None if term == Node::Constant(true) => {}
            None => conditions.push(term.to_cel(true, ErrorRule::IsAbsorbed, map_path)?),
        }
    }
    let when = (!conditions.is_empty()).then(|| conditions.join(" && "));
    Ok((subjects.unwrap_or_else(Subjects::all), when))
}

/// Maps a term that names tools or prompts; `None` for another term.
fn map_subject(term: &Node) -> Result<Option<Subjects>, String> {
    let (path, patterns) = match term {
        Node::Compare(path, "==", Literal::Text(name)) => (path, vec![escape_glob(name)?]),
        Node::OneOf(path, names) => {
            let names = names.iter().map(|name| match name {
                Literal::Text(name) => escape_glob(name),
                _ => Err("a name is a text".to_owned()),
            });
            (path, names.collect::<Result<_, _>>()?)
        }
        Node::StartsWith(path, start) => (path, vec![format!("{}*", escape_glob(start)?)]),
        _ => return Ok(None),
    };
    let names: Vec<_> = path.iter().map(String::as_str).collect();
    match names.as_slice() {
        ["mcp", "tool", "name"] => Ok(Some(Subjects {
            tools: patterns,
            ..Subjects::default()
        })),
        ["mcp", "prompt", "name"] => Ok(Some(Subjects {
            prompts: patterns,
            ..Subjects::default()
        })),
        _ => Ok(None),
    }
}

fn escape_glob(name: &str) -> Result<String, String> {
    match name.contains(['*', '?', '[', ']', '{', '}', '\\', '!']) {
        true => Err(format!("`{name}` has a character of globs")),
        false => Ok(name.to_owned()),
    }
}

/// Maps the claims of the caller.
fn map_path(path: &[String]) -> Result<Vec<String>, String> {
    match path.split_first() {
        Some((root, claims)) if root == "jwt" && !claims.is_empty() => {
            let base = ["principal", "claims"].map(str::to_owned);
            Ok(base.into_iter().chain(claims.iter().cloned()).collect())
        }
        _ => Err(format!("`{}` does not map", path.join("."))),
    }
}
