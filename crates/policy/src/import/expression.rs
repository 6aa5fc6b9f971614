//! Conditions of other gateways: parsed, and written as expressions of this one.
//!
//! An absent claim is an error in all of these languages, and an error means that a rule does not
//! apply. Here it would deny the call. A condition is therefore written as the two expressions
//! "true without an error" and "false without an error", with the guards that each part needs.

use super::{
    MAX_EXPRESSION_BYTES, quote,
    tokens::{Token, TokenKind},
};

/// Maximum nesting depth of a condition.
const MAX_DEPTH: usize = 24;

/// Maximum number of comparisons and other leaves of a condition. Conditions are trees, which are
/// walked by recursion.
const MAX_LEAVES: usize = 500;

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Constant(bool),
    /// `path has name` or `has(path.name)`.
    Has(Vec<String>),
    /// A path compared with a literal.
    Compare(Vec<String>, &'static str, Literal),
    /// A list that contains a literal.
    Contains(Vec<String>, Literal),
    /// A path that is one of several literals.
    OneOf(Vec<String>, Vec<Literal>),
    /// A text that begins with another.
    StartsWith(Vec<String>, String),
    /// A path that is true.
    Truth(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(i64),
    Truth(bool),
}

impl Literal {
    fn to_cel(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

/// Evaluation of `&&` and `||` if one side is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorRule {
    /// From left to right: an error on the way is the result (Cedar).
    Stops,
    /// The other side may decide (CEL).
    IsAbsorbed,
}

/// Parses conditions.
pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    /// Number of leaves of the condition that is being parsed.
    leaves: usize,
}

impl<'a> Parser<'a> {
    pub(super) const fn new(tokens: &'a [Token]) -> Self {
        Self {
            tokens,
            at: 0,
            leaves: 0,
        }
    }

    pub(super) fn peek(&self) -> Option<&'a TokenKind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    pub(super) fn next(&mut self) -> Option<&'a TokenKind> {
        let token = self.peek();
        self.at += 1;
        token
    }

    pub(super) fn line(&self) -> u64 {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        token.map_or(1, |token| token.line)
    }

    /// Takes the sign if it is next.
    pub(super) fn takes(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Some(TokenKind::Sign(next)) if *next == sign);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes the word if it is next.
    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Some(TokenKind::Ident(next)) if next == word);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), String> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(format!("`{sign}` is expected")),
        }
    }

    /// Continues after the next semicolon.
    pub(super) fn skip_statement(&mut self) {
        while let Some(token) = self.next() {
            if *token == TokenKind::Sign(";") {
                return;
            }
        }
    }

    /// Parses a condition.
    pub(super) fn parse_condition(&mut self) -> Result<Node, String> {
        self.leaves = 0;
        self.parse_or(0)
    }

    fn parse_or(&mut self, depth: usize) -> Result<Node, String> {
        if depth > MAX_DEPTH {
            return Err("the condition has too many levels".to_owned());
        }
        let mut left = self.parse_and(depth)?;
        while self.takes("||") {
            left = Node::Or(left.into(), self.parse_and(depth)?.into());
        }
        Ok(left)
    }

    fn parse_and(&mut self, depth: usize) -> Result<Node, String> {
        let mut left = self.parse_unary(depth)?;
        while self.takes("&&") {
            left = Node::And(left.into(), self.parse_unary(depth)?.into());
        }
        Ok(left)
    }

    fn parse_unary(&mut self, depth: usize) -> Result<Node, String> {
        if depth > MAX_DEPTH {
            return Err("the condition has too many levels".to_owned());
        }
        if self.takes("!") {
            return Ok(Node::Not(self.parse_unary(depth + 1)?.into()));
        }
        if self.takes("(") {
            let inner = self.parse_or(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        self.parse_comparison()
    }

    fn parse_comparison(&mut self) -> Result<Node, String> {
        self.leaves += 1;
        if self.leaves > MAX_LEAVES {
            return Err(format!("the condition has more than {MAX_LEAVES} parts"));
        }
        if self.takes_word("has") {
            self.expect("(")?;
            let path = self.parse_path()?;
            self.expect(")")?;
            return Ok(Node::Has(path));
        }
        if let Some(literal) = self.take_literal() {
            if self.takes_word("in") {
                return Ok(Node::Contains(self.parse_path()?, literal));
            }
            if self.takes("==") {
                return Ok(Node::Compare(self.parse_path()?, "==", literal));
            }
            return match literal {
                Literal::Truth(truth) => Ok(Node::Constant(truth)),
                _ => Err("a literal stands alone".to_owned()),
            };
        }
        let mut path = self.parse_path()?;
        if self.takes("(") {
            let function = path.pop().unwrap_or_default();
            let literal = self.take_literal();
            self.expect(")")?;
            return match (&*function, literal) {
                ("contains", Some(literal)) => Ok(Node::Contains(path, literal)),
                ("startsWith", Some(Literal::Text(text))) => Ok(Node::StartsWith(path, text)),
                _ => Err(format!("the function `{function}` does not map")),
            };
        }
        if self.takes_word("has") {
            match self.next() {
                Some(TokenKind::Ident(name) | TokenKind::Text(name)) => path.push(name.clone()),
                _ => return Err("`has` takes a name".to_owned()),
            }
            return Ok(Node::Has(path));
        }
        if self.takes_word("in") {
            return Ok(Node::OneOf(path, self.parse_list()?));
        }
        for sign in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.takes(sign) {
                let literal = self.take_literal();
                let literal = literal
                    .ok_or("a comparison with something else than a literal does not map")?;
                return Ok(Node::Compare(path, sign, literal));
            }
        }
        match self.peek() {
            None | Some(TokenKind::Sign("&&" | "||" | ")" | "}")) => Ok(Node::Truth(path)),
            Some(TokenKind::Ident(word)) => Err(format!("`{word}` does not map")),
            Some(_) => Err("a part of the condition does not map".to_owned()),
        }
    }

    fn parse_list(&mut self) -> Result<Vec<Literal>, String> {
        let mut literals = Vec::new();
        if self.takes("[") {
            literals.extend(self.take_literal());
            while self.takes(",") {
                literals.extend(self.take_literal());
            }
            self.expect("]")?;
        }
        match literals.is_empty() {
            true => Err("`in` maps with a list of literals only".to_owned()),
            false => Ok(literals),
        }
    }

    fn parse_path(&mut self) -> Result<Vec<String>, String> {
        let mut path = Vec::new();
        loop {
            match self.next() {
                Some(TokenKind::Ident(name)) => path.push(name.clone()),
                _ => return Err("a name is expected".to_owned()),
            }
            if !self.takes(".") {
                return Ok(path);
            }
        }
    }

    fn take_literal(&mut self) -> Option<Literal> {
        let literal = match self.peek()? {
            TokenKind::Text(text) => Literal::Text(text.clone()),
            TokenKind::Number(number) => Literal::Number(*number),
            TokenKind::Ident(word) if word == "true" => Literal::Truth(true),
            TokenKind::Ident(word) if word == "false" => Literal::Truth(false),
            _ => return None,
        };
        self.at += 1;
        Some(literal)
    }
}

/// Translates the path of an attribute to one of this server's variables.
pub(super) type MapPath = fn(&[String]) -> Result<Vec<String>, String>;

impl Node {
    /// Writes the expression that is true if the condition is `wanted` without an error.
    ///
    /// # Errors
    /// Returns an error if a part does not map, or the expression is longer than a policy takes. Parts
    /// are checked, too, because the sides of `&&` and `||` may be written more than once.
    pub(super) fn to_cel(
        &self,
        wanted: bool,
        errors: ErrorRule,
        map_path: MapPath,
    ) -> Result<String, String> {
        let written = self.write(wanted, errors, map_path)?;
        match written.len() <= MAX_EXPRESSION_BYTES {
            true => Ok(written),
            false => Err(format!(
                "its condition is longer than the {MAX_EXPRESSION_BYTES} bytes of an expression here; split the rule"
            )),
        }
    }

    fn write(&self, wanted: bool, errors: ErrorRule, map_path: MapPath) -> Result<String, String> {
        let write = |node: &Self, wanted| node.to_cel(wanted, errors, map_path);
        // With a leaf, the value itself; the guards are the same for both.
        let leaf = |path: &[String], value: &dyn Fn(&str) -> String| {
            let path = map_path(path)?;
            let value = value(&path.join("."));
            let value = match wanted {
                true => value,
                false => format!("!({value})"),
            };
            Ok(format!("({} && {value})", guards(&path).join(" && ")))
        };
        match self {
            Self::Constant(truth) => Ok((*truth == wanted).to_string()),
            Self::Not(inner) => write(inner, !wanted),
            Self::And(a, b) | Self::Or(a, b) => {
                // `a && b` is false as `!a || !b` is true.
                let is_and = matches!(self, Self::And(..)) == wanted;
                let left = write(a, wanted)?;
                let right = write(b, wanted)?;
                if is_and {
                    return Ok(format!("({left} && {right})"));
                }
                match errors {
                    ErrorRule::IsAbsorbed => Ok(format!("({left} || {right})")),
                    ErrorRule::Stops => {
                        let passed = write(a, !wanted)?;
                        Ok(format!("({left} || ({passed} && {right}))"))
                    }
                }
            }
            Self::Has(path) => {
                let path = map_path(path)?;
                let mut tests = guards(&path);
                let last = tests.pop().unwrap_or_default();
                let last = match wanted {
                    true => last,
                    false => format!("!{last}"),
                };
                tests.push(last);
                Ok(format!("({})", tests.join(" && ")))
            }
            Self::Compare(path, sign, literal) => {
                leaf(path, &|path| format!("{path} {sign} {}", literal.to_cel()))
            }
            Self::Contains(path, literal) => {
                leaf(path, &|path| format!("{} in {path}", literal.to_cel()))
            }
            Self::OneOf(path, literals) => {
                let literals: Vec<_> = literals.iter().map(Literal::to_cel).collect();
                leaf(path, &|path| format!("{path} in [{}]", literals.join(", ")))
            }
            Self::StartsWith(path, text) => {
                leaf(path, &|path| format!("{path}.startsWith({})", quote(text)))
            }
            Self::Truth(path) => leaf(path, &|path| format!("{path} == true")),
        }
    }
}

/// Returns the tests that a path exists: of each name after the variable.
fn guards(path: &[String]) -> Vec<String> {
    let variable = match path {
        [first, second, ..] if first == "principal" && second == "claims" => 2,
        _ => 1,
    };
    let ends = variable + 1..=path.len();
    ends.filter_map(|end| path.get(..end))
        .map(|path| format!("has({})", path.join(".")))
        .collect()
}
