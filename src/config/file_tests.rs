use super::*;

fn titles(text: &str) -> Vec<String> {
    let mut out = Findings::default();
    let env = |name: &str| (name == "NUMBER").then(|| "7".to_owned());
    read(text, &env, &mut out);
    match out.verdict("proxy.toml", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.titles().map(str::to_owned).collect(),
    }
}

#[test]
fn every_preset_is_a_value_of_its_knob() {
    for section in SECTIONS {
        for knob in section.knobs() {
            let place = format!("{} {}", section.title(), knob.key);
            let (Preset::Is(text) | Preset::Unset(text) | Preset::Required(text)) = knob.preset;
            assert!(plain(text).is_some(), "{place}");
            match knob.preset {
                Preset::Is(_) => assert!(preset(knob).is_some(), "{place}"),
                _ => assert!(preset(knob).is_none(), "{place}"),
            }
            // An example is one, too; only the environment is not there.
            let line = match section.shape {
                Shape::Top => format!("{} = {text}", knob.key),
                Shape::Once => format!("[{}]\n{} = {text}", section.name, knob.key),
                Shape::Named => format!("[class.a]\n{} = {text}", knob.key),
                Shape::Many => format!("[[{}]]\n{} = {text}", section.name, knob.key),
            };
            if !text.contains("${") {
                assert_eq!(titles(&line), [""; 0], "{place}");
            }
        }
    }
}

#[test]
fn each_kind_of_slip_is_one_mistake() {
    let rows: &[(&str, &[&str])] = &[
        ("lisen = 1", &["unknown key `lisen` at the top of the file"]),
        ("[orign]\nurl = 1", &["unknown key `orign` at the top of the file"]),
        ("[origin]\ntimout = 1", &["unknown key `timout` in [origin]"]),
        ("[[route]]\nquery.ingore = []", &["unknown key `query.ingore` in [[route]]"]),
        ("[[route]]\nquery = 1", &["`query` has no value of its own"]),
        ("origin = \"http://a\"", &["`origin` is not a table"]),
        ("[[origin]]", &["`origin` is not a table"]),
        ("[route]\npath = \"/\"", &["`route` is not a list of tables"]),
        ("route = [1]", &["`route` is not a list of tables"]),
        ("[class]\nsoft_ttl = \"1s\"", &["a class needs a name"]),
        ("[origin]\ntimeout = 30", &["`timeout` does not take this value"]),
        ("[origin]\ntimeout = \"30x\"", &["`timeout` does not take this value"]),
        ("[log]\naccess = \"true\"", &["`access` does not take this value"]),
        ("[limits]\nmax_fields = \"7\"", &["`max_fields` does not take this value"]),
        ("[limits]\nmax_fields = 0", &["`max_fields` does not take this value"]),
        ("[limits]\nmax_fields = -1", &["`max_fields` does not take this value"]),
        ("[[route]]\ntags = \"a\"", &["`tags` does not take this value"]),
        ("[[route]]\ntags = [\"{\", \"a\", 1]", &["`tags` does not take this value"; 2]),
        ("[admin]\ntoken = \"${NOPE}\"", &["the environment variable NOPE is not set"]),
        ("listen = 2026-01-01", &["`listen` does not take this value"]),
    ];
    for (text, expected) in rows {
        assert_eq!(titles(text), *expected, "{text}");
    }
}

#[test]
fn the_environment_may_fill_in_numbers_and_switches() {
    assert_eq!(titles("[limits]\nmax_fields = \"${NUMBER}\""), [""; 0]);
    assert_eq!(titles("[log]\naccess = \"${NUMBER}\"").len(), 1);
}

#[test]
fn broken_syntax_is_told_per_line_and_nothing_is_made_up_from_it() {
    let text = "listen =\n[origin]\nurl = http\ntimeout = \"1x\"\n[log]\nlevel \"info\"\n";
    let said = titles(text);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[2], "`timeout` does not take this value");
}

#[test]
fn values_of_other_spellings_are_taken() {
    for text in [
        "[store]\nmemory = 0",
        "[store]\nmemory = 0x10_00",
        "[store]\nmemory = 1_000",
        "[class.a]\njitter = 0.25",
        "[class.a]\njitter = 0",
        "[[route]]\n[route.query]\nonly = [\"a\"]",
        "[[route]]\nquery = { only = [\"a\"] }",
        "class = { a = { soft_ttl = '1s' } }",
    ] {
        assert_eq!(titles(text), [""; 0], "{text}");
    }
}
