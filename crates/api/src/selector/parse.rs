//! The grammar of selectors in query strings. Follows `k8s.io/apimachinery/pkg/labels` and `.../fields`, errors included.

use super::{FieldRequirement, Operator, Requirement};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Not,
    Equal(&'a str),
    NotEqual,
    Greater,
    Less,
    Comma,
    Open,
    Close,
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Equal(text) => text,
            Self::Not => "!",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::End => "",
        }
    }
}

/// How many requirements and values a selector may have: it is held against every object of a list.
const TERMS_MAX: usize = 1024;

fn bounded(text: &str) -> Result<(), String> {
    let terms = text.bytes().filter(|byte| *byte == b',').count() + 1;
    if terms > TERMS_MAX {
        return Err(format!("the selector has {terms} terms; at most {TERMS_MAX} are allowed"));
    }
    Ok(())
}

/// The requirements of a label selector.
pub(super) fn labels(text: &str) -> Result<Vec<Requirement>, String> {
    bounded(text)?;
    let mut parser = Parser { rest: text };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Not => {}
            other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())),
        }
        let requirement = parser.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
        requirements.push(requirement);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Comma => parser.expect_requirement()?,
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        Parser { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'a> {
        let rest = self.rest.trim_start();
        let (token, length) = first_token(rest);
        self.rest = rest.get(length..).unwrap_or_default();
        token
    }

    fn expect_requirement(&self) -> Result<(), String> {
        match self.peek() {
            Token::Word(_) | Token::Not => Ok(()),
            other => Err(format!("found '{}', expected: identifier after ','", other.text())),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.peek() == Token::Not {
            self.next();
            let key = self.word()?;
            return Requirement::new(key, Operator::DoesNotExist);
        }
        let key = self.word()?;
        let operator = match self.peek() {
            Token::End | Token::Comma => Operator::Exists,
            _ => self.operator()?,
        };
        Requirement::new(key, operator)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        Ok(match self.next() {
            Token::Equal(_) => Operator::In(vec![self.value()?]),
            Token::NotEqual => Operator::NotIn(vec![self.value()?]),
            Token::Word("in") => Operator::In(self.values()?),
            Token::Word("notin") => Operator::NotIn(self.values()?),
            Token::Greater => Operator::GreaterThan(self.number()?),
            Token::Less => Operator::LessThan(self.number()?),
            other => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
        })
    }

    fn word(&mut self) -> Result<&'a str, String> {
        match self.next() {
            Token::Word(word) => Ok(word),
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.word()?;
        word.parse().map_err(|_| {
            format!("values[0]: Invalid value: \"{word}\": for 'Gt', 'Lt' operators, the value must be an integer")
        })
    }

    /// One value after `=`; nothing means the empty one.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Comma => Ok(String::new()),
            _ => self.word().map(str::to_owned),
        }
    }

    /// `(a,b)`; a missing value between commas is the empty one.
    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Open => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        if self.peek() == Token::Close {
            self.next();
            return Ok(values);
        }
        loop {
            values.push(match self.peek() {
                Token::Comma | Token::Close => String::new(),
                _ => self.word()?.to_owned(),
            });
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }
}

/// The token at the start of `text`, which has no leading space, and its length in bytes.
fn first_token(text: &str) -> (Token<'_>, usize) {
    let symbols = [
        ("==", Token::Equal("==")),
        ("!=", Token::NotEqual),
        ("=", Token::Equal("=")),
        ("!", Token::Not),
        (">", Token::Greater),
        ("<", Token::Less),
        (",", Token::Comma),
        ("(", Token::Open),
        (")", Token::Close),
    ];
    if text.is_empty() {
        return (Token::End, 0);
    }
    if let Some((symbol, token)) = symbols.into_iter().find(|(symbol, _)| text.starts_with(symbol)) {
        return (token, symbol.len());
    }
    let end = text.find(|c: char| c.is_whitespace() || "=!(),><".contains(c)).unwrap_or(text.len());
    (Token::Word(text.get(..end).unwrap_or_default()), end)
}

/// The requirements of a field selector.
pub(super) fn fields(text: &str) -> Result<Vec<FieldRequirement>, String> {
    bounded(text)?;
    let terms = terms(text);
    let present = terms.into_iter().filter(|term| !term.is_empty());
    present.map(|term| field(text, term)).collect()
}

/// Splits at commas that no backslash precedes.
fn terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        if c == ',' && !escaped {
            terms.extend(text.get(start..index));
            start = index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.extend(text.get(start..));
    terms
}

fn field(whole: &str, term: &str) -> Result<FieldRequirement, String> {
    let misunderstood = || format!("invalid selector: '{whole}'; can't understand '{term}'");
    let at = term.find(['=', '!']).ok_or_else(misunderstood)?;
    let (path, operator) = term.split_at(at);
    let (equal, value) = ["!=", "==", "="]
        .into_iter()
        .find_map(|symbol| operator.strip_prefix(symbol).map(|value| (symbol != "!=", value)))
        .ok_or_else(misunderstood)?;
    Ok(FieldRequirement { path: path.to_owned(), value: unescape(value)?, equal })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid field selector: invalid escape sequence: \\{other}"));
                }
            },
            '=' => return Err("invalid field selector: unescaped character in value: =".to_owned()),
            other => plain.push(other),
        }
    }
    Ok(plain)
}
