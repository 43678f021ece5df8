//! `$(NAME)` in values, commands and arguments. Follows `k8s.io/kubernetes/third_party/forked/golang/expansion`.

/// Replaces each `$(NAME)` that is known; an unknown one stays, `$$` stands for one `$`.
pub fn expand<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(more) = after.strip_prefix('$') {
            out.push('$');
            rest = more;
        } else if let Some((name, more)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = more;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_kubernetes_does() {
        let cases = [
            ("plain", "plain"),
            ("$(A)/$(B)", "1/$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(A", "$(A"),
            ("a$", "a$"),
            ("$A", "$A"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, |name| (name == "A").then_some("1")), expected, "{text}");
        }
    }
}
