use proptest::prelude::*;

use super::*;
use crate::grammar::{MAX_STATEMENTS, MAX_TEXT_BYTES};

fn script(lines: &str) -> Result<Directives, DirectiveError> {
    Directives::from_script(&format!("#!/bin/bash\n{lines}\nsrun true\n"))
}

/// The refusal of the directive line that is line 2 of a script.
fn refusal(line: &str) -> DirectiveError {
    script(line).expect_err(line)
}

#[test]
fn the_main_job_is_understood() {
    let said = script(
        "#SBATCH -N 2\n#FOREBAY in  s3://org/dataset/  as=dataset\n#FOREBAY scratch capacity=2GiB\n\n  # note\n\
         #FOREBAY out work:results/  s3://org/results/%j/",
    )
    .unwrap();
    assert_eq!(said.inputs[0].source.as_str(), "s3://org/dataset/");
    assert_eq!(said.inputs[0].ready, Ready::All);
    assert_eq!((said.scratch[0].name.as_str(), said.scratch[0].capacity_bytes), ("work", Some(2 << 30)));
    assert_eq!(said.scratch[0].keep_s, None);
    assert_eq!((said.outputs[0].path.path(), said.outputs[0].when), ("results/", When::Success));
    assert_eq!(said.outputs[0].marker, "_FOREBAY_SUCCESS");
    assert_eq!(said.options, crate::Options::default());
    assert!(!said.is_empty());
}

#[test]
fn every_key_arrives() {
    let said = script(
        "#FOREBAY scratch name=fast keep=7d\n\
         #FOREBAY in file:///d/x as=x version=pin ready=none include=\"*.jpg,a b/*\" exclude='val/**'\n\
         #FOREBAY out fast: s3://b/ when=always conflict=version required=no marker=DONE # said\n\
         #FOREBAY opt gate=lazy on_error=cancel\n#FOREBAY opt wait=12h notify=none",
    )
    .unwrap();
    assert_eq!((said.scratch[0].name.as_str(), said.scratch[0].keep_s), ("fast", Some(7 * 86_400)));
    assert_eq!(said.inputs[0].include, ["*.jpg", "a b/*"]);
    assert!(
        said.inputs[0].selects("a.jpg") && !said.inputs[0].selects("val/a.jpg") && !said.inputs[0].selects("a.txt")
    );
    let out = &said.outputs[0];
    assert_eq!((out.when, out.conflict, out.required), (When::Always, Conflict::Version, Commit::Optional));
    assert_eq!(out.marker, "DONE");
    assert_eq!((said.options.gate, said.options.on_error), (Gate::Lazy, OnError::Cancel));
    assert_eq!((said.options.wait_s, said.options.notify), (Some(43_200), Notify::Nothing));
}

#[test]
fn only_the_leading_comments_are_read() {
    let read = |text: &str| Directives::from_script(text).unwrap().scratch.len();
    assert_eq!(read("#!/bin/sh\n\n \t#x\n\r\n#FOREBAY scratch\ntrue\n#FOREBAY nonsense"), 1);
    assert_eq!(read("true\n#FOREBAY scratch"), 0);
    assert_eq!(read("#!/bin/sh\n #FOREBAY nonsense\n# FOREBAY x\n#FOREBAY_BB v=1\n#forebay x\n"), 0);
    assert_eq!(read("#FOREBAY scratch"), 1);
    assert_eq!(read(""), 0);
}

#[test]
fn option_text_is_the_same_grammar() {
    let said = Directives::from_option(" in s3://b/x;; out work:r 's3://b/a;b' ;scratch; ").unwrap();
    assert_eq!((said.inputs.len(), said.outputs.len(), said.scratch.len()), (1, 1, 1));
    assert_eq!(said.outputs[0].destination.as_str(), "s3://b/a;b");
    assert!(Directives::from_option("").unwrap().is_empty());
    let wrong = Directives::from_option("scratch; in s3://b/x az=y").unwrap_err();
    assert_eq!((wrong.line, wrong.column), (0, 22));
    assert!(
        wrong.to_string().starts_with("--forebay: column 22: unknown key 'az=' of 'in', nearest is 'as='"),
        "{wrong}"
    );
    assert_eq!(Directives::from_option("scratch\n").unwrap_err().code, Code::Syntax);
}

#[test]
fn both_together_refuse_what_is_said_twice() {
    let both = Directives::from_script_and_option("#FOREBAY scratch\n", "in s3://b/x").unwrap();
    assert_eq!((both.scratch.len(), both.inputs.len()), (1, 1));
    let twice = Directives::from_script_and_option("#FOREBAY scratch\n", "scratch").unwrap_err();
    assert_eq!((twice.code, twice.line, twice.column), (Code::Duplicate, 0, 1));
}

#[test]
fn refusals_name_line_column_and_remedy() {
    for (line, code, column, part) in [
        ("#FOREBAYin s3://b/x", Code::Syntax, 9, "blank"),
        ("#FOREBAY", Code::Syntax, 1, "empty"),
        ("#FOREBAY  # x", Code::Syntax, 1, "empty"),
        ("#FOREBAY scrath", Code::Verb, 10, "nearest is 'scratch'"),
        ("#FOREBAY in=x", Code::Verb, 10, "unknown verb"),
        ("#FOREBAY use dataset=laion@v7", Code::Unsupported, 10, "'use' is not available in this release"),
        ("#FOREBAY scratch capcity=1G", Code::Key, 18, "nearest is 'capacity='"),
        ("#FOREBAY scratch layout=striped", Code::Unsupported, 18, "'layout=' of 'scratch'"),
        ("#FOREBAY scratch capacity=1.5GiB", Code::Value, 27, "integer"),
        ("#FOREBAY scratch capacity=", Code::Value, 27, "no value"),
        ("#FOREBAY scratch keep=3w", Code::Value, 23, "72h"),
        ("#FOREBAY scratch name=a name=b", Code::Duplicate, 25, "twice"),
        ("#FOREBAY scratch name=\"é\" keep=x", Code::Name, 23, "not a name"),
        ("#FOREBAY scratch name='a' keep=é", Code::Value, 32, "duration"),
        ("#FOREBAY in", Code::Argument, 10, "no source"),
        ("#FOREBAY in s3://b/x s3://b/y", Code::Argument, 22, "too many"),
        ("#FOREBAY in s3://b/x as = y", Code::Argument, 22, "write as=..."),
        ("#FOREBAY in /data/x", Code::Value, 13, "file:///"),
        ("#FOREBAY in gs://b/x", Code::Unsupported, 13, "gs://"),
        ("#FOREBAY in s3://b/é/$USER/", Code::Variable, 22, "%u (user)"),
        ("#FOREBAY in \"s3://b/$USER/\"", Code::Variable, 21, "%u (user)"),
        ("#FOREBAY in s3://b/%q/", Code::Value, 13, "%q"),
        ("#FOREBAY in s3://b/%u/", Code::Name, 10, "add as="),
        ("#FOREBAY in s3://b/x ready=10%", Code::Unsupported, 28, "100%, none"),
        ("#FOREBAY in s3://b/x include=a,,b", Code::Value, 30, "empty pattern"),
        ("#FOREBAY in s3://b/x as=\"y", Code::Syntax, 25, "not closed"),
        ("#FOREBAY in s3://b/x as=\"y\"z", Code::Syntax, 28, "closing quote"),
        ("#FOREBAY in s3://b/x as=y\"", Code::Syntax, 26, "double quotes"),
        ("#FOREBAY in s3://b/x; scratch", Code::Syntax, 21, "one statement a line"),
        ("#FOREBAY in s3://b/x\r", Code::Syntax, 21, "dos2unix"),
        ("#FOREBAY out work:x", Code::Argument, 10, "no destination"),
        ("#FOREBAY out work:x s3://b/", Code::Name, 14, "add '#FOREBAY scratch name=work'"),
        ("#FOREBAY out work:../x s3://b/", Code::Value, 14, "'..'"),
        ("#FOREBAY opt gate=bb", Code::Unsupported, 19, "gate=bb"),
        ("#FOREBAY opt gate=held", Code::Value, 19, "auto, hold, lazy"),
    ] {
        let refused = refusal(line);
        assert_eq!((refused.code, refused.line, refused.column), (code, 2, column), "{refused}");
        assert!(refused.to_string().contains(part), "{refused}");
        assert!(refused.to_string().contains(code.as_str()), "{refused}");
    }
}

#[test]
fn names_that_meet_in_the_environment_are_refused() {
    for lines in [
        "#FOREBAY in s3://b/x\n#FOREBAY in s3://c/x",
        "#FOREBAY in s3://b/x as=my-set\n#FOREBAY in s3://c/x as=my.set",
        "#FOREBAY in s3://b/x as=set_files\n#FOREBAY in s3://c/x as=set",
        "#FOREBAY scratch\n#FOREBAY scratch name=WORK",
        "#FOREBAY scratch\n#FOREBAY out work:a s3://b/\n#FOREBAY out work:b s3://b/",
        "#FOREBAY opt gate=hold\n#FOREBAY opt gate=hold",
    ] {
        let refused = script(lines).expect_err(lines);
        assert_eq!(refused.code, Code::Duplicate, "{refused}");
        assert!(refused.line >= 3, "{refused}");
    }
}

#[test]
fn limits_are_refused_by_name() {
    let many = "#FOREBAY in s3://b/x\n".repeat(MAX_STATEMENTS + 1);
    let refused = Directives::from_script(&many).unwrap_err();
    assert_eq!((refused.code, refused.line), (Code::Limit, MAX_STATEMENTS as u32 + 1));
    let long = format!("#FOREBAY in s3://b/x include={}", "a".repeat(MAX_TEXT_BYTES));
    assert_eq!(Directives::from_script(&long).unwrap_err().code, Code::Limit);
    let head = format!("{}#FOREBAY scratch\n", "# a comment of some length\n".repeat(50_000));
    assert_eq!(Directives::from_script(&head).unwrap_err().code, Code::Limit);
    assert!(Directives::from_script(&head.replace("#FOREBAY", "#")).unwrap().is_empty());
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[\"'\\\\$%;#= \t]{1,3}",
        Just(" ".to_owned()),
        Just("\n#FOREBAY ".to_owned()),
        Just("in s3://b/x ".to_owned()),
        Just("scratch capacity=".to_owned()),
        Just("out work:é ".to_owned()),
        Just("as=\"".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_within_itself(pieces in prop::collection::vec(piece(), 0..16)) {
        let text = pieces.concat();
        for parsed in [Directives::from_script(&text), Directives::from_option(&text)] {
            if let Err(refused) = parsed {
                let line = match refused.line {
                    0 => text.as_str(),
                    n => text.split('\n').nth(n as usize - 1).expect("the line exists"),
                };
                prop_assert!((1..=line.chars().count() as u32 + 1).contains(&refused.column), "{refused}");
            }
        }
    }

    #[test]
    fn the_column_is_where_the_mistake_is(before in "( |\t|é=|[a-zé]+ ){0,6}", blanks in 1usize..9) {
        prop_assume!(!before.contains("é="));
        let lead = format!("#FOREBAY{}in s3://b/{}", " ".repeat(blanks), before.replace([' ', '\t'], "_"));
        let refused = Directives::from_script(&format!("{lead}$X")).unwrap_err();
        prop_assert_eq!((refused.code, refused.column as usize), (Code::Variable, lead.chars().count() + 1));
    }
}
