//! Tables of selector strings, and round trips.

use proptest::prelude::*;

use super::*;

fn check_labels(text: &str, expected: Result<&str, &str>) {
    let found = Labels::parse(text).map(|l| l.to_string());
    assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
}

#[test]
fn label_selectors() {
    check_labels("", Ok(""));
    check_labels(" a = b , c!=d", Ok("a=b,c!=d"));
    check_labels("a==b", Ok("a=b"));
    check_labels("a=", Ok("a="));
    check_labels("a=,b", Ok("a=,b"));
    check_labels("a in (c, b,b), d notin (e)", Ok("a in (b,c),d!=e"));
    check_labels("a,!b", Ok("a,!b"));
    check_labels("in in (in,notin)", Ok("in in (in,notin)"));
    check_labels("a>1,b<2", Ok("a>1,b<2"));
    check_labels("example.com/a=b", Ok("example.com/a=b"));
    check_labels("a in (,)", Ok("a="));
    check_labels("a=b=", Err("found '=', expected: ',' or 'end of string'"));
    check_labels("a,", Err("found '', expected: identifier after ','"));
    check_labels("=a", Err("found '=', expected: !, identifier, or 'end of string'"));
    check_labels("a in b", Err("unable to parse requirement: found 'b' expected: '('"));
    check_labels("a b", Err("unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"));
    check_labels(
        "a in ()",
        Err(
            "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
    );
    check_labels("a in (b", Err("unable to parse requirement: found '', expected: ',' or ')'"));
    check_labels(
        "a/b/c=d",
        Err(
            "unable to parse requirement: key: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        ),
    );
}

#[test]
fn label_matching() {
    let labels: BTreeMap<String, String> = [("a", "1"), ("b", "x")].map(|(k, v)| (k.into(), v.into())).into();
    let cases = [
        ("", true),
        ("a=1", true),
        ("a!=1", false),
        ("c!=1", true),
        ("c notin (1)", true),
        ("a in (1,2),b", true),
        ("!c", true),
        ("!a", false),
        ("a>0", true),
        ("a>1", false),
        ("b>1", false),
    ];
    for (text, expected) in cases {
        assert_eq!(Labels::parse(text).unwrap().matches(&labels), expected, "{text}");
    }
}

#[test]
fn selectors_of_specs() {
    let check = |selector: serde_json::Value, expected: Result<&str, &str>| {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        let found = Labels::from_selector(&selector).map(|l| l.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    };
    check(serde_json::json!({}), Ok(""));
    check(
        serde_json::json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}),
        Ok("a=b,c"),
    );
    check(
        serde_json::json!({"matchExpressions": [{"key": "c", "operator": "Like"}]}),
        Err("\"Like\" is not a valid label selector operator"),
    );
}

#[test]
fn field_selectors() {
    let check = |text: &str, expected: Result<&[(&str, bool, &str)], &str>| {
        let found = Fields::parse(text).map(|f| f.0);
        let found = found
            .as_ref()
            .map(|fs| fs.iter().map(|f| (f.path.as_str(), f.equal, f.value.as_str())).collect::<Vec<_>>());
        assert_eq!(found.map_err(String::as_str), expected.map(<[_]>::to_vec), "{text}");
    };
    check("", Ok(&[]));
    check("spec.nodeName=", Ok(&[("spec.nodeName", true, "")]));
    check("a==b,c!=d,", Ok(&[("a", true, "b"), ("c", false, "d")]));
    check(r"a=b\,c\=d\\", Ok(&[("a", true, r"b,c=d\")]));
    check("a", Err("invalid selector: 'a'; can't understand 'a'"));
    check(r"a=\b", Err(r"invalid field selector: invalid escape sequence: \b"));
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let key = "[a-z]{1,8}(/[a-z]{1,8})?";
    let values = || proptest::collection::btree_set("[a-zA-Z0-9]{0,5}", 1..4).prop_map(|set| set.into_iter().collect());
    let operator = prop_oneof![
        values().prop_map(Operator::In),
        values().prop_map(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
        any::<i64>().prop_filter("a label's value has no sign in front", |n| *n >= 0).prop_map(Operator::GreaterThan),
    ];
    (key, operator).prop_map(|(key, operator)| Requirement { key, operator })
}

proptest! {
    #[test]
    fn printed_selectors_parse(requirements in proptest::collection::vec(requirement(), 0..5)) {
        let labels = Labels(requirements);
        prop_assert_eq!(Labels::parse(&labels.to_string()), Ok(labels));
    }

    #[test]
    fn any_text_is_answered(text in "[a-z=!(),<> \\\\/.]{0,30}") {
        let _ = (Labels::parse(&text), Fields::parse(&text));
    }
}
