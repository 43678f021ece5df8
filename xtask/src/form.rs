//! The form of one Rust file: its length, its opening paragraph, its functions' lengths. Reads text, not types.

/// A function outside of tests.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its first line, from 1.
    pub line: usize,
    /// How many lines it has.
    pub lines: usize,
}

/// The functions of a file, those in test modules left out.
pub fn functions(text: &str) -> Vec<Function> {
    let code: Vec<String> = text.lines().map(blank_literals).collect();
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(line) = code.get(index) {
        if line.trim_start().starts_with("#[cfg(test)]") {
            index = end_of_block(&code, index) + 1;
            continue;
        }
        if let Some(name) = function_name(line) {
            let lines = end_of_block(&code, index) - index + 1;
            found.push(Function { name, line: index + 1, lines });
        }
        index += 1;
    }
    found
}

/// Whether the file opens with a `//!` paragraph.
pub fn has_opening(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!"))
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "fn" => {
                return words
                    .next()
                    .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
            "default" | "const" | "async" | "unsafe" | "extern" | "\"\"" => {}
            visibility if visibility.starts_with("pub") => {}
            _ => return None,
        }
    }
    None
}

/// The index of the line on which the item that begins at `start` ends.
fn end_of_block(code: &[String], start: usize) -> usize {
    let (mut depth, mut opened) = (0_i64, false);
    for (index, line) in code.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '{' => (depth, opened) = (depth + 1, true),
                '}' => depth -= 1,
                ';' if !opened && depth == 0 => return index,
                _ => {}
            }
        }
        if opened && depth <= 0 {
            return index;
        }
    }
    code.len().saturating_sub(1)
}

/// The line with strings, braces in characters, and comments emptied.
fn blank_literals(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => break,
            '"' => {
                skip_string(&mut chars);
                out.push_str("\"\"");
            }
            '\'' => skip_char(&mut chars, &mut out),
            other => out.push(other),
        }
    }
    out
}

fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => return,
            _ => {}
        }
    }
}

/// A character literal is dropped; a lifetime stays.
fn skip_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut ahead = chars.clone();
    let first = ahead.next();
    if first == Some('\\') {
        ahead.next();
    }
    if ahead.next() == Some('\'') {
        *chars = ahead;
    } else {
        out.push('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_of_functions_outside_of_tests() {
        let text = "//! doc\n\npub(crate) async fn a() {\n    let x = '{';\n    f(\"}\");\n}\n\nfn b() -> u8 { 1 }\ntrait T {\n    fn c(&self);\n}\n#[cfg(test)]\nmod tests {\n    fn d() {\n    }\n}\n";
        let found: Vec<(String, usize, usize)> =
            functions(text).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("a".to_owned(), 3, 4), ("b".to_owned(), 8, 1), ("c".to_owned(), 10, 1)]);
        assert!(has_opening(text) && !has_opening("fn x() {}"));
    }
}
