//! The examples of RFC 9651, the edges of its grammar, and whether what is written by its §4.1 is
//! read as it was meant.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// What was read, written anew (§4.1).
fn rewritten_list(text: &str) -> Option<String> {
    list(text).map(|members| members.iter().map(member).collect::<Vec<_>>().join(", "))
}

fn rewritten_dictionary(text: &str) -> Option<String> {
    dictionary(text).map(|members| write_dictionary(&members))
}

fn rewritten_item(text: &str) -> Option<String> {
    item(text).map(|read| one(&read))
}

fn write_dictionary(members: &Dictionary<'_>) -> String {
    let members = members.0.iter().map(|(key, m)| match &m.value {
        // §4.1.2: a member that is true has no value.
        Value::Item(BareItem::Boolean(true)) => format!("{key}{}", parameters(&m.parameters)),
        _ => format!("{key}={}", member(m)),
    });
    members.collect::<Vec<_>>().join(", ")
}

fn member(member: &Member<'_>) -> String {
    let value = match &member.value {
        Value::Item(value) => bare(value),
        Value::InnerList(items) => {
            format!("({})", items.iter().map(one).collect::<Vec<_>>().join(" "))
        }
    };
    value + &parameters(&member.parameters)
}

fn one(item: &Item<'_>) -> String {
    bare(&item.value) + &parameters(&item.parameters)
}

fn parameters(parameters: &[(&str, BareItem<'_>)]) -> String {
    let each = |(key, value): &(&str, BareItem<'_>)| match value {
        BareItem::Boolean(true) => format!(";{key}"),
        value => format!(";{key}={}", bare(value)),
    };
    parameters.iter().map(each).collect()
}

fn bare(value: &BareItem<'_>) -> String {
    match value {
        BareItem::Integer(number) => number.to_string(),
        BareItem::Decimal(thousandths) => {
            let sign = if *thousandths < 0 { "-" } else { "" };
            let digits = thousandths.unsigned_abs();
            let text = format!("{sign}{}.{:03}", digits / 1000, digits % 1000);
            let short = text.trim_end_matches('0');
            if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
        }
        BareItem::String(text) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        BareItem::Token(text) => (*text).to_owned(),
        BareItem::Bytes(encoded) => format!(":{encoded}:"),
        BareItem::Boolean(truth) => (if *truth { "?1" } else { "?0" }).to_owned(),
        BareItem::Date(seconds) => format!("@{seconds}"),
        BareItem::Display(text) => {
            let octet = |byte: u8| match byte {
                b' '..=b'~' if !matches!(byte, b'%' | b'"') => char::from(byte).to_string(),
                _ => format!("%{byte:02x}"),
            };
            format!("%\"{}\"", text.bytes().map(octet).collect::<String>())
        }
    }
}

#[test]
fn the_lists_of_the_rfc_are_read() {
    for (text, rewritten) in [
        ("sugar, tea, rum", "sugar, tea, rum"),
        ("sugar,tea ,\trum", "sugar, tea, rum"),
        (
            r#"("foo" "bar"), ("baz"), ("bat" "one"), ()"#,
            r#"("foo" "bar"), ("baz"), ("bat" "one"), ()"#,
        ),
        (
            r#"("foo"; a=1;b=2);lvl=5, ("bar" "baz");lvl=1"#,
            r#"("foo";a=1;b=2);lvl=5, ("bar" "baz");lvl=1"#,
        ),
        (
            r#"abc;a=1;b=2; cde_456, (ghi;jk=4 l);q="9";r=w"#,
            r#"abc;a=1;b=2;cde_456, (ghi;jk=4 l);q="9";r=w"#,
        ),
        ("", ""),
        ("  ", ""),
        ("1, 1", "1, 1"),
        ("( 1  2 )", "(1 2)"),
    ] {
        assert_eq!(rewritten_list(text).as_deref(), Some(rewritten), "{text}");
    }
    for text in [
        "a,", ",a", "a,,b", "a b", "(a", "a)", "(a,b)", "((a))", "(a\tb)", "a;", "a; =1", "é",
        "\ta",
    ] {
        assert_eq!(list(text), None, "{text}");
    }
}

#[test]
fn the_dictionaries_of_the_rfc_are_read() {
    for (text, rewritten) in [
        (r#"en="Applepie", da=:w4ZibGV0w6ZydGU=:"#, r#"en="Applepie", da=:w4ZibGV0w6ZydGU=:"#),
        ("a=?0, b, c; foo=bar", "a=?0, b, c;foo=bar"),
        ("rating=1.5, feelings=(joy sadness)", "rating=1.5, feelings=(joy sadness)"),
        ("a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid", "a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid"),
        ("foo=1, bar=2", "foo=1, bar=2"),
        ("a=?1;x=?1", "a;x"),
        // The last of several counts, in the place of the first.
        ("a=1, b=2, a=3", "a=3, b=2"),
        ("a;x=1;y=2;x=3", "a;x=3;y=2"),
        ("", ""),
    ] {
        assert_eq!(rewritten_dictionary(text).as_deref(), Some(rewritten), "{text}");
    }
    for text in ["a=", "a=,", "A=1", "a =1", "a= 1", "a=1,", "1=a", "a=1;B", "a=1 b=2", "=1"] {
        assert_eq!(dictionary(text), None, "{text}");
    }
}

#[test]
fn the_items_of_the_rfc_are_read() {
    let string = |text: &'static str| BareItem::String(text.into());
    for (text, value) in [
        ("42", BareItem::Integer(42)),
        ("-0", BareItem::Integer(0)),
        ("-999999999999999", BareItem::Integer(-999_999_999_999_999)),
        ("4.5", BareItem::Decimal(4_500)),
        ("-0.001", BareItem::Decimal(-1)),
        ("999999999999.999", BareItem::Decimal(999_999_999_999_999)),
        ("\"hello world\"", string("hello world")),
        ("\"a \\\"b\\\" \\\\\"", string("a \"b\" \\")),
        ("\"\"", string("")),
        ("foo123/456", BareItem::Token("foo123/456")),
        ("*", BareItem::Token("*")),
        (":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:", {
            BareItem::Bytes("cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==")
        }),
        (":aGk:", BareItem::Bytes("aGk")),
        ("::", BareItem::Bytes("")),
        ("?1", BareItem::Boolean(true)),
        ("?0", BareItem::Boolean(false)),
        ("@1659578233", BareItem::Date(1_659_578_233)),
        (
            r#"%"This is intended for display to %c3%bcsers.""#,
            BareItem::Display("This is intended for display to üsers.".into()),
        ),
    ] {
        let expected = Item { value, parameters: Vec::new() };
        assert_eq!(item(text), Some(expected.clone()), "{text}");
        assert_eq!(item(&format!("  {text}  ")), Some(expected), "{text}");
    }
    let Some(foo) = item("5; foo=bar") else { panic!("§3.3: an item with a parameter") };
    assert_eq!(foo.parameters, [("foo", BareItem::Token("bar"))]);
    for text in [
        "",
        "-",
        "--1",
        "1234567890123456",
        "1.",
        "1.2345",
        "1234567890123.1",
        ".5",
        "+1",
        "1e3",
        "\"a",
        "\"\\a\"",
        "\"\t\"",
        "\"\u{fc}\"",
        "'a'",
        ":a:",
        ":aGk==:",
        ":a=Gk:",
        ":aGk*:",
        ":aGk",
        "====",
        ":====:",
        "?2",
        "?",
        "?true",
        "@1.5",
        "@",
        "@a",
        "%\"%C3%BC\"",
        "%\"%ff\"",
        "%\"%c\"",
        "%a",
        "%\"a",
        "a, b",
        "1 2",
        "(1)",
    ] {
        assert_eq!(item(text), None, "{text}");
    }
}

#[test]
fn lines_are_one_field() {
    let name = HeaderName::from_static("example-list");
    let mut headers = HeaderMap::new();
    assert_eq!(combined(&headers, &name), None);
    headers.append(&name, HeaderValue::from_static("sugar, tea"));
    headers.append(&name, HeaderValue::from_static("rum"));
    assert_eq!(combined(&headers, &name).as_deref(), Some("sugar, tea, rum"));
    headers.append(&name, HeaderValue::from_bytes(b"\xc3\xbc").unwrap());
    assert_eq!(combined(&headers, &name), None);
}

#[test]
fn as_many_are_supported_as_the_rfc_asks() {
    // §3.1: 1024 members; §3.1.1: 256 in an inner list; §3.1.2: 256 parameters with keys of 64
    // characters; §3.2: 1024 keys of 64 characters; §3.3.3: 1024 characters in a string; §3.3.4:
    // 512 in a token; §3.3.5: 16384 octets in a byte sequence.
    let keys: Vec<String> = (0..1024).map(|n| format!("k{n:063}")).collect();
    assert_eq!(list(&vec!["a"; 1024].join(",")).map(|l| l.len()), Some(1024));
    let inner = format!("({})", vec!["1"; 256].join(" "));
    assert!(matches!(&list(&inner).unwrap()[0].value, Value::InnerList(i) if i.len() == 256));
    let parameters = item(&format!("a;{}", keys[..256].join(";"))).map(|i| i.parameters.len());
    assert_eq!(parameters, Some(256));
    assert_eq!(dictionary(&keys.join(",")).map(|d| d.0.len()), Some(1024));
    assert!(item(&format!("\"{}\"", "x".repeat(1024))).is_some());
    assert!(item(&"x".repeat(512)).is_some());
    assert!(item(&format!(":{}:", "A".repeat(16384 / 3 * 4 + 4))).is_some());
}

fn any_bare() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,14})".prop_filter("one zero", |n| n != "-0"),
        "[1-9][0-9]{0,11}\\.[0-9]{0,2}[1-9]",
        r#""([ !#-\[\]-~]|\\["\\]){0,12}""#,
        "[a-zA-Z*][a-z:/0-9!#$%&'*+.^_`|~-]{0,8}",
        ":([A-Za-z0-9+/]{4}){0,3}:",
        "\\?[01]",
        "@[1-9][0-9]{0,10}",
        r#"%"[a-z ]{0,5}(%c3%bc)?""#,
    ]
}

fn any_parameters() -> impl Strategy<Value = String> {
    proptest::collection::btree_map("[a-z][a-z0-9_.*-]{0,3}", any_bare(), 0..3).prop_map(|all| {
        let each = all.into_iter().map(|(key, value)| match &*value {
            "?1" => format!(";{key}"),
            _ => format!(";{key}={value}"),
        });
        each.collect()
    })
}

fn any_member() -> impl Strategy<Value = String> {
    let item = || (any_bare(), any_parameters()).prop_map(|(value, behind)| value + &behind);
    let inner = (proptest::collection::vec(item(), 0..4), any_parameters())
        .prop_map(|(items, behind)| format!("({}){behind}", items.join(" ")));
    prop_oneof![item(), inner]
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_written_the_same(
        members in proptest::collection::vec(any_member(), 0..5),
    ) {
        let text = members.join(", ");
        prop_assert_eq!(rewritten_list(&text), Some(text));
    }

    #[test]
    fn dictionaries_come_out_as_they_went_in(
        members in proptest::collection::btree_map("[a-z*][a-z0-9_.*-]{0,3}", any_member(), 0..5),
    ) {
        let each = members.into_iter().map(|(key, value)| match value.strip_prefix("?1") {
            Some(behind) => format!("{key}{behind}"),
            None => format!("{key}={value}"),
        });
        let text = each.collect::<Vec<_>>().join(", ");
        prop_assert_eq!(rewritten_dictionary(&text), Some(text));
    }

    #[test]
    fn what_was_understood_means_the_same_when_it_is_written(text in r#"[a1b(\);:?@%", =.*\\-]{0,30}"#) {
        if let Some(members) = list(&text) {
            let again = rewritten_list(&text).unwrap();
            prop_assert_eq!(list(&again), Some(members));
        }
        if let Some(members) = dictionary(&text) {
            let again = write_dictionary(&members);
            prop_assert_eq!(dictionary(&again), Some(members));
        }
        if let Some(read) = item(&text) {
            let again = rewritten_item(&text).unwrap();
            prop_assert_eq!(item(&again), Some(read));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = (list(&text), dictionary(&text), item(&text));
    }
}
