//! Expressions of `when:` in CEL: parsed once, bounded in size and effort, evaluated for each call.
//!
//! Several limits bound an evaluation. Expressions are short and shallow, macros cannot be nested,
//! and `map` is not available. Arguments beyond [`MAX_ARGUMENT_VALUES`] or
//! [`MAX_ARGUMENT_TEXT_BYTES`] are not evaluated. Regular expressions have to be literals, so that
//! they are compiled with the policy.

mod scope;
mod time_functions;
mod value;

use std::sync::{Arc, LazyLock};

use cel::{
    Context, Env, ExecutionError, Value,
    common::{
        ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators},
        traits::Container,
        types::{CelBool, CelString, DYN_TYPE, Type},
        value::Val,
    },
    parser::Parser,
};
use regex::Regex;

use self::scope::ExpressionScope;
use super::condition::compile_regex;

pub(super) use self::scope::CallVariables;
pub(super) use self::value::ArgumentSize;
pub use self::value::{MAX_ARGUMENT_TEXT_BYTES, MAX_ARGUMENT_VALUES};

/// Maximum length of an expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 1_000;
/// Maximum number of characters that can open a nesting level. The limit bounds the stack of the
/// parser.
const MAX_NESTING_CHARS: usize = 150;
/// Stack size of the parser thread, in bytes. The parser takes some 100 kB for each bracket.
const PARSER_STACK_BYTES: usize = 1 << 24;
/// Maximum nesting depth of an expression.
const MAX_DEPTH: usize = 32;
/// Maximum product of values and text bytes, if a macro iterates over arguments.
const MAX_MACRO_WORK: usize = 1 << 28;

/// Variables of expressions.
const VARIABLES: &[&str] = &[
    "args",
    "tool",
    "domain",
    "effect",
    "principal",
    "prompt",
    "resource",
    "source",
    "client",
    "transport",
    "session",
    "time",
    "counters",
    "tainted",
    "unknown_fields",
];

/// Variable that stands for `principal.claims`. No name in an expression begins so.
const CLAIMS_VARIABLE: &str = "@claims";

/// Functions of expressions, in addition to operators and macros.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
];

const OPERATORS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
];

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    #[expect(
        clippy::expect_used,
        reason = "each name is declared once, and no value is looked at"
    )]
    time_functions::add_time_functions(&mut env).expect("times are not declared elsewhere");
    Arc::new(env)
});

/// A boolean expression about a call.
#[derive(Debug)]
pub(super) struct Expression {
    tree: IdedExpr,
    patterns: Vec<Pattern>,
    /// Counters that the expression reads.
    pub(super) counters: Vec<String>,
    /// True if the expression reads arguments.
    pub(super) uses_args: bool,
    /// Paths of the arguments that the expression reads, as lists of names.
    pub(super) arguments: Vec<Vec<String>>,
    /// True if the expression reads whether the session has seen untrusted content.
    pub(super) depends_on_taint: bool,
    /// True if the expression reads claims of the caller's token.
    uses_claims: bool,
    has_macro: bool,
}

/// A regular expression as a container of the texts that it matches: `x.matches('…')` is evaluated
/// as `x in …`.
#[derive(Clone, Debug)]
struct Pattern(Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &DYN_TYPE
    }

    fn cel_type() -> &'static Type {
        static DYN: Type = DYN_TYPE;
        &DYN
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }
}

impl Container for Pattern {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        match value.downcast_ref::<CelString<'_>>() {
            Some(text) => Ok(self.0.is_match(text.inner())),
            None => {
                let of = value.get_type().name().to_owned();
                Err(ExecutionError::no_such_overload("matches", vec![of]))
            }
        }
    }
}

impl Expression {
    /// Parses and checks an expression.
    ///
    /// # Errors
    /// Returns an error if the expression is invalid, uses an unknown name, or exceeds a limit.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(format!(
                "the expression is longer than {MAX_EXPRESSION_BYTES} bytes"
            ));
        }
        let opens_level = |c: &char| "+-*/%<>=!?:.[({&|".contains(*c);
        if source.chars().filter(opens_level).count() > MAX_NESTING_CHARS {
            return Err("the expression is too long; split the rule".to_owned());
        }
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
            let reading = reader.spawn_scoped(scope, || Self::parse(source));
            let read = reading
                .map_err(|error| format!("it cannot be read: {error}"))?
                .join();
            read.unwrap_or_else(|_| Err("it cannot be read".to_owned()))
        })
    }

    fn parse(source: &str) -> Result<Self, String> {
        let parser = Parser::new()
            .max_recursion_depth(24)
            .error_recovery_limit(1);
        let tree = parser.parse(source).map_err(|errors| {
            let first = errors.errors.first();
            first.map_or_else(
                || "it is no expression".to_owned(),
                |error| error.msg.clone(),
            )
        })?;
        let mut expression = Self {
            tree: IdedExpr::default(),
            patterns: Vec::new(),
            counters: Vec::new(),
            uses_args: false,
            arguments: Vec::new(),
            depends_on_taint: false,
            uses_claims: false,
            has_macro: false,
        };
        expression.tree = expression.check_node(tree, 0, &mut Vec::new(), false)?;
        Ok(expression)
    }

    /// Checks the limits and returns the tree with calls of `matches` resolved.
    fn check_node(
        &mut self,
        mut node: IdedExpr,
        depth: usize,
        bound: &mut Vec<String>,
        looping: bool,
    ) -> Result<IdedExpr, String> {
        if let Some(names) = argument_path(&node, bound) {
            // A prefix of a recorded path is part of that path.
            let is_part = |longer: &Vec<String>| longer.starts_with(&names);
            if !self.arguments.iter().any(is_part) {
                self.arguments.push(names);
            }
        }
        if depth > MAX_DEPTH {
            return Err(format!(
                "the expression has more than {MAX_DEPTH} levels; split the rule"
            ));
        }
        let inner = |this: &mut Self, node: &mut IdedExpr, bound: &mut Vec<String>, looping| {
            *node = this.check_node(std::mem::take(node), depth + 1, bound, looping)?;
            Ok::<(), String>(())
        };
        if is_claims(&node, bound) {
            if matches!(&node.expr, Expr::Select(select) if select.test) {
                return Err("write which claim: `has(principal.claims.name)`".to_owned());
            }
            self.uses_claims = true;
            node.expr = Expr::Ident(CLAIMS_VARIABLE.to_owned());
            return Ok(node);
        }
        match &mut node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.check_name(name, bound)?,
            Expr::Select(select) => match is_counters_variable(&select.operand) {
                true => self.counters.push(select.field.clone()),
                false => inner(self, &mut select.operand, bound, looping)?,
            },
            Expr::Call(call) => {
                if let Some(name) = indexed_counter(call) {
                    self.counters.push(name);
                    return Ok(node);
                }
                if call.func_name == "matches" {
                    self.resolve_pattern(call)?;
                } else if !OPERATORS.contains(&call.func_name.as_str())
                    && !FUNCTIONS.contains(&call.func_name.as_str())
                {
                    return Err(format!("there is no function `{}`", call.func_name));
                }
                if let Some(target) = &mut call.target {
                    inner(self, target, bound, looping)?;
                }
                for arg in &mut call.args {
                    inner(self, arg, bound, looping)?;
                }
            }
            Expr::List(list) => {
                for element in &mut list.elements {
                    inner(self, element, bound, looping)?;
                }
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err("messages are not offered".to_owned());
                    };
                    inner(self, &mut entry.key, bound, looping)?;
                    inner(self, &mut entry.value, bound, looping)?;
                }
            }
            Expr::Struct(_) => return Err("messages are not offered".to_owned()),
            Expr::Comprehension(each) => {
                if looping {
                    return Err("one macro may not stand inside another".to_owned());
                }
                if is_map_macro(each) {
                    return Err("`map` is not offered".to_owned());
                }
                self.has_macro = true;
                inner(self, &mut each.iter_range, bound, false)?;
                inner(self, &mut each.accu_init, bound, true)?;
                let outer = bound.len();
                bound.extend([each.iter_var.clone(), each.accu_var.clone()]);
                bound.extend(each.iter_var2.clone());
                for part in [&mut each.loop_cond, &mut each.loop_step, &mut each.result] {
                    inner(self, part, bound, true)?;
                }
                bound.truncate(outer);
            }
        }
        Ok(node)
    }

    fn check_name(&mut self, name: &str, bound: &[String]) -> Result<(), String> {
        if bound.iter().any(|bound| bound == name) || name.starts_with('@') {
            return Ok(());
        }
        match name {
            "counters" => Err("write which counter: `counters.name`".to_owned()),
            "args" => {
                self.uses_args = true;
                Ok(())
            }
            "tainted" => {
                self.depends_on_taint = true;
                Ok(())
            }
            name if VARIABLES.contains(&name) => Ok(()),
            name => Err(format!(
                "there is no `{name}`; there are {}",
                VARIABLES.join(", ")
            )),
        }
    }

    /// Rewrites `x.matches('…')` as a lookup in the compiled pattern.
    fn resolve_pattern(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let mut args = std::mem::take(&mut call.args);
        let text = match args.pop().map(|arg| arg.expr) {
            Some(Expr::Literal(LiteralValue::String(text))) => text,
            _ => return Err("`matches` takes a text that is written out".to_owned()),
        };
        let target = call
            .target
            .take()
            .map(|target| *target)
            .or_else(|| args.pop());
        let (Some(target), true) = (target, args.is_empty()) else {
            return Err("`matches` takes one text".to_owned());
        };
        let pattern = IdedExpr {
            id: 0,
            expr: Expr::Ident(format!("@{}", self.patterns.len())),
        };
        self.patterns.push(Pattern(compile_regex(text.inner())?));
        operators::IN.clone_into(&mut call.func_name);
        call.args = vec![target, pattern];
        Ok(())
    }

    /// Evaluates the expression for a call. `counted` holds the values of the counters that the
    /// expression reads, in their order.
    ///
    /// # Errors
    /// Returns an error if the evaluation fails. The message contains no value of an argument.
    pub(super) fn is_true(
        &self,
        call: &CallVariables<'_>,
        counted: &[u64],
    ) -> Result<bool, String> {
        if self.uses_args {
            let extent = call.argument_size();
            let work = extent.values.saturating_mul(extent.text_bytes);
            if !extent.is_within() || (self.has_macro && work > MAX_MACRO_WORK) {
                return Err("the arguments are too large for a rule to look at".to_owned());
            }
        }
        if self.uses_claims {
            call.check_claims().map_err(|error| error.to_string())?;
        }
        let scope = ExpressionScope {
            expression: self,
            variables: call,
            counts: counted,
        };
        let mut context = Context::with_env(ENVIRONMENT.clone());
        context.set_variable_resolver(&scope);
        let value =
            Value::resolve_val(&self.tree, &context).map_err(|error| error_message(&error))?;
        let truth = value.downcast_ref::<CelBool>().map(|truth| *truth.inner());
        truth.ok_or_else(|| "it is neither true nor false".to_owned())
    }
}

/// Returns true if the node reads `principal.claims`.
fn is_claims(node: &IdedExpr, bound: &[String]) -> bool {
    let Expr::Select(select) = &node.expr else {
        return false;
    };
    let is_principal = |name: &String| name == "principal" && !bound.contains(name);
    select.field == "claims"
        && matches!(&select.operand.expr, Expr::Ident(name) if is_principal(name))
}

fn is_counters_variable(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Ident(name) if name == "counters")
}

/// Returns the path of the argument that the node reads, if it reads one.
fn argument_path(node: &IdedExpr, bound: &[String]) -> Option<Vec<String>> {
    let inner = |operand: &IdedExpr, name: &str| match &operand.expr {
        Expr::Ident(ident) => {
            let is_args = ident == "args" && !bound.contains(ident);
            is_args.then(|| vec![name.to_owned()])
        }
        _ => {
            let mut names = argument_path(operand, bound)?;
            names.push(name.to_owned());
            Some(names)
        }
    };
    match &node.expr {
        Expr::Select(select) => inner(&select.operand, &select.field),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [
                operand,
                IdedExpr {
                    expr: Expr::Literal(LiteralValue::String(name)),
                    ..
                },
            ] => inner(operand, name.inner()),
            _ => None,
        },
        _ => None,
    }
}

/// Returns true for the expansion of `map`: a loop that appends other values than the items of the
/// list that it iterates over.
fn is_map_macro(each: &ComprehensionExpr) -> bool {
    let step = match &each.loop_step.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => call.args.get(1),
        _ => Some(&each.loop_step),
    };
    match step.map(|step| &step.expr) {
        Some(Expr::Call(call)) if call.func_name == operators::ADD => match call.args.as_slice() {
            [
                IdedExpr {
                    expr: Expr::Ident(to),
                    ..
                },
                IdedExpr {
                    expr: Expr::List(added),
                    ..
                },
            ] => {
                let item = |one: &IdedExpr| matches!(&one.expr, Expr::Ident(name) if *name == each.iter_var);
                *to == each.accu_var && !added.elements.iter().all(item)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Returns the name of the counter in `counters["name"]`.
fn indexed_counter(call: &CallExpr) -> Option<String> {
    match call.args.as_slice() {
        [
            of,
            IdedExpr {
                expr: Expr::Literal(LiteralValue::String(name)),
                ..
            },
        ] if call.func_name == operators::INDEX && is_counters_variable(of) => {
            Some(name.inner().to_owned())
        }
        _ => None,
    }
}

/// Describes an error. The messages of the CEL library can contain values of arguments, which may
/// be secret.
fn error_message(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => format!("there is no `{name}`; ask `has(…)` first"),
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::NoSuchOverload(error) => {
            let function = error.function();
            let types = error.argument_types().join(" and ");
            format!("`{}` does not go with {types}", function.trim_matches('_'))
        }
        ExecutionError::IndexOutOfBounds(_) => "a list has fewer items".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "a division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number is too large".to_owned(),
        _ => "a value is of a kind that it does not take".to_owned(),
    }
}
