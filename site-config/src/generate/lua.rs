//! `job_submit.lua`: the same grammar as `forebay-directive`, for Slurm's controller.
//!
//! The reader is written in Lua; its tables of verbs, keys, units and limits are generated from the ones that the
//! Rust parser reads, so that a word added there is known here.

use std::fmt::Write;

use forebay_directive::grammar::{self, ArgumentKind, Key, KeyKind, Later, VERBS, Verb};
use forebay_directive::{DURATION_UNITS, MAX_CAPACITY_BYTES, MAX_DURATION_S, Scratch, UNITS, mark};

const WORDS: &str = include_str!("job_submit/words.lua");
const VALUES: &str = include_str!("job_submit/values.lua");
const STATEMENTS: &str = include_str!("job_submit/statements.lua");
const SUBMIT: &str = include_str!("job_submit/submit.lua");

/// The whole `job_submit.lua`.
#[must_use]
pub fn job_submit() -> String {
    let words = WORDS.replacen("@TABLES@\n", &tables(), 1);
    [words.as_str(), VALUES, STATEMENTS, SUBMIT].join("\n")
}

fn tables() -> String {
    let mut out = String::new();
    for (name, text) in [
        ("MAGIC", grammar::MAGIC),
        ("DEFAULT_SCRATCH", Scratch::DEFAULT_NAME),
        ("COMMENT_WAITING", mark::COMMENT_WAITING),
        ("COMMENT_USER_HOLD", mark::COMMENT_USER_HOLD),
        ("COMMENT_REQUEST", mark::COMMENT_REQUEST),
        ("MARKER_VARIABLE", mark::ENVIRONMENT_MARK),
        ("OPTION_VARIABLE", &format!("{}=", mark::OPTION_VARIABLE)),
    ] {
        line(&mut out, name, &quoted(text));
    }
    for (name, number) in [
        ("MAX_TEXT_BYTES", grammar::MAX_TEXT_BYTES),
        ("MAX_STATEMENTS", grammar::MAX_STATEMENTS),
        ("MAX_HEAD_BYTES", grammar::MAX_HEAD_BYTES),
        ("MAX_NAME_BYTES", grammar::MAX_NAME_BYTES),
        ("MAX_TARGET_BYTES", grammar::MAX_TARGET_BYTES),
    ] {
        line(&mut out, name, &number.to_string());
    }
    let letters: Vec<String> = grammar::SUBSTITUTIONS.iter().map(char::to_string).collect();
    line(&mut out, "SUBSTITUTIONS", &list(letters.iter().map(|letter| quoted(letter))));
    line(&mut out, "INPUT_VARIABLES", &words(grammar::INPUT_VARIABLES));
    for (name, units, most) in
        [("CAPACITY_UNITS", UNITS, MAX_CAPACITY_BYTES), ("DURATION_UNITS", DURATION_UNITS, MAX_DURATION_S)]
    {
        // The most of each unit that is allowed, as a string: Lua's numbers may lack the precision.
        let most_of = |(unit, size): &(&str, u64)| format!("{unit} = \"{}\"", most / size);
        line(&mut out, name, &list(units.iter().map(most_of)));
    }
    let verbs: String = VERBS.iter().map(verb).collect();
    line(&mut out, "VERBS", &format!("{{\n{verbs}}}"));
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "local {name} = {value}");
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("{{ {} }}", items.into_iter().collect::<Vec<_>>().join(", "))
}

fn words(items: &[&str]) -> String {
    list(items.iter().map(|item| quoted(item)))
}

/// A Lua string: printable ASCII as it is, every other byte by number.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03}");
            }
        }
    }
    out.push('"');
    out
}

fn verb(verb: &Verb) -> String {
    let name = quoted(verb.name);
    if !verb.supported {
        return format!("   {{ name = {name}, kind = \"unsupported\" }},\n");
    }
    let arguments = list(verb.arguments.iter().map(|argument| {
        let kind = match argument.kind {
            ArgumentKind::Uri => "uri",
            ArgumentKind::ScratchPath => "scratch_path",
        };
        format!("{{ name = {}, kind = {} }}", quoted(argument.name), quoted(kind))
    }));
    let keys: String = verb.keys.iter().map(key).collect();
    let example = quoted(verb.example);
    format!("   {{ name = {name}, example = {example}, arguments = {arguments}, keys = {{\n{keys}   }} }},\n")
}

fn key(key: &Key) -> String {
    let name = quoted(key.name);
    let kind = match key.kind {
        KeyKind::Name => "name",
        KeyKind::Capacity => "capacity",
        KeyKind::Duration => "duration",
        KeyKind::Patterns => "patterns",
        KeyKind::Choice { now, later } => {
            let later = match later {
                Later::Words(later) => format!("later = {}", words(later)),
                Later::AnyOther => "any_later = true".to_owned(),
            };
            return format!("      {{ name = {name}, kind = \"choice\", now = {}, {later} }},\n", words(now));
        }
        KeyKind::Unsupported => "unsupported",
    };
    format!("      {{ name = {name}, kind = {} }},\n", quoted(kind))
}
