//! Commands in order, and what each must print.
//!
//! `~ COMMAND` is run again and again until it prints what it must; `! COMMAND` must fail. Words in single quotes stay
//! together, `{dir}` is the script's directory. A part `not: TEXT` must not be printed.

use std::path::Path;

use crate::kubectl::Printed;
use crate::process::until;

/// A command and the parts that its output (stdout and stderr) must have.
pub type Line = (&'static str, &'static [&'static str]);

/// Runs a command's words.
pub type Runner<'a> = &'a dyn Fn(&[&str]) -> anyhow::Result<Printed>;

/// Runs all lines; panics at the first that does not print what it must.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub fn script(run: Runner<'_>, directory: &Path, lines: &[Line]) {
    for (line, parts) in lines {
        let (mark, command) = line.split_at_checked(2).unwrap_or(("", line));
        let (again, fails) = (mark == "~ ", mark == "! ");
        let command = if again || fails { command } else { line };
        let words = words(&command.replace("{dir}", &directory.display().to_string()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut last = None;
        let kept = until(line, || {
            let printed = run(&words)?;
            let kept = printed.ok != fails && parts.iter().all(|part| has(&printed, part));
            last = Some(printed);
            Ok((kept || !again).then_some(kept))
        });
        if !kept.is_ok_and(|kept| kept) {
            let Printed { ok, out, err } = last.unwrap_or_default();
            panic!("{line}\nwanted {parts:?}, got {}\n{out}\n{err}", if ok { "success" } else { "failure" });
        }
    }
}

fn has(printed: &Printed, part: &str) -> bool {
    let anywhere = |text: &str| printed.out.contains(text) || printed.err.contains(text);
    part.strip_prefix("not: ").map_or_else(|| anywhere(part), |text| !anywhere(text))
}

fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words
}
