use proptest::prelude::*;

use super::*;
use crate::choice::Version;
use crate::target::{ScratchPath, Uri};
use crate::value::{MAX_DURATION_S, env_name};

#[test]
fn defaults_are_left_out() {
    let text = "#FOREBAY scratch name=work capacity=2GiB\n#FOREBAY in s3://b/x ready=100% version=pin\n\
                #FOREBAY out work:a s3://b/y/ conflict=fail\n#FOREBAY opt gate=auto\n";
    let printed = Directives::from_script(text).unwrap().to_string();
    assert_eq!(
        printed,
        "#FOREBAY scratch name=work capacity=2GiB\n#FOREBAY in s3://b/x as=x\n#FOREBAY out work:a s3://b/y/\n"
    );
}

#[test]
fn awkward_values_are_quoted() {
    let text = "in \"s3://b/a \\\"b\\\" c;d/\" as=x include='#a,b\\c'";
    let said = Directives::from_option(text).unwrap();
    assert_eq!(said.to_option_text(), "in \"s3://b/a \\\"b\\\" c;d/\" as=x include=\"#a,b\\\\c\"");
    assert_eq!(Directives::from_option(&said.to_option_text()).unwrap(), said);
}

fn word<T: Copy + std::fmt::Debug + 'static>(
    of: fn(&str) -> Option<T>,
    words: &'static [&'static str],
) -> impl Strategy<Value = T> {
    prop::sample::select(words).prop_filter_map("a known word", of)
}

fn component() -> impl Strategy<Value = String> {
    "([a-zA-Z0-9é ;\"'\\\\#=,_-]|%%|%j|%u){1,8}"
}

fn path() -> impl Strategy<Value = String> {
    (prop::collection::vec(component(), 1..4), any::<bool>())
        .prop_map(|(parts, slash)| parts.join("/") + if slash { "/" } else { "" })
}

fn uri() -> impl Strategy<Value = Uri> {
    prop_oneof![
        path().prop_filter_map("a URI", |path| Uri::parse(&format!("s3://bucket/{path}")).ok()),
        path().prop_filter_map("a URI", |path| Uri::parse(&format!("file:///{path}")).ok()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,9}"
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z*?/ \"'\\\\;#]{1,6}", 0..3)
}

prop_compose! {
    fn scratch()(name in name(), capacity in prop::option::of(1u64..9000), keep_s in prop::option::of(0..=MAX_DURATION_S)) -> Scratch {
        Scratch { name, capacity_bytes: capacity.map(|n| n * 1024), keep_s }
    }
}

prop_compose! {
    fn input()(
        source in uri(), name in name(), include in patterns(), exclude in patterns(),
        ready in word(Ready::from_word, Ready::WORDS),
    ) -> Input {
        Input { source, name, version: Version::Pin, ready, include, exclude }
    }
}

prop_compose! {
    fn output()(
        path in path(), destination in uri(), marker in name(),
        when in word(When::from_word, When::WORDS),
        conflict in word(Conflict::from_word, Conflict::WORDS),
        required in word(Commit::from_word, Commit::WORDS),
        scratch in any::<prop::sample::Index>(),
    ) -> (prop::sample::Index, String, Output) {
        let any_path = ScratchPath::parse("work:").expect("a path");
        (scratch, path, Output { path: any_path, destination, when, conflict, required, marker })
    }
}

prop_compose! {
    fn options()(
        gate in word(Gate::from_word, Gate::WORDS),
        on_error in word(OnError::from_word, OnError::WORDS),
        notify in word(Notify::from_word, Notify::WORDS),
        wait_s in prop::option::of(0..=MAX_DURATION_S),
    ) -> Options {
        Options { gate, on_error, wait_s, notify }
    }
}

prop_compose! {
    fn directives()(
        mut scratch in prop::collection::vec(scratch(), 1..4),
        mut inputs in prop::collection::vec(input(), 0..4),
        outputs in prop::collection::vec(output(), 0..4),
        options in options(),
    ) -> Directives {
        scratch.dedup_by_key(|one| env_name(&one.name));
        for (i, one) in scratch.iter_mut().enumerate() {
            one.name = format!("{i}-{}", one.name);
        }
        for (i, one) in inputs.iter_mut().enumerate() {
            one.name = format!("{i}-{}", one.name);
        }
        let mut outs: Vec<Output> = Vec::new();
        for (index, path, mut out) in outputs {
            out.path = ScratchPath::parse(&format!("{}:{path}", index.get(&scratch).name)).expect("a path");
            if outs.iter().all(|other| other.destination != out.destination) {
                outs.push(out);
            }
        }
        Directives { scratch, inputs, outputs: outs, options }
    }
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(said in directives()) {
        prop_assert_eq!(&Directives::from_script(&said.to_string()).unwrap(), &said);
        prop_assert_eq!(&Directives::from_option(&said.to_option_text()).unwrap(), &said);
    }
}
