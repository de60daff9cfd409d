//! The verbs and keys as data: the parser reads this table, and so does the generator of `job_submit.lua`.

use crate::choice::{Commit, Conflict, Gate, Notify, OnError, Ready, Version, When};

/// Magic word at the start of a directive line.
pub const MAGIC: &str = "#FOREBAY";
/// Most bytes of statement text that are read, script lines and option text together.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Most statements that are read.
pub const MAX_STATEMENTS: usize = 256;
/// Most bytes of leading comments that are searched for directives.
pub const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// Longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest URI or path, in bytes.
pub const MAX_TARGET_BYTES: usize = 4096;
/// Letters that may follow `%` in a URI or path; `%%` is a percent sign.
pub const SUBSTITUTIONS: &[char] = &['A', 'a', 'j', 'u', 'x', 'd'];
/// Variables of an input, after its own name: no other input may have a name that ends in one of these.
pub const INPUT_VARIABLES: &[&str] = &["VERSION", "FILES", "BYTES", "READY"];

/// One verb: a statement is the verb, its arguments and its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verb {
    /// The word.
    pub name: &'static str,
    /// Whether this release does it; a verb it does not is refused by name.
    pub supported: bool,
    /// Words without a key, all of them required.
    pub arguments: &'static [Argument],
    /// Keys it takes.
    pub keys: &'static [Key],
    /// A statement that is right.
    pub example: &'static str,
}

/// One word without a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argument {
    /// What it is called in messages.
    pub name: &'static str,
    /// What it may be.
    pub kind: ArgumentKind,
}

/// What a word without a key may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgumentKind {
    /// `s3://bucket/prefix/` or `file:///path/`.
    Uri,
    /// `scratchname:relative/path`.
    ScratchPath,
}

/// One key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The word before `=`.
    pub name: &'static str,
    /// What may follow it.
    pub kind: KeyKind,
}

/// What the value of a key may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// Letters, digits, `.`, `_` and `-`.
    Name,
    /// An integer and a unit.
    Capacity,
    /// An integer and `s`, `m`, `h` or `d`.
    Duration,
    /// Patterns separated by commas.
    Patterns,
    /// One of a few words.
    Choice {
        /// Words that work.
        now: &'static [&'static str],
        /// Words that are known and do not work in this release.
        later: Later,
    },
    /// The key is known and does nothing in this release, so it is refused.
    Unsupported,
}

/// Words that a later release will know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Later {
    /// These.
    Words(&'static [&'static str]),
    /// Whatever else is written.
    AnyOther,
}

const fn key(name: &'static str, kind: KeyKind) -> Key {
    Key { name, kind }
}

const fn choice(now: &'static [&'static str]) -> KeyKind {
    KeyKind::Choice { now, later: Later::Words(&[]) }
}

const fn choice_of_more(now: &'static [&'static str]) -> KeyKind {
    KeyKind::Choice { now, later: Later::AnyOther }
}

const SOURCE: Argument = Argument { name: "source", kind: ArgumentKind::Uri };
const PATH: Argument = Argument { name: "path", kind: ArgumentKind::ScratchPath };
const DESTINATION: Argument = Argument { name: "destination", kind: ArgumentKind::Uri };

/// Every verb.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "scratch",
        supported: true,
        arguments: &[],
        keys: &[
            key("name", KeyKind::Name),
            key("capacity", KeyKind::Capacity),
            key("keep", KeyKind::Duration),
            key("pool", KeyKind::Unsupported),
            key("keep_on", KeyKind::Unsupported),
            key("layout", KeyKind::Unsupported),
            key("shared", KeyKind::Unsupported),
        ],
        example: "scratch capacity=2GiB keep=24h",
    },
    Verb {
        name: "in",
        supported: true,
        arguments: &[SOURCE],
        keys: &[
            key("as", KeyKind::Name),
            key("version", choice_of_more(Version::WORDS)),
            key("ready", choice_of_more(Ready::WORDS)),
            key("include", KeyKind::Patterns),
            key("exclude", KeyKind::Patterns),
            key("to", KeyKind::Unsupported),
            key("verify", KeyKind::Unsupported),
            key("on_missing", KeyKind::Unsupported),
            key("on_change", KeyKind::Unsupported),
            key("links", KeyKind::Unsupported),
            key("mode", KeyKind::Unsupported),
        ],
        example: "in s3://bucket/dataset/ as=dataset",
    },
    Verb {
        name: "out",
        supported: true,
        arguments: &[PATH, DESTINATION],
        keys: &[
            key("when", choice(When::WORDS)),
            key("conflict", choice(Conflict::WORDS)),
            key("required", choice(Commit::WORDS)),
            key("marker", KeyKind::Name),
            key("include", KeyKind::Unsupported),
            key("exclude", KeyKind::Unsupported),
            key("verify", KeyKind::Unsupported),
            key("pack", KeyKind::Unsupported),
            key("after", KeyKind::Unsupported),
        ],
        example: "out work:results/ s3://bucket/results/%j/",
    },
    Verb {
        name: "opt",
        supported: true,
        arguments: &[],
        keys: &[
            key("gate", KeyKind::Choice { now: Gate::WORDS, later: Later::Words(&["bb"]) }),
            key("on_error", choice(OnError::WORDS)),
            key("wait", KeyKind::Duration),
            key("notify", choice_of_more(Notify::WORDS)),
            key("priority", KeyKind::Unsupported),
            key("report", KeyKind::Unsupported),
            key("view", KeyKind::Unsupported),
            key("tmpdir", KeyKind::Unsupported),
        ],
        example: "opt gate=hold wait=12h",
    },
    Verb { name: "use", supported: false, arguments: &[], keys: &[], example: "" },
];

/// The verb of a word.
#[must_use]
pub fn verb(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

impl Verb {
    /// The key of a word.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys that this release does something with.
    pub fn supported_keys(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.keys.iter().filter(|key| key.kind != KeyKind::Unsupported).map(|key| key.name)
    }
}

/// The candidate with the fewest edits from `word`, if that is at most half of `word`'s characters (and one at least).
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(MAX_NAME_BYTES).map(|c| c.to_ascii_lowercase()).collect();
    let allowed = (word.len() / 2).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours that turn `from` into `to`.
fn edit_distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = Vec::with_capacity(to.len() + 1);
        row.push(i + 1);
        for (j, b) in to.iter().enumerate() {
            let replaced = above[j] + usize::from(a != b);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
