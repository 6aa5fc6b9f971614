//! Cedar policies of ToolHive: the documented subset about MCP. Everything else is refused.

use serde_json::Value;

use super::{
    ImportError, ImportedRule, Output, RuleEffect, Subjects,
    expression::{ErrorRule, Node, Parser},
    line_of, parse_yaml, quote,
    tokens::{TokenKind, tokenize},
};

pub(super) fn import(text: &str, output: &mut Output) -> Result<(), ImportError> {
    // Cedar denies what no policy permits.
    output.denies_by_default = true;
    let policies = match parse_yaml(text) {
        Ok(document @ Value::Object(_)) => {
            let cedar = document.get("cedar").unwrap_or(&document);
            let policies = cedar.get("policies").and_then(Value::as_array).cloned();
            let entities = cedar.get("entities_json").and_then(Value::as_str);
            if entities.is_some_and(|entities| !matches!(entities.trim(), "" | "[]")) {
                let reason = "`entities_json` does not map: there are no entities here";
                output.report(1, RuleEffect::Deny, reason);
            }
            policies.ok_or_else(|| ImportError("the file has no `cedar.policies`".to_owned()))?
        }
        // A configuration with an error in it, and not policies alone.
        Err(error) if looks_like_configuration(text) => return Err(error),
        _ => vec![Value::from(text)],
    };
    let mut offset = 0;
    for policy in &policies {
        let Some(policy) = policy.as_str() else {
            output.report(1, RuleEffect::Deny, "a policy is no text");
            continue;
        };
        let first = policy.lines().next().unwrap_or_default().trim();
        let rest = text.get(offset..).unwrap_or_default();
        // In JSON, the quotes of a policy are escaped.
        let escaped = quote(first);
        let escaped = escaped.trim_matches('"');
        let found = rest.find(first).or_else(|| rest.find(escaped));
        if let Some(found) = found.filter(|_| !first.is_empty()) {
            offset += found;
        }
        let line = text.get(offset..).unwrap_or_default().lines().next();
        // In quotes, all lines of a policy may stand on one of the file.
        let is_one_line =
            policy.lines().count() > 1 && line.is_some_and(|line| line.contains("\\n"));
        let lines = PolicyLines {
            first: line_of(text, offset),
            is_one_line,
        };
        import_policies(policy, lines, output);
        // Another policy of the same text is a later one.
        let rest = text.get(offset..).unwrap_or_default();
        offset += rest.chars().next().map_or(0, char::len_utf8);
    }
    Ok(())
}

/// Returns true if a line begins as those of ToolHive's configuration do, in YAML or JSON.
fn looks_like_configuration(text: &str) -> bool {
    let begins = |line: &str| {
        let line = line.trim_start().trim_start_matches(['{', '"', ' ']);
        ["cedar", "policies"].iter().any(|name| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.trim_start_matches('"').starts_with(':'))
        })
    };
    text.lines().any(begins)
}

/// The lines of the file at which a text of policies stands.
#[derive(Clone, Copy)]
struct PolicyLines {
    first: u64,
    is_one_line: bool,
}

impl PolicyLines {
    /// Returns the line of the file for a line that was counted in the text.
    const fn find(self, counted: u64) -> u64 {
        match self.is_one_line {
            true => self.first,
            false => counted,
        }
    }
}

fn import_policies(text: &str, lines: PolicyLines, output: &mut Output) {
    let tokens = match tokenize(text, lines.first) {
        Ok(tokens) => tokens,
        Err((line, reason)) => {
            output.report(lines.find(line), RuleEffect::Deny, &reason);
            return;
        }
    };
    let mut parser = Parser::new(&tokens);
    while parser.peek().is_some() {
        let line = lines.find(parser.line());
        let mut policy = CedarPolicy::default();
        match policy.parse(&mut parser) {
            Ok(()) => policy.add_to(line, output),
            Err(reason) => {
                output.report(line, policy.effect.unwrap_or(RuleEffect::Deny), &reason);
                parser.skip_statement();
            }
        }
    }
}

#[derive(Default)]
struct CedarPolicy {
    effect: Option<RuleEffect>,
    id: Option<String>,
    ignored: Vec<String>,
    principal: Option<String>,
    /// Names of the actions; `None` for all.
    actions: Option<Vec<String>>,
    /// Type and id of the resource; `None` for all.
    resource: Option<(String, String)>,
    /// Conditions, and the value that each needs.
    conditions: Vec<(Node, bool)>,
}

impl CedarPolicy {
    fn parse(&mut self, parser: &mut Parser<'_>) -> Result<(), String> {
        while parser.takes("@") {
            let name = take_ident(parser)?;
            parser.expect("(")?;
            let value = take_text(parser)?;
            parser.expect(")")?;
            match &*name {
                "id" => self.id = Some(value),
                _ => self.ignored.push(name),
            }
        }
        self.effect = Some(match &*take_ident(parser)? {
            "permit" => RuleEffect::Allow,
            "forbid" => RuleEffect::Deny,
            other => return Err(format!("`{other}` is neither permit nor forbid")),
        });
        parser.expect("(")?;
        self.parse_scope(parser)?;
        parser.expect(")")?;
        loop {
            let wanted = match () {
                () if parser.takes_word("when") => true,
                () if parser.takes_word("unless") => false,
                () => break,
            };
            parser.expect("{")?;
            self.conditions.push((parser.parse_condition()?, wanted));
            parser.expect("}")?;
        }
        parser.expect(";")
    }

    fn parse_scope(&mut self, parser: &mut Parser<'_>) -> Result<(), String> {
        expect_word(parser, "principal")?;
        if parser.takes("==") {
            match take_entity(parser)? {
                (kind, id) if kind == "Client" => self.principal = Some(id),
                (kind, _) => return Err(format!("a principal of the type `{kind}` does not map")),
            }
        }
        expect_comma(parser, "principal")?;
        expect_word(parser, "action")?;
        if parser.takes("==") {
            self.actions = Some(vec![take_action(parser)?]);
        } else if parser.takes_word("in") {
            parser.expect("[")?;
            let mut actions = vec![take_action(parser)?];
            while parser.takes(",") {
                actions.push(take_action(parser)?);
            }
            parser.expect("]")?;
            self.actions = Some(actions);
        }
        expect_comma(parser, "action")?;
        expect_word(parser, "resource")?;
        if parser.takes("==") {
            self.resource = Some(take_entity(parser)?);
        }
        match parser.peek() {
            Some(TokenKind::Sign(")")) => Ok(()),
            _ => Err("the scope of `resource` does not map".to_owned()),
        }
    }

    fn add_to(self, line: u64, output: &mut Output) {
        for name in &self.ignored {
            let note = format!("line {line}: the annotation `@{name}` decides nothing");
            output.notes.push(note);
        }
        let effect = self.effect.unwrap_or(RuleEffect::Deny);
        match self.map() {
            Ok((Some(subjects), when)) => {
                let id = self.id.as_ref().map(|id| format!(" {id}"));
                let rule = ImportedRule {
                    name: format!("toolhive{}, line {line}", id.unwrap_or_default()),
                    effect,
                    subjects,
                    when,
                };
                output.add(line, rule);
            }
            Ok((None, _)) => output.notes.push(format!(
                "line {line}: it is about lists only, which show here what may be called"
            )),
            Err(reason) => output.report(line, effect, &reason),
        }
    }

    /// Returns the subjects, or `None` if there is nothing to decide, and the condition.
    fn map(&self) -> Result<(Option<Subjects>, Option<String>), String> {
        let mut subjects = Subjects::default();
        let any = || vec!["*".to_owned()];
        let has = |action: &str| match &self.actions {
            None => true,
            Some(actions) => actions.iter().any(|one| one == action),
        };
        let pattern = |id: &String| match id.contains(['*', '?', '[', ']', '{', '}', '\\', '!']) {
            true => Err(format!("`{id}` has a character of globs")),
            false => Ok(vec![id.clone()]),
        };
        match &self.resource {
            None => {
                if has("call_tool") {
                    subjects.tools = any();
                }
                if has("get_prompt") {
                    subjects.prompts = any();
                }
                if has("read_resource") {
                    subjects.resources = any();
                }
            }
            Some((kind, id)) if kind == "Tool" && has("call_tool") => subjects.tools = pattern(id)?,
            Some((kind, id)) if kind == "Prompt" && has("get_prompt") => {
                subjects.prompts = pattern(id)?;
            }
            Some((kind, _)) if kind == "Resource" => {
                let reason = "ToolHive compares resources by a sanitized URI; write the URI in `match: { resources }`";
                return Err(reason.to_owned());
            }
            Some((kind, _)) => {
                return Err(format!(
                    "the resource type `{kind}` does not go with the action"
                ));
            }
        }
        let lists_only = self
            .actions
            .as_ref()
            .is_some_and(|actions| actions.iter().all(|action| action.starts_with("list_")));
        if lists_only {
            // A forbidden list would hide what may be called.
            return match self.effect {
                Some(RuleEffect::Allow) => Ok((None, None)),
                _ => {
                    Err("forbidding a list does not map: lists show what may be called".to_owned())
                }
            };
        }
        let mut when = Vec::new();
        if let Some(client) = &self.principal {
            let client = quote(client);
            when.push(format!(
                "has(principal.claims.sub) && principal.claims.sub == {client}"
            ));
        }
        for (condition, wanted) in &self.conditions {
            if *condition != Node::Constant(*wanted) {
                when.push(condition.to_cel(*wanted, ErrorRule::Stops, map_path)?);
            }
        }
        Ok((
            Some(subjects),
            (!when.is_empty()).then(|| when.join(" && ")),
        ))
    }
}

/// Maps the attributes that ToolHive sets.
fn map_path(path: &[String]) -> Result<Vec<String>, String> {
    let unmapped = || format!("`{}` does not map", path.join("."));
    let (root, rest) = path.split_first().ok_or_else(unmapped)?;
    let (name, rest) = rest.split_first().ok_or_else(unmapped)?;
    let is_context = root == "context";
    let (base, name): (&[&str], &str) = match name.split_once('_') {
        Some(("claim", claim)) if is_context || root == "principal" => {
            (&["principal", "claims"], claim)
        }
        // A name that ends so stands for a value that is no scalar.
        Some(("arg", argument)) if is_context && !argument.ends_with("_present") => {
            (&["args"], argument)
        }
        _ => return Err(unmapped()),
    };
    if name.is_empty() {
        return Err(unmapped());
    }
    let base = base.iter().map(|part| (*part).to_owned());
    Ok(base
        .chain([name.to_owned()])
        .chain(rest.iter().cloned())
        .collect())
}

fn take_ident(parser: &mut Parser<'_>) -> Result<String, String> {
    match parser.next() {
        Some(TokenKind::Ident(name)) => Ok(name.clone()),
        _ => Err("a name is expected".to_owned()),
    }
}

fn take_text(parser: &mut Parser<'_>) -> Result<String, String> {
    match parser.next() {
        Some(TokenKind::Text(text)) => Ok(text.clone()),
        _ => Err("a text is expected".to_owned()),
    }
}

/// Takes an entity such as `Tool::"weather"`.
fn take_entity(parser: &mut Parser<'_>) -> Result<(String, String), String> {
    let kind = take_ident(parser)?;
    parser.expect("::")?;
    Ok((kind, take_text(parser)?))
}

fn take_action(parser: &mut Parser<'_>) -> Result<String, String> {
    const ACTIONS: [&str; 6] = [
        "call_tool",
        "get_prompt",
        "read_resource",
        "list_tools",
        "list_prompts",
        "list_resources",
    ];
    match take_entity(parser)? {
        (kind, name) if kind == "Action" && ACTIONS.contains(&&*name) => Ok(name),
        (kind, name) => Err(format!("`{kind}::\"{name}\"` does not map")),
    }
}

fn expect_word(parser: &mut Parser<'_>, word: &str) -> Result<(), String> {
    match parser.takes_word(word) {
        true => Ok(()),
        false => Err(format!("`{word}` is expected")),
    }
}

fn expect_comma(parser: &mut Parser<'_>, scope: &str) -> Result<(), String> {
    match parser.takes(",") {
        true => Ok(()),
        false => Err(format!("the scope of `{scope}` does not map")),
    }
}
